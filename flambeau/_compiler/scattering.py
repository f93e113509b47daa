"""From a scatter to kernel calls: which of its dimensions are spread over threads and lanes, and which are walked in order.

Before: ``scatter sum`` of a value (1,000,000, 64) into rows of a target (1000, 64) that one index names.
After: a digit of 64 features across the lanes, in two blocks, one for each thread; a million steps, in order; one look at the index a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from flambeau._codegen import serial
from flambeau._codegen.scatter import LANES, ScatterParameters, ScatterSpec, scatter_kernel
from flambeau._compiler.calls import KernelCall
from flambeau._compiler.node import Node, base_of
from flambeau._runtime import targets
from flambeau._types import layout as lay

_WORK = 1 << 15
"""Elements that a thread should claim at once; a scatter of fewer is not worth sharing."""
_BLOCK_BYTES = 128
"""The least of a row that a thread should be given, since each walks all indices: two cache lines."""

_LONG_BYTES = 1 << 14
"""Pieces of rows of so many bytes are read as fast as whole ones."""
_SKIPPED_BYTES = 512
"""Who skips every other row that is shorter reads it all the same: a million rows of 64 numbers take one thread 19 ms, each of two owners 30, and
each of two threads that take a half of each row 27; of 100,000 rows of 128 numbers 13, 9 and 10."""
_ORDERED_BYTES = 1 << 11
"""Rows that are not shorter are read as fast in any order."""
_ORDERED_STEPS = 1 << 18
_ALL = 1 << 30
_ROWS = 4
"""The least rows a thread should own, so that all have about as much to do."""

_Digit = tuple[int, ...]
"""Extent, weight in row-major order, and the strides of the target, the value and each index."""


def _digits(shape: Sequence[int], *moves: Sequence[int]) -> list[_Digit]:
    """The dimensions larger than 1; neighbours along which everything moves alike are one."""
    found: list[_Digit] = []
    for size, *steps in zip(shape, *moves, strict=True):
        if size == 1:
            continue
        if found and list(found[-1][1:]) == [size * step for step in steps]:
            found[-1] = (found[-1][0] * size, *steps)
        else:
            found.append((size, *steps))
    return found


def _vector_digit(outer: list[_Digit], steps: list[_Digit]) -> _Digit | None:
    """The digit across the lanes: the one along which the target lies side by side; any, if there are no steps to look ahead to."""
    if not steps:
        return outer[-1] if outer else None
    return next((digit for digit in outer if digit[2] == 1), None)


@dataclass(frozen=True)
class _Shares:
    """How a scatter is shared: blocks of the vector digit, owners of places, how many of them one thread may take as one, and whether rows
    are gathered in scratch memory, or steps taken in the order of their places."""

    block: int = 1
    owners: int = 1
    together: int = 1
    gathers: bool = False
    ordered: bool = False


def _shares(node: Node, vector: _Digit | None, steps: int, sizes: Sequence[int], index_strides: Sequence[int], threads: int) -> _Shares:
    """How a scatter along ``vector`` and ``steps`` is shared by so many threads for each place of the other digits."""
    if vector is None:  # one thread is as fast
        return _Shares()
    extent, itemsize, rows = vector[0], node.dtype.itemsize, prod(sizes)
    if steps == 1:
        return _Shares(_vectors(1024, extent))
    block = _vectors(max(-(-extent // threads), -(-_BLOCK_BYTES // itemsize)), extent)
    many = rows >= _ROWS * threads
    if not any(vector[4:]):  # whole rows
        if threads == 2 and _BLOCK_BYTES <= extent * itemsize < _SKIPPED_BYTES:
            return _Shares(extent)
        target = rows * extent * itemsize
        ordered = extent * itemsize >= _ORDERED_BYTES and 2 * rows <= steps <= _ORDERED_STEPS and 8 * target > targets.cache_sizes()[1]
        if many and block * itemsize < _LONG_BYTES:
            return _Shares(extent, threads, _ALL, ordered=ordered)
        return _Shares(block, 1, _ALL, ordered=ordered and block * itemsize >= _ORDERED_BYTES)
    if many and threads // -(-extent // block) > 1:
        return _Shares(extent, threads, _ALL)
    if len(sizes) > 1 or vector[2] != 1 or steps < rows or index_strides[0] < extent:
        return _Shares(block, 1, _ALL)
    cache = targets.cache_sizes()[1]
    if rows * extent * itemsize <= 2 * cache:
        return _Shares(block, 1, _ALL, gathers=True)
    narrow = _vectors(max(cache // 2 // (rows * itemsize), -(-_BLOCK_BYTES // itemsize)), block)
    return _Shares(narrow, 1, 1, rows * narrow * itemsize <= cache)


def _vectors(wanted: int, most: int) -> int:
    """So many elements, in whole vectors, but at most all."""
    return min(most, -(-wanted // LANES) * LANES)


def _walk(shape: Sequence[int], moves: Sequence[Sequence[int]], has_indices: bool) -> tuple[list[_Digit], _Digit | None, list[_Digit]]:
    """The digits of places that differ, the one among them that lanes are spread over, and the digits of the steps at each place, in order."""
    digits = _digits(shape, lay.row_major(shape), *moves)
    outer = [digit for digit in digits if digit[2] and has_indices]
    steps = [digit for digit in digits if not (digit[2] and has_indices)]
    vector = _vector_digit(outer, steps)
    if vector is not None:
        outer.remove(vector)
    elif not steps:
        steps = [(1, 1, *(0,) * len(moves))]
    return outer, vector, steps


def _operands(node: Node) -> tuple[list[int], list[tuple[int, Node | str]]]:
    """The parameters and buffers of the target, the value and the indices, and of what names the value's rows."""
    _, _, _, offset, index_strides, sizes, _, rows, _, _ = node.attrs
    value = node.args[1]
    params = [0, offset * node.dtype.itemsize]
    buffers: list[tuple[int, Node | str]] = [(0, node)]
    extras: list[tuple[int, ...]] = [(), *zip(sizes, index_strides, strict=True), *([(rows.step,), ()] if rows is not None else [])]
    for operand, extra in zip(node.args[1:], extras, strict=False):
        base, view = base_of(operand)
        buffers.append((len(params), base))
        start = rows.offset if rows is not None and operand is value else view.attrs[0] if view is not None else 0
        params += [0, start * base.dtype.itemsize, *extra]
    return params, buffers


