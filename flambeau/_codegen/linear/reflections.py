"""The QR decomposition by Householder's reflections, and products with them.

Reflection i is ``I - tau_i v_i v_i^T``; v_i is 0 above row i, 1 in it, and below it stands in column i of what is ``packed``. Those of a panel together
are ``I - V T V^T`` with an upper triangular T (Schreiber and Van Loan, 1989).
"""

from __future__ import annotations

from functools import cache

from flambeau._codegen.contract.kernel import Code
from flambeau._codegen.contract.micro import panels_of_rows
from flambeau._codegen.ir import Value, constant, i64, vector
from flambeau._codegen.linear.columns import BLOCK, Columns, Structure
from flambeau._codegen.linear.decomposition import Decomposition
from flambeau._codegen.linear.triangle import emit_turn

TOGETHER = 56
"""Columns that the reflections of a panel are applied to at once."""

NEAR = 8
"""Columns of a panel that are reflected by as many reflections one after the other: they stay in the first-level cache."""

CHAIN = 32
"""Terms of a chain of multiply-adds in products with reflections: with one chain for 512 rows, ``Q R`` was twice as far from A."""


@cache
def qr(structure: Structure) -> Code:
    """``packed`` (R and below it the reflections) and ``taus`` of ``a``."""
    kernel = _QR(structure)
    kernel.emit()
    return kernel.code()


@cache
def reflection(structure: Structure) -> Code:
    """The ``product`` ``H_1 H_2 … B`` of the reflections that ``packed`` and ``taus`` describe with ``b``, or with a part of the identity.

    Flags: ``adjoint``: ``… H_2 H_1 B``; ``identity``: there is no ``b``. A tile is a block of columns of a product.
    """
    kernel = _Reflection(structure)
    kernel.emit()
    return kernel.code()


