"""Reading and writing at computed positions: gather, scatter and their kin, index_select, index_add, embedding, take.

An index out of range is found when the index is computed, before anything is written; the error names the value, its place in the index
and the user's line. Where positions repeat, the last in row-major order wins, on any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from flambeau._ops.arguments import into, number
from flambeau._ops.joining import cat, constant_pad_nd
from flambeau._ops.operator import FUNCTIONS, Operator, new_tensor
from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.errors import IndexOutOfBoundsError
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph, Node
    from flambeau._tensor.tensor import Tensor


def unravel(position: int, shape: tuple[int, ...]) -> list[int]:
    """The index of a row-major position."""
    index = []
    for size in reversed(shape):
        index.append(position % size)
        position //= size
    return index[::-1]


def out_of_bounds(
    name: str, dim: int, size: int, shape: tuple[int, ...], *, within: tuple[int, ...] | None = None, axes: Sequence[int] = ()
) -> Callable[[int, int], Exception]:
    """The error for a value of an index of ``shape``, given its row-major position and the value.

    Positions are ``within`` a larger shape, if one is given; ``axes`` are its axes that the index has.
    """

    def make(position: int, value: int) -> Exception:
        place = unravel(position, shape if within is None else within)
        if within is not None:
            place = [min(place[axis], extent - 1) for axis, extent in zip(axes, shape, strict=True)]
        return IndexOutOfBoundsError(
            f"{name}: index {value} is out of bounds for dimension {dim} with size {size} (at position {place} of an index of shape {list(shape)})"
        )

    return make


def compact(index: Node) -> Node:
    """An index without the repetitions that ``expand`` made; expanding it gives the same elements."""
    if index.kind == "view":
        for axis, stride in enumerate(index.strides):
            if stride == 0 and index.shape[axis] > 1:
                index = index.slice(axis, 0, 1)
    return index


def check_range(graph: Graph, index: Node, size: int, make: Callable[[int, int], Exception], *, wraps: bool = False) -> Node:
    """Check that an index lies in ``[0, size)`` (or, if it wraps, in ``[-size, size)``); returns it as int64, counted from the front.

    What is returned is in range even where the check fails, so that it is safe to read there.
    """
    index = graph.cast(index, dt.int64)
    bad = (index < (-size if wraps else 0)) | (index >= size)
    graph.check(bad, index, make)
    if wraps:
        index = graph.where(index < 0, index + size, index)
    return graph.where(bad, 0, index)


# -- gather and scatter ----------------------------------------------------------------------------------------------


def _check_index(name: str, self: Layout, index: Layout, dim: int, src: Layout | None) -> None:
    if index.numel == 0:
        return
    if index.dtype not in (dt.int64, dt.int32):
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index, but got {index.dtype!r}")
    for what, other in (("self", self), ("src", src)):
        if other is None:
            continue
        if max(other.ndim, 1) != max(index.ndim, 1):
            raise RuntimeError(
                f"Index tensor must have the same number of dimensions as {what} tensor: index has shape {list(index.shape)}, {what} {list(other.shape)} ({name})"
            )
        for axis, (size, limit) in enumerate(zip(index.shape, other.shape, strict=False)):
            if size > limit and (axis != dim or what == "src"):
                apart = f" apart from dimension {dim}" if what == "self" else ""
                raise RuntimeError(
                    f"Expected index {list(index.shape)} to be no larger than {what} {list(other.shape)}{apart} ({name}: dimension {axis} has {size} > {limit})"
                )


def _infer_gather(operands: tuple, statics: tuple) -> Layout:
    source, index = operands
    _check_index(statics[1], source, index, statics[0], None)
    return lay.contiguous(index.shape, source.dtype)


def _places(source: Layout, shape: tuple[int, ...], dim: int) -> tuple[Layout, int]:
    """The layout with which ``source`` is read at an index of ``shape``, but for ``dim``, and the stride along ``dim``."""
    strides = tuple(0 if axis == dim else stride for axis, stride in enumerate(source.strides))
    return lay.layout(shape, strides[: len(shape)], source.offset, source.dtype), source.strides[dim] if source.strides else 0


def _lower_gather(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    source, index = operands[0].plain, operands[1]
    dim, name = statics
    shape = index.shape
    if not index.numel:
        return graph.constant(0, source.dtype, shape)
    size = source.shape[dim] if source.ndim else 1
    index = compact(index)
    if name == "index_select":
        axes = (dim,) if shape else ()
        make = out_of_bounds(f"{name}()", dim, size, index.shape[dim : dim + 1], within=index.shape, axes=axes)
    else:
        make = out_of_bounds(f"{name}()", dim, size, shape, within=index.shape, axes=range(len(shape)))
    index = check_range(graph, index, size, make).expand(shape)
    layout, stride = _places(source.layout, shape, dim)
    return graph.gather(source, layout, [index], [stride])


GATHER = Operator("gather", ("input", "index"), ("dim", "name"), infer=_infer_gather, lower=_lower_gather, keeps_origin=True)
GATHER.gradient(
    input=lambda grad, input_layout, index, dim: scatter_add(
        FUNCTIONS.zeros(lay.contiguous(input_layout.shape, grad.layout.dtype)), dim, index, grad
    )
)


def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False, out: Tensor | None = None) -> Tensor:
    """``out[i][j][k] = input[index[i][j][k]][j][k]`` for ``dim=0``, and alike for the others. Nothing is broadcast.

    Raises:
        RuntimeError: the index has another number of dimensions, is too large, or (at the flush) out of bounds.
    """
    axis = lay.wrap_axis(dim, input.layout.ndim)
    if out is not None and out.layout.dtype is not input.layout.dtype:
        raise RuntimeError(f"gather(): Expected out tensor to have dtype {input.layout.dtype!r}, but got {out.layout.dtype!r} instead")
    if input.layout.ndim == 0 and index.layout.ndim:
        input = input.reshape(1)
    apart(out, input, index, name="gather", shape=index.layout.shape)
    return into(out, GATHER(input, index, statics=(axis, "gather")))


def apart(out: Any, *others: Tensor, name: str, shape: tuple[int, ...] | None = None) -> None:
    """Check that ``out`` (resized to ``shape``) shares no memory with what is read while it is written.

    Raises:
        RuntimeError: some of its elements lie where elements of the others lie.
    """
    for each in (out,) if isinstance(out, TensorBase) else out or ():
        layout = each.layout
        if shape is not None and shape != layout.shape:
            layout = lay.layout(shape, lay.row_major(shape), layout.offset, layout.dtype)
        low, high = _reach(layout)
        for other in others:
            start, end = _reach(other.layout)
            if other.storage is each.storage and start < high and low < end:
                raise RuntimeError(
                    "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory location. "
                    f"Please clone() the tensor before performing the operation. ({name} with out= of shape {list(each.layout.shape)})"
                )


def _reach(layout: Layout) -> tuple[int, int]:
    """The bytes from the first element to behind the last."""
    if not layout.numel:
        return 0, 0
    last = layout.offset + sum(stride * (size - 1) for stride, size in zip(layout.strides, layout.shape, strict=True))
    return layout.offset * layout.dtype.itemsize, (last + 1) * layout.dtype.itemsize


def _infer_scatter(operands: tuple, statics: tuple) -> Layout:
    target, index, src = operands
    dim, combine, name = statics
    source = None if isinstance(src, type) else src
    _check_index(name, target, index, dim, source)
    if source is not None and source.dtype is not target.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype, but got {target.dtype!r} and {source.dtype!r}")
    return lay.like(target, target.dtype)


def _lower_scatter(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    target, index, src = operands
    dim, combine, name = statics
    dtype = target.dtype.compute if combine in ("sum", "prod") else target.dtype  # half precision is rounded once, at the end
    base = graph.copy(graph.cast(target, dtype), layouts[0].strides)
    if not index.numel:
        return graph.cast(base, target.dtype)
    size, shape = target.shape[dim] if target.ndim else 1, index.shape
    value = graph.cast(graph.cast(src, target.dtype), dtype)
    if value.ndim:
        for axis, extent in enumerate(shape):
            if value.shape[axis] != extent:
                value = value.slice(axis, 0, extent)
    if name.startswith("index_"):  # by a vector
        make = out_of_bounds(f"{name}()", dim, size, shape[dim : dim + 1], within=shape, axes=(dim,) if shape else ())
    else:
        make = out_of_bounds(f"{name}()", dim, size, shape)
    layout, stride = _places(base.layout, shape, dim)
    wraps = name == "index_fill"
    result = graph.scatter(base, layout, [index], [stride], value, combine, sizes=[size], wraps=wraps, errors=[make])
    return graph.cast(result, target.dtype)


SCATTER = Operator(
    "scatter", ("input", "index", "src"), ("dim", "combine", "name"), infer=_infer_scatter, lower=_lower_scatter, keeps_origin=True
)


def _crop(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    for axis, size in enumerate(shape):
        if x.layout.shape[axis] != size:
            x = x.narrow(axis, 0, size)
    return x


def _uncrop(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Zeros around ``x`` so that it has ``shape``."""
    if x.layout.shape == shape:
        return x
    pad: list[int] = []
    for size, full in zip(reversed(x.layout.shape), reversed(shape), strict=True):
        pad += [0, full - size]
    return constant_pad_nd(x, pad)


