"""The LU decomposition with partial pivoting."""

from __future__ import annotations

from functools import cache

from flambeau._codegen.contract.kernel import Code
from flambeau._codegen.ir import Value, constant, constant_vector, i64, vector
from flambeau._codegen.linear.columns import BLOCK, Columns, Structure
from flambeau._codegen.linear.decomposition import Decomposition
from flambeau._codegen.linear.triangle import emit_triangle


@cache
def lu(structure: Structure) -> Code:
    """``packed`` (L below the diagonal, U), ``pivots`` (int32, from 1) and ``info`` (int32: the first diagonal element of U that is 0) of ``a``."""
    kernel = _LU(structure)
    kernel.emit()
    return kernel.code()


@cache
def permutation(structure: Structure) -> Code:
    """The ``order`` (int64) of rows that exchanging row i with row ``pivots[i]`` (int32, from 1), for each i in turn, makes of ``0, 1, …``."""
    kernel = Columns(structure)
    f, read = kernel.f, kernel.read
    with f.loop(f.parameters[2], f.parameters[3]) as tiles:
        order = f.offset(kernel.buffer("to.order"), f.mul(tiles.index, read("rows")), "i64")
        pivots = f.offset(kernel.buffer("pivots"), f.mul(tiles.index, read("steps")), "i32")
        with f.loop(0, read("rows")) as rows:
            f.store(rows.index, f.offset(order, rows.index, "i64"))
        with f.loop(0, read("steps")) as steps:
            here, there = f.offset(order, steps.index, "i64"), f.offset(order, kernel.partner(pivots, steps.index), "i64")
            kept = f.load(here, "i64")
            f.store(f.load(there, "i64"), here)
            f.store(kept, there)
    return kernel.code()


class _LU(Decomposition):
    name = "packed"

    def attach(self, matrix: Value) -> None:
        f = self.f
        self.pivots = f.offset(self.buffer("to.pivots"), f.mul(matrix, self.steps), "i32")
        self.info = f.offset(self.buffer("to.info"), matrix, "i32")

    def start(self) -> None:
        self.f.store(constant("i32", 0), self.info)

    def panel(self, first: Value, last: Value) -> None:
        f, rows = self.f, self.rows
        with f.loop(first, last) as loop:
            step, following = loop.index, f.add(loop.index, 1)
            column, right = self.at(self.work, step, self.pitch), self.at(self.work, following, self.pitch)
            pivot = self._pivot(column, step)
            f.store(f.cast("trunc", f.add(pivot, 1), "i32"), f.offset(self.pivots, step, "i32"))
            self.exchange(self.work, self.pitch, first, last, step, pivot)
            divisor = self.get(column, step)
            with f.when(f.compare("une", divisor, 0.0)):
                self.divide(column, step, rows, divisor)
            self.report(self.info, step, f.compare("oeq", divisor, 0.0))
            factors = f.offset(right, step, self.element)
            self.eliminate(column, right, self.pitch, factors, self.pitch, f.sub(last, following), step, rows)
        if self.structure.blocked:
            self.pack(self.at(self.work, first, self.pitch), self.pitch, last, rows, f.sub(last, first), self.packed)

    def _pivot(self, column: Value, step: Value) -> Value:
        """The first row, from ``step`` on, with the largest element of a column."""
        f, width = self.f, self.width
        start, end = (f.splat(f.cast("trunc", row, "i32"), width) for row in (step, self.rows))
        with f.loop(self.down(step), self.rows, width, [constant(self.tile.type, -1.0), start]) as vectors:
            best, places = vectors.carried
            here = f.add(constant_vector("i32", range(width)), f.splat(f.cast("trunc", vectors.index, "i32"), width))
            size = f.intrinsic("fabs", f.load(f.offset(column, vectors.index, self.element), self.tile.type))
            inside = f.binary("and", f.compare("sge", here, start), f.compare("slt", here, end))
            better = f.binary("and", f.compare("ogt", size, best), inside)
            vectors.carry(f.select(better, size, best), f.select(better, here, places))
        best, places = vectors.carried
        top = f.splat(f.intrinsic("vector.reduce.fmax", best, returns=self.element), width)
        candidates = f.select(f.compare("oeq", best, top), places, constant(places.type, (1 << 31) - 1))
        return f.cast("sext", f.intrinsic("vector.reduce.smin", candidates, returns="i32"), "i64")

    def update(self, first: Value, last: Value, begin: Value, end: Value) -> None:
        """Exchange rows, find the columns' part of U, and subtract products with it."""
        f = self.f
        count, target = f.sub(end, begin), self.at(self.work, begin, self.pitch)
        with f.loop(0, count) as columns, f.loop(first, last) as steps:  # a column after the other: it stays in the first-level cache
            column = self.at(target, columns.index, self.pitch)
            self.exchange(column, self.pitch, 0, i64(1), steps.index, self.partner(self.pivots, steps.index))
        if not self.structure.blocked:
            with f.loop(first, last) as steps:
                column, factors = self.at(self.work, steps.index, self.pitch), f.offset(target, steps.index, self.element)
                self.eliminate(column, target, self.pitch, factors, self.pitch, count, steps.index, last)
        else:
            triangle = emit_triangle(self, upper=False, unit=True)
            corner, here = self.at(self.work, first, self.pitch, first), f.offset(target, first, self.element)
            f.call(f"@{triangle}", corner, self.pitch, here, self.pitch, count, f.sub(last, first))
            factors, depth = f.offset(target, first, self.element), f.sub(last, first)
            self.multiply(last, self.rows, count, factors, self.pitch, 1, depth, self.packed, last, target, self.pitch)

    def store_columns(self, first: Value, last: Value) -> None:
        """Write columns, with rows of L in the order that the panels behind each made."""
        f = self.f
        if not self.structure.blocked:
            super().store_columns(first, last)
            return
        order = self.scratch("order")
        with f.loop(f.binary("and", first, -BLOCK), last, BLOCK) as panels:
            behind = self.smaller(f.add(panels.index, BLOCK), self.rows)
            self._order(order, behind)
            begin = f.intrinsic("smax", first, panels.index)
            count = f.sub(self.smaller(last, f.add(panels.index, BLOCK)), begin)
            work, result = self.at(self.work, begin, self.pitch), self.at(self.result, begin, self.rows)
            self.store(work, self.pitch, behind, count, result, self.rows)
            with f.loop(0, count) as columns, f.loop(behind, self.rows, self.width) as rows:
                mask = f.lane_mask(f.sub(self.rows, rows.index), self.width)
                places = f.load(f.offset(order, rows.index, "i32"), vector("i32", self.width))
                numbers = f.gather(f.offsets(self.at(work, columns.index, self.pitch), places, self.element), mask, self.tile.type)
                f.masked_store(numbers, self.at(result, columns.index, self.rows, rows.index), mask)

    def _order(self, order: Value, first: Value) -> None:
        """The rows (int32) that the steps from ``first`` on bring to each place from there on."""
        f = self.f
        with f.loop(first, self.rows) as rows:
            f.store(f.cast("trunc", rows.index, "i32"), f.offset(order, rows.index, "i32"))
        with f.loop(first, self.steps) as steps:
            places = f.offset(order, steps.index, "i32"), f.offset(order, self.partner(self.pivots, steps.index), "i32")
            numbers = [f.load(place, "i32") for place in places]
            for number, place in zip(reversed(numbers), places, strict=True):
                f.store(number, place)
