"""Functions that move elements as they lie, in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.onnx._graph import Builder, Number, Value
from flambeau.onnx._registry import HANDLERS, dimensions, handler

LAST = (1 << 63) - 1
"""An end behind all elements."""


@handler("flatten", "ravel", "reshape_as", "unflatten", "view_as", "squeeze_copy")
def _reshaped(g: Builder, like: Any, input: Value, *others: Any) -> Value:
    return g.reshape(input, like)


@handler("view", "reshape", "_unsafe_view", "view_copy", "_reshape_alias")
def _viewed(g: Builder, like: Any, input: Value, size: Any, *others: Any) -> Value:
    if input.dtype is not like.dtype or isinstance(size, flambeau.dtype):
        raise NotImplementedError("a view of the bytes as another dtype has no operator in ONNX")
    if any(isinstance(each, Number) for each in size) and 0 not in size:
        return g("Reshape", input, g.vector(*size), shape=tuple(like.shape))
    return g.reshape(input, like)


@handler("atleast_1d", "atleast_2d", "atleast_3d")
def _at_least(g: Builder, like: Any, input: Any, *others: Value) -> Any:
    if isinstance(like, (list, tuple)):
        return [g.reshape(part, result) for part, result in zip(input if isinstance(input, (list, tuple)) else (input, *others), like)]
    return g.reshape(input, like)


@handler("unsqueeze", "unsqueeze_copy")
def _unsqueezed(g: Builder, like: Any, input: Value, dim: int) -> Value:
    return g.unsqueeze(input, dim % (input.dim + 1))


@handler("squeeze")
def _squeezed(g: Builder, like: Any, input: Value, dim: Any = None) -> Value:
    dims = [each for each in dimensions(dim, input.dim) if input.shape[each] == 1]
    return g("Squeeze", input, g.axes(*dims), shape=tuple(like.shape)) if dims else input


@handler("permute", "permute_copy")
def _permuted(g: Builder, like: Any, input: Value, *dims: Any) -> Value:
    order = dims[0] if isinstance(dims[0], (tuple, list)) else dims
    return g.transpose(input, [each % input.dim for each in order])


@handler("t", "t_copy", "numpy_T", "T")
def _turned(g: Builder, like: Any, input: Value) -> Value:
    return g.transpose(input, list(reversed(range(input.dim))))


@handler("transpose", "swapaxes", "swapdims", "transpose_copy")
def _swapped(g: Builder, like: Any, input: Value, dim0: int, dim1: int) -> Value:
    order = list(range(input.dim))
    if order:
        order[dim0], order[dim1] = order[dim1], order[dim0]
    return g.transpose(input, order)


@handler("mT", "adjoint", "mH", "matrix_H", "H")
def _transposed(g: Builder, like: Any, input: Value) -> Value:
    return _swapped(g, like, input, -2, -1)


@handler("movedim", "moveaxis")
def _moved(g: Builder, like: Any, input: Value, source: Any, destination: Any) -> Value:
    sources, places = dimensions(source, input.dim), dimensions(destination, input.dim)
    order = [each for each in range(input.dim) if each not in sources]
    for place, dim in sorted(zip(places, sources)):
        order.insert(place, dim)
    return g.transpose(input, order)


@handler("expand", "expand_as", "broadcast_to", "expand_copy")
def _expanded(g: Builder, like: Any, input: Value, size: Any, *others: Any, **options: Any) -> Value:
    sizes = size if isinstance(size, (list, tuple)) else ()
    if any(isinstance(each, Number) for each in sizes):
        known = [1 if each == -1 else each for each in sizes]
        return g("Expand", input, g.vector(*known), shape=tuple(like.shape))
    return g.expand(input, like)


@handler("broadcast_tensors")
def _all_expanded(g: Builder, like: Any, *tensors: Any) -> list[Value]:
    parts = tensors[0] if isinstance(tensors[0], (list, tuple)) else tensors
    return [g.expand(part, result) for part, result in zip(parts, like)]


@handler("repeat", "tile")
def _repeated(g: Builder, like: Any, input: Value, *repeats: Any) -> Value:
    counts = list(repeats[0] if isinstance(repeats[0], (tuple, list)) else repeats)
    counts = [1] * (input.dim - len(counts)) + counts
    input = g.unsqueeze(input, *range(len(counts) - input.dim))
    if all(each == 1 for each in counts if not isinstance(each, Number)) and not any(isinstance(each, Number) for each in counts):
        return input
    return g("Tile", input, g.vector(*counts, name="constant"), shape=tuple(like.shape))


@handler("cat", "concat", "concatenate")
def _joined(g: Builder, like: Any, tensors: Sequence[Value], dim: int = 0) -> Value:
    parts = [g.value(each, like.dtype) for each in tensors if each.shape != (0,)]
    return parts[0] if len(parts) == 1 else g("Concat", *parts, like=like, axis=dim % len(like.shape))


@handler("stack", "_stack")
def _stacked(g: Builder, like: Any, tensors: Sequence[Value], dim: int = 0) -> Value:
    axis = dim % len(like.shape)
    parts = [g.unsqueeze(g.value(each, like.dtype), axis) for each in tensors]
    return parts[0] if len(parts) == 1 else g("Concat", *parts, like=like, axis=axis)


@handler(
    "split",
    "chunk",
    "tensor_split",
    "split_with_sizes",
    "unsafe_split",
    "unsafe_chunk",
    "unsafe_split_with_sizes",
    "split_copy",
    "split_with_sizes_copy",
)
def _split(g: Builder, like: Any, input: Value, sizes: Any, dim: int = 0) -> list[Value]:
    axis = dim % input.dim
    if len(like) == 1:
        return [input]
    parts = [part.shape[axis] for part in like]
    if any(isinstance(part, str) for part in parts):
        given = sizes if isinstance(sizes, (list, tuple)) else [sizes] * (len(like) - 1)
        if len(given) == len(like) - 1 and not isinstance(sizes, (list, tuple)):
            given = [*given, g.compute("Sub", g.size(input, axis), _product(g, sizes, len(like) - 1))]
        parts = [each if isinstance(each, int) else number for each, number in zip(parts, given)]
    return g("Split", input, g.vector(*parts, name="constant"), like=like, axis=axis)


HANDLERS["hsplit"] = lambda g, like, input, sizes: _split(g, like, input, sizes, min(input.dim - 1, 1))
HANDLERS["vsplit"] = lambda g, like, input, sizes: _split(g, like, input, sizes, 0)
HANDLERS["dsplit"] = lambda g, like, input, sizes: _split(g, like, input, sizes, 2)


def _product(g: Builder, size: Any, times: int) -> Any:
    return g.compute("Mul", size, times) if isinstance(size, Number) else size * times


@handler("unbind", "unbind_copy")
def _unbound(g: Builder, like: Any, input: Value, dim: int = 0) -> list[Value]:
    return [_select(g, part, input, dim, number) for number, part in enumerate(like)]


@handler("select", "select_copy")
def _select(g: Builder, like: Any, input: Value, dim: int, index: Any) -> Value:
    if isinstance(index, Number):
        index = g.value(index, flambeau.int64)
    else:
        index = g.number(index, flambeau.int64)
    axis = dim % input.dim
    return g("Gather", input, index, shape=input.shape[:axis] + input.shape[axis + 1 :], dtype=input.dtype, axis=axis)


@handler("narrow", "narrow_copy")
def _narrow(g: Builder, like: Any, input: Value, dim: int, start: Any, length: Any) -> Value:
    end = start + length if isinstance(start, int) and isinstance(length, int) else g.compute("Add", start, length)
    if end == 0 and isinstance(start, int) and start < 0:
        end = LAST
    return sliced(g, input, dim, start, end, like=like)


@handler("slice", "slice_copy")
def _slice(g: Builder, like: Any, input: Value, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Value:
    return sliced(g, input, dim, start, end, step, like=like)


def sliced(g: Builder, input: Value, dim: int, start: Any = None, end: Any = None, step: Any = 1, like: Any = None) -> Value:
    """Part of a dimension."""
    axis = dim % input.dim
    start, end = 0 if start is None else start, LAST if end is None else end
    size = input.shape[axis]
    if all(isinstance(each, int) for each in (start, end, step, size)):
        reached = range(*slice(start, end, step).indices(size))
        if len(reached) == size and step == 1:
            return input
        found: Any = len(reached)
    else:
        found = "?" if like is None else like.shape[axis]
        if like is None and isinstance(start, int) and start == 0 and end == LAST and step == 1:
            return input
    shape = [found if place == axis else each for place, each in enumerate(input.shape)]
    vectors = [g.vector(each, name="constant") for each in (start, end)]
    stride = None if step == 1 else g.vector(step, name="constant")
    return g("Slice", input, *vectors, g.axes(axis), stride, shape=tuple(shape), dtype=input.dtype)


@handler("flip")
def _flip(g: Builder, like: Any, input: Value, *dims: Any) -> Value:
    axes = dimensions(dims[0] if isinstance(dims[0], (tuple, list)) else dims, input.dim) if dims and dims[0] not in ((), []) else []
    if not axes:
        return input
    starts, ends, steps = (g.integers(*[number] * len(axes)) for number in (-1, -LAST - 1, -1))
    return g("Slice", input, starts, ends, g.axes(*axes), steps, shape=input.shape, dtype=input.dtype)


HANDLERS["fliplr"] = lambda g, like, input: _flip(g, like, input, 1)
HANDLERS["flipud"] = lambda g, like, input: _flip(g, like, input, 0)


@handler("roll")
def _roll(g: Builder, like: Any, input: Value, shifts: Any, dims: Any = None) -> Value:
    if dims in (None, (), []):
        flat = g("Reshape", input, g.integers(-1, name="shape"), shape=("?",))
        return g.reshape(_roll(g, flat, flat, shifts, 0), like)
    for shift, axis in zip(*[each if isinstance(each, (tuple, list)) else (each,) for each in (shifts, dims)]):
        size = input.shape[axis]
        cut = -shift if isinstance(shift, int) else g.compute("Neg", shift)
        if isinstance(size, int) and isinstance(cut, int):
            cut %= size or 1
        if cut == 0:
            continue
        parts = [sliced(g, input, axis, cut, None), sliced(g, input, axis, 0, cut)]
        input = g("Concat", *parts, shape=input.shape, axis=axis % input.dim)
    return input


@handler("rot90")
def _rot90(g: Builder, like: Any, input: Value, k: int = 1, dims: Any = (0, 1)) -> Value:
    first, second = dims
    if k % 4 == 0:
        return input
    if k % 4 == 2:
        return _flip(g, like, input, list(dims))
    if k % 4 == 1:
        return _swapped(g, like, _flip(g, like, input, second), first, second)
    return _flip(g, like, _swapped(g, like, input, first, second), second)


for _name, _upper in (("tril", 0), ("triu", 1)):
    HANDLERS[_name] = lambda g, like, input, diagonal=0, upper=_upper: (
        g("Trilu", input, g.number(diagonal, flambeau.int64), shape=input.shape, upper=upper)
        if input.dtype is not flambeau.bool or g.version >= 20
        else g.value(
            g("Trilu", g.value(input, flambeau.int32), g.number(diagonal, flambeau.int64), shape=input.shape, upper=upper), input.dtype
        )
    )

PADDING = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@handler("pad", "constant_pad_nd")
def pad(g: Builder, like: Any, input: Value, pad: Sequence[Any], mode: Any = "constant", value: Any = None) -> Value:
    """`pad` of the last dimensions; a wrap has its operator since version 19, and is slices before."""
    if not isinstance(mode, str):  # constant_pad_nd
        mode, value = "constant", mode
    untouched = input.dim - len(pad) // 2
    pairs = [(0, 0)] * untouched + [(pad[place], pad[place + 1]) for place in range(len(pad) - 2, -1, -2)]
    if all(pair == (0, 0) for pair in pairs if not any(isinstance(each, Number) for each in pair)) and not any(
        isinstance(each, Number) for each in pad
    ):
        return input
    for axis, (before, behind) in enumerate(pairs):  # negative amounts cut
        cuts = [each if isinstance(each, int) and each < 0 else 0 for each in (before, behind)]
        if any(cuts):
            input = sliced(g, input, axis, -cuts[0], cuts[1] or None)
            pairs[axis] = tuple(0 if cut else each for cut, each in zip(cuts, (before, behind)))
    if mode == "circular" and g.version < 19:
        return _wrapped(g, input, pairs)
    amounts = g.vector(*[before for before, _ in pairs], *[behind for _, behind in pairs], name="constant")
    filled = g.value(value or 0, like.dtype) if mode == "constant" and value else None
    return g("Pad", input, amounts, filled, shape=tuple(like.shape), mode=PADDING[mode])


def _wrapped(g: Builder, input: Value, pairs: list[tuple[Any, Any]]) -> Value:
    for axis, (before, behind) in enumerate(pairs):
        if before or behind:
            parts = [sliced(g, input, axis, -before)] if before else []
            parts += [input, *([sliced(g, input, axis, 0, behind)] if behind else [])]
            size = input.shape[axis]
            shape = [size + before + behind if place == axis and isinstance(size, int) else "?" if place == axis else each
                     for place, each in enumerate(input.shape)]  # fmt: skip
            input = g("Concat", *parts, shape=tuple(shape), axis=axis)
    return input


@handler("pixel_shuffle")
def _pixel_shuffle(g: Builder, like: Any, input: Value, upscale_factor: int) -> Value:
    return _of_images(g, like, input, lambda x, shape: g("DepthToSpace", x, shape=shape, blocksize=upscale_factor, mode="CRD"))


@handler("pixel_unshuffle")
def _pixel_unshuffle(g: Builder, like: Any, input: Value, downscale_factor: int) -> Value:
    """`SpaceToDepth` puts the place in the block before the channel, as the channels' outer index: here it is the inner one."""
    factor = downscale_factor

    def unshuffle(x: Value, shape: tuple) -> Value:
        n, c, h, w = x.shape
        parts = g("Reshape", x, g.vector(0, c, *_halved(g, h, factor), *_halved(g, w, factor)), shape=(n, c, "?", factor, "?", factor))
        return g("Reshape", g.transpose(parts, [0, 1, 3, 5, 2, 4]), g.vector(0, shape[1], *_rows(g, shape, h, w, factor)), shape=shape)

    return _of_images(g, like, input, unshuffle)


