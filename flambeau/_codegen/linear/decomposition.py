"""What decompositions share: panels one after the other, each followed by what it does to the columns behind it."""

from __future__ import annotations

from flambeau._codegen.ir import Value, i64
from flambeau._codegen.linear.columns import Columns, Structure
from flambeau._codegen.linear.triangle import emit_turn


class Decomposition(Columns):
    """A kernel that decomposes each matrix ``a`` of a batch, which lies by rows if ``turned``; ``info`` (int32) says of each what is wrong with it.

    Either a call decomposes *whole* matrices in scratch memory, a tile each, or threads share a large matrix in memory of the program: then
    there are calls for each *panel*, a tile for a matrix, and for the *update* after it, a tile for a block of columns.
    """

    name: str
    """What the matrix that replaces ``a`` is called."""

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)
        read = self.read
        self.rows, self.count, self.steps, self.pitch = read("rows"), read("columns"), read("steps"), read("pitch")

    # -- what subclasses say ---------------------------------------------------------------------------------------

    def find_areas(self, base: Value) -> None:
        """Where what a panel leaves for updates is kept: at offsets from ``base``."""
        self.packed = self.f.offset(base, self.read("area.packed"), "i8")

    def attach(self, matrix: Value) -> None:
        """Find the memory of a matrix's other results."""

    def start(self) -> None:
        """Begin with a matrix, once it is loaded."""

    def panel(self, first: Value, last: Value) -> None:
        """Decompose the columns from ``first`` to before ``last``."""
        raise NotImplementedError

    def update(self, first: Value, last: Value, begin: Value, end: Value) -> None:
        """What that panel does to the columns from ``begin`` to before ``end``."""
        raise NotImplementedError

    def finish(self, first: Value, last: Value) -> None:
        """What is left to do in some columns before they are written."""

    # -- parts -----------------------------------------------------------------------------------------------------

    def emit(self) -> None:
        with self.f.loop(self.f.parameters[2], self.f.parameters[3]) as tiles:
            getattr(self, "_emit_" + self.structure.part)(tiles.index)

    def _emit_whole(self, tile: Value) -> None:
        f = self.f
        self._matrix(tile, self.scratch("work"), self.f.parameters[4])
        self._load(i64(0), self.count)
        with self.panels(self.steps) as (first, last):
            self.panel(first, last)
            with f.when(f.compare("slt", last, self.count)):
                self.update(first, last, last, self.count)
        self._store(i64(0), self.count)

    def _emit_load(self, tile: Value) -> None:
        self._load(*self._columns(tile, i64(0)))

    def _emit_panel(self, tile: Value) -> None:
        self._shared(tile)
        self.panel(self.read("first"), self.read("last"))

    def _emit_update(self, tile: Value) -> None:
        self.update(self.read("first"), self.read("last"), *self._columns(tile, self.read("last")))

    def _emit_store(self, tile: Value) -> None:
        self._store(*self._columns(tile, i64(0)))

    def _columns(self, tile: Value, start: Value) -> tuple[Value, Value]:
        """The columns of a tile: one of the blocks of those from ``start`` on."""
        f, blocks = self.f, self.read("blocks")
        matrix = f.binary("udiv", tile, blocks)
        self._shared(matrix)
        first = f.add(start, f.mul(f.sub(tile, f.mul(matrix, blocks)), self.read("block")))
        return first, self.smaller(f.add(first, self.read("block")), self.count)

    def _shared(self, matrix: Value) -> None:
        work = self.f.offset(self.buffer("work"), self.f.mul(matrix, self.read("work.size")), "i8")
        self._matrix(matrix, work, work)

    def _matrix(self, matrix: Value, work: Value, base: Value) -> None:
        f = self.f
        self.work = work
        self.find_areas(base)
        size = f.mul(matrix, f.mul(self.rows, self.count))
        self.source, self.result = (f.offset(self.buffer(name), size, self.element) for name in ("a", f"to.{self.name}"))
        self.attach(matrix)

    def _load(self, first: Value, last: Value) -> None:
        f = self.f
        work, count = self.at(self.work, first, self.pitch), f.sub(last, first)
        if "turned" in self.structure.flags:
            with f.loop(0, self.pitch, self.width) as loop:
                start, left = self.at(self.source, loop.index, self.count, first), f.sub(self.rows, loop.index)
                target = f.offset(work, loop.index, self.element)
                f.call(f"@{emit_turn(self)}", start, self.count, left, count, target, self.pitch)
        else:
            self.load(self.at(self.source, first, self.rows), self.rows, self.rows, count, work, self.pitch)
        with f.when(f.compare("eq", first, 0)):
            self.start()

    def _store(self, first: Value, last: Value) -> None:
        self.finish(first, last)
        self.store_columns(first, last)

    def store_columns(self, first: Value, last: Value) -> None:
        work, result = self.at(self.work, first, self.pitch), self.at(self.result, first, self.rows)
        self.store(work, self.pitch, self.rows, self.f.sub(last, first), result, self.rows)

    # -- what is wrong ---------------------------------------------------------------------------------------------

    def report(self, info: Value, step: Value, bad: Value) -> None:
        """Keep the number (from 1) of the first step that is ``bad``."""
        f = self.f
        with f.when(f.binary("and", bad, f.compare("eq", f.load(info, "i32"), 0))):
            f.store(f.cast("trunc", f.add(step, 1), "i32"), info)
