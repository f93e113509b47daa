"""What the kernels of linear algebra do with matrices whose columns lie together: load, store, eliminate, pack, multiply."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce

from flambeau._codegen.contract.arithmetic import Tile, register_tile
from flambeau._codegen.contract.kernel import SIGNATURE, Code, base_address, finished
from flambeau._codegen.contract.micro import emit_micro, panels_of_rows
from flambeau._codegen.contract.parameters import Parameters
from flambeau._codegen.ir import Builder, Module, Value, constant, constant_vector, i64, vector
from flambeau._runtime.targets import Target
from flambeau._types.dtype import dtype

BLOCK = 32
"""Columns of a panel. It is a multiple of the lanes of every register tile, and part of the result: sums are cut there."""
_UNROLLED = 4
"""Columns that an elimination does together: the column that it subtracts is loaded once for them."""


@dataclass(frozen=True)
class Structure:
    """All that the code of a kernel depends on.

    Attributes:
        blocked: whether there are more rows or columns than a panel has
        part: what a call does: ``whole`` matrices, or of a large one ``load``, ``panel``, ``update`` and ``store``, which threads share
        flags: what else an algorithm asks for
    """

    target: Target
    dtype: dtype
    blocked: bool
    part: str = "whole"
    flags: tuple[str, ...] = ()


def pitch(rows: int, of: dtype, target: Target, blocked: bool) -> int:
    """The numbers from one column to the next: whole vectors, or whole register tiles where products are ``blocked``.

    Columns that are a multiple of 1 KiB apart share too few places of the first-level cache: such are one tile further apart.
    """
    tile = register_tile(of, target)
    step = tile.lanes if blocked else tile.width
    size = -(-rows // step) * step
    return size + tile.lanes if blocked and size * tile.bytes % 1024 == 0 else size


class Columns:
    """A kernel being written; subclasses say what it does to matrices at addresses in memory, each a pitch a column."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.module, self.parameters = Module(structure.target.instruction_sets), Parameters()
        self.tile: Tile = register_tile(structure.dtype, structure.target)
        self.width, self.element = self.tile.width, self.tile.element
        self.micro = {}
        if structure.blocked:
            self.micro = {rows: emit_micro(self.module, self.tile, rows, masked=False, adds=True) for rows in self.tile.variants}
        self.f: Builder = self.module.function("kernel", SIGNATURE)
        self.read = self.parameters.reader(self.f, self.f.parameters[1])

    def code(self) -> Code:
        self.f.ret()
        return finished(self.module, self.parameters)

    # -- addresses -------------------------------------------------------------------------------------------------

    def buffer(self, name: str) -> Value:
        return base_address(self.f, self.read, name)

    def scratch(self, name: str) -> Value:
        return self.f.offset(self.f.parameters[4], self.read(f"scratch.{name}"), "i8")

    def at(self, base: Value, column: Value | int, pitch: Value, row: Value | int = 0) -> Value:
        """The address of an element of a matrix."""
        f = self.f
        return f.offset(f.offset(base, f.mul(pitch, column), self.element), row, self.element)

    def get(self, base: Value, index: Value) -> Value:
        return self.f.load(self.f.offset(base, index, self.element), self.element)

    def put(self, number: Value, base: Value, index: Value) -> None:
        self.f.store(number, self.f.offset(base, index, self.element))

    def down(self, index: Value) -> Value:
        """The multiple of a vector's width at or below an index."""
        return self.f.binary("and", index, -self.width)

    def lanes(self, first: Value) -> Value:
        """The row that each lane of a vector of rows stands for."""
        f = self.f
        return f.add(constant_vector("i64", range(self.width)), f.splat(first, self.width))

    def smaller(self, left: Value, right: Value) -> Value:
        return self.f.intrinsic("smin", left, right)

    @contextmanager
    def panels(self, count: Value) -> Iterator[tuple[Value, Value]]:
        """The first column of each panel, and the one behind it."""
        with self.f.loop(0, count, BLOCK) as loop:
            yield loop.index, self.smaller(self.f.add(loop.index, BLOCK), count)

    # -- moving ----------------------------------------------------------------------------------------------------

    def load(self, source: Value, source_pitch: Value, rows: Value, columns: Value, target: Value, target_pitch: Value) -> None:
        """Copy columns from memory that ends with the last row; zeros follow up to the pitch."""
        f, type = self.f, self.tile.type
        whole = self.down(rows)
        with f.loop(0, columns) as loop:
            start, place = self.at(source, loop.index, source_pitch), self.at(target, loop.index, target_pitch)
            with f.loop(0, whole, self.width) as vectors:
                f.store(f.load(f.offset(start, vectors.index, self.element), type), f.offset(place, vectors.index, self.element))
            with f.loop(whole, target_pitch, self.width) as vectors:
                mask = f.lane_mask(f.sub(rows, vectors.index), self.width)
                number = f.masked_load(f.offset(start, vectors.index, self.element), mask, type)
                f.store(number, f.offset(place, vectors.index, self.element))

    def store(self, source: Value, source_pitch: Value, rows: Value, columns: Value, target: Value, target_pitch: Value) -> None:
        """Copy columns to memory that ends with the last row."""
        f, type = self.f, self.tile.type
        whole = self.down(rows)
        with f.loop(0, columns) as loop:
            start, place = self.at(source, loop.index, source_pitch), self.at(target, loop.index, target_pitch)
            with f.loop(0, whole, self.width) as vectors:
                f.store(f.load(f.offset(start, vectors.index, self.element), type), f.offset(place, vectors.index, self.element))
            with f.when(f.compare("slt", whole, rows)):
                mask = f.lane_mask(f.sub(rows, whole), self.width)
                f.masked_store(f.load(f.offset(start, whole, self.element), type), f.offset(place, whole, self.element), mask)

    def identity(self, target: Value, pitch: Value, first: Value, count: Value) -> None:
        """Make so many columns those of the identity, from column ``first`` on."""
        f = self.f
        f.fill(target, f.mul(f.mul(pitch, count), i64(self.tile.bytes)))
        with f.loop(0, count) as columns:
            self.put(constant(self.element, 1.0), self.at(target, columns.index, pitch), f.add(first, columns.index))

    def exchange(self, base: Value, pitch: Value, first: Value | int, last: Value, row: Value, other: Value) -> None:
        """Exchange two rows in the columns from ``first`` to before ``last``."""
        f = self.f
        with f.when(f.compare("ne", row, other)), f.loop(first, last) as columns:
            column = self.at(base, columns.index, pitch)
            kept = self.get(column, row)
            self.put(self.get(column, other), column, row)
            self.put(kept, column, other)

    def partner(self, pivots: Value, step: Value) -> Value:
        """The row (from 0) that row ``step`` is exchanged with."""
        f = self.f
        return f.sub(f.cast("sext", f.load(f.offset(pivots, step, "i32"), "i32"), "i64"), 1)

    def pack(self, source: Value, source_pitch: Value, first: Value, rows: Value, depth: Value, target: Value) -> None:
        """The negatives of rows from ``first`` on as micro-kernels read them: a register tile of rows, of each column one after the other."""
        f, tile = self.f, self.tile

        def tiles(row: Value, masked: bool) -> None:
            place = f.offset(target, f.mul(f.sub(row, first), depth), self.element)
            masks = [f.lane_mask(f.sub(rows, f.add(row, v * tile.width)), tile.width) for v in range(tile.vectors)] if masked else []
            with f.loop(0, depth) as columns:
                column, line = (
                    self.at(source, columns.index, source_pitch, row),
                    f.offset(place, f.mul(columns.index, tile.lanes), self.element),
                )
                for v in range(tile.vectors):
                    start = f.offset(column, v * tile.width, self.element)
                    number = f.masked_load(start, masks[v], tile.type) if masked else f.load(start, tile.type)
                    f.store(f.neg(number), f.offset(line, v * tile.width, self.element))

        whole = f.add(first, f.binary("and", f.sub(rows, first), -tile.lanes))
        with f.loop(first, whole, tile.lanes) as loop:
            tiles(loop.index, masked=False)
        with f.when(f.compare("slt", whole, rows)):
            tiles(whole, masked=True)

    # -- arithmetic ------------------------------------------------------------------------------------------------

    def eliminate(
        self,
        column: Value,
        target: Value,
        pitch: Value,
        factors: Value,
        step: Value | int,
        count: Value,
        row: Value,
        bound: Value,
        above: bool = False,
    ) -> None:
        """Subtract ``column`` times a factor from each of ``count`` columns, in the rows below ``row`` and before ``bound``.

        Args:
            factors, step: where the factors are, and how far apart
            above: in the rows above ``row``, from ``bound`` on
        """
        name = self._elimination(above)
        self.f.call(f"@{name}", column, target, pitch, factors, step if isinstance(step, Value) else i64(step), count, row, bound)

    def _elimination(self, above: bool) -> str:
        name = "eliminate_above" if above else "eliminate"
        if self.module.has_function(name):
            return name
        parameters = [
            ("ptr", "column"),
            ("ptr", "target"),
            ("i64", "pitch"),
            ("ptr", "factors"),
            ("i64", "step"),
            ("i64", "count"),
            ("i64", "row"),
            ("i64", "bound"),
        ]
        f = self.module.function(name, parameters, linkage="internal", attributes="noinline")
        column, target, pitch, factors, step, count, row, bound = f.parameters
        edge = f.binary("and", row, -self.width)
        mask = f.compare("slt" if above else "sgt", constant_vector("i64", range(self.width)), f.splat(f.sub(row, edge), self.width))
        first, last = (bound, edge) if above else (f.add(edge, self.width), bound)

        def columns(start: Value, together: int) -> None:
            numbers = [f.add(start, number) for number in range(together)]
            targets = [f.offset(target, f.mul(pitch, number), self.element) for number in numbers]
            scales = [f.splat(f.load(f.offset(factors, f.mul(step, number), self.element), self.element), self.width) for number in numbers]

            def vectors(at: Value, mask: Value | None) -> None:
                subtracted = f.neg(f.load(f.offset(column, at, self.element), self.tile.type))
                for place, scale in zip([f.offset(each, at, self.element) for each in targets], scales, strict=True):
                    old = f.load(place, self.tile.type)
                    new = f.fma(subtracted, scale, old)
                    f.store(new if mask is None else f.select(mask, new, old), place)

            vectors(edge, mask)
            with f.loop(first, last, self.width) as rows:
                vectors(rows.index, None)

        together = f.binary("and", count, -_UNROLLED)
        with f.loop(0, together, _UNROLLED) as loop:
            columns(loop.index, _UNROLLED)
        with f.loop(together, count) as loop:
            columns(loop.index, 1)
        f.ret()
        return name

    def divide(self, column: Value, row: Value, rows: Value, divisor: Value) -> None:
        """Divide the elements of a column below ``row`` by a number."""
        scale = self.f.splat(divisor, self.width)
        self._below(column, row, rows, lambda old: self.f.binary("fdiv", old, scale))

    def scale(self, column: Value, row: Value, rows: Value, *factors: Value) -> None:
        """Multiply the elements of a column below ``row`` by numbers, one after the other."""
        spread = [self.f.splat(factor, self.width) for factor in factors]
        self._below(column, row, rows, lambda old: reduce(self.f.mul, spread, old))

    def _below(self, column: Value, row: Value, rows: Value, what: Callable[[Value], Value]) -> None:
        """Replace the elements of a column below ``row``."""
        f, edge = self.f, self.down(row)
        inside = f.compare("sgt", self.lanes(edge), f.splat(row, self.width))
        with f.loop(edge, rows, self.width, [inside]) as vectors:
            place = f.offset(column, vectors.index, self.element)
            old = f.load(place, self.tile.type)
            f.store(f.select(vectors.carried[0], what(old), old), place)
            vectors.carry(constant(vector("i1", self.width), 1))

    def multiply(
        self, first: Value, last: Value, count: Value, a: Value, across: Value | int, along: Value | int, depth: Value, packed: Value, packed_from: Value, target: Value, pitch: Value, packed_pitch: Value | None = None
    ) -> None:  # fmt: skip
        """Add products to the rows from ``first`` to before ``last`` of ``count`` columns; rows are whole register tiles.

        Args:
            a, across, along: the factors of a column's element, ``across`` from column to column, ``along`` from one to the next of ``depth``
            packed, packed_from: what ``pack`` made, and of which first row
            packed_pitch: from one of ``depth`` to the next, if it is not packed but columns
        """
        f, tile = self.f, self.tile
        across, along = (each if isinstance(each, Value) else i64(each) for each in (across, along))
        zeros, b_pitch = self.module.table(self.element, [0] * tile.pitch), packed_pitch or i64(tile.pitch)
        with f.when(f.compare("sgt", count, 0)), f.loop(first, last, tile.lanes) as rows:
            b = f.offset(packed, f.mul(f.sub(rows.index, packed_from), i64(1) if packed_pitch else depth), self.element)
            with panels_of_rows(f, tile, count) as (column, _, here):
                start, place = f.offset(a, f.mul(column, across), self.element), self.at(target, column, pitch, rows.index)
                for size, micro in self.micro.items():
                    with f.when(f.compare("eq", here, size)):
                        f.call(f"@{micro}", start, across, along, b, b_pitch, depth, zeros, i64(0), place, pitch, constant("i1", 1))