def _halved(g: Builder, size: Any, factor: int) -> tuple[Any, int]:
    return (size // factor if isinstance(size, int) else -1, factor)


def _rows(g: Builder, shape: tuple, h: Any, w: Any, factor: int) -> list[Any]:
    return [h // factor if isinstance(h, int) else -1, w // factor if isinstance(w, int) else -1]


@handler("channel_shuffle", "native_channel_shuffle")
def _channel_shuffle(g: Builder, like: Any, input: Value, groups: int) -> Value:
    count = input.shape[1] // groups
    grouped = g("Reshape", input, g.integers(0, groups, count, -1, name="shape"), shape=(input.shape[0], groups, count, "?"))
    return g.reshape(g.transpose(grouped, [0, 2, 1, 3]), like)


def _of_images(g: Builder, like: Any, input: Value, function: Any) -> Value:
    """A function of (N, C, H, W) on images with any number of dimensions in front."""
    if input.dim == 4:
        return function(input, tuple(like.shape))
    lead = input.shape[:-3]
    batch: Any = 1
    for size in lead:
        batch = batch * size if isinstance(size, int) and isinstance(batch, int) else "?"
    images = g.reshape(input, Value((batch, *input.shape[-3:]), input.dtype))
    return g.reshape(function(images, (batch, *like.shape[-3:])), like)


@handler("meshgrid")
def _meshgrid(g: Builder, like: Any, *tensors: Any, indexing: str | None = None) -> list[Value]:
    parts = [part for each in tensors for part in (each if isinstance(each, (tuple, list)) else [each])]
    swapped = indexing == "xy" and len(parts) > 1
    made = []
    for place, (part, result) in enumerate(zip(parts, like)):
        axis = 1 - place if swapped and place < 2 else place
        lying = part if part.dim else g.unsqueeze(part, 0)
        made.append(g.expand(g.unsqueeze(lying, *[each for each in range(len(parts)) if each != axis]), result))
    return made


@handler("diagonal", "diagonal_copy", "linalg_diagonal")
def _diagonal(g: Builder, like: Any, input: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    """The elements of a flat matrix that lie a row and one element apart."""
    first, second = dim1 % input.dim, dim2 % input.dim
    order = [each for each in range(input.dim) if each not in (first, second)]
    turned = g.transpose(input, [*order, first, second])
    rows, columns, size = input.shape[first], input.shape[second], like.shape[-1]
    if not all(isinstance(each, int) for each in (rows, columns, size)):
        raise NotImplementedError("a diagonal of a matrix whose sizes are not known")
    lead = turned.shape[:-2]
    flat = g.reshape(turned, Value((*lead, rows * columns), input.dtype))
    places = [max(-offset, 0) * columns + max(offset, 0) + step * (columns + 1) for step in range(size)]
    return g("Gather", flat, g.integers(*places), like=like, axis=len(lead))


@handler("unfold", "unfold_copy")
def _unfolded(g: Builder, like: Any, input: Value, dimension: int, size: int, step: int) -> Value:
    axis = dimension % input.dim if input.dim else 0
    whole = input.shape[axis]
    if not isinstance(whole, int):
        raise NotImplementedError("windows along a dimension whose size is not known")
    starts = flambeau.arange(0, whole - size + 1, step)
    places = starts[:, None] + flambeau.arange(size)
    shape = (*input.shape[:axis], len(starts), size, *input.shape[axis + 1 :])
    found = g("Gather", input, g.constant(places), shape=shape, dtype=input.dtype, axis=axis)
    order = [each for each in range(len(shape)) if each != axis + 1]
    return g.transpose(found, [*order, axis + 1])


@handler("as_strided", "as_strided_copy")
def _as_strided(g: Builder, like: Any, input: Value, size: Any, stride: Any, storage_offset: int | None = None) -> Value:
    flat = g("Reshape", input, g.integers(-1, name="shape"), shape=("?",))
    return g("Gather", flat, g.constant(strided_places(input, size, stride, storage_offset)), like=like, axis=0)


def strided_places(input: Value, size: Any, stride: Any, offset: int | None) -> Tensor:
    """Where among the elements of a contiguous tensor those of `as_strided` lie."""
    if any(isinstance(each, Number) for each in (*size, *stride)) or not all(isinstance(each, int) for each in input.shape):
        raise NotImplementedError("strides that depend on sizes that are not known")
    elements = flambeau.arange(1 + sum((each - 1) * step for each, step in zip(size, stride)))
    return flambeau.as_strided(elements, size, stride).contiguous() + (offset or 0)
