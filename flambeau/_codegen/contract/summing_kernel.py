"""The kernel for long sums with few results: gradients by the weight of depthwise convolutions and of small groups.

Each group of channels has a result for each tap and a sum over all positions. What lies across the lanes is the batch (the groups): both
operands are copied to scratch memory with the lanes innermost (transposed in registers where memory has the columns innermost), some
rows at a time, and the sums of ``rows`` x taps stay in registers while the positions of a chain pass by.

Where images have their channels innermost, the lanes may be one group's channels of the left operand. Then ``rows`` are channels of the right one, each
number of which is broadcast, once for all the taps that see its pixel: ``unrolled`` places of the sum share what they see.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from flambeau._codegen.contract.arithmetic import Tile, multiply_add, register_tile, widen
from flambeau._codegen.contract.ending import Ending, emit_straight_ending
from flambeau._codegen.contract.kernel import REMEMBERED, SIGNATURE, Code, base_address, finished
from flambeau._codegen.contract.micro import add_up
from flambeau._codegen.contract.packing import address, nest
from flambeau._codegen.contract.parameters import Parameters, decomposed, dot
from flambeau._codegen.contract.sliding_kernel import Slide
from flambeau._codegen.ir import Module, Value, constant, i64
from flambeau._codegen.scalar import registers
from flambeau._codegen.squares import transpose
from flambeau._runtime.targets import Target
from flambeau._types.dtype import dtype


class Summing(NamedTuple):
    """All that the code depends on.

    Of the pairs, position ``p`` is a result and tap ``t`` a place of the sum. A register tile has ``rows`` rows and ``down`` x ``across``
    results of the pairs. ``batch``, ``n`` and ``k`` count the axes outside; ``order`` says of either operand whether its neighbours in
    memory are ``lanes``, places of the sum along the wide pair (``steps``), or neither (``gather``). Chains are cut along the axis of
    k with number ``cut``, or along the pairs if it is None. Columns of the right operand are ``pitch`` numbers; they are rows' if so many places are
    ``unrolled``, and else lanes'.
    """

    target: Target
    operand: dtype
    tall: Slide
    wide: Slide
    rows: int
    down: int
    across: int
    batch: int
    n: int
    k: int
    cut: int | None
    bounds: tuple[bool, ...]
    order: tuple[str, str]
    ending: Ending
    pitch: int
    unrolled: int = 0


@lru_cache(maxsize=REMEMBERED)
def summing(structure: Summing) -> Code:
    """The kernel that computes tiles of the output."""
    module, parameters = Module(structure.target.instruction_sets), Parameters()
    _Emitter(module, parameters, structure).emit()
    return finished(module, parameters)


def _emit_walk(module: Module, tile: Tile, s: Summing) -> str:
    """The register tile: ``walk(b, b_row, a, a_row, a_plane, tall, wide, start, sums, more)``; returns its name.

    It continues the chains at ``start`` over ``tall`` x ``wide`` positions, and writes them to ``sums``, or adds them to what is there if
    there is ``more``.  Rows of the left operand are ``a_plane`` apart.
    """
    labels = [("ptr", "b"), ("i64", "b_row"), ("ptr", "a"), ("i64", "a_row"), ("i64", "a_plane"), ("i64", "tall"), ("i64", "wide")]
    f = module.function("walk", [*labels, ("ptr", "start"), ("ptr", "sums"), ("i1", "more")], linkage="internal", attributes="noinline")
    b, b_row, a, a_row, a_plane, tall, wide, start, sums, more = f.parameters
    width = tile.width
    results = [(r, i, j) for r in range(s.rows) for i in range(s.down) for j in range(s.across)]
    starts, places = ([f.offset(base, number * tile.pitch, tile.element) for number in range(len(results))] for base in (start, sums))
    chains = [f.load(place, tile.type) for place in starts]
    with f.repeat([tall, b, a, *chains]) as lines:
        rows_left, b_line, a_line, *chains = lines.carried
        b_lines = [f.offset(b_line, f.mul(b_row, i * s.tall.pace), tile.element) for i in range(s.down)]
        a_lines = [f.offset(a_line, f.mul(a_plane, r), tile.element) for r in range(s.rows)]
        with f.repeat([wide, *b_lines, *a_lines, *chains]) as loop:
            left, *rest = loop.carried
            here, sides, chains = rest[: s.down], rest[s.down : s.down + s.rows], rest[s.down + s.rows :]
            factors = [f.load(side, tile.type) for side in sides]
            seen = {}
            for i, place in enumerate(here):
                for j in range(s.across):
                    seen[i, j] = f.load(f.offset(place, j * s.wide.pace * width, tile.element), tile.type)
            chains = [
                multiply_add(f, tile, [factors[r]], [seen[i, j]], [chain])[0] for (r, i, j), chain in zip(results, chains, strict=True)
            ]
            left = f.sub(left, 1)
            moved = [f.offset(place, s.wide.spread * width, tile.element) for place in here]
            moved += [f.offset(side, width, tile.element) for side in sides]
            loop.again(f.compare("sgt", left, 0), left, *moved, *chains)
        chains = loop.carried[1 + s.down + s.rows :]
        rows_left = f.sub(rows_left, 1)
        b_line = f.offset(b_line, f.mul(b_row, s.tall.spread), tile.element)
        lines.again(f.compare("sgt", rows_left, 0), rows_left, b_line, f.offset(a_line, a_row, tile.element), *chains)
    add_up(f, tile, lines.carried[3:], places, more)
    f.ret()
    return "walk"


def _emit_casting_walk(module: Module, tile: Tile, s: Summing) -> str:
    """The same where rows are numbers of a pixel, which are broadcast."""
    labels = [("ptr", "b"), ("i64", "b_row"), ("ptr", "a"), ("i64", "a_row"), ("i64", "a_plane"), ("i64", "tall"), ("i64", "wide")]
    f = module.function("walk", [*labels, ("ptr", "start"), ("ptr", "sums"), ("i1", "more")], linkage="internal", attributes="noinline")
    b, b_row, a, a_row, _, tall, wide, start, sums, more = f.parameters
    results = [(r, i, j) for r in range(s.rows) for i in range(s.down) for j in range(s.across)]
    starts, places = ([f.offset(base, number * tile.pitch, tile.element) for number in range(len(results))] for base in (start, sums))
    whole = f.sub(wide, f.binary("urem", wide, i64(s.unrolled)))

    def continued(lines: list[Value], side: Value, index: Value, count: int, chains: list[Value]) -> list[Value]:
        """The chains after ``count`` places from ``index`` on: a pixel is read once for all results that see it."""
        following = dict(zip(results, chains, strict=True))
        side = f.offset(side, f.mul(index, tile.width), tile.element)
        factors = [f.load(f.offset(side, place * tile.width, tile.element), tile.type) for place in range(count)]
        seen: dict[int, list[tuple[int, int]]] = {}
        for place in range(count):
            for j in range(s.across):
                seen.setdefault(place * s.wide.spread + j * s.wide.pace, []).append((place, j))
        here = [f.offset(line, f.mul(index, s.wide.spread * s.pitch), tile.element) for line in lines]
        for coordinate in sorted(seen):
            for i, line in enumerate(here):
                for r in range(s.rows):
                    number = f.splat(f.load(f.offset(line, coordinate * s.pitch + r, tile.element), tile.element), tile.width)
                    for place, j in seen[coordinate]:
                        following[r, i, j] = multiply_add(f, tile, [factors[place]], [number], [following[r, i, j]])[0]
        return [following[each] for each in results]

    with f.repeat([tall, b, a, *[f.load(place, tile.type) for place in starts]]) as rows:
        left, b_line, a_line, *chains = rows.carried
        lines = [f.offset(b_line, f.mul(b_row, i * s.tall.pace), tile.element) for i in range(s.down)]
        for first, stop, count in ((i64(0), whole, s.unrolled), (whole, wide, 1)):
            with f.loop(first, stop, count, carried=chains) as loop:
                loop.carry(*continued(lines, a_line, loop.index, count, loop.carried))
            chains = loop.carried
        left = f.sub(left, 1)
        b_line = f.offset(b_line, f.mul(b_row, s.tall.spread), tile.element)
        rows.again(f.compare("sgt", left, 0), left, b_line, f.offset(a_line, a_row, tile.element), *chains)
    add_up(f, tile, rows.carried[3:], places, more)
    f.ret()
    return "walk"


class _Emitter:
    def __init__(self, module: Module, parameters: Parameters, structure: Summing) -> None:
        self.s = s = structure
        self.tile = register_tile(s.operand, s.target)
        self.walk = (_emit_casting_walk if s.unrolled else _emit_walk)(module, self.tile, s)
        self.ending = emit_straight_ending(module, self.tile, s.ending, 1)
        self.f = module.function("kernel", SIGNATURE)
        self.read = parameters.reader(self.f, self.f.parameters[1])

    def emit(self) -> None:
        f, read, s, tile = self.f, self.read, self.s, self.tile
        _, _, begin, end, memory = f.parameters
        dtypes = {"a": s.operand, "b": s.operand} | s.ending.dtypes
        bases = {name: base_address(f, read, name) for name in dtypes}
        self.areas = {name: f.offset(memory, read(f"scratch.{name}"), "i8") for name in ("a", "b", "sums", "chains")}
        axes = [*[f"batch{i}" for i in range(s.batch)], "lane", "m"]
        with f.loop(begin, end) as loop:
            m_tile, rest = f.binary("urem", loop.index, read("m.tiles")), f.binary("udiv", loop.index, read("m.tiles"))
            lane_tile, rest = f.binary("urem", rest, read("lane.tiles")), f.binary("udiv", rest, read("lane.tiles"))
            batch = decomposed(f, read, "batch", s.batch, rest) if s.batch else []
            lane, first = f.mul(lane_tile, tile.width), f.mul(m_tile, read("m.block"))
            lanes = f.intrinsic("smin", f.sub(read("lane.extent"), lane), i64(tile.width))
            rows = f.intrinsic("smin", f.sub(read("m.extent"), first), read("m.block"))
            indices = [*batch, lane, first]
            at = {
                name: address(f, base, dot(f, indices, read, [f"{axis}.{name}" for axis in axes]), dtypes[name])
                for name, base in bases.items()
            }
            starts = [
                dot(f, batch, read, [f"batch{i}.bound{j}" for i in range(s.batch)], read(f"bound{j}.start")) for j in range(len(s.bounds))
            ]
            with nest(f, [read(f"k{i}.extent") for i in range(s.k)]) as k, f.loop(0, read("tall.steps"), read("tall.block")) as block:
                tall = f.intrinsic("smin", f.sub(read("tall.steps"), block.index), read("tall.block"))
                self._block(at, starts, lanes, rows, [*k, block.index], tall)
            self._end(at, lanes, rows)
        f.ret()

    def _block(self, at: dict[str, Value], starts: list[Value], lanes: Value, rows: Value, k: list[Value], tall: Value) -> None:
        """Some rows of the sum: copy them, and let them pass by all the results.

        Register tiles also read what only results beyond the last would need: zeros (see ``sliding_kernel``).
        """
        f, read, s, tile = self.f, self.read, self.s, self.tile
        axes = [*[f"k{i}" for i in range(s.k)], "tall.step"]
        source = {name: address(f, at[name], dot(f, k, read, [f"{axis}.{name}" for axis in axes]), s.operand) for name in "ab"}
        shifts = [dot(f, k, read, [f"{axis}.bound{i}" for axis in axes], start) for i, start in enumerate(starts)]
        of_a, several = ("group.a", read("group.extent")) if s.unrolled else ("m.a", rows)
        with f.loop(0, tall) as line, f.loop(0, several) as row:
            start = address(f, source["a"], dot(f, [row.index, line.index], read, [of_a, "tall.step.a"]), s.operand)
            place = f.offset(self.areas["a"], dot(f, [row.index, line.index], read, ["a.plane", "a.line"]), tile.element)
            self._line("a", start, place, (read("wide.steps"), read("wide.steps")), Value("true", "i1"), [], lanes, read("tall.step.a"))
        before_last = f.mul(f.sub(tall, 1), s.tall.spread)
        needed, seen = (f.add(before_last, read(f"tall.{what}")) for what in ("needed", "seen"))
        n_axes = [f"n{i}" for i in range(s.n)]
        with nest(f, [read(f"{axis}.extent") for axis in n_axes]) as n, f.loop(0, seen) as line:
            offset = dot(f, [*n, line.index], read, [*[f"{axis}.b" for axis in n_axes], "tall.unit"])
            coordinates = [
                dot(f, [*n, line.index], read, [*[f"{axis}.bound{i}" for axis in n_axes], f"tall.unit.bound{i}"], shift)
                for i, shift in enumerate(shifts)
            ]
            still = [(i, each) for i, each in enumerate(coordinates) if not s.bounds[i]]
            moving = [(i, each) for i, each in enumerate(coordinates) if s.bounds[i]]
            place = dot(f, [self._linear(n, n_axes), line.index], read, ["b.plane", "b.line"])
            exists = f.compare("slt", line.index, needed)
            for i, each in still:
                exists = f.binary("and", exists, f.compare("ult", each, read(f"bound{i}.extent")))
            start, place = address(f, source["b"], offset, s.operand), f.offset(self.areas["b"], place, tile.element)
            numbers = f.mul(read("group.extent"), rows) if s.unrolled else lanes
            with f.loop(0, numbers, tile.width) as first:
                start, place = address(f, start, first.index, s.operand), f.offset(place, first.index, tile.element)
                counts, left = (read("wide.needed"), read("wide.seen")), f.sub(numbers, first.index)
                self._line("b", start, place, counts, exists, moving, left, read("tall.unit"))
        n_axes = [*n_axes, "group"]
        with nest(f, [read(f"{axis}.extent") for axis in n_axes]) as n, f.loop(0, rows, s.rows) as row:
            plane, panel = self._linear(n, n_axes), f.binary("udiv", row.index, i64(s.rows))
            with f.loop(0, read("tall.chunks")) as chunk, f.loop(0, read("wide.chunks")) as across:
                b = dot(f, [self._linear(n[:-1], n_axes[:-1]), f.mul(chunk.index, s.down * s.tall.pace)], read, ["b.plane", "b.line"])
                b = f.offset(self.areas["b"], f.add(b, f.mul(across.index, s.across * s.wide.pace * s.pitch)), tile.element)
                a = self.areas["a"]
                if s.unrolled:
                    b = f.offset(b, f.add(f.mul(n[-1], rows), row.index), tile.element)
                    a = f.offset(a, f.mul(n[-1], read("a.plane")), tile.element)
                else:
                    a = f.offset(a, f.mul(row.index, read("a.plane")), tile.element)
                self._walk(b, a, k, tall, self._sums(plane, panel, chunk.index, across.index))

    def _walk(self, b: Value, a: Value, k: list[Value], tall: Value, number: Value) -> None:
        """One register tile over the rows of a block, a piece of them after the other; ``number`` is where its sums are."""
        f, read, s, tile = self.f, self.read, self.s, self.tile
        zeros = f.module.table(tile.element, [0] * (s.rows * s.down * s.across * tile.pitch))
        sums, chains = (f.offset(self.areas[name], number, tile.element) for name in ("sums", "chains"))
        with f.loop(0, tall, read("tall.piece")) as line, f.loop(0, read("wide.steps"), read("wide.piece")) as column:
            height = f.intrinsic("smin", f.sub(tall, line.index), read("tall.piece"))
            length = f.intrinsic("smin", f.sub(read("wide.steps"), column.index), read("wide.piece"))
            place = f.add(f.mul(f.mul(line.index, s.tall.spread), read("b.line")), f.mul(column.index, s.wide.spread * s.pitch))
            start = f.add(f.mul(line.index, read("a.line")), f.mul(column.index, tile.width))
            arguments = [f.offset(b, place, tile.element), read("b.line")]
            arguments += [f.offset(a, start, tile.element), read("a.line"), read("a.plane")]
            begin, target = zeros, sums
            before = f.binary("or", self._any([*k, line.index]), f.compare("ne", column.index, 0))
            if s.cut is not None:
                starts, ends, before = self._chain(k, f.add(k[-1], tall))
                begin, target, before = f.select(starts, zeros, chains), f.select(ends, sums, chains), f.binary("and", ends, before)
            f.call(f"@{self.walk}", *arguments, height, length, begin, target, before)

    def _any(self, indices: list[Value]) -> Value:
        """Whether an index is not 0."""
        found = Value("false", "i1")
        for index in indices:
            found = self.f.binary("or", found, self.f.compare("ne", index, 0))
        return found

    def _chain(self, k: list[Value], stop: Value) -> tuple[Value, Value, Value]:
        """Whether chains start with a block, whether they end with it, and whether others have been before; its last row is before ``stop``."""
        f, read, cut = self.f, self.read, self.s.cut
        if cut is None or cut == self.s.k:
            return f.binary("xor", self._any(k), 1), self._all_last(k[:-1], 0, stop), Value("false", "i1")
        place = f.binary("urem", k[cut], read("chain"))
        starts = f.binary("xor", self._any([place, *k[cut + 1 :]]), 1)
        following = f.add(k[cut], 1)
        is_last = f.binary("or", f.compare("eq", f.add(place, 1), read("chain")), f.compare("eq", following, read(f"k{cut}.extent")))
        ends = f.binary("and", is_last, self._all_last(k[cut + 1 : -1], cut + 1, stop))
        return starts, ends, f.binary("or", self._any(k[:cut]), f.compare("sge", k[cut], read("chain")))

    def _all_last(self, k: list[Value], first: int, stop: Value) -> Value:
        """Whether a block is the last along the axes of k from number ``first`` on."""
        f, read = self.f, self.read
        found = f.compare("eq", stop, read("tall.steps"))
        for axis, index in enumerate(k, first):
            found = f.binary("and", found, f.compare("eq", f.add(index, 1), read(f"k{axis}.extent")))
        return found

    def _linear(self, indices: list[Value], axes: list[str]) -> Value:
        linear = i64(0)
        for index, axis in zip(indices, axes, strict=True):
            linear = self.f.add(self.f.mul(linear, self.read(f"{axis}.extent")), index)
        return linear

    def _sums(self, plane: Value, panel: Value, chunk: Value, across: Value) -> Value:
        """Where the sums of a register tile wait, in numbers."""
        f, read, s = self.f, self.read, self.s
        number = f.add(f.mul(plane, read("m.panels")), panel)
        number = f.add(f.mul(f.add(f.mul(number, read("tall.chunks")), chunk), read("wide.chunks")), across)
        return f.mul(number, s.rows * s.down * s.across * self.tile.pitch)

    # -- copying ---------------------------------------------------------------------------------------------------

    def _line(
        self,
        name: str,
        source: Value,
        place: Value,
        counts: tuple[Value, Value],
        exists: Value,
        bounds: list[tuple[int, Value]],
        lanes: Value,
        further: Value,
    ) -> None:
        """Copy one row of columns, each a vector of lanes; zeros where it does not exist. ``counts`` are those needed, and those seen.

        The next row, so much ``further``, is asked for: a line of each pixel is nothing that the processor sees (depthwise, 144 channels of 56 x 56).
        """
        f, read, s, tile = self.f, self.read, self.s, self.tile
        order, lane = s.order["ab".index(name)], read(f"lane.{name}")
        step = read("wide.step.a") if name == "a" else read("wide.unit")
        if order == "steps":
            self._transposed(source, place, counts, exists, bounds, lanes, lane)
            return
        needed, seen = counts
        mask = f.lane_mask(lanes, tile.width)
        with f.loop(0, seen) as loop:
            here = f.binary("and", exists, f.compare("slt", loop.index, needed))
            for i, start in bounds:
                coordinate = f.add(start, f.mul(loop.index, read(f"wide.unit.bound{i}")))
                here = f.binary("and", here, f.compare("ult", coordinate, read(f"bound{i}.extent")))
            wanted = f.binary("and", mask, f.splat(here, tile.width))
            start = address(f, source, f.mul(loop.index, step), s.operand)
            if order == "lanes":
                f.prefetch(address(f, start, further, s.operand))
            if order != "gather":
                value = registers.load(f, start, s.operand, tile.width, wanted)
            else:
                value = registers.load_strided(f, start, lane, s.operand, tile.width, wanted)
                value = registers.select(f, wanted, value, registers.splat_constant(s.operand, 0, tile.width))
            pitch = tile.width if name == "a" else s.pitch
            f.store(widen(f, value, s.operand, tile.compute), f.offset(place, f.mul(loop.index, pitch), tile.element))

    def _transposed(
        self,
        source: Value,
        place: Value,
        counts: tuple[Value, Value],
        exists: Value,
        bounds: list[tuple[int, Value]],
        lanes: Value,
        lane: Value,
    ) -> None:
        """Copy a square of columns and lanes at a time. What exists are the columns from one on to another."""
        f, read, s, tile = self.f, self.read, self.s, self.tile
        width = tile.width
        # A lane that does not exist reads the last one that does.
        rows = [address(f, source, f.mul(f.intrinsic("smin", i64(i), f.sub(lanes, 1)), lane), s.operand) for i in range(width)]
        needed, seen = counts
        low, high = i64(0), f.select(exists, needed, i64(0))
        for i, start in bounds:  # the wide pair moves such a coordinate by one
            low = f.intrinsic("smax", low, f.sub(i64(0), start))
            high = f.intrinsic("smin", high, f.sub(read(f"bound{i}.extent"), start))
        with f.loop(0, seen, width) as loop:
            mask = f.lane_mask(f.sub(high, loop.index), width)
            before = f.lane_mask(f.sub(low, loop.index), width)
            mask = f.binary("and", mask, f.binary("xor", before, constant(before.type, 1)))
            values = [
                widen(f, registers.load(f, address(f, row, loop.index, s.operand), s.operand, width, mask), s.operand, tile.compute)
                for row in rows
            ]
            start = f.offset(place, f.mul(loop.index, width), tile.element)
            for i, column in enumerate(transpose(f, values)):
                f.store(column, f.offset(start, i * width, tile.element))

    # -- the output ------------------------------------------------------------------------------------------------

    def _end(self, at: dict[str, Value], lanes: Value, rows: Value) -> None:
        f, read, s, tile = self.f, self.read, self.s, self.tile
        n_axes = [*[f"n{i}" for i in range(s.n)], "group"]
        with nest(f, [read(f"{axis}.extent") for axis in n_axes]) as n, f.loop(0, rows) as m, f.loop(0, read("tall.extent")) as row:
            panel, r = f.binary("udiv", m.index, i64(s.rows)), f.binary("urem", m.index, i64(s.rows))
            chunk, i = f.binary("udiv", row.index, i64(s.down)), f.binary("urem", row.index, i64(s.down))
            with f.loop(0, read("wide.chunks")) as across:
                column = f.mul(across.index, s.across)
                count = f.intrinsic("smin", f.sub(read("wide.extent"), column), i64(s.across))
                sums = self._sums(self._linear(n, n_axes), panel, chunk, across.index)
                sums = f.add(sums, f.mul(f.add(f.mul(r, s.down), i), s.across * tile.pitch))
                sums = f.offset(self.areas["sums"], sums, tile.element)
                arguments = []
                for name, of in s.ending.dtypes.items():
                    offset = dot(f, [*n, m.index, row.index, column], read, [f"{axis}.{name}" for axis in (*n_axes, "m", "tall", "wide")])
                    arguments += [address(f, at[name], offset, of), read(f"wide.{name}"), read(f"lane.{name}")]
                f.call(f"@{self.ending}", sums, count, lanes, *arguments)
