"""Many small matrices at once, a lane for each: element (i, j) of all of them is one vector.

The same operations in the same order as in the kernels for larger matrices, and hence the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from flambeau._codegen.contract.arithmetic import register_tile
from flambeau._codegen.contract.kernel import SIGNATURE, Code, base_address, finished
from flambeau._codegen.contract.parameters import Parameters
from flambeau._codegen.ir import Module, Value, constant, constant_vector, i64, vector
from flambeau._codegen.linear.columns import Structure

LARGEST = 16
"""Rows and columns of a small matrix: 256 vectors are a third of the first-level cache."""
FEWEST = 6
"""Fewer matrices are faster one by one."""


@cache
def lu(structure: Structure) -> Code:
    """See ``lu.lu``."""
    return Lanes(structure).code("_lu")


@cache
def cholesky(structure: Structure) -> Code:
    """See ``cholesky.cholesky``."""
    return Lanes(structure).code("_cholesky")


@cache
def substitution(structure: Structure) -> Code:
    """See ``substitution.substitution``."""
    return Lanes(structure).code("_substitution")


class Lanes:
    """A kernel whose tiles are as many matrices as a vector has lanes."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.module, self.parameters = Module(structure.target.instruction_sets), Parameters()
        tile = register_tile(structure.dtype, structure.target)
        self.width, self.element, self.type = tile.width, tile.element, tile.type
        self.f = self.module.function("kernel", SIGNATURE)
        self.read = self.parameters.reader(self.f, self.f.parameters[1])
        self.rows, self.count = self.read("rows"), self.read("columns")
        self.zeros = constant(vector("i64", self.width), 0)

    def code(self, algorithm: str) -> Code:
        f = self.f
        with f.loop(f.parameters[2], f.parameters[3]) as tiles:
            first = f.mul(tiles.index, self.width)
            lanes = constant_vector("i64", range(self.width))
            self.matrices = f.add(lanes, f.splat(first, self.width))
            self.mask = f.compare("slt", self.matrices, f.splat(self.read("batch"), self.width))
            getattr(self, algorithm)()
        f.ret()
        return finished(self.module, self.parameters)

    # -- memory ----------------------------------------------------------------------------------------------------

    def _places(self, name: str, size: Value, element: str) -> Value:
        """Where an array of ``size`` numbers of each matrix begins."""
        f = self.f
        return f.offsets(base_address(f, self.read, name), f.mul(self.matrices, f.splat(size, self.width)), element)

    def _moved(self, places: Value, index: Value, element: str) -> Value:
        f = self.f
        return f.value(f"getelementptr {element}, {places.type} {places.text}, i64 {index.text}", places.type)

    def load(self, name: str, size: Value, area: str) -> Value:
        """Read an array of each matrix; gives where its vectors are."""
        f = self.f
        target = f.offset(f.parameters[4], self.read(f"scratch.{area}"), "i8")
        places = self._places(name, size, self.element)
        with f.loop(0, size) as loop:
            numbers = f.gather(self._moved(places, loop.index, self.element), self.mask, self.type)
            f.store(numbers, self.vector(target, loop.index))
        return target

    def load_matrix(self) -> Value:
        """Read the matrices to decompose, whose rows lie together if they are ``turned``."""
        f = self.f
        if "turned" not in self.structure.flags:
            return self.load("a", f.mul(self.rows, self.count), "work")
        target = f.offset(f.parameters[4], self.read("scratch.work"), "i8")
        places = self._places("a", f.mul(self.rows, self.count), self.element)
        with f.loop(0, self.rows) as rows, f.loop(0, self.count) as columns:
            index = f.add(f.mul(rows.index, self.count), columns.index)
            f.store(f.gather(self._moved(places, index, self.element), self.mask, self.type), self.at(target, rows.index, columns.index))
        return target

    def store(self, area: Value, name: str, size: Value) -> None:
        f = self.f
        places = self._places(name, size, self.element)
        with f.loop(0, size) as loop:
            f.scatter(f.load(self.vector(area, loop.index), self.type), self._moved(places, loop.index, self.element), self.mask)

    def vector(self, area: Value, index: Value) -> Value:
        return self.f.offset(area, self.f.mul(index, self.width), self.element)

    def at(self, area: Value, row: Value, column: Value) -> Value:
        f = self.f
        return self.vector(area, f.add(f.mul(column, self.rows), row))

    def get(self, area: Value, row: Value, column: Value) -> Value:
        return self.f.load(self.at(area, row, column), self.type)

    def _report(self, name: str, numbers: Value, index: Value | int = 0, size: Value | int = 1) -> None:
        """Write an int32 of each matrix."""
        f = self.f
        size, index = (each if isinstance(each, Value) else i64(each) for each in (size, index))
        f.scatter(
            f.cast("trunc", numbers, vector("i32", self.width)), self._moved(self._places(name, size, "i32"), index, "i32"), self.mask
        )

    # -- steps -----------------------------------------------------------------------------------------------------

    def exchange(self, area: Value, count: Value, row: Value, partners: Value) -> None:
        """Exchange ``row`` with another one for each lane, in all columns."""
        f = self.f
        with f.loop(0, count) as columns:
            start = f.mul(columns.index, self.rows)
            self.swap(area, f.add(start, row), f.add(partners, f.splat(start, self.width)))

    def swap(self, area: Value, index: Value, partners: Value) -> None:
        """Exchange a vector with elements of others, another one for each lane."""
        f = self.f
        every = constant(vector("i1", self.width), 1)
        lanes = constant_vector("i64", range(self.width))
        here = self.vector(area, index)
        there = f.offsets(area, f.add(f.mul(partners, f.splat(i64(self.width), self.width)), lanes), self.element)
        kept, moved = f.load(here, self.type), f.gather(there, every, self.type)
        f.scatter(kept, there, every)
        f.store(moved, here)

    def _subtract(self, column: Callable[[Value], Value], factor: Value, area: Value, target: Value, start: Value, stop: Value) -> None:
        """Subtract a column times ``factor`` from a column of ``area``, in rows from ``start`` to before ``stop``."""
        f = self.f
        with f.loop(start, stop) as rows:
            place = self.at(area, rows.index, target)
            f.store(f.fma(f.neg(column(rows.index)), factor, f.load(place, self.type)), place)

    def _lu(self) -> None:
        f, steps = self.f, self.read("steps")
        work = self.load_matrix()
        with f.loop(0, steps, 1, [self.zeros]) as loop:
            step, following = loop.index, f.add(loop.index, 1)
            partners = self._largest(work, step)
            self._report("to.pivots", f.add(partners, f.splat(i64(1), self.width)), step, steps)
            self.exchange(work, self.count, step, partners)
            divisor = self.get(work, step, step)
            good = f.compare("une", divisor, 0.0)
            with f.loop(following, self.rows) as rows:
                place = self.at(work, rows.index, step)
                number = f.load(place, self.type)
                f.store(f.select(good, f.binary("fdiv", number, divisor), number), place)
            with f.loop(following, self.count) as columns:
                factor = self.get(work, step, columns.index)
                self._subtract(lambda row: self.get(work, row, step), factor, work, columns.index, following, self.rows)
            loop.carry(self._first(loop.carried[0], f.compare("oeq", divisor, 0.0), following))
        self._report("to.info", loop.carried[0])
        self.store(work, "to.packed", f.mul(self.rows, self.count))

    def _first(self, info: Value, bad: Value, number: Value) -> Value:
        """``info``, with the number of a step that is the first bad one."""
        f = self.f
        return f.select(f.binary("and", bad, f.compare("eq", info, 0)), f.splat(number, self.width), info)

    def _largest(self, area: Value, step: Value) -> Value:
        """The first row, from ``step`` on, with the largest element of column ``step``."""
        f = self.f
        with f.loop(step, self.rows, 1, [constant(self.type, -1.0), f.splat(step, self.width)]) as rows:
            best, places = rows.carried
            size = f.intrinsic("fabs", self.get(area, rows.index, step))
            better = f.compare("ogt", size, best)
            rows.carry(f.select(better, size, best), f.select(better, f.splat(rows.index, self.width), places))
        return rows.carried[1]

    def _cholesky(self) -> None:
        f = self.f
        size = f.mul(self.rows, self.rows)
        work = self.load_matrix()
        with f.loop(0, self.rows, 1, [self.zeros]) as loop:
            step, following = loop.index, f.add(loop.index, 1)
            with f.loop(step, self.rows) as rows:
                with f.loop(0, step, 1, [constant(self.type, 0.0)]) as before:
                    left, right = self.get(work, rows.index, before.index), self.get(work, step, before.index)
                    before.carry(f.fma(left, right, before.carried[0]))
                place = self.at(work, rows.index, step)
                f.store(f.sub(f.load(place, self.type), before.carried[0]), place)
            diagonal = self.get(work, step, step)
            good = f.compare("ogt", diagonal, 0.0)
            root = f.intrinsic("sqrt", f.select(good, diagonal, constant(self.type, math.nan)))
            f.store(root, self.at(work, step, step))
            with f.loop(following, self.rows) as rows:
                place = self.at(work, rows.index, step)
                f.store(f.binary("fdiv", f.load(place, self.type), root), place)
                f.store(constant(self.type, 0.0), self.at(work, step, rows.index))  # above the diagonal
            bad = f.binary("xor", good, constant(good.type, 1))
            loop.carry(self._first(loop.carried[0], bad, following))
        self._report("to.info", loop.carried[0])
        self.store(work, "to.factor", size)

    def _substitution(self) -> None:
        f, flags = self.f, self.structure.flags
        factor = self.load("a", f.mul(self.rows, self.rows), "factor")
        size = f.mul(self.rows, self.count)
        work = self.load("b", size, "work")
        if "pivoted" in flags:
            places = self._places("pivots", self.rows, "i32")
            with f.loop(0, self.rows) as steps:
                pivots = f.gather(self._moved(places, steps.index, "i32"), self.mask, vector("i32", self.width))
                partners = f.sub(f.cast("sext", pivots, vector("i64", self.width)), f.splat(i64(1), self.width))
                self.exchange(work, self.count, steps.index, f.select(self.mask, partners, f.splat(steps.index, self.width)))

        def element(row: Value, column: Value) -> Value:
            return self.get(factor, *((column, row) if "turned" in flags else (row, column)))

        with f.loop(0, self.rows) as loop, f.loop(0, self.count) as columns:
            step = f.sub(f.sub(self.rows, loop.index), 1) if "upper" in flags else loop.index
            place = self.at(work, step, columns.index)
            number = f.load(place, self.type)
            if "unit" not in flags:
                number = f.binary("fdiv", number, element(step, step))
                f.store(number, place)
            start, stop = (i64(0), step) if "upper" in flags else (f.add(step, 1), self.rows)
            self._subtract(lambda row, step=step: element(row, step), number, work, columns.index, start, stop)
        self.store(work, "to.solution", size)
