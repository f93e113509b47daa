"""Pooling over windows of any number of spatial dimensions: reductions of sliding views.

Inputs are ``(N, C, *)`` or ``(C, *)`` with as many spatial dimensions as the kernel has numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import prod
from operator import mul
from typing import TYPE_CHECKING

import numpy as np

from flambeau._ops.covering import block_parts, blocks_of, covering_windows, joined_blocks, summed
from flambeau._ops.creation import from_array
from flambeau._ops.operator import Operator
from flambeau._ops.registry import FUNCTIONS
from flambeau._ops.resampling import Rule, adaptive_windows, at_places, in_order, resample
from flambeau._ops.scattering import SCATTER
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

Ints = tuple[int, ...]


@lru_cache(maxsize=512)
def pooled_sizes(name: str, sizes: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool) -> Ints:
    """The spatial sizes after pooling; with ``ceil_mode`` a last window may start inside and end outside.

    Raises:
        RuntimeError: the padding exceeds half of the kernel, or a size would not be positive.
    """
    found = []
    for axis, (size, places, step, pad, spread) in enumerate(zip(sizes, kernel, stride, padding, dilation, strict=True)):
        if places <= 0 or step <= 0 or spread <= 0:
            raise RuntimeError(
                f"{name}: kernel size, stride and dilation must be greater than zero, but got {kernel}, {stride}, {dilation}"
            )
        if pad < 0:
            raise RuntimeError(f"{name}: pad must be non-negative, but got pad: {pad}")
        if pad > ((places - 1) * spread + 1) // 2:
            raise RuntimeError(
                f"{name}: pad should be at most half of effective kernel size, but got pad={pad}, kernel_size={places} and dilation={spread}"
            )
        room = size + 2 * pad - spread * (places - 1) - 1
        count = (-(-room // step) if ceil_mode else room // step) + 1
        if ceil_mode and (count - 1) * step >= size + pad:
            count -= 1
        if count <= 0:
            letter = "DHW"[3 - len(sizes) + axis]
            raise RuntimeError(
                f"{name}: the output would be empty: {letter}_out = floor(({letter} + 2*padding - dilation*(kernel - 1) - 1) / stride) + 1 = "
                f"floor(({size} + 2*{pad} - {spread}*({places} - 1) - 1) / {step}) + 1 = {count} (Output size is too small)"
            )
        found.append(count)
    return tuple(found)


def _result(source: Layout, sizes: Ints, dtype: dt.dtype) -> Layout:
    shape = (*source.shape[: source.ndim - len(sizes)], *sizes)
    if source.contiguous or not source.dense or source.ndim != len(sizes) + 2:
        return lay.contiguous(shape, dtype)
    return lay.ordered(shape, lay.memory_order(source), dtype)


def _lying_alike(graph: Graph, node: Node, layout: Layout) -> Node:
    """A node in the order in which a result lies: of half precision it is another node, and would lie row by row."""
    return graph.finish(node, lay.ordered(node.shape, lay.memory_order(layout), node.dtype))


def _widened(graph: Graph, source: Node, axes: Sequence[int]) -> Node:
    """What windows along axes are to read: where they lie along memory numbers of half precision are widened first, as each is read at odd places, several
    times, and otherwise as they are read."""
    return graph.wide(source) if source.plain.strides[axes[-1]] == 1 else source


def _spatial(ndim: int, rank: int) -> range:
    return range(ndim - rank, ndim)


# -- max -------------------------------------------------------------------------------------------------------------

MAX_STATICS = ("kernel", "stride", "padding", "dilation", "sizes")


def _infer_max(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    source = operands[0]
    return _result(source, statics[4], source.dtype), _result(source, statics[4], dt.int64)


def _lower_max(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, Node]:
    return _lower_tapped_max(graph, operands, statics, layouts)[:2]


def _lower_tapped_max(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, Node, Node]:
    kernel, stride, padding, dilation, sizes = statics
    source = operands[0]
    rank = len(kernel)
    axes = _spatial(source.ndim, rank)
    windows = graph.windows(_widened(graph, source, axes), axes, kernel, stride, padding, dilation, sizes)
    inside, windows = graph.inside(windows), graph.wide(windows)
    lowest = float("-inf") if source.dtype.is_floating_point else _lowest(source.dtype)
    values = graph.where(inside, windows, lowest)
    reduced = tuple(range(windows.ndim - rank, windows.ndim))
    largest = _lying_alike(graph, values.max(reduced), layouts[0])
    # The index is the smallest position, among the input's spatial ones, at which the largest value (or a NaN) stands, and the tap its place in
    # the window. Until it is known an index has 32 bits, if these are enough.
    extents = source.shape[source.ndim - rank :]
    small, steps = dt.int32 if prod(extents) < 1 << 30 else dt.int64, lay.row_major(extents)
    moves = (*(0,) * (source.ndim - rank), *map(mul, stride, steps), *map(mul, dilation, steps))
    position = graph.affine(windows.shape, moves, 0, small) - sum(map(mul, padding, steps))
    place = graph.affine(windows.shape, (*(0,) * source.ndim, *lay.row_major(kernel)), 0, dt.int32)
    again = largest.reshape((*largest.shape, *(1,) * rank)).expand(windows.shape)
    hits = (_first_hit(graph, values, again, each, reduced, inside) for each in (position, place))
    index, tap = (_lying_alike(graph, hit, layouts[0]) for hit in hits)
    return graph.cast(largest, source.dtype), graph.cast(index, dt.int64), graph.cast(tap, layouts[-1].dtype)


def _first_hit(graph: Graph, values: Node, largest: Node, position: Node, axes: Sequence[int], inside: Node | None = None) -> Node:
    """The smallest position along axes at which a value is the largest one or a NaN."""
    hit = values.equals(largest)
    if values.dtype.is_floating_point:
        hit = hit | values.differs(values)
    hit = hit if inside is None else hit & inside
    return graph.where(hit, position, (1 << (8 * position.dtype.itemsize - 1)) - 1).min(axes)


def _lowest(dtype: dt.dtype) -> int:
    return -(1 << (8 * dtype.itemsize - 1)) if dtype.is_signed else 0


MAX_POOL = Operator("max_pool", ("input",), MAX_STATICS, infer=_infer_max, lower=_lower_max, grad_name="MaxPool2DWithIndicesBackward0")


def _infer_tapped_max(operands: tuple, statics: tuple) -> tuple[Layout, ...]:
    return *_infer_max(operands, statics), _result(operands[0], statics[4], dt.uint8 if prod(statics[0]) <= 256 else dt.int32)


TAPPED_MAX_POOL = Operator(
    "_tapped_max_pool",
    ("input",),
    MAX_STATICS,
    infer=_infer_tapped_max,
    lower=_lower_tapped_max,
    grad_name="MaxPool2DWithIndicesBackward0",
)
"""The same with a third result, which place of its window each maximum has: a byte, where an index has eight."""


def _scattered(grad0: Tensor, input_layout: Layout, result1: Tensor, sizes: Ints) -> Tensor:
    """Each gradient added to the position that its window's maximum has, as the input lies."""
    rank = len(sizes)
    lead = input_layout.shape[: input_layout.ndim - rank]
    flat = (*lead, prod(input_layout.shape[input_layout.ndim - rank :]))
    count = prod(sizes)
    is_plain = _result(input_layout, sizes, input_layout.dtype).contiguous
    order = range(len(flat)) if is_plain else (*range(len(lead) - 1), len(lead), len(lead) - 1)
    zeros = FUNCTIONS.zeros(lay.ordered(flat, order, grad0.layout.dtype))
    index, values = (each.reshape(*lead, count) for each in (result1, grad0))
    return SCATTER(zeros, index, values, statics=(len(lead), "sum", "scatter_add")).reshape(input_layout.shape)


