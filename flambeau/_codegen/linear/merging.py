"""The eigenvalues and vectors of ``D + w w^T``, by which divide and conquer puts the halves of a tridiagonal matrix together.

Eigenvalue i lies between d_i and d_(i+1), where ``1 + sum over j of w_j^2 / (d_j - x)`` is 0 (Cuppen, 1981). It is kept as its distance from the nearer of
the two, and all differences are relative to that: they are what vectors are made of. Vectors ``w_j / (d_j - x_i)`` are orthogonal to the last bits if w is
what the eigenvalues found belong to (Gu and Eisenstat, "A stable and efficient algorithm for the rank-one modification of the symmetric eigenproblem", 1994).

There is no deflation: equal numbers d lie ``j APART`` apart, which is added to their differences and never to themselves, and no w_j is smaller than ``LEAST``.
Both are far below what a float64 tells apart, and far above its smallest numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from flambeau._codegen.contract.kernel import Code
from flambeau._codegen.ir import Value, constant, i64
from flambeau._codegen.linear.columns import Columns, Structure

APART = 2.0**-110
LEAST = 2.0**-100
MOST = 64
"""Iterations: 5 to 8 are usual, and clusters within clusters take up to 50."""
RESULTS = ("d", "w", "q", "place", "pole", "base", "tau", "hat")
"""What is kept of each element: of the sorted d, w and its square, and where each was; of each eigenvalue the nearer d, its number and the distance from it; and
the w that belongs to the eigenvalues."""


@cache
def merge(structure: Structure) -> Code:
    """``values`` in increasing order, and ``vectors`` (element, vector), of what two halves ``a`` (eigenvalues in increasing order) and ``joint``, the element between them,
    make together; all float64.

    ``edges`` are the first and the last row of vectors: those of each half as an operand, of the whole as a result. With the flag ``edges`` vectors are not wanted.
    Parts: ``sort``, a tile for each problem; ``roots``, ``weights`` and ``vectors``, one for each vector of eigenvalues.
    """
    kernel = _Merge(structure)
    kernel.emit()
    return kernel.code()


class _Merge(Columns):
    def emit(self) -> None:
        f, read = self.f, self.read
        self.size, self.double = read("rows"), self.tile.type
        with f.loop(f.parameters[2], f.parameters[3]) as tiles:
            if self.structure.part == "sort":
                self._attach(tiles.index)
                self._sort()
            else:
                problem = f.binary("udiv", tiles.index, read("blocks"))
                self._attach(problem)
                self.first = f.mul(f.sub(tiles.index, f.mul(problem, read("blocks"))), self.width)
                self.lane = self.lanes(self.first)
                self.number = f.cast("sitofp", self.lane, self.double)
                getattr(self, "_" + self.structure.part)()

    def _attach(self, problem: Value) -> None:
        f = self.f
        self.problem = problem
        work = f.offset(self.buffer("work"), f.mul(problem, self.read("work.size")), "i8")
        self.areas = {name: f.offset(work, self.read(f"area.{name}"), "i8") for name in (*RESULTS, "total")}

    def _mine(self, name: str) -> Value:
        """What is kept of the elements in the lanes."""
        return self.f.load(self.f.offset(self.areas[name], self.first, self.element), self.double)

    def _keep(self, number: Value, name: str) -> None:
        self.f.store(number, self.f.offset(self.areas[name], self.first, self.element))

    def _each(self, name: str, index: Value) -> Value:
        """What is kept of one element, in all lanes."""
        return self.f.splat(self.get(self.areas[name], index), self.width)

    def _index(self, index: Value) -> Value:
        return self.f.splat(self.f.cast("sitofp", index, self.element), self.width)

    def _apart(self, left: Value, left_number: Value, right: Value, right_number: Value) -> Value:
        """The difference of two numbers d, given with their numbers."""
        f = self.f
        return f.fma(f.sub(left_number, right_number), constant(self.double, APART), f.sub(left, right))

    # -- parts -----------------------------------------------------------------------------------------------------

    def _sort(self) -> None:
        """Both halves in one order; what follows behind is never the nearest of anything."""
        f, size = self.f, self.size
        half = f.binary("lshr", size, 1)
        values = f.offset(self.buffer("a"), f.mul(self.problem, size), self.element)
        below, above = self._edges(half, near=True)
        least, joint = constant(self.element, LEAST), self.get(self.buffer("joint"), self.problem)
        root, signed = f.intrinsic("sqrt", f.intrinsic("fabs", joint)), f.intrinsic("copysign", constant(self.element, 1.0), joint)
        with f.loop(0, size, 1, [i64(0), half, constant(self.element, 0.0), constant(self.element, -math.inf)]) as loop:
            left, right, total, most = loop.carried
            last = f.sub(size, 1)
            ordered = f.compare("ole", self.get(values, self.smaller(left, last)), self.get(values, self.smaller(right, last)))
            takes = f.binary("and", f.compare("slt", left, half), f.binary("or", f.compare("sge", right, size), ordered))
            place = f.select(takes, left, right)
            weight = f.mul(root, f.select(takes, self.get(below, place), f.mul(signed, self.get(above, place))))
            weight = f.intrinsic("copysign", f.intrinsic("maxnum", f.intrinsic("fabs", weight), least), weight)
            square = f.mul(weight, weight)
            most = f.intrinsic(
                "maxnum", most, self.get(values, place)
            )  # eigenvalues of a cluster may be in the wrong order by their last bits
            self.put(most, self.areas["d"], loop.index)
            self.put(weight, self.areas["w"], loop.index)
            self.put(square, self.areas["q"], loop.index)
            f.store(place, f.offset(self.areas["place"], loop.index, "i64"))
            one = f.cast("zext", takes, "i64")
            loop.carry(f.add(left, one), f.add(right, f.sub(i64(1), one)), f.add(total, square), most)
        _, _, total, most = loop.carried
        self.put(total, self.areas["total"], i64(0))
        with f.loop(size, f.add(self.down(size), 2 * self.width)) as loop:
            self.put(most, self.areas["d"], loop.index)
            self.put(constant(self.element, 0.0), self.areas["q"], loop.index)

    def _edges(self, half: Value, *, near: bool) -> tuple[Value, Value]:
        """A row of each half's vectors, by the number of the element in both halves: the rows that meet if ``near``, else the first and the last of all."""
        f = self.f
        rows = f.offset(self.buffer("edges"), f.mul(f.mul(self.problem, half), 4), self.element)
        first, second = (f.mul(half, 1 if near else 0), f.mul(half, 2 if near else 3))
        return f.offset(rows, first, self.element), f.offset(rows, f.sub(second, half), self.element)

    def _roots(self) -> None:
        f, type = self.f, self.double
        zero, last = constant(type, 0.0), f.compare("sge", self.lane, f.splat(f.sub(self.size, 1), self.width))
        here, above = self._mine("d"), f.load(f.offset(self.areas["d"], f.add(self.first, 1), self.element), type)
        q, next_q = self._mine("q"), f.load(f.offset(self.areas["q"], f.add(self.first, 1), self.element), type)
        twice = f.mul(self._each("total", i64(0)), 2.0)
        gap = f.select(last, twice, f.add(f.sub(above, here), constant(type, APART)))
        half = f.mul(gap, 0.5)
        # The half of the gap in which it is, by the sign in the middle.
        sums = self._sums(here, self.number, half)
        total = self._total(sums)
        near = f.binary("or", last, f.compare("oge", total, 0.0))
        pole = f.select(near, self.number, f.add(self.number, constant(type, 1.0)))
        base = f.select(near, here, above)
        left, right = f.select(near, zero, f.neg(gap)), f.select(near, gap, zero)
        low = f.select(near, zero, f.neg(half))
        high = f.select(near, f.select(last, gap, half), zero)
        rest = f.sub(f.sub(total, f.binary("fdiv", q, f.neg(half))), f.binary("fdiv", next_q, half))
        tau, _ = self._within(self._interpolated(rest, q, next_q, left, right), low, high)
        idle = f.compare("sge", self.lane, f.splat(self.size, self.width))
        with f.repeat([tau, low, high, idle, i64(MOST)]) as loop:
            tau, low, high, done, count = loop.carried
            sums = self._sums(base, pole, tau)
            total = self._total(sums)
            negative = f.compare("olt", total, 0.0)
            low, high = f.select(negative, tau, low), f.select(negative, high, tau)
            to_left, to_right = f.sub(left, tau), f.sub(right, tau)
            (psi, psi_slope), (phi, phi_slope) = sums
            rest = f.sub(f.sub(total, f.mul(to_left, psi_slope)), f.mul(to_right, phi_slope))
            weights = (f.mul(f.mul(psi_slope, to_left), to_left), f.mul(f.mul(phi_slope, to_right), to_right))
            new, good = self._within(self._interpolated(rest, *weights, left, right), low, high)
            noise = f.mul(f.add(f.sub(phi, psi), constant(type, 1.0)), 2.0**-51)
            found = f.compare("ole", f.intrinsic("fabs", total), noise)
            new = f.select(f.binary("or", done, found), tau, new)
            close = f.select(good, constant(type, 2.0**-30), constant(type, 2.0**-53))
            settled = f.compare("ole", f.intrinsic("fabs", f.sub(new, tau)), f.mul(f.intrinsic("fabs", new), close))
            done = f.binary("or", done, f.binary("or", found, settled))
            all_done = f.compare("eq", f.cast("bitcast", done, f"i{self.width}"), -1)
            count = f.sub(count, 1)
            loop.again(f.binary("and", f.binary("xor", all_done, 1), f.compare("sgt", count, 0)), new, low, high, done, count)
        tau = loop.following[0]
        for name, number in (("pole", pole), ("base", base), ("tau", tau)):
            self._keep(number, name)
        mask = f.lane_mask(f.sub(self.size, self.first), self.width)
        place = f.offset(self.buffer("to.values"), f.add(f.mul(self.problem, self.size), self.first), self.element)
        f.masked_store(f.add(base, tau), place, mask)

    def _total(self, sums: Sequence[tuple[Value, Value]]) -> Value:
        f = self.f
        return f.add(f.add(sums[0][0], sums[1][0]), constant(self.double, 1.0))

    def _sums(self, base: Value, pole: Value, tau: Value) -> list[tuple[Value, Value]]:
        """The sums of ``w_j^2 / (d_j - x)`` and their derivatives, over numbers up to each lane's own, and over those above."""
        f, zero = self.f, constant(self.double, 0.0)

        def term(index: Value) -> tuple[Value, Value]:
            distance = f.sub(self._apart(self._each("d", index), self._index(index), base, pole), tau)
            inverse = f.binary("fdiv", constant(self.double, 1.0), distance)
            each = f.mul(self._each("q", index), inverse)
            return each, f.mul(each, inverse)

        behind = self.smaller(f.add(self.first, self.width), self.size)
        with f.loop(0, self.first, 1, [zero, zero]) as below:
            below.carry(*map(f.add, below.carried, term(below.index)))
        with f.loop(self.first, behind, 1, [*below.carried, zero, zero]) as among:
            mine = f.compare("sge", self.lane, f.splat(among.index, self.width))
            terms = term(among.index)
            lower = [f.add(number, f.select(mine, each, zero)) for number, each in zip(among.carried[:2], terms, strict=True)]
            upper = [f.add(number, f.select(mine, zero, each)) for number, each in zip(among.carried[2:], terms, strict=True)]
            among.carry(*lower, *upper)
        with f.loop(behind, self.size, 1, among.carried[2:]) as above:
            above.carry(*map(f.add, above.carried, term(above.index)))
        (psi, psi_slope), (phi, phi_slope) = among.carried[:2], above.carried
        return [(psi, psi_slope), (phi, phi_slope)]

    def _interpolated(self, rest: Value, s: Value, t: Value, left: Value, right: Value) -> Value:
        """The zero between ``left`` and ``right``, one of which is 0, of ``rest + s / (left - x) + t / (right - x)`` (Bunch, Nielsen and Sorensen, 1978)."""
        f = self.f
        a = f.add(f.mul(rest, f.add(left, right)), f.add(s, t))
        b = f.add(f.mul(s, right), f.mul(t, left))
        root = f.intrinsic("sqrt", f.intrinsic("fabs", f.sub(f.mul(a, a), f.mul(f.mul(b, rest), 4.0))))
        positive = f.compare("ogt", a, 0.0)
        over = f.select(positive, f.mul(b, 2.0), f.sub(a, root))
        return f.binary("fdiv", over, f.select(positive, f.add(a, root), f.mul(rest, 2.0)))

    def _within(self, x: Value, low: Value, high: Value) -> tuple[Value, Value]:
        """``x``, or the middle where it is not between the bounds; and where it is."""
        f = self.f
        inside = f.binary("and", f.compare("oge", x, low), f.compare("ole", x, high))
        inside = f.binary("and", inside, f.compare("one", x, 0.0))
        return f.select(inside, x, f.mul(f.add(low, high), 0.5)), inside

    def _weights(self) -> None:
        """The w to which the eigenvalues belong: ``prod of (x_i - d_j) / prod of (d_i - d_j)`` is its square (Löwner, 1934)."""
        f, one = self.f, constant(self.double, 1.0)
        mine = self._mine("d")
        with f.loop(0, self.size, 1, [one]) as loop:
            index = self._index(loop.index)
            own = f.compare("eq", self.lane, f.splat(loop.index, self.width))
            root = f.add(
                self._apart(self._each("base", loop.index), self._each("pole", loop.index), mine, self.number),
                self._each("tau", loop.index),
            )
            other = f.select(own, one, self._apart(self._each("d", loop.index), index, mine, self.number))
            loop.carry(f.mul(loop.carried[0], f.binary("fdiv", root, other)))
        size = f.intrinsic("sqrt", f.intrinsic("fabs", loop.carried[0]))
        self._keep(f.intrinsic("copysign", size, self._mine("w")), "hat")

    def _vectors(self) -> None:
        f, size, zero = self.f, self.size, constant(self.double, 0.0)
        base, pole, tau = (self._mine(name) for name in ("base", "pole", "tau"))
        column = self.scratch("column")
        with f.loop(0, size, 1, [zero]) as loop:
            distance = f.sub(self._apart(self._each("d", loop.index), self._index(loop.index), base, pole), tau)
            number = f.binary("fdiv", self._each("hat", loop.index), distance)
            row = f.load(f.offset(self.areas["place"], loop.index, "i64"), "i64")
            f.store(number, f.offset(column, f.mul(row, self.width), self.element))
            loop.carry(f.fma(number, number, loop.carried[0]))
        inverse = f.binary("fdiv", constant(self.double, 1.0), f.intrinsic("sqrt", loop.carried[0]))
        mask, half = f.lane_mask(f.sub(size, self.first), self.width), f.binary("lshr", size, 1)
        target = f.offset(self.buffer("to.vectors"), f.add(f.mul(f.mul(self.problem, size), size), self.first), self.element)
        edges = f.offset(self.buffer("to.edges"), f.add(f.mul(f.mul(self.problem, size), 2), self.first), self.element)
        for number, (row, start) in enumerate(zip(self._edges(half, near=False), (i64(0), half), strict=True)):
            with f.loop(start, f.add(start, half), 1, [zero]) as loop:
                each = f.mul(f.load(f.offset(column, f.mul(loop.index, self.width), self.element), self.double), inverse)
                if "edges" not in self.structure.flags:
                    f.masked_store(each, f.offset(target, f.mul(loop.index, size), self.element), mask)
                loop.carry(f.fma(each, f.splat(self.get(row, loop.index), self.width), loop.carried[0]))
            f.masked_store(loop.carried[0], f.offset(edges, f.mul(size, number), self.element), mask)