def _scatter_input(grad: Tensor, input: Tensor, index: Tensor, src: Any, result: Tensor, dim: int, combine: str, name: str) -> Tensor:
    if combine == "sum":
        return grad
    if combine == "set":
        return SCATTER(grad, index, 0, statics=(dim, "set", name))
    values = _values(src, index, grad)
    if combine == "prod":
        return grad * SCATTER(FUNCTIONS.ones(grad.layout), index, values, statics=(dim, "prod", "scatter"))
    share, _ = _extremum_shares(input, index, values, result, dim)
    return grad * share


def _values(src: Any, index: Tensor, like: Tensor) -> Tensor:
    """The source as a tensor of the shape of the index."""
    if isinstance(src, TensorBase):
        return _crop(src, index.layout.shape)
    return FUNCTIONS.full(lay.contiguous(index.layout.shape, like.layout.dtype), src)


def _extremum_shares(input: Tensor, index: Tensor, values: Tensor, result: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """How the gradient of a maximum or minimum is shared among those that reach it: the target's own element, and each value."""
    own = (input == result).to(input.layout.dtype)
    hits = (values == gather(result, dim, index)).to(input.layout.dtype)
    count = scatter_add(own, dim, index, hits)
    return own / count, hits / gather(count, dim, index)


def _scatter_src(grad: Tensor, input: Tensor, index: Tensor, src: Any, result: Tensor, dim: int, combine: str, name: str) -> Tensor:
    shape = src.layout.shape
    if name == "index_fill" and input.layout.shape:
        index = FUNCTIONS.where(index < 0, index + input.layout.shape[dim], index)
    if combine == "sum" or name == "max_unpool":  # PyTorch's rule for maxima: what shares a place shares its gradient
        return _uncrop(gather(grad, dim, index), shape)
    values = _values(src, index, grad)
    if combine == "set":  # only the last of several values at one place has an effect
        order = FUNCTIONS.arange(index.layout.numel).reshape(index.layout.shape)
        last = SCATTER(FUNCTIONS.full(lay.contiguous(input.layout.shape, dt.int64), -1), index, order, statics=(dim, "set", "scatter"))
        return _uncrop(FUNCTIONS.where(gather(last, dim, index) == order, gather(grad, dim, index), 0.0), shape)
    if combine == "prod":
        return _uncrop(gather(grad * input, dim, index) * _others(values, index, dim), shape)
    _, share = _extremum_shares(input, index, values, result, dim)
    return _uncrop(gather(grad, dim, index) * share, shape)


def _others(values: Tensor, index: Tensor, dim: int) -> Tensor:
    """For each value the product of the others that go to the same place.

    There is no division in it, so that it is right where values are 0, and so are its own gradients: values are sorted by where they go,
    and products of those before and behind each are found by doubling.
    """
    if not index.layout.ndim:
        return values * 0 + 1
    from flambeau._ops.sorting import sort

    places, order = sort(index, dim)
    sorted_values = gather(values, dim, order)
    before = _products_before(sorted_values, places, dim)
    behind = _products_before(sorted_values.flip(dim), places.flip(dim), dim).flip(dim)
    return gather(before * behind, dim, sort(order, dim)[1])


def _products_before(values: Tensor, places: Tensor, dim: int) -> Tensor:
    """The product of the values before each that go to the same place; equal places are neighbours."""
    count = values.layout.shape[dim]

    def moved(product: Tensor, step: int) -> Tensor:
        """``product`` as it is ``step`` earlier, or 1 where another place begins in between."""
        kept = count - step
        same = places.narrow(dim, 0, kept) == places.narrow(dim, step, kept)
        earlier = FUNCTIONS.where(same, product.narrow(dim, 0, kept), 1.0)
        head = (*values.layout.shape[:dim], step, *values.layout.shape[dim + 1 :])
        return cat([FUNCTIONS.ones(lay.contiguous(head, values.layout.dtype)), earlier], dim)

    step, product = 1, moved(values, min(1, count))
    while step < count:
        product = product * moved(product, step)
        step *= 2
    return product


SCATTER.gradient(input=_scatter_input, src=_scatter_src)

_REDUCE = {None: "set", "add": "sum", "multiply": "prod"}


def _scatter_arguments(dim: int, index: Tensor, src: Any, value: Any, reduce: str | None, self: Tensor) -> tuple:
    if reduce not in _REDUCE:
        raise RuntimeError(f"reduce argument must be either add or multiply, but got {reduce!r}")
    source = src if src is not None else value
    if source is None:
        raise TypeError("scatter() needs src (a tensor) or value (a number)")
    source = source if isinstance(source, TensorBase) else number(source)
    return source, (lay.wrap_axis(dim, self.layout.ndim), _REDUCE[reduce], "scatter")


def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None, out: Tensor | None = None
) -> Tensor:
    """A copy of ``input`` with ``src`` (a tensor or a number) written where ``index`` says along ``dim``.

    For ``dim=0``: ``out[index[i][j]][j] = src[i][j]``. Nothing is broadcast: ``expand`` the operands for that. With ``reduce="add"`` or ``"multiply"`` values are
    combined instead of replaced; among values for one place the last in row-major order wins.

    Raises:
        RuntimeError: shapes or dtypes do not fit; the index is out of bounds (then also an ``IndexError``).

    Example::

        >>> labels = flambeau.tensor([1, 3])
        >>> flambeau.zeros(2, 5).scatter(1, labels.unsqueeze(-1), 1.0)
        tensor([[0., 1., 0., 0., 0.],
                [0., 0., 0., 1., 0.]])
    """
    source, statics = _scatter_arguments(dim, index, src, value, reduce, input)
    return into(out, SCATTER(input, index, source, statics=statics))


