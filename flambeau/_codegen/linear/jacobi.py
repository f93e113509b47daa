"""Eigenvalues of many small symmetric matrices, and singular values of others, by Jacobi's rotations: a lane for each matrix.

See Golub and Van Loan, "Matrix Computations", 8.5 and 8.6.3. Sweeps go on until no matrix has an element off the diagonal that matters to the two on it; a
matrix that has come to its end is rotated no more, so that its bits do not depend on its neighbours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache

from flambeau._codegen.contract.kernel import Code
from flambeau._codegen.ir import Value, constant, i64, vector
from flambeau._codegen.linear.columns import Structure
from flambeau._codegen.linear.lanes import Lanes

SWEEPS = 30
"""More than any matrix needs: convergence is quadratic, and 16² takes 6 to 9."""


@cache
def singular(structure: Structure) -> Code:
    """Singular ``values`` in decreasing order, and ``left`` and right ``vectors`` as columns, of ``a``, which has no more columns than rows.

    The left vector of a singular value that is 0 is 0.
    """
    return _Singular(structure).code("_singular")


@cache
def eigh(structure: Structure) -> Code:
    """``values`` in increasing order, and ``vectors`` as columns, of ``a``, of which the lower triangle is used."""
    return _Jacobi(structure).code("_eigh")


class _Rotations(Lanes, ABC):
    """What both have in common; ``moved`` is a vector that is not 0 in lanes that a sweep has rotated, and holds the values in the end."""

    def _find_areas(self) -> None:
        f = self.f
        self.a, self.vectors, self.moved = (
            f.offset(f.parameters[4], self.read(f"scratch.{name}"), "i8") for name in ("work", "vectors", "moved")
        )

    def _sweep(self, count: Value) -> None:
        """Rotate all pairs of columns, until no pair matters."""
        f = self.f
        with f.repeat([i64(SWEEPS)]) as sweeps:
            f.store(constant(self.type, 0.0), self.moved)
            with f.loop(0, count) as first, f.loop(f.add(first.index, 1), count) as second:
                self._rotate(first.index, second.index)
            left = f.sub(sweeps.carried[0], 1)
            moved = f.cast("bitcast", f.compare("une", f.load(self.moved, self.type), 0.0), f"i{self.width}")
            sweeps.again(f.binary("and", f.compare("ne", moved, 0), f.compare("sgt", left, 0)), left)

    @abstractmethod
    def _rotate(self, p: Value, q: Value) -> None:
        """Rotate two columns if they matter, and say so in ``moved``."""

    def _angle(self, matters: Value, first: Value, second: Value, between: Value) -> tuple[Value, Value, Value]:
        """The tangent and the sine of the angle that makes what is ``between`` two numbers on the diagonal 0, and the tangent of half of it; 0 where it does
        not matter."""
        f, one = self.f, constant(self.type, 1.0)
        f.store(f.select(matters, one, f.load(self.moved, self.type)), self.moved)
        ratio = f.binary("fdiv", f.sub(second, first), f.add(between, between))
        root = f.intrinsic("sqrt", f.fma(ratio, ratio, one))
        tangent = f.binary("fdiv", f.intrinsic("copysign", one, ratio), f.add(f.intrinsic("fabs", ratio), root))
        tangent = f.select(matters, tangent, constant(self.type, 0.0))
        cosine = f.binary("fdiv", one, f.intrinsic("sqrt", f.fma(tangent, tangent, one)))
        sine = f.mul(tangent, cosine)
        return tangent, sine, f.binary("fdiv", sine, f.add(cosine, one))

    def _turn(self, p: Value, q: Value, sine: Value, half: Value) -> None:
        """Rotate two elements, by what is added to them: a small angle then makes small errors."""
        f = self.f
        left, right = f.load(p, self.type), f.load(q, self.type)
        f.store(f.fma(f.neg(sine), f.fma(half, left, right), left), p)
        f.store(f.fma(sine, f.fma(f.neg(half), right, left), right), q)

    def _turn_columns(self, area: Value, length: Value, p: Value, q: Value, sine: Value, half: Value) -> None:
        f = self.f
        starts = [f.mul(column, length) for column in (p, q)]
        with f.loop(0, length) as loop:
            self._turn(*(self.vector(area, f.add(start, loop.index)) for start in starts), sine, half)

    def _sort(self, count: Value, predicate: str, *columns: tuple[Value, Value]) -> None:
        """Put the values in order, and with them the columns of areas, given with their lengths."""
        f = self.f
        with f.loop(0, count) as places:
            here = places.index
            first = f.load(self.vector(self.moved, here), self.type)
            with f.loop(f.add(here, 1), count, 1, [first, f.splat(here, self.width)]) as others:
                most, where = others.carried
                number = f.load(self.vector(self.moved, others.index), self.type)
                better = f.compare(predicate, number, most)
                others.carry(f.select(better, number, most), f.select(better, f.splat(others.index, self.width), where))
            where = others.carried[1]
            self.swap(self.moved, here, where)
            for area, length in columns:
                with f.loop(0, length) as each:
                    start = f.splat(each.index, self.width)
                    self.swap(area, f.add(f.mul(here, length), each.index), f.add(f.mul(where, f.splat(length, self.width)), start))

    def _identity(self, area: Value, size: Value) -> None:
        f = self.f
        with f.loop(0, size) as columns, f.loop(0, size) as rows:
            same = f.compare("eq", rows.index, columns.index)
            one = f.splat(f.select(same, constant(self.element, 1.0), constant(self.element, 0.0)), self.width)
            f.store(one, self.vector(area, f.add(f.mul(columns.index, size), rows.index)))


class _Jacobi(_Rotations):
    def _eigh(self) -> None:
        f, rows = self.f, self.rows
        self.pitch = f.binary("or", rows, 1)
        self._find_areas()
        self._start()
        self._sweep(rows)
        with f.loop(0, rows) as places:
            f.store(f.load(self._below(places.index, places.index), self.type), self.vector(self.moved, places.index))
        self._sort(rows, "olt", (self.vectors, rows))
        self.store(self.moved, "to.values", rows)
        self.store(self.vectors, "to.vectors", f.mul(rows, rows))

    def _start(self) -> None:
        """Read the lower triangle, and take the identity as vectors."""
        f, rows = self.f, self.rows
        self._identity(self.vectors, rows)
        places = self._places("a", f.mul(rows, rows), self.element)
        with f.loop(0, rows) as columns, f.loop(columns.index, rows) as each:
            index = f.add(f.mul(columns.index, rows), each.index)
            f.store(f.gather(self._moved(places, index, self.element), self.mask, self.type), self._below(each.index, columns.index))

    def _below(self, row: Value, column: Value) -> Value:
        """The place of an element of the lower triangle, whose columns are an odd number of vectors apart: 32 of them would share too few places
        of the first-level cache."""
        return self.vector(self.a, self.f.add(self.f.mul(column, self.pitch), row))

    def _rotate(self, p: Value, q: Value) -> None:
        """Make the element (q, p) 0, in the lanes where it matters."""
        f = self.f
        places = self._below(q, p), self._below(p, p), self._below(q, q)
        between, first, second = (f.load(place, self.type) for place in places)
        size = f.intrinsic("fabs", between)
        resolution = constant(self.type, 2.0**-26 if self.element == "float" else 2.0**-55)
        bounds = [f.mul(f.intrinsic("fabs", each), resolution) for each in (first, second)]
        matters = f.binary("or", *[f.compare("ogt", size, bound) for bound in bounds])
        some = f.cast("bitcast", matters, f"i{self.width}")
        with f.when(f.compare("ne", some, 0)):
            tangent, sine, half = self._angle(matters, first, second, between)
            with f.loop(0, p) as loop:
                self._turn(self._below(p, loop.index), self._below(q, loop.index), sine, half)
            with f.loop(f.add(p, 1), q) as loop:
                self._turn(self._below(loop.index, p), self._below(q, loop.index), sine, half)
            with f.loop(f.add(q, 1), self.rows) as loop:
                self._turn(self._below(loop.index, p), self._below(loop.index, q), sine, half)
            self._turn_columns(self.vectors, self.rows, p, q, sine, half)
            shift = f.mul(tangent, between)
            rest = f.select(matters, constant(self.type, 0.0), between)
            for number, place in zip((rest, f.sub(first, shift), f.add(second, shift)), places, strict=True):
                f.store(number, place)


class _Singular(_Rotations):
    """Columns are rotated until they are orthogonal: they are then left vectors times singular values."""

    def _singular(self) -> None:
        f, size = self.f, self.f.mul(self.rows, self.count)
        self._find_areas()
        self.load("a", size, "work")
        power = self._scale(size)
        self._identity(self.vectors, self.count)
        self._sweep(self.count)
        with f.loop(0, self.count) as columns:
            start = f.mul(columns.index, self.rows)
            length = f.intrinsic("sqrt", self._product(start, start))
            inverse = f.select(f.compare("ogt", length, 0.0), length, constant(self.type, 1.0))
            with f.loop(start, f.add(start, self.rows)) as each:
                place = self.vector(self.a, each.index)
                f.store(f.binary("fdiv", f.load(place, self.type), inverse), place)
            f.store(f.mul(length, power), self.vector(self.moved, columns.index))
        self._sort(self.count, "ogt", (self.a, self.rows), (self.vectors, self.count))
        self.store(self.moved, "to.values", self.count)
        self.store(self.a, "to.left", size)
        self.store(self.vectors, "to.vectors", f.mul(self.count, self.count))

    def _scale(self, size: Value) -> Value:
        """Divide a matrix by the power of two at or below its largest element, so that no square overflows; gives it."""
        f = self.f
        with f.loop(0, size, 1, [constant(self.type, 0.0)]) as loop:
            loop.carry(f.intrinsic("maxnum", loop.carried[0], f.intrinsic("fabs", f.load(self.vector(self.a, loop.index), self.type))))
        bits, mantissa, least, most = ("i32", 23, 2.0**-126, 2.0**126) if self.element == "float" else ("i64", 52, 2.0**-1022, 2.0**1022)
        bounded = f.intrinsic("minnum", f.intrinsic("maxnum", loop.carried[0], constant(self.type, least)), constant(self.type, most))
        whole = vector(bits, self.width)
        power = f.cast("bitcast", f.binary("and", f.cast("bitcast", bounded, whole), constant(whole, -(1 << mantissa))), self.type)
        inverse = f.binary("fdiv", constant(self.type, 1.0), power)
        with f.loop(0, size) as loop:
            place = self.vector(self.a, loop.index)
            f.store(f.mul(f.load(place, self.type), inverse), place)
        return power

    def _product(self, left: Value, right: Value) -> Value:
        """The product of two columns, which begin at these vectors."""
        f = self.f
        with f.loop(0, self.rows, 1, [constant(self.type, 0.0)]) as loop:
            both = [f.load(self.vector(self.a, f.add(start, loop.index)), self.type) for start in (left, right)]
            loop.carry(f.fma(*both, loop.carried[0]))
        return loop.carried[0]

    def _rotate(self, p: Value, q: Value) -> None:
        """Make two columns orthogonal, in the lanes where they are not."""
        f = self.f
        starts = f.mul(p, self.rows), f.mul(q, self.rows)
        first, second, between = (self._product(*pair) for pair in ((starts[0], starts[0]), (starts[1], starts[1]), starts))
        # A product of columns has an error of some 2**-23.
        resolution = constant(self.type, 2.0**-22 if self.element == "float" else 2.0**-51)
        bound = f.mul(f.mul(f.intrinsic("sqrt", first), f.intrinsic("sqrt", second)), resolution)
        matters = f.compare("ogt", f.intrinsic("fabs", between), bound)
        some = f.cast("bitcast", matters, f"i{self.width}")
        with f.when(f.compare("ne", some, 0)):
            _, sine, half = self._angle(matters, first, second, between)
            self._turn_columns(self.a, self.rows, p, q, sine, half)
            self._turn_columns(self.vectors, self.count, p, q, sine, half)
