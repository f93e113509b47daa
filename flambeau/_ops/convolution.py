"""Convolutions of any number of dimensions: forward, its two adjoints, and so every gradient of every one of them.

With ``o`` a position of the output, ``k`` a place in the kernel and ``i = o * stride + k * dilation - padding`` a position of the input,
three sums over the same triples ``(o, k, i)``, each linear in both operands:

- ``CONV``          ``out[n, c, o] = sum over d, k of  weight[c, d, k] * input[n, d, i]``
- ``CONV_INPUT``    ``out[n, d, i] = sum over c, k of  weight[c, d, k] * input[n, c, o]`` (transposed convolution)
- ``CONV_WEIGHT``   ``out[c, d, k] = sum over n, o of  grad[n, c, o] * input[n, d, i]``

The gradient of each is the other two, so that they can be differentiated as often as one likes.

``CONV_INPUT`` is computed for each phase of the result (``(i + padding) mod stride``) by itself: the kernel places that reach a phase form
a smaller dense kernel, so no multiplication by an inserted zero is made. Where there are many phases they are channels of one contraction, where
images are small they are batches of one.

Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.Conv2d.html; V. Dumoulin and F. Visin, "A guide to convolution arithmetic
for deep learning", arXiv:1603.07285.
"""

from __future__ import annotations

from itertools import pairwise, product
from math import gcd, prod
from operator import mul, sub
from typing import TYPE_CHECKING

from flambeau._compiler.bundles import paired
from flambeau._ops.arguments import int_tuple
from flambeau._ops.autocast import low
from flambeau._ops.conv_shapes import Ints, plan, plan_transposed
from flambeau._ops.copying import suggested_format
from flambeau._ops.elementwise import conj
from flambeau._ops.operator import Operator
from flambeau._ops.padding import fold_border
from flambeau._runtime import targets
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

STATICS = ("stride", "padding", "dilation", "groups", "sizes")
"""``padding`` is what is added before each dimension; what is added after it follows from ``sizes``, the spatial sizes of the result (of
``CONV_WEIGHT``: of the kernel). Zeros are read wherever a window leaves the input."""

# -- layouts ---------------------------------------------------------------------------------------------------------


def _infer_conv(operands: tuple, statics: tuple) -> Layout:
    input, weight = operands[:2]
    sizes = statics[4]
    return suggested_format(input, weight).layout(lay.contiguous((input.shape[0], weight.shape[0], *sizes), input.dtype))


def _infer_input(operands: tuple, statics: tuple) -> Layout:
    input, weight = operands[:2]
    groups, sizes = statics[3:]
    return suggested_format(input, weight).layout(lay.contiguous((input.shape[0], weight.shape[1] * groups, *sizes), input.dtype))


