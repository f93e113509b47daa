"""Numbers that are multiplied together: some processors have an instruction for sums of products of narrow numbers, which it reads side by side.

Two of bfloat16 or four bytes along what is summed over are one number of a contraction that is otherwise the ordinary one
(``_codegen.contract.Contract``).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from flambeau._codegen.bundles import PAIRS
from flambeau._runtime import targets
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node

_FEWEST, _LEAST = (8, 8, 16), 1 << 15
"""Rows, columns and terms, and products in all, from which on pairs are made: where numbers are not side by side a kernel puts them there first."""


def bundled(graph: Graph, operand: Node, axis: int, dtype: DType, apart: bool = False) -> Node:
    """Numbers along ``axis``, as many as a number of ``dtype`` has room for, as one number; what is missing of the last ones is zero.

    They are neighbours, or, if they are ``apart``, one of each half of the axis (the order of sums is free). They are read where they lie, if that is side by side; else
    they are copied, otherwise in the order that they have in memory.
    """
    count = dtype.itemsize // operand.dtype.itemsize
    repeats = [
        size > 1 and not stride and other != axis for other, (size, stride) in enumerate(zip(operand.shape, operand.strides, strict=True))
    ]
    if any(repeats):
        once = operand
        for other in [other for other, repeat in enumerate(repeats) if repeat]:
            once = once.slice(other, 0, 1)
        made = bundled(graph, once, axis, dtype, apart)
        return made.expand(tuple(whole if repeat else size for whole, size, repeat in zip(operand.shape, made.shape, repeats, strict=True)))
    missing = -operand.shape[axis] % count
    if missing:
        operand = graph.pad(operand, [0] * operand.ndim, [missing * (other == axis) for other in range(operand.ndim)])
    split = operand.split_axis(axis, count if apart else operand.shape[axis] // count)
    inner = axis if apart else axis + 1
    outer = [other for other in range(split.ndim) if other != inner]
    if not _is_bundled(split, inner, count):
        order = sorted(outer, key=lambda other: -abs(split.strides[other]))
        split = graph.copy(split, lay.ordered(split.shape, (*order, inner), split.dtype).strides)
    base = split.args[0] if split.kind == "view" else split
    shape, strides = (tuple(each[other] for other in outer) for each in (split.shape, split.strides))
    shown = lay.layout(shape, tuple(stride // count for stride in strides), split.layout.offset // count, dtype)
    return graph.view(graph.bitcast(base, dtype, base.numel // count), shown)


def _is_bundled(split: Node, inner: int, count: int) -> bool:
    """Whether numbers along the axis ``inner`` lie side by side, and others whole bundles away."""
    base = split.args[0] if split.kind == "view" else split
    if base.kind in ("constant", "number", "iota") or (split.kind == "view" and split.attrs[1]):
        return False
    moves = [stride for other, (size, stride) in enumerate(zip(split.shape, split.strides, strict=True)) if size > 1 and other != inner]
    return split.strides[inner] == 1 and not any(number % count for number in (split.layout.offset, *moves))


def in_pairs(a: DType, b: DType, rows: int, columns: int, terms: int) -> bool:
    """Whether sums of products are computed by pairs: a matter of dtypes and extents alone, since it decides the bits."""
    if (
        not (a is b is dt.bfloat16)
        or rows * columns * terms < _LEAST
        or any(each < least for each, least in zip((rows, columns, terms), _FEWEST, strict=True))
    ):
        return False
    return targets.current().has_pairs


Summed = tuple["Node", int, int]
"""An operand, the axis of it that is summed over in groups of neighbours, and how many groups there are."""


def paired(graph: Graph, a: Summed, b: Summed, rows: int, columns: int, terms: int) -> tuple[Node, Node, str]:
    """The operands of a convolution, in pairs if that is worthwhile, and the ``bundle`` of their contraction."""
    operand, axis, groups = a
    summed = operand.shape[axis] // groups
    is_whole = summed % 2 == 0 or (groups == 1 and summed > 1)
    if not is_whole or not in_pairs(operand.dtype, b[0].dtype, rows, columns, terms):
        return operand, b[0], ""
    first, second = (
        bundled(graph, each.split_axis(axis, groups), axis + 1, dt.float32, apart=True).joined(axis, axis + 1)
        for each, axis, groups in (a, b)
    )
    return first, second, PAIRS


def matrix_product(graph: Graph, a: Node, b: Node, batch: int = 0, m: int = 1, dtype: DType | None = None) -> Node:
    """``Graph.contract`` over one axis with one axis of columns, by pairs where the processor has them."""
    dtype = dtype or a.dtype
    if in_pairs(a.dtype, b.dtype, prod(a.shape[batch : batch + m]), b.shape[-1], a.shape[-1]):
        a, b = bundled(graph, a, a.ndim - 1, dt.float32), bundled(graph, b, b.ndim - 2, dt.float32)
        return graph.contract(a, b, batch=batch, m=m, dtype=dtype, bundle=PAIRS)
    return graph.contract(a, b, batch=batch, m=m, dtype=dtype)
