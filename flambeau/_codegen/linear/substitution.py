"""Triangular systems, and those of which the LU decomposition is known."""

from __future__ import annotations

from functools import cache

from flambeau._codegen.contract.kernel import Code
from flambeau._codegen.ir import Value, i64
from flambeau._codegen.linear.columns import BLOCK, Columns, Structure


@cache
def substitution(structure: Structure) -> Code:
    """The ``solution`` X of ``a X = b`` for a triangular ``a``, of which the other triangle does not matter.

    Flags: ``upper``, else a is lower triangular; ``unit``: its diagonal counts as ones; ``pivoted``: first rows of b are exchanged by ``pivots``.
    A tile is a block of the columns of a matrix ``b``.
    """
    kernel = _Substitution(structure)
    kernel.emit()
    return kernel.code()


class _Substitution(Columns):
    def emit(self) -> None:
        f, read = self.f, self.read
        self.rows, self.pitch, self.upper = read("rows"), read("pitch"), "upper" in self.structure.flags
        self.work, self.diagonal = self.scratch("work"), self.scratch("diagonal")
        self.packed = f.offset(f.parameters[4], read("area.packed"), "i8")
        with f.loop(f.parameters[2], f.parameters[3]) as tiles:
            matrix = f.binary("udiv", tiles.index, read("blocks"))
            first = f.mul(f.sub(tiles.index, f.mul(matrix, read("blocks"))), read("block"))
            self.count = self.smaller(f.sub(read("columns"), first), read("block"))
            place = f.mul(self.rows, f.add(f.mul(matrix, read("columns")), first))
            source, target = (f.offset(self.buffer(name), place, self.element) for name in ("b", "to.solution"))
            self.factor = f.offset(self.buffer("a"), f.mul(matrix, f.mul(self.rows, self.rows)), self.element)
            self.load(source, self.rows, self.rows, self.count, self.work, self.pitch)
            if "pivoted" in self.structure.flags:
                self._exchange(matrix)
            panels = f.binary("sdiv", f.add(self.rows, BLOCK - 1), i64(BLOCK))
            with f.loop(0, panels) as loop:
                panel = f.sub(f.sub(panels, loop.index), 1) if self.upper else loop.index
                begin = f.mul(panel, BLOCK)
                self._panel(begin, self.smaller(f.add(begin, BLOCK), self.rows))
            self.store(self.work, self.pitch, self.rows, self.count, target, self.rows)

    def _exchange(self, matrix: Value) -> None:
        f = self.f
        pivots = f.offset(self.buffer("pivots"), f.mul(matrix, self.rows), "i32")
        with f.loop(0, self.rows) as steps:
            self.exchange(self.work, self.pitch, 0, self.count, steps.index, self.partner(pivots, steps.index))

    def _panel(self, first: Value, last: Value) -> None:
        """Find the rows of a panel, and subtract what they contribute to the others."""
        f = self.f
        size = f.sub(last, first)
        here = f.offset(self.work, first, self.element)
        self.load(self.at(self.factor, first, self.rows, first), self.rows, size, size, self.diagonal, i64(BLOCK))
        with f.loop(0, size) as loop:
            step = f.sub(f.sub(size, loop.index), 1) if self.upper else loop.index
            column = self.at(self.diagonal, step, i64(BLOCK))
            row = f.offset(here, step, self.element)
            if "unit" not in self.structure.flags:
                self._divide(row, self.get(column, step))
            bound = i64(0) if self.upper else size
            self.eliminate(column, here, self.pitch, row, self.pitch, self.count, step, bound, self.upper)
        if self.structure.blocked:
            columns, depth = self.at(self.factor, first, self.rows), size
            begin, end = (i64(0), first) if self.upper else (last, self.rows)
            self.pack(columns, self.rows, begin, end, depth, self.packed)
            self.multiply(begin, end, self.count, here, self.pitch, 1, depth, self.packed, begin, self.work, self.pitch)

    def _divide(self, row: Value, divisor: Value) -> None:
        f = self.f
        with f.loop(0, self.count) as columns:
            at = f.mul(columns.index, self.pitch)
            self.put(f.binary("fdiv", self.get(row, at), divisor), row, at)