def scatter_(self: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None) -> Tensor:
    """In-place version of ``scatter()``."""
    source, statics = _scatter_arguments(dim, index, src, value, reduce, self)
    return SCATTER.inplace(self, self, index, source, statics=statics)


def unpool(input: Tensor, index: Tensor, src: Tensor) -> Tensor:
    """``scatter`` along the last dimension, for ``max_unpool``: every value has the gradient of the place that it was written to."""
    return SCATTER(input, index, src, statics=(input.layout.ndim - 1, "set", "max_unpool"))


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor, *, out: Tensor | None = None) -> Tensor:
    """A copy of ``input`` with ``src`` added where ``index`` says along ``dim``, in row-major order."""
    return into(out, SCATTER(input, index, src, statics=(lay.wrap_axis(dim, input.layout.ndim), "sum", "scatter_add")))


def scatter_add_(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """In-place version of ``scatter_add()``."""
    return SCATTER.inplace(self, self, index, src, statics=(lay.wrap_axis(dim, self.layout.ndim), "sum", "scatter_add"))


_KINDS = {"sum": "sum", "prod": "prod", "amax": "max", "amin": "min"}


def _reduced(self: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool, name: str) -> Tensor:
    axis = lay.wrap_axis(dim, self.layout.ndim)
    if reduce == "mean":
        ones = FUNCTIONS.ones(lay.contiguous(index.layout.shape, src.layout.dtype))
        start = self if include_self else _cleared(self, axis, index, 0)
        total = SCATTER(start, index, src, statics=(axis, "sum", name))
        count_start = FUNCTIONS.full(lay.contiguous(self.layout.shape, src.layout.dtype), 1)
        count = SCATTER(count_start if include_self else _cleared(count_start, axis, index, 0), index, ones, statics=(axis, "sum", name))
        from flambeau._ops.elementwise import div

        return div(total, count) if total.layout.dtype.category >= dt.FLOAT else div(total, count, rounding_mode="floor")
    if reduce not in _KINDS:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    kind = _KINDS[reduce]
    start = self if include_self else _cleared(self, axis, index, _identity(kind, self.layout.dtype))
    return SCATTER(start, index, src, statics=(axis, kind, name))


def _identity(kind: str, dtype: dt.dtype) -> Any:
    if kind in ("sum", "prod"):
        return int(kind == "prod")
    if dtype.is_floating_point:
        return float("-inf") if kind == "max" else float("inf")
    if dtype is dt.bool:
        return kind == "min"
    width = 8 * dtype.itemsize - dtype.is_signed
    return (-(1 << width) if dtype.is_signed else 0) if kind == "max" else (1 << width) - 1


def _cleared(self: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """``self`` with a number at every place that ``index`` names."""
    return SCATTER(self, index, value, statics=(dim, "set", "scatter_reduce"))


def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True, out: Tensor | None = None
) -> Tensor:
    """As ``scatter``, combining values for one place by ``sum``, ``prod``, ``mean``, ``amax`` or ``amin``, with the target's own unless excluded."""
    return into(out, _reduced(input, dim, index, src, reduce, include_self, "scatter_reduce"))


def scatter_reduce_(self: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True) -> Tensor:
    """In-place version of ``scatter_reduce()``."""
    return self.copy_(_reduced(self, dim, index, src, reduce, include_self, "scatter_reduce"))


# -- along one dimension by a vector of positions --------------------------------------------------------------------


def _spread(index: Tensor, dim: int, shape: tuple[int, ...]) -> Tensor:
    """A vector of positions along ``dim``, expanded to index a tensor of ``shape``."""
    if not shape:
        return index.reshape(())
    layout = index.layout
    full = (*shape[:dim], layout.numel, *shape[dim + 1 :])
    strides = tuple([layout.strides[0] if axis == dim else 0 for axis in range(len(full))])
    return new_tensor(index.storage, lay.layout(full, strides, layout.offset, layout.dtype))


def _vector(name: str, index: Tensor) -> Tensor:
    if index.layout.ndim > 1:
        raise IndexError(
            f"{name}(): Index is supposed to be a vector, but got dim: {index.layout.ndim} with type: {index.layout.dtype!r} and size: {list(index.layout.shape)}"
        )
    if index.layout.dtype not in (dt.int64, dt.int32):
        raise RuntimeError(f"{name}(): Expected dtype int32 or int64 for index, but got {index.layout.dtype!r}")
    return index if index.layout.ndim else index.reshape(1)


def index_select(input: Tensor, dim: int, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The slices along ``dim`` at the positions in ``index`` (a vector)."""
    axis = lay.wrap_axis(dim, input.layout.ndim)
    vector = _vector("index_select", index)
    apart(out, input, index, name="index_select")
    return into(out, GATHER(input, _spread(vector, axis, input.layout.shape), statics=(axis, "index_select")))


def _index_write(self: Tensor, dim: int, index: Tensor, source: Tensor, name: str) -> tuple[int, Tensor]:
    axis = lay.wrap_axis(dim, self.layout.ndim)
    vector = _vector(name, index)
    if source.layout.ndim and source.layout.shape[axis] != vector.layout.numel:
        raise RuntimeError(
            f"{name}(): Number of indices ({vector.layout.numel}) should be equal to source.size(dim): ({source.layout.shape[axis]}), for dim: {axis}"
        )
    wanted = (*self.layout.shape[:axis], vector.layout.numel, *self.layout.shape[axis + 1 :])
    if source.layout.ndim and self.layout.ndim and source.layout.shape != wanted:
        raise RuntimeError(
            f"{name}(): source tensor shape must match self tensor shape, excluding the specified dimension. Got self.shape = "
            f"{list(self.layout.shape)} source.shape = {list(source.layout.shape)} (dim {axis}, {vector.layout.numel} indices)"
        )
    return axis, _spread(vector, axis, source.layout.shape if source.layout.ndim else self.layout.shape)


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1, out: Tensor | None = None) -> Tensor:
    """A copy of ``input`` with ``alpha`` times the slices of ``source`` added at the positions in ``index``."""
    axis, places = _index_write(input, dim, index, source, "index_add")
    return into(out, SCATTER(input, places, source if alpha == 1 else source * alpha, statics=(axis, "sum", "index_add")))


def index_add_(self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """In-place version of ``index_add()``."""
    axis, places = _index_write(self, dim, index, source, "index_add")
    return SCATTER.inplace(self, self, places, source if alpha == 1 else source * alpha, statics=(axis, "sum", "index_add"))


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor, *, out: Tensor | None = None) -> Tensor:
    """A copy of ``input`` with the slices of ``source`` written at the positions in ``index``."""
    axis, places = _index_write(input, dim, index, source, "index_copy")
    return into(out, SCATTER(input, places, source, statics=(axis, "set", "index_copy")))


def index_copy_(self: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """In-place version of ``index_copy()``."""
    axis, places = _index_write(self, dim, index, source, "index_copy")
    return SCATTER.inplace(self, self, places, source, statics=(axis, "set", "index_copy"))


def _filling(self: Tensor, dim: int, index: Tensor, value: Any) -> tuple:
    """The operands and statics of ``index_fill``."""
    axis = lay.wrap_axis(dim, self.layout.ndim)
    places = _spread(_vector("index_fill", index), axis, self.layout.shape)
    if isinstance(value, TensorBase):
        if value.layout.ndim:
            raise RuntimeError(
                f"index_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.layout.ndim} dimension(s)."
            )
        value = value.to(self.layout.dtype).expand(places.layout.shape)
    return (places, number(value)), (axis, "set", "index_fill")


def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """A copy of ``input`` with a number (or a tensor without dimensions) written to the slices at the positions in ``index``."""
    operands, statics = _filling(input, dim, index, value)
    return SCATTER(input, *operands, statics=statics)


def index_fill_(self: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """In-place version of ``index_fill()``."""
    operands, statics = _filling(self, dim, index, value)
    return SCATTER.inplace(self, self, *operands, statics=statics)


def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True, out: Tensor | None = None
) -> Tensor:
    """A copy of ``input`` with the slices of ``source`` combined (prod, mean, amax, amin) into those at the positions in ``index``."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    axis, places = _index_write(input, dim, index, source, "index_reduce")
    return into(out, _reduced(input, axis, places, source, reduce, include_self, "index_reduce"))


def index_reduce_(self: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True) -> Tensor:
    """In-place version of ``index_reduce()``."""
    return self.copy_(index_reduce(self, dim, index, source, reduce, include_self=include_self))


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None, *, out: Tensor | None = None) -> Tensor:
    """As ``gather``, but the other dimensions are broadcast; without ``dim``, of the flattened tensor."""
    if dim is None:
        return into(out, gather(input.reshape(-1), 0, indices.reshape(-1)))
    axis = lay.wrap_axis(dim, input.layout.ndim)
    shared = lay.broadcast_shapes(
        (*input.layout.shape[:axis], 1, *input.layout.shape[axis + 1 :]),
        (*indices.layout.shape[:axis], 1, *indices.layout.shape[axis + 1 :]),
    )
    indices = FUNCTIONS.where(indices < 0, indices + input.layout.shape[axis], indices)
    source = input.expand((*shared[:axis], input.layout.shape[axis], *shared[axis + 1 :]))
    return into(out, gather(source, axis, indices.expand((*shared[:axis], indices.layout.shape[axis], *shared[axis + 1 :]))))


# -- embedding -------------------------------------------------------------------------------------------------------


def _infer_embedding(operands: tuple, statics: tuple) -> Layout:
    weight, indices = operands
    if weight.ndim != 2:
        raise RuntimeError(f"'weight' must be 2-D, but it has shape {list(weight.shape)}")
    if indices.dtype not in (dt.int64, dt.int32):
        raise RuntimeError(
            f"Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got {indices.dtype!r} instead (while checking arguments for embedding)"
        )
    return lay.contiguous((*indices.shape, weight.shape[1]), weight.dtype)


def _lower_embedding(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    weight, indices = operands[0].plain, operands[1]
    rows = weight.shape[0]

    def make(position: int, value: int) -> Exception:
        return IndexOutOfBoundsError(
            f"embedding: index {value} is out of range for a table of {rows} rows (num_embeddings), at position {unravel(position, indices.shape)} (index out of range in self)"
        )

    indices = check_range(graph, indices, rows, make)
    shape = layouts[0].shape
    layout = lay.layout(shape, (*(0,) * (len(shape) - 1), weight.layout.strides[1]), weight.layout.offset, weight.dtype)
    return graph.gather(weight, layout, [indices.unsqueeze(indices.ndim).expand(shape)], [weight.layout.strides[0]])


EMBEDDING = Operator(
    "embedding",
    ("weight", "indices"),
    ("padding_idx", "scale_grad_by_freq"),
    infer=_infer_embedding,
    lower=_lower_embedding,
    keeps_origin=True,
)


def _embedding_gradient(grad: Tensor, weight_layout: Layout, indices: Tensor, padding_idx: int, scale_grad_by_freq: bool) -> Tensor:
    flat = indices.reshape(-1)
    rows = grad.reshape(flat.layout.numel, grad.layout.shape[-1])
    zeros = FUNCTIONS.zeros(lay.contiguous(weight_layout.shape, grad.layout.dtype))
    if scale_grad_by_freq:
        counts = index_add(
            FUNCTIONS.zeros(lay.contiguous((weight_layout.shape[0],), grad.layout.dtype)),
            0,
            flat,
            FUNCTIONS.ones(lay.contiguous(flat.layout.shape, grad.layout.dtype)),
        )
        rows = rows / index_select(counts, 0, flat).unsqueeze(1)
    if padding_idx >= 0:
        rows = FUNCTIONS.where((flat == padding_idx).unsqueeze(1), 0.0, rows)
    return index_add(zeros, 0, flat, rows)


EMBEDDING.gradient(weight=_embedding_gradient)


def embedding(weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    """The rows of ``weight`` at ``indices``; rows at ``padding_idx`` get no gradient.

    Shapes: weight ``(V, D)``, indices ``(*)``, result ``(*, D)``.

    Raises:
        IndexError: an index is out of range (at the flush).
    """
    return EMBEDDING(weight, indices, statics=(padding_idx, scale_grad_by_freq))


PUBLIC = (
    "embedding", "gather", "index_add", "index_copy", "index_fill", "index_reduce", "index_select", "scatter", "scatter_add", "scatter_reduce", "take_along_dim",
)  # fmt: skip
METHODS = (
    *PUBLIC[1:], "index_add_", "index_copy_", "index_fill_", "index_reduce_", "scatter_", "scatter_add_", "scatter_reduce_",
)  # fmt: skip
