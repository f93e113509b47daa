"""What all scatter kernels share: tiles and the places of their digits, indices, and elements of the target one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass

from flambeau._codegen import faults, scalar
from flambeau._codegen.ir import Builder, Module, Value, constant, i64
from flambeau._codegen.loops import COMBINE
from flambeau._codegen.scatter.spec import LANES, ScatterParameters, ScatterSpec


@dataclass
class Place:
    """Where the loops are: the element of the target (without indices), of the value and of each index (and of places and factors), and the
    row-major position."""

    target: Value
    value: Value
    indices: list[Value]
    position: Value


class Tiles(ABC):
    """A kernel that is being written: it goes through tiles, and what a tile does is its own."""

    def __init__(self, module: Module, spec: ScatterSpec) -> None:
        self.spec = spec
        self.f: Builder = module.function(
            "KERNEL", [("ptr noalias", "table"), ("ptr noalias", "params"), ("i64", "begin"), ("i64", "end"), ("ptr", "scratch")]
        )
        self.parameters = ScatterParameters(spec)
        self.count = len(spec.indices)
        self.factor: scalar.Operand | None = None  # of the present row

    def word(self, position: int) -> Value:
        return self.f.load(self.f.offset(self.f.parameters[1], position, "i64"), "i64")

    def buffer(self, position: int) -> Value:
        f = self.f
        slot = f.load(f.offset(f.parameters[0], self.word(position), "ptr"), "ptr")
        return f.offset(slot, self.word(position + 1), "i8")

    def emit(self) -> None:
        f, spec, parameters = self.f, self.spec, self.parameters
        self.target, self.value = self.buffer(0), self.buffer(2)
        self.bases = [self.buffer(at) for at in parameters.index]
        self.sizes = [self.word(at + 2) for at in parameters.index]
        self.moves = [self.word(at + 3) for at in parameters.index]
        self.named = [self.buffer(parameters.named + at) for at in (0, 3)[: spec.named]]
        words = [
            [self.word(parameters.digit + parameters.words * digit + word) for word in range(parameters.words)]
            for digit in range(parameters.digits)
        ]
        self.outer, rest = words[: spec.outer], words[spec.outer :]
        self.vector = rest.pop(0) if spec.vector else None
        self.steps = rest
        blocks = self.word(parameters.blocks)
        places = blocks
        for digit in self.outer:
            places = f.mul(places, digit[0])
        together = self.word(parameters.together)
        with f.loop(f.parameters[2], f.parameters[3], together) as tiles:
            count = f.intrinsic("smin", together, f.sub(f.parameters[3], tiles.index))
            self.owner = f.binary("udiv", tiles.index, places), count
            rest_of_tile = f.sub(tiles.index, f.mul(self.owner[0], places))
            linear = f.binary("udiv", rest_of_tile, blocks)
            block = f.sub(rest_of_tile, f.mul(linear, blocks))
            place = Place(i64(0), i64(0), [i64(0)] * (self.count + spec.named), i64(0))
            for number in reversed(range(len(self.outer))):
                digit = self.outer[number]
                quotient = f.binary("udiv", linear, digit[0]) if number else i64(0)
                place = self.moved(place, digit, f.sub(linear, f.mul(quotient, digit[0])) if number else linear)
                linear = quotient
            self.tile(place, block, count)
        f.ret()

    @abstractmethod
    def tile(self, place: Place, block: Value, count: Value) -> None:
        """The steps of a tile (or of ``count`` neighbours at once), at a place of the outer digits and a block of the vector digit."""

    def moved(self, place: Place, digit: list[Value], by: Value) -> Place:
        f = self.f
        _, weight, target, value, *indices = digit
        return Place(
            f.add(place.target, f.mul(by, target)),
            f.add(place.value, f.mul(by, value)),
            [f.add(at, f.mul(by, stride)) for at, stride in zip(place.indices, indices, strict=True)],
            f.add(place.position, f.mul(by, weight)),
        )

    def walk(self, place: Place, digits: list[list[Value]], body: Callable[[Place], None]) -> None:
        """Loops over steps, in order."""
        with ExitStack() as stack:
            for digit in digits:
                loop = stack.enter_context(self.f.loop(0, digit[0]))
                self.step = loop.index
                place = self.moved(place, digit, loop.index)
            body(place)

    def begin(self, origin: Value | None, at: Value, count: Value) -> None:
        """Set up so many elements of the target."""
        f = self.f
        target, size = self.element(self.target, at), f.mul(count, i64(self.spec.dtype.itemsize))
        if origin is None:
            f.fill(target, size)
        else:
            f.copy(target, self.element(origin, at), size)

    # -- indices ---------------------------------------------------------------------------------------------------

    def index(self, which: int, at: Value, step: int, width: int, mask: Value | None) -> Value:
        """An index in each of ``width`` lanes; ``step`` says how the lanes move it."""
        f, of = self.f, self.spec.indices[which]
        place = f.offset(self.bases[which], at, scalar.memory_type(of))
        if width == 1 or step == 1:
            index = scalar.load(f, place, of, width, mask)
        else:
            index = scalar.load_strided(f, place, self.lane_stride(which), of, width, mask)
        assert isinstance(index, Value)
        return f.cast("sext", index, f"<{width} x i64>" if width > 1 else "i64")

    def lane_stride(self, which: int) -> Value:
        return (self.vector or self.steps[-1])[4 + which]

    def addressed(self, which: int, index: Value) -> tuple[Value, Value]:
        """How far an index moves the target, and whether it is out of range."""
        f, width = self.f, index.width
        size = f.splat(self.sizes[which], width)
        if self.spec.wraps:
            index = f.select(f.compare("slt", index, 0), f.add(index, size), index)
        return f.mul(index, f.splat(self.moves[which], width)), f.compare("uge", index, size)

    def report(self, which: int, bad: Value, position: Value, step: Value, index: Value) -> None:
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

    def negated(self, condition: Value) -> Value:
        return self.f.binary("xor", condition, constant(condition.type, 1))

    # -- elements --------------------------------------------------------------------------------------------------

    def element(self, base: Value, at: Value) -> Value:
        f, of = self.f, self.spec.dtype
        return f.offset(base, f.mul(at, i64(2)) if of.is_complex else at, scalar.memory_type(of))

    def combined(self, old: scalar.Operand, new: scalar.Operand) -> scalar.Operand:
        return scalar.emit(self.f, COMBINE[self.spec.combine], self.spec.dtype, old, new)

    def times(self, item: scalar.Operand, width: int) -> scalar.Operand:
        """Elements of the present row, times its factor if rows have factors."""
        f, of, factor = self.f, self.spec.dtype, self.factor
        return item if factor is None else scalar.emit(f, "mul", of, item, scalar.splat(f, factor, of, width) if width > 1 else factor)

    def one(self, target: Value, value: Value) -> None:
        f, of = self.f, self.spec.dtype
        place = self.element(self.target, target)
        item = self.times(scalar.load(f, self.element(self.value, value), of, 1), 1)
        if self.spec.combine != "set":
            item = self.combined(scalar.load(f, place, of, 1), item)
        scalar.store(f, item, place, of)

    def is_outside(self, which: int, at: Value, kind: int) -> Value:
        """Whether an index is out of range in any of the lanes, which ``kind`` says how they move it."""
        f, size = self.f, self.sizes[which]
        index = self.index(which, at, kind, LANES if kind else 1, None)
        if self.spec.wraps:
            index, size = f.add(index, f.splat(size, index.width)), f.add(size, size)
        return faults.any_outside(f, index, size)

    def lane_steps(self, lane: Value, kind: int, stride: Value) -> Value:
        """How far a lane moves something that the lanes move in this way."""
        return i64(0) if kind == 0 else lane if kind == 1 else self.f.mul(lane, stride)

    def lane_target(self, here: Place, digit: list[Value], lane: Value, indices: Iterable[int]) -> Value:
        """Where a lane along a digit goes, by indices that are in range. They are read again: taking lanes out of vectors is slower."""
        f, kinds = self.f, self.spec.lanes
        target = f.add(here.target, self.lane_steps(lane, kinds[0], digit[2]))
        for which in indices:
            at = f.add(here.indices[which], self.lane_steps(lane, kinds[2 + which], digit[4 + which]))
            target = f.add(target, self.addressed(which, self.index(which, at, 0, 1, None))[0])
        return target

    def one_by_one(self, here: Place, digit: list[Value], indices: Iterable[int]) -> None:
        """All lanes along a digit, in order."""
        for lane in map(i64, range(LANES)):
            value = self.f.add(here.value, self.lane_steps(lane, self.spec.lanes[1], digit[3]))
            self.one(self.lane_target(here, digit, lane, indices), value)