class Reflections(Columns):
    """What a panel of reflections does to columns."""

    def find_areas(self, base: Value) -> None:
        """Where a panel's reflections are kept: at offsets from ``base``."""
        f = self.f
        self.v, self.lines, self.packed, self.t = (
            f.offset(base, self.read(f"area.{name}"), "i8") for name in ("v", "lines", "packed", "t")
        )
        self.sums, self.scaled = self.scratch("sums"), self.scratch("scaled")

    def reflect(self, column: Value, tau: Value, step: Value, rows: Value, target: Value, pitch: Value, count: Value) -> None:
        """Apply one reflection to ``count`` columns, whose row ``step`` is that in which v is 1."""
        f = self.f
        name = self._projection()
        f.call(f"@{name}", column, tau, target, pitch, self.sums, count, step, rows)
        self.eliminate(column, target, pitch, self.sums, 1, count, step, rows)

    def _projection(self) -> str:
        """A function that leaves ``tau v^T c`` of each column c, and subtracts it in the row in which v is 1."""
        name = "project"
        if self.module.has_function(name):
            return name
        parameters = [
            ("ptr", "column"),
            (self.element, "tau"),
            ("ptr", "target"),
            ("i64", "pitch"),
            ("ptr", "sums"),
            ("i64", "count"),
            ("i64", "step"),
            ("i64", "rows"),
        ]
        f = self.module.function(name, parameters, linkage="internal", attributes="noinline")
        column, tau, target, pitch, sums, count, step, rows = f.parameters
        type, width = self.tile.type, self.width
        edge = f.binary("and", step, -width)
        mask = f.lane_mask(f.add(f.sub(step, edge), 1), width)  # the rows that do not count
        zero = constant(type, 0.0)

        def project(start: Value, together: int) -> None:
            targets = [f.offset(target, f.mul(f.add(start, number), pitch), self.element) for number in range(together)]
            v = f.select(mask, zero, f.load(f.offset(column, edge, self.element), type))
            chains = [f.binary("fmul", v, f.select(mask, zero, f.load(f.offset(each, edge, self.element), type))) for each in targets]
            with f.loop(f.add(edge, width), rows, width, chains) as loop:
                v = f.load(f.offset(column, loop.index, self.element), type)
                places = [f.offset(each, loop.index, self.element) for each in targets]
                loop.carry(*[f.fma(v, f.load(place, type), chain) for place, chain in zip(places, loop.carried, strict=True)])
            for number, (each, chain) in enumerate(zip(targets, loop.carried, strict=True)):
                place = f.offset(each, step, self.element)
                one = f.load(place, self.element)
                total = f.add(one, f.halved("fadd", chain, 1))
                f.store(f.fma(f.neg(tau), total, one), place)
                f.store(f.mul(tau, total), f.offset(sums, f.add(start, number), self.element))

        together = f.binary("and", count, -4)
        with f.loop(0, together, 4) as loop:
            project(loop.index, 4)
        with f.loop(together, count) as loop:
            project(loop.index, 1)
        f.ret()
        return name

    # -- panels ----------------------------------------------------------------------------------------------------

    def prepare(self, source: Value, pitch: Value, first: Value, last: Value, rows: Value, taus: Value, adjoint: bool) -> None:
        """Lay the reflections of a panel out as products need them, from row ``first`` on.

        ``v`` has them as columns, with their ones and zeros; ``lines`` as rows; ``packed`` their negatives for micro-kernels. ``t`` is T (its
        transpose if ``adjoint``) so that it is multiplied by from the right, with zeros beyond its size.
        """
        f = self.f
        size, length = f.sub(last, first), f.sub(rows, first)
        self.length, self.size, self.v_pitch = length, size, self.read("v.pitch")
        self.load(self.at(source, first, pitch, first), pitch, length, size, self.v, self.v_pitch)
        with f.loop(0, size) as columns:
            column = self.at(self.v, columns.index, self.v_pitch)
            f.fill(column, f.mul(columns.index, i64(self.tile.bytes)))
            self.put(constant(self.element, 1.0), column, columns.index)
        for row in range(0, BLOCK, self.width):
            start, lines = self.at(self.v, row, self.v_pitch), f.offset(self.lines, row, self.element)
            f.call(f"@{emit_turn(self)}", start, self.v_pitch, f.sub(size, row), length, lines, i64(BLOCK))
        self.pack(self.v, self.v_pitch, i64(0), length, size, self.packed)
        self._triangle(f.offset(taus, first, self.element), adjoint)

    def _triangle(self, taus: Value, adjoint: bool) -> None:
        """``T[:j, j] = -tau_j T[:j, :j] V^T v_j``, a column after the other; ``scaled`` holds V^T V before."""
        f, type, width = self.f, self.tile.type, self.width
        own = self.scratch("square")
        self._products(self.v, self.v_pitch, self.size, self.lines, self.length, self.scaled)
        f.fill(own, i64(BLOCK * BLOCK * self.tile.bytes))
        vectors = range(0, BLOCK, width)
        with f.loop(0, self.size) as loop:
            j = loop.index
            line = self.at(own, j, i64(BLOCK))
            with f.loop(0, j, 1, [constant(type, 0.0) for _ in vectors]) as before:
                factor = f.splat(self.get(self.scaled, f.add(f.mul(before.index, BLOCK), j)), width)
                earlier = self.at(own, before.index, i64(BLOCK))
                chains = [f.load(f.offset(earlier, first, self.element), type) for first in vectors]
                before.carry(*[f.fma(factor, each, chain) for each, chain in zip(chains, before.carried, strict=True)])
            tau = self.get(taus, j)
            for first, chain in zip(vectors, before.carried, strict=True):
                f.store(f.mul(chain, f.splat(f.neg(tau), width)), f.offset(line, first, self.element))
            self.put(tau, line, j)
        with f.loop(0, i64(BLOCK)) as rows, f.loop(0, i64(BLOCK)) as columns:
            number = self.get(own, f.add(f.mul(rows.index, BLOCK), columns.index))
            place = f.add(f.mul(columns.index, BLOCK), rows.index) if adjoint else f.add(f.mul(rows.index, BLOCK), columns.index)
            self.put(number, self.t, place)

    def _products(self, a: Value, across: Value, count: Value, b: Value, depth: Value, target: Value) -> None:
        """``target[c, :] = sum over k of a[c, k] b[k, :]``, of ``BLOCK`` columns."""
        f, tile = self.f, self.tile
        zeros = self.module.table(self.element, [0] * tile.pitch)
        with f.loop(0, depth, CHAIN) as chains, panels_of_rows(f, tile, count) as (row, _, here):
            start, place = self.at(a, row, across, chains.index), self.at(target, row, i64(BLOCK))
            length = self.smaller(f.sub(depth, chains.index), i64(CHAIN))
            more = f.compare("sgt", chains.index, 0)
            for first in range(0, BLOCK, tile.lanes):
                right, into = f.offset(self.at(b, chains.index, i64(BLOCK)), first, self.element), f.offset(place, first, self.element)
                for size, micro in self.micro.items():
                    with f.when(f.compare("eq", here, size)):
                        f.call(f"@{micro}", start, across, i64(1), right, i64(BLOCK), length, zeros, i64(0), into, i64(BLOCK), more)

    def apply(self, target: Value, pitch: Value, count: Value) -> None:
        """Apply the panel that is prepared to ``count`` columns, given from its first row on."""
        f = self.f
        with f.loop(0, count, TOGETHER) as loop:
            here = self.smaller(f.sub(count, loop.index), i64(TOGETHER))
            columns = self.at(target, loop.index, pitch)
            self._products(columns, pitch, here, self.lines, self.length, self.sums)
            self._products(self.sums, i64(BLOCK), here, self.t, i64(BLOCK), self.scaled)
            self.multiply(i64(0), self.length, here, self.scaled, i64(BLOCK), 1, self.size, self.packed, i64(0), columns, pitch)

    # -- one reflection -----------------------------------------------------------------------------------------------

    def _reflection(self, column: Value, step: Value) -> Value:
        """Make what is below the diagonal in a column v and the diagonal element that of R; gives tau, which is 0 if all was 0 below."""
        f = self.f
        largest, below = self._largest(column, step)
        scale = self._power(largest)
        alpha = f.mul(self.get(column, step), scale)
        beta = f.neg(f.intrinsic("copysign", f.intrinsic("sqrt", self._squares(column, step, scale)), alpha))
        some = f.compare("une", below, 0.0)
        with f.when(some):
            self.scale(column, step, self.rows, scale, f.binary("fdiv", constant(self.element, 1.0), f.sub(alpha, beta)))
            self.put(f.binary("fdiv", beta, scale), column, step)
        return f.select(some, f.binary("fdiv", f.sub(beta, alpha), beta), constant(self.element, 0.0))

    def _largest(self, column: Value, step: Value) -> tuple[Value, Value]:
        """The largest size of an element from row ``step`` on, and below it; NaN is as large as nothing else."""
        f, width = self.f, self.width
        edge = self.down(step)
        inside = f.compare("sgt", self.lanes(edge), f.splat(step, width))
        zero, bits = constant(self.tile.type, 0.0), "i32" if self.element == "float" else "i64"
        whole = vector(bits, width)  # bits of sizes are in their order, with NaN behind infinity, and are compared in one cycle
        with f.loop(edge, self.rows, width, [constant(whole, 0), inside]) as loop:
            most, inside = loop.carried
            size = f.intrinsic("fabs", f.select(inside, f.load(f.offset(column, loop.index, self.element), self.tile.type), zero))
            loop.carry(f.intrinsic("smax", most, f.cast("bitcast", size, whole)), constant(inside.type, 1))
        below = f.cast("bitcast", f.intrinsic("vector.reduce.smax", loop.carried[0], returns=bits), self.element)
        return f.intrinsic("maximum", below, f.intrinsic("fabs", self.get(column, step))), below

    def _power(self, largest: Value) -> Value:
        """The inverse of the power of two at or below a number, so that what is multiplied by it is exact and its square does not overflow."""
        f = self.f
        bits, mantissa, smallest = ("i32", 23, 2.0**-126) if self.element == "float" else ("i64", 52, 2.0**-1022)
        power = f.binary("and", f.cast("bitcast", f.intrinsic("maxnum", largest, constant(self.element, smallest)), bits), -(1 << mantissa))
        return f.binary("fdiv", constant(self.element, 1.0), f.cast("bitcast", power, self.element))

    def _squares(self, column: Value, step: Value, scale: Value) -> Value:
        """The sum of the squares of numbers times ``scale`` from row ``step`` on."""
        f, width = self.f, self.width
        edge, zero, scales = self.down(step), constant(self.tile.type, 0.0), f.splat(scale, width)
        inside = f.compare("sge", self.lanes(edge), f.splat(step, width))
        with f.loop(edge, self.rows, width, [zero, inside]) as loop:
            total, inside = loop.carried
            number = f.select(inside, f.load(f.offset(column, loop.index, self.element), self.tile.type), zero)
            number = f.mul(number, scales)
            loop.carry(f.fma(number, number, total), constant(inside.type, 1))
        return f.halved("fadd", loop.carried[0], 1)


