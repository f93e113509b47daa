"""Triangular systems, and those of which the LU decomposition is known."""

from __future__ import annotations

from functools import cache

from flambeau._codegen.contract.kernel import Code
from flambeau._codegen.ir import Value, i64
from flambeau._codegen.linear.columns import BLOCK, Columns, Structure
from flambeau._codegen.linear.triangle import emit_triangle, emit_turn

_PACKED = 16
"""From so many columns on it pays to pack what they are multiplied by."""


@cache
def substitution(structure: Structure) -> Code:
    """The ``solution`` X of ``a X = b`` for a triangular ``a``, of which the other triangle does not matter.

    Flags: ``upper``, else a is lower triangular; ``unit``: its diagonal counts as ones; ``pivoted``: first rows of b are exchanged by ``pivots``;
    ``turned``: a lies by rows; ``identity``: there is no b (and a is lower triangular), and panels before the first of a tile's columns are not looked at;
    ``ordered``: column i of the solution is column ``pivots[i]`` (int64, from 0) of the result.
    A tile is a block of the columns of a matrix ``b``.
    """
    kernel = _Substitution(structure)
    kernel.emit()
    return kernel.code()


class _Substitution(Columns):
    def emit(self) -> None:
        f, read = self.f, self.read
        flags = self.structure.flags
        self.rows, self.pitch, self.upper, self.turned = read("rows"), read("pitch"), "upper" in flags, "turned" in flags
        self.triangle = emit_triangle(self, upper=self.upper, unit="unit" in flags)
        self.work, self.diagonal, self.negated = self.scratch("work"), self.scratch("diagonal"), self.scratch("negated")
        self.packed = f.offset(f.parameters[4], read("area.packed"), "i8")
        with f.loop(f.parameters[2], f.parameters[3]) as tiles:
            matrix = f.binary("udiv", tiles.index, read("blocks"))
            first = f.mul(f.sub(tiles.index, f.mul(matrix, read("blocks"))), read("block"))
            self.count = self.smaller(f.sub(read("columns"), first), read("block"))
            place = f.mul(self.rows, f.add(f.mul(matrix, read("columns")), first))
            self.factor = f.offset(self.buffer("a"), f.mul(matrix, f.mul(self.rows, self.rows)), self.element)
            start = i64(0)
            if "identity" in flags:
                start = f.binary("sdiv", first, i64(BLOCK))
                self.identity(self.work, self.pitch, first, self.count)
            else:
                self.load(f.offset(self.buffer("b"), place, self.element), self.rows, self.rows, self.count, self.work, self.pitch)
            if "pivoted" in flags:
                self._exchange(matrix)
            panels = f.binary("sdiv", f.add(self.rows, BLOCK - 1), i64(BLOCK))
            with f.loop(start, panels) as loop:
                panel = f.sub(f.sub(panels, loop.index), 1) if self.upper else loop.index
                begin = f.mul(panel, BLOCK)
                self._panel(begin, self.smaller(f.add(begin, BLOCK), self.rows))
            if "ordered" in flags:
                self._order(matrix, first)
            else:
                self.store(
                    self.work, self.pitch, self.rows, self.count, f.offset(self.buffer("to.solution"), place, self.element), self.rows
                )

    def _order(self, matrix: Value, first: Value) -> None:
        f = self.f
        result = f.mul(matrix, f.mul(self.rows, self.rows))
        order = f.offset(f.offset(self.buffer("pivots"), f.mul(matrix, self.rows), "i64"), first, "i64")
        with f.loop(0, self.count) as columns:
            column = f.load(f.offset(order, columns.index, "i64"), "i64")
            target = f.offset(self.buffer("to.solution"), f.add(result, f.mul(column, self.rows)), self.element)
            self.store(self.at(self.work, columns.index, self.pitch), self.pitch, self.rows, i64(1), target, self.rows)

    def _exchange(self, matrix: Value) -> None:
        f = self.f
        pivots = f.offset(self.buffer("pivots"), f.mul(matrix, self.rows), "i32")
        with f.loop(0, self.rows) as steps:
            self.exchange(self.work, self.pitch, 0, self.count, steps.index, self.partner(pivots, steps.index))

    def _panel(self, first: Value, last: Value) -> None:
        """Find the rows of a panel, and subtract what they contribute to the others."""
        f = self.f
        size = f.sub(last, first)
        here, corner = f.offset(self.work, first, self.element), self.at(self.factor, first, self.rows, first)
        if self.turned:
            for row in range(0, BLOCK, self.width):
                self._turn(self.at(corner, row, self.rows), f.sub(size, row), size, f.offset(self.diagonal, row, self.element), BLOCK)
        else:
            self.load(corner, self.rows, size, size, self.diagonal, i64(BLOCK))
        f.call(f"@{self.triangle}", self.diagonal, i64(BLOCK), here, self.pitch, self.count, size)
        if self.structure.blocked:
            self._subtract(here, first, size, *((i64(0), first) if self.upper else (last, self.rows)))

    def _subtract(self, here: Value, first: Value, size: Value, begin: Value, end: Value) -> None:
        """Subtract from the rows from ``begin`` to before ``end`` what those of a panel contribute."""
        f = self.f
        if self.turned:
            with f.loop(begin, end, self.tile.lanes) as loop:
                place = f.offset(self.packed, f.mul(f.sub(loop.index, begin), size), self.element)
                for row in range(0, self.tile.lanes, self.width):
                    start = self.at(self.factor, f.add(loop.index, row), self.rows, first)
                    left = f.sub(f.sub(end, loop.index), row)
                    self._turn(start, left, size, f.offset(place, row, self.element), self.tile.lanes, negated=True)
            self.multiply(begin, end, self.count, here, self.pitch, 1, size, self.packed, begin, self.work, self.pitch)
            return
        columns = self.at(self.factor, first, self.rows)
        few = f.compare("slt", self.count, _PACKED)
        direct = f.select(few, f.add(begin, f.binary("and", f.sub(end, begin), -self.tile.lanes)), begin)
        with f.when(few):
            with f.loop(0, self.count) as loop:
                for row in range(0, BLOCK, self.width):
                    number = f.load(self.at(here, loop.index, self.pitch, row), self.tile.type)
                    f.store(f.neg(number), self.at(self.negated, loop.index, i64(BLOCK), row))
            self.multiply(begin, direct, self.count, self.negated, BLOCK, 1, size, columns, i64(0), self.work, self.pitch, self.rows)
        self.pack(columns, self.rows, direct, end, size, self.packed)
        self.multiply(direct, end, self.count, here, self.pitch, 1, size, self.packed, direct, self.work, self.pitch)

    def _turn(self, source: Value, rows: Value, columns: Value, target: Value, pitch: int, *, negated: bool = False) -> None:
        self.f.call(f"@{emit_turn(self, negated=negated)}", source, self.rows, rows, columns, target, i64(pitch))
