"""Kernels that go through elements one after another: scans and copies."""

from __future__ import annotations

import math
import operator
from functools import lru_cache, reduce

from flambeau._codegen import scalar
from flambeau._codegen.ir import Builder, Module, Value, bits, element_type, i64, vector_width
from flambeau._codegen.lanes import Lanes, rarely
from flambeau._codegen.loops import COMBINE, finish
from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType


def _start(features: tuple[str, ...]) -> tuple[Module, Builder]:
    module = Module(features)
    return module, module.function(
        "KERNEL", [("ptr noalias", "table"), ("ptr noalias", "params"), ("i64", "begin"), ("i64", "end"), ("ptr", "scratch")]
    )


def _word(f: Builder, position: int) -> Value:
    return f.load(f.offset(f.parameters[1], position, "i64"), "i64")


def _buffer(f: Builder, position: int) -> Value:
    """The address given by the slot and byte offset at ``position``."""
    slot = f.load(f.offset(f.parameters[0], _word(f, position), "ptr"), "ptr")
    return f.offset(slot, _word(f, position + 1), "i8")


def _element(f: Builder, base: Value, index: Value, of: DType) -> Value:
    return f.offset(base, f.mul(index, i64(2)) if of.is_complex else index, scalar.memory_type(of))


LANES = 16
SCAN_LINES = 4
"""Neighbouring lines along memory that a tile of a scan takes together: as many chains of additions as hide each other's latency."""
SCAN_ITEMS = 8
"""Neighbouring elements of a line whose running totals are made side by side before what came earlier is added to them: a chain of additions has a link
for each eight elements. That is the order of a sum (``docs/design/0003-reductions.md``), whatever a vector holds."""
SCAN_BLOCK = 1024
"""Lines side by side in memory that a tile of a scan takes at most."""

SCANS = {kind: COMBINE[kind] for kind in ("sum", "prod", "max", "min")} | {"logaddexp": "logaddexp"}


def _neutral(kind: str, of: DType, width: int) -> list[Value]:
    number = -math.inf if kind == "logaddexp" else scalar.identity(kind, of)
    return scalar.unpack(scalar.splat_constant(of, number, width))


def _kept(kind: str, of: DType) -> DType:
    """The dtype of running totals: sums and products in single precision are kept in double, or the error of a long one would grow with its length."""
    return {dt.float32: dt.float64, dt.complex64: dt.complex128}.get(of.compute, of.compute) if kind in ("sum", "prod") else of.compute


def _scanned(f: Builder, kind: str, of: DType, total: scalar.Operand, item: scalar.Operand) -> scalar.Operand:
    """The next running total."""
    kept = _kept(kind, of)
    return scalar.emit(f, SCANS[kind], kept, total, scalar.cast(f, item, of, kept))


def _side_by_side(f: Builder, kind: str, kept: DType, items: scalar.Operand) -> scalar.Operand:
    """The running totals of the lanes of a vector: of pairs, then of pairs of these, and so on."""
    nothing, distance = _neutral(kind, kept, SCAN_ITEMS), 1
    while distance < SCAN_ITEMS:
        lanes = [lane & -2 * distance | distance - 1 if lane & distance else SCAN_ITEMS + lane for lane in range(SCAN_ITEMS)]
        before = [f.shuffle(part, none, lanes) for part, none in zip(scalar.unpack(items), nothing, strict=True)]
        items = scalar.emit(f, SCANS[kind], kept, scalar.pack(before), items)
        distance *= 2
    return items


def _totals(
    f: Builder, kind: str, kept: DType, before: scalar.Operand, items: scalar.Operand, may_overflow: bool
) -> tuple[list[Value], list[Value]]:
    """The running totals of a vector's lanes behind a total of what came before (in all lanes), and the last of them in all lanes.

    The sum of neighbours may overflow where that of all that came before does not: then, and where something is not finite, it is a chain.
    """
    everywhere = [SCAN_ITEMS - 1] * SCAN_ITEMS
    within = _side_by_side(f, kind, kept, items)
    last = scalar.pack([f.shuffle(part, part, everywhere) for part in scalar.unpack(within)])
    results = scalar.unpack(scalar.emit(f, SCANS[kind], kept, before, within))
    lasts = scalar.unpack(scalar.emit(f, SCANS[kind], kept, before, last))
    if kind != "sum" or not may_overflow or kept.category < dt.FLOAT:
        return results, lasts
    finite = reduce(operator.and_, [Lanes(f, part).abs() < math.inf for part in scalar.unpack(within)])
    rare = Lanes(f, f.splat((~finite).any().value, SCAN_ITEMS))

    def chain() -> list[Lanes]:
        found = [_one_after_another(f, *pair) for pair in zip(scalar.unpack(before), scalar.unpack(items), strict=True)]
        return [Lanes(f, each) for each in (*found, *(f.shuffle(each, each, everywhere) for each in found))]

    values = rarely(rare, [Lanes(f, each) for each in (*results, *lasts)], chain)
    return [each.value for each in values[: len(results)]], [each.value for each in values[len(results) :]]