class _QR(Reflections, Decomposition):
    name = "packed"

    def attach(self, matrix: Value) -> None:
        self.taus = self.f.offset(self.buffer("to.taus"), self.f.mul(matrix, self.steps), self.element)

    def panel(self, first: Value, last: Value) -> None:
        f, rows = self.f, self.rows
        with f.loop(first, last, NEAR) as groups:
            end = self.smaller(f.add(groups.index, NEAR), last)
            with f.loop(groups.index, end) as loop:
                step, following = loop.index, f.add(loop.index, 1)
                column, right = self.at(self.work, step, self.pitch), self.at(self.work, following, self.pitch)
                tau = self._reflection(column, step)
                self.put(tau, self.taus, step)
                self.reflect(column, tau, step, rows, right, self.pitch, f.sub(end, following))
            with f.loop(end, last, NEAR) as columns:
                here = self.smaller(f.sub(last, columns.index), i64(NEAR))
                with f.loop(groups.index, end) as steps:
                    column, target = self.at(self.work, steps.index, self.pitch), self.at(self.work, columns.index, self.pitch)
                    self.reflect(column, self.get(self.taus, steps.index), steps.index, rows, target, self.pitch, here)
        if self.structure.blocked:
            with f.when(f.compare("slt", last, self.count)):
                self.prepare(self.work, self.pitch, first, last, rows, self.taus, adjoint=True)

    def update(self, first: Value, last: Value, begin: Value, end: Value) -> None:
        if self.structure.blocked:
            f = self.f
            self.length, self.size = f.sub(self.rows, first), f.sub(last, first)
            self.apply(self.at(self.work, begin, self.pitch, first), self.pitch, f.sub(end, begin))
        else:
            with self.f.loop(first, last) as steps:
                column, target = self.at(self.work, steps.index, self.pitch), self.at(self.work, begin, self.pitch)
                tau = self.get(self.taus, steps.index)
                self.reflect(column, tau, steps.index, self.rows, target, self.pitch, self.f.sub(end, begin))