def lower_scatter(node: Node, origin: Node | None, *, guarded: bool) -> list[KernelCall]:
    """The kernel calls of a scatter.

    ``origin`` is what to begin with, if that does not lie where the result shall: a value in the same order of memory, or zeros. If the
    scatter is ``guarded``, all indices are checked before anything is written.
    """
    combine, shape, strides, _, index_strides, sizes, wraps, rows, _, _ = node.attrs
    if 0 in shape:
        return []
    value, *followed = node.args[1:]
    indices, named = followed[: len(sizes)], followed[len(sizes) :]
    moves = (strides, value.strides if rows is None else rows.strides, *[each.strides for each in followed])
    outer, vector, steps = _walk(shape, moves, bool(indices))
    places, count = prod(digit[0] for digit in outer), prod(shape)
    threads = targets.available_cores() if count >= _WORK else 1
    extent = vector[0] if vector is not None else 1
    span = 1 + sum((size - 1) * stride for size, stride in zip(sizes, index_strides, strict=True))
    shares = _shares(node, vector, prod(digit[0] for digit in steps), sizes, index_strides, -(-threads // places))
    if places > 1:
        shares = replace(shares, together=1)
    if shares.ordered and (node.attrs[0] == "set" or len(steps) > 1 or len(indices) > 1 or named):
        shares = replace(shares, ordered=False)
    block, owners = shares.block, shares.owners
    blocks = -(-extent // block)
    move = max(1, index_strides[0]) if len(indices) == 1 else 1
    sets_up = len(indices) == 1 and (vector or (0, 0, move))[2] == 1 and owners == 1
    start, before = _start(node, origin, places * extent * sizes[0] if sets_up else 0)
    params, buffers = _operands(node)
    params += [blocks, block, span, owners, shares.together, 0, 0]
    if start == "copy":
        assert origin is not None
        buffers.append((len(params) - 2, origin))
    for digit in (*outer, *([vector] if vector is not None else ()), *steps):
        params += digit
    lanes = tuple(stride if stride in (0, 1) else 2 for stride in (vector or steps[-1])[2 : 4 + len(indices)])
    tiles = owners * places * blocks
    grain = max(1, _WORK * tiles // max(1, count * owners))
    calls = list(before)
    for dry in (True, False) if guarded and indices else (False,):
        spec = ScatterSpec(
            combine, node.dtype, tuple(index.dtype for index in indices), wraps, len(outer), len(steps), vector is not None, lanes,
            len(named), owners > 1, "" if dry else start, shares.gathers and not dry, shares.ordered and not dry, dry, targets.current().instruction_sets,
        )  # fmt: skip
        assert len(params) == ScatterParameters(spec).count
        name, text = scatter_kernel(spec)
        pitch = min(blocks, shares.together) * -(-block // LANES) * LANES + LANES
        scratch = sizes[0] * pitch * node.dtype.itemsize if spec.gathers else 8 * (1 + sizes[0] + steps[0][0]) if spec.ordered else 0
        calls.append(KernelCall(name, text, list(params), list(buffers), tiles, grain, scratch, (node,)))
    return calls


def _start(node: Node, origin: Node | None, covered: int) -> tuple[str, list[KernelCall]]:
    """How tiles begin (with a copy of their part of ``origin``, with zeros, or with what lies there), and calls before them.

    ``covered`` is how many elements lie in rows that the tiles can set up.
    """
    if origin is None or origin.kind == "empty":
        return "", []
    if covered == node.numel:
        return ("zero" if origin.kind == "constant" else "copy"), []
    count = node.numel * node.dtype.itemsize
    if origin.kind == "constant":
        name, text = serial.clear_kernel()
        return "", [KernelCall(name, text, [0, 0, count], [(0, node)], -(-count // serial.COPY_TILE), nodes=())]
    name, text = serial.copy_kernel()
    return "", [KernelCall(name, text, [0, 0, 0, 0, count], [(0, origin), (2, node)], -(-count // serial.COPY_TILE), nodes=())]
