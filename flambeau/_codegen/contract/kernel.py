"""The kernel of a contraction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from flambeau._codegen.contract import amx
from flambeau._codegen.contract.arithmetic import Tile, register_tile
from flambeau._codegen.contract.bordered import LINE, emit_rows
from flambeau._codegen.contract.ending import Ending, emit_ending
from flambeau._codegen.contract.micro import Walk, emit_micro, row_choices
from flambeau._codegen.contract.packing import Side, address, emit_pack, nest
from flambeau._codegen.contract.parameters import Parameters, Reader, decomposed, dot
from flambeau._codegen.ir import Builder, Module, Value, constant_vector, i64, vector
from flambeau._runtime.targets import Target

_MOST_ADDRESSES = 8
KEEPING, KEPT = 1, 2
"""The parameter ``keep`` of a packed operand: what tiles pack is to be kept, or has been kept; 0: neither."""
SIGNATURE = [
    ("ptr noalias readonly", "table"), ("ptr noalias readonly", "params"), ("i64", "begin"), ("i64", "end"), ("ptr noalias", "scratch"),
]  # fmt: skip


class Code(NamedTuple):
    """A kernel: its name, its IR, and the names of its parameters in the order of the ``params`` array."""

    name: str
    source: str
    parameters: tuple[str, ...]


class Structure(NamedTuple):
    """All that the code of a contraction depends on; extents, strides and blocking are run-time parameters.

    ``batch``, ``m``, ``n`` and ``outer`` count axes.  The k axes are ``outer`` ones, one that is ``split`` into chains and these
    into blocks, and the ones inside it, which each ``Side`` sees as a box of its own.  ``out_place`` says that sums can be
    kept in the output itself. Of columns that are read in place ``edge`` says how the last panel is read if it has fewer than the others: ``earlier``,
    so that it ends with the last column, or ``masked``, if there are not so many columns. Register tiles are one or two ``vectors`` wide.
    ``unsigned`` is the tile's.
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
    edge: str = ""
    vectors: tuple[int, ...] = ()
    unsigned: str = ""

    @property
    def tile(self) -> Tile:
        if self.a.is_paired:
            return amx.matrix_tile()
        tile = register_tile(self.a.dtype, self.target, self.unsigned)
        if self.a.mode == "table" and not self.a.step:
            # Each row has an address register: with more than 8 rows LLVM runs out of them, and moves sums to memory and back at each step.
            tile = replace(tile, variants=tuple(rows for rows in tile.variants if rows <= _MOST_ADDRESSES))
        return tile


@cache
def contraction(structure: Structure) -> Code:
    """The kernel that computes tiles of the output."""
    module, parameters = Module(instruction_sets(structure.target)), Parameters()
    _Contraction(module, parameters, structure).emit()
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


class TableColumn(NamedTuple):
    """A table to fill for a group of axes: which strides, from which start, where."""

    what: str
    start: Value
    place: Value


def fill(f: Builder, read: Reader, group: str, axes: int, first: Value, count: Value, columns: Sequence[TableColumn]) -> None:
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
def panels_of_rows(
    f: Builder, tile: Tile, rows: Value, first: Value | None = None, run: Value | None = None
) -> Iterator[tuple[Value, Value, Value]]:
    """Walk ``rows`` rows in panels: gives the first row, the panel's number and its rows, which do not cross a multiple of ``run`` if counted from ``first``."""
    if tile.packing:
        with f.loop(0, rows, tile.rows) as panels:
            here = f.intrinsic("smin", f.sub(rows, panels.index), i64(tile.rows))
            yield panels.index, f.binary("udiv", panels.index, i64(tile.rows)), here
        return
    choices = row_choices(tile.variants)
    table = f.module.table("i64", choices)
    with f.repeat([i64(0), i64(0)]) as loop:
        row, panel = loop.carried
        left = f.intrinsic("smin", f.sub(rows, row), i64(len(choices) - 1))
        if first is not None and run is not None:
            left = f.intrinsic("smin", left, f.sub(run, f.binary("urem", f.add(first, row), run)))
        here = f.load(f.offset(table, left, "i64"), "i64")
        yield row, panel, here
        row = f.add(row, here)
        loop.again(f.compare("slt", row, rows), row, f.add(panel, 1))


