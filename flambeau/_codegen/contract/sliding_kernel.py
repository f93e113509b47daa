"""The kernel for windows that slide: a band of the input is read once, and every window of it is a load at another distance.

What a tile needs of ``b`` is a *band*: for each step of the outer k axes some rows (along the ``tall`` pair) of some columns
(along the ``wide`` pair), zeros where bounds say so.  It is copied to scratch memory; with a pace of 2 or more the columns of a
row are kept in as many *planes*, so that neighbouring positions are neighbours in memory.  Then a register tile of ``rows``
x ``positions`` vectors walks over the taps, all of them unrolled.  A vector of the band is loaded once for all the rows and positions
that see it.

``lanes`` says what lies across the lanes: neighbouring ``columns`` of the output (positions then are rows of an image), or
the ``batch``, which both operands have (channels of a depthwise convolution with the channels innermost; positions then are columns).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from flambeau._codegen.contract.arithmetic import Tile, multiply_add, register_tile, widen
from flambeau._codegen.contract.ending import Ending, emit_straight_ending
from flambeau._codegen.contract.kernel import SIGNATURE, Code, base_address, finished, instruction_sets
from flambeau._codegen.contract.micro import add_up, anchors
from flambeau._codegen.contract.packing import address, nest
from flambeau._codegen.contract.parameters import Parameters, decomposed, dot
from flambeau._codegen.ir import Module, Value, constant, constant_vector, i64, vector
from flambeau._codegen.scalar import registers
from flambeau._runtime.targets import Target
from flambeau._types.dtype import dtype


_AHEAD = 4
"""Steps of k ahead of which lines of the input are asked for: a step reads a few rows, on pages of its own, which no prefetcher follows."""


@dataclass(frozen=True, slots=True)
class Slide:
    """Position ``p`` and tap ``t`` of a pair of axes read the input at coordinate ``p * pace + t * spread``."""

    taps: int
    pace: int
    spread: int

    @property
    def first(self) -> int:
        """The lowest coordinate of position 0."""
        return min(0, (self.taps - 1) * self.spread)

    @property
    def reach(self) -> int:
        return (self.taps - 1) * abs(self.spread)

    def seen(self, positions: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """Each coordinate (from the lowest) that some positions read, and which of them with which tap; each takes its taps in order."""
        pairs: dict[int, list[tuple[int, int]]] = {}
        for position in range(positions):
            for tap in range(self.taps):
                pairs.setdefault(position * self.pace + tap * self.spread - self.first, []).append((position, tap))
        for coordinate in sorted(pairs, reverse=self.spread < 0):
            yield coordinate, pairs[coordinate]


@dataclass(frozen=True)
class Sliding:
    """All that the code depends on.

    ``batch``, ``n`` and ``k`` count the axes outside; ``bounds`` says of each bound whether it depends on the wide pair. The left
    operand is read where it lies if ``is_in_place``: then its taps are neighbours.
    """

    target: Target
    operand: dtype
    lanes: str
    tall: Slide
    wide: Slide
    rows: int
    positions: int
    vectors: int
    batch: int
    n: int
    k: int
    bounds: tuple[bool, ...]
    is_in_place: bool
    ending: Ending

    @property
    def is_batched(self) -> bool:
        return self.lanes == "batch"


@cache
def sliding(structure: Sliding) -> Code:
    """The kernel that computes tiles of the output."""
    module, parameters = Module(instruction_sets(structure.target)), Parameters()
    _Emitter(module, parameters, structure).emit()
    return finished(module, parameters)


def _emit_window(module: Module, tile: Tile, s: Sliding) -> str:
    """The register tile: ``window(band, row, plane, step, a, as, ar, k, sums, more)``; returns its name.

    ``row``, ``plane`` and ``step`` are distances in the band (of rows, of planes, of steps of k), ``as`` is that of steps of k in the left
    operand, and ``ar`` that of its rows if it is read in place. The chains are added to the sums if there are some already (``more``).
    """
    labels = [("ptr", "band"), ("i64", "row"), ("i64", "plane"), ("i64", "step"), ("ptr", "a"), ("i64", "as"), ("i64", "ar"), ("i64", "k")]
    f = module.function("window", [*labels, ("ptr noalias", "sums"), ("i1", "more")], linkage="internal", attributes="noinline")
    band, row, plane, step, a, a_step, a_row, k, sums, more = f.parameters
    width, lanes = tile.width, tile.width * s.vectors
    count = s.rows * s.positions * s.vectors

    def at(r: int, p: int, v: int) -> int:
        return (r * s.positions + p) * s.vectors + v

    with f.repeat([k, band, a, *[constant(tile.type, 0)] * count]) as loop:
        left, band, a, *chains = loop.carried
        starts, reached = anchors(s.rows) if s.is_in_place else ([0], [(0, 0)] * s.rows)
        bases = [f.offset(a, f.mul(a_row, each), tile.element) if each else a for each in starts]
        sides = [f.offset(bases[base], f.mul(a_row, reach), tile.element) if reach else bases[base] for base, reach in reached]
        known: dict[tuple, Value] = {}

        def factor(r: int, tall: int, wide: int, v: int) -> Value:
            """What multiplies the band: one number, or a vector of them where lanes are a batch."""
            tap = tall * s.wide.taps + wide
            key = (r, tap, v if s.is_batched else 0)
            if key not in known:
                if s.is_batched:
                    known[key] = f.load(f.offset(a, tap * lanes + v * width, tile.element), tile.type)
                else:
                    place = f.offset(sides[r], tap if s.is_in_place else tap * s.rows + r, tile.element)
                    known[key] = f.splat(f.load(place, tile.element), width)
            return known[key]

        def accumulate(r: int, p: int, v: int, a: Value, b: Value) -> None:
            chains[at(r, p, v)] = multiply_add(f, tile, [a], [b], [chains[at(r, p, v)]])[0]

        if s.is_batched:
            for tall in range(s.tall.taps):
                line = f.offset(band, f.mul(row, tall * s.tall.spread - s.tall.first), tile.element)
                for coordinate, pairs in s.wide.seen(s.positions):
                    for v in range(s.vectors):
                        value = f.load(f.offset(line, coordinate * lanes + v * width, tile.element), tile.type)
                        for p, tap in pairs:
                            accumulate(0, p, v, factor(0, tall, tap, v), value)
        else:
            for coordinate, pairs in s.tall.seen(s.positions):
                line = f.offset(band, f.mul(row, coordinate), tile.element)
                for wide in range(s.wide.taps):
                    along, which = divmod(wide * s.wide.spread - s.wide.first, s.wide.pace)
                    start = f.offset(line, f.mul(plane, which), tile.element) if which else line
                    values = [f.load(f.offset(start, along + v * width, tile.element), tile.type) for v in range(s.vectors)]
                    for p, tap in pairs:
                        for r in range(s.rows):
                            for v, value in enumerate(values):
                                accumulate(r, p, v, factor(r, tap, wide, v), value)
        left = f.sub(left, 1)
        loop.again(f.compare("sgt", left, 0), left, f.offset(band, step, tile.element), f.offset(a, a_step, tile.element), *chains)
    numbers = [(r * s.positions + p) * tile.pitch + v * width for r in range(s.rows) for p in range(s.positions) for v in range(s.vectors)]
    add_up(f, tile, loop.carried[3:], [f.offset(sums, number, tile.element) for number in numbers], more)
    f.ret()
    return "window"


class _Emitter:
    def __init__(self, module: Module, parameters: Parameters, structure: Sliding) -> None:
        self.s = s = structure
        self.tile = register_tile(s.operand, s.target)
        self.window = _emit_window(module, self.tile, s)
        self.ending = emit_straight_ending(module, self.tile, s.ending, s.vectors)
        self.f = module.function("kernel", SIGNATURE)
        self.read = parameters.reader(self.f, self.f.parameters[1])
        self.names = list(s.ending.dtypes)
        self.lane_count = self.tile.width * s.vectors

    def _scratch(self, name: str) -> Value:
        return self.f.offset(self.f.parameters[4], self.read(f"scratch.{name}"), "i8")

    def emit(self) -> None:
        f, read, s = self.f, self.read, self.s
        _, _, begin, end, _ = f.parameters
        dtypes = {"a": s.operand, "b": s.operand} | s.ending.dtypes
        bases = {name: base_address(f, read, name) for name in dtypes}
        self.areas = {name: self._scratch(name) for name in ("band", "weights", "sums", "masks")}
        outside = [f"batch{i}" for i in range(s.batch)] + [f"n{i}" for i in range(s.n)]
        with f.loop(begin, end) as loop:
            rest, lane_tile = loop.index, i64(0)
            if s.is_batched:
                lane_tile, rest = f.binary("urem", rest, read("lane.tiles")), f.binary("udiv", rest, read("lane.tiles"))
            tall_tile, rest = f.binary("urem", rest, read("tall.tiles")), f.binary("udiv", rest, read("tall.tiles"))
            n = decomposed(f, read, "n", s.n, f.binary("urem", rest, read("n.count"))) if s.n else []
            batch = decomposed(f, read, "batch", s.batch, f.binary("udiv", rest, read("n.count"))) if s.batch else []
            first, lane = f.mul(tall_tile, read("tall.block")), f.mul(lane_tile, self.lane_count)
            tall = f.intrinsic("smin", f.sub(read("tall.extent"), first), read("tall.block"))
            indices, axes = [*batch, *n, first], [*outside, "tall"]
            if s.is_batched:
                indices, axes = [*indices, lane], [*axes, "lane"]
            at = {
                name: address(f, base, dot(f, indices, read, [f"{axis}.{name}" for axis in axes]), dtypes[name])
                for name, base in bases.items()
                if name != "a"
            }
            starts = [dot(f, indices, read, [f"{axis}.bound{i}" for axis in axes], read(f"bound{i}.start")) for i in range(len(s.bounds))]
            lanes = f.intrinsic("smin", f.sub(read("lane.extent"), lane), i64(self.lane_count)) if s.is_batched else None
            weights = self._weights(
                address(f, bases["a"], dot(f, batch, read, [f"batch{i}.a" for i in range(s.batch)]), s.operand), lane, lanes
            )
            self._band(at["b"], starts, tall, lanes)
            self._rows(at, weights, tall, lanes)
        f.ret()

    # -- the left operand ------------------------------------------------------------------------------------------

    def _weights(self, source: Value, lane: Value, lanes: Value | None) -> Value:
        """The left operand as the register tile reads it: panels of rows, then steps of k, taps, and rows (or lanes)."""
        f, read, s, tile = self.f, self.read, self.s, self.tile
        if s.is_in_place:
            return source
        target = self.areas["weights"]
        each = self.lane_count if s.is_batched else s.rows
        extents = [read("m.panels"), *[read(f"k{i}.extent") for i in range(s.k)], i64(s.tall.taps), i64(s.wide.taps)]
        axes = [*[f"k{i}.a" for i in range(s.k)], "tall.tap", "wide.tap"]
        with nest(f, extents) as (panel, *k):
            linear = panel
            for index, extent in zip(k, extents[1:], strict=True):
                linear = f.add(f.mul(linear, extent), index)
            place = f.offset(target, f.mul(linear, each), tile.element)
            start = address(f, source, dot(f, k, read, axes), s.operand)
            if lanes is not None:
                start = address(f, start, f.add(f.mul(lane, read("lane.a")), f.mul(panel, read("m.a"))), s.operand)
                for v in range(s.vectors):
                    mask = f.lane_mask(f.sub(lanes, v * tile.width), tile.width)
                    here = address(f, start, f.mul(read("lane.a"), v * tile.width), s.operand)
                    value = registers.load_strided(f, here, read("lane.a"), s.operand, tile.width, mask)
                    f.store(widen(f, value, s.operand, tile.compute), f.offset(place, v * tile.width, tile.element))
            else:
                for r in range(s.rows):
                    row = f.intrinsic("smin", f.add(f.mul(panel, s.rows), r), f.sub(read("m.extent"), 1))
                    value = registers.load(f, address(f, start, f.mul(row, read("m.a")), s.operand), s.operand, 1)
                    f.store(widen(f, value, s.operand, tile.compute), f.offset(place, r, tile.element))
        return target

    # -- the band --------------------------------------------------------------------------------------------------

    def _in_range(self, bounds: list[tuple[int, Value]]) -> Value:
        f, within = self.f, Value("true", "i1")
        for bound, coordinate in bounds:
            within = f.binary("and", within, f.compare("ult", coordinate, self.read(f"bound{bound}.extent")))
        return within

    def _band(self, source: Value, starts: list[Value], tall: Value, lanes: Value | None) -> None:
        """Copy what ``tall`` rows of positions need.

        What register tiles read beyond that is zero, although no result depends on it: left as it was it may be subnormal numbers (integers
        are), with which Intel's processors multiply in a hundred cycles.
        """
        f, read, s, tile = self.f, self.read, self.s, self.tile
        still = [i for i, is_wide in enumerate(s.bounds) if not is_wide]
        moving = [i for i, is_wide in enumerate(s.bounds) if is_wide]
        if lanes is None:
            self._masks([(i, starts[i]) for i in moving])
        rows = f.add(f.mul(f.sub(tall, 1), s.tall.pace), s.tall.reach + 1)
        down = 1 if s.is_batched else s.positions
        whole = f.mul(f.binary("udiv", f.add(tall, down - 1), i64(down)), down) if down > 1 else tall
        all_rows = f.add(f.mul(f.sub(whole, 1), s.tall.pace), s.tall.reach + 1)
        extents = [read(f"k{i}.extent") for i in range(s.k)]
        with nest(f, extents) as k:
            linear = i64(0)
            for index, extent in zip(k, extents, strict=True):
                linear = f.add(f.mul(linear, extent), index)
            offset = dot(f, k, read, [f"k{i}.b" for i in range(s.k)])
            at_k = [(i, dot(f, k, read, [f"k{j}.bound{i}" for j in range(s.k)], starts[i])) for i in still]
            block = f.offset(self.areas["band"], f.mul(linear, read("band.step")), tile.element)
            with f.loop(0, all_rows) as row:
                here = self._in_range([(i, f.add(at, f.mul(row.index, read(f"tall.unit.bound{i}")))) for i, at in at_k])
                here = f.binary("and", here, f.compare("slt", row.index, rows))
                start = address(f, source, f.add(offset, f.mul(row.index, read("tall.unit"))), s.operand)
                place = f.offset(block, f.mul(row.index, read("band.row")), tile.element)
                if lanes is None:
                    self._line(start, place, here)
                else:
                    self._pixels(start, place, here, [(i, starts[i]) for i in moving], lanes)

    def _masks(self, bounds: list[tuple[int, Value]]) -> None:
        """Which columns of a row exist, a byte each."""
        f, read, width = self.f, self.read, self.tile.width
        iota = constant_vector("i64", range(width))
        with f.loop(0, read("band.columns"), width) as loop:
            mask = f.lane_mask(f.sub(read("wide.needed"), loop.index), width)
            for bound, start in bounds:
                slope = read(f"wide.unit.bound{bound}")
                first = f.add(start, f.mul(loop.index, slope))
                along = f.add(f.mul(iota, f.splat(slope, width)), f.splat(first, width))
                mask = f.binary("and", mask, f.compare("ult", along, f.splat(read(f"bound{bound}.extent"), width)))
            f.store(f.cast("sext", mask, vector("i8", width)), f.offset(self.areas["masks"], loop.index, "i8"))

    def _line(self, source: Value, place: Value, exists: Value) -> None:
        """One row of columns, cut into planes."""
        f, read, s, tile = self.f, self.read, self.s, self.tile
        width = tile.width * s.wide.pace
        with f.loop(0, read("band.columns"), width) as loop:
            start = address(f, source, loop.index, s.operand)
            if s.k:
                f.prefetch(address(f, start, f.mul(read(f"k{s.k - 1}.b"), _AHEAD), s.operand))
            target = f.offset(place, f.binary("udiv", loop.index, i64(s.wide.pace)) if s.wide.pace > 1 else loop.index, tile.element)
            present = f.load(f.offset(self.areas["masks"], loop.index, "i8"), vector("i8", width))

            is_any = Value("true", "i1")
            if not tile.has_masks:
                # Without mask registers a masked load takes several times as long as one of a whole vector, as most are.
                is_whole = f.binary("and", f.compare("eq", f.cast("bitcast", present, f"i{8 * width}"), -1), exists)
                with f.when(is_whole):
                    self._planes(registers.load(f, start, s.operand, width), target)
                is_any = f.binary("xor", is_whole, 1)
            with f.when(is_any):
                mask = f.binary("and", f.compare("ne", present, 0), f.splat(exists, width))
                self._planes(registers.load(f, start, s.operand, width, mask), target)

    def _planes(self, value: registers.Operand, target: Value) -> None:
        """Store neighbouring columns, each to its plane."""
        f, s, tile, width = self.f, self.s, self.tile, self.tile.width * self.s.wide.pace
        value = widen(f, value, s.operand, tile.compute)
        for which in range(s.wide.pace):
            part = f.shuffle(value, value, range(which, width, s.wide.pace)) if s.wide.pace > 1 else value
            f.store(part, f.offset(target, f.mul(self.read("band.plane"), which), tile.element))

    def _pixels(self, source: Value, place: Value, exists: Value, bounds: list[tuple[int, Value]], lanes: Value) -> None:
        """One row of columns, each of them vectors of lanes."""
        f, read, s, tile = self.f, self.read, self.s, self.tile
        valid = [f.lane_mask(f.sub(lanes, v * tile.width), tile.width) for v in range(s.vectors)]
        with f.loop(0, read("band.columns")) as loop:
            here = self._in_range([(i, f.add(start, f.mul(loop.index, read(f"wide.unit.bound{i}")))) for i, start in bounds])
            here = f.binary("and", here, f.compare("slt", loop.index, read("wide.needed")))
            here = f.splat(f.binary("and", here, exists), tile.width)
            start = address(f, source, f.mul(loop.index, read("wide.unit")), s.operand)
            target = f.offset(place, f.mul(loop.index, self.lane_count), tile.element)
            for v, mask in enumerate(valid):
                value = registers.load(
                    f, address(f, start, i64(v * tile.width), s.operand), s.operand, tile.width, f.binary("and", here, mask)
                )
                f.store(widen(f, value, s.operand, tile.compute), f.offset(target, v * tile.width, tile.element))

    # -- the output ------------------------------------------------------------------------------------------------

    def _rows(self, at: dict[str, Value], weights: Value, tall: Value, lanes: Value | None) -> None:
        """All register tiles of a tile, along the rows of the output."""
        f, read, s = self.f, self.read, self.s
        down, across = (1, s.positions) if s.is_batched else (s.positions, self.lane_count)
        with f.loop(0, tall, down) as row, f.loop(0, read("m.panels")) as panel, f.loop(0, read("wide.extent"), across) as column:
            band = f.offset(self.areas["band"], f.mul(f.mul(row.index, s.tall.pace), read("band.row")), self.tile.element)
            along = f.mul(column.index, s.wide.pace * self.lane_count) if s.is_batched else column.index
            a = f.offset(weights, f.mul(panel.index, read("a.panel")), self.tile.element)
            band = f.offset(band, along, self.tile.element)
            with f.loop(0, read("k.count"), read("k.chain")) as chain:
                start = f.offset(band, f.mul(chain.index, read("band.step")), self.tile.element)
                side = f.offset(a, f.mul(chain.index, read("a.step")), self.tile.element)
                steps = f.intrinsic("smin", f.sub(read("k.count"), chain.index), read("k.chain"))
                arguments = [start, read("band.row"), read("band.plane"), read("band.step"), side, read("a.step"), read("a.row"), steps]
                f.call(f"@{self.window}", *arguments, self.areas["sums"], f.compare("ne", chain.index, 0))
            self._end(at, row.index, panel.index, column.index, tall, lanes)

    def _end(self, at: dict[str, Value], row: Value, panel: Value, column: Value, tall: Value, lanes: Value | None) -> None:
        f, read, s, tile = self.f, self.read, self.s, self.tile
        left = f.sub(read("wide.extent"), column)
        if lanes is not None:
            down, across, rows, count = "wide", "lane", f.intrinsic("smin", left, i64(s.positions)), lanes
        else:
            down, across, rows = "tall", "wide", f.intrinsic("smin", f.sub(tall, row), i64(s.positions))
            count = f.intrinsic("smin", left, i64(self.lane_count))
        first = f.mul(panel, s.rows)
        with f.loop(first, f.intrinsic("smin", f.add(first, s.rows), read("m.extent"))) as m:
            arguments = []
            for name, of in s.ending.dtypes.items():
                offset = dot(f, [m.index, row, column], read, [f"{axis}.{name}" for axis in ("m", "tall", "wide")])
                arguments += [address(f, at[name], offset, of), read(f"{down}.{name}"), read(f"{across}.{name}")]
            sums = f.offset(self.areas["sums"], f.mul(f.sub(m.index, first), s.positions * tile.pitch), tile.element)
            f.call(f"@{self.ending}", sums, rows, count, *arguments)
