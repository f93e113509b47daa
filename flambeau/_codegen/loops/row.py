"""Nests whose lanes lie along the run: a tile is one place of the outer digits, and each phase walks the row once.

Where the run has several digits (a group's channels and their pixels) and all that a phase reads moves along them as along one, the walk
is *flat*. Otherwise (a weight for each channel) it goes by *segments*, each as long as the last digit; so that a position's lane stays what
it is, the vectors of a sum start at multiples of the lanes and are masked at the ends of a segment. Where these are short, what is the same along
them is *repeated* in scratch memory first, and the walk is flat.
"""

from __future__ import annotations

from collections.abc import Iterable

from flambeau._codegen import scalar
from flambeau._codegen.ir import Value, i64
from flambeau._codegen.loops.body import Body
from flambeau._codegen.loops.reducing import Chunks, Total, fold, grouped, neutral, shared_out, take
from flambeau._codegen.loops.spec import CHUNK, COSTLY, EFFECTS, LANES, VECTOR, LoopSpec, accesses_of
from flambeau._codegen.loops.spreading import spread

LINE = 64
"""Bytes of a cache line."""
FAR = 1 << 16
"""A row of more elements pushes itself out of cache."""
MUCH = 10
"""A phase that stores nothing and computes more vectors (of 32 bits) at a position does so one register at a time, and its lanes wait in memory: its code is a third as long. (A loss
of 128 rows of 784 takes 0.98 of the time so, but softmax, which computes three, up to 1.4 times as long. One that stores would write half lines, and take 1.35
times as long in the caches and twice past them: a group norm's SiLU with its gradient.)"""


def kept(spec: LoopSpec, body: Body) -> list[int]:
    """The costly instructions of a row that more than one phase needs: they are kept in scratch memory after the first.

    What is the same along the last digit is not: it is computed once for each place of the others, or repeated."""
    if not spec.keep or spec.reduced or body.phases < 2:
        return []
    needs = []
    for phase in range(body.phases):
        reductions, stores = body.wanted(phase)
        needs.append(set(body.needed((*reductions, *stores))))
    found: list[int] = []
    for number, instr in enumerate(spec.body):
        costly = instr.op == "map" and instr.attrs[0] in COSTLY and body.is_vector(number) and not instr.dtype.is_complex
        if costly and sum(number in each for each in needs) > 1:
            found.append(number)
    return found


def repeated(spec: LoopSpec, body: Body) -> list[int]:
    """What is the same along the last digit of a row but not along the others, and is used with what is not, or summed."""
    if not spec.repeat:
        return []
    others, needs = frozenset(spec.run_digits[:-1]), set(range(len(spec.body)))
    if spec.repeat == "sums":
        phases = [body.wanted(phase) for phase in range(body.phases)]
        needs = {number for reductions, stores in phases if reductions for number in body.needed((*reductions, *stores))}
    users = [instr for number, instr in enumerate(spec.body) if body.is_vector(number) or instr.op == "reduce"]
    used = {argument for user in users for argument in user.args}
    level = lambda number: bool(body.depends[number] & others) and not body.is_vector(number)
    return [number for number, instr in enumerate(spec.body) if number in used & needs and instr.op != "reduce" and level(number)]


