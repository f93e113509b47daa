"""Joining and splitting: cat, stack, split, chunk, unbind, repeat, flip, roll, pad."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops.arguments import apart, common_dtype, int_tuple, into, named_sizes, number_for, sizes, whole
from flambeau._ops.copying import contiguous_format, suggested_format
from flambeau._ops.creation import from_array, new_empty
from flambeau._ops.operator import Operator
from flambeau._ops.padding import at_plane, inside_plane, is_small_plane, plane
from flambeau._ops.resampling import at_places
from flambeau._ops.views import narrow, pieces, slices
from flambeau._tape.cuts import CUTS
from flambeau._tape.storage import TensorBase
from flambeau._tape.tape import LOCAL
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


def _infer_cat(operands: tuple, statics: tuple) -> Layout:
    axis = statics[0]
    used = [operand for operand in operands if operand.shape != (0,)] or list(operands[:1])
    first = used[0]
    for position, operand in enumerate(used):
        if operand.ndim != first.ndim:
            raise RuntimeError(f"Tensors must have same number of dimensions: got {first.ndim} and {operand.ndim}")
        for other, (size, wanted) in enumerate(zip(operand.shape, first.shape, strict=True)):
            if other != axis and size != wanted:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {axis}. Expected size {wanted} but got size {size} for tensor number {position} in the list."
                )
    shape = (*first.shape[:axis], sum(operand.shape[axis] for operand in used), *first.shape[axis + 1 :])
    dtype = common_dtype(operands)
    if (
        all(operand.strides == first.strides or operand.dense for operand in used)
        and not first.contiguous
        and first.dense
        and all(lay.memory_order(operand) == lay.memory_order(first) and operand.dense for operand in used)
    ):
        return lay.ordered(shape, lay.memory_order(first), dtype)
    return lay.contiguous(shape, dtype)


def _lower_cat(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    layout = layouts[0]
    pieces = [graph.cast(operand, layout.dtype) for operand in operands if operand.shape != (0,)]
    if not pieces:
        return graph.constant(0, layout.dtype, layout.shape)
    return pieces[0] if len(pieces) == 1 else graph.concat(pieces, statics[0], layout.strides)


CAT = Operator("cat", ("tensors...",), ("dim",), infer=_infer_cat, lower=_lower_cat)


def _cat_gradient(grad: Tensor, dim: int, position: int, shapes: list[tuple[int, ...]]) -> Tensor:
    if shapes[position] == (0,):
        return grad.new_zeros((0,))
    start = sum(shape[dim] for shape in shapes[:position] if shape != (0,))
    piece = narrow(grad, dim, start, shapes[position][dim])
    return _apart(piece) if CUTS.on and len(shapes) >= _MANY else piece


CAT.gradient(tensors=_cat_gradient)


_MANY, _SMALL = 8, 1 << 16
"""From how many tensors on, and up to how many bytes together, it is worth while to copy what lies in memory at once."""


def _apart(view: Tensor) -> Tensor:
    """A part of a gradient as a tensor of its own, if it is small: where it lay is then no part of a program, and rounds of a loop are alike."""
    layout, tape = view.layout, LOCAL.tape
    if tape.grad or tape.batched or tape.entered is not None or not layout.contiguous or layout.numel * layout.dtype.itemsize > _SMALL:
        return view
    view.memory.materialize()
    made = new_empty(lay.contiguous(layout.shape, layout.dtype))
    assert made.memory.buffer is not None
    _copy_elements(view, made.memory.buffer.address)
    return made


def _copy_elements(tensor: TensorBase, to: int) -> int:
    """Copy elements that lie in memory, in order; how many bytes they are."""
    buffer, layout = tensor.memory.buffer, tensor.layout
    assert buffer is not None
    size = layout.dtype.itemsize
    ctypes.memmove(to, buffer.address + layout.offset * size, layout.numel * size)
    return layout.numel * size


def _cat(tensors: Sequence[Tensor], axis: int) -> Tensor:
    """The tensors one after another: copied at once if they are many, small and known, as samples of a batch are, and recorded otherwise.

    Which of them are one and the same is a part of a program; one that reads what is drawn from a memory of games would never come again.
    """
    if len(tensors) < _MANY or LOCAL.tape.batched or LOCAL.tape.entered is not None or not all(map(_is_plain, tensors)):
        return CAT(*tensors, statics=(axis,))
    layouts = [tensor.layout for tensor in tensors]
    result = _infer_cat(tuple(layouts), (axis,))
    whole = all(each.dtype is result.dtype and each.ndim == result.ndim and math.prod(each.shape[:axis]) == 1 for each in layouts)
    if not whole or not result.contiguous or result.numel * result.dtype.itemsize > _SMALL:
        return CAT(*tensors, statics=(axis,))
    if not all(map(_is_known, tensors)):
        if not CUTS.on:
            return CAT(*tensors, statics=(axis,))
        LOCAL.tape.flush()  # which would come before long, as no program comes again
    made = new_empty(result)
    assert made.memory.buffer is not None
    to = made.memory.buffer.address
    for tensor in tensors:
        to += _copy_elements(tensor, to)
    return made


def _is_plain(tensor: TensorBase) -> bool:
    """Whether the elements lie in order, and have no history; another thread does not make them."""
    storage = tensor.memory
    return tensor.node is None and tensor.layout.contiguous and storage.error is None and storage.tape in (None, LOCAL.tape)


def _is_known(tensor: TensorBase) -> bool:
    """Whether the elements of a plain tensor are computed."""
    storage = tensor.memory
    return storage.buffer is not None and (storage.tape is None or storage.slot in storage.tape.inputs)


def cat(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None, axis: int | None = None) -> Tensor:
    """The tensors one after another along ``dim``; their other sizes must be equal.

    Example::

        >>> flambeau.cat([flambeau.zeros(2), flambeau.ones(1)])
        tensor([0., 0., 1.])
    """
    dim = dim if axis is None else axis
    tensors = tuple(tensors)
    if not tensors:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    ndim = 0
    for position, tensor in enumerate(tensors):
        if not isinstance(tensor, TensorBase):
            raise TypeError(f"expected Tensor as element {position} in argument 0, but got {tensor.__class__.__name__}")
        rank = tensor.layout.ndim
        if rank > ndim:
            ndim = rank
        elif not rank:
            raise RuntimeError(f"zero-dimensional tensor (at position {position}) cannot be concatenated")
    result = _cat(tensors, lay.wrap_axis(dim, ndim))
    if out is None:
        return result
    apart(out, *tensors, name="cat", shape=result.layout.shape)
    return into(out, result)


def stack(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None, axis: int | None = None) -> Tensor:
    """The tensors, all of one shape, along a new dimension.

    Example::

        >>> flambeau.stack([flambeau.zeros(2), flambeau.ones(2)]).shape
        torch.Size([2, 2])
    """
    dim = dim if axis is None else axis
    tensors = tuple(tensors)
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    shape = tensors[0].layout.shape
    for position, tensor in enumerate(tensors):
        if tensor.layout.shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and {list(tensor.layout.shape)} at entry {position}"
            )
    axis = lay.wrap_axis(dim, len(shape) + 1)
    return into(out, _cat([tensor.unsqueeze(axis) for tensor in tensors], axis))


def _axis_of(name: str, tensor: Tensor, dim: int) -> int:
    if not tensor.layout.shape:
        raise RuntimeError(f"{name} expects at least a 1-dimensional tensor, but got one without dimensions")
    return lay.wrap_axis(dim, tensor.layout.ndim)


def split(tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of pieces along ``dim``: each of the given size (the last may be smaller), or of the given sizes."""
    axis = _axis_of("split", tensor, dim)
    size = tensor.layout.shape[axis]
    if not isinstance(split_size_or_sections, (tuple, list)):
        step = whole(split_size_or_sections, "split_size")
        if step < 0 or (step == 0 and size):
            raise RuntimeError(f"split expects split_size be non-negative, but got split_size={step}")
        lengths = tuple([min(step, size - start) for start in range(0, size, step)]) if size else (0,)
    else:
        lengths = int_tuple(split_size_or_sections, "split_sizes")
        if min(lengths, default=0) < 0:
            raise RuntimeError(f"split sizes must not be negative, but got {list(lengths)}")
        if sum(lengths) != size:
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {size} (input tensor's size at dimension {axis}), but got split_sizes={list(lengths)}"
            )
    return pieces(tensor, axis, lengths)


