"""Nests whose lanes are neighbouring results: a tile is a block of them, and each phase walks down its positions.

A tile is many vectors wide, so that each line that it reads is some kilobytes long (a page has to be found for each), and has its lanes (a line
of results each) in memory, where they stay in the second-level cache: several positions of a lane are added while it is in registers. What is
known once for each result lies in a line of its own, a *slot*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from flambeau._codegen import scalar
from flambeau._codegen.ir import Value, bits, element_type, i64, vector
from flambeau._codegen.loops.body import Body
from flambeau._codegen.loops.reducing import Chunks, Total, combine, grouped, is_ordered, neutral, take
from flambeau._codegen.loops.spec import CHUNK, EFFECTS, LANES, VECTOR, LoopSpec
from flambeau._codegen.scalar import Operand
from flambeau._types.dtype import BOOL
from flambeau._types.dtype import dtype as DType

AtVector = Callable[[Value, "Value | None"], None]
"""What is done at a vector of results: ``(the first of them, counted from the tile's, mask)``."""
LANE_BYTES = 128 << 10
"""Memory for the lanes of a tile: it should leave room in the second-level cache."""
MOST_VECTORS = 64
ROWS = (8, 2)
"""Positions of a lane that are added while it is in registers: as many, or else as many. Sums over rows of 4096² with tiles of 1024 results, on a
Zen 4: one by one 9 GB/s, by twos 13, by fours 18, by eights 24 (with tiles of 128 results 8, 11, 15 and 18)."""
MOST_COPIES = 32
"""Instructions of a phase that are written out for several positions."""
NEAR = 1 << 13
"""The elements of a tile during which the next one is asked for: sums over the third of (32, 64, 56, 56), whose lanes jump about in 12 KB, took 1.3 times as
long without, and those over the second twice as long with it."""
APART = 33
"""Vectors between the lanes of two reductions: a load that lies a multiple of 4096 bytes from a store just before waits for it."""


def most_vectors(spec: LoopSpec) -> int:
    """How many vectors of results a tile may have: a structural number, since it fixes their memory."""
    line = sum(VECTOR * _bytes(instr.dtype) * (LANES if is_ordered(instr) else 1) for instr in spec.body if instr.op == "reduce")
    vectors = MOST_VECTORS
    while vectors > 1 and line * vectors > LANE_BYTES:
        vectors //= 2
    return vectors


def _bytes(of: DType) -> int:
    return sum(max(1, bits(type) // 8) for type in scalar.register_types(of, 1))


class Line:
    """Memory for an operand of every result of a tile, or for several such lines."""

    def __init__(self, body: Body, of: DType, vectors: int, lines: int = 1, pitch: Value | None = None) -> None:
        self.f = body.f
        self.pitch = pitch
        self.is_bool = of.category == BOOL
        self.types = [vector("i8", VECTOR)] if self.is_bool else scalar.register_types(of, VECTOR)
        apart = APART + lines if lines > 1 else 0
        self.memory = [self.f.alloca(type, vectors * lines + apart) for type in self.types]

    def _places(self, at: Value, line: Value | None) -> list[tuple[Value, str]]:
        if line is not None and self.pitch is not None:
            at = self.f.add(at, self.f.mul(line, self.pitch))
        return [(self.f.offset(memory, at, element_type(type)), type) for memory, type in zip(self.memory, self.types, strict=True)]

    def load(self, at: Value, line: Value | None = None, instead: tuple[Value, Line] | None = None) -> Operand:
        """A vector of results, the first of which is the tile's ``at``-th; or, where a condition holds, the first vector of another line."""
        places = self._places(at, line)
        if instead is not None:
            places = [
                (self.f.select(instead[0], memory, place), type) for memory, (place, type) in zip(instead[1].memory, places, strict=True)
            ]
        parts = [self.f.load(place, type, align=_align(type)) for place, type in places]
        return scalar.pack([self.f.compare("ne", part, 0) if self.is_bool else part for part in parts])

    def store(self, operand: Operand, at: Value, line: Value | None = None) -> None:
        for part, (place, type) in zip(scalar.unpack(operand), self._places(at, line), strict=True):
            if part.width != VECTOR:
                part = self.f.splat(part, VECTOR)
            self.f.store(self.f.cast("zext", part, type) if self.is_bool else part, place, align=_align(type))


def _align(type: str) -> int:
    return min(64, VECTOR * bits(type) // 8)


class _Phase(NamedTuple):
    """What a phase has to do.

    Attributes:
        reductions, stores: what is due
        ordered: the reductions that have lanes
        once: what is computed for a position, whatever the result
        needs: what is computed for a position and is not known before
        rows: how many positions of a lane are added together, the most first; the rest follow one by one
    """

    reductions: list[int]
    stores: list[int]
    ordered: list[int]
    once: list[int]
    needs: list[int]
    rows: tuple[int, ...]


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
        self.next: dict[int, Value] = {}  # where the next tile is, in digits
        self.passing: set[int] = set()  # what is known once for each result, and wanted only while it is computed
        reductions = [(number, instr) for number, instr in enumerate(self.spec.body) if instr.op == "reduce"]
        # An odd number of vectors from one lane to the next: lanes that lie a multiple of 4096 bytes apart would push each other out of the cache.
        pitch = self.f.binary("or", self.tile, VECTOR)
        self.lanes = {
            number: Line(body, instr.dtype, self.vectors, LANES if is_ordered(instr) else 1, pitch) for number, instr in reductions
        }
        self.neutral = {number: Line(body, instr.dtype, 1) for number, instr in reductions if is_ordered(instr)}
        self.totals = {number: Total(self.f, instr) for number, instr in reductions}
        self.total_lines = {
            number: [Line(body, total.dtype, self.vectors) for _ in range(1 + total.is_compensated)]
            for number, total in self.totals.items()
        }

    def emit(self) -> None:
        body, f = self.body, self.f
        known = dict(body.values)
        self._prepare()
        with f.loop(body.begin, body.end) as tiles:
            self._look_ahead(f.add(tiles.index, 1))
            row = f.binary("udiv", tiles.index, self.blocks)
            self._enter(row, f.sub(tiles.index, f.mul(row, self.blocks)))
            stored: set[int] = set()
            self._at_results(0, stored)
            for phase in range(body.phases):
                self._walk(phase)
                self._at_results(phase + 1, stored)
            self._leave(known)

    def _look_ahead(self, tile: Value) -> None:
        """Remember where the results of another tile begin."""
        body, f = self.body, self.f
        row = f.binary("udiv", tile, self.blocks)
        body.unravel(row, list(range(self.spec.outer)))
        body.places[body.vector_digit] = f.mul(f.sub(tile, f.mul(row, self.blocks)), self.tile)
        self.next = {digit: body.places[digit] for digit in self.outside}

    def _distances(self, numbers: Iterable[int]) -> dict[int, Value]:
        """How far the next tile lies from this one, for each access along memory that some instructions load at each position; 0 if tiles are large."""
        body, f = self.body, self.f
        is_near = f.compare("sle", f.mul(self.chunks.length, self.count), i64(NEAR))
        loads = [self.spec.body[number] for number in numbers if self.spec.body[number].op == "load" and body.is_inner(number)]
        result: dict[int, Value] = {}
        for access in sorted({instr.attrs[0] for instr in loads if not instr.attrs[1] and self.spec.accesses[instr.attrs[0]].vector == 1}):
            distance = f.sub(self.next[body.vector_digit], self.first)
            for digit, stride in body.strides[access].items():
                if digit in self.outer:
                    distance = f.add(distance, f.mul(f.sub(self.next[digit], body.places[digit]), stride))
            result[access] = f.select(is_near, distance, i64(0))
        return result

    def _prepare(self) -> None:
        for number, line in self.neutral.items():
            line.store(self._start(number), i64(0))

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

    def across(self, at_vector: AtVector) -> None:
        """Loops over the vectors of the tile: ``at_vector(first result of the vector, mask)``."""
        self._whole_vectors(at_vector)
        self._last_vector(at_vector)

    def _whole_vectors(self, at_vector: AtVector) -> None:
        body, f = self.body, self.f
        with f.loop(0, f.binary("and", self.count, i64(-VECTOR)), VECTOR) as vectors:
            body.places[body.vector_digit] = f.add(self.first, vectors.index)
            known = dict(body.values)
            at_vector(vectors.index, None)
            body.values = known

    def _last_vector(self, at_vector: AtVector) -> None:
        """What is no whole vector, if there is any."""
        body, f = self.body, self.f
        with f.loop(f.binary("and", self.count, i64(-VECTOR)), self.count, VECTOR) as vectors:
            body.places[body.vector_digit] = f.add(self.first, vectors.index)
            known = dict(body.values)
            at_vector(vectors.index, body.first_lanes(f.sub(self.count, vectors.index), VECTOR))
            body.values = known

    def _recall(self, numbers: Sequence[int], at: Value) -> None:
        """Load from their slots what is known for each result."""
        for number in numbers:
            if number in self.slots and number not in self.body.values:
                value = self.slots[number].load(at)
                if number in self.body.guards:  # one value for all lanes
                    assert isinstance(value, Value)
                    value = self.f.extract(value, 0)
                self.body.values[number] = value

    def _at_results(self, phase: int, stored: set[int]) -> None:
        """What is known once for each result by the start of a phase: scalars in registers, vectors in slots."""
        body = self.body
        for number in body.known_at(self.outer, phase):
            if all(argument in body.values for argument in self.spec.body[number].args):
                body.values[number] = body.compute(number, 1, None)
        new = [number for number in body.known_at(self.outside, phase) if number not in self.slots and number not in self.passing]
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
        here = {*new, *due}
        wanted = {number for user, instr in enumerate(self.spec.body) if user not in here for number in instr.args}
        self.passing.update(number for number in new if number not in wanted)
        for number in new:
            if number in wanted:
                self.slots[number] = Line(body, self.spec.body[number].dtype, self.vectors)

        def at_vector(at: Value, mask: Value | None) -> None:
            for number in new:
                self._recall(self.spec.body[number].args, at)
                body.values[number] = body.compute(number, VECTOR, mask)
                if number in self.slots:
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
        self._each_vector(reductions, lambda number, at: self._set_total(number, at, self.totals[number].start(VECTOR)))

        def chunk(first_line: Value, last_line: Value, first: Value, last: Value, totals: list[Value]) -> list[Value]:
            self.chunk(reductions, stores, first_line, last_line, first, last)
            self._each_vector(reductions, self._add)
            return totals

        self.chunks.each([], chunk)
        for number in reductions:
            self.slots[number] = Line(body, self.spec.body[number].dtype, self.vectors)
        self._each_vector(reductions, self._finish)
        for number in reductions:
            if not body.is_vector(number):  # all results are alike
                first = self.slots.pop(number).load(i64(0))
                body.values[number] = scalar.pack([f.extract(part, 0) for part in scalar.unpack(first)])

    def _each_vector(
        self, numbers: Sequence[int], do: Callable[[int, Value], None], start: Value | None = None, stop: Value | None = None
    ) -> None:
        """Loops over the vectors (of all results, or some) that a tile has in memory of ours (whole ones): ``do(number, first result of the vector)``."""
        with self.f.loop(start or i64(0), stop or self.count, VECTOR) as vectors:
            for number in numbers:
                do(number, vectors.index)

    def _start(self, number: int) -> Operand:
        instr = self.spec.body[number]
        return scalar.pack(neutral(instr, instr.dtype, VECTOR))

    def _total(self, number: int, at: Value) -> list[Value]:
        return [part for line in self.total_lines[number] for part in scalar.unpack(line.load(at))]

    def _set_total(self, number: int, at: Value, values: list[Value]) -> None:
        lines = self.total_lines[number]
        count = len(values) // len(lines)
        for place, line in enumerate(lines):
            line.store(scalar.pack(values[place * count : (place + 1) * count]), at)

    def _add(self, number: int, at: Value) -> None:
        self._set_total(number, at, self.totals[number].add(self._total(number, at), self.lanes[number].load(at)))

    def _finish(self, number: int, at: Value) -> None:
        self.slots[number].store(self.totals[number].rounded(self._total(number, at)), at)

    def chunk(self, reductions: list[int], stores: list[int], first_line: Value, last_line: Value, first: Value, last: Value) -> None:
        """One chunk; leaves the folded lanes of each reduction in its first lane."""
        f = self.f
        phase = self._phase(reductions, stores)
        length = f.sub(last, first)
        halvings = self._halvings(length)
        taking = f.intrinsic("smax", f.binary("shl", i64(1), halvings), i64(4))  # so many lanes have a position, or count as if they had
        held = i64(0)  # results of which lanes are in registers
        if phase.rows and not self.spec.reduced and phase.ordered == reductions:
            is_short = f.compare("slt", length, i64(LANES * phase.rows[0]))
            held = f.select(is_short, f.binary("and", self.count, i64(-VECTOR)), i64(0))
            with f.when(is_short):
                self._by_fours(phase, first, last, taking)
        with f.loop(length, f.binary("shl", i64(1), halvings)) as lanes:  # lanes that no position belongs to
            self._each_vector(
                phase.ordered, lambda number, at: self.lanes[number].store(self._start(number), at, lanes.index), held, self.count
            )
        others = [number for number in reductions if number not in phase.ordered]
        self._each_vector(others, lambda number, at: self.lanes[number].store(self._start(number), at))

        def line(is_first: Value, carried: list[Value]) -> list[Value]:
            if not phase.rows:
                self._one_by_one(phase, is_first, first, first, last, self.across)
                return carried
            start, stop = first, f.select(f.compare("sge", f.sub(self.count, held), VECTOR), last, first)
            for rows in phase.rows:
                whole = f.add(start, f.binary("and", f.sub(stop, start), i64(-LANES * rows)))
                self._rows(phase, rows, is_first, start, whole, first)
                start = whole
            self._one_by_one(phase, is_first, first, start, stop, self._whole_vectors)
            self._last_vector(lambda at, mask: self._by_lanes(phase, at, mask, is_first, first, last))
            return carried

        self.chunks.lines_of(first_line, last_line, [], line)
        self._fold(phase.ordered, halvings, held, self.count)
        if held.text != "0":
            self._fold(phase.ordered, f.intrinsic("smax", f.sub(halvings, 2), i64(0)), i64(0), held)

    def _by_fours(self, phase: _Phase, first: Value, last: Value, taking: Value) -> None:
        """A short run, of which so many lanes are ``taking`` part: four at a time in registers, which are folded before they are stored. (The lanes of 16
        positions were a store and a load of memory each, and half of the time of an image of 4².)"""
        body, f = self.body, self.f
        instrs = [self.spec.body[number] for number in phase.reductions]
        (run,) = self.spec.run_digits
        ahead = self._distances(phase.needs) if self.next else {}

        def at_vector(at: Value, _: Value | None) -> None:
            self._recall(list(self.slots), at)
            quarter = f.binary("lshr", taking, 2)
            with body.along(digit for digit in range(self.spec.digits) if digit != run), f.loop(0, quarter) as lanes:

                def lane(quarters: int) -> list[Operand]:
                    start = [part for instr in instrs for part in neutral(instr, instr.dtype, VECTOR)]
                    further = f.add(lanes.index, f.mul(quarter, i64(quarters)))
                    with f.loop(f.add(first, further), last, LANES, start) as positions:
                        known = dict(body.values)
                        body.places[run] = positions.index
                        for access, distance in ahead.items():
                            of = self.spec.accesses[access].dtype
                            assert of is not None
                            f.prefetch(body.element(body.pointer(access), distance, of))
                        after = grouped(instrs, positions.carried)
                        self._at_position(phase, None, after)
                        positions.carry(*(part for operand in after for part in scalar.unpack(operand)))
                        body.values = known
                    return grouped(instrs, positions.carried)

                def both(one: list[Operand], other: list[Operand]) -> list[Operand]:
                    return [combine(f, instr, *pair) for instr, *pair in zip(instrs, one, other, strict=True)]

                four = both(both(lane(0), lane(2)), both(lane(1), lane(3)))
                for number, operand in zip(phase.reductions, four, strict=True):
                    self.lanes[number].store(operand, at, lanes.index)

        self._whole_vectors(at_vector)

    def _halvings(self, length: Value) -> Value:
        """How often lanes are folded by halves: as many lanes take part as positions have, at most ``LANES``, and a power of two."""
        f = self.f
        longest = f.intrinsic("smin", length, i64(LANES))
        return f.sub(i64(64), f.intrinsic("ctlz", f.sub(longest, 1), Value("false", "i1")))

    def _phase(self, reductions: list[int], stores: list[int]) -> _Phase:
        body = self.body
        needs = body.needed((*reductions, *stores), self.slots)
        rows = list(ROWS) if len(self.spec.run_digits) == 1 and reductions else []
        while rows and rows[0] > 2 and rows[0] * (len(needs) + len(reductions)) > MOST_COPIES:
            rows[0] //= 2
        ordered = [number for number in reductions if is_ordered(self.spec.body[number])]
        return _Phase(
            reductions, stores, ordered, [number for number in needs if not body.is_vector(number)], needs, tuple(dict.fromkeys(rows))
        )

    def _is_fresh(self, is_first: Value, position: Value, first: Value) -> Value:
        """Whether nothing has been added to the lane of a position."""
        return self.f.binary("and", is_first, self.f.compare("slt", position, self.f.add(first, LANES)))

    def _rows(self, phase: _Phase, count: int, is_first: Value, start: Value, stop: Value, first: Value) -> None:
        """Positions of a run of one digit, several of the same lane together."""
        f = self.f
        with f.loop(start, stop, LANES * count) as blocks, f.loop(0, LANES) as lanes:
            position = f.add(blocks.index, lanes.index)
            together = [f.add(position, row * LANES) for row in range(count)]
            self._visit(phase, together, self._is_fresh(is_first, position, first), self._whole_vectors)

    def _one_by_one(
        self, phase: _Phase, is_first: Value, first: Value, start: Value, stop: Value, across: Callable[[AtVector], None]
    ) -> None:
        self._positions(start, stop, lambda position: self._visit(phase, [position], self._is_fresh(is_first, position, first), across))

    def _by_lanes(self, phase: _Phase, at: Value, mask: Value | None, is_first: Value, first: Value, last: Value) -> None:
        """All positions of a vector that is not whole, as many of a lane together as ``_rows`` takes, but in a loop.

        A load with a mask is long code without AVX-512: written out, these were half of a kernel.
        """
        body, f = self.body, self.f
        self._recall(list(self.slots), at)
        instrs = [self.spec.body[number] for number in phase.reductions]
        (run,) = self.spec.run_digits
        with (
            body.along(digit for digit in range(self.spec.digits) if digit != run),
            f.loop(first, last, LANES * phase.rows[0]) as blocks,
            f.loop(0, f.intrinsic("smin", f.sub(last, blocks.index), i64(LANES))) as lanes,
        ):
            start = f.add(blocks.index, lanes.index)
            end = f.intrinsic("smin", last, f.add(blocks.index, LANES * phase.rows[0]))
            is_fresh = self._is_fresh(is_first, start, first)
            before = [self._lane(number, at, lanes.index, is_fresh if number in phase.ordered else None) for number in phase.reductions]
            with f.loop(start, end, LANES, [part for operand in before for part in scalar.unpack(operand)]) as positions:
                known = dict(body.values)
                body.places[run] = positions.index
                after = grouped(instrs, positions.carried)
                self._at_position(phase, mask, after)
                positions.carry(*(part for operand in after for part in scalar.unpack(operand)))
                body.values = known
            for number, operand in zip(phase.reductions, grouped(instrs, positions.carried), strict=True):
                self.lanes[number].store(operand, at, lanes.index if number in phase.ordered else i64(0))

    def _at_position(self, phase: _Phase, mask: Value | None, lanes: list[Operand]) -> None:
        """What a phase does at one position for one vector of results; ``lanes``, one for each reduction, take it up."""
        body = self.body
        for number in phase.stores:
            body.effect(number, VECTOR, mask)
        for place, number in enumerate(phase.reductions):
            instr = self.spec.body[number]
            body.require(instr.args[0], VECTOR, mask)
            lanes[place] = take(self.f, instr, lanes[place], body.widened(instr.args[0], VECTOR))

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

    def _visit(self, phase: _Phase, positions: list[Value], is_fresh: Value, across: Callable[[AtVector], None]) -> None:
        """All that a phase does at some positions of one lane, for each vector of results (that ``across`` goes to)."""
        body, f = self.body, self.f
        known = dict(body.values)
        stands = []
        for position in positions:
            if len(self.spec.run_digits) == 1:
                body.places[self.spec.run_digits[0]] = position
            for number in phase.once:
                if number not in body.values and all(argument in body.values for argument in self.spec.body[number].args):
                    body.values[number] = body.compute(number, 1, None)
            stands.append((dict(body.values), body.stand(digit for digit in range(self.spec.digits) if digit != body.vector_digit)))
            body.values = dict(known)
        lane = f.binary("and", positions[0], i64(LANES - 1))

        def at_vector(at: Value, mask: Value | None) -> None:
            self._recall(list(self.slots), at)
            recalled = dict(body.values)
            before = [self._lane(number, at, lane, is_fresh if number in phase.ordered else None) for number in phase.reductions]
            for values, stand in stands:
                body.values = recalled | values
                with body.standing(stand):
                    self._at_position(phase, mask, before)
            for number, after in zip(phase.reductions, before, strict=True):
                self.lanes[number].store(after, at, lane if number in phase.ordered else i64(0))

        across(at_vector)
        body.values = known

    def _lane(self, number: int, at: Value, lane: Value, is_fresh: Value | None) -> Operand:
        """What a lane has so far."""
        line = self.lanes[number]
        if is_fresh is None:
            return line.load(at, i64(0))
        return line.load(at, lane, (is_fresh, self.neutral[number]))

    def _fold(self, numbers: list[int], halvings: Value, start: Value, stop: Value) -> None:
        """Combine lanes by halves, twice while a vector is in registers: the first with the one half of them further, and so on."""
        f = self.f
        if not numbers:
            return
        with f.loop(0, f.binary("lshr", halvings, 1)) as rounds:
            left = f.sub(halvings, f.mul(rounds.index, 2))
            quarter = f.binary("lshr", f.binary("shl", i64(1), left), 2)
            with f.loop(0, quarter) as lanes:
                places = [f.add(lanes.index, f.mul(quarter, number)) for number in (0, 2, 1, 3)]
                self._each_vector(numbers, partial(self._fold_lanes, places), start, stop)
        with f.when(f.cast("trunc", halvings, "i1")):
            self._each_vector(numbers, partial(self._fold_lanes, [i64(0), i64(1)]), start, stop)

    def _fold_lanes(self, lanes: list[Value], number: int, at: Value) -> None:
        """Combine neighbours of a list of lanes, and neighbours of those, into the first."""
        values = [self.lanes[number].load(at, lane) for lane in lanes]
        while len(values) > 1:
            values = [combine(self.f, self.spec.body[number], *pair) for pair in zip(values[::2], values[1::2], strict=True)]
        self.lanes[number].store(values[0], at, lanes[0])

    # -- split -----------------------------------------------------------------------------------------------------

    def emit_split(self) -> None:
        """A tile is one chunk of one block of results."""
        body, f = self.body, self.f
        results = f.mul(self.blocks, body.product(range(self.spec.outer)))
        per_line = self.chunks.per_line()
        known = dict(body.values)
        self._prepare()
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
