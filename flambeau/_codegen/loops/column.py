"""Nests whose lanes are neighbouring results: a tile is a block of them, and each phase walks down its positions.

A tile is many vectors wide, so that each line that it reads is some kilobytes long (a page has to be found for each), and has its lanes (a line
of results each) in memory, where they stay in the second-level cache: several positions of a lane are added while it is in registers. What is
known once for each result lies in a line of its own, a *slot*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from flambeau._codegen import scalar
from flambeau._codegen.ir import Value, bits, i64
from flambeau._codegen.loops import lines
from flambeau._codegen.loops.body import Body
from flambeau._codegen.loops.lines import Line, new_line
from flambeau._codegen.loops.reducing import (
    Chunks,
    Total,
    combine,
    combined,
    grouped,
    in_turn,
    is_ordered,
    neutral,
    parts_of,
    selected,
    start_of,
    take,
)  # fmt: skip
from flambeau._codegen.loops.spec import CHUNK, EFFECTS, LANES, VECTOR, LoopSpec
from flambeau._codegen.scalar import Operand
from flambeau._types.dtype import dtype as DType

AtVector = Callable[[Value, "Value | None"], None]
"""What is done at a vector of results: ``(the first of them, counted from the tile's, mask)``."""
Aside = dict[int, list[tuple[Value, str]]]
"""Arrays of what instructions give at some positions of a lane, part by part, with the types of their elements."""
LANE_BYTES = 128 << 10
"""Memory for the lanes of a tile: it should leave room in the second-level cache."""
MOST_VECTORS = 64
ROWS = 8
"""Positions of a lane that are added while it is in registers. Sums over rows of 4096² with tiles of 1024 results, on a Zen 4: one by one 9 GB/s, by twos 13,
by fours 18, by eights 24 (with tiles of 128 results 8, 11, 15 and 18)."""
FEW = 4
"""So few instructions of a phase are written out for four positions, others for two (they were for eight, for two and for one, which was half of a kernel); of a short
run for four lanes, others once. Sums over 56 rows that the second-level cache holds took a tile 570 to 850 ns once, and take 350 (a core of a Zen 3)."""
SHORT = 128
"""The positions of a shorter run are added four lanes at a time, which stay in registers from the first to the last."""
NEAR = 1 << 13
"""The elements of a tile during which the next one is asked for: sums over the third of (32, 64, 56, 56), whose lanes jump about in 12 KB, took 1.3 times as
long without, and those over the second twice as long with it."""


def most_vectors(spec: LoopSpec) -> int:
    """How many vectors of results a tile may have: a structural number, since it fixes their memory."""
    line = sum(VECTOR * _bytes(instr.dtype) * (LANES if is_ordered(instr) else 1) for instr in spec.body if instr.op == "reduce")
    vectors = MOST_VECTORS
    while vectors > 1 and line * vectors > LANE_BYTES:
        vectors //= 2
    return vectors


def _bytes(of: DType) -> int:
    return sum(max(1, bits(type) // 8) for type in scalar.register_types(of, 1))


class _Phase(NamedTuple):
    """What a phase has to do.

    Attributes:
        reductions, stores: what is due
        ordered: the reductions that have lanes
        once: what is computed for a position, whatever the result
        needs: what is computed for a position and is not known before
        slots: what is known once for each result, and is needed
        by_lanes: whether several positions of a lane are added together: they lie along one digit
    """

    reductions: list[int]
    stores: list[int]
    ordered: list[int]
    once: list[int]
    needs: list[int]
    slots: list[int]
    by_lanes: bool


class _Lane(NamedTuple):
    """A lane: its ``line``, and where what it has so far lies: there, or if nothing has been added yet, in the only vector of another line (``mask`` is 0)."""

    line: Line
    before: Line
    mask: Value

    def load(self, at: Value) -> Operand:
        return self.before.load(self.line.f.binary("and", at, self.mask))


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
        is_even = self.f.compare("eq", self.f.binary("and", self.extent, i64(VECTOR - 1)), 0)  # no vector is moved from its place
        body.streams = {access: self.f.binary("and", streams, is_even) for access, streams in body.streams.items()}
        self.outer = frozenset(range(body.spec.outer))
        self.outside = self.outer | {body.vector_digit}
        self.slots: dict[int, Line] = {}
        self.next: dict[int, Value] = {}  # where the next tile is, in digits
        self.passing: set[int] = set()  # what is known once for each result, and wanted only while it is computed
        reductions = [(number, instr) for number, instr in enumerate(self.spec.body) if instr.op == "reduce"]
        # An odd number of vectors from one lane to the next: lanes that lie a multiple of 4096 bytes apart would push each other out of the cache.
        pitch = self.f.binary("or", self.tile, VECTOR)
        self.lanes = {
            number: new_line(self.f, instr.dtype, self.vectors, LANES if is_ordered(instr) else 1, pitch) for number, instr in reductions
        }
        self.neutral = {number: new_line(self.f, instr.dtype, 1) for number, instr in reductions if is_ordered(instr)}
        self.totals = {number: Total(self.f, instr) for number, instr in reductions}
        self.total_lines = {
            number: [new_line(self.f, total.dtype, self.vectors) for _ in range(1 + total.is_compensated)]
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
        self.whole = f.select(f.compare("sge", self.extent, VECTOR), self.count, i64(0))  # results in whole vectors
        self.slots = {}

    def _leave(self, known: dict[int, Operand]) -> None:
        self.body.values = dict(known)
        self.body.places.clear()

    def across(self, at_vector: AtVector) -> None:
        """Loops over the vectors of the tile: ``at_vector(first result of the vector, mask)``."""
        self._whole_vectors(at_vector)
        self._only_vector(at_vector)

    def _whole_vectors(self, at_vector: AtVector) -> None:
        """The last of them ends where the results do: some are computed twice, since what is written is not read."""
        body, f = self.body, self.f
        with f.loop(0, self.whole, VECTOR) as vectors:
            body.places[body.vector_digit] = f.intrinsic("smin", f.add(self.first, vectors.index), f.sub(self.extent, VECTOR))
            known = dict(body.values)
            at_vector(vectors.index, None)
            body.values = known

    def _only_vector(self, at_vector: AtVector) -> None:
        """The results if there are fewer than a vector has."""
        body, f = self.body, self.f
        with f.loop(self.whole, self.count, VECTOR) as vectors:
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
        """What is known once for each result by the start of a phase, and wanted by then: scalars in registers, vectors in slots."""
        body = self.body
        for number in body.known_at(self.outer, phase):
            if all(argument in body.values for argument in self.spec.body[number].args):
                body.values[number] = body.compute(number, 1, None)
        due = [
            number
            for number, instr in enumerate(self.spec.body)
            if instr.op in EFFECTS and number not in stored and not body.is_inner(number) and body.phase[number] <= phase
        ]
        stored.update(due)
        reductions, stores = body.wanted(phase)
        soon = body.needed((*reductions, *stores, *due), self.slots)
        new = [number for number in body.known_at(self.outside, phase) if number in soon and number not in self.passing]
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
                self.slots[number] = new_line(self.f, self.spec.body[number].dtype, self.vectors)

        def at_vector(at: Value, mask: Value | None) -> None:
            for number in new:
                self._recall(self.spec.body[number].args, at)
                body.values[number] = body.compute(number, VECTOR, mask)
                if number in self.slots:
                    self.slots[number].store(body.values[number], at)
            with self.f.stores_together():
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
        is_single = self.chunks.are_one()
        several = f.select(is_single, i64(0), self.count)  # results that have totals
        self._each_vector(reductions, lambda number, at: self._set_total(number, at, self.totals[number].start(VECTOR)), i64(0), several)

        def chunk(first_line: Value, last_line: Value, first: Value, last: Value, totals: list[Value]) -> list[Value]:
            self.chunk(reductions, stores, first_line, last_line, first, last)
            self._each_vector(reductions, self._add, i64(0), several)
            return totals

        self.chunks.each([], chunk)
        for number in reductions:
            self.slots[number] = new_line(self.f, self.spec.body[number].dtype, self.vectors)
        self._each_vector(reductions, self._finish, i64(0), several)
        self._each_vector(reductions, self._finish_single, several, self.count)
        for number in reductions:
            if not body.is_vector(number):  # all results are alike
                first = self.slots.pop(number).load(i64(0))
                body.values[number] = scalar.pack([f.extract(part, 0) for part in scalar.unpack(first)])

    def _each_vector(self, numbers: Sequence[int], do: Callable[[int, Value], None], first: Value, last: Value) -> None:
        """Loops over vectors that a tile has in memory of ours (whole ones): ``do(number, first result of the vector)``."""
        with self.f.loop(first, last, VECTOR) as vectors:
            for number in numbers:
                do(number, vectors.index)

    def _start(self, number: int) -> Operand:
        instr = self.spec.body[number]
        return scalar.pack(neutral(instr, instr.dtype, VECTOR))

    def _total(self, number: int, at: Value) -> list[Value]:
        return [part for line in self.total_lines[number] for part in scalar.unpack(line.load(at))]

    def _set_total(self, number: int, at: Value, values: list[Value]) -> None:
        memory = self.total_lines[number]
        count = len(values) // len(memory)
        for place, line in enumerate(memory):
            line.store(scalar.pack(values[place * count : (place + 1) * count]), at)

    def _add(self, number: int, at: Value) -> None:
        self._set_total(number, at, self.totals[number].add(self._total(number, at), self.lanes[number].load(at)))

    def _finish(self, number: int, at: Value) -> None:
        self.slots[number].store(self.totals[number].rounded(self._total(number, at)), at)

    def _finish_single(self, number: int, at: Value) -> None:
        """A single chunk has no need of a longer total: the number is the same."""
        self.slots[number].store(combine(self.f, self.spec.body[number], self._start(number), self.lanes[number].load(at)), at)

    def chunk(self, reductions: list[int], stores: list[int], first_line: Value, last_line: Value, first: Value, last: Value) -> None:
        """One chunk; leaves the folded lanes of each reduction in its first lane."""
        f = self.f
        phase = self._phase(reductions, stores)
        length = f.sub(last, first)
        held = i64(0)  # results of which lanes are in registers
        if phase.by_lanes and not self.spec.reduced and phase.ordered == reductions:
            is_short = f.compare("slt", length, i64(SHORT))
            held = f.select(is_short, self.whole, i64(0))
            with f.when(is_short):
                self._by_fours(phase, first, last)
        others = [number for number in reductions if number not in phase.ordered]
        if others:
            self._each_vector(others, lambda number, at: self.lanes[number].store(self._start(number), at), i64(0), self.count)

        def line(is_first: Value, carried: list[Value]) -> list[Value]:
            if phase.by_lanes:
                self._rows(phase, is_first, first, f.select(f.compare("slt", held, self.whole), last, first))
                self._only_vector(lambda at, mask: self._by_lanes(phase, at, mask, is_first, first, last))
            else:
                self._one_by_one(phase, is_first, first, last)
            return carried

        self.chunks.lines_of(first_line, last_line, [], line)
        for number in phase.ordered:
            lines.fold(f, self.spec.body[number], self.lanes[number], length, held, self.count)

    def _by_fours(self, phase: _Phase, first: Value, last: Value) -> None:
        """A short run: four lanes at a time in registers, which are folded before they are stored. (The lanes of 16 positions were a store and a load of
        memory each, and half of the time of an image of 4².)"""
        body, f = self.body, self.f
        instrs = [self.spec.body[number] for number in phase.reductions]
        (run,) = self.spec.run_digits
        ahead = self._distances(phase.needs) if self.next else {}
        # So many lanes have a position, or count as if they had; a quarter of them.
        taking = f.intrinsic("smax", f.binary("shl", i64(1), lines.halvings(f, f.sub(last, first))), i64(4))
        quarter = f.binary("lshr", taking, 2)
        further = lambda start, quarters: f.add(start, f.mul(quarter, quarters))

        def add(before: list[Operand], position: Value) -> list[Operand]:
            known, after = dict(body.values), list(before)
            body.places[run] = position
            for access, distance in ahead.items():
                of = self.spec.accesses[access].dtype
                assert of is not None
                f.prefetch(body.element(body.pointer(access), distance, of))
            self._at_position(phase, None, after)
            body.values = known
            return after

        def lane(start: Value) -> list[Operand]:
            with f.loop(start, last, LANES, start_of(instrs)) as positions:
                positions.carry(*parts_of(add(grouped(instrs, positions.carried), positions.index)))
            return grouped(instrs, positions.carried)

        def both(part: Callable[[Value], list[Operand]]) -> list[Operand]:
            """What ``part`` gives for 0 combined with what it gives for 1, in a loop, so that its code is there once."""
            with f.loop(0, 2, 1, start_of(instrs)) as halves:
                is_first = f.compare("eq", halves.index, 0)
                one, other = grouped(instrs, halves.carried), part(halves.index)
                halves.carry(*parts_of(selected(f, is_first, other, combined(f, instrs, one, other))))
            return grouped(instrs, halves.carried)

        def four(start: Value) -> list[Operand]:
            if len(phase.needs) + len(phase.reductions) + len(phase.stores) <= FEW:
                return in_turn(f, instrs, [further(start, i64(number)) for number in range(4)], last, add)
            return both(lambda half: both(lambda each: lane(further(start, f.add(half, f.mul(each, i64(2)))))))

        with body.along(self.outer), f.loop(0, quarter) as lanes:

            def at_vector(at: Value, _: Value | None) -> None:
                self._recall(phase.slots, at)
                with body.along(digit for digit in range(self.spec.digits) if digit != run):
                    for number, operand in zip(phase.reductions, four(f.add(first, lanes.index)), strict=True):
                        self.lanes[number].store(operand, at, lanes.index)

            self._whole_vectors(at_vector)

    def _phase(self, reductions: list[int], stores: list[int]) -> _Phase:
        body = self.body
        needs = body.needed((*reductions, *stores), self.slots)
        used = {argument for number in (*needs, *reductions, *stores) for argument in self.spec.body[number].args}
        ordered = [number for number in reductions if is_ordered(self.spec.body[number])]
        once = [number for number in needs if not body.is_vector(number)]
        by_lanes = len(self.spec.run_digits) == 1 and bool(reductions)
        return _Phase(reductions, stores, ordered, once, needs, sorted(used & self.slots.keys()), by_lanes)

    def _is_fresh(self, is_first: Value, position: Value, first: Value) -> Value:
        """Whether nothing has been added to the lane of a position."""
        return self.f.binary("and", is_first, self.f.compare("slt", position, self.f.add(first, LANES)))

    @contextmanager
    def _blocks(self, first: Value, last: Value) -> Iterator[tuple[Value, Value, Value]]:
        """Loops over the lanes of blocks of positions: ``(lane, its first position in the block, where the block ends)``."""
        f = self.f
        with f.loop(first, last, LANES * ROWS) as blocks:
            end = f.intrinsic("smin", last, f.add(blocks.index, LANES * ROWS))
            with f.loop(0, f.intrinsic("smin", f.sub(end, blocks.index), i64(LANES))) as lanes:
                yield lanes.index, f.add(blocks.index, lanes.index), end

    def _rows(self, phase: _Phase, is_first: Value, first: Value, last: Value) -> None:
        """Positions of a run of one digit, several of the same lane together, for whole vectors."""
        body = self.body
        still = frozenset(range(self.spec.digits)) - {*self.spec.run_digits}
        with body.along(still - {body.vector_digit}), self._blocks(first, last) as (lane, start, end):
            aside, lanes = self._set_aside(phase, start, end), self._lanes(phase, lane, self._is_fresh(is_first, start, first))

            def at_vector(at: Value, mask: Value | None) -> None:
                self._recall(phase.slots, at)
                with body.along(still):
                    self._add_positions(phase, at, mask, lanes, start, end, aside)

            self._whole_vectors(at_vector)

    def _by_lanes(self, phase: _Phase, at: Value, mask: Value | None, is_first: Value, first: Value, last: Value) -> None:
        """The same for a vector that is not whole."""
        body = self.body
        self._recall(phase.slots, at)
        still = frozenset(range(self.spec.digits)) - {*self.spec.run_digits}
        with body.along(still), self._blocks(first, last) as (lane, start, end):
            self._add_positions(phase, at, mask, self._lanes(phase, lane, self._is_fresh(is_first, start, first)), start, end, {})

    def _set_aside(self, phase: _Phase, start: Value, end: Value) -> Aside:
        """Compute what is the same for all results at some positions of a lane, before the results are gone through."""
        body, f = self.body, self.f
        users = {*phase.needs, *phase.reductions, *phase.stores}.difference(phase.once)
        numbers = [
            number
            for number in phase.once
            if any(number in self.spec.body[user].args for user in users) and not self.slots.keys() & body.needed([number])
        ]
        if not numbers:
            return {}
        aside = {
            number: [(f.alloca(type, ROWS), type) for type in scalar.register_types(self.spec.body[number].dtype, 1)] for number in numbers
        }
        with f.loop(start, end, LANES) as positions:
            known = dict(body.values)
            body.places[self.spec.run_digits[0]] = positions.index
            row = f.binary("udiv", f.sub(positions.index, start), i64(LANES))
            for number in numbers:
                body.require(number, 1, None)
                for part, (array, type) in zip(scalar.unpack(body.values[number]), aside[number], strict=True):
                    f.store(part, f.offset(array, row, type))
            body.values = known
        return aside

    def _add_positions(
        self, phase: _Phase, at: Value, mask: Value | None, lanes: Sequence[_Lane], start: Value, end: Value, aside: Aside
    ) -> None:
        """Add positions of a lane while it is in registers."""
        f = self.f
        instrs = [self.spec.body[number] for number in phase.reductions]
        carried = [part for lane in lanes for part in scalar.unpack(lane.load(at))]
        several = 4 if len(phase.needs) + len(phase.reductions) <= FEW else 2
        whole = f.add(start, f.binary("and", f.add(f.sub(end, start), LANES - 1), i64(-several * LANES)))
        for first, last, together in ((start, whole, several), (whole, end, 1)) if mask is None else ((start, end, 1),):
            with f.loop(first, last, LANES * together, carried) as positions:
                after = grouped(instrs, positions.carried)
                for number in range(together):
                    self._at_row(phase, mask, after, f.add(positions.index, number * LANES), start, aside)
                positions.carry(*(part for operand in after for part in scalar.unpack(operand)))
            carried = positions.carried
        for lane, operand in zip(lanes, grouped(instrs, positions.carried), strict=True):
            lane.line.store(operand, at)

    def _at_row(self, phase: _Phase, mask: Value | None, lanes: list[Operand], position: Value, start: Value, aside: Aside) -> None:
        """``_at_position`` with what has been set aside."""
        body, f = self.body, self.f
        known = dict(body.values)
        body.places[self.spec.run_digits[0]] = position
        for number, parts in aside.items():
            row = f.binary("udiv", f.sub(position, start), i64(LANES))
            body.values[number] = scalar.pack([f.load(f.offset(array, row, type), type) for array, type in parts])
            body.note_mask(number, body.values[number])
        self._at_position(phase, mask, lanes)
        body.values = known

    def _one_by_one(self, phase: _Phase, is_first: Value, first: Value, last: Value) -> None:
        """One position after the other."""
        self._positions(first, last, lambda position: self._visit(phase, position, self._is_fresh(is_first, position, first)))

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

    def _visit(self, phase: _Phase, position: Value, is_fresh: Value) -> None:
        """All that a phase does at a position, for each vector of results."""
        body, f = self.body, self.f
        known = dict(body.values)
        for number in phase.once:
            if number not in body.values and all(argument in body.values for argument in self.spec.body[number].args):
                body.values[number] = body.compute(number, 1, None)
        lanes = self._lanes(phase, f.binary("and", position, i64(LANES - 1)), is_fresh)

        def at_vector(at: Value, mask: Value | None) -> None:
            self._recall(phase.slots, at)
            after = [lane.load(at) for lane in lanes]
            self._at_position(phase, mask, after)
            for lane, operand in zip(lanes, after, strict=True):
                lane.line.store(operand, at)

        with body.along(digit for digit in range(self.spec.digits) if digit != body.vector_digit):
            self.across(at_vector)
        body.values = known

    def _lanes(self, phase: _Phase, lane: Value, is_fresh: Value) -> list[_Lane]:
        """The lane that a position belongs to, of each reduction."""
        f, found = self.f, []
        mask = f.select(is_fresh, i64(0), i64(-1))
        for number in phase.reductions:
            line = self.lanes[number].at(lane if number in phase.ordered else i64(0))
            if number in phase.ordered:
                memory = [f.select(is_fresh, *pair) for pair in zip(self.neutral[number].memory, line.memory, strict=True)]
                found.append(_Lane(line, Line(f, self.spec.body[number].dtype, memory), mask))
            else:
                found.append(_Lane(line, line, i64(-1)))
        return found

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
