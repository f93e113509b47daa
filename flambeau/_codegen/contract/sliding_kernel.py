"""The kernel for windows that slide: a band of the input is read once, and every window of it is a load at another distance.

What a tile needs of ``b`` is a *band*: for each step of the outer k axes some rows (along the ``tall`` pair) of some columns
(along the ``wide`` pair), zeros where bounds say so.  It is copied to scratch memory; with a pace of 2 or more the columns of a
row are kept in as many *planes*, so that neighbouring positions are neighbours in memory.  Then a register tile of ``rows``
x ``positions`` vectors walks over the taps, all of them unrolled.  A vector of the band is loaded once for all the rows and positions
that see it.

``lanes`` says what lies across the lanes: neighbouring ``columns`` of the output (positions then are rows of an image), or
the ``batch``, which both operands have (channels of a depthwise convolution with the channels innermost; positions then are columns).
With a batch a band is no copy but the *addresses* of its pixels, of which those outside bounds are all that of one pixel of zeros: memory is read as it
lies, all lanes of a few columns at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from flambeau._codegen.contract.arithmetic import Tile, multiply_add, register_tile, widen
from flambeau._codegen.contract.ending import Ending, emit_straight_ending
from flambeau._codegen.contract.kernel import REMEMBERED, SIGNATURE, Code, base_address, finished
from flambeau._codegen.contract.micro import add_up, anchors
from flambeau._codegen.contract.packing import address, nest
from flambeau._codegen.contract.parameters import Parameters, decomposed, dot
from flambeau._codegen.ir import Builder, Module, Value, constant, constant_vector, i64, vector
from flambeau._codegen.scalar import registers
from flambeau._runtime.targets import Target
from flambeau._types.dtype import dtype

_AHEAD = 4
"""Steps of k ahead of which lines of the input are asked for: a step reads a few rows, on pages of its own, which no prefetcher follows."""


class Slide(NamedTuple):
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


class Sliding(NamedTuple):
    """All that the code depends on.

    ``batch``, ``n`` and ``k`` count the axes outside; ``bounds`` says of each bound whether it depends on the wide pair. The left
    operand is read where it lies if ``is_in_place``: then its taps are neighbours. ``is_ragged`` says that the last vector of a batch is not whole.
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
    is_ragged: bool
    ending: Ending

    @property
    def is_batched(self) -> bool:
        return self.lanes == "batch"

    @property
    def ahead(self) -> int:
        """How many columns of the input two neighbouring register tiles of a batch read: the second one's are asked for by the first."""
        return (2 * self.positions - 1) * self.wide.pace + self.wide.reach + 1


@lru_cache(maxsize=REMEMBERED)
def sliding(structure: Sliding) -> Code:
    """The kernel that computes tiles of the output."""
    module, parameters = Module(structure.target.instruction_sets), Parameters()
    _Emitter(module, parameters, structure).emit()
    return finished(module, parameters)


