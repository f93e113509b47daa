"""The kernels of a contraction: the one that multiplies, and the one that packs an operand beforehand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from flambeau._codegen.contract.arithmetic import Tile, register_tile
from flambeau._codegen.contract.ending import Ending, emit_ending
from flambeau._codegen.contract.micro import emit_micro, row_choices
from flambeau._codegen.contract.packing import Side, address, emit_pack, nest
from flambeau._codegen.contract.parameters import Parameters, Reader, dot
from flambeau._codegen.ir import Builder, Module, Value, constant_vector, i64, vector
from flambeau._runtime.targets import Target

_ROWS_AT_A_TIME = 32
SIGNATURE = [
    ("ptr noalias readonly", "table"), ("ptr noalias readonly", "params"), ("i64", "begin"), ("i64", "end"), ("ptr noalias", "scratch"),
]  # fmt: skip


@dataclass(frozen=True)
class Code:
    """A kernel: its name, its IR, and the names of its parameters in the order of the ``params`` array."""

    name: str
    source: str
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class Structure:
    """All that the code of a contraction depends on; extents, strides and blocking are run-time parameters.

    ``batch``, ``m``, ``n`` and ``outer`` count axes.  The k axes are ``outer`` ones, one that is ``split`` into chunks, and
    the ones inside it, which each ``Side`` sees as a box of its own.  ``out_place`` says that sums can be kept in the
    output itself.
    """

    target: Target
    batch: int
    m: int
    n: int
    outer: int
    a: Side
    b: Side
    ending: Ending
    out_place: bool


@dataclass(frozen=True)
class PackStructure:
    """All that the code of a packing call depends on: ``batch`` and ``lanes`` count axes of the operand."""

    target: Target
    batch: int
    lanes: int
    side: Side


@cache
def contraction(structure: Structure) -> Code:
    """The kernel that computes tiles of the output."""
    module, parameters = Module(instruction_sets(structure.target)), Parameters()
    _Contraction(module, parameters, structure).emit()
    return finished(module, parameters)


@cache
def packing(structure: PackStructure) -> Code:
    """The kernel that packs an operand into a temporary; a tile of it is one panel over one chunk of k."""
    module, parameters = Module(instruction_sets(structure.target)), Parameters()
    _emit_packing(module, parameters, structure)
    return finished(module, parameters)


def instruction_sets(target: Target) -> list[str]:
    return [feature[1:] for feature in target.features.split(",") if feature[:1] == "+"]


def finished(module: Module, parameters: Parameters) -> Code:
    text = str(module)
    name = "k_" + hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
    return Code(name, text.replace("@kernel(", f"@{name}("), parameters.names)


def base_address(f: Builder, read: Reader, name: str) -> Value:
    """The address of element 0 of an operand: ``table[slot] + bytes``."""
    start = f.load(f.offset(f.parameters[0], read(f"{name}.slot"), "ptr"), "ptr")
    return f.offset(start, read(f"{name}.bytes"), "i8")


def decomposed(f: Builder, read: Reader, group: str, axes: int, linear: Value) -> list[Value]:
    """The indices of a linear position, row-major."""
    indices: list[Value] = []
    for axis in reversed(range(1, axes)):
        extent = read(f"{group}{axis}.extent")
        indices.insert(0, f.binary("urem", linear, extent))
        linear = f.binary("udiv", linear, extent)
    return [linear, *indices]


@dataclass(frozen=True)
class _Column:
    """A table to fill for a group of axes: which strides, from which start, where."""

    what: str
    start: Value
    place: Value


def _fill(f: Builder, read: Reader, group: str, axes: int, first: Value, count: Value, columns: Sequence[_Column]) -> None:
    """Tabulate affine functions of a group's axes for ``count`` positions from ``first`` on."""
    indices = decomposed(f, read, group, axes, first)
    with f.loop(0, count, carried=indices) as loop:
        indices = loop.carried
        for column in columns:
            value = dot(f, indices, read, [f"{group}{axis}.{column.what}" for axis in range(axes)], column.start)
            f.store(value, f.offset(column.place, loop.index, "i64"))
        following, carry = list(indices), Value("true", "i1")
        for axis in reversed(range(axes)):
            more = f.add(indices[axis], f.cast("zext", carry, "i64"))
            if axis:
                carry = f.compare("eq", more, read(f"{group}{axis}.extent"))
                more = f.select(carry, i64(0), more)
            following[axis] = more
        loop.carry(*following)