MAX_POOL.gradient(input=_scattered)


def _tiled(sizes: Ints, kernel: Ints) -> Ints:
    """The extents that so many windows tile."""
    return tuple(map(mul, sizes, kernel))


def _infer_max_backward(operands: tuple, statics: tuple) -> Layout:
    (kernel,) = statics
    return _result(operands[1], _tiled(operands[1].shape[-len(kernel) :], kernel), operands[0].dtype)


def _lower_max_backward(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    """Each input position has the gradient of its window, if it is the maximum of that."""
    (kernel,) = statics
    rank = len(kernel)
    extents = layouts[0].shape[-rank:]
    grads, taps = (covering_windows(graph, each, extents, kernel, kernel, (0,) * rank) for each in (graph.wide(operands[0]), operands[1]))
    lead = grads.ndim - 3 * rank
    moves = [0] * grads.ndim
    moves[lead + 1 : lead + 2 * rank : 2] = lay.row_major(kernel)
    is_own = graph.cast(taps, dt.int32).equals(graph.affine(grads.shape, moves, 0, dt.int32))
    own = graph.where(is_own, grads, 0.0 if grads.dtype.category >= dt.FLOAT else 0)
    return graph.cast(joined_blocks(graph, own, extents, layouts[0]), layouts[0].dtype)


MAX_BACKWARD = Operator("_max_pool_backward", ("grad_output", "tap"), ("kernel",), infer=_infer_max_backward, lower=_lower_max_backward)
"""The gradient of windows that tile an input."""


def _lower_positions(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    (kernel,) = statics
    lead = operands[0].ndim - len(kernel)
    extents = _tiled(operands[0].shape[lead:], kernel)
    rest, total = graph.cast(operands[0], dt.int64), graph.constant(0, dt.int64, operands[0].shape)
    for axis, weight in reversed([*enumerate(lay.row_major(extents))]):
        above = graph.map("floor_divide", rest, kernel[axis])
        first = graph.iota(rest.shape, lead + axis) * kernel[axis]
        total = total + (first + (rest - above * kernel[axis])) * weight
        rest = above
    return total


POSITIONS = Operator(
    "_max_pool_positions", ("tap",), ("kernel",), infer=lambda operands, statics: lay.like(operands[0], dt.int64), lower=_lower_positions
)
"""The positions, among the input's spatial ones, of places in windows that tile it."""


def _at_maxima(grad: Tensor, tap: Tensor, kernel: Ints) -> Tensor:
    index = POSITIONS(tap, statics=(kernel,))
    lead = grad.layout.shape[: grad.layout.ndim - len(kernel)]
    return grad.reshape(*lead, -1).gather(-1, index.reshape(*lead, -1)).reshape(index.layout.shape)


MAX_BACKWARD.gradient(grad_output=_at_maxima)
TAPPED_MAX_POOL.gradient(input=lambda grad0, result2, kernel: MAX_BACKWARD(grad0, result2, statics=(kernel,)))


def _is_looked_for(source: Layout, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, sizes: Ints) -> bool:
    """Whether a gradient is found by looking at the window over each position: where channels lie side by side, and each position is in one. Otherwise
    gradients are scattered. (Zen 3, four images of 64 channels of 56²: 2×2 0.58 ms, and 1.1 scattered; 3×3 with a stride of 2 1.7 and 1.2, four
    channels, 5×5: 3.0 and 0.4.)"""
    extents = source.shape[source.ndim - len(kernel) :]
    tiles = (
        kernel == stride
        and not any(padding)
        and all(size * wide == extent for size, wide, extent in zip(sizes, kernel, extents, strict=True))
    )
    return tiles and not _result(source, sizes, source.dtype).contiguous and max(dilation) == 1


def _check_input(name: str, input: Tensor, rank: int) -> None:
    if input.layout.ndim not in (rank + 1, rank + 2):
        raise RuntimeError(f"{name}: Expected {rank + 1}D or {rank + 2}D tensor, but got a tensor of shape {list(input.layout.shape)}")
    for axis in range(input.layout.ndim - rank - 1, input.layout.ndim):
        if input.layout.shape[axis] == 0:
            raise RuntimeError(
                f"{name}: Expected input to have non-zero size for non-batch dimensions, but got shape {list(input.layout.shape)}"
            )


def max_pool(input: Tensor, kernel_size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool) -> tuple[Tensor, Tensor]:
    """The largest element of each window, and its position among the input's spatial ones (the first of equals; a NaN wins)."""
    rank = len(kernel_size)
    name = f"max_pool{rank}d"
    _check_input(name, input, rank)
    sizes = pooled_sizes(name, input.layout.shape[input.layout.ndim - rank :], kernel_size, stride, padding, dilation, ceil_mode)
    statics = (kernel_size, stride, padding, dilation, sizes)
    if input.requires_grad and _is_looked_for(input.layout, kernel_size, stride, padding, dilation, sizes):
        return TAPPED_MAX_POOL(input, statics=statics)[:2]
    return MAX_POOL(input, statics=statics)


# -- average ---------------------------------------------------------------------------------------------------------

AVG_STATICS = ("kernel", "stride", "padding", "sizes", "count_include_pad", "divisor")


def _infer_avg(operands: tuple, statics: tuple) -> Layout:
    return _result(operands[0], statics[3], operands[0].dtype)


def _divisor(graph: Graph, dtype: dt.dtype, shape: Ints, rank: int, extents: Ints, statics: tuple) -> Node:
    """How many elements each window counts, for results of ``shape``."""
    kernel, stride, padding, sizes, include, divisor = statics
    if divisor is not None:
        return graph.constant(float(divisor) if dtype.category >= dt.FLOAT else divisor, dtype, shape)
    count, total = 1, None
    for number, axis in enumerate(_spatial(len(shape), rank)):
        room = extents[number] + 2 * padding[number] - (sizes[number] - 1) * stride[number] - kernel[number]
        if room >= 0 and (include or not padding[number]):  # every window counts all of its elements
            count *= kernel[number]
            continue
        start = graph.iota(shape, axis) * stride[number] - padding[number]
        stop = graph.map("minimum", start + kernel[number], extents[number] + padding[number])
        if not include:
            start = graph.map("maximum", start, 0)
            stop = graph.map("minimum", stop, extents[number])
        total = stop - start if total is None else total * (stop - start)
    if total is None:
        return graph.constant(float(count) if dtype.category >= dt.FLOAT else count, dtype, shape)
    return graph.cast(total * count, dtype)


SEPARATE = 16
"""Windows of so many elements are summed along the last axis after all others, so that most is added to whole
lines: means of 5×5 with a stride of 5 take 0.25 ms instead of 3.5 on a Zen 3, of 4×4 0.26 instead of 1.06."""


def _lower_avg(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    kernel, stride, padding, sizes, _, _ = statics
    source = operands[0]
    rank = len(kernel)
    axes = _spatial(source.ndim, rank)
    total = source
    for some in (axes[:-1], axes[-1:]) if rank > 1 and prod(kernel) >= SEPARATE else (axes,):
        which = slice(some[0] - axes[0], some[-1] + 1 - axes[0])
        total = _widened(graph, total, some)
        windows = graph.wide(graph.windows(total, some, kernel[which], stride[which], padding[which], (1,) * len(some), sizes[which]))
        total = _lying_alike(graph, windows.sum(range(total.ndim, windows.ndim)), layouts[0])
    extents = source.shape[source.ndim - rank :]
    divisor = _divisor(graph, total.dtype, total.shape, rank, extents, statics)
    mean = total / divisor if source.dtype.category >= dt.FLOAT else graph.map("trunc_divide", total, divisor)
    return graph.cast(mean, layouts[0].dtype)


AVG_POOL = Operator("avg_pool", ("input",), AVG_STATICS, infer=_infer_avg, lower=_lower_avg, grad_name="AvgPool2DBackward0")


LARGE = 1 << 16
"""A gradient of so many elements, in which the last blocks are no whole ones, is written part by part, and a smaller one cut from one of whole blocks:
the copy was a third of 213 µs for 64 channels of 57², channels last."""


def _infer_avg_backward(operands: tuple, statics: tuple) -> Layout:
    grad = operands[0]
    extents = statics[6]
    return _result(grad, extents, grad.dtype)


def _lower_avg_backward(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    """Each input position adds up the windows that cover it."""
    kernel, stride, padding, sizes, _, _, extents = statics
    grad = graph.wide(operands[0])
    rank = len(kernel)
    divisor = _divisor(graph, grad.dtype, grad.shape, rank, extents, statics[:6])
    if len(operands) > 1:
        return _only_windows(graph, graph.cast(grad / divisor, layouts[0].dtype), operands[1:], kernel, sizes, layouts[0].shape)
    is_same = divisor.kind == "constant"
    if not is_same:
        grad = grad / divisor
    number = divisor.attrs[0] if is_same else None
    if layouts[0].numel >= LARGE and any(extent % step for extent, step in zip(extents, stride, strict=True)):
        result = graph.empty(layouts[0].dtype, layouts[0].shape, layouts[0].strides)
        for part in product(*(block_parts(extent, step) for extent, step in zip(extents, stride, strict=True))):
            blocks = summed(covering_windows(graph, grad, extents, kernel, stride, padding, parts=part), rank, number)
            result = graph.update(result, blocks_of(layouts[0], stride, part), graph.cast(blocks, layouts[0].dtype))
        return result
    covering = covering_windows(graph, grad, extents, kernel, stride, padding)
    return graph.cast(joined_blocks(graph, covering, extents, layouts[0], number), layouts[0].dtype)


def _only_windows(graph: Graph, grad: Node, places: Sequence[Node], kernel: Ints, sizes: Ints, shape: Ints) -> Node:
    """The gradient of the window in which each position lies, and 0 beyond the last."""
    axes = _spatial(len(shape), len(kernel))
    found, inside = at_places(graph, grad, shape, axes, places), None
    for axis, wide, size in zip(axes, kernel, sizes, strict=True):
        if wide * size < shape[axis]:
            here = graph.map("lt", graph.iota(shape, axis), wide * size)
            inside = here if inside is None else inside & here
    return found if inside is None else graph.where(inside, found, 0.0)


@lru_cache(maxsize=256)
def _windows_of(extent: int, size: int, wide: int) -> Tensor:
    """The window in which each position of an axis lies, where one follows the other; of what comes after the last that one."""
    return from_array(np.minimum(np.arange(extent) // wide, size - 1))


def _avg_gradient(
    grad: Tensor, input_shape: Ints, kernel: Ints, stride: Ints, padding: Ints, sizes: Ints, count_include_pad: bool, divisor: int | None
) -> Tensor:
    """Windows that only follow each other are read by tables where pixels lie side by side: the rows of a window are as short as it is wide. (Means of 7×7 with
    gradients take 1.0 ms instead of 3.1.)"""
    extents = input_shape[len(input_shape) - len(kernel) :]
    places = []
    if kernel == stride and not any(padding) and _result(grad.layout, extents, grad.layout.dtype).contiguous and kernel[-1] > 1:
        is_whole = all(wide * size <= extent for extent, size, wide in zip(extents, sizes, kernel, strict=True))  # and not cut by ceil_mode
        places = [_windows_of(*axis) for axis in zip(extents, sizes, kernel, strict=True)] if is_whole else []
    return AVG_BACKWARD(grad, *places, statics=(kernel, stride, padding, sizes, count_include_pad, divisor, extents))


AVG_BACKWARD = Operator(
    "_avg_pool_backward", ("grad_output", "places..."), (*AVG_STATICS, "extents"), infer=_infer_avg_backward, lower=_lower_avg_backward
)
AVG_POOL.gradient(input=_avg_gradient)
AVG_BACKWARD.gradient(
    grad_output=lambda grad, kernel, stride, padding, sizes, count_include_pad, divisor: AVG_POOL(
        grad, statics=(kernel, stride, padding, sizes, count_include_pad, divisor)
    )
)


def avg_pool(
    input: Tensor, kernel_size: Ints, stride: Ints, padding: Ints, ceil_mode: bool, count_include_pad: bool, divisor_override: int | None
) -> Tensor:
    """The mean of each window (of integers: rounded towards zero), the padding counted (as zeros) or not."""
    rank = len(kernel_size)
    name = f"avg_pool{rank}d"
    _check_input(name, input, rank)
    if input.layout.dtype is dt.bool:
        raise NotImplementedError(f"{name} is not implemented for torch.bool: convert the input, to torch.float32 say")
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    sizes = pooled_sizes(name, input.layout.shape[input.layout.ndim - rank :], kernel_size, stride, padding, (1,) * rank, ceil_mode)
    return AVG_POOL(input, statics=(kernel_size, stride, padding, sizes, count_include_pad, divisor_override))


# -- adaptive --------------------------------------------------------------------------------------------------------


def _full_sizes(input: Tensor, output_size: tuple) -> Ints:
    rank = len(output_size)
    sizes = input.layout.shape[input.layout.ndim - rank :]
    return tuple(size if wanted is None else wanted for size, wanted in zip(sizes, output_size, strict=True))


def _equal_windows(sizes: Ints, wanted: Ints) -> Ints | None:
    """The size of the windows, if all have the same and none overlap."""
    is_whole = all(output and size % output == 0 for size, output in zip(sizes, wanted, strict=True))
    return tuple(size // output for size, output in zip(sizes, wanted, strict=True)) if is_whole else None


def adaptive_avg_pool(input: Tensor, output_size: tuple[int | None, ...]) -> Tensor:
    """Means over windows chosen so that the output has the given spatial sizes."""
    rank = len(output_size)
    _check_input(f"adaptive_avg_pool{rank}d", input, rank)
    dtype = input.layout.dtype
    if dtype.category < dt.FLOAT:
        raise NotImplementedError(f"adaptive_avg_pool{rank}d is not implemented for {dtype!r}: convert the input, to torch.float32 say")
    wanted = _full_sizes(input, output_size)
    sizes = input.layout.shape[input.layout.ndim - rank :]
    if all(output == 1 for output in wanted):
        return input.mean(tuple(range(-rank, 0)), keepdim=True)
    if (kernel := _equal_windows(sizes, wanted)) is not None:
        return AVG_POOL(input, statics=(kernel, kernel, (0,) * rank, wanted, True, None))
    lead = input.layout.ndim - rank
    for axis in (axis for axis, output in enumerate(wanted) if not output):
        input = input.narrow(lead + axis, 0, 0)
    if 0 in wanted:
        return input.reshape((*input.layout.shape[:lead], *wanted))
    rules = tuple((lead + axis, Rule("sums", *both)) for axis, both in enumerate(zip(sizes, wanted, strict=True)) if both[0] != both[1])
    total = resample(FUNCTIONS.cast(input, dtype.compute), rules)  # means of half precision are rounded once
    return FUNCTIONS.cast(total / _counts(sizes, wanted, dtype.compute), dtype)


@lru_cache(maxsize=256)
def _counts(sizes: Ints, wanted: Ints, dtype: dt.dtype) -> Tensor:
    """How many elements each window has."""
    count = np.ones((), np.float64)
    for size, output in zip(sizes, wanted, strict=True):
        start, stop = adaptive_windows(size, output)
        count = count[..., None] * (stop - start)
    return from_array(count.astype(dtype.numpy), dtype)


def adaptive_max_pool(input: Tensor, output_size: tuple[int | None, ...]) -> tuple[Tensor, Tensor]:
    """Maxima over windows chosen so that the output has the given spatial sizes, and their positions."""
    rank = len(output_size)
    _check_input(f"adaptive_max_pool{rank}d", input, rank)
    wanted = _full_sizes(input, output_size)
    sizes = input.layout.shape[input.layout.ndim - rank :]
    if (kernel := _equal_windows(sizes, wanted)) is not None:
        return MAX_POOL(input, statics=(kernel, kernel, (0,) * rank, (1,) * rank, wanted))
    places = [_places(*both) for both in zip(sizes, wanted, strict=True)]
    return ADAPTIVE_MAX(input, *places, statics=(sizes, wanted))


@lru_cache(maxsize=256)
def _places(size: int, output: int) -> Tensor:
    """The positions of each window (terms, windows); those of shorter windows end with repetitions."""
    if not output:
        return from_array(np.zeros((1, 0), np.int64))
    start, stop = adaptive_windows(size, output)
    return from_array(np.minimum(start + np.arange((stop - start).max())[:, None], stop - 1))


def _infer_adaptive_max(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    source, wanted = operands[0], statics[1]
    return _result(source, wanted, source.dtype), _result(source, wanted, dt.int64)


def _lower_adaptive_max(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, Node]:
    """One axis after the other: the largest of a window's lines, of which each knows where it was found."""
    sizes, wanted = statics
    values, position = operands[0], None
    lead, order = values.ndim - len(sizes), lay.memory_order(layouts[0])
    small = dt.int32 if prod(sizes) < 1 << 31 else dt.int64
    for axis in in_order(dict(enumerate(zip(sizes, wanted, strict=True)))):
        terms, size = operands[1 + axis].shape
        shape = (*values.shape[: lead + axis], size, *values.shape[lead + axis + 1 :], terms)
        row = tuple(size if other == lead + axis else 1 for other in range(values.ndim))
        place = operands[1 + axis].permute((1, 0)).reshape((*row, terms)).expand(shape)
        found = _at_places(graph, values, lead + axis, place)
        if position is None:
            where = [graph.cast(place, small) if other == axis else graph.iota(shape, lead + other, small) for other in range(len(sizes))]
            flat = where[0]
            for extent, each in zip(sizes[1:], where[1:], strict=True):
                flat = flat * graph.constant(extent, small) + each
        else:
            flat = _at_places(graph, position, lead + axis, place)
        found = graph.wide(found)
        values = graph.finish(found.max((values.ndim,)), lay.ordered(shape[:-1], order, found.dtype))
        position = _first_hit(graph, found, values.reshape((*values.shape, 1)).expand(shape), flat, (len(shape) - 1,))
        position = graph.finish(position, lay.ordered(shape[:-1], order, small))
    assert position is not None
    return graph.cast(values, layouts[0].dtype), graph.cast(position, dt.int64)


def _at_places(graph: Graph, source: Node, axis: int, place: Node) -> Node:
    """A node read at places of an axis, which differ along a new last axis."""
    source = graph.lying(source)
    strides = (*source.strides[:axis], 0, *source.strides[axis + 1 :], 0)
    return graph.gather(source, lay.layout(place.shape, strides, source.layout.offset, source.dtype), [place], [source.strides[axis]])


ADAPTIVE_MAX = Operator(
    "adaptive_max_pool",
    ("input", "places..."),
    ("extents", "sizes"),
    infer=_infer_adaptive_max,
    lower=_lower_adaptive_max,
    grad_name="AdaptiveMaxPool2DBackward0",
)
ADAPTIVE_MAX.gradient(input=_scattered)


PUBLIC = ()
METHODS = ()