def _emit_pixels(module: Module, tile: Tile, s: Sliding, masked: bool) -> str:
    """The register tile of a batch: ``window(band, row, step, lane, a, as, k, sums, more[, count])``; returns its name.

    ``row`` and ``step`` are distances in the band of addresses, ``lane`` is how far lanes are from where pixels begin. Factors lie as they are used: for
    each tap a vector, for each step of k, ``as`` apart. A ``masked`` one reads ``count`` lanes of a pixel.
    """
    name = "window" + "_masked" * masked
    labels = [("ptr", "band"), ("i64", "row"), ("i64", "step"), ("i64", "lane"), ("ptr", "a"), ("i64", "as"), ("i64", "k")]
    labels += [("ptr noalias", "sums"), ("i1", "more")] + [("i64", "count")] * masked
    f = module.function(name, labels, linkage="internal", attributes="noinline")
    band, row, step, lane, a, a_step, k, sums, more = f.parameters[:9]
    mask = f.lane_mask(f.parameters[9], tile.width) if masked else None
    with f.repeat([k, band, a, *[constant(tile.type, 0)] * s.positions]) as loop:
        left, band, a, *chains = loop.carried
        for tall in range(s.tall.taps):
            line = f.offset(band, f.mul(row, tall * s.tall.spread - s.tall.first), "ptr")
            first = tall * s.wide.taps
            factors = [f.load(f.offset(a, (first + tap) * tile.width, tile.element), tile.type) for tap in range(s.wide.taps)]
            for coordinate, pairs in s.wide.seen(s.positions):
                pixel = f.load(f.offset(line, coordinate, "ptr"), "ptr")
                value = registers.load(f, address(f, pixel, lane, s.operand), s.operand, tile.width, mask)
                parts = registers.unpack(widen(f, value, s.operand, tile.compute))
                for p, tap in pairs:
                    chains[p] = multiply_add(f, tile, [factors[tap]], parts, [chains[p]])[0]
        for tall in range(max(0, s.tall.reach - s.tall.pace + 1), s.tall.reach + 1):
            line = f.offset(band, f.mul(row, tall), "ptr")
            for coordinate in range((s.positions - 1) * s.wide.pace + s.wide.reach + 1, s.ahead):
                f.prefetch(address(f, f.load(f.offset(line, coordinate, "ptr"), "ptr"), lane, s.operand))
        left = f.sub(left, 1)
        loop.again(f.compare("sgt", left, 0), left, f.offset(band, step, "ptr"), f.offset(a, a_step, tile.element), *chains)
    add_up(f, tile, loop.carried[3:], [f.offset(sums, p * tile.pitch, tile.element) for p in range(s.positions)], more)
    f.ret()
    return name


