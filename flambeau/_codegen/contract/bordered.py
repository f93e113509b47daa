"""Operands with their border: copied once with the zeros that bounds stand for, so that every window can be read where it lies.

Windows overlap, so that packing them copies each number once for each tap: 9 times for 3 x 3. Where the channels are innermost, packing also
has to go across memory, since the channels come first in the order of the sum. In a bordered copy element ``[row, k]`` of the left
operand is at an offset of the row plus one of ``k``, and two short tables say which (``micro``).

An operand can be bordered if memory is a nest of *outer* axes, of the *coordinates* that bounds are about, and of runs of neighbours
inside these: ``(N, H, W, C)``, or ``(N * C, H, W)`` with runs of one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from flambeau._codegen.contract.arithmetic import Tile, register_tile, widen
from flambeau._codegen.contract.normal import Axis, Column
from flambeau._codegen.contract.packing import Border, address, store_lanes
from flambeau._codegen.contract.parameters import Reader, decomposed, dot
from flambeau._codegen.ir import Builder, Value, constant, constant_vector, i64, vector
from flambeau._codegen.scalar import registers
from flambeau._runtime.targets import Target
from flambeau._types.dtype import dtype

LINE = 64
"""Bytes of a cache line."""
_MASKED_BITS = 256
"""Vectors from so many bits on are loaded under masks as fast as without."""


@dataclass(frozen=True, slots=True)
class Coordinate:
    """A coordinate from ``low`` on, ``count`` places of which those in ``range(extent)`` exist; ``stride`` in memory, ``placed`` in the copy."""

    low: int
    count: int
    extent: int
    stride: int
    placed: int


class Bordered(NamedTuple):
    """How an operand is copied: ``outer`` axes as ``(extent, stride)``, coordinates from the outermost on, and the length of a ``run``."""

    column: Column
    outer: tuple[tuple[int, int], ...]
    placed: dict[int, int]
    coordinates: tuple[Coordinate, ...]
    bounds: tuple[int, ...]
    run: int

    @property
    def row(self) -> int:
        """The size of a row along the last coordinate."""
        return self.coordinates[-1].count * self.coordinates[-1].placed

    @property
    def numbers(self) -> int:
        """The size of the copy."""
        return prod(extent for extent, _ in self.outer) * prod(each.count for each in self.coordinates[:-1]) * self.row

    @property
    def existing(self) -> int:
        """How many of them are in memory."""
        return prod(extent for extent, _ in self.outer) * prod(each.extent for each in self.coordinates) * self.run

    def stride(self, axis: Axis) -> int:
        """How far one step along an axis goes in the copy."""
        moves = [axis[i] for i in self.bounds]
        if any(moves):
            return sum(move * each.placed for move, each in zip(moves, self.coordinates, strict=True))
        stride = axis[self.column.index]
        return self.placed.get(stride, stride)

    @property
    def origin(self) -> int:
        """Where the element with all indices 0 is in the copy."""
        starts = self._starts()
        return sum((start - each.low) * each.placed for start, each in zip(starts, self.coordinates, strict=True))

    @property
    def offset(self) -> int:
        """Where in memory the copy's first element would be."""
        starts = self._starts()
        moved = sum((each.low - start) * each.stride for start, each in zip(starts, self.coordinates, strict=True))
        return self.column.operand.offset + moved

    def _starts(self) -> list[int]:
        bounds = dict(zip(self.column.bounds, self.column.operand.bounds, strict=True))
        return [bounds[i].start for i in self.bounds]


