"""Writing at computed positions: scatter, scatter_add, scatter_reduce.

Where positions repeat, the last in row-major order wins, or values are combined in that order, on any number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau._ops.arguments import apart, into, number_for
from flambeau._ops.elementwise import div
from flambeau._ops.gathering import gather
from flambeau._ops.joining import cat, constant_pad_nd
from flambeau._ops.operator import Operator
from flambeau._ops.positions import check_index, out_of_bounds, places_along, require_tensor
from flambeau._ops.registry import FUNCTIONS
from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


def _infer_scatter(operands: tuple, statics: tuple) -> Layout:
    target, index, src = operands
    dim, combine, name = statics
    source = None if isinstance(src, type) else src
    check_index(name, target, index, dim, source)
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
    layout, stride = places_along(base.layout, shape, dim)
    wraps = name == "index_fill"
    result = graph.scatter(base, layout, [index], [stride], value, combine, sizes=[size], wraps=wraps, errors=[make])
    return graph.cast(result, target.dtype)


def _operator(name: str) -> Operator:
    return Operator(
        name, ("input", "index", "src"), ("dim", "combine", "name"), infer=_infer_scatter, lower=_lower_scatter, keeps_origin=True
    )


class _Scatter:
    """The operator by how values are combined: each saves only what its own gradient needs, so that a tensor can be written to again."""

    def __init__(self) -> None:
        reduce = _operator("scatter_reduce")
        self.operators = {"set": _operator("scatter"), "sum": _operator("scatter_add"), "prod": reduce, "max": reduce, "min": reduce}

    def __call__(self, *operands: Any, statics: tuple) -> Tensor:
        return self.operators[statics[1]](*operands, statics=statics)

    def inplace(self, target: Tensor, *operands: Any, statics: tuple) -> Tensor:
        return self.operators[statics[1]].inplace(target, *operands, statics=statics)


SCATTER = _Scatter()


# -- gradients --------------------------------------------------------------------------------------------------------


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


def _set_input(grad: Tensor, index: Tensor, dim: int, name: str) -> Tensor:
    return SCATTER(grad, index, 0, statics=(dim, "set", name))


def _reduced_input(grad: Tensor, input: Tensor, index: Tensor, src: Any, result: Tensor, dim: int, combine: str) -> Tensor:
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


def _added_src(grad: Tensor, index: Tensor, src_shape: tuple[int, ...], dim: int) -> Tensor:
    return _uncrop(gather(grad, dim, index), src_shape)


def _set_src(grad: Tensor, input_shape: tuple[int, ...], index: Tensor, src_shape: tuple[int, ...], dim: int, name: str) -> Tensor:
    if name == "index_fill" and input_shape:
        index = FUNCTIONS.where(index < 0, index + input_shape[dim], index)
    if name == "max_unpool":  # PyTorch's rule for maxima: what shares a place shares its gradient
        return _added_src(grad, index, src_shape, dim)
    # Only the last of several values at one place has an effect.
    order = FUNCTIONS.arange(index.layout.numel).reshape(index.layout.shape)
    last = SCATTER(FUNCTIONS.full(lay.contiguous(input_shape, dt.int64), -1), index, order, statics=(dim, "set", "scatter"))
    return _uncrop(FUNCTIONS.where(gather(last, dim, index) == order, gather(grad, dim, index), 0.0), src_shape)


def _reduced_src(grad: Tensor, input: Tensor, index: Tensor, src: Any, result: Tensor, dim: int, combine: str) -> Tensor:
    shape, values = src.layout.shape, _values(src, index, grad)
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


SCATTER.operators["set"].gradient(input=_set_input, src=_set_src)
SCATTER.operators["sum"].gradient(input=lambda grad: grad, src=_added_src)
SCATTER.operators["prod"].gradient(input=_reduced_input, src=_reduced_src)


# -- functions --------------------------------------------------------------------------------------------------------


def check_out(out: Tensor | None, input: Tensor, *others: Any, name: str) -> None:
    """Check that ``out`` has the dtype of ``input`` and shares no memory with the operands, unless it is ``input`` itself."""
    if out is None:
        return
    if out.layout.dtype is not input.layout.dtype:
        raise RuntimeError(f"{name}(): Expected out tensor to have dtype {input.layout.dtype!r}, but got {out.layout.dtype!r} instead")
    same = out.memory is input.memory and out.layout is input.layout
    read = [each for each in (*(() if same else (input,)), *others) if isinstance(each, TensorBase)]
    apart(out, *read, name=name, shape=input.layout.shape)


_REDUCE = {None: "set", "add": "sum", "multiply": "prod"}


def _scatter_arguments(dim: int, index: Tensor, src: Any, value: Any, reduce: str | None, self: Tensor) -> tuple:
    require_tensor("scatter", "index", index)
    if reduce not in _REDUCE:
        raise RuntimeError(f"reduce argument must be either add or multiply, but got {reduce!r}")
    source = src if src is not None else value
    if source is None:
        raise TypeError("scatter() needs src (a tensor) or value (a number)")
    source = source if isinstance(source, TensorBase) else number_for(self.layout.dtype, source)
    return source, (lay.wrap_axis(dim, self.layout.ndim), _REDUCE[reduce], "scatter")


def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None, out: Tensor | None = None
) -> Tensor:
    """A copy of ``input`` with ``src`` (a tensor or a number) written where ``index`` says along ``dim``.

    For ``dim=0``: ``out[index[i][j]][j] = src[i][j]``. Among values for one place the last in row-major order wins.

    Args:
        input: any shape.
        dim: the dimension along which ``index`` names positions.
        index: int64 or int32, from 0 to below ``input.size(dim)``; of as many dimensions as ``input``, and in those other than ``dim`` at most as long. Nothing is
            broadcast: ``expand`` the operands for that.
        src: a tensor of the dtype of ``input`` that is at least as long as ``index`` in each dimension, or a number.
        value: a number, in the place of ``src``.
        reduce: ``"add"`` or ``"multiply"``: values are combined with what is there instead of replacing it.

    Returns:
        A tensor of the shape and dtype of ``input``.

    Raises:
        RuntimeError: shapes or dtypes do not fit; the index is out of bounds (then also an ``IndexError``).
        TypeError: neither ``src`` nor ``value`` is given.

    Example::

        >>> labels = flambeau.tensor([1, 3])
        >>> flambeau.zeros(2, 5).scatter(1, labels.unsqueeze(-1), 1.0)
        tensor([[0., 1., 0., 0., 0.],
                [0., 0., 0., 1., 0.]])
    """
    source, statics = _scatter_arguments(dim, index, src, value, reduce, input)
    check_out(out, input, index, source, name="scatter")
    return into(out, SCATTER(input.contiguous(), index, source, statics=statics))


def scatter_(self: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None) -> Tensor:
    """In-place version of ``scatter()``."""
    source, statics = _scatter_arguments(dim, index, src, value, reduce, self)
    return SCATTER.inplace(self, self, index, source, statics=statics)


def unpool(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """``scatter``, for ``max_unpool``: every value has the gradient of the place that it was written to."""
    return SCATTER(input, index, src, statics=(lay.wrap_axis(dim, input.layout.ndim), "set", "max_unpool"))


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor, *, out: Tensor | None = None) -> Tensor:
    """A copy of ``input`` with ``src`` added where ``index`` says along ``dim``, in row-major order, so that the bits do not depend on threads.

    For ``dim=0``: ``out[index[i][j]][j] += src[i][j]``. Shapes and errors are those of ``scatter()``.

    Example::

        >>> flambeau.zeros(3).scatter_add(0, flambeau.tensor([0, 2, 0]), flambeau.tensor([1.0, 2.0, 4.0]))
        tensor([5., 0., 2.])
    """
    require_tensor("scatter_add", "index", index)
    check_out(out, input, index, src, name="scatter_add")
    return into(out, SCATTER(input.contiguous(), index, src, statics=(lay.wrap_axis(dim, input.layout.ndim), "sum", "scatter_add")))


def scatter_add_(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """In-place version of ``scatter_add()``."""
    require_tensor("scatter_add_", "index", index)
    return SCATTER.inplace(self, self, index, src, statics=(lay.wrap_axis(dim, self.layout.ndim), "sum", "scatter_add"))


_KINDS = {"sum": "sum", "prod": "prod", "amax": "max", "amin": "min"}


def reduced(self: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool, name: str) -> Tensor:
    """``self`` with ``src`` combined into it (sum, prod, mean, amax, amin) where ``index`` says along ``dim``."""
    axis = lay.wrap_axis(dim, self.layout.ndim)
    self = self.contiguous()
    dtype = self.layout.dtype
    if (reduce == "mean" and dtype is dt.bool) or (reduce in ("amax", "amin") and dtype.is_complex):
        raise NotImplementedError(f"{name}() with reduce={reduce!r} is not implemented for {dtype!r}")
    if reduce == "mean":
        return _mean(self, axis, index, src, include_self, name)
    if reduce not in _KINDS:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    kind = _KINDS[reduce]
    start = self
    if not include_self:
        start = FUNCTIONS.where(_hits(self, axis, index, dt.uint8, "set", name) > 0, _identity(kind, self.layout.dtype), self)
    return SCATTER(start, index, src, statics=(axis, kind, name))


def _mean(self: Tensor, dim: int, index: Tensor, src: Tensor, include_self: bool, name: str) -> Tensor:
    count = _hits(self, dim, index, src.layout.dtype.to_real(), "sum", name, first=int(include_self))
    start = self if include_self else FUNCTIONS.where(count > 0, 0, self)
    total = SCATTER(start, index, src, statics=(dim, "sum", name))
    count = count if include_self else count.clamp(min=1)
    return div(total, count) if total.layout.dtype.category >= dt.FLOAT else div(total, count, rounding_mode="floor")


def _hits(self: Tensor, dim: int, index: Tensor, dtype: dt.dtype, combine: str, name: str, first: int = 0) -> Tensor:
    """``first`` and how often ``index`` names each place of ``self`` (``sum``), or 1 where it does (``set``). Broadcasts with ``self``.

    What ``expand`` made of an index (of edges, for all of their features) is looked at once.
    """
    shape = list(self.layout.shape)
    for axis, (size, stride) in enumerate(zip(index.layout.shape, index.layout.strides, strict=True)):
        if axis != dim and stride == 0 and size == shape[axis]:
            index, shape[axis] = index.narrow(axis, 0, 1), 1
    start = FUNCTIONS.full(lay.contiguous(tuple(shape), dtype), first)
    ones = FUNCTIONS.ones(lay.contiguous(index.layout.shape, dtype))
    return SCATTER(start, index, ones, statics=(dim, combine, name))


def _identity(kind: str, dtype: dt.dtype) -> Any:
    if dtype is dt.bool:
        return kind in ("prod", "min")
    if kind in ("sum", "prod"):
        return int(kind == "prod")
    if dtype.is_floating_point:
        return float("-inf") if kind == "max" else float("inf")
    width = 8 * dtype.itemsize - dtype.is_signed
    return (-(1 << width) if dtype.is_signed else 0) if kind == "max" else (1 << width) - 1


def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True, out: Tensor | None = None
) -> Tensor:
    """A copy of ``input`` in which values of ``src`` are combined where ``index`` says along ``dim``. Shapes and errors are those of ``scatter()``.

    Args:
        input: any shape.
        dim: the dimension along which ``index`` names positions.
        index: of as many dimensions as ``input``.
        src: a tensor of the dtype of ``input``.
        reduce: ``"sum"``, ``"prod"``, ``"mean"``, ``"amax"`` or ``"amin"``. The gradient of an extremum is shared by all that reach it.
        include_self: whether the element that is there is one of the values.

    Example::

        >>> flambeau.zeros(3).scatter_reduce(0, flambeau.tensor([0, 2, 0]), flambeau.tensor([1.0, 2.0, 4.0]), "mean", include_self=False)
        tensor([2.5000, 0.0000, 2.0000])
    """
    require_tensor("scatter_reduce", "index", index)
    check_out(out, input, index, src, name="scatter_reduce")
    return into(out, reduced(input, dim, index, src, reduce, include_self, "scatter_reduce"))


def scatter_reduce_(self: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True) -> Tensor:
    """In-place version of ``scatter_reduce()``."""
    return self.copy_(reduced(self, dim, index, src, reduce, include_self, "scatter_reduce"))


PUBLIC = ("scatter", "scatter_add", "scatter_reduce")
METHODS = (*PUBLIC, "scatter_", "scatter_add_", "scatter_reduce_")