def _emit_window(module: Module, tile: Tile, s: Sliding) -> str:
    """The register tile: ``window(band, row, plane, step, a, as, ar, k, sums, more)``; returns its name.

    ``row``, ``plane`` and ``step`` are distances in the band (of rows, of planes, of steps of k), ``as`` is that of steps of k in the left
    operand, and ``ar`` that of its rows if it is read in place. The chains are added to the sums if there are some already (``more``).
    """
    labels = [("ptr", "band"), ("i64", "row"), ("i64", "plane"), ("i64", "step"), ("ptr", "a"), ("i64", "as"), ("i64", "ar"), ("i64", "k")]
    f = module.function("window", [*labels, ("ptr noalias", "sums"), ("i1", "more")], linkage="internal", attributes="noinline")
    band, row, plane, step, a, a_step, a_row, k, sums, more = f.parameters
    width = tile.width
    count = s.rows * s.positions * s.vectors

    def at(r: int, p: int, v: int) -> int:
        return (r * s.positions + p) * s.vectors + v

    with f.repeat([k, band, a, *[constant(tile.type, 0)] * count]) as loop:
        left, band, a, *chains = loop.carried
        starts, reached = anchors(s.rows) if s.is_in_place else ([0], [(0, 0)] * s.rows)
        bases = [f.offset(a, f.mul(a_row, each), tile.element) if each else a for each in starts]
        sides = [f.offset(bases[base], f.mul(a_row, reach), tile.element) if reach else bases[base] for base, reach in reached]
        known: dict[tuple[int, int], Value] = {}

        def factor(r: int, tall: int, wide: int) -> Value:
            """What multiplies the band."""
            tap = tall * s.wide.taps + wide
            if (r, tap) not in known:
                place = f.offset(sides[r], tap if s.is_in_place else tap * s.rows + r, tile.element)
                known[r, tap] = f.splat(f.load(place, tile.element), width)
            return known[r, tap]

        def accumulate(r: int, p: int, v: int, a: Value, b: Value) -> None:
            chains[at(r, p, v)] = multiply_add(f, tile, [a], [b], [chains[at(r, p, v)]])[0]

        for coordinate, pairs in s.tall.seen(s.positions):
            line = f.offset(band, f.mul(row, coordinate), tile.element)
            for wide in range(s.wide.taps):
                along, which = divmod(wide * s.wide.spread - s.wide.first, s.wide.pace)
                start = f.offset(line, f.mul(plane, which), tile.element) if which else line
                values = [f.load(f.offset(start, along + v * width, tile.element), tile.type) for v in range(s.vectors)]
                for p, tap in pairs:
                    for r in range(s.rows):
                        for v, value in enumerate(values):
                            accumulate(r, p, v, factor(r, tap, wide), value)
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
        if s.is_batched:
            self.windows = [_emit_pixels(module, self.tile, s, masked) for masked in ((False, True) if s.is_ragged else (False,))]
        else:
            self.windows = [_emit_window(module, self.tile, s)]
        self.ending = emit_straight_ending(module, self.tile, s.ending, s.vectors)
        self.f = module.function("kernel", SIGNATURE)
        self.read = parameters.reader(self.f, self.f.parameters[1])
        self.names = list(s.ending.dtypes)

    def _scratch(self, name: str) -> Value:
        return self.f.offset(self.f.parameters[4], self.read(f"scratch.{name}"), "i8")

    def emit(self) -> None:
        f, read, s = self.f, self.read, self.s
        _, _, begin, end, _ = f.parameters
        dtypes = {"a": s.operand, "b": s.operand} | s.ending.dtypes
        bases = {name: base_address(f, read, name) for name in dtypes}
        self.areas = {name: self._scratch(name) for name in ("band", "weights", "sums", "zeros" if s.is_batched else "masks")}
        outside = [f"batch{i}" for i in range(s.batch)] + [f"n{i}" for i in range(s.n)]
        self.packed = f.alloca("ptr")
        f.store(Value("null", "ptr"), self.packed)
        if s.is_batched:
            f.fill(self.areas["zeros"], read("zeros.bytes"))
            with f.loop(0, s.ahead) as beyond:
                f.store(self.areas["zeros"], f.offset(self.areas["band"], f.add(read("band.count"), beyond.index), "ptr"))
        # Where columns began in the tile before; the first one has none before it.
        self.before = [f.alloca("i64") for is_wide in s.bounds if is_wide]
        for place in self.before:
            f.store(i64(0), place)
        with f.loop(begin, end) as loop:
            self.is_first = f.compare("eq", loop.index, begin)
            rest, lane = loop.index, i64(0)
            if s.is_batched:
                block, rest = f.binary("urem", rest, read("lane.tiles")), f.binary("udiv", rest, read("lane.tiles"))
                lane = f.mul(block, read("lane.block"))
            tall_tile, rest = f.binary("urem", rest, read("tall.tiles")), f.binary("udiv", rest, read("tall.tiles"))
            n = decomposed(f, read, "n", s.n, f.binary("urem", rest, read("n.count"))) if s.n else []
            batch = decomposed(f, read, "batch", s.batch, f.binary("udiv", rest, read("n.count"))) if s.batch else []
            first = f.mul(tall_tile, read("tall.block"))
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
            lanes = f.intrinsic("smin", f.sub(read("lane.extent"), lane), read("lane.block")) if s.is_batched else None
            start = dot(f, batch, read, [f"batch{i}.a" for i in range(s.batch)])
            weights = self._weights(
                address(f, bases["a"], f.add(start, f.mul(lane, read("lane.a"))) if s.is_batched else start, s.operand), lanes
            )
            self._band(at["b"], starts, tall)
            if lanes is None:
                self._rows(at, weights, tall)
            else:
                self._pixels(at, weights, tall, lanes)
        f.ret()

    # -- the left operand ------------------------------------------------------------------------------------------

    def _weights(self, source: Value, lanes: Value | None) -> Value:
        """The left operand as the register tile reads it: panels of rows, then steps of k, taps, and rows (or vectors of lanes outside of all)."""
        f, s = self.f, self.s
        if s.is_in_place:
            return source
        with f.when(f.compare("ne", f.load(self.packed, "ptr"), source)):
            f.store(source, self.packed)
            if lanes is None:
                self._factors(source)
            else:
                self._factors_of_lanes(source, lanes)
        return self.areas["weights"]

    def _factors(self, source: Value) -> None:
        f, read, s, tile = self.f, self.read, self.s, self.tile
        extents = [read("m.panels"), *[read(f"k{i}.extent") for i in range(s.k)], i64(s.tall.taps), i64(s.wide.taps)]
        axes = [*[f"k{i}.a" for i in range(s.k)], "tall.tap", "wide.tap"]
        with nest(f, extents) as (panel, *k):
            place = f.offset(self.areas["weights"], f.mul(_linear(f, [panel, *k], extents), s.rows), tile.element)
            start = address(f, source, dot(f, k, read, axes), s.operand)
            for r in range(s.rows):
                row = f.intrinsic("smin", f.add(f.mul(panel, s.rows), r), f.sub(read("m.extent"), 1))
                value = registers.load(f, address(f, start, f.mul(row, read("m.a")), s.operand), s.operand, 1)
                f.store(widen(f, value, s.operand, tile.compute), f.offset(place, r, tile.element))

    def _factors_of_lanes(self, source: Value, lanes: Value) -> None:
        f, read, s, tile = self.f, self.read, self.s, self.tile
        vectors = f.binary("udiv", f.add(lanes, tile.width - 1), i64(tile.width))
        extents = [read("m.panels"), vectors, *[read(f"k{i}.extent") for i in range(s.k)], i64(s.tall.taps), i64(s.wide.taps)]
        axes = ["m.a", *[f"k{i}.a" for i in range(s.k)], "tall.tap", "wide.tap"]
        with nest(f, extents) as (panel, each, *k):
            place = f.offset(self.areas["weights"], f.mul(_linear(f, [panel, each, *k], extents), tile.width), tile.element)
            lane = f.mul(each, tile.width)
            start = address(f, source, f.add(dot(f, [panel, *k], read, axes), f.mul(lane, read("lane.a"))), s.operand)
            value = registers.load_strided(f, start, read("lane.a"), s.operand, tile.width, f.lane_mask(f.sub(lanes, lane), tile.width))
            f.store(widen(f, value, s.operand, tile.compute), place)

    # -- the band --------------------------------------------------------------------------------------------------

    def _in_range(self, bounds: list[tuple[int, Value]]) -> Value:
        f, within = self.f, Value("true", "i1")
        for bound, coordinate in bounds:
            within = f.binary("and", within, f.compare("ult", coordinate, self.read(f"bound{bound}.extent")))
        return within

    def _band(self, source: Value, starts: list[Value], tall: Value) -> None:
        """Copy what ``tall`` rows of positions need, or find where its pixels are.

        What register tiles read beyond that is zero, although no result depends on it: left as it was it may be subnormal numbers (integers
        are), with which Intel's processors multiply in a hundred cycles.
        """
        f, read, s = self.f, self.read, self.s
        element = "ptr" if s.is_batched else self.tile.element
        still = [i for i, is_wide in enumerate(s.bounds) if not is_wide]
        moving = [i for i, is_wide in enumerate(s.bounds) if is_wide]
        if not s.is_batched:
            self._masks([(i, starts[i]) for i in moving])
        rows = f.add(f.mul(f.sub(tall, 1), s.tall.pace), s.tall.reach + 1)
        down = 1 if s.is_batched else s.positions
        whole = f.mul(f.binary("udiv", f.add(tall, down - 1), i64(down)), down) if down > 1 else tall
        all_rows = f.add(f.mul(f.sub(whole, 1), s.tall.pace), s.tall.reach + 1)
        extents = [read(f"k{i}.extent") for i in range(s.k)]
        with nest(f, extents) as k:
            offset = dot(f, k, read, [f"k{i}.b" for i in range(s.k)])
            at_k = [(i, dot(f, k, read, [f"k{j}.bound{i}" for j in range(s.k)], starts[i])) for i in still]
            block = f.offset(self.areas["band"], f.mul(_linear(f, k, extents), read("band.step")), element)
            with f.loop(0, all_rows) as row:
                here = self._in_range([(i, f.add(at, f.mul(row.index, read(f"tall.unit.bound{i}")))) for i, at in at_k])
                here = f.binary("and", here, f.compare("slt", row.index, rows))
                start = address(f, source, f.add(offset, f.mul(row.index, read("tall.unit"))), s.operand)
                place = f.offset(block, f.mul(row.index, read("band.row")), element)
                if s.is_batched:
                    self._addresses(start, place, here, [(i, starts[i]) for i in moving])
                else:
                    self._line(start, place, here)

    def _masks(self, bounds: list[tuple[int, Value]]) -> None:
        """Which columns of a row exist, a byte each, unless that is known from the tile before."""
        f = self.f
        is_new = self.is_first
        for (_, start), before in zip(bounds, self.before, strict=True):
            is_new = f.binary("or", is_new, f.compare("ne", f.load(before, "i64"), start))
        with f.when(is_new):
            self._find_masks(bounds)
            for (_, start), before in zip(bounds, self.before, strict=True):
                f.store(start, before)

    def _find_masks(self, bounds: list[tuple[int, Value]]) -> None:
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

    def _addresses(self, source: Value, place: Value, exists: Value, bounds: list[tuple[int, Value]]) -> None:
        """Where the pixels of a row are."""
        f, read, s = self.f, self.read, self.s
        with f.loop(0, read("band.columns")) as loop:
            here = self._in_range([(i, f.add(start, f.mul(loop.index, read(f"wide.unit.bound{i}")))) for i, start in bounds])
            here = f.binary("and", here, f.compare("slt", loop.index, read("wide.needed")))
            pixel = address(f, source, f.mul(loop.index, read("wide.unit")), s.operand)
            f.store(f.select(f.binary("and", here, exists), pixel, self.areas["zeros"]), f.offset(place, loop.index, "ptr"))

    # -- the output ------------------------------------------------------------------------------------------------

    def _rows(self, at: dict[str, Value], weights: Value, tall: Value) -> None:
        """All register tiles of a tile, along the rows of the output."""
        f, read, s = self.f, self.read, self.s
        down, across = s.positions, self.tile.width * s.vectors
        with f.loop(0, tall, down) as row, f.loop(0, read("m.panels")) as panel, f.loop(0, read("wide.extent"), across) as column:
            band = f.offset(self.areas["band"], f.mul(f.mul(row.index, s.tall.pace), read("band.row")), self.tile.element)
            a = f.offset(weights, f.mul(panel.index, read("a.panel")), self.tile.element)
            band = f.offset(band, column.index, self.tile.element)
            with f.loop(0, read("k.count"), read("k.chain")) as chain:
                start = f.offset(band, f.mul(chain.index, read("band.step")), self.tile.element)
                side = f.offset(a, f.mul(chain.index, read("a.step")), self.tile.element)
                steps = f.intrinsic("smin", f.sub(read("k.count"), chain.index), read("k.chain"))
                arguments = [start, read("band.row"), read("band.plane"), read("band.step"), side, read("a.step"), read("a.row"), steps]
                f.call(f"@{self.windows[0]}", *arguments, self.areas["sums"], f.compare("ne", chain.index, 0))
            rows = f.intrinsic("smin", f.sub(tall, row.index), i64(s.positions))
            count = f.intrinsic("smin", f.sub(read("wide.extent"), column.index), i64(across))
            first = f.mul(panel.index, s.rows)
            with f.loop(first, f.intrinsic("smin", f.add(first, s.rows), read("m.extent"))) as m:
                sums = f.offset(self.areas["sums"], f.mul(f.sub(m.index, first), s.positions * self.tile.pitch), self.tile.element)
                self._end(at, sums, {"m": m.index, "tall": row.index, "wide": column.index}, ("tall", rows), ("wide", count))

    def _pixels(self, at: dict[str, Value], weights: Value, tall: Value, lanes: Value) -> None:
        """All register tiles of a tile whose lanes are a batch: all lanes of a few columns after each other, as they are in memory."""
        f, read, s, tile = self.f, self.read, self.s, self.tile
        vectors = f.binary("udiv", f.add(lanes, tile.width - 1), i64(tile.width))
        with (
            f.loop(0, tall) as row,
            f.loop(0, read("wide.extent"), s.positions) as column,
            f.loop(0, read("m.panels")) as panel,
            f.loop(0, lanes, tile.width) as lane,
        ):
            band = f.offset(self.areas["band"], f.mul(f.mul(row.index, s.tall.pace), read("band.row")), "ptr")
            band = f.offset(band, f.mul(column.index, s.wide.pace), "ptr")
            number = f.add(f.mul(panel.index, vectors), f.binary("udiv", lane.index, i64(tile.width)))
            a = f.offset(weights, f.mul(number, read("a.panel")), tile.element)
            count = f.intrinsic("smin", f.sub(lanes, lane.index), i64(tile.width))
            with f.loop(0, read("k.count"), read("k.chain")) as chain:
                start = f.offset(band, f.mul(chain.index, read("band.step")), "ptr")
                side = f.offset(a, f.mul(chain.index, read("a.step")), tile.element)
                steps = f.intrinsic("smin", f.sub(read("k.count"), chain.index), read("k.chain"))
                arguments = [start, read("band.row"), read("band.step"), lane.index, side, read("a.step"), steps, self.areas["sums"]]
                arguments.append(f.compare("ne", chain.index, 0))
                is_whole = f.compare("eq", count, tile.width)
                with f.when(is_whole):
                    f.call(f"@{self.windows[0]}", *arguments)
                if s.is_ragged:
                    with f.when(f.binary("xor", is_whole, 1)):
                        f.call(f"@{self.windows[1]}", *arguments, count)
            rows = f.intrinsic("smin", f.sub(read("wide.extent"), column.index), i64(s.positions))
            indices = {"m": panel.index, "tall": row.index, "wide": column.index, "lane": lane.index}
            self._ask_for(at["out"], {**indices, "wide": f.add(column.index, s.positions)})
            self._end(at, self.areas["sums"], indices, ("wide", rows), ("lane", count))

    def _ask_for(self, out: Value, indices: dict[str, Value]) -> None:
        """Bring the lines of the output that the next register tile writes: waiting for them took a fifth of 144 channels of 56 x 56, batch of 4."""
        f, read, s = self.f, self.read, self.s
        start = address(f, out, dot(f, list(indices.values()), read, [f"{axis}.out" for axis in indices]), s.ending.out)
        for p in range(s.positions):
            f.prefetch(address(f, start, f.mul(read("wide.out"), p), s.ending.out), writes=True)

    def _end(
        self, at: dict[str, Value], sums: Value, indices: dict[str, Value], down: tuple[str, Value], across: tuple[str, Value]
    ) -> None:
        """Finish rows ``down`` of sums ``across``: of each the axis, and how many exist."""
        f, read, arguments = self.f, self.read, []
        for name, of in self.s.ending.dtypes.items():
            offset = dot(f, list(indices.values()), read, [f"{axis}.{name}" for axis in indices])
            arguments += [address(f, at[name], offset, of), read(f"{down[0]}.{name}"), read(f"{across[0]}.{name}")]
        f.call(f"@{self.ending}", sums, down[1], across[1], *arguments)


def _linear(f: Builder, indices: list[Value], extents: list[Value]) -> Value:
    """The number of a place in a nest of loops."""
    linear = i64(0)
    for index, extent in zip(indices, extents, strict=True):
        linear = f.add(f.mul(linear, extent), index)
    return linear