def chunk(input: Tensor, chunks: int, dim: int = 0, *, axis: int | None = None) -> tuple[Tensor, ...]:
    """At most ``chunks`` pieces of equal size along ``dim`` (the last may be smaller), as views."""
    dim = dim if axis is None else axis
    chunks = whole(chunks, "chunks")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    size = input.layout.shape[_axis_of("chunk", input, dim)]
    step = -(-size // chunks)
    if step == 0:
        return split(input, [0] * chunks, dim)
    return split(input, step, dim)


def tensor_split(
    input: Tensor, indices_or_sections: Any = None, dim: int = 0, *, indices: Any = None, sections: Any = None, axis: int | None = None
) -> tuple[Tensor, ...]:
    """Pieces along ``dim``: so many, as equal as possible, or cut at the given indices; those have names of their own, too."""
    dim = dim if axis is None else axis
    given = [each for each in (indices_or_sections, indices, sections) if each is not None]
    if len(given) != 1:
        raise TypeError(f"tensor_split() takes indices or sections, and got {len(given)} of them")
    indices_or_sections = given[0]
    axis = _axis_of("tensor_split", input, dim)
    size = input.layout.shape[axis]
    if isinstance(indices_or_sections, TensorBase):
        if indices_or_sections.layout.dtype is not dt.int64:
            raise RuntimeError(
                f"tensor_split expected indices_or_sections to have dtype int64, but got {indices_or_sections.layout.dtype!r}"
            )
        indices_or_sections = indices_or_sections.tolist()
    if not isinstance(indices_or_sections, (tuple, list)):
        count = whole(indices_or_sections, "sections")
        if count <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {count}")
        indices_or_sections = accumulate([size // count + (position < size % count) for position in range(count - 1)])
    cuts = [0, *[min(max(cut + size if cut < 0 else cut, 0), size) for cut in indices_or_sections], size]
    return tuple(narrow(input, axis, min(start, end), max(end - start, 0)) for start, end in zip(cuts, cuts[1:], strict=False))


def unbind(input: Tensor, dim: int = 0, *, axis: int | None = None) -> tuple[Tensor, ...]:
    """The slices along ``dim``, as views without it."""
    dim = dim if axis is None else axis
    return slices(input, lay.wrap_axis(dim, input.layout.ndim))


# -- repeating and reordering ----------------------------------------------------------------------------------------


def repeat(self: Tensor, *repeats: Any, **named: Any) -> Tensor:
    """The tensor repeated so many times along each dimension (new ones in front)."""
    given = named_sizes("repeat", "repeats", repeats, named)
    if not given:
        raise TypeError("repeat() missing 1 required positional argument: 'repeats', how often along each dimension")
    counts = sizes(given, "repeats")
    shape = self.layout.shape
    lead = len(counts) - len(shape)
    if lead < 0:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    if any(count < 0 for count in counts):
        raise RuntimeError(f"Trying to create tensor with negative dimension: repeats {list(counts)}")
    full = (*(1,) * lead, *shape)
    spread = self.reshape([each for size in full for each in (1, size)]).expand(
        [each for count, size in zip(counts, full, strict=True) for each in (count, size)]
    )
    return spread.clone(memory_format=contiguous_format).reshape([count * size for count, size in zip(counts, full, strict=True)])


def tile(input: Tensor, *dims: Any, **named: Any) -> Tensor:
    """As ``repeat``, with missing leading counts taken as 1."""
    counts = sizes(named_sizes("tile", "dims", dims, named), "dims")
    return repeat(input, (*(1,) * (input.layout.ndim - len(counts)), *counts))


def _infer_flip(operands: tuple, statics: tuple) -> Layout:
    return lay.like(operands[0], operands[0].dtype)


def _lower_flip(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    source = operands[0].plain
    shape, strides, offset = source.shape, list(source.layout.strides), source.layout.offset
    for axis in statics[0]:
        offset += (shape[axis] - 1) * strides[axis] if shape[axis] else 0
        strides[axis] = -strides[axis]
    return graph.view(source, lay.layout(shape, tuple(strides), offset, source.dtype))


FLIP = Operator("flip", ("input",), ("dims",), infer=_infer_flip, lower=_lower_flip)
FLIP.gradient(input=lambda grad, dims: FLIP(grad, statics=(dims,)))


def flip(input: Tensor, *dims: Any, **named: Any) -> Tensor:
    """A copy with the order of the elements reversed along the dimensions."""
    axes = _distinct(sizes(named_sizes("flip", "dims", dims, named), "dims"), input.layout.ndim)
    return FLIP(input, statics=(tuple(sorted(axes)) if input.layout.ndim else (),))


def _distinct(dims: Sequence[int], ndim: int) -> Sequence[int]:
    wrapped = [lay.wrap_axis(axis, ndim) for axis in dims]
    for axis in wrapped:
        if wrapped.count(axis) > 1:
            raise RuntimeError(f"dim {axis} appears multiple times in the list of dims")
    return wrapped


def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """The elements moved by ``shifts`` along the dimensions, those that fall off the end coming in at the start."""
    shift = int_tuple(shifts, "shifts")
    if dims is None or (isinstance(dims, (tuple, list)) and not dims):
        if len(shift) != 1:
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shift)}, dims:0")
        return roll(input.reshape(-1), shift, (0,)).reshape(input.layout.shape)
    axes = int_tuple(dims, "dims")
    if len(axes) != len(shift):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shift)}, dims:{len(axes)}")
    shape = input.layout.shape
    amounts: dict[int, int] = {}
    for amount, axis in zip(shift, axes, strict=True):
        axis = lay.wrap_axis(axis, len(shape))
        amounts[axis] = (amounts.get(axis, 0) + amount) % max(shape[axis], 1)
    steps = tuple((axis, amount) for axis, amount in amounts.items() if amount)
    return _rolled(input, steps) if steps and input.layout.numel else input.clone()


