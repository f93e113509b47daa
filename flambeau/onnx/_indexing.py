"""Functions that take places from tensors, in ONNX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau.onnx._graph import Builder, Value, broadcast
from flambeau.onnx._moving import LAST, sliced, strided_places
from flambeau.onnx._reductions import flat
from flambeau.onnx._registry import handler


@handler("index_select")
def _index_select(g: Builder, like: Any, input: Value, dim: int, index: Value) -> Value:
    if not input.dim:
        return input
    places = index if index.dim else g.unsqueeze(index, 0)
    return g("Gather", input, g.value(places, flambeau.int64), like=like, axis=dim % input.dim)


@handler("embedding")
def _embedding(g: Builder, like: Any, weight: Value, indices: Value, *others: Any, **options: Any) -> Value:
    return g("Gather", weight, g.value(indices, flambeau.int64), like=like, axis=0)


@handler("gather")
def _gather(g: Builder, like: Any, input: Value, dim: int, index: Value, sparse_grad: bool = False) -> Value:
    if not input.dim:
        return g.expand(input, like)
    for axis, size in enumerate(index.shape):
        if axis != dim % input.dim and size != input.shape[axis]:
            input = sliced(g, input, axis, 0, g.size(index, axis))
    return g("GatherElements", input, g.value(index, flambeau.int64), like=like, axis=dim % input.dim)


@handler("take_along_dim")
def _take_along_dim(g: Builder, like: Any, input: Value, indices: Value, dim: int | None = None) -> Value:
    if dim is None:
        return g("GatherElements", flat(g, input), flat(g, indices), like=like, axis=0)
    axis = dim % input.dim
    shape = broadcast(*[tuple([1 if place == axis else size for place, size in enumerate(each.shape)]) for each in (input, indices)])
    whole = [g.expand(each, Value((*shape[:axis], each.shape[axis], *shape[axis + 1 :]), each.dtype)) for each in (input, indices)]
    return g("GatherElements", whole[0], g.value(whole[1], flambeau.int64), like=like, axis=axis)


@handler("take")
def _take(g: Builder, like: Any, input: Value, index: Value) -> Value:
    return g("Gather", flat(g, input), g.value(index, flambeau.int64), like=like, axis=0)


@handler("masked_select", "nonzero", "argwhere")
def _of_data(g: Builder, like: Any, *args: Any, **options: Any) -> Value:
    raise NotImplementedError(_DATA)


_DATA = "the size of its result depends on numbers: use torch.where, or multiply by the mask"


# -- x[i, j] -------------------------------------------------------------------------------------------------------------


@handler("index", "_unsafe_index")
def _index(g: Builder, like: Any, input: Value, indices: Sequence[Any]) -> Value:
    """One tensor gathers along its dimension; several gather places from the front."""
    if any(each is not None and each.dtype in _MASKS for each in indices):
        raise NotImplementedError(_DATA)
    dims, places = _places(g, input, indices)
    if len(dims) == 1:
        return g("Gather", input, places[0], like=like, axis=dims[0])
    rest = [each for each in range(input.dim) if each not in dims]
    turned = g.transpose(input, [*dims, *rest])
    shape = broadcast(*[each.shape for each in places])
    found = g("GatherND", turned, _side_by_side(g, places), shape=(*shape, *[input.shape[each] for each in rest]), dtype=input.dtype)
    if dims != list(range(dims[0], dims[0] + len(dims))) or not dims[0]:
        return found
    width = len(shape)  # the places come where the first index was
    lead = dims[0]
    return g.transpose(found, [*range(width, width + lead), *range(width), *range(width + lead, found.dim)])


_MASKS = (flambeau.bool, flambeau.uint8)


def _places(g: Builder, input: Value, indices: Sequence[Any]) -> tuple[list[int], list[Value]]:
    """Which dimensions are indexed, and by what; masks by the places where they hold."""
    dims: list[int] = []
    places: list[Value] = []
    dim = 0
    for each in indices:
        if each is None:
            dim += 1
        elif each.dtype in _MASKS:
            found = g("NonZero", each, shape=(each.dim, "?"), dtype=flambeau.int64)
            for axis in range(each.dim):
                places.append(g("Gather", found, g.number(axis, flambeau.int64), shape=("?",), axis=0))
                dims.append(dim + axis)
            dim += each.dim
        else:
            places.append(g.value(each, flambeau.int64))
            dims.append(dim)
            dim += 1
    return dims, places


def _side_by_side(g: Builder, places: list[Value]) -> Value:
    """Places as vectors with a number for each dimension."""
    shape = broadcast(*[each.shape for each in places])
    columns = [each if each.shape == shape else g.expand(each, Value(shape, each.dtype)) for each in places]
    columns = [g.unsqueeze(each, each.dim) for each in columns]
    return columns[0] if len(columns) == 1 else g("Concat", *columns, shape=(*shape, len(columns)), axis=-1)


@handler("index_put", "_unsafe_index_put", "_index_put_impl")
def index_put(g: Builder, like: Any, input: Value, indices: Sequence[Any], values: Value, accumulate: bool = False, *others: Any) -> Value:
    """A mask with one value chooses; other places are scattered to."""
    values = g.value(values, input.dtype)
    masks = [each for each in indices if each is not None]
    if len(masks) == 1 and masks[0].dtype is flambeau.bool and indices[0] is not None and not accumulate and values.shape in ((), (1,)):
        mask = g.unsqueeze(masks[0], *range(masks[0].dim, input.dim))
        return g("Where", mask, values, input, shape=input.shape, dtype=input.dtype)
    dims, places = _places(g, input, indices)
    rest = [each for each in range(input.dim) if each not in dims]
    order = [*dims, *rest]
    turned = g.transpose(input, order)
    shape = broadcast(*[each.shape for each in places])
    adjacent = dims == list(range(dims[0], dims[0] + len(dims)))
    lead = dims[0] if adjacent else 0
    tail = [input.shape[each] for each in rest]
    wanted = Value((*tail[:lead], *shape, *tail[lead:]), input.dtype)
    joined = _side_by_side(g, places)
    if values.shape != wanted.shape:
        sizes = [g.size(joined, axis) for axis in range(len(shape))]
        behind = [g.size(input, each) for each in rest]
        values = g("Expand", values, g.vector(*behind[:lead], *sizes, *behind[lead:]), shape=wanted.shape)
    if lead:  # the values lie where the first index was: to the front
        values = g.transpose(values, [*range(lead, lead + len(shape)), *range(lead), *range(lead + len(shape), values.dim)])
    written = g("ScatterND", turned, joined, values, shape=turned.shape, dtype=input.dtype, reduction="add" if accumulate else None)
    return g.transpose(written, [order.index(each) for each in range(input.dim)])


# -- scatter -------------------------------------------------------------------------------------------------------------

_REDUCTIONS = {"add": "add", "sum": "add", "multiply": "mul", "prod": "mul", "amax": "max", "amin": "min", "mean": "add"}


def scatter(g: Builder, input: Value, dim: int, index: Value, source: Any, reduction: str | None = None) -> Value:
    """Write elements along a dimension."""
    index = g.value(index, flambeau.int64)
    source = g.value(source, input.dtype)
    if source.dim != index.dim or source.shape == ():
        source = g.expand(source, Value(index.shape, source.dtype)) if index.dim else source
    for axis, size in enumerate(index.shape):
        if source.shape[axis] != size:
            source = sliced(g, source, axis, 0, g.size(index, axis))
    if not input.dim:
        return _of_one(g, input, index, source, reduction)
    return g("ScatterElements", input, index, source, shape=input.shape, axis=dim % input.dim, reduction=reduction)


def _of_one(g: Builder, input: Value, index: Value, source: Value, reduction: str | None) -> Value:
    vectors = [each if each.dim else g.unsqueeze(each, 0) for each in (input, index, source)]
    return g("Squeeze", g("ScatterElements", *vectors, shape=vectors[0].shape, axis=0, reduction=reduction), shape=())


@handler("scatter")
def _scatter(g: Builder, like: Any, input: Value, dim: int, index: Value, src: Any = None, reduce: Any = None, value: Any = None) -> Value:
    return scatter(g, input, dim, index, value if src is None else src, _REDUCTIONS[reduce] if reduce else None)


@handler("scatter_add")
def _scatter_add(g: Builder, like: Any, input: Value, dim: int, index: Value, src: Value) -> Value:
    return scatter(g, input, dim, index, src, "add")


@handler("scatter_reduce")
def scatter_reduce(
    g: Builder, like: Any, input: Value, dim: int, index: Value, src: Value, reduce: str, include_self: bool = True
) -> Value:
    """Without `include_self`, what is written to starts as the number that changes nothing; a mean is a sum over a count."""
    start = input
    if not include_self:
        start = scatter(g, input, dim, index, g.value(_neutral(reduce, input.dtype), input.dtype), None)
    total = scatter(g, start, dim, index, src, _REDUCTIONS[reduce])
    if reduce != "mean":
        return total
    one, zero = (g.expand(g.number(number, input.dtype), input) for number in (1, 0))
    before = one if include_self else scatter(g, one, dim, index, g.number(0, input.dtype), None)
    counts = scatter(g, before, dim, index, g.number(1, input.dtype), "add")
    quotient = g("Div", total, counts)
    if input.dtype.is_floating_point:
        return quotient
    rest = g("Less", g("Mul", total, counts), zero, dtype=flambeau.bool)  # integers are divided downwards
    inexact = g("Not", g("Equal", g("Mul", quotient, counts), total, dtype=flambeau.bool))
    return g("Sub", quotient, g.value(g("And", rest, inexact), input.dtype))


def _neutral(reduce: str, dtype: flambeau.dtype) -> Any:
    if reduce in ("sum", "mean"):
        return 0
    if reduce == "prod":
        return 1
    if dtype.is_floating_point:
        return -math.inf if reduce == "amax" else math.inf
    limits = flambeau.iinfo(dtype)
    return limits.min if reduce == "amax" else limits.max


def _along(g: Builder, index: Value, dim: int, source: Any) -> Value:
    """A vector of places as an index of `scatter`."""
    axis = dim % source.dim
    places = index if index.dim else g.unsqueeze(index, 0)
    lying = g.unsqueeze(places, *[each for each in range(source.dim) if each != axis])
    sizes = [g.size(source, each) for each in range(source.dim)]
    return g("Expand", g.value(lying, flambeau.int64), g.vector(*sizes), shape=source.shape)


@handler("index_add")
def _index_add(g: Builder, like: Any, input: Value, dim: int, index: Value, source: Value, alpha: Any = 1) -> Value:
    added = source if alpha == 1 else g("Mul", source, g.value(alpha, source.dtype))
    return scatter(g, input, dim, _along(g, index, dim, source) if source.dim else index, added, "add")


@handler("index_copy")
def _index_copy(g: Builder, like: Any, input: Value, dim: int, index: Value, source: Value) -> Value:
    return scatter(g, input, dim, _along(g, index, dim, source) if source.dim else index, source)


@handler("index_reduce")
def _index_reduce(
    g: Builder, like: Any, input: Value, dim: int, index: Value, source: Value, reduce: str, include_self: bool = True
) -> Value:
    return scatter_reduce(g, like, input, dim, _along(g, index, dim, source), source, reduce, include_self)


@handler("index_fill")
def _index_fill(g: Builder, like: Any, input: Value, dim: int, index: Value, value: Any) -> Value:
    if not input.dim:
        return g.value(value, input.dtype)
    axis = dim % input.dim
    count = index.shape[0] if index.dim else 1
    source = Value((*input.shape[:axis], count, *input.shape[axis + 1 :]), input.dtype)
    sizes = [g.size(index, 0) if each == axis and index.dim else g.size(input, each) if each != axis else 1 for each in range(input.dim)]
    whole = g("Expand", g.value(value, input.dtype), g.vector(*sizes), shape=source.shape)
    return scatter(g, input, dim, _along(g, index, dim, whole), whole)


@handler("put")
def _put(g: Builder, like: Any, input: Value, index: Value, source: Value, accumulate: bool = False) -> Value:
    written = scatter(g, flat(g, input), 0, flat(g, index) if index.dim else g.unsqueeze(index, 0),
                      flat(g, source) if source.dim else g.unsqueeze(source, 0), "add" if accumulate else None)  # fmt: skip
    return g.reshape(written, input)


# -- writing to a part -----------------------------------------------------------------------------------------------------


@handler("slice_scatter")
def slice_scatter(
    g: Builder, like: Any, input: Value, src: Value, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Value:
    """What is in front of the slice, the source, and what is behind it; places, where elements lie apart."""
    axis = dim % input.dim
    first, behind = 0 if start is None else start, LAST if end is None else end
    size = input.shape[axis]
    if isinstance(first, int) and isinstance(behind, int) and isinstance(size, int):
        reached = range(*slice(first, behind, step).indices(size))
        if len(reached) == size:
            return src
        if step != 1:
            return scatter(g, input, axis, _along(g, g.integers(*reached), axis, src), src)
        first, behind = reached.start, max(reached.stop, reached.start)
    elif step != 1:
        raise NotImplementedError("elements that lie apart are written along dimensions of known sizes only")
    parts = [] if first == 0 else [sliced(g, input, axis, 0, first)]
    parts.append(src)
    if behind not in (LAST, size):
        parts.append(sliced(g, input, axis, behind))
    return src if len(parts) == 1 else g("Concat", *parts, shape=input.shape, dtype=input.dtype, axis=axis)


@handler("select_scatter")
def select_scatter(g: Builder, like: Any, input: Value, src: Value, dim: int, index: Any) -> Value:
    axis = dim % input.dim
    end = index + 1 if isinstance(index, int) else g.compute("Add", index, 1)
    return slice_scatter(g, like, input, g.unsqueeze(src, axis), axis, index, LAST if end == 0 else end)


@handler("as_strided_scatter")
def _as_strided_scatter(
    g: Builder, like: Any, input: Value, src: Value, size: Any, stride: Any, storage_offset: int | None = None
) -> Value:
    places = strided_places(input, size, stride, storage_offset)
    written = scatter(g, flat(g, input), 0, g.constant(places.flatten()), flat(g, src))
    return g.reshape(written, like)


@handler("diagonal_scatter")
def diagonal_scatter(g: Builder, like: Any, input: Value, src: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    first, second = dim1 % input.dim, dim2 % input.dim
    rows, columns, size = input.shape[first], input.shape[second], src.shape[-1]
    if not all(isinstance(each, int) for each in (rows, columns, size)):
        raise NotImplementedError("the diagonal of a matrix whose sizes are not known is not written")
    rest: list[Any] = [each for each in range(input.dim) if each not in (first, second)]
    order = [first, second, *rest]
    places = flambeau.stack([flambeau.arange(size) + max(-offset, 0), flambeau.arange(size) + max(offset, 0)], 1)
    front = g.transpose(src, [src.dim - 1, *range(src.dim - 1)])
    written = g("ScatterND", g.transpose(input, order), g.constant(places), front, shape=tuple([input.shape[each] for each in order]))
    return g.transpose(written, [order.index(each) for each in range(input.dim)])
