"""The kernels that pack an operand before the contraction reads it."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from flambeau._codegen.contract import amx
from flambeau._codegen.contract.arithmetic import Tile, register_tile
from flambeau._codegen.contract.bordered import emit_rows
from flambeau._codegen.contract.kernel import SIGNATURE, Code, base_address, finished
from flambeau._codegen.contract.micro import panels_of_rows
from flambeau._codegen.contract.packing import Border, Side, emit_pack
from flambeau._codegen.contract.parameters import Parameters, Reader
from flambeau._codegen.contract.places import MORE, emit_fill
from flambeau._codegen.ir import Builder, Module, Value, i64
from flambeau._runtime.targets import Target


class PackStructure(NamedTuple):
    """All that the code of a packing call depends on."""

    target: Target
    side: Side


@cache
def packing(structure: PackStructure) -> Code:
    """The kernel that packs an operand into a temporary; a tile of it is one panel over one chunk (or, for matrix registers, block) of k."""
    module, parameters = Module(structure.target.instruction_sets), Parameters()
    (_emit_pairs if structure.side.is_paired else _emit_packing)(module, parameters, structure)
    return finished(module, parameters)


@cache
def bordering(border: Border, name: str) -> Code:
    """The kernel that copies an operand with its border (``bordered``); a tile is a row along its last coordinate."""
    module, parameters = Module(border.target.instruction_sets), Parameters()
    f = module.function("kernel", SIGNATURE)
    read = parameters.reader(f, f.parameters[1])
    _, _, begin, end, _ = f.parameters
    source, target = base_address(f, read, name), base_address(f, read, "copied")
    start = f.offset(target, f.mul(begin, read("row")), register_tile(border.dtype, border.target).element)
    emit_rows(f, read, border, source, start, begin, end)
    f.ret()
    return finished(module, parameters)


class _Places:
    """Where a tile is in the operand and in its temporary, and where its lanes are, by two tables (``places``)."""

    def __init__(self, module: Module, f: Builder, read: Reader, side: Side) -> None:
        self.f, self.read, self.side, self.fill = f, read, side, emit_fill(module)
        self.source = base_address(f, read, side.name)
        self.found, self.shifts = f.alloca("i64", MORE * (2 + side.bounds)), f.alloca("i64", max(1, side.bounds))
        self.scratch = f.parameters[4]

    def _table(self, name: str, memory: Value, first: Value, count: Value) -> None:
        description = self.f.offset(self.f.parameters[1], self.read(f"{name}.places"), "i64")
        self.f.call(f"@{self.fill}", description, memory, first, count)

    def chunk(self, number: Value) -> tuple[Value, Value]:
        """The address of a chunk of a batch in memory, and how many numbers it is from the start of the temporary; ``shifts`` are its coordinates."""
        f = self.f
        self._table("tiles", self.found, number, i64(1))
        here, packed, *shifts = (f.load(f.offset(self.found, MORE * i, "i64"), "i64") for i in range(2 + self.side.bounds))
        for position, shift in enumerate(shifts):
            f.store(shift, f.offset(self.shifts, position, "i64"))
        return f.offset(self.source, here, "i8"), packed

    def lanes(self, first: Value, count: Value) -> None:
        self._table("lanes", self.scratch, first, count)


def _emit_packing(module: Module, parameters: Parameters, s: PackStructure) -> None:
    side, name = s.side, s.side.name
    tile = register_tile(side.dtype, s.target)
    pack = emit_pack(module, parameters, tile, side)
    f = module.function("kernel", SIGNATURE)
    read = parameters.reader(f, f.parameters[1])
    _, params, begin, end, scratch = f.parameters
    places, target = _Places(module, f, read, side), base_address(f, read, "packed")
    with f.loop(begin, end) as loop:
        panel, rest = f.binary("urem", loop.index, read("panels")), f.binary("udiv", loop.index, read("panels"))
        length = _length(f, read, f.binary("urem", rest, read("split.chunks")))
        start, packed = places.chunk(rest)
        place = f.offset(target, f.add(packed, f.mul(panel, read("panel"))), tile.element)
        first, count = _panel_lanes(f, read, tile, side, panel)
        places.lanes(first, count)
        f.call(f"@{pack}", params, start, place, scratch, count, f.mul(length, read(f"{name}.box0.scale")), places.shifts)
    f.ret()


def _length(f: Builder, read: Reader, chunk: Value) -> Value:
    """How many places along the axis that is cut a chunk has."""
    return f.intrinsic("smin", f.sub(read("split.extent"), f.mul(chunk, read("split.chunk"))), read("split.chunk"))


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
    with panels_of_rows(f, tile, rows) as (row, number, here), f.when(f.compare("eq", number, wanted)):
        f.store(f.add(start, row), found)
        f.store(here, count_place)
    return f.load(found, "i64"), f.load(count_place, "i64")


def _emit_pairs(module: Module, parameters: Parameters, s: PackStructure) -> None:
    side, name, tile = s.side, s.side.name, amx.matrix_tile()
    pairs = amx.Pairs(module, parameters, tile, side)
    f = module.function("kernel", SIGNATURE)
    read = parameters.reader(f, f.parameters[1])
    _, params, begin, end, scratch = f.parameters
    places, target = _Places(module, f, read, side), base_address(f, read, "packed")
    raw = f.offset(scratch, read("scratch.raw"), "i8")
    with f.loop(begin, end) as loop:
        panel, rest = f.binary("urem", loop.index, read("panels")), f.binary("udiv", loop.index, read("panels"))
        length = _length(f, read, f.binary("urem", rest, read("split.chunks")))
        start, _ = places.chunk(rest)
        # Tiles are numbered in the order in which they lie.
        place = f.offset(target, f.mul(loop.index, read("panel")), tile.element)
        lane = f.mul(panel, amx.LANES)
        here = f.intrinsic("smin", f.sub(read("lanes.extent"), lane), i64(amx.LANES))
        places.lanes(lane, here)
        steps, length = f.mul(length, read("inner")), f.mul(length, read(f"{name}.box0.scale"))
        pairs.pack(f, read, params, raw, start, place, scratch, here, length, steps, places.shifts)
    f.ret()
