"""A sum into few places by many steps, as the sum of those of parts of the steps.

Before: ``scatter sum`` of a million numbers into 10,000 places, one after another.
After: ``scatter sum`` of (4, 250,000) numbers into zeros (4, 10,000), and the sum of the target and of the four.

Threads take a part each. They would have to read all indices otherwise, and share the places. Into how many parts a sum falls is a matter of its
shape alone, and so is its order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from flambeau._compiler.node import Node
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph

_MOST = 16
_SHARE = 16
"""A part has at least so many times the elements of its target, which is cleared before, and read after it."""
_WORK = 1 << 15
"""Elements of a part at least."""
_LONG_BYTES = 1 << 12
"""Threads may as well have a piece of each row that is not shorter."""


def parts_of(combine: str, layout: Layout, dtype: DType, places: int) -> tuple[int, int]:
    """The axis of the value that is to fall into parts, and into how many (1, if it should not), by how it moves a target of so many elements.

    It is the first of the axes along which only the indices say where to go.
    """
    steps = [axis for axis, (size, stride) in enumerate(zip(layout.shape, layout.strides, strict=True)) if size > 1 and not stride]
    if combine != "sum" or not steps:
        return 0, 1
    count, size = prod(layout.shape), layout.shape[steps[0]]
    row = count // prod(layout.shape[axis] for axis in steps)
    most = min(_MOST, size, count // (_SHARE * places), count // _WORK)
    if most < 2 or row * dtype.itemsize >= _LONG_BYTES:
        return 0, 1
    return steps[0], 1 << (most.bit_length() - 1)


def in_parts(graph: Graph, args: tuple[Node, ...], attrs: tuple, strides: tuple[int, ...], axis: int, parts: int) -> Node:
    """What a scatter of these arguments and attributes gives, whose value falls into so many parts along ``axis``; what is left over comes last."""
    target = args[0]
    each, rest = divmod(attrs[1][axis], parts)
    zeros = graph.constant(0, target.dtype, (parts, *target.shape))
    found = _of_steps(graph, args, attrs, axis, 0, parts * each, parts, zeros, (target.numel, *strides))
    total = graph.reduce("sum", found, (0,))
    is_zero = target.kind == "constant" and not target.attrs[0]
    operands, how = ((total,), "copy") if is_zero else ((target, total), "add")
    result = graph.make("map", operands, (how,), target.dtype, target.shape, strides)
    return _of_steps(graph, args, attrs, axis, parts * each, rest, 1, result, strides) if rest else result


def _of_steps(
    graph: Graph,
    args: tuple[Node, ...],
    attrs: tuple,
    axis: int,
    start: int,
    length: int,
    parts: int,
    target: Node,
    strides: tuple[int, ...],
) -> Node:
    """A scatter of some steps along ``axis`` to ``target``; each part of them has a target of its own, if there are several."""
    combine, shape, moves, offset, index_strides, sizes, wraps, rows, errors, origin = attrs

    def split(steps: Sequence[int], of_part: int | None = None) -> tuple[int, ...]:
        if parts == 1:
            return tuple(steps)
        return (*steps[:axis], steps[axis] * (length // parts) if of_part is None else of_part, *steps[axis:])

    def piece(operand: Node) -> Node:
        operand = operand.slice(axis, start, length)
        return operand if parts == 1 else operand.split_axis(axis, parts)

    value, *followed = args[1:]
    if rows is not None:
        rows = replace(rows, strides=split(rows.strides), offset=rows.offset + start * rows.strides[axis])
    operands = (target, value if rows is not None else piece(value), *map(piece, followed))
    sliced = (*shape[:axis], length, *shape[axis + 1 :])
    there = sliced if parts == 1 else (*shape[:axis], parts, length // parts, *shape[axis + 1 :])
    errors = tuple(_elsewhere(error, shape, axis, start, length) for error in errors)
    changed = (combine, there, split(moves, args[0].numel), offset, index_strides, sizes, wraps, rows, errors, origin)
    return graph.make("scatter", operands, changed, target.dtype, target.shape, strides)


def _elsewhere(
    error: Callable[[int, int], Exception], shape: tuple[int, ...], axis: int, start: int, length: int
) -> Callable[[int, int], Exception]:
    """The error of a position in all steps along ``axis``, by the position in some of them."""
    inner = prod(shape[axis + 1 :])

    def make(position: int, index: int) -> Exception:
        before, here = divmod(position, length * inner)
        return error((before * shape[axis] + start) * inner + here, index)

    return make
