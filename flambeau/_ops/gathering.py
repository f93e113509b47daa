"""Reading and writing at computed positions: gather, scatter and their kin, index_select, index_add, embedding, take.

An index out of range is found when the index is computed, before anything is written; the error names the value, its place in the index
and the user's line. Where positions repeat, the last in row-major order wins, on any number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau._ops.arguments import into, number
from flambeau._ops.operator import FUNCTIONS, Operator
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


def check_range(
    graph: Graph, index: Node, size: int, dim: int, name: str, *, error: type[Exception] = IndexOutOfBoundsError, wraps: bool = False
) -> Node:
    """Check that an index (int64) lies in ``[0, size)`` (or, if it wraps, in ``[-size, size)``); returns it counted from the front."""
    shape = index.shape
    low = -size if wraps else 0

    def make(position: int, value: int) -> Exception:
        return error(
            f"{name}: index {value} is out of bounds for dimension {dim} with size {size} (at position {unravel(position, shape)} of an index of shape {list(shape)})"
        )

    graph.check((index < low) | (index >= size), index, make)
    return graph.where(index < 0, index + size, index) if wraps else index


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
    _check_index("gather", source, index, statics[0], None)
    return lay.contiguous(index.shape, source.dtype)


def _places(source: Layout, shape: tuple[int, ...], dim: int) -> tuple[Layout, int]:
    """The layout with which ``source`` is read at an index of ``shape``, but for ``dim``, and the stride along ``dim``."""
    strides = tuple(0 if axis == dim else stride for axis, stride in enumerate(source.strides))
    return lay.layout(shape, strides[: len(shape)], source.offset, source.dtype), source.strides[dim] if source.strides else 0


def _lower_gather(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    source, index = operands[0].plain, graph.cast(operands[1], dt.int64)
    dim = statics[0]
    if not index.numel:
        return graph.constant(0, source.dtype, index.shape)
    index = check_range(graph, index, source.shape[dim] if source.ndim else 1, dim, "gather()")
    layout, stride = _places(source.layout, index.shape, dim)
    return graph.gather(source, layout, [index], [stride])


GATHER = Operator("gather", ("input", "index"), ("dim",), infer=_infer_gather, lower=_lower_gather, keeps_origin=True)
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
    return into(out, GATHER(input, index, statics=(axis,)))


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
    base = graph.copy(target, layouts[0].strides)
    index = graph.cast(index, dt.int64)
    if not index.numel:
        return base
    index = check_range(graph, index, target.shape[dim] if target.ndim else 1, dim, f"{name}()")
    value = graph.cast(src, target.dtype)
    if value.ndim:
        for axis, size in enumerate(index.shape):
            if value.shape[axis] != size:
                value = value.slice(axis, 0, size)
    value = value.expand(index.shape)
    layout, stride = _places(base.layout, index.shape, dim)
    return graph.scatter(base, layout, [index], [stride], graph.copy(value), combine)


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
    from flambeau._ops.joining import constant_pad_nd

    pad: list[int] = []
    for size, full in zip(reversed(x.layout.shape), reversed(shape), strict=True):
        pad += [0, full - size]
    return constant_pad_nd(x, pad)


def _scatter_input(grad: Tensor, input: Tensor, index: Tensor, src: Any, result: Tensor, dim: int, combine: str) -> Tensor:
    if combine == "sum":
        return grad
    if combine == "set":
        return SCATTER(grad, index, 0, statics=(dim, "set", "scatter"))
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


def _scatter_src(grad: Tensor, input: Tensor, index: Tensor, src: Any, result: Tensor, dim: int, combine: str) -> Tensor:
    shape = src.layout.shape
    if combine == "sum":
        return _uncrop(gather(grad, dim, index), shape)
    values = _values(src, index, grad)
    if combine == "set":  # only the last of several values at one place has an effect
        order = FUNCTIONS.arange(index.layout.numel).reshape(index.layout.shape)
        last = SCATTER(FUNCTIONS.full(lay.contiguous(input.layout.shape, dt.int64), -1), index, order, statics=(dim, "set", "scatter"))
        return _uncrop(FUNCTIONS.where(gather(last, dim, index) == order, gather(grad, dim, index), 0.0), shape)
    if combine == "prod":
        others = gather(result, dim, index) / values  # a product with one zero has its gradient there
        zeros = (values == 0).to(grad.layout.dtype)
        count = gather(scatter_add((input == 0).to(grad.layout.dtype), dim, index, zeros), dim, index)
        ones = FUNCTIONS.where(values == 0, 1.0, values)
        rest = SCATTER(FUNCTIONS.where(input == 0, 1.0, input), index, ones, statics=(dim, "prod", "scatter"))
        single = gather(rest, dim, index) / ones
        factor = FUNCTIONS.where(
            count == 0, others, FUNCTIONS.where((count == 1) & (values == 0), _with_own_zero(single, input, dim, index), 0.0)
        )
        return _uncrop(gather(grad, dim, index) * factor, shape)
    _, share = _extremum_shares(input, index, values, result, dim)
    return _uncrop(gather(grad, dim, index) * share, shape)


def _with_own_zero(single: Tensor, input: Tensor, dim: int, index: Tensor) -> Tensor:
    """0 where the only zero of a product is counted in the value but the target's own element is zero as well."""
    return FUNCTIONS.where(gather(input, dim, index) == 0, 0.0, single)


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
    full = (*shape[:dim], index.layout.numel, *shape[dim + 1 :])
    return index.reshape(tuple(-1 if axis == dim else 1 for axis in range(len(full)))).expand(full)