class _Flags(NamedTuple):
    """Of a block of k: whether chains start and end with it; if they end, whether to add them to others, and whether sums finish."""

    starts: Value
    ends: Value
    adds: Value
    finish: Value


class _Contraction:
    def __init__(self, module: Module, parameters: Parameters, structure: Structure) -> None:
        self.structure, self.tile = structure, structure.tile
        packed = [side for side in (structure.a, structure.b) if side.is_packed_here]
        if self.tile.packing:
            self.products = {16 * registers: amx.emit_products(module, self.tile, registers) for registers in (1, 2)}
            self.pairs = {side.name: amx.Pairs(module, parameters, self.tile, side) for side in packed}
        else:
            self.pack = {side.name: emit_pack(module, parameters, self.tile, side) for side in packed}
            is_tabled = structure.a.mode == "table"
            self.micro = {
                (rows, vectors): emit_micro(module, self.tile, rows, structure.edge == "masked", True, is_tabled, vectors, self._walk())
                for vectors in structure.vectors or (self.tile.vectors,)
                for rows in self.tile.variants
            }
        self.ending = emit_ending(module, self.tile, structure.ending, structure.edge == "earlier")
        self.f = module.function("kernel", SIGNATURE)
        self.read = parameters.reader(self.f, self.f.parameters[1])

    def _walk(self) -> Walk:
        """What is known of the distances in the operands: of those in packed ones nearly all."""
        a, tile = self.structure.a, self.tile
        b = None if self.structure.b.mode == "place" else tile.pitch
        if a.mode == "table" and a.step:
            return Walk(1, None, b)
        if a.mode == "table" or (a.mode == "place" and not a.step):
            return Walk(b=b)
        if a.keeps_rows or a.mode in ("place", "rows"):
            return Walk(None, tile.parts, b, ahead=True)
        return Walk(tile.parts, tile.rows * tile.parts, b)

    def _scratch(self, name: str) -> Value:
        return self.f.offset(self.f.parameters[4], self.read(f"scratch.{name}"), "i8")

    def emit(self) -> None:
        f, read, s = self.f, self.read, self.structure
        _, _, begin, end, _ = f.parameters
        dtypes = {"a": s.a.border.dtype if s.a.border else s.a.dtype, "b": s.b.dtype} | s.ending.dtypes
        bases = {name: base_address(f, read, name) for name in dtypes}
        areas = ["sums", "chains", *[f"{name}.{group}" for name in s.ending.moving for group in "mn"]]
        areas += [f"{side.name}.{what}" for side in (s.a, s.b) if side.is_packed_here for what in ("lanes", "panels")]
        if s.a.mode == "table":
            areas += ["a.lanes", "a.steps"]
        if s.a.border:
            areas.append("a.band")
        areas += [f"{side.name}.raw" for side in (s.a, s.b) if side.is_paired and side.is_packed_here]
        self.scratch = {area: self._scratch(area) for area in areas}
        if self.tile.packing:
            amx.emit_configure(f)
        if s.a.mode == "table":
            fill(f, read, "steps", s.a.box, i64(0), read("steps.count"), [TableColumn("a", i64(0), self.scratch["a.steps"])])
        if s.a.border and not s.a.strips:
            self.copied = f.alloca("i64")
            f.store(i64(-1), self.copied)
        self.block_number = f.alloca("i64")
        with f.loop(begin, end) as loop:
            column_tile = f.binary("urem", loop.index, read("n.tiles"))
            rest = f.binary("udiv", loop.index, read("n.tiles"))
            row_tile = f.binary("urem", rest, read("m.tiles"))
            batch = decomposed(f, read, "batch", s.batch, f.binary("udiv", rest, read("m.tiles")))
            row0, column0 = f.mul(row_tile, read("m.block")), f.mul(column_tile, read("n.block"))
            self.first_row = row0
            rows = f.intrinsic("smin", f.sub(read("m.extent"), row0), read("m.block"))
            columns = f.intrinsic("smin", f.sub(read("n.extent"), column0), read("n.block"))
            at = bases | {
                name: address(f, bases[name], dot(f, batch, read, [f"batch{axis}.{name}" for axis in range(s.batch)]), dtypes[name])
                for name in ("a", "b", *s.ending.moving)
            }
            self._fill_tables(batch, row0, rows, column0, columns)
            if s.a.border and not s.a.strips:
                at["a"] = self._band(at["a"], rest, rows)
            # Operands that are read where they are start at the tile's first row and column.
            if not s.a.is_packed_here and s.a.mode != "table":
                start = f.add(f.mul(row0, read("a.row")), f.mul(f.mul(row_tile, read("m.panels")), read("a.panel")))
                at["a"] = f.offset(at["a"], start, self.tile.element)
            if not s.b.is_packed_here:
                panel = f.mul(column_tile, read("n.panels"))
                at["b"] = f.offset(at["b"], f.mul(panel, read("b.panel")), self.tile.element)
            for side, tile in ((s.a, row_tile), (s.b, column_tile)):
                if side.may_be_kept:
                    number = f.add(f.mul(f.binary("udiv", rest, read("m.tiles")), read(f"{side.name}.keep.batch")), tile)
                    at[f"{side.name}.kept"] = f.offset(self._kept_memory(side), self._kept_size(side, number), "i8")
            f.store(i64(0), self.block_number)
            self._chain(batch, at, rows, columns)
        if self.tile.packing:
            amx.emit_release(f)
        f.ret()

    def _band(self, source: Value, number: Value, rows: Value) -> Value:
        """Copy what the rows of a tile read with its border, unless the tile before had the same; returns the address of element 0."""
        f = self.f
        places = [f.load(f.offset(self.scratch["a.lanes"], row, "i64"), "i64") for row in (i64(0), f.sub(rows, 1))]
        is_new = f.compare("ne", f.load(self.copied, "i64"), number)
        f.store(number, self.copied)
        return self._copied(source, *places, is_new)

    def _copied(self, source: Value, first: Value, last: Value, is_new: Value) -> Value:
        """Copy rows with their border, unless they are there: what is read from one place to another; returns the address of element 0."""
        f, read, border = self.f, self.read, self.structure.a.border
        assert border is not None
        begin, end = (
            f.binary("udiv", f.add(place, read(f"band.{which}")), read("row")) for place, which in ((first, "low"), (last, "high"))
        )
        with f.when(is_new):
            emit_rows(f, read, border, source, self.scratch["a.band"], begin, f.add(end, 1))
        return f.offset(self.scratch["a.band"], f.sub(read("band.origin"), f.mul(begin, read("row"))), self.tile.element)

    def _fill_tables(self, batch: list[Value], row0: Value, rows: Value, column0: Value, columns: Value) -> None:
        f, read, s = self.f, self.read, self.structure
        for side, group, axes, first, count in ((s.a, "m", s.m, row0, rows), (s.b, "n", s.n, column0, columns)):
            tables = [TableColumn(name, i64(0), self.scratch[f"{name}.{group}"]) for name in s.ending.moving]
            if side.is_packed_here or side.mode == "table":
                tables.append(TableColumn(side.name, i64(0), self.scratch[f"{side.name}.lanes"]))
                for bound in range(side.bounds):
                    what = f"{side.name}.bound{bound}"
                    place = f.offset(self.scratch[f"{side.name}.lanes"], f.mul(read(f"{side.name}.capacity"), bound + 1), "i64")
                    start = dot(f, batch, read, [f"batch{axis}.{what}" for axis in range(s.batch)], read(f"{what}.start"))
                    tables.append(TableColumn(what, start, place))
            fill(f, read, group, axes, first, count, tables)

    def _chain(self, batch: list[Value], at: dict[str, Value], rows: Value, columns: Value) -> None:
        """All chains of one tile, and the blocks of each, in order."""
        f, read, s = self.f, self.read, self.structure
        outer_extents = [read(f"outer{axis}.extent") for axis in range(s.outer)]
        with nest(f, outer_extents) as outer, f.loop(0, read("split.extent"), read("split.chain")) as split:
            stop = f.intrinsic("smin", f.add(split.index, read("split.chain")), read("split.extent"))
            is_first, is_last = f.compare("eq", split.index, 0), f.compare("eq", stop, read("split.extent"))
            for axis, index in enumerate(outer):
                is_first = f.binary("and", is_first, f.compare("eq", index, 0))
                is_last = f.binary("and", is_last, f.compare("eq", f.add(index, 1), read(f"outer{axis}.extent")))
            with f.loop(split.index, stop, read("split.chunk")) as block:
                length = f.intrinsic("smin", f.sub(stop, block.index), read("split.chunk"))
                starts, ends = f.compare("eq", block.index, split.index), f.compare("eq", f.add(block.index, length), stop)
                if self.tile.packing:
                    starts = f.binary("and", starts, is_first)
                flags = _Flags(starts, ends, f.binary("and", ends, f.binary("xor", is_first, 1)), f.binary("and", ends, is_last))
                self._block(batch, at, rows, columns, [*outer, block.index], length, flags)

    def _block(
        self, batch: list[Value], at: dict[str, Value], rows: Value, columns: Value, k: list[Value], length: Value, flags: _Flags
    ) -> None:
        """One block of k of one tile: every register tile in turn, by rows, so that the output is written along its rows."""
        f, read, s = self.f, self.read, self.structure
        axes, source = [*[f"outer{axis}" for axis in range(s.outer)], "split"], {}
        for side, count in ((s.a, rows), (s.b, columns)):
            places = [*k[:-1], f.binary("udiv", k[-1], read("split.chunk"))] if side.is_paired and not side.is_packed_here else k
            offset, start = dot(f, places, read, [f"{axis}.{side.name}" for axis in axes]), at[side.name]
            if side.strips:
                start = self._copied(start, offset, f.add(offset, f.mul(f.sub(length, 1), read("split.a"))), Value("true", "i1"))
            source[side.name] = address(f, start, offset, side.dtype)
            if side.is_packed_here and not side.by_panel:
                shifts = [dot(f, k, read, [f"{axis}.{side.name}.bound{bound}" for axis in axes]) for bound in range(side.bounds)]
                source[side.name] = self._packed(side, at, source[side.name], count, length, shifts)
        f.store(f.add(f.load(self.block_number, "i64"), 1), self.block_number)
        steps = f.mul(length, read("inner"))
        run = (self.first_row, read("a.run")) if s.a.mode == "table" and s.a.step else ()
        with panels_of_rows(f, self.tile, rows, *run) as (row, number, here):
            if s.a.by_panel:
                lanes = f.offset(self.scratch["a.lanes"], row, "i64")
                f.call(
                    f"@{self.pack['a']}",
                    f.parameters[1],
                    source["a"],
                    self.scratch["a.panels"],
                    lanes,
                    here,
                    f.mul(length, read("a.box0.scale")),
                )
            with f.loop(0, columns, self.tile.lanes) as loop:
                self._register_tile(at, source, rows, row, number, here, loop.index, columns, steps, flags)

    def _kept_memory(self, side: Side) -> Value:
        return self.f.load(self.f.offset(self.f.parameters[0], self.read(f"{side.name}.kept"), "ptr"), "ptr")

    def _kept_size(self, side: Side, tiles: Value) -> Value:
        """The bytes that are kept for so many tiles."""
        return self.f.mul(tiles, self.f.mul(self.read(f"{side.name}.keep.blocks"), self.read(f"{side.name}.keep.area")))

    def _packed(self, side: Side, at: dict[str, Value], source: Value, count: Value, length: Value, shifts: list[Value]) -> Value:
        """Where an operand lies packed for one block of k of one tile: in scratch memory, or where an earlier run has kept it.

        Several tiles may keep the same at a time. They copy what is complete, so that each writes, and reads, the same bytes.
        """
        f, read, name = self.f, self.read, side.name
        panels = self.scratch[f"{name}.panels"]
        if not side.may_be_kept:
            self._pack(side, source, count, length, shifts)
            return panels
        is_kept, area = f.compare("eq", read(f"{name}.keep"), KEPT), read(f"{name}.keep.area")
        kept = f.offset(at[f"{name}.kept"], f.mul(f.load(self.block_number, "i64"), area), "i8")
        with f.when(f.binary("xor", is_kept, 1)):
            self._pack(side, source, count, length, shifts)
            with f.when(f.compare("eq", read(f"{name}.keep"), KEEPING)):
                f.copy(kept, panels, area)
        return f.select(is_kept, kept, panels)

    def _pack(self, side: Side, source: Value, count: Value, length: Value, shifts: list[Value]) -> None:
        """Pack what a tile needs of an operand for one block of k."""
        f, read, tile = self.f, self.read, self.tile
        panels = self.scratch[f"{side.name}.panels"]
        if side.is_paired:
            self._pack_pairs(side, source, count, f.mul(length, read(f"{side.name}.box0.scale")), f.mul(length, read("inner")), shifts)
            return
        if side.mode != "lanes" or side.free:
            self._pack_panels(side, source, panels, count, f.mul(length, read(f"{side.name}.box0.scale")), shifts)
            return
        # A few rows of memory at a time, each read to its end, so that the processor sees what to prefetch.
        length = f.mul(length, read(f"{side.name}.box0.scale"))
        step = f.mul(read(f"{side.name}.box0.steps"), tile.rows * tile.parts if side.is_left else tile.pitch)
        with f.loop(0, length, read(f"{side.name}.rows")) as loop:
            start = address(f, source, f.mul(loop.index, read(f"{side.name}.box0.stride")), side.dtype)
            place = f.offset(panels, f.mul(loop.index, step), tile.element)
            here = f.intrinsic("smin", f.sub(length, loop.index), read(f"{side.name}.rows"))
            self._pack_panels(side, start, place, count, here, shifts)

    def _pack_pairs(self, side: Side, source: Value, count: Value, length: Value, steps: Value, shifts: list[Value]) -> None:
        """Make panels as matrix registers are loaded."""
        f, name = self.f, side.name
        with f.loop(0, count, amx.LANES) as lane:
            lanes = f.offset(self.scratch[f"{name}.lanes"], lane.index, "i64")
            here = f.intrinsic("smin", f.sub(count, lane.index), i64(amx.LANES))
            number = f.mul(f.binary("udiv", lane.index, i64(amx.LANES)), self.read(f"{name}.panel"))
            panel = f.offset(self.scratch[f"{name}.panels"], number, self.tile.element)
            self.pairs[name].pack(f, self.read, self.scratch[f"{name}.raw"], source, panel, lanes, here, length, steps, shifts)

    def _pack_panels(self, side: Side, source: Value, panels: Value, count: Value, length: Value, shifts: list[Value]) -> None:
        f, read = self.f, self.read
        lanes = self.scratch[f"{side.name}.lanes"]

        def pack(panel: Value, lane: Value, count: Value) -> None:
            place = f.offset(panels, f.mul(panel, read(f"{side.name}.panel")), self.tile.element)
            f.call(f"@{self.pack[side.name]}", f.parameters[1], source, place, f.offset(lanes, lane, "i64"), count, length, *shifts)

        if side.keeps_rows:
            pack(i64(0), i64(0), count)
        elif side.is_left:
            with panels_of_rows(f, self.tile, count) as (row, panel, here):
                pack(panel, row, here)
        else:
            with f.loop(0, count, self.tile.lanes) as loop:
                here = f.intrinsic("smin", f.sub(count, loop.index), i64(self.tile.lanes))
                pack(f.binary("udiv", loop.index, self.tile.lanes), loop.index, here)

    def _register_tile(
        self, at: dict[str, Value], source: dict[str, Value], rows: Value, row: Value, number: Value, here: Value, column: Value,
        columns: Value, steps: Value, flags: _Flags,
    ) -> None:  # fmt: skip
        f, read, s, tile = self.f, self.read, self.structure, self.tile
        count = f.intrinsic("smin", f.sub(columns, column), i64(tile.lanes))
        panel = f.binary("udiv", column, tile.lanes)
        is_short = f.compare("sle", count, tile.width)
        b = f.offset(source["b"], f.mul(panel, read("b.panel")), tile.element)
        earlier = i64(0)
        if s.edge == "earlier":
            size = f.select(is_short, i64(tile.width), i64(tile.lanes)) if len(s.vectors) > 1 else i64(tile.lanes)
            earlier = f.sub(size, count)
            b = f.offset(b, f.sub(count, size), tile.element)
        if s.a.mode == "table":
            lines = f.offset(self.scratch["a.lanes"], row, "i64")
            start = f.offset(source["a"], f.load(lines, "i64"), tile.element) if s.a.step else source["a"]
            left = [start, lines, self.scratch["a.steps"]]
        elif s.a.by_panel:
            left = [self.scratch["a.panels"], read("a.rs"), read("a.ks")]
        else:
            a = f.offset(source["a"], f.add(f.mul(row, read("a.row")), f.mul(number, read("a.panel"))), tile.element)
            left = [a] if tile.packing else [a, read("a.rs"), read("a.ks")]
        out_m, out_n = f.offset(self.scratch["out.m"], row, "i64"), f.offset(self.scratch["out.n"], column, "i64")
        waiting = {}
        for name in ("sums", "chains"):
            number = f.add(f.mul(panel, read(f"{name}.panel")), f.mul(row, read(f"{name}.row")))
            waiting[name] = f.offset(self.scratch[name], number, tile.element)
        self._ask_for(at, row, here, column, flags)
        c, c_row, finish = waiting["sums"], i64(tile.pitch), flags.finish
        if s.out_place:
            in_place = self._is_vector(out_n, count)
            offset = f.add(f.load(out_m, "i64"), f.load(out_n, "i64"))
            c = f.select(in_place, address(f, at["out"], offset, s.ending.out), c)
            c_row = f.select(in_place, read("out.row"), c_row)
            finish = f.binary("and", finish, f.binary("xor", in_place, 1))
        zeros = f.module.table(tile.element, [0] * tile.pitch)
        begin, begin_row = f.select(flags.starts, zeros, waiting["chains"]), f.select(flags.starts, i64(0), i64(tile.pitch))
        target, target_row = f.select(flags.ends, c, waiting["chains"]), f.select(flags.ends, c_row, i64(tile.pitch))
        if tile.packing:
            groups, is_large = f.binary("udiv", f.add(steps, amx.GROUP - 1), i64(amx.GROUP)), f.compare("sgt", here, 16)
            for size, micro in self.products.items():
                with f.when(is_large if size > 16 else f.binary("xor", is_large, 1)):
                    f.call(f"@{micro}", *left, b, groups, flags.starts, waiting["sums"])
        else:
            arguments = [*left, b, read("b.ks"), steps, begin, begin_row, target, target_row]
            for (size, vectors), micro in self.micro.items():
                wanted = f.compare("eq", here, size)
                if len(s.vectors) > 1:
                    wanted = f.binary("and", wanted, f.binary("xor", is_short, int(vectors > 1)))
                asks = [self._ahead(source["a"], row, panel, rows)] if self._walk().ahead and size == tile.rows else []
                with f.when(wanted):
                    f.call(f"@{micro}", *arguments, *[count] * (s.edge == "masked"), flags.adds, *asks)
        with f.when(finish):
            others = []
            for name in s.ending.others:
                places = (("m", row), ("n", column)) if name in s.ending.moving else ()
                others += [at[name], *[f.offset(self.scratch[f"{name}.{group}"], index, "i64") for group, index in places]]
            f.call(f"@{self.ending}", f.offset(c, earlier, tile.element), here, count, at["out"], out_m, out_n, *others)

    def _ahead(self, source: Value, row: Value, panel: Value, rows: Value) -> Value:
        """A row of the next panel of rows, another one for each panel of columns."""
        f, tile = self.f, self.tile
        wanted = f.add(f.add(row, tile.rows), panel)
        wanted = f.intrinsic("smin", wanted, f.sub(rows, 1))
        if self.structure.a.by_panel:
            return address(f, source, f.load(f.offset(self.scratch["a.lanes"], wanted, "i64"), "i64"), self.structure.a.dtype)
        return f.offset(source, f.mul(wanted, self.read("a.rs")), tile.element)

    def _ask_for(self, at: dict[str, Value], row: Value, here: Value, column: Value, flags: _Flags) -> None:
        """Bring the lines that a register tile writes, and those that it reads beside them: by the time it has its sums they are there."""
        f, s = self.f, self.structure
        kinds = dict(zip(s.ending.others, [kind for _, kind in (*s.ending.writes, *s.ending.reads)], strict=True))
        names = ["out"] * (s.ending.step == 1) + [name for name, kind in kinds.items() if kind == "along"]
        if s.out_place or not names:
            return
        with f.when(f.binary("and", flags.finish, f.compare("ne", self.read("out.far"), 0))), f.loop(0, here) as loop:
            for name in names:
                m, n = (
                    f.load(f.offset(self.scratch[f"{name}.{group}"], index, "i64"), "i64")
                    for group, index in (("m", f.add(row, loop.index)), ("n", column))
                )
                of = s.ending.dtypes[name]
                start = address(f, at[name], f.add(m, n), of)
                for line in range(0, self.tile.lanes * of.itemsize, LINE):
                    f.prefetch(f.offset(start, line, "i8"), writes=name not in kinds or name.startswith("write"))

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
