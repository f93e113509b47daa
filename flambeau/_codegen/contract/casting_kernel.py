"""The kernel for windows of images whose channels are innermost, and few results for each group of them: each number of a pixel is broadcast once.

Lanes are results (channels of the output), a register tile is ``down`` x ``across`` positions of one vector. The weights of a row of taps are in
registers while that row of pixels passes by: a number that is broadcast is multiplied by all of them, each for the position that sees the pixel with
that tap. So a step of 3 x 3 taps and 14 positions is 126 multiply-adds and 57 loads, where the general kernel with panels of 8 rows loads more often than it multiplies.

Pixels are read from a *band*, what a tile needs of the input in a copy with its border (``bordered``); weights are packed once for all tiles
that a thread has of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import zip_longest

from flambeau._codegen.contract.arithmetic import Tile, multiply_add, register_tile
from flambeau._codegen.contract.bordered import emit_rows
from flambeau._codegen.contract.ending import Ending, emit_straight_ending
from flambeau._codegen.contract.kernel import REMEMBERED, SIGNATURE, Code, base_address, finished
from flambeau._codegen.contract.micro import add_up
from flambeau._codegen.contract.packing import Border, Side, address, emit_pack
from flambeau._codegen.contract.parameters import Parameters, decomposed, dot
from flambeau._codegen.contract.sliding_kernel import Slide
from flambeau._codegen.ir import Module, Value, constant, i64
from flambeau._codegen.squares import transpose
from flambeau._runtime.targets import Target


@dataclass(frozen=True)
class Casting:
    """All that the code depends on; ``batch`` and ``n`` count the axes outside, and ``weights`` says how the left operand is packed.

    Where memory has neighbouring results at neighbouring positions a register tile is ``turned``: transposed before it ends.
    Pixels of the band are ``unit`` numbers apart: as a parameter that took more address registers than there are (128 -> 128, stride 2: 107 GFLOP/s of 119).
    """

    target: Target
    tall: Slide
    wide: Slide
    down: int
    across: int
    unit: int
    batch: int
    n: int
    weights: Side
    border: Border
    ending: Ending
    turned: bool = False
    bundle: str = ""

    @property
    def vectors(self) -> int:
        """Those of the positions of a row that is turned."""
        return -(-self.across // self.tile.width)

    @property
    def taps(self) -> int:
        return self.tall.taps * self.wide.taps

    @property
    def tile(self) -> Tile:
        return one_vector(register_tile(self.border.dtype, self.target, self.bundle))


def one_vector(tile: Tile) -> Tile:
    """The tile whose panels are one vector wide."""
    return replace(tile, vectors=1)


@lru_cache(maxsize=REMEMBERED)
def casting(structure: Casting) -> Code:
    """The kernel that computes tiles of the output."""
    module, parameters = Module(structure.target.instruction_sets), Parameters()
    _Emitter(module, parameters, structure).emit()
    return finished(module, parameters)


def _emit_window(module: Module, tile: Tile, s: Casting) -> str:
    """The register tile: ``window(pixels, row, step, weights, k, sums, more)``; returns its name.

    ``row`` and ``step`` are distances in the band: of its rows, and of steps of k. The chains are added to the sums if there are
    some already (``more``).
    """
    labels = [("ptr", "pixels"), ("i64", "row"), ("i64", "step"), ("ptr", "weights"), ("i64", "k")]
    f = module.function("window", [*labels, ("ptr noalias", "sums"), ("i1", "more")], linkage="internal", attributes="noinline")
    pixels, row, step, weights, k, sums, more = f.parameters
    with f.repeat([k, pixels, weights, *[constant(tile.type, 0)] * (s.down * s.across)]) as loop:
        left, pixels, weights, *chains = loop.carried
        known: dict[int, Value] = {}

        def factor(tap: int) -> Value:
            if tap not in known:
                known[tap] = f.load(f.offset(weights, tap * tile.width, tile.element), tile.type)
            return known[tap]

        for tall, rows in s.tall.seen(s.down):
            line = f.offset(pixels, f.mul(row, tall), tile.element)
            for wide, columns in _in_turn(s):
                number = f.splat(f.load(f.offset(line, wide * s.unit, tile.element), tile.element), tile.width)
                for q, tall_tap in rows:
                    for p, tap in columns:
                        at = q * s.across + p
                        chains[at] = multiply_add(f, tile, [number], [factor(tall_tap * s.wide.taps + tap)], [chains[at]])[0]
        left = f.sub(left, 1)
        moved = [f.offset(pixels, step, tile.element), f.offset(weights, s.taps * tile.width, tile.element)]
        loop.again(f.compare("sgt", left, 0), left, *moved, *chains)
    add_up(f, tile, loop.carried[3:], [f.offset(sums, i * tile.pitch, tile.element) for i in range(s.down * s.across)], more)
    f.ret()
    return "window"


def _in_turn(s: Casting) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """What a row of positions sees (as ``Slide.seen``), its halves in turn: multiply-adds of one sum follow each other, and each waits for the last."""
    half = s.across // 2
    firsts = (0, half) if half else (0,)
    halves = [s.wide.seen(stop - first) for first, stop in zip(firsts, (*firsts[1:], s.across), strict=True)]
    for each in zip_longest(*halves):
        for first, found in zip(firsts, each, strict=True):
            if found is not None:
                coordinate, pairs = found
                yield coordinate + first * s.wide.pace, [(first + p, tap) for p, tap in pairs]


def _emit_turn(module: Module, tile: Tile, s: Casting) -> str:
    """A function that transposes a row of a register tile, ``turn(sums, turned)``: what ending finds is a row of positions for each lane.

    There is a vector of zeros behind each row, for those that begin later.
    """
    f = module.function("turn", [("ptr noalias", "sums"), ("ptr noalias", "turned")], linkage="internal", attributes="noinline")
    sums, turned = f.parameters
    for v in range(s.vectors):
        rows = range(v * tile.width, (v + 1) * tile.width)
        positions = [
            f.load(f.offset(sums, p * tile.width, tile.element), tile.type) if p < s.across else constant(tile.type, 0) for p in rows
        ]
        for lane, row in enumerate(transpose(f, positions)):
            f.store(row, f.offset(turned, (lane * (s.vectors + 1) + v) * tile.width, tile.element))
    f.ret()
    return "turn"


class _Emitter:
    def __init__(self, module: Module, parameters: Parameters, structure: Casting) -> None:
        self.s, self.tile = structure, structure.tile
        self.window = _emit_window(module, self.tile, structure)
        self.pack = emit_pack(module, parameters, self.tile, structure.weights)
        if structure.turned:
            self.turn = _emit_turn(module, self.tile, structure)
            wide = replace(self.tile, vectors=structure.vectors + 1)
            self.ending = emit_straight_ending(module, wide, structure.ending, structure.vectors)
        else:
            self.ending = emit_straight_ending(module, self.tile, structure.ending, 1)
        self.f = module.function("kernel", SIGNATURE)
        self.read = parameters.reader(self.f, self.f.parameters[1])
        self.batch, self.n = [f"batch{i}" for i in range(structure.batch)], [f"n{i}" for i in range(structure.n)]

    def emit(self) -> None:
        f, read, s = self.f, self.read, self.s
        _, _, begin, end, memory = f.parameters
        dtypes = {"w": s.weights.dtype, "b": s.border.dtype} | s.ending.dtypes
        bases = {name: base_address(f, read, name) for name in dtypes}
        self.areas = {name: f.offset(memory, read(f"scratch.{name}"), "i8") for name in ("band", "weights", "lanes", "sums", "turned")}
        if s.turned:
            with f.loop(0, self.tile.width * (s.vectors + 1)) as loop:
                f.store(constant(self.tile.type, 0), f.offset(self.areas["turned"], f.mul(loop.index, self.tile.width), self.tile.element))
        self.packed, self.copied = f.alloca("ptr"), f.alloca("i64")
        f.store(Value("null", "ptr"), self.packed)
        f.store(i64(-1), self.copied)
        with f.loop(begin, end) as loop:
            batch, n, first, lane, number = self._place(loop.index)
            tall = f.intrinsic("smin", f.sub(read("tall.extent"), first), read("tall.block"))
            lanes = f.intrinsic("smin", f.sub(read("m0.extent"), lane), read("lane.block"))
            indices, axes = [*batch, *n, first, lane], [*self.batch, *self.n, "tall", "m0"]
            at = {
                name: address(f, bases[name], dot(f, indices, read, [f"{axis}.{name}" for axis in axes]), of)
                for name, of in s.ending.dtypes.items()
            }
            self._weights(address(f, bases["w"], dot(f, batch, read, [f"{axis}.w" for axis in self.batch]), s.weights.dtype), lane, lanes)
            source = address(f, bases["b"], dot(f, batch, read, [f"{axis}.b" for axis in self.batch]), s.border.dtype)
            place = dot(f, [*n, first], read, [f"{axis}.copy" for axis in (*self.n, "tall")])
            self._windows(at, self._band(source, number, place, tall), tall, lanes)
        f.ret()

    def _place(self, tile: Value) -> tuple[list[Value], list[Value], Value, Value, Value]:
        """The indices of the batch and of images, the first row of positions and the first lane of a tile; and which band it has."""
        f, read, s = self.f, self.read, self.s
        tall_tile, rest = f.binary("urem", tile, read("tall.tiles")), f.binary("udiv", tile, read("tall.tiles"))
        image, rest = f.binary("urem", rest, read("n.count")), f.binary("udiv", rest, read("n.count"))
        lane_tile, rest = f.binary("urem", rest, read("lane.tiles")), f.binary("udiv", rest, read("lane.tiles"))
        n = decomposed(f, read, "n", s.n, image) if s.n else []
        batch = decomposed(f, read, "batch", s.batch, rest) if s.batch else []
        number = f.add(f.mul(f.add(f.mul(rest, read("n.count")), image), read("tall.tiles")), tall_tile)
        return batch, n, f.mul(tall_tile, read("tall.block")), f.mul(lane_tile, read("lane.block")), number

    def _weights(self, source: Value, lane: Value, lanes: Value) -> None:
        """Pack the weights of a tile's groups, a vector of results after the other, unless the tile before had the same."""
        f, read, s, tile = self.f, self.read, self.s, self.tile
        start = address(f, source, f.mul(lane, read("m0.w")), s.weights.dtype)
        with f.when(f.compare("ne", f.load(self.packed, "ptr"), start)):
            f.store(start, self.packed)
            with f.loop(0, read("group.extent")) as group, f.loop(0, lanes, tile.width) as loop:
                count = f.intrinsic("smin", f.sub(lanes, loop.index), i64(tile.width))
                first = dot(f, [group.index, f.add(lane, loop.index)], read, ["group.w", "m0.w"])
                with f.loop(0, count, carried=[first]) as offset:
                    f.store(offset.carried[0], f.offset(self.areas["lanes"], offset.index, "i64"))
                    offset.carry(f.add(offset.carried[0], read("m0.w")))
                arguments = [
                    f.parameters[1],
                    source,
                    self._packed(group.index, loop.index),
                    self.areas["lanes"],
                    count,
                    read("w.length"),
                    Value("null", "ptr"),
                ]
                f.call(f"@{self.pack}", *arguments)

    def _packed(self, group: Value, lane: Value) -> Value:
        """Where the weights of a vector of results lie."""
        f, read = self.f, self.read
        number = f.add(f.mul(group, read("lane.block")), lane)
        return f.offset(self.areas["weights"], f.mul(number, read("steps")), self.tile.element)

    def _band(self, source: Value, number: Value, place: Value, tall: Value) -> Value:
        """Copy what the rows of a tile read, unless the tile before had the same; returns the address of its first position's first pixel."""
        f, read, s = self.f, self.read, self.s
        last = f.add(place, f.mul(f.sub(tall, 1), read("tall.copy")))
        begin, stop = (f.binary("udiv", f.add(at, read(f"band.{end}")), read("row")) for at, end in ((place, "low"), (last, "high")))
        with f.when(f.compare("ne", f.load(self.copied, "i64"), number)):
            with f.loop(0, read("band.planes")) as loop:
                plane = f.offset(self.areas["band"], f.mul(loop.index, read("band.plane")), self.tile.element)
                first = f.add(begin, f.mul(loop.index, read("band.shift")))
                emit_rows(f, read, s.border, source, plane, first, f.add(f.add(first, f.sub(stop, begin)), 1))
            f.store(number, self.copied)
        return f.offset(self.areas["band"], f.sub(f.add(place, read("band.low")), f.mul(begin, read("row"))), self.tile.element)

    def _windows(self, at: dict[str, Value], band: Value, tall: Value, lanes: Value) -> None:
        """All register tiles of a tile. The last ones along either axis lie across those before them, and store what these have not.

        All lanes have a chain before the next one, so that its pixels are in the first-level cache: 16 numbers of a cache line are 16 steps of
        it, and all pixels of a window come to their next lines at once (3 x 3, stride 2, 128 -> 128: 136 to 145 GFLOP/s).
        """
        f, read, s, tile = self.f, self.read, self.s, self.tile
        with f.loop(0, tall, s.down) as row, f.loop(0, read("wide.extent"), s.across) as column, f.loop(0, read("group.extent")) as group:
            top = f.intrinsic("smin", row.index, f.sub(tall, s.down)) if s.down > 1 else row.index
            left = f.intrinsic("smin", column.index, f.sub(read("wide.extent"), s.across))
            pixels = f.offset(band, dot(f, [top, left, group.index], read, ["tall.copy", "wide.copy", "group.copy"]), tile.element)
            with f.loop(0, read("k.count"), read("k.chain")) as chain:
                steps = f.intrinsic("smin", f.sub(read("k.count"), chain.index), read("k.chain"))
                ends = f.compare("eq", f.add(chain.index, steps), read("k.count"))
                start = f.offset(pixels, f.mul(chain.index, read("k.copy")), tile.element)
                with f.loop(0, lanes, tile.width) as lane:
                    sums = f.offset(self.areas["sums"], f.mul(lane.index, s.down * s.across), tile.element)
                    with f.when(ends):
                        self._ask_for(at["out"], [top, left, group.index, lane.index])
                    weights = f.offset(self._packed(group.index, lane.index), f.mul(chain.index, s.taps * tile.width), tile.element)
                    arguments = [start, read("tall.unit"), read("k.copy"), weights, steps, sums]
                    f.call(f"@{self.window}", *arguments, f.compare("ne", chain.index, 0))
                    with f.when(ends):
                        skipped, count = f.sub(column.index, left), f.intrinsic("smin", f.sub(lanes, lane.index), i64(tile.width))
                        with f.loop(f.sub(row.index, top), s.down) as q:
                            self._end(at, sums, [f.add(top, q.index), column.index, group.index, lane.index], q.index, skipped, count)

    def _end(self, at: dict[str, Value], sums: Value, indices: list[Value], down: Value, skipped: Value, lanes: Value) -> None:
        """Finish one row of a register tile, but for the first positions, which are ``skipped``."""
        f, read, s, tile = self.f, self.read, self.s, self.tile
        sums = f.offset(sums, f.mul(f.mul(down, s.across), tile.pitch), tile.element)
        count, axes = f.sub(i64(s.across), skipped), ("wide", "m0")
        if s.turned:
            f.call(f"@{self.turn}", sums, self.areas["turned"])
            sums, counts, axes = f.offset(self.areas["turned"], skipped, tile.element), [lanes, count], ("m0", "wide")
        else:
            sums, counts = f.offset(sums, f.mul(skipped, tile.pitch), tile.element), [count, lanes]
        arguments = []
        for name, of in s.ending.dtypes.items():
            offset = dot(f, indices, read, [f"{axis}.{name}" for axis in ("tall", "wide", "group", "m0")])
            arguments += [address(f, at[name], offset, of), *[read(f"{axis}.{name}") for axis in axes]]
        f.call(f"@{self.ending}", sums, *counts, *arguments)

    def _ask_for(self, out: Value, place: list[Value]) -> None:
        """Bring the lines of the output that a register tile writes: by the time it has its sums they are there."""
        f, read, s = self.f, self.read, self.s
        start = address(f, out, dot(f, place, read, ["tall.out", "wide.out", "group.out", "m0.out"]), s.ending.out)
        with f.loop(0, s.down, carried=[start]) as row:
            count, axis = (self.tile.width, "m0") if s.turned else (s.across, "wide")
            with f.loop(0, count, carried=row.carried) as each:
                f.prefetch(each.carried[0], writes=True)
                each.carry(address(f, each.carried[0], read(f"{axis}.out"), s.ending.out))
            row.carry(address(f, row.carried[0], read("tall.out"), s.ending.out))
