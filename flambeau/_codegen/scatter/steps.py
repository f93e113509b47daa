"""Scatters without a vector digit: the lanes are 16 steps, whose indices are looked at together."""

from __future__ import annotations

from flambeau._codegen import scalar
from flambeau._codegen.ir import Module, Value, constant, constant_vector, i64
from flambeau._codegen.scatter.spec import LANES, ScatterSpec
from flambeau._codegen.scatter.tiles import Place, Tiles

LATER = 16 * LANES
"""How many elements ahead indices and values are fetched that are read one after another."""


class Steps(Tiles):
    def __init__(self, module: Module, spec: ScatterSpec) -> None:
        super().__init__(module, spec)
        self.addresses = self.f.alloca("i64", LANES)

    def tile(self, place: Place, block: Value, count: Value) -> None:
        if self.spec.start:
            origin = self.buffer(self.parameters.origin) if self.spec.start == "copy" else None
            self.begin(origin, place.target, self.word(self.parameters.span))
        self.walk(place, self.steps[:-1], self._lanes_of_steps)

    def _lanes_of_steps(self, place: Place) -> None:
        f, spec = self.f, self.spec
        digit = self.steps[-1]
        extent = digit[0]
        whole = f.binary("and", extent, i64(-LANES)) if self.count else i64(0)
        with f.loop(0, whole, LANES) as loop:
            here = self.moved(place, digit, loop.index)
            self._fetch_lanes(here)
            outside = constant("i1", 0)
            for which in range(self.count):
                outside = f.binary("or", outside, self.is_outside(which, here.indices[which], spec.lanes[2 + which]))
            if not spec.dry:
                with f.when(self.negated(outside)):
                    self.one_by_one(here, digit, range(self.count))
            with f.when(outside):
                self._some_steps(here, constant(f"<{LANES} x i1>", 1))
        with f.loop(whole, extent, LANES) as loop:
            self._some_steps(self.moved(place, digit, loop.index), f.lane_mask(f.sub(extent, loop.index), LANES))

    def _fetch_lanes(self, here: Place) -> None:
        """Begin to fetch the lines of indices and values that are read a little later (a million numbers that are in no cache: 1.7 to 1.2 ms)."""
        reads = [(self.element(self.value, here.value), self.spec.dtype)]
        reads += [
            (self.f.offset(base, at, scalar.memory_type(of)), of)
            for base, at, of in zip(self.bases, here.indices, self.spec.indices, strict=True)
        ]
        for (place, of), kind in zip(reads, self.spec.lanes[1:], strict=True):
            if kind == 1:
                for line in range(0, LANES * of.itemsize, 64):
                    self.f.prefetch(self.f.offset(place, LATER * of.itemsize + line, "i8"))

    def _some_steps(self, here: Place, keep: Value) -> None:
        """The steps of some lanes; those whose index is out of range are reported and left out."""
        f, spec = self.f, self.spec
        _, weight, target_stride, value_stride, *_ = self.steps[-1]
        moved = constant(f"<{LANES} x i64>", 0)
        for which in range(self.count):
            index = self.index(which, here.indices[which], spec.lanes[2 + which], LANES, keep)
            address, bad = self.addressed(which, index)
            bad = f.binary("and", bad, keep)
            self.report(which, bad, here.position, weight, index)
            keep = f.binary("and", keep, self.negated(bad))
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
            value = f.add(here.value, self.lane_steps(lane, spec.lanes[1], value_stride))
            self.one(f.add(here.target, address), value)
            following = f.binary("and", set_lanes, f.binary("sub", set_lanes, 1))
            bits.again(f.compare("ne", following, 0), following)