class Band(NamedTuple):
    """What some rows of a contraction read of a bordered copy: a tile may copy that alone, to where it stays near.

    ``low`` and ``high`` are the first and the last number of the copy that row 0 reads; ``rows`` are the axes of the rows as ``(extent,
    stride)`` in the copy.
    """

    copy: Bordered
    low: int
    high: int
    rows: tuple[tuple[int, int], ...]

    def numbers(self, block: int, tiles: int | None = None) -> int:
        """The most that a block of rows reads: among the first few ``tiles``, or among all."""
        count, row = prod(extent for extent, _ in self.rows), self.copy.row
        firsts = range(0, count, block)[:tiles]
        most = max((self._place(min(i + block, count) - 1) + self.high) // row - (self._place(i) + self.low) // row for i in firsts)
        return (most + 1) * row

    def _place(self, position: int) -> int:
        place = 0
        for extent, stride in reversed(self.rows):
            position, index = divmod(position, extent)
            place += index * stride
        return place


def band(column: Column, rows: list[Axis], k: list[Axis], batch: list[Axis], tile: Tile) -> Band | None:
    """How tiles would copy their part of an operand with its border for each batch: further rows must be further on in the copy."""
    if any(axis[i] for axis in batch for i in column.bounds):
        return None
    copy = bordered(column, [*rows, *k], tile)
    if copy is None:
        return None
    placed = tuple((axis[0], copy.stride(axis)) for axis in rows)
    reach = 0
    for extent, stride in reversed(placed):
        if stride < reach:
            return None
        reach += (extent - 1) * stride
    moves = [(axis[0] - 1) * copy.stride(axis) for axis in k]
    low, high = (copy.origin + sum(pick(move, 0) for move in moves) for pick in (min, max))
    return Band(copy, low, high, placed)


def strip(column: Column, outer: list[Axis], cut: Axis, others: list[Axis], batch: list[Axis], tile: Tile) -> Band | None:
    """How tiles would copy what one block of the sum reads: some places along the axis that is ``cut``, at one place along the ``outer`` ones.

    The gradient by a weight sums over positions, so that what a tile reads of the image in one block is a few rows of it. Further places must be
    further on in the copy: the taps of a gradient by the image are not.
    """
    if any(axis[i] for axis in batch for i in column.bounds):
        return None
    copy = bordered(column, [*outer, cut, *others], tile)
    if copy is None or copy.stride(cut) < 0 or any(copy.stride(axis) % copy.row for axis in (*outer, cut) if axis[0] > 1):
        return None
    moves = [(axis[0] - 1) * copy.stride(axis) for axis in others]
    low, high = (copy.origin + sum(pick(move, 0) for move in moves) for pick in (min, max))
    return Band(copy, low, high, ((cut[0], copy.stride(cut)),))


def bordered(column: Column, axes: list[Axis], tile: Tile) -> Bordered | None:
    """How to copy an operand with all its ``axes``, if its memory is such a nest."""
    strides: dict[int, int] = {}
    axes = [axis for axis in axes if axis[0] > 1]
    for axis in axes:
        moving = [i for i in column.bounds if axis[i]]
        if len(moving) == 1 and axis[column.index] % axis[moving[0]] == 0:
            strides[moving[0]] = axis[column.index] // axis[moving[0]]
    if len(strides) < len(column.bounds) or min(strides.values(), default=0) <= 0:
        return None
    free = []
    for axis in axes:
        if not any(axis[i] for i in column.bounds):
            free.append((axis[0], axis[column.index]))
        elif axis[column.index] != sum(axis[i] * strides[i] for i in column.bounds):
            return None
    if any(stride < 0 for _, stride in free):
        return None
    near, far = min(strides.values()), max(strides.values())
    run = 1 + sum((extent - 1) * stride for extent, stride in free if stride < near)
    # Positions and taps along a coordinate that has no bound are equally far apart if stride and dilation are equal: one axis, as long as both reach.
    reaches: dict[int, int] = {}
    for extent, stride in free:
        if stride >= near:
            reaches[stride] = reaches.get(stride, 1) + extent - 1
    outer = sorted(reaches.items(), reverse=True)
    if run > near or any(stride < far for stride, _ in outer):
        return None
    order = sorted(column.bounds, key=lambda i: -strides[i])
    about = dict(zip(column.bounds, column.operand.bounds, strict=True))
    placed, coordinates = _apart(run, tile), []
    for i in reversed(order):
        steps = [axis[i] * (axis[0] - 1) for axis in axes]
        low = about[i].start + sum(min(step, 0) for step in steps)
        count = about[i].start + sum(max(step, 0) for step in steps) - low + 1
        coordinates.insert(0, Coordinate(low, count, about[i].extent, strides[i], placed))
        placed *= count
    of_outer = {}
    for stride, extent in reversed(outer):
        of_outer[stride] = placed
        placed *= extent
    return Bordered(column, tuple((extent, stride) for stride, extent in outer), of_outer, tuple(coordinates), tuple(order), run)


def _apart(run: int, tile: Tile) -> int:
    """How far apart runs are put: an odd number of cache lines if they are long, so that a few of them do not evict each other.

    For 512 channels of 7 x 7 that makes 66 GFLOP/s of 33 (Zen 4 with AVX2).
    """
    line = LINE // tile.bytes
    return run if run < 2 * line else (-(-run // line) | 1) * line


def border_of(plan: Bordered, target: Target) -> Border:
    """What the code of the copy depends on."""
    outside, of, last = len(plan.coordinates) - 1, plan.column.dtype, plan.coordinates[-1]
    tile = register_tile(of, target)
    neighbours = last.stride == plan.run == last.placed and of is tile.compute and target.vector_bits >= _MASKED_BITS
    return Border(target, of, len(plan.outer) + outside, outside, neighbours)


def parameters_of(plan: Bordered, name: str) -> tuple[dict[str, int], int]:
    """The parameters of the code that copies, and the number of rows along the last coordinate."""
    last = plan.coordinates[-1]
    axes = [*plan.outer, *[(each.count, each.stride) for each in plan.coordinates[:-1]]]
    values = {f"{name}.bytes": plan.offset * plan.column.dtype.itemsize}
    for i, (extent, stride) in enumerate(axes):
        values |= {f"axis{i}.extent": extent, f"axis{i}.stride": stride}
    for i, each in enumerate(plan.coordinates[:-1]):
        values |= {f"coordinate{i}.low": each.low, f"coordinate{i}.extent": each.extent}
    before = min(last.count, max(0, -last.low))
    inside = max(0, min(last.low + last.count, last.extent) - max(last.low, 0))
    # Neighbouring runs are one.
    runs, length = (1, inside * plan.run) if last.stride == plan.run == last.placed else (inside, plan.run)
    values |= {
        "row": plan.row, "before": before * last.placed, "first": max(last.low, 0) - last.low, "inside": inside * last.placed,
        "runs": runs, "run": length, "stride": last.stride, "placed": last.placed,
    }  # fmt: skip
    return values, prod(extent for extent, _ in axes)


def emit_rows(f: Builder, read: Reader, s: Border, source: Value, target: Value, begin: Value, end: Value) -> None:
    """Copy rows ``begin`` to ``end`` of an operand with their border, one after the other, to ``target``."""
    tile = register_tile(s.dtype, s.target)
    extents = [read(f"axis{i}.extent") for i in range(1, s.axes)]
    with f.loop(begin, end, carried=decomposed(f, read, "axis", s.axes, begin) if s.axes else []) as loop:
        indices = loop.carried
        exists = Value("true", "i1")
        for i, index in enumerate(indices[s.axes - s.coordinates :]):
            inside = f.compare("ult", f.add(index, read(f"coordinate{i}.low")), read(f"coordinate{i}.extent"))
            exists = f.binary("and", exists, inside)
        row = f.offset(target, f.mul(f.sub(loop.index, begin), read("row")), tile.element)
        start = f.add(dot(f, indices, read, [f"axis{i}.stride" for i in range(s.axes)]), f.mul(read("first"), read("stride")))
        (_emit_neighbours if s.neighbours else _emit_runs)(f, read, s, tile, source, start, row, exists)
        loop.carry(*_following(f, indices, extents))


def _following(f: Builder, indices: list[Value], extents: list[Value]) -> list[Value]:
    """The indices of the next place, row-major: divisions would take longer than a short row."""
    moved, carries = [], i64(1)
    for index, extent in zip(reversed(indices[1:]), reversed(extents), strict=True):
        further = f.add(index, carries)
        wraps = f.compare("eq", further, extent)
        moved.insert(0, f.select(wraps, i64(0), further))
        carries = f.cast("zext", wraps, "i64")
    return [*(f.add(index, carries) for index in indices[:1]), *moved]


def _emit_neighbours(f: Builder, read: Reader, s: Border, tile: Tile, source: Value, start: Value, row: Value, exists: Value) -> None:
    """A row whose numbers are neighbours: vectors of it with zeros where there are none, so that its ends take no loops of their own."""
    before, count, lane = read("before"), read("row"), f"i{8 * tile.bytes}"
    inside = f.select(exists, read("inside"), i64(0))
    first = address(f, source, f.sub(start, before), s.dtype)
    lanes = constant_vector(lane, range(tile.width))

    def from_lane(number: Value, at: Value) -> Value:
        """Which lanes of the vector ``at`` a place are at that ``number`` or after it."""
        return f.compare("sge", lanes, f.splat(f.cast("trunc", f.sub(number, at), lane), tile.width))

    def load(at: Value) -> Value:
        mask = f.binary(
            "and", from_lane(before, at), f.binary("xor", from_lane(f.add(before, inside), at), constant(vector("i1", tile.width), 1))
        )
        return f.masked_load(f.offset(first, at, tile.element), mask, tile.type)

    if s.axes:  # rows far apart are nothing that the processor would ask for by itself
        f.prefetch(address(f, first, read(f"axis{s.axes - 1}.stride"), s.dtype))
    whole = f.binary("and", count, i64(-tile.width))
    with f.loop(0, whole, tile.width) as loop:
        f.store(load(loop.index), f.offset(row, loop.index, tile.element))
    rest = f.sub(count, whole)
    with f.when(f.compare("sgt", rest, 0)):
        place = f.offset(row, whole, tile.element)
        if tile.has_masks:
            f.masked_store(load(whole), place, f.lane_mask(rest, tile.width))
        else:
            f.store_first(load(whole), place, rest)


def _emit_runs(f: Builder, read: Reader, s: Border, tile: Tile, source: Value, start: Value, row: Value, exists: Value) -> None:
    """A row of runs that are some distance apart, or that are numbers of another dtype."""
    with f.when(f.binary("xor", exists, 1)):
        _clear(f, tile, row, read("row"))
    with f.when(exists):
        _clear(f, tile, row, read("before"))
        place = f.offset(row, read("before"), tile.element)
        with f.loop(0, read("runs")) as run:
            here = address(f, source, f.add(start, f.mul(run.index, read("stride"))), s.dtype)
            if s.coordinates:  # short runs of rows far apart are nothing that the processor would ask for by itself
                f.prefetch(address(f, here, read(f"axis{s.axes - 1}.stride"), s.dtype))
            _copy(f, tile, s.dtype, here, f.offset(place, f.mul(run.index, read("placed")), tile.element), read("run"))
        done = f.add(read("before"), read("inside"))
        _clear(f, tile, f.offset(row, done, tile.element), f.sub(read("row"), done))


def _clear(f: Builder, tile: Tile, place: Value, count: Value) -> None:
    def store(at: Value, width: int) -> None:
        f.store(constant(vector(tile.element, width), 0), f.offset(place, at, tile.element))

    def store_some(at: Value, left: Value) -> None:
        mask = f.lane_mask(left, tile.width)
        store_lanes(f, tile, constant(tile.type, 0), f.offset(place, at, tile.element), tile.compute, mask)

    _each_vector(f, tile, count, store, store_some)


def _copy(f: Builder, tile: Tile, of: dtype, source: Value, place: Value, count: Value) -> None:
    def copy(at: Value, width: int) -> None:
        value = registers.load(f, address(f, source, at, of), of, width)
        registers.store(f, widen(f, value, of, tile.compute), f.offset(place, at, tile.element), tile.compute)

    def copy_some(at: Value, left: Value) -> None:
        mask = f.lane_mask(left, tile.width)
        value = registers.load(f, address(f, source, at, of), of, tile.width, mask)
        store_lanes(f, tile, widen(f, value, of, tile.compute), f.offset(place, at, tile.element), tile.compute, mask)

    _each_vector(f, tile, count, copy, copy_some)


def _each_vector(f: Builder, tile: Tile, count: Value, do: Callable[[Value, int], None], do_some: Callable[[Value, Value], None]) -> None:
    """Do whole vectors of ``count`` numbers, and what is left under a mask, or by halves where masks have no registers: a masked store takes a dozen cycles."""
    whole = f.binary("and", count, i64(-tile.width))
    with f.loop(0, whole, tile.width) as loop:
        do(loop.index, tile.width)
    if tile.has_masks:
        rest = f.sub(count, whole)
        with f.when(f.compare("sgt", rest, 0)):
            do_some(whole, rest)
        return
    size = tile.width // 2
    while size:
        with f.when(f.compare("ne", f.binary("and", count, size), 0)):
            do(f.binary("and", count, i64(-2 * size)), size)
        size //= 2