LONG = 1024
"""An axis of more elements is rolled in two pieces: of a table, an element's position takes as much memory as a few elements."""


def _rolled(input: Tensor, steps: tuple[tuple[int, int], ...]) -> Tensor:
    shape = input.layout.shape
    amounts = dict(steps)
    return ROLL(input, *[_circle(shape[axis], amounts[axis]) for axis in _by_tables(shape, steps)], statics=(steps,))


def _by_tables(shape: tuple[int, ...], steps: tuple[tuple[int, int], ...]) -> list[int]:
    """The axes that are rolled at once, by tables of positions: of several that are rolled; one alone is copied in two pieces (64 x 50 x 7, along the
    middle, one thread: 22.6 and 9.9 us, PyTorch 8.9; but 8 x 14 x 14 x 96 along both axes of the image 26 and 42)."""
    return [axis for axis, _ in steps if shape[axis] <= LONG] if len(steps) > 1 else []


@lru_cache(maxsize=256)
def _circle(size: int, amount: int) -> Tensor:
    """From where each element of an axis comes that is rolled."""
    return from_array((np.arange(size) - amount) % size)


def _infer_roll(operands: tuple, statics: tuple) -> Layout:
    return suggested_format(operands[0]).layout(operands[0])


def _lower_roll(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    source, shape, order = operands[0], layouts[0].shape, lay.memory_order(layouts[0])
    short = _by_tables(shape, statics[0])
    result = at_places(graph, source, shape, short, operands[1:]) if short else source
    for axis, amount in statics[0]:
        if axis not in short:
            amount %= shape[axis]
            pieces = (result.slice(axis, shape[axis] - amount, amount), result.slice(axis, 0, shape[axis] - amount))
            result = graph.concat(pieces, axis, lay.ordered(shape, order, source.dtype).strides)
    return result


ROLL = Operator("roll", ("input", "places..."), ("steps",), infer=_infer_roll, lower=_lower_roll)
ROLL.gradient(input=lambda grad, steps: _rolled(grad, tuple((axis, -amount) for axis, amount in steps)))


# -- padding ---------------------------------------------------------------------------------------------------------


def _infer_pad(operands: tuple, statics: tuple) -> Layout:
    source = operands[0]
    before, after = statics
    shape = tuple(size + low + high for size, low, high in zip(source.shape, before, after, strict=True))
    for axis, size in enumerate(shape):
        if size < 0:
            raise RuntimeError(
                f"The input size {source.shape[axis]}, plus negative padding {before[axis]} and {after[axis]} resulted in a negative output size, which is invalid. "
                f"Check dimension {axis} of your input."
            )
    if max(*before, *after, 0) == 0:  # what is left is a copy of a view
        for axis, size in enumerate(shape):
            source = lay.slice_axis(source, axis, -before[axis], size)
        return lay.like(source, source.dtype)
    return suggested_format(source).layout(lay.contiguous(shape, source.dtype))


def _lower_pad(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    before, after = statics
    source, value, *tables = operands
    if tables:
        shape = layouts[0].shape
        inside = tables[1].reshape(shape[-2:]).expand(shape)
        return graph.where(inside, at_plane(graph, source, shape, tables[0]), graph.cast(value, source.dtype).expand(shape))
    padded = graph.pad(source, before, after)
    inside = None
    for axis, (low, high) in enumerate(zip(before, after, strict=True)):
        if low > 0 or high > 0:
            index = graph.iota(padded.shape, axis)
            here = (index >= max(low, 0)) & (index < padded.shape[axis] - max(high, 0))
            inside = here if inside is None else inside & here
    if inside is None:
        return graph.copy(padded)
    return graph.where(inside, padded, graph.cast(value, source.dtype).expand(padded.shape))


PAD = Operator("constant_pad_nd", ("input", "value", "tables..."), ("before", "after"), infer=_infer_pad, lower=_lower_pad)
PAD.gradient(input=lambda grad, before, after: PAD(grad, 0, statics=(tuple(-low for low in before), tuple(-high for high in after))))


def constant_pad_nd(input: Tensor, pad: Sequence[int], value: Any = 0) -> Tensor:
    """Elements of ``value`` around the tensor; ``pad`` counts from the last dimension: ``(left, right, top, bottom, …)``; negative cuts."""
    amounts = int_tuple(pad, "pad")
    ndim = input.layout.ndim
    if len(amounts) % 2:
        raise RuntimeError(f"Length of pad must be even but instead it equals {len(amounts)}")
    if len(amounts) > 2 * ndim:
        raise RuntimeError(
            f"Length of pad should be no more than twice the number of dimensions of the input. Pad length is {len(amounts)} while the input has {ndim} dimensions."
        )
    before, after = [0] * ndim, [0] * ndim
    for position in range(len(amounts) // 2):
        before[ndim - 1 - position], after[ndim - 1 - position] = amounts[2 * position], amounts[2 * position + 1]
    sides = tuple(zip(before, after, strict=True))
    tables: tuple[Tensor, ...] = ()
    if max(amounts, default=0) > 0 and is_small_plane(input.layout, sides):
        sizes = input.layout.shape[-2:]
        tables = plane("replicate", sizes, sides[-2:]), inside_plane(sizes, sides[-2:])
    return PAD(input, number_for(input.layout.dtype, value), *tables, statics=(tuple(before), tuple(after)))


PUBLIC = ("cat", "chunk", "constant_pad_nd", "flip", "roll", "split", "stack", "tensor_split", "tile", "unbind")
METHODS = ("chunk", "flip", "repeat", "roll", "split", "tensor_split", "tile", "unbind")
