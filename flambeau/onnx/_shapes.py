"""Functions that move elements, in ONNX."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.onnx._graph import Builder, Value
from flambeau.onnx._operators import HANDLERS, handler


@handler("reshape", "view", "flatten", "unflatten", "unsqueeze", "squeeze", "reshape_as", "ravel", "_unsafe_view")
def _reshaped(g: Builder, like: Tensor, input: Value, *shape: Any, **options: Any) -> Value:
    if input.dtype is not like.dtype:
        raise NotImplementedError("a view as another dtype has no operator in ONNX")
    return g.reshape(input, like)


HANDLERS["permute"] = lambda g, like, input, *dims: g.transpose(
    input, [each % input.dim for each in (dims[0] if isinstance(dims[0], (tuple, list)) else dims)]
)
HANDLERS["t"] = HANDLERS["T"] = lambda g, like, input: g.transpose(input, list(reversed(range(input.dim))))
HANDLERS["mT"] = lambda g, like, input: HANDLERS["transpose"](g, like, input, -2, -1)


@handler("transpose", "swapaxes", "swapdims")
def _swapped(g: Builder, like: Tensor, input: Value, dim0: int, dim1: int) -> Value:
    order = list(range(input.dim))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return g.transpose(input, order)


@handler("movedim", "moveaxis")
def _moved(g: Builder, like: Tensor, input: Value, source: int, destination: int) -> Value:
    order = [each for each in range(input.dim) if each != source % input.dim]
    order.insert(destination % input.dim, source % input.dim)
    return g.transpose(input, order)


@handler("expand", "expand_as", "broadcast_to")
def _expanded(g: Builder, like: Tensor, input: Value, *shape: Any) -> Value:
    return g("Expand", input, g.integers(*like.shape), like=like)


@handler("repeat", "tile")
def _repeated(g: Builder, like: Tensor, input: Value, *repeats: Any) -> Value:
    counts = list(repeats[0] if isinstance(repeats[0], (tuple, list)) else repeats)
    if len(counts) > input.dim:
        input = g.reshape(input, input.example.reshape((1,) * (len(counts) - input.dim) + input.shape))
    return g("Tile", input, g.integers(*[1] * (input.dim - len(counts)), *counts), like=like)


@handler("cat", "concat", "concatenate")
def _joined(g: Builder, like: Tensor, tensors: Sequence[Value], dim: int = 0) -> Value:
    parts = [g.value(each, like.dtype) for each in tensors if each.shape != (0,)]
    return g("Concat", *parts, like=like, axis=dim % like.dim())


@handler("stack")
def _stacked(g: Builder, like: Tensor, tensors: Sequence[Value], dim: int = 0) -> Value:
    axis = dim % like.dim()
    parts = [g("Unsqueeze", each, g.integers(axis), like=each.example.unsqueeze(axis)) for each in tensors]
    return g("Concat", *parts, like=like, axis=axis)


@handler("split", "chunk", "tensor_split", "split_with_sizes")
def _split(g: Builder, like: Sequence[Tensor], input: Value, sizes: Any, dim: int = 0) -> list[Value]:
    axis = dim % input.dim
    return g("Split", input, g.integers(*[part.shape[axis] for part in like]), like=like, axis=axis)


@handler("unbind")
def _unbound(g: Builder, like: Sequence[Tensor], input: Value, dim: int = 0) -> list[Value]:
    return [_select(g, part, input, dim, number) for number, part in enumerate(like)]


@handler("select")
def _select(g: Builder, like: Tensor, input: Value, dim: int, index: int) -> Value:
    return g("Gather", input, g.number(index, flambeau.int64), like=like, axis=dim % input.dim)


@handler("narrow")
def _narrow(g: Builder, like: Tensor, input: Value, dim: int, start: int, length: int) -> Value:
    return _sliced(g, input, dim % input.dim, start, start + length, 1)


def _sliced(g: Builder, input: Value, axis: int, start: int, stop: int, step: int) -> Value:
    like = input.example[(slice(None),) * axis + (slice(start, stop, step),)]
    return g("Slice", input, g.integers(start), g.integers(stop), g.integers(axis), g.integers(step), like=like)


@handler("getitem")
def _indexed(g: Builder, like: Tensor, input: Value, index: Any) -> Value:
    """Slices and numbers one dimension after the other, then at most one tensor of indices (or several side by side)."""
    parts = list(index) if isinstance(index, tuple) else [index]
    used = sum(each is not None and each is not Ellipsis for each in parts)
    if Ellipsis in [each for each in parts if not isinstance(each, Value)]:
        place = next(number for number, each in enumerate(parts) if each is Ellipsis)
        parts[place : place + 1] = [slice(None)] * (input.dim - used)
    tensors: list[tuple[int, Value]] = []
    axis = 0
    for part in parts:
        if part is None:
            input = g("Unsqueeze", input, g.integers(axis), like=input.example.unsqueeze(axis))
            axis += 1
        elif isinstance(part, slice):
            start, stop, step = part.indices(input.shape[axis])
            if (start, stop, step) != (0, input.shape[axis], 1):
                input = _sliced(g, input, axis, start, stop, step)
            axis += 1
        elif isinstance(part, int) and not isinstance(part, bool):
            input = g("Gather", input, g.number(part, flambeau.int64), like=input.example.select(axis, part), axis=axis)
        elif isinstance(part, (Value, list)):
            tensors.append((axis, part if isinstance(part, Value) else g.constant(flambeau.tensor(part))))
            axis += 1
        else:
            raise NotImplementedError(f"an index of {part!r} has no operator in ONNX")
    if not tensors:
        return input
    if any(each.dtype is flambeau.bool for _, each in tensors):
        raise NotImplementedError("a result whose size depends on a mask is not exported")
    if len(tensors) == 1:
        return g("Gather", input, g.value(tensors[0][1], flambeau.int64), like=like, axis=tensors[0][0])
    if [place for place, _ in tensors] != list(range(len(tensors))):
        raise NotImplementedError("several tensors of indices are exported for the first dimensions only")
    shape = flambeau.broadcast_shapes(*[each.shape for _, each in tensors])
    columns = [g("Expand", g.value(each, flambeau.int64), g.integers(*shape), like=each.example.expand(shape)) for _, each in tensors]
    columns = [g("Unsqueeze", each, g.integers(-1), like=each.example.unsqueeze(-1)) for each in columns]
    places = g("Concat", *columns, like=flambeau.cat([each.example for each in columns], -1), axis=-1)
    return g("GatherND", input, places, like=like)


@handler("index_select")
def _index_select(g: Builder, like: Tensor, input: Value, dim: int, index: Value) -> Value:
    return g("Gather", input, g.value(index, flambeau.int64), like=like, axis=dim % input.dim)


@handler("embedding")
def _embedding(g: Builder, like: Tensor, input: Value, weight: Value, *others: Any, **options: Any) -> Value:
    return g("Gather", weight, g.value(input, flambeau.int64), like=like, axis=0)


@handler("gather", "take_along_dim")
def _gather(g: Builder, like: Tensor, input: Value, dim: Any, index: Any, *, sparse_grad: bool = False) -> Value:
    if isinstance(dim, Value):
        dim, index = index, dim
    return g("GatherElements", input, g.value(index, flambeau.int64), like=like, axis=dim % input.dim)


@handler("scatter")
def _scatter(
    g: Builder, like: Tensor, input: Value, dim: int, index: Value, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Value:
    source = value if src is None else src
    if not isinstance(source, Value):
        source = g.constant(flambeau.full(index.shape, source, dtype=like.dtype))
    if source.shape != index.shape:
        source = g(
            "Slice", source, g.integers(*[0] * index.dim), g.integers(*index.shape), like=source.example[tuple(map(slice, index.shape))]
        )
    kind = {None: None, "add": "add", "multiply": "mul"}[reduce]
    return g("ScatterElements", input, g.value(index, flambeau.int64), source, like=like, axis=dim % input.dim, reduction=kind)


@handler("scatter_add")
def _scatter_add(g: Builder, like: Tensor, input: Value, dim: int, index: Value, src: Value) -> Value:
    return _scatter(g, like, input, dim, index, src, reduce="add")


@handler("flip")
def _flip(g: Builder, like: Tensor, input: Value, *dims: Any) -> Value:
    for axis in dims[0] if isinstance(dims[0], (tuple, list)) else dims:
        axis %= input.dim
        indices = g.constant(flambeau.arange(input.shape[axis] - 1, -1, -1))
        input = g("Gather", input, indices, like=input.example.flip(axis), axis=axis)
    return input


@handler("roll")
def _roll(g: Builder, like: Tensor, input: Value, shifts: Any, dims: Any = None) -> Value:
    if dims is None:
        raise NotImplementedError("roll is exported with dimensions only")
    for shift, axis in zip(*[each if isinstance(each, (tuple, list)) else (each,) for each in (shifts, dims)]):
        axis %= input.dim
        cut = -shift % input.shape[axis]
        parts = [_sliced(g, input, axis, cut, input.shape[axis], 1), _sliced(g, input, axis, 0, cut, 1)]
        input = g("Concat", *parts, like=input.example.roll(shift, axis), axis=axis)
    return input


for _name, _upper in (("tril", 0), ("triu", 1)):
    HANDLERS[_name] = lambda g, like, input, diagonal=0, upper=_upper: g(
        "Trilu", input, g.number(diagonal, flambeau.int64), like=like, upper=upper
    )

PADDING = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@handler("pad")
def _pad(g: Builder, like: Tensor, input: Value, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Value:
    pairs = [(0, 0)] * (input.dim - len(pad) // 2) + [(pad[place], pad[place + 1]) for place in range(len(pad) - 2, -1, -2)]
    amounts = g.integers(*[before for before, _ in pairs], *[behind for _, behind in pairs])
    filled = g.number(value or 0, like.dtype) if mode == "constant" else None
    return g("Pad", input, amounts, filled, like=like, mode=PADDING[mode])


@handler("pixel_shuffle")
def _pixel_shuffle(g: Builder, like: Tensor, input: Value, upscale_factor: int) -> Value:
    return g("DepthToSpace", input, like=like, blocksize=upscale_factor, mode="CRD")


@handler("meshgrid")
def _meshgrid(g: Builder, like: Sequence[Tensor], *tensors: Any, indexing: str | None = None) -> list[Value]:
    parts = list(itertools.chain(*[each if isinstance(each, (tuple, list)) else [each] for each in tensors]))
    if indexing == "xy":
        raise NotImplementedError("meshgrid is exported with indexing='ij'")
    made = []
    for place, (part, result) in enumerate(zip(parts, like)):
        shape = [-1 if each == place else 1 for each in range(len(parts))]
        lying = g("Reshape", part, g.integers(*shape), like=part.example.reshape(shape))
        made.append(g("Expand", lying, g.integers(*result.shape), like=result))
    return made
