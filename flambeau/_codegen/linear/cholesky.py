"""The Cholesky decomposition."""

from __future__ import annotations

import math
from functools import cache

from flambeau._codegen.contract.kernel import Code
from flambeau._codegen.ir import Value, constant
from flambeau._codegen.linear.columns import Structure
from flambeau._codegen.linear.decomposition import Decomposition

_TOGETHER = 56
"""Columns that an update takes together: above their first row there is nothing to do. A multiple of the rows of every register tile but 6."""


@cache
def cholesky(structure: Structure) -> Code:
    """``factor`` (the lower triangle, zeros above) and ``info`` (int32: the order of the first minor that is not positive) of ``a``.

    The triangle above the diagonal of ``a`` does not matter. From the column on where it fails the factor is NaN.
    """
    kernel = _Cholesky(structure)
    kernel.emit()
    return kernel.code()


class _Cholesky(Decomposition):
    name = "factor"

    def attach(self, matrix: Value) -> None:
        self.info = self.f.offset(self.buffer("to.info"), matrix, "i32")

    def start(self) -> None:
        self.f.store(constant("i32", 0), self.info)

    def panel(self, first: Value, last: Value) -> None:
        f, rows = self.f, self.rows
        with f.loop(first, last) as loop:
            step = loop.index
            column = self.at(self.work, step, self.pitch)
            self._subtract(first, step, column)
            diagonal = self.get(column, step)
            good = f.compare("ogt", diagonal, 0.0)
            self.report(self.info, step, f.binary("xor", good, 1))
            root = f.intrinsic("sqrt", f.select(good, diagonal, constant(self.element, math.nan)))
            self.put(root, column, step)
            self.divide(column, step, rows, root)
        if self.structure.blocked:
            self.pack(self.at(self.work, first, self.pitch), self.pitch, last, rows, f.sub(last, first), self.packed)

    def _subtract(self, first: Value, step: Value, column: Value) -> None:
        """Subtract from a column what those before it in the panel contribute: the sum of that first, which is small and rounds little."""
        f, type = self.f, self.tile.type
        with f.loop(self.down(step), self.rows, self.width) as vectors:
            with f.loop(first, step, 1, [constant(type, 0.0)]) as before:
                earlier = self.at(self.work, before.index, self.pitch)
                factor = f.splat(self.get(earlier, step), self.width)
                before.carry(f.fma(f.load(f.offset(earlier, vectors.index, self.element), type), factor, before.carried[0]))
            place = f.offset(column, vectors.index, self.element)
            f.store(f.sub(f.load(place, type), before.carried[0]), place)

    def update(self, first: Value, last: Value, begin: Value, end: Value) -> None:
        f, panel = self.f, self.at(self.work, first, self.pitch)
        if not self.structure.blocked:
            return
        with f.loop(begin, end, _TOGETHER) as columns:
            count = self.smaller(f.sub(end, columns.index), constant("i64", _TOGETHER))
            top = f.add(last, f.binary("and", f.sub(columns.index, last), -self.tile.lanes))
            factors = f.offset(panel, columns.index, self.element)
            target = self.at(self.work, columns.index, self.pitch)
            self.multiply(top, self.rows, count, factors, 1, self.pitch, f.sub(last, first), self.packed, last, target, self.pitch)

    def finish(self, first: Value, last: Value) -> None:
        f = self.f
        with f.loop(first, last) as columns:
            column = self.at(self.work, columns.index, self.pitch)
            with f.loop(0, columns.index, self.width) as vectors:
                place = f.offset(column, vectors.index, self.element)
                above = f.compare("slt", self.lanes(vectors.index), f.splat(columns.index, self.width))
                f.store(f.select(above, constant(self.tile.type, 0.0), f.load(place, self.tile.type)), place)
