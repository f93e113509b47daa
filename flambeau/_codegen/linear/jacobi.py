"""Eigenvalues and eigenvectors of many small symmetric matrices, by Jacobi's rotations: a lane for each matrix.

See Golub and Van Loan, "Matrix Computations", 8.5. Sweeps go on until no matrix has an element off the diagonal that matters to the two on it; a
matrix that has come to its end is rotated no more, so that its bits do not depend on its neighbours.
"""

from __future__ import annotations

from functools import cache

from flambeau._codegen.contract.kernel import Code
from flambeau._codegen.ir import Value, constant, i64
from flambeau._codegen.linear.columns import Structure
from flambeau._codegen.linear.lanes import Lanes

SWEEPS = 30
"""More than any matrix needs: convergence is quadratic, and 16² takes 6 to 9."""


@cache
def eigh(structure: Structure) -> Code:
    """``values`` in increasing order, and ``vectors`` as columns, of ``a``, of which the lower triangle is used."""
    return _Jacobi(structure).code("_eigh")


class _Jacobi(Lanes):
    def _eigh(self) -> None:
        f, rows = self.f, self.rows
        size = f.mul(rows, rows)
        self.pitch = f.binary("or", rows, 1)
        self.a = f.offset(f.parameters[4], self.read("scratch.work"), "i8")
        self.vectors, self.moved = (f.offset(f.parameters[4], self.read(f"scratch.{name}"), "i8") for name in ("vectors", "moved"))
        self._start()
        with f.repeat([i64(SWEEPS)]) as sweeps:
            f.store(constant(self.type, 0.0), self.moved)
            with f.loop(0, rows) as first, f.loop(f.add(first.index, 1), rows) as second:
                self._rotate(first.index, second.index)
            left = f.sub(sweeps.carried[0], 1)
            moved = f.cast("bitcast", f.compare("une", f.load(self.moved, self.type), 0.0), f"i{self.width}")
            sweeps.again(f.binary("and", f.compare("ne", moved, 0), f.compare("sgt", left, 0)), left)
        self._sort()
        self.store(self.moved, "to.values", rows)
        self.store(self.vectors, "to.vectors", size)

    def _start(self) -> None:
        """Read the lower triangle, and take the identity as vectors."""
        f, rows = self.f, self.rows
        places = self._places("a", f.mul(rows, rows), self.element)
        with f.loop(0, rows) as columns, f.loop(0, rows) as each:
            same = f.compare("eq", each.index, columns.index)
            one = f.splat(f.select(same, constant(self.element, 1.0), constant(self.element, 0.0)), self.width)
            f.store(one, self.at(self.vectors, each.index, columns.index))
            with f.when(f.compare("sge", each.index, columns.index)):
                index = f.add(f.mul(columns.index, rows), each.index)
                f.store(f.gather(self._moved(places, index, self.element), self.mask, self.type), self._below(each.index, columns.index))

    def _below(self, row: Value, column: Value) -> Value:
        """The place of an element of the lower triangle, whose columns are an odd number of vectors apart: 32 of them would share too few places
        of the first-level cache."""
        return self.vector(self.a, self.f.add(self.f.mul(column, self.pitch), row))

    def _rotate(self, p: Value, q: Value) -> None:
        """Make the element (p, q) 0, in the lanes where it matters."""
        f, one = self.f, constant(self.type, 1.0)
        places = self._below(q, p), self._below(p, p), self._below(q, q)
        between, first, second = (f.load(place, self.type) for place in places)
        size = f.intrinsic("fabs", between)
        resolution = constant(self.type, 2.0**-26 if self.element == "float" else 2.0**-55)
        bounds = [f.mul(f.intrinsic("fabs", each), resolution) for each in (first, second)]
        matters = f.binary("or", *[f.compare("ogt", size, bound) for bound in bounds])
        some = f.cast("bitcast", matters, f"i{self.width}")
        with f.when(f.compare("ne", some, 0)):
            f.store(f.select(matters, one, f.load(self.moved, self.type)), self.moved)
            ratio = f.binary("fdiv", f.sub(second, first), f.add(between, between))
            root = f.intrinsic("sqrt", f.fma(ratio, ratio, one))
            tangent = f.binary("fdiv", f.intrinsic("copysign", one, ratio), f.add(f.intrinsic("fabs", ratio), root))
            tangent = f.select(matters, tangent, constant(self.type, 0.0))
            cosine = f.binary("fdiv", one, f.intrinsic("sqrt", f.fma(tangent, tangent, one)))
            sine = f.mul(tangent, cosine)
            half = f.binary("fdiv", sine, f.add(cosine, one))
            with f.loop(0, p) as loop:
                self._turn(self._below(p, loop.index), self._below(q, loop.index), sine, half)
            with f.loop(f.add(p, 1), q) as loop:
                self._turn(self._below(loop.index, p), self._below(q, loop.index), sine, half)
            with f.loop(f.add(q, 1), self.rows) as loop:
                self._turn(self._below(loop.index, p), self._below(loop.index, q), sine, half)
            with f.loop(0, self.rows) as loop:
                self._turn(self.at(self.vectors, loop.index, p), self.at(self.vectors, loop.index, q), sine, half)
            shift = f.mul(tangent, between)
            rest = f.select(matters, constant(self.type, 0.0), between)
            for number, place in zip((rest, f.sub(first, shift), f.add(second, shift)), places, strict=True):
                f.store(number, place)

    def _turn(self, p: Value, q: Value, sine: Value, half: Value) -> None:
        """Rotate two elements, by what is added to them: a small angle then makes small errors.

        ``half`` is the tangent of half the angle.
        """
        f = self.f
        left, right = f.load(p, self.type), f.load(q, self.type)
        f.store(f.fma(f.neg(sine), f.fma(half, left, right), left), p)
        f.store(f.fma(sine, f.fma(f.neg(half), right, left), right), q)

    def _sort(self) -> None:
        """Put the values in order, and the vectors with them; the values lie in ``moved`` then."""
        f, rows = self.f, self.rows
        with f.loop(0, rows) as places:
            f.store(f.load(self._below(places.index, places.index), self.type), self.vector(self.moved, places.index))
        with f.loop(0, rows) as places:
            here = places.index
            first = f.load(self.vector(self.moved, here), self.type)
            with f.loop(f.add(here, 1), rows, 1, [first, f.splat(here, self.width)]) as others:
                least, where = others.carried
                number = f.load(self.vector(self.moved, others.index), self.type)
                less = f.compare("olt", number, least)
                others.carry(f.select(less, number, least), f.select(less, f.splat(others.index, self.width), where))
            where = others.carried[1]
            self.swap(self.moved, here, where)
            with f.loop(0, rows) as each:
                start = f.splat(each.index, self.width)
                self.swap(self.vectors, f.add(f.mul(here, rows), each.index), f.add(f.mul(where, f.splat(rows, self.width)), start))
