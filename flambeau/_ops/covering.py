"""The windows that cover each position: what gradients of pooling and of columns add up.

A position along an axis is two: a *block* of as many positions as windows move on by, and a *place* in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from operator import add
from typing import TYPE_CHECKING, NamedTuple

from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node

Ints = tuple[int, ...]


class BlockPart(NamedTuple):
    """Blocks of an axis from ``first`` on, and how many places of each are meant."""

    first: int
    blocks: int
    places: int


def block_parts(extent: int, step: int) -> list[BlockPart]:
    """The whole blocks of an axis, and what is left of the last."""
    whole, rest = divmod(extent, step)
    return [BlockPart(*part) for part in ((0, whole, step), (whole, 1, rest)) if part[1] and part[2]]


def blocks_of(layout: Layout, stride: Ints, parts: Sequence[BlockPart]) -> Layout:
    """A part of a tensor, each of whose last axes is two: blocks, and places in a block."""
    lead = len(layout.shape) - len(parts)
    shape, strides, offset = [*layout.shape[:lead]], [*layout.strides[:lead]], layout.offset
    for part, step, move in zip(parts, stride, layout.strides[lead:], strict=True):
        shape += [part.blocks, part.places]
        strides += [step * move, move]
        offset += part.first * step * move
    return lay.layout(tuple(shape), tuple(strides), offset, layout.dtype)


def summed(covering: Node, rank: int, divisor: float | None) -> Node:
    """The sums (divided by a number) over the windows that cover each position."""
    windows = covering.ndim - rank
    is_one = prod(covering.shape[windows:]) == 1
    blocks = covering.reshape(covering.shape[:windows]) if is_one else covering.sum(range(windows, covering.ndim))
    return blocks if divisor is None else blocks / divisor


def joined_blocks(graph: Graph, covering: Node, extents: Ints, layout: Layout, divisor: float | None = None) -> Node:
    """The sums (divided by a number) over the windows that cover a position, whose two axes become one, in the order in which the input lies in
    memory."""
    rank = len(extents)
    lead, blocks = layout.ndim - rank, summed(covering, rank, divisor)
    halves = [((axis,) if axis < lead else (2 * axis - lead, 2 * axis - lead + 1)) for axis in lay.memory_order(layout)]
    result = graph.finish(blocks, lay.ordered(blocks.shape, [half for each in halves for half in each], blocks.dtype))
    sizes = (prod(blocks.shape[lead + 2 * axis : lead + 2 * axis + 2]) for axis in range(rank))
    result = result.reshape((*blocks.shape[:lead], *sizes))
    for axis, extent in enumerate(extents):
        result = result.slice(lead + axis, 0, extent)
    return result


def covering_windows(
    graph: Graph,
    grad: Node,
    extents: Ints,
    kernel: Ints,
    stride: Ints,
    padding: Ints,
    taps: Ints | None = None,
    parts: Sequence[BlockPart] | None = None,
) -> Node:
    """For each input position the gradients of the windows that cover it, and zeros.

    ``taps`` are strides along the places of a window, if each has a gradient of its own. ``parts`` are blocks of each axis, if not all are meant.

    A position is two axes, ``(block, place)``, with ``stride`` places in a block (the last one may reach beyond the input), and is covered by
    window ``block + t`` if ``0 <= place + padding - stride * t < kernel``. The axes of ``t`` are the last ones.
    """
    from flambeau._compiler.node import Bound  # which a program that was compiled before does not load

    grad = grad.plain
    source = grad.layout
    rank = len(kernel)
    lead = source.ndim - rank
    shape, strides, offset = [*source.shape[:lead]], [*source.strides[:lead]], source.offset
    ends: list[tuple[int, int]] = []
    bounds = []
    taps = taps or (0,) * rank
    parts = parts or [BlockPart(0, -(-extent // step), step) for extent, step in zip(extents, stride, strict=True)]
    for axis, (part, wide, step, pad, tap) in enumerate(zip(parts, kernel, stride, padding, taps, strict=True)):
        windows, move = source.shape[lead + axis], source.strides[lead + axis]
        first, last = -((wide - 1 - pad) // step), (step - 1 + pad) // step
        shape += [part.blocks, part.places]
        strides += [move, tap]
        offset += move * (part.first + first) + tap * (pad - step * first)
        ends.append((last - first + 1, move - step * tap))
        block, place, t = (_unit(lead + 3 * rank, at) for at in (lead + 2 * axis, lead + 2 * axis + 1, lead + 2 * rank + axis))
        if part.first + first < 0 or part.first + part.blocks - 1 + last >= windows:
            bounds.append(Bound(tuple(map(add, block, t)), part.first + first, windows))
        if pad - step * last < 0 or part.places - 1 + pad - step * first >= wide:
            bounds.append(Bound(tuple(one - step * other for one, other in zip(place, t, strict=True)), pad - step * first, wide))
    for count, move in ends:
        shape.append(count)
        strides.append(move)
    return graph.view(grad, lay.layout(tuple(shape), tuple(strides), offset, grad.dtype), tuple(bounds))


def _unit(length: int, axis: int) -> Ints:
    """Coefficients of which one is 1."""
    return tuple(int(other == axis) for other in range(length))
