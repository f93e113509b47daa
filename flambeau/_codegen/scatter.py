"""Scatter kernels: ``target[place + sum(index_k * stride_k)] = combine(target[…], value)``, in row-major order of the value.

Order matters where places repeat: the last one wins, or sums are added one after another. Yet it matters for the elements of the
target apart, and that is what makes scatters parallel. The dimensions of the value are its *digits*:

- along an *outer* digit the target's place moves whatever the indices are, so that different values of it never meet. Tiles are
  spread over them. One of them may be the *vector digit*, which lies across the lanes;
- along a *step* only the indices say where to go. A tile takes its steps one after another.

Where tiles are too few, each is shared by *owners*: every owner walks all steps and handles the places that are its own. Which these are a
hash says, since places that are often written tend to be neighbours (frequent words have small numbers).

A thread that has several neighbouring tiles takes some of them *together*, as one that is wider or has more owners: long rows are read faster
than pieces of them (a million rows of 64 numbers in 17 ms, in two halves in 46).

A kernel checks every index before it uses it. What fails is reported and skipped; a *dry* kernel does nothing else, for targets that must
be left as they are if anything fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from flambeau._codegen import faults, scalar
from flambeau._codegen.ir import Builder, Module, Value, constant, constant_vector, i64
from flambeau._codegen.loops import COMBINE, finish
from flambeau._types.dtype import dtype as DType

LANES = 16
_GOLDEN = 0x9E3779B1
"""2^32 divided by the golden ratio: products of neighbours with it lie far apart (Knuth, The Art of Computer Programming, volume 3, 6.4)."""
LATER = 16 * LANES
"""How many elements ahead indices and values are fetched that are read one after another."""
FETCHED = 4 * LANES
"""How many elements ahead the places that a row is written to are fetched."""


class ScatterSpec(NamedTuple):
    """The structure of a scatter kernel.

    Attributes:
        indices: the dtype of each index
        wraps: indices below 0 count from the end
        outer, steps: how many digits there are of each kind, the vector digit apart
        vector: whether there is a vector digit; otherwise the lanes are neighbouring steps
        lanes: how the lanes move the target, the value and each index (0: not at all, 1: by one element, 2: by a stride)
        named: 1 if the value is rows of memory that are named by places (int64), 2 if each is times a factor, too; then there is a vector digit
        owned: tiles are shared by owners (then there is a vector digit, and no ``start``)
        start: what a tile does first with the rows that it may write: ``copy`` them from elsewhere, set them to ``zero``, or nothing
        gathers: a tile works on the rows that it may write in scratch memory, where they lie side by side, and puts them in their places at the
            end. (Rows of a power of two lie in few sets of a cache, where the 512 of such a matrix do not stay.)
    """

    combine: str
    dtype: DType
    indices: tuple[DType, ...]
    wraps: bool
    outer: int
    steps: int
    vector: bool
    lanes: tuple[int, ...]
    named: int = 0
    owned: bool = False
    start: str = ""
    gathers: bool = False
    dry: bool = False
    features: tuple[str, ...] = ()


class ScatterParameters:
    """Where the parameters of a kernel are.

    ``[slot and bytes of the target, of the value, for each index: slot, bytes, size, stride in the target, slot and bytes of places and what a
    place moves the value by, slot and bytes of factors, vector blocks, vector positions in a block, places that indices reach, owners, tiles
    that may be taken together, slot and bytes of what to copy, for each digit: extent, weight in row-major order, stride of the target, of
    the value, of each index, of places and factors]``, with the digits in the order outer, vector, steps.
    """

    def __init__(self, spec: ScatterSpec) -> None:
        self.index = [4 + 4 * each for each in range(len(spec.indices))]
        self.named = 4 + 4 * len(spec.indices)
        first = self.named + (0, 3, 5)[spec.named]
        self.blocks, self.block, self.span, self.owners, self.together, self.origin = range(first, first + 6)
        self.words = 4 + len(spec.indices) + spec.named
        self.digits = spec.outer + spec.vector + spec.steps
        self.digit = self.origin + 2

    @property
    def count(self) -> int:
        return self.digit + self.words * self.digits


@lru_cache(maxsize=1024)
def scatter_kernel(spec: ScatterSpec) -> tuple[str, str]:
    """The name and the IR of the kernel of a spec; a tile is an owner, a place of the outer digits, and a block of the vector digit."""
    module = Module(spec.features)
    _Emitter(module, spec).emit()
    return finish(module)


@dataclass
class _Place:
    """Where the loops are: the element of the target (without indices), of the value and of each index (and of places and factors), and the
    row-major position."""

    target: Value
    value: Value
    indices: list[Value]
    position: Value


class _Emitter:
    def __init__(self, module: Module, spec: ScatterSpec) -> None:
        self.spec = spec
        self.f: Builder = module.function(
            "KERNEL", [("ptr noalias", "table"), ("ptr noalias", "params"), ("i64", "begin"), ("i64", "end"), ("ptr", "scratch")]
        )
        self.parameters = ScatterParameters(spec)
        self.count = len(spec.indices)
        self.factor: scalar.Operand | None = None  # of the present row
        self.gap: Value | None = None  # from the present row of the value to one that is read later

    def _word(self, position: int) -> Value:
        return self.f.load(self.f.offset(self.f.parameters[1], position, "i64"), "i64")

    def _buffer(self, position: int) -> Value:
        f = self.f
        slot = f.load(f.offset(f.parameters[0], self._word(position), "ptr"), "ptr")
        return f.offset(slot, self._word(position + 1), "i8")

    def emit(self) -> None:
        f, spec, parameters = self.f, self.spec, self.parameters
        self.target, self.value = self._buffer(0), self._buffer(2)
        self.bases = [self._buffer(at) for at in parameters.index]
        self.sizes = [self._word(at + 2) for at in parameters.index]
        self.moves = [self._word(at + 3) for at in parameters.index]
        self.named = [self._buffer(parameters.named + at) for at in (0, 3)[: spec.named]]
        words = [
            [self._word(parameters.digit + parameters.words * digit + word) for word in range(parameters.words)]
            for digit in range(parameters.digits)
        ]
        self.outer, rest = words[: spec.outer], words[spec.outer :]
        self.vector = rest.pop(0) if spec.vector else None
        self.steps = rest
        if not spec.vector:
            self.addresses = f.alloca("i64", LANES)
        blocks = self._word(parameters.blocks)
        places = blocks
        for digit in self.outer:
            places = f.mul(places, digit[0])
        together = self._word(parameters.together)
        with f.loop(f.parameters[2], f.parameters[3], together) as tiles:
            count = f.intrinsic("smin", together, f.sub(f.parameters[3], tiles.index))
            self.owner = f.binary("udiv", tiles.index, places), count
            self.ahead = self._ahead()
            rest_of_tile = f.sub(tiles.index, f.mul(self.owner[0], places))
            linear = f.binary("udiv", rest_of_tile, blocks)
            block = f.sub(rest_of_tile, f.mul(linear, blocks))
            place = _Place(i64(0), i64(0), [i64(0)] * (self.count + spec.named), i64(0))
            for number in reversed(range(len(self.outer))):
                digit = self.outer[number]
                quotient = f.binary("udiv", linear, digit[0]) if number else i64(0)
                place = self._moved(place, digit, f.sub(linear, f.mul(quotient, digit[0])) if number else linear)
                linear = quotient
            if self.vector is None:
                self._start(place)
                self._walk(place, self.steps[:-1], self._lanes_of_steps)
            else:
                self.block_start = f.mul(block, self._word(parameters.block))
                width = f.mul(count, self._word(parameters.block))
                self.block_end = f.intrinsic("smin", f.add(self.block_start, width), self.vector[0])
                if spec.gathers:
                    self._gathered(place)
                else:
                    self._start(place)
                    self._walk(place, self.steps, self._row)
        f.ret()

    def _ahead(self) -> Value | None:
        """How many steps ahead values (and indices of their own) are fetched: so many that a tile reads 4 KiB of values meanwhile.

        Processors look ahead within a page only, and rows are often as long as one (1.3 times as fast for a million rows of 64 numbers). What
        comes next is often not for one owner of several: then nothing is (0.8 of the time).
        """
        f, spec = self.f, self.spec
        if not (spec.vector and self.steps and spec.lanes[1] == 1) or spec.dry:
            return None
        steps = f.binary("udiv", i64(4096 // spec.dtype.itemsize), self._word(self.parameters.block))
        steps = f.intrinsic("smax", steps, i64(1))
        return f.select(f.compare("eq", self.owner[1], self._word(self.parameters.owners)), steps, i64(0)) if spec.owned else steps

    def _start(self, place: _Place) -> None:
        """Set up the part of the target that a tile may write: rows of a block of the vector digit, or the places of the indices."""
        f, spec = self.f, self.spec
        if not spec.start:
            return
        origin = self._buffer(self.parameters.origin) if spec.start == "copy" else None
        span = self._word(self.parameters.span)
        if self.vector is None:
            self._begin(origin, place.target, span)
            return
        with f.loop(0, span, self.moves[0]) as rows:
            first = f.add(place.target, f.add(rows.index, self.block_start))
            self._begin(origin, first, f.sub(self.block_end, self.block_start))

    def _begin(self, origin: Value | None, at: Value, count: Value) -> None:
        f = self.f
        target, size = self._element(self.target, at), f.mul(count, i64(self.spec.dtype.itemsize))
        if origin is None:
            f.fill(target, size)
        else:
            f.copy(target, self._element(origin, at), size)

    def _gathered(self, place: _Place) -> None:
        """All steps of a tile, on a copy of its rows."""
        f, spec = self.f, self.spec
        target, move, copies = self.target, self.moves[0], f.parameters[4]
        count, size = f.sub(self.block_end, self.block_start), i64(spec.dtype.itemsize)
        pitch = f.add(f.binary("and", f.add(count, LANES - 1), i64(-LANES)), LANES)
        first = f.add(place.target, self.block_start)

        def row_of(base: Value, row: Value) -> Value:
            return self._element(base, f.add(first, f.mul(row, move)))

        def copy_of(row: Value) -> Value:
            return self._element(copies, f.mul(row, pitch))

        if spec.start == "zero":
            f.fill(copies, f.mul(f.mul(self.sizes[0], pitch), size))
        else:
            origin = self._buffer(self.parameters.origin) if spec.start == "copy" else target
            with f.loop(0, self.sizes[0]) as rows:
                self._copy_row(copy_of(rows.index), row_of(origin, rows.index), count)
        self.target, self.moves = copies, [pitch]
        self._walk(_Place(f.sub(i64(0), self.block_start), place.value, place.indices, place.position), self.steps, self._row)
        self.target, self.moves = target, [move]
        with f.loop(0, self.sizes[0]) as rows:
            self._copy_row(row_of(target, rows.index), copy_of(rows.index), count)

    def _copy_row(self, target: Value, source: Value, count: Value) -> None:
        """Copy so many elements: 16 at a time, as rows are too short for the C library."""
        f, size = self.f, LANES * self.spec.dtype.itemsize
        nbytes = f.mul(count, i64(self.spec.dtype.itemsize))
        whole = f.binary("and", nbytes, i64(-size))
        with f.loop(0, whole, size) as parts:
            part = f.load(f.offset(source, parts.index, "i8"), f"<{size // 8} x i64>", align=1)
            f.store(part, f.offset(target, parts.index, "i8"), align=1)
        with f.when(f.compare("slt", whole, nbytes)):
            f.copy(f.offset(target, whole, "i8"), f.offset(source, whole, "i8"), f.sub(nbytes, whole))

    def _moved(self, place: _Place, digit: list[Value], by: Value) -> _Place:
        f = self.f
        _, weight, target, value, *indices = digit
        return _Place(
            f.add(place.target, f.mul(by, target)),
            f.add(place.value, f.mul(by, value)),
            [f.add(at, f.mul(by, stride)) for at, stride in zip(place.indices, indices, strict=True)],
            f.add(place.position, f.mul(by, weight)),
        )

    def _across(self, row: _Place, at: Value) -> _Place:
        """A row at a place of the vector digit, along which most things lie side by side or stay where they are."""
        assert self.vector is not None
        target, value, *indices = (
            self.f.add(before, self._lane_steps(at, kind, stride)) if kind else before
            for before, kind, stride in zip((row.target, row.value, *row.indices), self.spec.lanes, self.vector[2:], strict=False)
        )
        position = self.f.add(row.position, self.f.mul(at, self.vector[1]))
        return _Place(target, value, [*indices, *row.indices[self.count :]], position)

    def _walk(self, place: _Place, digits: list[list[Value]], body: Callable[[_Place], None]) -> None:
        """Loops over steps, in order."""
        with ExitStack() as stack:
            for digit in digits:
                loop = stack.enter_context(self.f.loop(0, digit[0]))
                self.step = loop.index
                place = self._moved(place, digit, loop.index)
            body(place)

    # -- indices ---------------------------------------------------------------------------------------------------

    def _index(self, which: int, at: Value, step: int, width: int, mask: Value | None) -> Value:
        """An index in each of ``width`` lanes; ``step`` says how the lanes move it."""
        f, of = self.f, self.spec.indices[which]
        place = f.offset(self.bases[which], at, scalar.memory_type(of))
        if width == 1 or step == 1:
            index = scalar.load(f, place, of, width, mask)
        else:
            index = scalar.load_strided(f, place, self._lane_stride(which), of, width, mask)
        assert isinstance(index, Value)
        return f.cast("sext", index, f"<{width} x i64>" if width > 1 else "i64")

    def _lane_stride(self, which: int) -> Value:
        return (self.vector or self.steps[-1])[4 + which]

    def _addressed(self, which: int, index: Value) -> tuple[Value, Value]:
        """How far an index moves the target, and whether it is out of range."""
        f, width = self.f, index.width
        size = f.splat(self.sizes[which], width)
        if self.spec.wraps:
            index = f.select(f.compare("slt", index, 0), f.add(index, size), index)
        return f.mul(index, f.splat(self.moves[which], width)), f.compare("uge", index, size)

    def _owned(self, moved: Value) -> Value:
        """Whether this tile has the owner of places that indices move the target to: the upper half of a product says which it is."""
        f, width = self.f, moved.width
        low = constant(moved.type, (1 << 32) - 1)
        hashed = f.binary("and", f.mul(moved, constant(moved.type, _GOLDEN)), low)
        owner = f.binary("lshr", f.mul(hashed, f.splat(self._word(self.parameters.owners), width)), 32)
        first, count = self.owner
        return f.compare("ult", f.sub(owner, f.splat(first, width)), f.splat(count, width))

    def _report(self, which: int, bad: Value, position: Value, step: Value, index: Value) -> None:
        """Report the first lane that is bad."""
        f = self.f
        if bad.width == 1:
            with f.when(bad):
                faults.report(f, which, position, index)
            return
        lanes = f.cast("bitcast", bad, f"i{bad.width}")
        with f.when(f.compare("ne", lanes, 0)):
            lane = f.cast("zext", f.intrinsic("cttz", lanes, constant("i1", 0)), "i64")
            found = f.value(f"extractelement {index.type} {index.text}, i64 {lane.text}", "i64")
            faults.report(f, which, f.add(position, f.mul(lane, step)), found)

    def _not(self, condition: Value) -> Value:
        return self.f.binary("xor", condition, constant(condition.type, 1))

    # -- elements --------------------------------------------------------------------------------------------------

    def _element(self, base: Value, at: Value) -> Value:
        f, of = self.f, self.spec.dtype
        return f.offset(base, f.mul(at, i64(2)) if of.is_complex else at, scalar.memory_type(of))

    def _combined(self, old: scalar.Operand, new: scalar.Operand) -> scalar.Operand:
        return scalar.emit(self.f, COMBINE[self.spec.combine], self.spec.dtype, old, new)

    def _one(self, target: Value, value: Value) -> None:
        f, of = self.f, self.spec.dtype
        place = self._element(self.target, target)
        item = self._times(scalar.load(f, self._element(self.value, value), of, 1), 1)
        if self.spec.combine != "set":
            item = self._combined(scalar.load(f, place, of, 1), item)
        scalar.store(f, item, place, of)

    def _is_outside(self, which: int, at: Value, kind: int) -> Value:
        """Whether an index is out of range in any of the lanes, which ``kind`` says how they move it."""
        f, size = self.f, self.sizes[which]
        index = self._index(which, at, kind, LANES if kind else 1, None)
        if self.spec.wraps:
            index, size = f.add(index, f.splat(size, index.width)), f.add(size, size)
        return faults.any_outside(f, index, size)

    def _lane_steps(self, lane: Value, kind: int, stride: Value) -> Value:
        """How far a lane moves something that the lanes move in this way."""
        return i64(0) if kind == 0 else lane if kind == 1 else self.f.mul(lane, stride)

    def _lane_target(self, here: _Place, digit: list[Value], lane: Value, indices: Iterable[int]) -> Value:
        """Where a lane along a digit goes, by indices that are in range. They are read again: taking lanes out of vectors is slower."""
        f, kinds = self.f, self.spec.lanes
        target = f.add(here.target, self._lane_steps(lane, kinds[0], digit[2]))
        for which in indices:
            at = f.add(here.indices[which], self._lane_steps(lane, kinds[2 + which], digit[4 + which]))
            target = f.add(target, self._addressed(which, self._index(which, at, 0, 1, None))[0])
        return target

    def _one_by_one(self, here: _Place, digit: list[Value], indices: Iterable[int]) -> None:
        """All lanes along a digit, in order."""
        for lane in map(i64, range(LANES)):
            value = self.f.add(here.value, self._lane_steps(lane, self.spec.lanes[1], digit[3]))
            self._one(self._lane_target(here, digit, lane, indices), value)

    # -- without a vector digit: the lanes are 16 steps, whose indices are looked at together -----------------------

    def _lanes_of_steps(self, place: _Place) -> None:
        f, spec = self.f, self.spec
        digit = self.steps[-1]
        extent = digit[0]
        whole = f.binary("and", extent, i64(-LANES)) if self.count else i64(0)
        with f.loop(0, whole, LANES) as loop:
            here = self._moved(place, digit, loop.index)
            self._fetch_lanes(here)
            outside = constant("i1", 0)
            for which in range(self.count):
                outside = f.binary("or", outside, self._is_outside(which, here.indices[which], spec.lanes[2 + which]))
            if not spec.dry:
                with f.when(self._not(outside)):
                    self._one_by_one(here, digit, range(self.count))
            with f.when(outside):
                self._some_steps(here, constant(f"<{LANES} x i1>", 1))
        with f.loop(whole, extent, LANES) as loop:
            self._some_steps(self._moved(place, digit, loop.index), f.lane_mask(f.sub(extent, loop.index), LANES))

    def _fetch_lanes(self, here: _Place) -> None:
        """Begin to fetch the lines of indices and values that are read a little later (a million numbers that are in no cache: 1.7 to 1.2 ms)."""
        reads = [(self._element(self.value, here.value), self.spec.dtype)]
        reads += [
            (self.f.offset(base, at, scalar.memory_type(of)), of)
            for base, at, of in zip(self.bases, here.indices, self.spec.indices, strict=True)
        ]
        for (place, of), kind in zip(reads, self.spec.lanes[1:], strict=True):
            if kind == 1:
                for line in range(0, LANES * of.itemsize, 64):
                    self.f.prefetch(self.f.offset(place, LATER * of.itemsize + line, "i8"))

    def _some_steps(self, here: _Place, keep: Value) -> None:
        """The steps of some lanes; those whose index is out of range are reported and left out."""
        f, spec = self.f, self.spec
        _, weight, target_stride, value_stride, *_ = self.steps[-1]
        moved = constant(f"<{LANES} x i64>", 0)
        for which in range(self.count):
            index = self._index(which, here.indices[which], spec.lanes[2 + which], LANES, keep)
            address, bad = self._addressed(which, index)
            bad = f.binary("and", bad, keep)
            self._report(which, bad, here.position, weight, index)
            keep = f.binary("and", keep, self._not(bad))
            moved = f.add(moved, address)
        if spec.dry:
            return
        if not self.count:  # a scatter without indices: the steps themselves move the target
            moved = f.mul(constant_vector("i64", range(LANES)), f.splat(target_stride, LANES))
        f.store(moved, self.addresses, align=64)
        lanes = f.cast("bitcast", keep, f"i{LANES}")
        with f.when(f.compare("ne", lanes, 0)), f.repeat([lanes]) as bits:
            set_lanes = bits.carried[0]
            lane = f.cast("zext", f.intrinsic("cttz", set_lanes, constant("i1", 1)), "i64")
            address = f.load(f.offset(self.addresses, lane, "i64"), "i64")
            value = f.add(here.value, self._lane_steps(lane, spec.lanes[1], value_stride))
            self._one(f.add(here.target, address), value)
            following = f.binary("and", set_lanes, f.binary("sub", set_lanes, 1))
            bits.again(f.compare("ne", following, 0), following)

    # -- with a vector digit: a row at each step -------------------------------------------------------------------

    def _row(self, place: _Place) -> None:
        """One step: a block of the vector digit, whose lanes never meet."""
        f, spec = self.f, self.spec
        target = place.target
        shared: list[Value] = []
        for which, kind in enumerate(spec.lanes[2:]):
            if kind == 0:
                index = self._index(which, place.indices[which], 0, 1, None)
                address, bad = self._addressed(which, index)
                self._report(which, bad, place.position, i64(0), index)
                shared.append(self._not(bad))
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
            row = _Place(target, self._named(place) if spec.named else place.value, place.indices, place.position)
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

    def _named(self, place: _Place) -> Value:
        """The row of the value that the present step's place names; its factor, and the row of a later step, are remembered."""
        f, of = self.f, self.spec.dtype
        move = self._word(self.parameters.named + 2)

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

    def _times(self, item: scalar.Operand, width: int) -> scalar.Operand:
        """Elements of the present row, times its factor if rows have factors."""
        f, of, factor = self.f, self.spec.dtype, self.factor
        return item if factor is None else scalar.emit(f, "mul", of, item, scalar.splat(f, factor, of, width) if width > 1 else factor)

    def _fetch_places(self, row: _Place, at: Value) -> None:
        """Begin to fetch the places of the target that a vector will write, which nothing reads before.

        A store waits for its cache line, and stores are done one after another: this is 1.1 (in the second-level cache) to 1.5 times as fast.
        """
        f, spec = self.f, self.spec
        assert self.vector is not None
        if spec.dry or spec.combine != "set" or spec.lanes[2:] not in ((1,), (2,)):
            return
        here = self._across(row, at)
        for lane in map(i64, range(LANES)):
            f.prefetch(self._element(self.target, self._lane_target(here, self.vector, lane, (0,))))

    def _vector_apart(self, unmoved: Value, row: _Place, at: Value) -> None:
        """A vector whose lanes have indices of their own: one after the other, or together where the indices are equal (in an index that was
        expanded and then copied, say)."""
        f, spec = self.f, self.spec
        assert self.vector is not None
        moving = [which for which, kind in enumerate(spec.lanes[2:]) if kind]
        here = self._across(row, at)
        outside = constant("i1", 0)
        for which in moving:
            outside = f.binary("or", outside, self._is_outside(which, here.indices[which], spec.lanes[2 + which]))
        with f.when(outside):
            self._vector(unmoved, row, at, None)
        if spec.dry:
            return
        self._fetch_ahead(here)
        with f.when(self._not(outside)):
            if spec.lanes[0] != 1 or len(moving) > 1:
                self._one_by_one(here, self.vector, moving)
                return
            alike = self._are_alike(self._index(moving[0], here.indices[moving[0]], spec.lanes[2 + moving[0]], LANES, None))
            with f.when(alike):
                target = self._lane_target(here, self.vector, i64(0), moving)
                self._combine_vector(_Place(target, here.value, here.indices, here.position), None, None)
            with f.when(self._not(alike)):
                self._one_by_one(here, self.vector, moving)

    def _are_alike(self, index: Value) -> Value:
        """Whether all lanes have the same index."""
        f = self.f
        differing = f.halved("or", f.binary("xor", index, f.splat(f.extract(index, 0), LANES)), 4)
        return f.compare("eq", f.cast("bitcast", differing, "i256"), 0)

    def _fetch_ahead(self, here: _Place) -> None:
        """Begin to fetch what is read in some of the next steps."""
        if self.ahead is None:
            return
        f, step = self.f, self.steps[-1]
        gap = self.gap if self.gap is not None else f.mul(self.ahead, step[3])
        f.prefetch(self._element(self.value, f.add(here.value, gap)))
        for which, kind in enumerate(self.spec.lanes[2:]):
            if kind == 1:
                of = self.spec.indices[which]
                place = f.offset(self.bases[which], f.add(here.indices[which], f.mul(self.ahead, step[4 + which])), scalar.memory_type(of))
                for line in range(0, LANES * of.itemsize, 64):
                    f.prefetch(f.offset(place, line, "i8"))

    def _vector(self, unmoved: Value, row: _Place, at: Value, mask: Value | None) -> None:
        f, spec = self.f, self.spec
        assert self.vector is not None
        _, weight, target_stride, *_ = self.vector
        here = self._across(row, at)
        moved = None
        for which, kind in enumerate(spec.lanes[2:]):
            if kind:
                index = self._index(which, here.indices[which], kind, LANES, mask)
                address, bad = self._addressed(which, index)
                if mask is not None:
                    bad = f.binary("and", bad, mask)
                self._report(which, bad, here.position, weight, index)
                mask = self._not(bad) if mask is None else f.binary("and", mask, self._not(bad))
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

    def _combine_vector(self, here: _Place, moved: Value | None, mask: Value | None) -> None:
        """Write a vector, to lanes that are ``moved`` by so much, or side by side (or a stride apart)."""
        f, spec, of = self.f, self.spec, self.spec.dtype
        assert self.vector is not None
        _, _, target_stride, value_stride, *_ = self.vector
        place = self._element(self.target, here.target)
        source = self._element(self.value, here.value)
        if spec.lanes[1] == 0:
            item = scalar.splat(f, scalar.load(f, source, of, 1), of, LANES)
        elif spec.lanes[1] == 1:
            item = scalar.load(f, source, of, LANES, mask)
        else:
            item = scalar.load_strided(f, source, value_stride, of, LANES, mask)
        item = self._times(item, LANES)
        side_by_side = moved is None and spec.lanes[0] == 1
        step = target_stride if moved is None else moved
        if spec.combine != "set":
            old = scalar.load(f, place, of, LANES, mask) if side_by_side else scalar.load_strided(f, place, step, of, LANES, mask)
            item = self._combined(old, item)
        if side_by_side:
            scalar.store(f, item, place, of, mask)
        else:
            scalar.store_strided(f, item, place, step, of, mask)