class _Reflection(Reflections):
    def emit(self) -> None:
        f, read = self.f, self.read
        flags = self.structure.flags
        self.rows, self.pitch, self.steps = read("rows"), read("pitch"), read("steps")
        self.work = self.scratch("work")
        self.find_areas(f.parameters[4])
        with f.loop(f.parameters[2], f.parameters[3]) as tiles:
            matrix = f.binary("udiv", tiles.index, read("blocks"))
            self.first = f.mul(f.sub(tiles.index, f.mul(matrix, read("blocks"))), read("block"))
            self.count = self.smaller(f.sub(read("columns"), self.first), read("block"))
            place = f.mul(self.rows, f.add(f.mul(matrix, read("columns")), self.first))
            self.source = f.offset(self.buffer("packed"), f.mul(matrix, f.mul(self.rows, read("width"))), self.element)
            self.taus = f.offset(self.buffer("taus"), f.mul(matrix, self.steps), self.element)
            self._start(place)
            panels = f.binary("sdiv", f.add(self.steps, BLOCK - 1), i64(BLOCK))
            with f.loop(0, panels) as loop:
                panel = loop.index if "adjoint" in flags else f.sub(f.sub(panels, loop.index), 1)
                begin = f.mul(panel, BLOCK)
                self._panel(begin, self.smaller(f.add(begin, BLOCK), self.steps))
            self.store(self.work, self.pitch, self.rows, self.count, f.offset(self.buffer("to.product"), place, self.element), self.rows)

    def _start(self, place: Value) -> None:
        f = self.f
        if "identity" not in self.structure.flags:
            self.load(f.offset(self.buffer("b"), place, self.element), self.rows, self.rows, self.count, self.work, self.pitch)
            return
        self.identity(self.work, self.pitch, self.first, self.count)

    def _panel(self, first: Value, last: Value) -> None:
        """Apply a panel; the columns of the identity before it do not have its rows."""
        f, begin = self.f, i64(0)
        if "identity" in self.structure.flags:
            begin = f.intrinsic("smax", f.sub(first, self.first), i64(0))
        count = f.sub(self.count, begin)
        adjoint = "adjoint" in self.structure.flags
        with f.when(f.compare("sgt", count, 0)):
            target = self.at(self.work, begin, self.pitch)
            if self.structure.blocked:
                self.prepare(self.source, self.rows, first, last, self.rows, self.taus, adjoint)
                self.apply(f.offset(target, first, self.element), self.pitch, count)
            else:
                self._one_by_one(first, f.sub(last, first), target, count, f.add(self.first, begin))

    def _one_by_one(self, first: Value, size: Value, target: Value, count: Value, number: Value) -> None:
        """Apply ``size`` reflections to columns, of which the first has this ``number``: a few of them stay in the first-level cache meanwhile."""
        f, flags = self.f, self.structure.flags
        self.load(self.at(self.source, first, self.rows), self.rows, self.rows, size, self.v, self.pitch)
        with f.loop(0, count, NEAR) as columns:
            here = self.smaller(f.sub(count, columns.index), i64(NEAR))
            with f.loop(0, size) as steps:
                index = steps.index if "adjoint" in flags else f.sub(f.sub(size, steps.index), 1)
                step, behind = f.add(first, index), f.add(number, f.add(columns.index, here))
                # Columns of the identity have nothing yet in the rows of reflections behind them.
                with f.when(f.compare("slt", step, behind) if "identity" in flags else constant("i1", 1)):
                    v, tau = self.at(self.v, index, self.pitch), self.get(self.taus, step)
                    self.reflect(v, tau, step, self.rows, self.at(target, columns.index, self.pitch), self.pitch, here)