@contextmanager
def _panels_of_rows(f: Builder, tile: Tile, rows: Value) -> Iterator[tuple[Value, Value, Value]]:
    """Walk ``rows`` rows in panels: gives the first row, the panel's number and its rows."""
    choices = row_choices(tile.variants)
    table = f.module.table("i64", choices)
    with f.repeat([i64(0), i64(0)]) as loop:
        row, panel = loop.carried
        left = f.intrinsic("smin", f.sub(rows, row), i64(len(choices) - 1))
        here = f.load(f.offset(table, left, "i64"), "i64")
        yield row, panel, here
        row = f.add(row, here)
        loop.again(f.compare("slt", row, rows), row, f.add(panel, 1))


class _Contraction:
    def __init__(self, module: Module, parameters: Parameters, structure: Structure) -> None:
        self.structure = structure
        self.tile = register_tile(structure.a.dtype, structure.target)
        masked = structure.b.mode == "place"
        self.micro = {rows: emit_micro(module, self.tile, rows, masked) for rows in self.tile.variants}
        packed = [side for side in (structure.a, structure.b) if side.is_packed_here]
        self.pack = {side.name: emit_pack(module, parameters, self.tile, side) for side in packed}
        self.ending = emit_ending(module, self.tile, structure.ending)
        self.f = module.function("kernel", SIGNATURE)
        self.read = parameters.reader(self.f, self.f.parameters[1])

    def _scratch(self, name: str) -> Value:
        return self.f.offset(self.f.parameters[4], self.read(f"scratch.{name}"), "i8")

    def emit(self) -> None:
        f, read, s = self.f, self.read, self.structure
        _, _, begin, end, _ = f.parameters
        dtypes = {"a": s.a.dtype, "b": s.b.dtype} | s.ending.dtypes
        bases = {name: base_address(f, read, name) for name in dtypes}
        areas = ["sums", *[f"{name}.{group}" for name in s.ending.dtypes for group in "mn"]]
        areas += [f"{side.name}.{what}" for side in (s.a, s.b) if side.is_packed_here for what in ("lanes", "panels")]
        self.scratch = {area: self._scratch(area) for area in areas}

        with f.loop(begin, end) as loop:
            column_tile = f.binary("urem", loop.index, read("n.tiles"))
            rest = f.binary("udiv", loop.index, read("n.tiles"))
            row_tile = f.binary("urem", rest, read("m.tiles"))
            batch = decomposed(f, read, "batch", s.batch, f.binary("udiv", rest, read("m.tiles")))
            row0, column0 = f.mul(row_tile, read("m.block")), f.mul(column_tile, read("n.block"))
            rows = f.intrinsic("smin", f.sub(read("m.extent"), row0), read("m.block"))
            columns = f.intrinsic("smin", f.sub(read("n.extent"), column0), read("n.block"))
            at = {
                name: address(f, base, dot(f, batch, read, [f"batch{axis}.{name}" for axis in range(s.batch)]), dtypes[name])
                for name, base in bases.items()
            }
            self._fill_tables(batch, row0, rows, column0, columns)
            # Operands that are read where they are start at the tile's first row and column.
            if not s.a.is_packed_here:
                start = f.add(f.mul(row0, read("a.row")), f.mul(f.mul(row_tile, read("m.panels")), read("a.panel")))
                at["a"] = f.offset(at["a"], start, self.tile.element)
            if not s.b.is_packed_here:
                panel = f.mul(column_tile, read("n.panels"))
                at["b"] = f.offset(at["b"], f.mul(panel, read("b.panel")), self.tile.element)
            self._chain(batch, at, rows, columns)
        f.ret()

    def _fill_tables(self, batch: list[Value], row0: Value, rows: Value, column0: Value, columns: Value) -> None:
        f, read, s = self.f, self.read, self.structure
        for side, group, axes, first, count in ((s.a, "m", s.m, row0, rows), (s.b, "n", s.n, column0, columns)):
            tables = [_Column(name, i64(0), self.scratch[f"{name}.{group}"]) for name in s.ending.dtypes]
            if side.is_packed_here:
                tables.append(_Column(side.name, i64(0), self.scratch[f"{side.name}.lanes"]))
                for bound in range(side.bounds):
                    what = f"{side.name}.bound{bound}"
                    place = f.offset(self.scratch[f"{side.name}.lanes"], f.mul(read(f"{side.name}.capacity"), bound + 1), "i64")
                    start = dot(f, batch, read, [f"batch{axis}.{what}" for axis in range(s.batch)], read(f"{what}.start"))
                    tables.append(_Column(what, start, place))
            _fill(f, read, group, axes, first, count, tables)

    def _chain(self, batch: list[Value], at: dict[str, Value], rows: Value, columns: Value) -> None:
        """All blocks of k of one tile, in order."""
        f, read, s = self.f, self.read, self.structure
        outer_extents = [read(f"outer{axis}.extent") for axis in range(s.outer)]
        with nest(f, outer_extents) as outer, f.loop(0, read("split.extent"), read("split.chunk")) as split:
            length = f.intrinsic("smin", f.sub(read("split.extent"), split.index), read("split.chunk"))
            is_first = f.compare("eq", split.index, 0)
            is_last = f.compare("eq", f.add(split.index, length), read("split.extent"))
            for axis, index in enumerate(outer):
                is_first = f.binary("and", is_first, f.compare("eq", index, 0))
                is_last = f.binary("and", is_last, f.compare("eq", f.add(index, 1), read(f"outer{axis}.extent")))
            k, axes = [*outer, split.index], [*[f"outer{axis}" for axis in range(s.outer)], "split"]
            source = {}
            for side, count in ((s.a, rows), (s.b, columns)):
                offset = dot(f, k, read, [f"{axis}.{side.name}" for axis in axes])
                source[side.name] = address(f, at[side.name], offset, side.dtype)
                if side.is_packed_here:
                    shifts = [dot(f, k, read, [f"{axis}.{side.name}.bound{bound}" for axis in axes]) for bound in range(side.bounds)]
                    self._pack(side, source[side.name], count, length, shifts)
                    source[side.name] = self.scratch[f"{side.name}.panels"]
            self._block(at, source, rows, columns, f.mul(length, read("inner")), is_first, is_last)

    def _pack(self, side: Side, source: Value, count: Value, length: Value, shifts: list[Value]) -> None:
        """Pack what a tile needs of an operand for one block of k."""
        f, read, tile = self.f, self.read, self.tile
        panels = self.scratch[f"{side.name}.panels"]
        if side.mode != "lanes" or side.free:
            self._pack_panels(side, source, panels, count, f.mul(length, read(f"{side.name}.box0.scale")), shifts)
            return
        # A few rows of memory at a time, each read to its end, so that the processor sees what to prefetch.
        length = f.mul(length, read(f"{side.name}.box0.scale"))
        step = f.mul(read(f"{side.name}.box0.steps"), tile.rows * tile.parts if side.is_left else tile.pitch)
        with f.loop(0, length, _ROWS_AT_A_TIME) as loop:
            start = address(f, source, f.mul(loop.index, read(f"{side.name}.box0.stride")), side.dtype)
            place = f.offset(panels, f.mul(loop.index, step), tile.element)
            here = f.intrinsic("smin", f.sub(length, loop.index), i64(_ROWS_AT_A_TIME))
            self._pack_panels(side, start, place, count, here, shifts)

    def _pack_panels(self, side: Side, source: Value, panels: Value, count: Value, length: Value, shifts: list[Value]) -> None:
        f, read = self.f, self.read
        lanes = self.scratch[f"{side.name}.lanes"]

        def pack(panel: Value, lane: Value, count: Value) -> None:
            place = f.offset(panels, f.mul(panel, read(f"{side.name}.panel")), self.tile.element)
            f.call(f"@{self.pack[side.name]}", f.parameters[1], source, place, f.offset(lanes, lane, "i64"), count, length, *shifts)

        if side.keeps_rows:
            pack(i64(0), i64(0), count)
        elif side.is_left:
            with _panels_of_rows(f, self.tile, count) as (row, panel, here):
                pack(panel, row, here)
        else:
            with f.loop(0, count, self.tile.lanes) as loop:
                here = f.intrinsic("smin", f.sub(count, loop.index), i64(self.tile.lanes))
                pack(f.binary("udiv", loop.index, self.tile.lanes), loop.index, here)

    def _block(
        self, at: dict[str, Value], source: dict[str, Value], rows: Value, columns: Value, steps: Value, is_first: Value, is_last: Value
    ) -> None:
        """One block of k of one tile: every register tile in turn, by rows, so that the output is written along its rows."""
        f = self.f
        with _panels_of_rows(f, self.tile, rows) as (row, number, here), f.loop(0, columns, self.tile.lanes) as loop:
            self._register_tile(at, source, row, number, here, loop.index, columns, steps, is_first, is_last)

    def _register_tile(
        self, at: dict[str, Value], source: dict[str, Value], row: Value, number: Value, here: Value, column: Value, columns: Value,
        steps: Value, is_first: Value, is_last: Value,
    ) -> None:  # fmt: skip
        f, read, s, tile = self.f, self.read, self.structure, self.tile
        count = f.intrinsic("smin", f.sub(columns, column), i64(tile.lanes))
        panel = f.binary("udiv", column, tile.lanes)
        b = f.offset(source["b"], f.mul(panel, read("b.panel")), tile.element)
        a = f.offset(source["a"], f.add(f.mul(row, read("a.row")), f.mul(number, read("a.panel"))), tile.element)
        out_m, out_n = f.offset(self.scratch["out.m"], row, "i64"), f.offset(self.scratch["out.n"], column, "i64")
        sums = f.add(f.mul(panel, read("sums.panel")), f.mul(row, read("sums.row")))
        c, c_row, ends = f.offset(self.scratch["sums"], sums, tile.element), i64(tile.pitch), is_last
        if s.out_place:
            in_place = self._is_vector(out_n, count)
            offset = f.add(f.load(out_m, "i64"), f.load(out_n, "i64"))
            c = f.select(in_place, address(f, at["out"], offset, s.ending.out), c)
            c_row = f.select(in_place, read("out.row"), c_row)
            ends = f.binary("and", is_last, f.binary("xor", in_place, 1))
        zeros = f.module.table(tile.element, [0] * tile.pitch)
        begin, begin_row = f.select(is_first, zeros, c), f.select(is_first, i64(0), c_row)
        arguments = [a, read("a.rs"), read("a.ks"), b, read("b.ks"), steps, begin, begin_row, c, c_row]
        if s.b.mode == "place":
            arguments.append(count)
        for size, micro in self.micro.items():
            with f.when(f.compare("eq", here, size)):
                f.call(f"@{micro}", *arguments)
        with f.when(ends):
            others = []
            for name in s.ending.others:
                tables = [f.offset(self.scratch[f"{name}.{group}"], index, "i64") for group, index in (("m", row), ("n", column))]
                others += [at[name], *tables]
            f.call(f"@{self.ending}", c, here, count, at["out"], out_m, out_n, *others)

    def _is_vector(self, out_n: Value, count: Value) -> Value:
        """Whether a panel is full and its columns lie side by side in the output."""
        f, tile = self.f, self.tile
        side_by_side = f.compare("eq", count, tile.lanes)
        if self.structure.n == 1:
            return side_by_side
        first = f.splat(f.load(out_n, "i64"), tile.width)
        for v in range(tile.vectors):
            here = f.load(f.offset(out_n, v * tile.width, "i64"), vector("i64", tile.width))
            expected = f.add(first, constant_vector("i64", range(v * tile.width, (v + 1) * tile.width)))
            same = f.cast("bitcast", f.compare("eq", here, expected), f"i{tile.width}")
            side_by_side = f.binary("and", side_by_side, f.compare("eq", same, -1))
        return side_by_side