def _vector(name: str, index: Tensor) -> Tensor:
    if index.layout.ndim > 1:
        raise IndexError(
            f"{name}(): Index is supposed to be a vector, but got dim: {index.layout.ndim} with type: {index.layout.dtype!r} and size: {list(index.layout.shape)}"
        )
    if index.layout.dtype not in (dt.int64, dt.int32):
        raise RuntimeError(f"{name}(): Expected dtype int32 or int64 for index, but got {index.layout.dtype!r}")
    return index.reshape(-1)


def index_select(input: Tensor, dim: int, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The slices along ``dim`` at the positions in ``index`` (a vector)."""
    axis = lay.wrap_axis(dim, input.layout.ndim)
    vector = _vector("index_select", index)
    return into(out, GATHER(input, _spread(vector, axis, input.layout.shape), statics=(axis,)))


def _index_write(self: Tensor, dim: int, index: Tensor, source: Tensor, name: str) -> tuple[int, Tensor]:
    axis = lay.wrap_axis(dim, self.layout.ndim)
    vector = _vector(name, index)
    if source.layout.ndim and source.layout.shape[axis] != vector.layout.numel:
        raise RuntimeError(
            f"{name}(): Number of indices ({vector.layout.numel}) should be equal to source.size(dim): ({source.layout.shape[axis]}), for dim: {axis}"
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


def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """A copy of ``input`` with a number written to the slices at the positions in ``index``."""
    axis = lay.wrap_axis(dim, input.layout.ndim)
    places = _spread(_vector("index_fill", index), axis, input.layout.shape)
    return SCATTER(input, places, value.item() if isinstance(value, TensorBase) else number(value), statics=(axis, "set", "index_fill"))


def index_fill_(self: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """In-place version of ``index_fill()``."""
    axis = lay.wrap_axis(dim, self.layout.ndim)
    places = _spread(_vector("index_fill", index), axis, self.layout.shape)
    return SCATTER.inplace(
        self, self, places, value.item() if isinstance(value, TensorBase) else number(value), statics=(axis, "set", "index_fill")
    )


def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True, out: Tensor | None = None
) -> Tensor:
    """A copy of ``input`` with the slices of ``source`` combined (prod, mean, amax, amin) into those at the positions in ``index``."""
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
    weight, indices = operands[0].plain, graph.cast(operands[1], dt.int64)
    rows = weight.shape[0]

    def make(position: int, value: int) -> Exception:
        return IndexError(
            f"embedding: index {value} is out of range for a table of {rows} rows (num_embeddings), at position {unravel(position, indices.shape)} (index out of range in self)"
        )

    graph.check((indices < 0) | (indices >= rows), indices, make)
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