class Row:
    def __init__(self, body: Body) -> None:
        self.body = body
        self.f = body.f
        self.spec = body.spec
        self.chunks = Chunks(body)
        self.repeated = repeated(body.spec, body)
        self.kept = [*kept(body.spec, body), *self.repeated]
        self.in_scratch: set[int] = set()  # kept instructions that an earlier phase has stored, and repeated ones
        self.pitch = body.parameter(body.parameters.extent)
        self.outer = frozenset(range(body.spec.outer))
        self.still = frozenset(range(body.spec.digits)) - {body.vector_digit}
        self.ahead: dict[int, Value] = {}
        self.is_first = False  # whether this is the first phase
        self.register = VECTOR if "avx512f" in body.spec.features else VECTOR // 2  # elements of 32 bits
        # Where a phase that computes much has its lanes, part by part, and the types of their elements.
        self.waiting: list[tuple[Value, str]] = []

    def emit(self) -> None:
        body, f = self.body, self.f
        known = dict(body.values)
        is_read_again = any(any(body.wanted(phase)) for phase in range(1, body.phases))
        with f.loop(body.begin, body.end) as tiles:
            body.unravel(tiles.index, list(range(self.spec.outer)))
            self.in_scratch = set()
            self.ahead = self._distances(tiles.index) if is_read_again else {}
            stored: set[int] = set()
            with body.along(self.outer):
                self._at_place(0, stored)
                for phase in range(body.phases):
                    self.is_first = phase == 0
                    self._walk(phase)
                    self._at_place(phase + 1, stored)
            body.values = dict(known)
            body.places.clear()

    def _distances(self, tile: Value) -> dict[int, Value]:
        """How far the next row lies from this one, for each access that the first phase loads along the run."""
        body, f = self.body, self.f
        if not self.spec.outer:
            return {}
        reductions, stores = body.wanted(0)
        loads = [self.spec.body[number] for number in body.needed((*reductions, *stores)) if self.spec.body[number].op == "load"]
        here = dict(body.places)
        body.unravel(f.add(tile, 1), list(range(self.spec.outer)))
        near = f.compare("sle", self.chunks.length, i64(FAR))
        result: dict[int, Value] = {}
        for access in {instr.attrs[0] for instr in loads if not instr.attrs[1]}:
            if self.spec.accesses[access].vector == 1 and self.spec.accesses[access].flat:
                distance = i64(0)
                for digit, stride in body.strides[access].items():
                    if digit in self.outer:
                        distance = f.add(distance, f.mul(f.sub(body.places[digit], here[digit]), stride))
                result[access] = f.select(near, distance, i64(0))
        body.places.update(here)
        return result

    def _prefetch(self, width: int) -> None:
        """Ask for the next row while this one is read: memory would wait for arithmetic, and arithmetic for memory. (While the last phase writes, memory has
        enough to do: softmax and norms of rows of 4 KB took 15 % longer so.)"""
        for access, distance in self.ahead.items():
            of = self.spec.accesses[access].dtype
            assert of is not None
            pointer = self.body.element(self.body.pointer(access), distance, of)
            for line in range(0, width * of.itemsize, LINE):
                self.f.prefetch(self.f.offset(pointer, line, "i8"))

    def _at_place(self, phase: int, stored: set[int]) -> None:
        """What is known once for the whole row by the start of a phase."""
        body = self.body
        for number in body.known_at(self.outer, phase):
            body.values[number] = body.compute(number, 1, None)
        for number, instr in enumerate(self.spec.body):
            if instr.op in EFFECTS and number not in stored and not body.is_inner(number) and body.phase[number] <= phase:
                body.effect(number, 1, None)
                stored.add(number)

    def _repeat(self, phase: int) -> None:
        """Repeat what is the same along the last digit and known by now. (Each row of a sum over 8 channels of 4² positions, times a weight, was eight
        vectors with masks: a gradient of a group norm took 250 µs, and takes 70.)"""
        body, f = self.body, self.f
        due = [number for number in self.repeated if body.phase[number] == phase]
        if not due:
            return
        *others, vector = self.spec.run_digits
        known, size = dict(body.values), body.extents[vector]
        with f.loop(0, body.product(others)) as segments, body.along(self.outer):
            body.unravel(segments.index, others)
            body.places[vector] = i64(0)
            for number in due:
                body.require(number, 1, None)
            start = f.mul(segments.index, size)
            with f.loop(0, size, VECTOR) as vectors:
                for number in due:
                    place = self._scratch(self.kept.index(number), f.add(start, vectors.index), number)
                    scalar.store(f, body.widened(number, VECTOR), place, self.spec.body[number].dtype.compute)
            body.values = known
        self.in_scratch |= set(due)

    def _walk(self, phase: int) -> None:
        body = self.body
        reductions, stores = body.wanted(phase)
        if not reductions and not stores:
            return
        self._repeat(phase)
        if reductions:
            self._reduce(phase, reductions)
        else:
            known = set(self.in_scratch)
            self.in_scratch -= self._mixed(stores)
            self._store(stores)
            self.in_scratch = known
        self.in_scratch |= {number for number in self.kept if body.phase[number] <= phase and number in self._needs(reductions, stores)}

    def _mixed(self, stores: list[int]) -> set[int]:
        """What was repeated for sums, if stores need something that is made of it and that is the same along the last digit, too: that is one number."""
        body, there = self.body, self.in_scratch & set(self.repeated)
        made = (number for number in self._needs([], stores) if not body.is_vector(number))
        return there if any(there.intersection(self.spec.body[number].args) for number in made) else set()

    def _reduce(self, phase: int, reductions: list[int]) -> None:
        body = self.body
        totals = [Total(self.f, self.spec.body[number]) for number in reductions]
        start = [value for total in totals for value in total.start(1)]

        def chunk(first_line: Value, last_line: Value, first: Value, last: Value, values: list[Value]) -> list[Value]:
            folded = self.chunk(phase, first_line, last_line, first, last)
            result: list[Value] = []
            for total, own, item in zip(totals, shared_out(totals, values), folded, strict=True):
                result += total.add(own, item)
            return result

        values = self.chunks.each(start, chunk)
        for number, total, own in zip(reductions, totals, shared_out(totals, values), strict=True):
            body.values[number] = total.rounded(own)

    def _needs(self, reductions: list[int], stores: list[int]) -> list[int]:
        return self.body.needed((*reductions, *stores), self.in_scratch)

    def chunk(self, phase: int, first_line: Value, last_line: Value, first: Value, last: Value) -> list[scalar.Operand]:
        """One chunk; returns the folded lanes of each reduction."""
        instrs = [self.spec.body[number] for number in self.body.wanted(phase)[0]]
        lanes = self.lanes(phase, first_line, last_line, first, last)
        return [fold(self.f, instr, operand) for instr, operand in zip(instrs, lanes, strict=True)]

    def lanes(self, phase: int, first_line: Value, last_line: Value, first: Value, last: Value) -> list[scalar.Operand]:
        """One chunk; returns the lanes of each reduction."""
        body, f = self.body, self.f
        reductions, stores = body.wanted(phase)
        instrs = [self.spec.body[number] for number in reductions]
        lanes = [part for instr in instrs for part in neutral(instr, instr.dtype, LANES)]
        needs = self._needs(reductions, stores)
        flat = self._is_flat((*needs, *stores))

        width, self.waiting = LANES, []
        if not stores and self._is_much(needs) and all(part.element != "i1" for part in lanes):
            width, lanes, self.waiting = self.register, [], self._in_memory(lanes)

        def line(_: Value, carried: list[Value]) -> list[Value]:
            if flat:
                return self._flat(reductions, stores, first, last, width, carried)
            return self._segments(reductions, stores, needs, first, last, width, carried)

        lanes = self.chunks.lines_of(first_line, last_line, lanes, line)
        lanes = lanes or [f.load(place, f"<{LANES} x {element}>") for place, element in self.waiting]
        self.waiting = []
        return grouped(instrs, lanes)

    def _is_much(self, numbers: Iterable[int]) -> bool:
        """Whether so much is computed at a position that single registers are enough at once."""
        instrs = [self.spec.body[number] for number in numbers if self.body.is_vector(number)]
        return sum(max(1, instr.dtype.itemsize // 4) for instr in instrs if instr.op in ("map", "cast", "gather")) > MUCH

    def _in_memory(self, lanes: list[Value]) -> list[tuple[Value, str]]:
        """Memory of the stack with what is in lanes, and the types of its elements."""
        places = [self.f.alloca(part.type) for part in lanes]
        for part, place in zip(lanes, places, strict=True):
            self.f.store(part, place)
        return [(place, part.element) for part, place in zip(lanes, places, strict=True)]

    def _is_flat(self, numbers: Iterable[int]) -> bool:
        used = {access for number in numbers for access in accesses_of(self.spec.body[number])}
        return all(self.spec.accesses[access].flat for access in used)

    def _store(self, stores: list[int]) -> None:
        """A phase that reduces nothing, and has no need of chunks."""
        body, f = self.body, self.f
        needs = self._needs([], stores)
        *others, vector = self.spec.run_digits
        if self._is_flat((*needs, *stores)):
            width = LANES if len(needs) <= 12 else VECTOR
            self.chunks.lines_of(
                i64(0), self.chunks.lines, [], lambda _, carried: self._flat([], stores, i64(0), self.chunks.length, width, carried)
            )
            return

        def line(_: Value, carried: list[Value]) -> list[Value]:
            with f.loop(0, body.product(others), 1, [i64(0)]) as segments:
                body.unravel(segments.index, others)
                known = dict(body.values)
                self._once_a_segment(needs)
                start, size = segments.carried[0], body.extents[vector]
                whole = f.binary("and", size, i64(-VECTOR))
                with body.along(self.still), spread(body, needs):
                    for first, last in ((i64(0), whole), (whole, size)):
                        with f.loop(first, last, VECTOR) as vectors:
                            body.places[vector] = vectors.index
                            mask = None if last is whole else body.first_lanes(f.sub(size, vectors.index), VECTOR)
                            self._vector([], stores, f.add(start, vectors.index), VECTOR, mask, [])
                body.values = known
                segments.carry(f.add(start, size))
            return carried

        self.chunks.lines_of(i64(0), self.chunks.lines, [], line)

    def _once_a_segment(self, needs: list[int]) -> None:
        body = self.body
        for number in needs:
            if body.vector_digit not in body.depends[number] and number not in body.values:
                body.values[number] = body.compute(number, 1, None)

    def _flat(self, reductions: list[int], stores: list[int], first: Value, last: Value, width: int, lanes: list[Value]) -> list[Value]:
        """The positions from ``first``, a multiple of the lanes, to ``last`` as one digit."""
        body, f = self.body, self.f
        for digit in self.spec.run_digits:
            body.places[digit] = i64(0)
        whole = f.add(first, f.binary("and", f.sub(last, first), i64(-width)))
        with body.along(self.still), spread(body, self._needs(reductions, stores)):
            with f.loop(first, whole, width, lanes) as vectors:
                body.places[body.vector_digit] = vectors.index
                vectors.carry(*self._add_vector(reductions, stores, vectors.index, width, None, vectors.carried))
            if width == LANES:
                return self._tail(reductions, stores, whole, last, vectors.carried)
            with f.loop(whole, last, width) as tail:
                body.places[body.vector_digit] = tail.index
                self._add_vector(reductions, stores, tail.index, width, body.first_lanes(f.sub(last, tail.index), width), [])
            return []

    def _tail(self, reductions: list[int], stores: list[int], whole: Value, last: Value, lanes: list[Value]) -> list[Value]:
        """The positions after the last whole vector, of which one half or both are left.

        It is written out once: halves of the lanes change places in each round. (A vector of loads with masks is long code without AVX-512.)
        """
        body, f = self.body, self.f
        halves = [f.shuffle(part, part, range(start, start + VECTOR)) for start in (0, VECTOR) for part in lanes]
        count = len(lanes)
        with f.loop(whole, last, VECTOR, halves) as tail:
            body.places[body.vector_digit] = tail.index
            mask = body.first_lanes(f.sub(last, tail.index), VECTOR)
            after = self._vector(reductions, stores, tail.index, VECTOR, mask, tail.carried[:count])
            tail.carry(*tail.carried[count:], *after)
        if not count:
            return []
        is_odd = f.cast("trunc", f.binary("lshr", f.add(f.sub(last, whole), VECTOR - 1), VECTOR.bit_length() - 1), "i1")
        result = []
        for one, other in zip(tail.carried[:count], tail.carried[count:], strict=True):
            low, high = f.select(is_odd, other, one), f.select(is_odd, one, other)
            result.append(f.shuffle(low, high, range(LANES)))
        return result

    def _segments(
        self, reductions: list[int], stores: list[int], needs: list[int], first: Value, last: Value, width: int, lanes: list[Value]
    ) -> list[Value]:
        """The same, one place of the run's other digits after the other."""
        body, f = self.body, self.f
        *others, vector = self.spec.run_digits
        size = body.extents[vector]
        end = f.binary("udiv", f.add(last, f.sub(size, i64(1))), size)
        with f.loop(f.binary("udiv", first, size), end, 1, lanes) as segments:
            body.unravel(segments.index, others)
            known = dict(body.values)
            self._once_a_segment(needs)
            start = f.mul(segments.index, size)
            low = f.intrinsic("smax", start, first)
            high = f.intrinsic("smin", f.add(start, size), last)
            with (
                body.along(self.still),
                spread(body, needs),
                f.loop(f.binary("and", low, i64(-width)), high, width, segments.carried) as vectors,
            ):
                body.places[vector] = f.sub(vectors.index, start)
                before = f.intrinsic("smax", f.sub(low, vectors.index), i64(0))
                mask = body.lanes_between(before, f.sub(high, vectors.index), width)
                vectors.carry(*self._add_vector(reductions, stores, vectors.index, width, mask, vectors.carried))
            segments.carry(*vectors.carried)
            body.values = known
        return segments.carried

    def _add_vector(
        self, reductions: list[int], stores: list[int], position: Value, width: int, mask: Value | None, lanes: list[Value]
    ) -> list[Value]:
        """``_vector`` with the lanes that it adds to, or with those that wait in memory."""
        if not self.waiting:
            return self._vector(reductions, stores, position, width, mask, lanes)
        f = self.f
        lane = f.binary("and", position, LANES - 1)
        places = [(f.offset(start, lane, element), f"<{width} x {element}>") for start, element in self.waiting]
        after = self._vector(reductions, stores, position, width, mask, [f.load(*place) for place in places])
        for part, (place, _) in zip(after, places, strict=True):
            f.store(part, place)
        return []

    def _vector(
        self, reductions: list[int], stores: list[int], position: Value, width: int, mask: Value | None, lanes: list[Value]
    ) -> list[Value]:
        """All that a phase does at one vector of positions."""
        body, f = self.body, self.f
        known = dict(body.values)
        if self.is_first:
            self._prefetch(width)
        is_end = mask is not None and mask.text in body.counts
        kept_mask = None if is_end else mask  # rows in scratch memory have room for whole vectors at their ends
        for row, number in enumerate(self.kept):
            if number in self.in_scratch:
                body.values[number] = scalar.load(
                    f, self._scratch(row, position, number), self.spec.body[number].dtype.compute, width, kept_mask
                )
        with f.stores_together():
            for number in stores:
                body.effect(number, width, mask)
        instrs = [self.spec.body[number] for number in reductions]
        result: list[Value] = []
        for instr, before in zip(instrs, grouped(instrs, lanes), strict=True):
            source = instr.args[0]
            body.require(source, width, mask)
            after = take(f, instr, before, body.widened(source, width))
            result += scalar.unpack(after if mask is None else scalar.select(f, mask, after, before))
        for row, number in enumerate(self.kept):
            if number in body.values and number not in self.in_scratch:
                value = body.widened(number, width)
                scalar.store(f, value, self._scratch(row, position, number), self.spec.body[number].dtype.compute, kept_mask)
        body.values = known
        return result

    def _scratch(self, row: int, position: Value, number: int) -> Value:
        f = self.f
        start = f.offset(self.body.scratch, f.mul(self.pitch, i64(row)), "i8")
        return self.body.element(start, position, self.spec.body[number].dtype.compute)

    # -- split -----------------------------------------------------------------------------------------------------

    def emit_split(self) -> None:
        """A tile is one chunk of one result."""
        body, f = self.body, self.f
        results = body.product(range(self.spec.outer))
        per_line = self.chunks.per_line()
        known = dict(body.values)
        with f.loop(body.begin, body.end) as tiles:
            part = f.binary("udiv", tiles.index, results)
            place = f.sub(tiles.index, f.mul(part, results))
            body.unravel(place, list(range(self.spec.outer)))
            block = f.binary("udiv", part, per_line)
            first = f.mul(f.sub(part, f.mul(block, per_line)), i64(CHUNK))
            line = f.mul(block, self.chunks.runs)
            last_line = f.intrinsic("smin", f.add(line, self.chunks.runs), self.chunks.lines)
            last = f.intrinsic("smin", f.add(first, CHUNK), self.chunks.length)
            self._at_place(0, set())
            folded = self.chunk(0, line, last_line, first, last)
            for position, (number, item) in enumerate(zip(body.wanted(0)[0], folded, strict=True)):
                at = body.parameters.partial + 3 * position
                linear = f.add(f.mul(part, body.parameter(at + 2)), place)
                of = self.spec.body[number].dtype
                scalar.store(f, item, body.element(body.buffer(at), linear, of), of)
            body.values = dict(known)
            body.places.clear()
