"""The tridiagonal form ``Q^T A Q`` of a symmetric matrix, by Householder's reflections.

Column i is made 0 below the diagonal's neighbour by ``H = I - tau v v^T``, and ``H A H`` is ``A - v w^T - w v^T`` with ``w = tau A v - tau^2 / 2 (v^T A v) v``.
The columns of a panel are brought up to date as their turn comes; the columns behind it are by one product at its end (Dongarra, Hammarling and
Sorensen, "Block reduction of matrices to condensed forms for eigenvalue computations", 1989). Only the lower triangle is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from flambeau._codegen.contract.kernel import Code
from flambeau._codegen.ir import Value, constant, i64
from flambeau._codegen.linear.columns import BLOCK, Structure
from flambeau._codegen.linear.reflections import Reflections

GROUP = 4
"""Columns of the matrix that are multiplied by a vector at once, both as columns and as rows: an element is loaded once for both."""
_UPDATED = 56
"""Columns that an update takes together: above their first row there is nothing to do."""


@cache
def tridiagonal(structure: Structure) -> Code:
    """``packed`` reflections (without the first row, so that those of column i are below its diagonal), their ``taus``, the ``diagonal``, and what is ``beside`` it, of ``a``
    times ``scale``, the inverse of a power of two, which makes its largest element about 1.
    """
    kernel = _Tridiagonal(structure)
    kernel.emit()
    return kernel.code()


class _Tridiagonal(Reflections):
    def emit(self) -> None:
        f, read = self.f, self.read
        self.rows, self.pitch, self.v_pitch = read("rows"), read("pitch"), read("pitch")
        self.work, self.both, self.packed, self.sums = (self.scratch(name) for name in ("work", "both", "packed", "sums"))
        self.v, self.w, self.again = (self.at(self.both, number * BLOCK, self.pitch) for number in range(3))
        less = f.sub(self.rows, 1)
        with f.loop(f.parameters[2], f.parameters[3]) as tiles:
            matrix = tiles.index
            square = f.mul(self.rows, self.rows)
            self.load(
                f.offset(self.buffer("a"), f.mul(matrix, square), self.element), self.rows, self.rows, self.rows, self.work, self.pitch
            )
            f.fill(self.at(self.work, self.rows, self.pitch), f.mul(self.pitch, i64(GROUP * self.tile.bytes)))
            f.fill(self.both, f.mul(self.pitch, i64(3 * BLOCK * self.tile.bytes)))
            self._scale(f.offset(self.buffer("to.scale"), matrix, self.element))
            self.diagonal = f.offset(self.buffer("to.diagonal"), f.mul(matrix, self.rows), self.element)
            self.beside, self.taus = (f.offset(self.buffer(f"to.{name}"), f.mul(matrix, less), self.element) for name in ("beside", "taus"))
            with self.panels(self.rows) as (first, last):
                with f.loop(first, last) as columns:
                    self._column(columns.index, f.sub(columns.index, first))
                if self.structure.blocked:
                    with f.when(f.compare("slt", last, self.rows)):
                        self._update(last)
            target = f.offset(self.buffer("to.packed"), f.mul(matrix, f.mul(less, less)), self.element)
            self.store(f.offset(self.work, 1, self.element), self.pitch, less, less, target, less)

    def _scale(self, target: Value) -> None:
        """Multiply the lower triangle by the inverse of the power of two at or below its largest element, so that no product overflows."""
        f = self.f
        with f.loop(0, self.rows, 1, [constant(self.element, 0.0)]) as loop:
            column = self.at(self.work, loop.index, self.pitch)
            loop.carry(f.intrinsic("maximum", self._largest(column, loop.index)[0], loop.carried[0]))
        scale = self._power(loop.carried[0])
        f.store(scale, target)
        with f.loop(0, self.rows) as columns, f.loop(self.down(columns.index), self.rows, self.width) as rows:
            place = self.at(self.work, columns.index, self.pitch, rows.index)
            f.store(f.mul(f.load(place, self.tile.type), f.splat(scale, self.width)), place)

    def _column(self, step: Value, number: Value) -> None:
        """Bring a column up to date with those before it in the panel, of which there are ``number``; reflect it, and find its v and w."""
        f = self.f
        column, following = self.at(self.work, step, self.pitch), f.add(step, 1)
        factors = [f.offset(each, step, self.element) for each in (self.w, self.v)]
        self._subtract(factors, self.pitch, number, column, step)
        self.put(self.get(column, step), self.diagonal, step)
        with f.when(f.compare("slt", following, self.rows)):
            tau = self._reflection(column, following)
            self.put(tau, self.taus, step)
            self.put(self.get(column, following), self.beside, step)
            v, w = (self.at(each, number, self.pitch) for each in (self.v, self.w))
            f.fill(v, f.mul(following, i64(self.tile.bytes)))
            self.put(constant(self.element, 1.0), v, following)
            with f.loop(f.add(following, 1), self.rows) as rows:
                self.put(self.get(column, rows.index), v, rows.index)
            f.copy(self.at(self.again, number, self.pitch), v, f.mul(self.pitch, i64(self.tile.bytes)))
            f.fill(w, f.mul(self.pitch, i64(self.tile.bytes)))
            f.call(f"@{self._symmetric()}", self.work, self.pitch, v, w, following, self.rows)
            dot = self._dots()
            halves = [f.offset(self.sums, number * BLOCK, self.element) for number in range(2)]
            for matrix, sums in zip((self.w, self.v), halves, strict=True):
                f.call(f"@{dot}", matrix, self.pitch, number, v, following, self.rows, sums)
            self._subtract(halves, i64(1), number, w, following)
            f.call(f"@{dot}", v, self.pitch, i64(1), w, following, self.rows, self.sums)
            factor = f.mul(f.mul(tau, tau), f.mul(f.load(self.sums, self.element), constant(self.element, -0.5)))
            spread, factor = (f.splat(each, self.width) for each in (tau, factor))
            with f.loop(self.down(following), self.rows, self.width) as rows:
                place = f.offset(w, rows.index, self.element)
                part = f.mul(f.load(f.offset(v, rows.index, self.element), self.tile.type), factor)
                f.store(f.fma(f.load(place, self.tile.type), spread, part), place)

    def _subtract(self, factors: Sequence[Value], step: Value, count: Value, target: Value, start: Value) -> None:
        """Subtract from a column, from row ``start`` on, the sums of the panel's v and w times factors: the sum first, which is small and rounds little."""
        f, type = self.f, self.tile.type
        with f.loop(self.down(start), self.rows, self.width) as rows:
            with f.loop(0, count, 1, [constant(type, 0.0), constant(type, 0.0)]) as loop:
                terms = []
                for matrix, each, chain in zip((self.v, self.w), factors, loop.carried, strict=True):
                    factor = f.splat(self.get(each, f.mul(loop.index, step)), self.width)
                    terms.append(f.fma(f.load(self.at(matrix, loop.index, self.pitch, rows.index), type), factor, chain))
                loop.carry(*terms)
            place = f.offset(target, rows.index, self.element)
            f.store(f.sub(f.load(place, type), f.add(*loop.carried)), place)

    def _dots(self) -> str:
        """``dots(matrix, pitch, count, x, start, rows, sums)``: the products of columns with x, from row ``start`` on, above which x is 0."""
        name = "dots"
        if self.module.has_function(name):
            return name
        parameters = [
            ("ptr", "matrix"),
            ("i64", "pitch"),
            ("i64", "count"),
            ("ptr", "x"),
            ("i64", "start"),
            ("i64", "rows"),
            ("ptr", "sums"),
        ]
        f = self.module.function(name, parameters, linkage="internal", attributes="noinline")
        matrix, pitch, count, x, start, rows, sums = f.parameters
        type = self.tile.type
        first = f.binary("and", start, -self.width)

        def columns(number: Value, together: int) -> None:
            places = [f.offset(matrix, f.mul(f.add(number, each), pitch), self.element) for each in range(together)]
            with f.loop(first, rows, self.width, [constant(type, 0.0)] * together) as loop:
                factor = f.load(f.offset(x, loop.index, self.element), type)
                numbers = [f.load(f.offset(place, loop.index, self.element), type) for place in places]
                loop.carry(*[f.fma(each, factor, chain) for each, chain in zip(numbers, loop.carried, strict=True)])
            for each, chain in enumerate(loop.carried):
                f.store(f.halved("fadd", chain, 1), f.offset(sums, f.add(number, each), self.element))

        together = f.binary("and", count, -4)
        with f.loop(0, together, 4) as loop:
            columns(loop.index, 4)
        with f.loop(together, count) as loop:
            columns(loop.index, 1)
        f.ret()
        return name

    def _symmetric(self) -> str:
        """``symmetric(matrix, pitch, x, y, start, rows)``: add to y the product of the lower triangle, from column ``start`` on, and of its mirror image, with x.

        x is 0 above ``start``, and y means nothing there.
        """
        name = "symmetric"
        if self.module.has_function(name):
            return name
        parameters = [("ptr", "matrix"), ("i64", "pitch"), ("ptr", "x"), ("ptr", "y"), ("i64", "start"), ("i64", "rows")]
        f = self.module.function(name, parameters, linkage="internal", attributes="noinline")
        matrix, pitch, x, y, start, rows = f.parameters
        type, width, zero = self.tile.type, self.width, constant(self.tile.type, 0.0)
        together = min(GROUP, width)
        with f.loop(f.binary("and", start, -together), rows, together) as groups:
            numbers = [f.add(groups.index, each) for each in range(together)]
            places = [f.offset(matrix, f.mul(number, pitch), self.element) for number in numbers]
            scales = [f.load(f.offset(x, number, self.element), self.element) for number in numbers]
            spread = [f.splat(each, width) for each in scales]

            def vectors(at: Value, chains: Sequence[Value], masks: Sequence[Value] = ()) -> list[Value]:
                factor, place = f.load(f.offset(x, at, self.element), type), f.offset(y, at, self.element)
                total, sums = f.load(place, type), []
                for number, (column, scale, chain) in enumerate(zip(places, spread, chains, strict=True)):
                    each = f.load(f.offset(column, at, self.element), type)
                    if masks:
                        each = f.select(masks[number], zero, each)
                    total = f.fma(each, scale, total)
                    sums.append(f.fma(each, factor, chain))
                f.store(total, place)
                return sums

            # A group of columns lies within the rows of one vector.
            edge = f.binary("and", groups.index, -width)
            masks = [f.lane_mask(f.add(f.sub(number, edge), 1), width) for number in numbers]
            chains = vectors(edge, [zero] * together, masks)
            with f.loop(f.add(edge, width), rows, width, chains) as loop:
                loop.carry(*vectors(loop.index, loop.carried))
            for number, column, scale, chain in zip(numbers, places, scales, loop.carried, strict=True):
                place = f.offset(y, number, self.element)
                own = f.load(f.offset(column, number, self.element), self.element)
                total = f.add(f.load(place, self.element), f.halved("fadd", chain, 1))
                f.store(f.fma(own, scale, total), place)
        f.ret()
        return name

    def _update(self, last: Value) -> None:
        """Subtract ``V W^T + W V^T`` from the lower triangle behind a whole panel."""
        f, depth = self.f, i64(2 * BLOCK)
        self.pack(self.both, self.pitch, last, self.rows, depth, self.packed)
        with f.loop(last, self.rows, _UPDATED) as columns:
            count = self.smaller(f.sub(self.rows, columns.index), i64(_UPDATED))
            top = f.add(last, f.binary("and", f.sub(columns.index, last), -self.tile.lanes))
            factors = f.offset(self.w, columns.index, self.element)
            target = self.at(self.work, columns.index, self.pitch)
            self.multiply(top, self.rows, count, factors, 1, self.pitch, depth, self.packed, last, target, self.pitch)
