"""Scatters with a vector digit: at each step a row, or a block of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from flambeau._codegen import pieces, scalar
from flambeau._codegen.ir import Module, Value, constant, constant_vector, i64
from flambeau._codegen.scatter.spec import LANES, ScatterSpec
from flambeau._codegen.scatter.tiles import Place, Tiles

_GOLDEN = 0x9E3779B1
"""2^32 divided by the golden ratio: products of neighbours with it lie far apart (Knuth, The Art of Computer Programming, volume 3, 6.4)."""
FETCHED = 4 * LANES
"""How many elements ahead the places that a row is written to are fetched."""


class Rows(Tiles):
    def __init__(self, module: Module, spec: ScatterSpec) -> None:
        super().__init__(module, spec)
        self.gap: Value | None = None  # from the present row of the value to one that is read later

    def tile(self, place: Place, block: Value, count: Value) -> None:
        f = self.f
        assert self.vector is not None
        self.ahead = self._ahead()
        self.block_start = f.mul(block, self.word(self.parameters.block))
        width = f.mul(count, self.word(self.parameters.block))
        self.block_end = f.intrinsic("smin", f.add(self.block_start, width), self.vector[0])
        if self.spec.gathers:
            self._gathered(place)
        else:
            self._start(place)
            if self.spec.ordered:
                self._in_order(place)
            else:
                self.walk(place, self.steps, self._row)

    def _in_order(self, place: Place) -> None:
        """All steps of a tile, in the order of the places that they write."""
        f, (step,) = self.f, self.steps
        order, count = self._sorted(place)
        last = f.sub(count, i64(1))
        with f.loop(0, count) as loop:
            following = f.intrinsic("smin", f.add(loop.index, i64(1)), last)
            number, later = (f.load(f.offset(order, at, "i64"), "i64") for at in (loop.index, following))
            self.gap = f.mul(f.sub(later, number), step[3])
            self._row(self.moved(place, step, number))

    def _sorted(self, place: Place) -> tuple[Value, Value]:
        """The numbers of the steps that write to the tile's places, sorted by these (in scratch memory), and how many there are."""
        f, size = self.f, self.sizes[0]
        ends = f.parameters[4]  # where the steps of each place end, of those that were put in order; before that how many each place has
        order = f.offset(ends, f.add(size, i64(1)), "i64")
        f.fill(ends, f.mul(f.add(size, i64(1)), i64(8)))
        with self._each_step(place) as (_, index):
            at = f.offset(ends, f.add(index, i64(1)), "i64")
            f.store(f.add(f.load(at, "i64"), i64(1)), at)
        with f.loop(0, size, 1, [i64(0)]) as places:
            at = f.offset(ends, f.add(places.index, i64(1)), "i64")
            total = f.add(places.carried[0], f.load(at, "i64"))
            f.store(total, at)
            places.carry(total)
        with self._each_step(place) as (number, index):
            at = f.offset(ends, index, "i64")
            end = f.load(at, "i64")
            f.store(number, f.offset(order, end, "i64"))
            f.store(f.add(end, i64(1)), at)
        return order, places.carried[0]

    @contextmanager
    def _each_step(self, place: Place) -> Iterator[tuple[Value, Value]]:
        """A loop over the steps whose place is the tile's: the step, and the index from the front. What is out of range is reported."""
        f, (step,) = self.f, self.steps
        with f.loop(0, step[0]) as steps:
            here = self.moved(place, step, steps.index)
            index = self.index(0, here.indices[0], 0, 1, None)
            address, bad = self.addressed(0, index)
            self.report(0, bad, here.position, i64(0), index)
            keep = self.negated(bad)
            if self.spec.owned:
                keep = f.binary("and", keep, self._owned(address))
            if self.spec.wraps:
                index = f.select(f.compare("slt", index, 0), f.add(index, self.sizes[0]), index)
            with f.when(keep):
                yield steps.index, index

    def _ahead(self) -> Value | None:
        """How many steps ahead values (and indices of their own) are fetched: so many that a tile reads 4 KiB of values meanwhile.

        Processors look ahead within a page only, and rows are often as long as one (1.3 times as fast for a million rows of 64 numbers). What
        comes next is often not for one owner of several: then nothing is (0.8 of the time).
        """
        f, spec = self.f, self.spec
        if not (spec.vector and self.steps and spec.lanes[1] == 1) or spec.dry:
            return None
        steps = f.binary("udiv", i64(4096 // spec.dtype.itemsize), self.word(self.parameters.block))
        steps = f.intrinsic("smax", steps, i64(1))
        return f.select(f.compare("eq", self.owner[1], self.word(self.parameters.owners)), steps, i64(0)) if spec.owned else steps

    def _start(self, place: Place) -> None:
        """Set up the rows of a tile's block that the indices may name."""
        f, spec = self.f, self.spec
        if not spec.start:
            return
        origin = self.buffer(self.parameters.origin) if spec.start == "copy" else None
        with f.loop(0, self.word(self.parameters.span), self.moves[0]) as rows:
            first = f.add(place.target, f.add(rows.index, self.block_start))
            self.begin(origin, first, f.sub(self.block_end, self.block_start))

    def _gathered(self, place: Place) -> None:
        """All steps of a tile, on a copy of its rows."""
        f, spec = self.f, self.spec
        target, move, copies = self.target, self.moves[0], f.parameters[4]
        count, size = f.sub(self.block_end, self.block_start), i64(spec.dtype.itemsize)
        nbytes = f.mul(count, size)
        pitch = f.add(f.binary("and", f.add(count, LANES - 1), i64(-LANES)), LANES)
        first = f.add(place.target, self.block_start)

        def row_of(base: Value, row: Value) -> Value:
            return self.element(base, f.add(first, f.mul(row, move)))

        def copy_of(row: Value) -> Value:
            return self.element(copies, f.mul(row, pitch))

        if spec.start == "zero":
            f.fill(copies, f.mul(f.mul(self.sizes[0], pitch), size))
        else:
            origin = self.buffer(self.parameters.origin) if spec.start == "copy" else target
            pieces.copy_rows(f, self.sizes[0], copy_of, lambda row: row_of(origin, row), nbytes)
        self.target, self.moves = copies, [pitch]
        self.walk(Place(f.sub(i64(0), self.block_start), place.value, place.indices, place.position), self.steps, self._row)
        self.target, self.moves = target, [move]
        pieces.copy_rows(f, self.sizes[0], lambda row: row_of(target, row), copy_of, nbytes)

    def _across(self, row: Place, at: Value) -> Place:
        """A row at a place of the vector digit, along which most things lie side by side or stay where they are."""
        assert self.vector is not None
        target, value, *indices = (
            self.f.add(before, self.lane_steps(at, kind, stride)) if kind else before
            for before, kind, stride in zip((row.target, row.value, *row.indices), self.spec.lanes, self.vector[2:], strict=False)
        )
        position = self.f.add(row.position, self.f.mul(at, self.vector[1]))
        return Place(target, value, [*indices, *row.indices[self.count :]], position)

    def _owned(self, moved: Value) -> Value:
        """Whether this tile has the owner of places that indices move the target to: the upper half of a product says which it is."""
        f, width = self.f, moved.width
        low = constant(moved.type, (1 << 32) - 1)
        hashed = f.binary("and", f.mul(moved, constant(moved.type, _GOLDEN)), low)
        owner = f.binary("lshr", f.mul(hashed, f.splat(self.word(self.parameters.owners), width)), 32)
        first, count = self.owner
        return f.compare("ult", f.sub(owner, f.splat(first, width)), f.splat(count, width))

    # -- a row at each step ----------------------------------------------------------------------------------------

    def _row(self, place: Place) -> None:
        """One step: a block of the vector digit, whose lanes never meet."""
        f, spec = self.f, self.spec
        target = place.target
        shared: list[Value] = []
        for which, kind in enumerate(spec.lanes[2:]):
            if kind == 0:
                index = self.index(which, place.indices[which], 0, 1, None)
                address, bad = self.addressed(which, index)
                self.report(which, bad, place.position, i64(0), index)
                shared.append(self.negated(bad))
                target = f.add(target, address)
        varying = any(spec.lanes[2:])
        if spec.owned and not varying:
            shared.append(self._owned(f.sub(target, place.target)))
        with ExitStack() as stack:
            if shared:
                keep = shared[0]
                for each in shared[1:]:
                    keep = f.binary("and", keep, each)
                stack.enter_context(f.when(keep))
            if spec.dry and not varying:
                return
            row = Place(target, self._named(place) if spec.named else place.value, place.indices, place.position)
            size = f.sub(self.block_end, self.block_start)
            whole = f.add(self.block_start, f.binary("and", size, i64(-LANES)))
            with f.loop(self.block_start, whole, LANES) as loop:
                self._fetch_places(row, f.intrinsic("smin", f.add(loop.index, FETCHED), f.sub(whole, LANES)))
                if varying and not spec.owned:
                    self._vector_apart(place.target, row, loop.index)
                else:
                    self._vector(place.target, row, loop.index, None)
            with f.when(f.compare("slt", whole, self.block_end)):
                self._vector(place.target, row, whole, f.lane_mask(f.sub(self.block_end, whole), LANES))

    def _named(self, place: Place) -> Value:
        """The row of the value that the present step's place names; its factor, and the row of a later step, are remembered."""
        f, of = self.f, self.spec.dtype
        move = self.word(self.parameters.named + 2)

        def row(at: Value, value: Value) -> Value:
            return f.add(value, f.mul(f.load(f.offset(self.named[0], at, "i64"), "i64"), move))

        found = row(place.indices[self.count], place.value)
        if self.ahead is not None:
            step = self.steps[-1]
            ahead = f.intrinsic("smin", self.ahead, f.sub(f.sub(step[0], i64(1)), self.step))
            later = row(f.add(place.indices[self.count], f.mul(ahead, step[4 + self.count])), f.add(place.value, f.mul(ahead, step[3])))
            self.gap = f.sub(later, found)
        if self.spec.named > 1:
            self.factor = scalar.load(f, f.offset(self.named[1], place.indices[self.count + 1], scalar.memory_type(of)), of, 1)
        return found

    def _fetch_places(self, row: Place, at: Value) -> None:
        """Begin to fetch the places of the target that a vector will write, which nothing reads before.

        A store waits for its cache line, and stores are done one after another: this is 1.1 (in the second-level cache) to 1.5 times as fast.
        """
        f, spec = self.f, self.spec
        assert self.vector is not None
        if spec.dry or spec.combine != "set" or spec.lanes[2:] not in ((1,), (2,)):
            return
        here = self._across(row, at)
        for lane in map(i64, range(LANES)):
            f.prefetch(self.element(self.target, self.lane_target(here, self.vector, lane, (0,))))

    def _vector_apart(self, unmoved: Value, row: Place, at: Value) -> None:
        """A vector whose lanes have indices of their own: one after the other, or together where the indices are equal (in an index that was
        expanded and then copied, say)."""
        f, spec = self.f, self.spec
        assert self.vector is not None
        moving = [which for which, kind in enumerate(spec.lanes[2:]) if kind]
        here = self._across(row, at)
        outside = constant("i1", 0)
        for which in moving:
            outside = f.binary("or", outside, self.is_outside(which, here.indices[which], spec.lanes[2 + which]))
        with f.when(outside):
            self._vector(unmoved, row, at, None)
        if spec.dry:
            return
        self._fetch_ahead(here)
        with f.when(self.negated(outside)):
            if spec.lanes[0] != 1 or len(moving) > 1:
                self.one_by_one(here, self.vector, moving)
                return
            alike = self._are_alike(self.index(moving[0], here.indices[moving[0]], spec.lanes[2 + moving[0]], LANES, None))
            with f.when(alike):
                target = self.lane_target(here, self.vector, i64(0), moving)
                self._combine_vector(Place(target, here.value, here.indices, here.position), None, None)
            with f.when(self.negated(alike)):
                self.one_by_one(here, self.vector, moving)

    def _are_alike(self, index: Value) -> Value:
        """Whether all lanes have the same index."""
        f = self.f
        differing = f.halved("or", f.binary("xor", index, f.splat(f.extract(index, 0), LANES)), 4)
        return f.compare("eq", f.cast("bitcast", differing, "i256"), 0)

    def _fetch_ahead(self, here: Place) -> None:
        """Begin to fetch what is read in some of the next steps."""
        if self.ahead is None:
            return
        f, step = self.f, self.steps[-1]
        gap = self.gap if self.gap is not None else f.mul(self.ahead, step[3])
        f.prefetch(self.element(self.value, f.add(here.value, gap)))
        for which, kind in enumerate(self.spec.lanes[2:]):
            if kind == 1:
                of = self.spec.indices[which]
                place = f.offset(self.bases[which], f.add(here.indices[which], f.mul(self.ahead, step[4 + which])), scalar.memory_type(of))
                for line in range(0, LANES * of.itemsize, 64):
                    f.prefetch(f.offset(place, line, "i8"))

    def _vector(self, unmoved: Value, row: Place, at: Value, mask: Value | None) -> None:
        f, spec = self.f, self.spec
        assert self.vector is not None
        _, weight, target_stride, *_ = self.vector
        here = self._across(row, at)
        moved = None
        for which, kind in enumerate(spec.lanes[2:]):
            if kind:
                index = self.index(which, here.indices[which], kind, LANES, mask)
                address, bad = self.addressed(which, index)
                if mask is not None:
                    bad = f.binary("and", bad, mask)
                self.report(which, bad, here.position, weight, index)
                mask = self.negated(bad) if mask is None else f.binary("and", mask, self.negated(bad))
                moved = address if moved is None else f.add(moved, address)
        if spec.dry:
            return
        if moved is not None:
            if spec.owned:
                own = self._owned(f.add(moved, f.splat(f.sub(row.target, unmoved), LANES)))
                mask = own if mask is None else f.binary("and", mask, own)
            moved = f.add(moved, f.mul(constant_vector("i64", range(LANES)), f.splat(target_stride, LANES)))
        self._fetch_ahead(here)
        self._combine_vector(here, moved, mask)

    def _combine_vector(self, here: Place, moved: Value | None, mask: Value | None) -> None:
        """Write a vector, to lanes that are ``moved`` by so much, or side by side (or a stride apart)."""
        f, spec, of = self.f, self.spec, self.spec.dtype
        assert self.vector is not None
        _, _, target_stride, value_stride, *_ = self.vector
        place = self.element(self.target, here.target)
        source = self.element(self.value, here.value)
        if spec.lanes[1] == 0:
            item = scalar.splat(f, scalar.load(f, source, of, 1), of, LANES)
        elif spec.lanes[1] == 1:
            item = scalar.load(f, source, of, LANES, mask)
        else:
            item = scalar.load_strided(f, source, value_stride, of, LANES, mask)
        item = self.times(item, LANES)
        side_by_side = moved is None and spec.lanes[0] == 1
        step = target_stride if moved is None else moved
        if spec.combine != "set":
            old = scalar.load(f, place, of, LANES, mask) if side_by_side else scalar.load_strided(f, place, step, of, LANES, mask)
            item = self.combined(old, item)
        if side_by_side:
            scalar.store(f, item, place, of, mask)
        else:
            scalar.store_strided(f, item, place, step, of, mask)
