"""Nests whose lanes are neighbouring results: a tile is a block of them, and each phase walks down its positions.

A tile is several vectors wide, so that each line that it reads is some hundred bytes long, and has its lanes (a line of results each) in
memory, where they stay in the first-level cache. What is known once for each result lies in a line of its own, a *slot*.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from flambeau._codegen import scalar
from flambeau._codegen.ir import Value, bits, element_type, i64, vector
from flambeau._codegen.loops.body import Body
from flambeau._codegen.loops.reducing import Chunks, add_to_total, combine, is_ordered, neutral, total_dtype
from flambeau._codegen.loops.spec import CHUNK, EFFECTS, LANES, VECTOR, Instr, LoopSpec
from flambeau._codegen.scalar import Operand
from flambeau._types.dtype import BOOL
from flambeau._types.dtype import dtype as DType

LANE_BYTES = 32 << 10
"""Memory for the lanes of a tile: it should leave room in the first-level cache."""
MOST_VECTORS = 8
APART = 33
"""Vectors between the lanes of two reductions: a load that lies a multiple of 4096 bytes from a store just before waits for it."""


def most_vectors(spec: LoopSpec) -> int:
    """How many vectors of results a tile may have: a structural number, since it fixes the distance between lanes."""
    line = sum(VECTOR * _bytes(instr.dtype) * (LANES if is_ordered(instr) else 1) for instr in spec.body if instr.op == "reduce")
    vectors = MOST_VECTORS
    while vectors > 1 and line * vectors > LANE_BYTES:
        vectors //= 2
    return vectors


def _bytes(of: DType) -> int:
    return sum(max(1, bits(type) // 8) for type in scalar.register_types(of, 1))


class Line:
    """Memory for an operand of every result of a tile, or for several such lines."""

    def __init__(self, body: Body, of: DType, vectors: int, lines: int = 1) -> None:
        self.f = body.f
        self.size = vectors * VECTOR
        self.is_bool = of.category == BOOL
        self.types = [vector("i8", VECTOR)] if self.is_bool else scalar.register_types(of, VECTOR)
        apart = APART if lines > 1 else 0
        self.memory = [self.f.alloca(type, vectors * lines + apart) for type in self.types]

    def _places(self, at: Value, line: Value | None) -> list[tuple[Value, str]]:
        if line is not None:
            at = self.f.add(at, self.f.mul(line, i64(self.size)))
        return [(self.f.offset(memory, at, element_type(type)), type) for memory, type in zip(self.memory, self.types, strict=True)]

    def load(self, at: Value, line: Value | None = None) -> Operand:
        """A vector of results, the first of which is the tile's ``at``-th."""
        parts = [self.f.load(place, type, align=_align(type)) for place, type in self._places(at, line)]
        return scalar.pack([self.f.compare("ne", part, 0) if self.is_bool else part for part in parts])

    def store(self, operand: Operand, at: Value, line: Value | None = None) -> None:
        for part, (place, type) in zip(scalar.unpack(operand), self._places(at, line), strict=True):
            if part.width != VECTOR:
                part = self.f.splat(part, VECTOR)
            self.f.store(self.f.cast("zext", part, type) if self.is_bool else part, place, align=_align(type))