def _emit_packing(module: Module, parameters: Parameters, s: PackStructure) -> None:
    side, name = s.side, s.side.name
    tile = register_tile(side.dtype, s.target)
    pack = emit_pack(module, parameters, tile, side)
    f = module.function("kernel", SIGNATURE)
    read = parameters.reader(f, f.parameters[1])
    _, params, begin, end, scratch = f.parameters
    source, target = base_address(f, read, name), base_address(f, read, "packed")
    with f.loop(begin, end) as loop:
        chunk = f.binary("urem", loop.index, read("split.chunks"))
        rest = f.binary("udiv", loop.index, read("split.chunks"))
        panel = f.binary("urem", rest, read("panels"))
        batch = decomposed(f, read, "batch", s.batch, f.binary("udiv", rest, read("panels")))
        k = f.mul(chunk, read("split.chunk"))
        length = f.intrinsic("smin", f.sub(read("split.extent"), k), read("split.chunk"))
        from_k = f.mul(k, read("split.stride"))
        start = address(f, source, dot(f, batch, read, [f"batch{axis}.{name}" for axis in range(s.batch)], from_k), side.dtype)
        place = f.mul(k, read("split.packed"))
        place = dot(f, [*batch, panel], read, [*[f"batch{axis}.packed" for axis in range(s.batch)], "panel"], place)
        place = f.offset(target, place, tile.element)
        first, count = _panel_lanes(f, read, tile, side, panel)
        columns = [_Column(name, i64(0), scratch)]
        shifts = []
        for bound in range(side.bounds):
            what = f"{name}.bound{bound}"
            here = dot(f, batch, read, [f"batch{axis}.{what}" for axis in range(s.batch)], read(f"{what}.start"))
            columns.append(_Column(what, here, f.offset(scratch, f.mul(read(f"{name}.capacity"), bound + 1), "i64")))
            shifts.append(f.mul(k, read(f"split.bound{bound}")))
        _fill(f, read, "lanes", s.lanes, first, count, columns)
        f.call(f"@{pack}", params, start, place, scratch, count, f.mul(length, read(f"{name}.box0.scale")), *shifts)
    f.ret()


def _panel_lanes(f: Builder, read: Reader, tile: Tile, side: Side, panel: Value) -> tuple[Value, Value]:
    """The first lane and the number of lanes of a panel."""
    if not side.is_left or side.keeps_rows:
        lanes = i64(tile.lanes)
        first = f.mul(panel, lanes)
        return first, f.intrinsic("smin", f.sub(read("lanes.extent"), first), lanes)
    # Panels of rows restart at each tile of the contraction, and end in smaller ones: walk to the one wanted.
    row_tile = f.intrinsic("smin", f.binary("udiv", panel, read("m.panels")), f.sub(read("m.tiles"), 1))
    wanted = f.sub(panel, f.mul(row_tile, read("m.panels")))
    start = f.mul(row_tile, read("m.block"))
    rows = f.intrinsic("smin", f.sub(read("lanes.extent"), start), read("m.block"))
    found = f.alloca("i64", 2)
    count_place = f.offset(found, 1, "i64")
    with _panels_of_rows(f, tile, rows) as (row, number, here), f.when(f.compare("eq", number, wanted)):
        f.store(f.add(start, row), found)
        f.store(here, count_place)
    return f.load(found, "i64"), f.load(count_place, "i64")
