"""Sums of products of bytes: linear maps and convolutions of integers without a sign by integers with one, on processors that have an
instruction for it (``Target.has_vnni``).

``sum (x - z) * w = sum x * w - z * sum w`` with the zero point ``z`` of the input; the weight's sums are computed once. Bytes lie four by four along
the innermost axis, channels that are missing count as zeros of the weight, and padding holds the zero point. Sums wrap around as int32 does,
so that a result that is an int32 is right whatever the way to it was; it is rounded to float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau._compiler.bundles import bundled
from flambeau._ops.convolution import STATICS, correlate
from flambeau._ops.operator import Operator
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node

QUAD = 4
"""Bytes that are multiplied together."""


def _quads(graph: Graph, bytes: Node) -> Node:
    """The bytes four by four along the last axis, a multiple of four long, as int32."""
    return bundled(graph, bytes, bytes.ndim - 1, dt.int32)


def _bordered(graph: Graph, bytes: Node, before: list[int], after: list[int], value: Node) -> Node:
    """The bytes with ``value`` around them."""
    if not any(before) and not any(after):
        return bytes
    whole = graph.pad(bytes, before, after)
    return graph.copy(graph.where(graph.inside(whole), whole, graph.cast(value, bytes.dtype)))


def _finished(graph: Graph, sums: Node, zero_point: Node, of_weight: Node) -> Node:
    return graph.cast(sums - graph.cast(zero_point, dt.int32) * of_weight, dt.float32)


# -- linear maps -----------------------------------------------------------------------------------------------------


def _infer_linear(operands: tuple, statics: tuple) -> Layout:
    input, weight = operands[:2]
    return lay.contiguous((*input.shape[:-1], weight.shape[0]), dt.float32)


def _lower_linear(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    input, weight, of_weight, zero_point = operands
    rows = [0] * (input.ndim - 1)
    input = _bordered(graph, input, [*rows, 0], [*rows, weight.shape[-1] - input.shape[-1]], zero_point)
    sums = graph.contract(_quads(graph, input), _quads(graph, weight).transpose(0, 1), m=input.ndim - 1, bundle="a")
    return _finished(graph, sums, zero_point, of_weight)


BYTE_LINEAR = Operator("_byte_linear", ("input", "weight", "sums", "zero_point"), infer=_infer_linear, lower=_lower_linear)
"""``(input - zero_point) @ weight.T``, float32; input uint8 (*, in), weight int8 (out, in) with zeros up to a multiple of four, its ``sums`` int32
(out)."""


# -- convolutions ----------------------------------------------------------------------------------------------------


def _infer_conv(operands: tuple, statics: tuple) -> Layout:
    input, weight = operands[:2]
    shape = (input.shape[0], weight.shape[0], *statics[4])
    return lay.ordered(shape, (0, *range(2, len(shape)), 1), dt.float32)


def _lower_conv(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    stride, padding, dilation, groups, sizes = statics
    input, weight, of_weight, zero_point = operands
    rank = len(stride)
    places = range(2, 2 + rank)
    input = input.permute([0, *places, 1])
    before, after = [0, *padding, 0], [0] * rank + [0, groups * weight.shape[-1] - input.shape[-1]]
    for axis, (size, step, spread, kernel) in enumerate(zip(sizes, stride, dilation, weight.shape[1:-1], strict=True), 1):
        after[axis] = max(0, (size - 1) * step + (kernel - 1) * spread + 1 - input.shape[axis] - before[axis])
    inner = [0, 1 + rank, *range(1, 1 + rank)]
    x = _quads(graph, _bordered(graph, input, before, after, zero_point)).permute(inner)
    windows = graph.windows(x, places, weight.shape[1:-1], stride, (0,) * rank, dilation, sizes)
    sums = correlate(graph, windows, _quads(graph, weight).permute(inner), rank, groups, True, dt.int32, "a")
    return _finished(graph, sums, zero_point, of_weight.reshape((-1, *(1,) * rank)))


BYTE_CONV = Operator("_byte_convolution", ("input", "weight", "sums", "zero_point"), STATICS, infer=_infer_conv, lower=_lower_conv)
"""A convolution of ``input - zero_point``, float32, with the channels innermost; input uint8 (N, C, …), weight int8 (out, …, C / groups) with zeros
up to a multiple of four, for which there must be one group, its ``sums`` int32 (out)."""