def _align(type: str) -> int:
    return min(64, VECTOR * bits(type) // 8)


class Column:
    def __init__(self, body: Body) -> None:
        self.body = body
        self.f = body.f
        self.spec = body.spec
        self.vectors = most_vectors(body.spec)
        self.chunks = Chunks(body)
        self.tile = self.f.mul(body.parameter(body.parameters.extent), i64(VECTOR))  # results in a tile
        self.extent = body.extents[body.vector_digit]
        self.blocks = self.f.binary("udiv", self.f.add(self.extent, self.f.sub(self.tile, i64(1))), self.tile)
        self.outer = frozenset(range(body.spec.outer))
        self.outside = self.outer | {body.vector_digit}
        self.slots: dict[int, Line] = {}
        reductions = [(number, instr) for number, instr in enumerate(self.spec.body) if instr.op == "reduce"]
        self.lanes = {number: Line(body, instr.dtype, self.vectors, LANES if is_ordered(instr) else 1) for number, instr in reductions}
        self.totals = {number: Line(body, total_dtype(instr), self.vectors) for number, instr in reductions}
        self.used_lanes = self.f.intrinsic("smin", self.chunks.length, i64(LANES))

    def emit(self) -> None:
        body, f = self.body, self.f
        known = dict(body.values)
        with f.loop(body.begin, body.end) as tiles:
            row = f.binary("udiv", tiles.index, self.blocks)
            self._enter(row, f.sub(tiles.index, f.mul(row, self.blocks)))
            stored: set[int] = set()
            self._at_results(0, stored)
            for phase in range(body.phases):
                self._walk(phase)
                self._at_results(phase + 1, stored)
            self._leave(known)

    def _enter(self, row: Value, block: Value) -> None:
        """Go to a tile."""
        body, f = self.body, self.f
        body.unravel(row, list(range(self.spec.outer)))
        self.first = f.mul(block, self.tile)
        self.count = f.intrinsic("smin", self.tile, f.sub(self.extent, self.first))
        self.slots = {}

    def _leave(self, known: dict[int, Operand]) -> None:
        self.body.values = dict(known)
        self.body.places.clear()

    def across(self, at_vector: Callable[[Value, Value | None], None]) -> None:
        """Loops over the vectors of the tile: ``at_vector(first result of the vector, mask)``."""
        body, f = self.body, self.f
        whole = f.binary("and", self.count, i64(-VECTOR))
        for start, stop in ((i64(0), whole), (whole, self.count)):
            with f.loop(start, stop, VECTOR) as vectors:
                body.places[body.vector_digit] = f.add(self.first, vectors.index)
                known = dict(body.values)
                at_vector(vectors.index, None if start.text == "0" else body.first_lanes(f.sub(self.count, vectors.index), VECTOR))
                body.values = known

    def _recall(self, numbers: Sequence[int], at: Value) -> None:
        """Load from their slots what is known for each result."""
        for number in numbers:
            if number in self.slots and number not in self.body.values:
                self.body.values[number] = self.slots[number].load(at)

    def _at_results(self, phase: int, stored: set[int]) -> None:
        """What is known once for each result by the start of a phase: scalars in registers, vectors in slots."""
        body = self.body
        for number in body.known_at(self.outer, phase):
            if all(argument in body.values for argument in self.spec.body[number].args):
                body.values[number] = body.compute(number, 1, None)
        new = [number for number in body.known_at(self.outside, phase) if number not in self.slots]
        due = [
            number
            for number, instr in enumerate(self.spec.body)
            if instr.op in EFFECTS and number not in stored and not body.is_inner(number) and body.phase[number] <= phase
        ]
        stored.update(due)
        for number in [number for number in due if not body.is_vector(number)]:
            body.effect(number, 1, None)
            due.remove(number)
        if not new and not due:
            return
        for number in new:
            self.slots[number] = Line(body, self.spec.body[number].dtype, self.vectors)

        def at_vector(at: Value, mask: Value | None) -> None:
            for number in new:
                self._recall(self.spec.body[number].args, at)
                body.values[number] = body.compute(number, VECTOR, mask)
                self.slots[number].store(body.values[number], at)
            for number in due:
                self._recall(self.spec.body[number].args, at)
                body.effect(number, VECTOR, mask)

        self.across(at_vector)

    # -- a phase ---------------------------------------------------------------------------------------------------

    def _walk(self, phase: int) -> None:
        body, f = self.body, self.f
        reductions, stores = body.wanted(phase)
        if not reductions and not stores:
            return
        self._each_vector(lambda at: [self._set(self.totals[number], self._start(number, wide=True), at) for number in reductions])

        def chunk(first_line: Value, last_line: Value, first: Value, last: Value, totals: list[Value]) -> list[Value]:
            self.chunk(reductions, stores, first_line, last_line, first, last)
            self._each_vector(partial(self._for_each, reductions, self._add))
            return totals

        self.chunks.each([], chunk)
        for number in reductions:
            self.slots[number] = Line(body, self.spec.body[number].dtype, self.vectors)
        self._each_vector(partial(self._for_each, reductions, self._finish))
        for number in reductions:
            if not body.is_vector(number):  # all results are alike
                first = self.slots.pop(number).load(i64(0))
                body.values[number] = scalar.pack([f.extract(part, 0) for part in scalar.unpack(first)])

    @staticmethod
    def _for_each(numbers: Sequence[int], act: Callable[[int, Value], None], at: Value) -> None:
        for number in numbers:
            act(number, at)

    def _each_vector(self, do: Callable[[Value], object]) -> None:
        """Loops over the vectors of a tile in memory of ours, which has whole vectors."""
        with self.f.loop(0, self.count, VECTOR) as vectors:
            do(vectors.index)

    def _start(self, number: int, wide: bool = False) -> Operand:
        instr = self.spec.body[number]
        return scalar.pack(neutral(instr, total_dtype(instr) if wide else instr.dtype, VECTOR))

    @staticmethod
    def _set(line: Line, operand: Operand, at: Value, lane: Value | None = None) -> None:
        line.store(operand, at, lane)

    def _add(self, number: int, at: Value) -> None:
        total = add_to_total(self.f, self.spec.body[number], self.totals[number].load(at), self.lanes[number].load(at))
        self.totals[number].store(total, at)

    def _finish(self, number: int, at: Value) -> None:
        instr = self.spec.body[number]
        self.slots[number].store(scalar.cast(self.f, self.totals[number].load(at), total_dtype(instr), instr.dtype), at)

    def chunk(self, reductions: list[int], stores: list[int], first_line: Value, last_line: Value, first: Value, last: Value) -> None:
        """One chunk; leaves the folded lanes of each reduction in its first lane."""
        body, f = self.body, self.f
        ordered = [number for number in reductions if is_ordered(self.spec.body[number])]
        for number in reductions:
            with f.loop(0, self.used_lanes if number in ordered else i64(1)) as lanes:
                self._each_vector(
                    lambda at, number=number, lanes=lanes: self._set(self.lanes[number], self._start(number), at, lanes.index)
                )
        needs = body.needed((*reductions, *stores), self.slots)
        once = [number for number in needs if body.vector_digit not in body.depends[number]]

        def line(carried: list[Value]) -> list[Value]:
            self._positions(first, last, lambda position: self._position(reductions, stores, ordered, once, position))
            return carried

        self.chunks.lines_of(first_line, last_line, [], line)
        if ordered:
            self._fold(ordered)

    def _positions(self, first: Value, last: Value, at: Callable[[Value], None]) -> None:
        """Loops over positions of the run, whose digits count as on a milometer."""
        body, f = self.body, self.f
        digits = list(self.spec.run_digits)
        body.unravel(first, digits)
        with f.loop(first, last, 1, [body.places[digit] for digit in digits]) as positions:
            body.places.update(zip(digits, positions.carried, strict=True))
            at(positions.index)
            positions.carry(*self._next(digits))

    def _next(self, digits: list[int]) -> list[Value]:
        body, f = self.body, self.f
        result: list[Value] = []
        step = i64(1)
        for digit in reversed(digits[1:]):
            place = f.add(body.places[digit], step)
            over = f.compare("eq", place, body.extents[digit])
            result.insert(0, f.select(over, i64(0), place))
            step = f.cast("zext", over, "i64")
        return [f.add(body.places[digit], step) for digit in digits[:1]] + result

    def _position(self, reductions: list[int], stores: list[int], ordered: list[int], once: list[int], position: Value) -> None:
        """All that a phase does at one position, for each vector of results."""
        body, f = self.body, self.f
        known = dict(body.values)
        for number in once:
            if number not in body.values and all(argument in body.values for argument in self.spec.body[number].args):
                body.values[number] = body.compute(number, 1, None)
        lane = f.binary("and", position, i64(LANES - 1))

        def at_vector(at: Value, mask: Value | None) -> None:
            self._recall(list(self.slots), at)
            for number in stores:
                body.effect(number, VECTOR, mask)
            for number in reductions:
                instr = self.spec.body[number]
                body.require(instr.args[0], VECTOR, mask)
                line = lane if number in ordered else i64(0)
                before = self.lanes[number].load(at, line)
                self.lanes[number].store(combine(f, instr, before, body.widened(instr.args[0], VECTOR)), at, line)

        with body.along(digit for digit in range(self.spec.digits) if digit != body.vector_digit):
            self.across(at_vector)
        body.values = known

    def _fold(self, ordered: list[int]) -> None:
        """Combine lanes by halves; those that no position belongs to are left out, being neutral."""
        f = self.f
        half = LANES // 2
        with f.loop(0, half.bit_length()) as steps:
            width = f.binary("lshr", i64(half), steps.index)
            pairs = f.intrinsic("smin", f.sub(self.used_lanes, width), width)
            with f.loop(0, pairs) as lanes:
                high = f.add(lanes.index, width)

                def fold(at: Value, low: Value = lanes.index, high: Value = high) -> None:
                    for number in ordered:
                        self._combine_lanes(self.spec.body[number], self.lanes[number], at, low, high)

                self._each_vector(fold)

    def _combine_lanes(self, instr: Instr, line: Line, at: Value, low: Value, high: Value) -> None:
        line.store(combine(self.f, instr, line.load(at, low), line.load(at, high)), at, low)

    # -- split -----------------------------------------------------------------------------------------------------

    def emit_split(self) -> None:
        """A tile is one chunk of one block of results."""
        body, f = self.body, self.f
        results = f.mul(self.blocks, body.product(range(self.spec.outer)))
        per_line = self.chunks.per_line()
        known = dict(body.values)
        with f.loop(body.begin, body.end) as tiles:
            part = f.binary("udiv", tiles.index, results)
            place = f.sub(tiles.index, f.mul(part, results))
            row = f.binary("udiv", place, self.blocks)
            self._enter(row, f.sub(place, f.mul(row, self.blocks)))
            group = f.binary("udiv", part, per_line)
            first = f.mul(f.sub(part, f.mul(group, per_line)), i64(CHUNK))
            line = f.mul(group, self.chunks.runs)
            last_line = f.intrinsic("smin", f.add(line, self.chunks.runs), self.chunks.lines)
            last = f.intrinsic("smin", f.add(first, CHUNK), self.chunks.length)
            self._at_results(0, set())
            reductions = body.wanted(0)[0]
            self.chunk(reductions, body.wanted(0)[1], line, last_line, first, last)

            def at_vector(at: Value, mask: Value | None) -> None:
                for position, number in enumerate(reductions):
                    place = body.parameters.partial + 3 * position
                    linear = f.mul(part, body.parameter(place + 2))
                    linear = f.add(linear, f.add(f.mul(row, self.extent), body.places[body.vector_digit]))
                    of = self.spec.body[number].dtype
                    scalar.store(f, self.lanes[number].load(at), body.element(body.buffer(place), linear, of), of, mask)

            self.across(at_vector)
            self._leave(known)