def _one_after_another(f: Builder, before: Value, items: Value) -> Value:
    """The running sums of a vector's lanes, by an addition after the other."""
    total, result = f.extract(before, 0), items
    for lane in range(items.width):
        total = f.add(total, f.extract(items, lane))
        result = f.insert(result, total, lane)
    return result


@lru_cache(maxsize=256)
def scan_along_kernel(kind: str, of: DType, features: tuple[str, ...] = ()) -> tuple[str, str]:
    """A running combination along an axis of a row-major array: the last, or one behind which so few elements follow that each line is taken by itself.

    Parameters: ``[slot, bytes of the source, slot, bytes of the result, length, lines, inner]``; a tile is ``SCAN_LINES`` lines, of which ``inner`` lie side
    by side.
    """
    module, f = _start(features)
    lines = _Lines(f, kind, of)
    with f.loop(f.parameters[2], f.parameters[3]) as tiles:
        lines.tile(tiles.index)
    f.ret()
    return finish(module)


class _Lines:
    """Lines of an array, each scanned by itself: its elements lie ``inner`` apart."""

    def __init__(self, f: Builder, kind: str, of: DType) -> None:
        self.f, self.kind, self.of, self.kept = f, kind, of, _kept(kind, of)
        self.source, self.target = _buffer(f, 0), _buffer(f, 2)
        self.length, self.count, self.inner = (_word(f, position) for position in range(4, 7))
        self.types = scalar.register_types(self.kept, 1)
        self.totals = [f.alloca(type, SCAN_LINES) for type in self.types]
        # A product of neighbours may be too small where that of all is not, and what came before too large.
        together = f.select(f.compare("eq", self.inner, 1), f.binary("and", self.length, -SCAN_ITEMS), i64(0))
        self.begun = i64(0) if kind == "prod" else together
        for memory, type, part in zip(self.totals, self.types, _neutral(kind, self.kept, 1), strict=True):  # where nothing begins
            for line in range(SCAN_LINES):
                f.store(part, f.offset(memory, line, type))

    def tile(self, number: Value) -> None:
        """Scan the lines of a tile: what is side by side in each, and then the rest of all of them."""
        f = self.f
        first = f.mul(number, i64(SCAN_LINES))
        count = f.intrinsic("smin", f.sub(self.count, first), i64(SCAN_LINES))
        outer = f.binary("udiv", first, self.inner)
        column = f.sub(first, f.mul(outer, self.inner))
        line = f.add(f.mul(f.mul(outer, self.inner), self.length), column), column
        with f.loop(0, f.select(f.compare("sgt", self.begun, 0), count, i64(0)), 1, line) as each:
            self._begin(each.carried[0], each.index)
            each.carry(*self._following(*each.carried))
        whole = f.compare("eq", count, SCAN_LINES)
        with f.when(whole):
            neighbours = [line]
            while len(neighbours) < SCAN_LINES:
                neighbours.append(self._following(*neighbours[-1]))
            self._end([start for start, _ in neighbours], i64(0))
        with f.loop(0, f.select(whole, i64(0), count), 1, line) as rest:
            self._end(rest.carried[:1], rest.index)
            rest.carry(*self._following(*rest.carried))

    def _following(self, start: Value, column: Value) -> tuple[Value, Value]:
        """Where the line after one begins, and its place among those that lie side by side."""
        f = self.f
        column = f.add(column, 1)
        is_last = f.compare("eq", column, self.inner)
        further = f.select(is_last, f.add(f.mul(self.inner, f.sub(self.length, 1)), 1), i64(1))
        return f.add(start, further), f.select(is_last, i64(0), column)

    def _begin(self, start: Value, number: Value) -> None:
        """The first elements of a line, many side by side; leaves the line's total of them."""
        f, kind, of, kept = self.f, self.kind, self.of, self.kept
        with f.loop(0, self.begun, SCAN_ITEMS, _neutral(kind, kept, SCAN_ITEMS)) as steps:
            at, before = f.add(start, steps.index), scalar.pack(steps.carried)
            items = scalar.cast(f, scalar.load(f, _element(f, self.source, at, of), of, SCAN_ITEMS), of, kept)
            result, last = _totals(f, kind, kept, before, items, may_overflow=kept is of.compute)
            scalar.store(f, scalar.cast(f, scalar.pack(result), kept, of), _element(f, self.target, at, of), of)
            steps.carry(*last)
        for memory, type, part in zip(self.totals, self.types, steps.carried, strict=True):
            f.store(f.extract(part, 0), f.offset(memory, number, type))

    def _end(self, starts: list[Value], number: Value) -> None:
        """What is left of lines, one element of each after another."""
        f, of, size = self.f, self.of, len(self.types)
        parts = [
            f.load(f.offset(memory, f.add(number, line), type), type)
            for line in range(len(starts))
            for memory, type in zip(self.totals, self.types, strict=True)
        ]
        with f.loop(self.begun, self.length, 1, parts) as steps:
            after: list[Value] = []
            further = f.mul(steps.index, self.inner)
            for line, start in enumerate(starts):
                at = f.add(start, further)
                before = scalar.pack(steps.carried[line * size : (line + 1) * size])
                total = _scanned(f, self.kind, of, before, scalar.load(f, _element(f, self.source, at, of), of, 1))
                scalar.store(f, scalar.cast(f, total, self.kept, of), _element(f, self.target, at, of), of)
                after += scalar.unpack(total)
            steps.carry(*after)