def _infer_weight(operands: tuple, statics: tuple) -> Layout:
    grad, input = operands
    groups, sizes = statics[3:]
    return suggested_format(grad, input).layout(lay.contiguous((grad.shape[1], input.shape[1] // groups, *sizes), input.dtype))


# -- lowering --------------------------------------------------------------------------------------------------------


_FEW_USES = 4
"""Windows that see a number at so many places, or fewer, take less time than a copy that would make them faster."""


def _lanes(dtype: DType) -> int:
    """Numbers of a vector; fewer channels of a group would leave many lanes empty."""
    from flambeau._codegen.contract.arithmetic import register_tile

    return register_tile(dtype, targets.current()).width


def _channels(graph: Graph, input: Node, results: int, groups: int, layout: Layout, uses: float) -> tuple[Node, bool]:
    """The input as it is read by windows that see each number ``uses`` times, and whether lanes are channels, of which a group has so many ``results``.

    They are where the result has its channels innermost, unless these are few: then the input is copied so that lanes are places. Three channels
    of 64 x 64 by 3 x 3 from 32 took 7.4 ms, and take 1.5; 32 groups of 4 14 ms, and 3. A copy is not worth it where windows hardly overlap, or where rows
    are shorter than a vector (AVX2: 1 x 1 from 256 to 4 of 28 x 28 1.9 ms, 0.6 without, 3 x 3 with a stride of 2 1.1 and 0.75). A channel for
    itself (depthwise) has a kernel of its own.
    """
    if layout.contiguous:
        return input, False
    lanes = _lanes(input.dtype)
    is_depthwise = results == 1 and input.shape[1] == groups
    is_worth_it = groups > 1 or (uses > _FEW_USES and layout.shape[-1] >= lanes)
    if results < lanes and is_worth_it and not is_depthwise:
        return graph.copy(input), False
    return input, True


def _with_bias(graph: Graph, result: Node, operands: list[Node], layout: Layout) -> Node:
    """Add the bias (in the compute dtype) and round."""
    if len(operands) == 3:
        bias = graph.wide(operands[2])
        for _ in range(layout.ndim - 2):
            bias = bias.unsqueeze(bias.ndim)
        result = result + bias
    return graph.cast(result, layout.dtype)


def _dtype(operands: list[Node], layout: Layout) -> DType:
    """What the sum of products is rounded to: the result's dtype, unless a bias is still to be added."""
    return layout.dtype.compute if len(operands) == 3 else layout.dtype


def correlate(graph: Graph, windows: Node, weight: Node, rank: int, groups: int, innermost: bool, dtype: DType, bundle: str = "") -> Node:
    """``(N, C_out, *o)`` from windows ``(N, C_in, *o, *k)`` and a weight ``(C_out, C_in / groups, *k)``; ``bundle`` as ``Graph.contract`` has it."""
    batch, _, *outputs = windows.shape[: 2 + rank]
    channels = weight.shape[0]
    x = windows.split_axis(1, groups)  # N, g, d, *o, *k
    w = weight.split_axis(0, groups)  # g, c, d, *k
    place, kernel = range(3, 3 + rank), range(3 + rank, 3 + 2 * rank)
    if innermost:  # the lanes are channels
        a = x.permute([1, 0, *place, 2, *kernel])
        b = w.permute([0, *range(2, 3 + rank), 1])
        order = [*range(1, 2 + rank), 0, 2 + rank]
        result = graph.contract(a, b, batch=1, m=1 + rank, k=1 + rank, dtype=dtype, order=order, bundle=bundle)  # g, N, *o, c
        return result.permute([1, 0, 2 + rank, *range(2, 2 + rank)]).reshape((batch, channels, *outputs))
    b = x.permute([1, 2, *kernel, 0, *place])
    order = [2, 0, 1, *range(3, 3 + rank)]
    result = graph.contract(w, b, batch=1, n=1 + rank, k=1 + rank, dtype=dtype, order=order, bundle=bundle)  # g, c, N, *o
    return result.permute([2, 0, 1, *range(3, 3 + rank)]).reshape((batch, channels, *outputs))


def _reached(size: int, kernel: int, stride: int, padding: int, dilation: int, results: int) -> tuple[int, int]:
    """The first place of a kernel that sees any of ``size`` positions for any of the results, and how many there are up to the last such one.

    The others see padding alone: eight of the nine of a 3 x 3 kernel over an image of 1 x 1.
    """

    def sees(place: int) -> bool:
        start = place * dilation - padding
        first = max(0, -(start // stride))
        return first < results and start + first * stride < size

    places = [place for place in range(kernel) if sees(place)]
    return (places[0], places[-1] - places[0] + 1) if places else (0, 1)


def _lower_conv(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    stride, padding, dilation, groups, sizes = statics
    input, weight = operands[:2]
    rank = len(stride)
    uses = prod(weight.shape[2:]) / prod(stride)
    input, innermost = _channels(graph, input, weight.shape[0] // groups, groups, layouts[0], uses)
    reached = [*map(_reached, input.shape[2:], weight.shape[2:], stride, padding, dilation, sizes)]
    for axis, (first, count) in enumerate(reached, 2):
        weight = weight.slice(axis, first, count)
    padding = [before - first * spread for before, (first, _), spread in zip(padding, reached, dilation, strict=True)]
    terms = prod(weight.shape[1:])
    input, weight, bundle = paired(
        graph, (input, 1, groups), (weight, 1, 1), input.shape[0] * prod(sizes), weight.shape[0] // groups, terms
    )
    windows = graph.windows(input, range(2, 2 + rank), weight.shape[2:], stride, padding, dilation, sizes)
    result = correlate(graph, windows, weight, rank, groups, innermost, _dtype(operands, layouts[0]), bundle)
    return _with_bias(graph, result, operands, layouts[0])


Phase = tuple[int, ...]


def _phases(size: int, kernel: int, stride: int, padding: int, dilation: int, source: int) -> list[Phase]:
    """How one dimension of a transposed convolution of ``source`` positions falls into phases: those that a kernel place reaches.

    For each: the first position and how many (every ``stride``-th), the first kernel place and how many (every ``stride / gcd``-th), and the input
    position that the first of both pairs with; it falls by ``dilation / gcd`` with each further kernel place. Places that pair with no input are left out.
    """
    common = gcd(stride, dilation)
    found = []
    spacing, fall = stride // common, dilation // common
    for start in range(min(kernel, spacing)):
        first = (start * dilation - padding) % stride
        if first >= size:
            continue
        count = -(-(size - first) // stride)
        places, begin = -(-(kernel - start) // spacing), (first + padding - start * dilation) // stride
        unseen = max(0, -(-(begin - source + 1) // fall))
        places = min(places, (begin + count - 1) // fall + 1) - unseen
        if places > 0:
            found.append((first, count, start + unseen * spacing, places, begin - unseen * fall, fall))
    return sorted(found)


def _lower_input(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    stride, *others = statics
    kernel, dilation = operands[1].shape[2:], others[1]
    if max(dilation) > 1:
        return _in_phases(graph, operands, statics, layouts[0])
    # One position meets each place of the kernel once, as if the next one were beyond all of them.
    stride = tuple(reach if size == 1 else step for step, reach, size in zip(stride, kernel, operands[0].shape[2:], strict=True))
    phases = prod(map(min, stride, kernel))
    are_many = phases > _MANY_PHASES or (phases > 1 and prod(operands[0].shape[2:]) == 1)
    lower = _in_blocks if are_many and prod(stride) <= 4 * phases else _in_phases
    return lower(graph, operands, (stride, *others), layouts[0])


_MANY_PHASES = 16
"""Phases that are computed by a contraction each; if there are more, one contraction computes all."""


def _in_phases(graph: Graph, operands: list[Node], statics: tuple, layout: Layout) -> Node:
    """A transposed convolution phase by phase; where no kernel place reaches there are zeros (and the bias)."""
    stride, padding, dilation, groups, sizes = statics
    input, weight = operands[:2]
    rank = len(stride)
    per_group = weight.shape[1]
    terms = weight.shape[0] // groups * prod(weight.shape[2:]) // prod(stride)
    input, weight, bundle = paired(graph, (input, 1, groups), (weight, 0, groups), input.numel // max(1, input.shape[1]), per_group, terms)
    w = weight.split_axis(0, groups).transpose(1, 2)  # g, d, c, *k
    dimensions = [*map(_phases, sizes, weight.shape[2:], stride, padding, dilation, input.shape[2:])]
    dtype = _dtype(operands, layout)
    steps = [_step(*each) for each in zip(dimensions, sizes, stride, strict=True)]
    if layout.contiguous and per_group >= _lanes(input.dtype) and _are_small(input, stride) and None not in steps:
        firsts = [phases[0] for phases in dimensions]
        whole = _phases_together(graph, input, w, stride, dilation, firsts, [each for each in steps if each], dtype, bundle)
        return _with_bias(graph, whole.reshape(layout.shape), operands, layout)
    input, innermost = _channels(graph, input, per_group, groups, layout, prod(weight.shape[2:]))
    parts = []
    for phase in product(*dimensions):
        places, counts = (tuple(each[position] for each in phase) for position in (3, 1))
        kernel = w
        for axis, (each, step, spread) in enumerate(zip(phase, stride, dilation, strict=True)):
            kernel = kernel.slice(3 + axis, each[2], each[3], step // gcd(step, spread))
        windows = graph.windows(
            input, range(2, 2 + rank), places, (1,) * rank, tuple(-each[4] for each in phase), tuple(-each[5] for each in phase), counts
        )
        kernel = kernel.joined(0, 1)
        parts.append(_with_bias(graph, correlate(graph, windows, kernel, rank, groups, innermost, dtype, bundle), operands, layout))
    # Phases whose lanes are places are put together where places are neighbours: a phase writes all of its vectors there.
    strides = layout.strides if innermost else lay.contiguous(layout.shape, layout.dtype).strides
    if all(len(phases) == min(step, size) for phases, step, size in zip(dimensions, stride, sizes, strict=True)):
        if len(parts) == 1:
            return parts[0]
        whole = graph.empty(parts[0].dtype, layout.shape, strides)
    else:
        nothing = graph.constant(0, dtype, layout.shape)
        whole = graph.copy(_with_bias(graph, nothing, operands, layout), strides)
    for phase, part in zip(product(*dimensions), parts, strict=True):
        shown = whole.layout
        for axis, (each, step) in enumerate(zip(phase, stride, strict=True)):
            shown = lay.slice_axis(shown, 2 + axis, each[0], each[1], step)
        whole = graph.update(whole, shown, part)
    return whole if strides == layout.strides else graph.copy(whole, layout.strides)


_SHORT_ROW, _FEW_NUMBERS = 7, 1 << 17
"""A row of contiguous images that no vector is filled by, and the numbers of an input up to which a copy of it stays in the second-level cache."""


def _are_small(images: Node, stride: Ints) -> bool:
    """Whether phases that are alike should be one contraction, which copies the images with their border once for all.

    One thread of Zen 3, 4 x 4 windows of stride 2: 64 images of 4 x 4, 64 -> 32, 1.46 to 1.07 ms, of 5 x 5 1.94 to 1.61; 16 of 4 x 4, 128 -> 64, 1.11
    to 0.94. Of 8 x 8 and 16 x 16, and with the channels innermost, nothing is gained.
    """
    return prod(stride) > 1 and images.shape[-1] <= _SHORT_ROW and images.numel <= _FEW_NUMBERS


def _step(phases: list[Phase], size: int, stride: int) -> Phase | None:
    """What each phase of a dimension adds to the one before, if they are alike: as many positions and kernel places, equally far from each other."""
    steps = {tuple(map(sub, after, before)) for before, after in pairwise(phases)} or {(1, 0, 0, 0, 0, 0)}
    step = steps.pop()
    is_alike = not steps and step[1] == step[3] == 0
    return step if is_alike and len(phases) == stride and stride * phases[0][1] == size else None


def _phases_together(
    graph: Graph,
    input: Node,
    weight: Node,
    stride: Ints,
    dilation: Ints,
    firsts: list[Phase],
    steps: list[Phase],
    dtype: DType,
    bundle: str,
) -> Node:
    """All phases of a transposed convolution as one contraction, of which they are batches: ``(N, g, c, [positions, phases] of each dimension)``.

    ``weight`` is ``(g, c, d, *k)``; of each dimension ``firsts`` has the first phase, and ``steps`` what the next one adds.
    """
    rank, groups = len(stride), weight.shape[0]
    counts, starts, reach, begins, falls = (tuple(each[position] for each in firsts) for position in (1, 2, 3, 4, 5))
    turns, shifts = (tuple(each[position] for each in steps) for position in (2, 4))
    spacing = tuple(step // gcd(step, spread) for step, spread in zip(stride, dilation, strict=True))
    moves = ((1,) * rank, shifts, tuple(-each for each in falls))
    x = graph.spans(input, range(2, 2 + rank), begins, moves, (counts, stride, reach)).split_axis(1, groups)  # N, g, d, *o, *p, *k
    w = graph.spans(weight, range(3, 3 + rank), starts, (turns, spacing), (stride, reach))  # g, c, d, *p, *k
    first, second, third = (range(3 + number * rank, 3 + (number + 1) * rank) for number in range(3))
    a, b = w.permute([*first, 0, 1, 2, *second]), x.permute([*second, 1, 2, *third, 0, *first])
    order = [rank + 2, rank, rank + 1, *(axis for number in range(rank) for axis in (rank + 3 + number, number))]
    return graph.contract(a, b, batch=rank + 1, n=1 + rank, k=1 + rank, dtype=dtype, order=order, bundle=bundle).permute(order)


def _in_blocks(graph: Graph, operands: list[Node], statics: tuple, layout: Layout) -> Node:
    """A transposed convolution whose phases are channels of one contraction: blocks of ``stride`` positions of the result, which are put together.

    Kernel place ``f + q * stride`` takes position ``o`` of the input to place f of block ``o + q``.
    """
    stride, padding, _, groups, sizes = statics
    input, weight = operands[:2]
    rank = len(stride)
    reach = tuple(-(-kernel // step) for kernel, step in zip(weight.shape[2:], stride, strict=True))
    firsts = tuple(before // step for before, step in zip(padding, stride, strict=True))
    counts = tuple(
        (before + size - 1) // step + 1 - first for before, size, step, first in zip(padding, sizes, stride, firsts, strict=True)
    )
    kernel = graph.windows(weight, range(2, 2 + rank), stride, stride, (0,) * rank, (1,) * rank, reach)  # (g c), d, *q, *f
    kernel = graph.copy(kernel).split_axis(0, groups)
    kernel = kernel.permute([0, 2, *range(3 + rank, 3 + 2 * rank), 1, *range(3, 3 + rank)])  # g, d, *f, c, *q
    channels = weight.shape[1] * prod(stride)
    kernel = kernel.reshape((groups * channels, weight.shape[0] // groups, *reach))
    terms = prod(kernel.shape[1:])
    input, kernel, bundle = paired(graph, (input, 1, groups), (kernel, 1, 1), input.shape[0] * prod(counts), channels, terms)
    windows = graph.windows(input, range(2, 2 + rank), reach, (1,) * rank, tuple(-first for first in firsts), (-1,) * rank, counts)
    blocks = correlate(graph, windows, kernel, rank, groups, False, _dtype(operands, layout), bundle)  # N, (g d *f), *blocks
    blocks = blocks.reshape((input.shape[0], layout.shape[1], *stride, *counts))
    order = [axis for pair in zip(range(2 + rank, 2 + 2 * rank), range(2, 2 + rank), strict=True) for axis in pair]
    whole = blocks.permute([0, 1, *order]).reshape((*layout.shape[:2], *map(mul, counts, stride)))
    for axis, (before, step, first, size) in enumerate(zip(padding, stride, firsts, sizes, strict=True)):
        whole = whole.slice(2 + axis, before - first * step, size)
    return _with_bias(graph, whole, operands, layout)


def _lower_weight(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    stride, padding, dilation, groups, sizes = statics
    rank, channels = len(stride), max(each.shape[1] // groups for each in operands)  # lanes may be either's channels
    grad, input = (_channels(graph, each, channels, groups, layouts[0], prod(sizes) / prod(stride))[0] for each in operands)
    reached = [*map(_reached, input.shape[2:], sizes, stride, padding, dilation, grad.shape[2:])]
    places = tuple(count for _, count in reached)
    padding = [before - first * spread for before, (first, _), spread in zip(padding, reached, dilation, strict=True)]
    rows, columns = grad.shape[1] // groups, input.shape[1] // groups * prod(places)
    grad, input, bundle = paired(graph, (grad, 0, 1), (input, 0, 1), rows, columns, grad.shape[0] * prod(grad.shape[2:]))
    windows = graph.windows(input, range(2, 2 + rank), places, stride, padding, dilation, grad.shape[2:])
    a = grad.split_axis(1, groups).permute([1, 2, 0, *range(3, 3 + rank)])  # g, c, N, *o
    b = windows.split_axis(1, groups).permute([1, 0, *range(3, 3 + rank), 2, *range(3 + rank, 3 + 2 * rank)])  # g, N, *o, d, *k
    # Memory has the results as their layout does: with the channels innermost, neighbouring results read neighbouring numbers.
    order = None if layouts[0].contiguous else [0, 1, *range(3, 3 + rank), 2]
    result = graph.contract(a, b, batch=1, n=1 + rank, k=1 + rank, dtype=layouts[0].dtype, order=order, bundle=bundle)
    result = result.joined(0, 1)  # (g c), d, *k
    if places == sizes:
        return result
    whole = graph.copy(graph.constant(0, layouts[0].dtype, layouts[0].shape), layouts[0].strides)
    shown = whole.layout
    for axis, (first, count) in enumerate(reached, 2):
        shown = lay.slice_axis(shown, axis, first, count)
    return graph.update(whole, shown, result)


CONV = Operator("convolution", ("input", "weight", "bias"), STATICS, infer=_infer_conv, lower=_lower_conv, grad_name="ConvolutionBackward0")
CONV_INPUT = Operator(
    "conv_transpose", ("input", "weight", "bias"), STATICS, infer=_infer_input, lower=_lower_input, grad_name="ConvolutionBackward0"
)
CONV_WEIGHT = Operator("convolution_weight", ("grad_output", "input"), STATICS, infer=_infer_weight, lower=_lower_weight)


def _bias_gradient(grad: Tensor) -> Tensor:
    return grad.sum((0, *range(2, grad.layout.ndim)))


CONV.gradient(
    input=lambda grad, weight, input_shape, stride, padding, dilation, groups: CONV_INPUT(
        grad, conj(weight), statics=(stride, padding, dilation, groups, input_shape[2:])
    ),
    weight=lambda grad, input, weight_shape, stride, padding, dilation, groups: CONV_WEIGHT(
        grad, conj(input), statics=(stride, padding, dilation, groups, weight_shape[2:])
    ),
    bias=_bias_gradient,
)
CONV_INPUT.gradient(
    input=lambda grad, weight, input_shape, stride, padding, dilation, groups: CONV(
        grad, conj(weight), statics=(stride, padding, dilation, groups, input_shape[2:])
    ),
    weight=lambda grad, input, weight_shape, stride, padding, dilation, groups: CONV_WEIGHT(
        conj(input), grad, statics=(stride, padding, dilation, groups, weight_shape[2:])
    ),
    bias=_bias_gradient,
)
CONV_WEIGHT.gradient(
    grad_output=lambda grad, input, grad_output_shape, stride, padding, dilation, groups: CONV(
        conj(input), grad, statics=(stride, padding, dilation, groups, grad_output_shape[2:])
    ),
    input=lambda grad, grad_output, input_shape, stride, padding, dilation, groups: CONV_INPUT(
        conj(grad_output), grad, statics=(stride, padding, dilation, groups, input_shape[2:])
    ),
)


# -- functions -------------------------------------------------------------------------------------------------------


def convolve(input: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints | str, dilation: Ints, groups: int) -> Tensor:
    """A batched convolution; see :func:`convolution`. ``padding`` may be ``"same"`` or ``"valid"``."""
    input, weight, bias = low(input, weight, bias)
    if bias is None:
        return CONV(input, weight, statics=plan(input.layout, weight.layout, None, stride, padding, dilation, groups))
    return CONV(input, weight, bias, statics=plan(input.layout, weight.layout, bias.layout, stride, padding, dilation, groups))


def convolve_transposed(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints | str,
    output_padding: Ints,
    dilation: Ints,
    groups: int,
    mode: str = "zeros",
) -> Tensor:
    """A batched transposed convolution; see :func:`convolution`.

    With another ``mode`` than ``"zeros"`` it is the adjoint of a convolution that pads so: what would be cut off is folded back.
    """
    input, weight, bias = low(input, weight, bias)
    layouts = input.layout, weight.layout, None if bias is None else bias.layout
    statics, sides = plan_transposed(*layouts, stride, padding, output_padding, dilation, groups, mode != "zeros")
    if mode == "zeros":
        return CONV_INPUT(*((input, weight) if bias is None else (input, weight, bias)), statics=statics)
    result = fold_border(CONV_INPUT(input, weight, statics=statics), mode, ((0, 0), (0, 0), *sides))
    return result if bias is None else result + bias.reshape(-1, *(1,) * len(sides))


def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
) -> Tensor:
    """A batched convolution (or, if ``transposed``, its adjoint) of as many dimensions as ``weight`` has kernel dimensions.

    Shapes: input ``(N, C_in, *)``; weight ``(C_out, C_in / groups, *kernel)``, transposed ``(C_in, C_out / groups, *kernel)``; bias ``(C_out)``.

    Raises:
        RuntimeError: shapes do not fit, or the output would be empty; the message has the formula with the numbers put in.
    """
    rank = weight.layout.ndim - 2
    stride, padding, dilation, output_padding = (
        sizes * rank if len(sizes) == 1 else sizes
        for sizes in map(int_tuple, (stride, padding, dilation, output_padding), ("stride", "padding", "dilation", "output_padding"))
    )
    if transposed:
        return convolve_transposed(input, weight, bias, stride, padding, output_padding, dilation, groups)
    return convolve(input, weight, bias, stride, padding, dilation, groups)


PUBLIC = ("convolution",)
METHODS = ()