@lru_cache(maxsize=256)
def scan_across_kernel(kind: str, of: DType, features: tuple[str, ...] = ()) -> tuple[str, str]:
    """A running combination along an axis before the last, for a block of lines side by side; the totals stay in the first-level cache.

    Parameters: ``[slot, bytes of the source, slot, bytes of the result, length, inner, block, blocks]``; a tile is one of the blocks of an
    outer place.
    """
    module, f = _start(features)
    kept = _kept(kind, of)
    source, target = _buffer(f, 0), _buffer(f, 2)
    length, inner, block, blocks = (_word(f, position) for position in range(4, 8))
    types = scalar.register_types(kept, LANES)
    totals = [f.alloca("i64" if kept.itemsize == 8 or of.is_complex else "i32", SCAN_BLOCK * 2) for _ in types]
    bytes_of = [LANES * max(1, bits(type) // 8) for type in types]

    def place(memory: Value, at: Value, size: int) -> Value:
        return f.offset(memory, f.mul(f.binary("lshr", at, 4), i64(size)), "i8")

    def step(row: Value, position: Value, mask: Value | None) -> None:
        at = f.add(row, position)
        places = [place(memory, position, size) for memory, size in zip(totals, bytes_of, strict=True)]
        before = scalar.pack([_from_bytes(f, each, type) for each, type in zip(places, types, strict=True)])
        total = _scanned(f, kind, of, before, scalar.load(f, _element(f, source, at, of), of, LANES, mask))
        scalar.store(f, scalar.cast(f, total, kept, of), _element(f, target, at, of), of, mask)
        for each, part in zip(places, scalar.unpack(total), strict=True):
            f.store(_as_bytes(f, part), each)

    with f.loop(f.parameters[2], f.parameters[3]) as tiles:
        outer = f.binary("udiv", tiles.index, blocks)
        column = f.mul(f.sub(tiles.index, f.mul(outer, blocks)), block)
        count = f.intrinsic("smin", block, f.sub(inner, column))
        whole = f.binary("and", count, i64(-LANES))
        first = f.add(f.mul(f.mul(outer, inner), length), column)
        with f.loop(0, count, LANES) as vectors:
            for memory, size, part in zip(totals, bytes_of, _neutral(kind, kept, LANES), strict=True):
                f.store(_as_bytes(f, part), place(memory, vectors.index, size))
        with f.loop(0, length) as steps:
            row = f.add(first, f.mul(steps.index, inner))
            with f.loop(0, whole, LANES) as vectors:
                step(row, vectors.index, None)
            with f.when(f.compare("slt", whole, count)):
                step(row, whole, f.lane_mask(f.sub(count, whole), LANES))
    f.ret()
    return finish(module)


def _as_bytes(f: Builder, part: Value) -> Value:
    """A part of an operand as it is kept in memory between steps."""
    return f.cast("zext", part, f"<{part.width} x i8>") if part.element == "i1" else part


def _from_bytes(f: Builder, place: Value, type: str) -> Value:
    if element_type(type) != "i1":
        return f.load(place, type)
    return f.compare("ne", f.load(place, f"<{vector_width(type)} x i8>"), 0)


@lru_cache(maxsize=1)
def copy_kernel() -> tuple[str, str]:
    """Copies bytes. Parameters: ``[slot, bytes of the source, slot, bytes of the target, count]``; a tile is 64 KiB."""
    module, f = _start(())
    source, target, count = _buffer(f, 0), _buffer(f, 2), _word(f, 4)
    with f.loop(f.parameters[2], f.parameters[3]) as tiles:
        first = f.mul(tiles.index, i64(COPY_TILE))
        f.copy(f.offset(target, first, "i8"), f.offset(source, first, "i8"), f.intrinsic("smin", f.sub(count, first), i64(COPY_TILE)))
    f.ret()
    return finish(module)


@lru_cache(maxsize=1)
def clear_kernel() -> tuple[str, str]:
    """Sets bytes to 0. Parameters: ``[slot, bytes of the target, count]``; a tile is 64 KiB."""
    module, f = _start(())
    target, count = _buffer(f, 0), _word(f, 2)
    with f.loop(f.parameters[2], f.parameters[3]) as tiles:
        first = f.mul(tiles.index, i64(COPY_TILE))
        f.fill(f.offset(target, first, "i8"), f.intrinsic("smin", f.sub(count, first), i64(COPY_TILE)))
    f.ret()
    return finish(module)


COPY_TILE = 1 << 16
