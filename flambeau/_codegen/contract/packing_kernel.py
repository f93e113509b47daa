"""The kernels that pack an operand before the contraction reads it."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from flambeau._codegen.contract import amx
from flambeau._codegen.contract.arithmetic import Tile, register_tile
from flambeau._codegen.contract.bordered import emit_rows
from flambeau._codegen.contract.kernel import (
    SIGNATURE,
    Code,
    TableColumn,
    base_address,
    fill,
    finished,
    instruction_sets,
    panels_of_rows,
)  # fmt: skip
from flambeau._codegen.contract.packing import Border, Side, address, emit_pack
from flambeau._codegen.contract.parameters import Parameters, Reader, decomposed, dot
from flambeau._codegen.ir import Builder, Module, Value, i64
from flambeau._runtime.targets import Target


class PackStructure(NamedTuple):
    """All that the code of a packing call depends on: ``batch`` and ``lanes`` count axes of the operand.

    For matrix registers each block of k is packed for itself, and ``outer`` counts the axes of k outside the blocks.
    """

    target: Target
    batch: int
    lanes: int
    side: Side
    outer: int = 0


@cache
def packing(structure: PackStructure) -> Code:
    """The kernel that packs an operand into a temporary; a tile of it is one panel over one chunk (or block) of k."""
    module, parameters = Module(instruction_sets(structure.target)), Parameters()
    (_emit_pairs if structure.side.is_paired else _emit_packing)(module, parameters, structure)
    return finished(module, parameters)


@cache
def bordering(border: Border, name: str) -> Code:
    """The kernel that copies an operand with its border (``bordered``); a tile is a row along its last coordinate."""
    module, parameters = Module(instruction_sets(border.target)), Parameters()
    f = module.function("kernel", SIGNATURE)
    read = parameters.reader(f, f.parameters[1])
    _, _, begin, end, _ = f.parameters
    source, target = base_address(f, read, name), base_address(f, read, "copied")
    start = f.offset(target, f.mul(begin, read("row")), register_tile(border.dtype, border.target).element)
    emit_rows(f, read, border, source, start, begin, end)
    f.ret()
    return finished(module, parameters)


def _emit_packing(module: Module, parameters: Parameters, s: PackStructure) -> None:
    side, name = s.side, s.side.name
    tile = register_tile(side.dtype, s.target)
    pack = emit_pack(module, parameters, tile, side)
    f = module.function("kernel", SIGNATURE)
    read = parameters.reader(f, f.parameters[1])
    _, params, begin, end, scratch = f.parameters
    source, target = base_address(f, read, name), base_address(f, read, "packed")
    with f.loop(begin, end) as loop:
        panel = f.binary("urem", loop.index, read("panels"))
        rest = f.binary("udiv", loop.index, read("panels"))
        chunk = f.binary("urem", rest, read("split.chunks"))
        batch = decomposed(f, read, "batch", s.batch, f.binary("udiv", rest, read("split.chunks")))
        k = f.mul(chunk, read("split.chunk"))
        length = f.intrinsic("smin", f.sub(read("split.extent"), k), read("split.chunk"))
        from_k = f.mul(k, read("split.stride"))
        start = address(f, source, dot(f, batch, read, [f"batch{axis}.{name}" for axis in range(s.batch)], from_k), side.dtype)
        place = f.mul(k, read("split.packed"))
        place = dot(f, [*batch, panel], read, [*[f"batch{axis}.packed" for axis in range(s.batch)], "panel"], place)
        place = f.offset(target, place, tile.element)
        first, count = _panel_lanes(f, read, tile, side, panel)
        columns = [TableColumn(name, i64(0), scratch)]
        shifts = []
        for bound in range(side.bounds):
            what = f"{name}.bound{bound}"
            here = dot(f, batch, read, [f"batch{axis}.{what}" for axis in range(s.batch)], read(f"{what}.start"))
            columns.append(TableColumn(what, here, f.offset(scratch, f.mul(read(f"{name}.capacity"), bound + 1), "i64")))
            shifts.append(f.mul(k, read(f"split.bound{bound}")))
        fill(f, read, "lanes", s.lanes, first, count, columns)
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
    with panels_of_rows(f, tile, rows) as (row, number, here), f.when(f.compare("eq", number, wanted)):
        f.store(f.add(start, row), found)
        f.store(here, count_place)
    return f.load(found, "i64"), f.load(count_place, "i64")


def _emit_pairs(module: Module, parameters: Parameters, s: PackStructure) -> None:
    side, name, tile = s.side, s.side.name, amx.matrix_tile()
    pairs = amx.Pairs(module, parameters, tile, side)
    f = module.function("kernel", SIGNATURE)
    read = parameters.reader(f, f.parameters[1])
    _, _, begin, end, scratch = f.parameters
    source, target = base_address(f, read, name), base_address(f, read, "packed")
    raw = f.offset(scratch, read("scratch.raw"), "i8")
    with f.loop(begin, end) as loop:
        panel, rest = f.binary("urem", loop.index, read("panels")), f.binary("udiv", loop.index, read("panels"))
        chunk, rest = f.binary("urem", rest, read("split.chunks")), f.binary("udiv", rest, read("split.chunks"))
        outer = decomposed(f, read, "outer", s.outer, f.binary("urem", rest, read("outer.count"))) if s.outer else []
        batch = decomposed(f, read, "batch", s.batch, f.binary("udiv", rest, read("outer.count")))
        k = f.mul(chunk, read("split.chunk"))
        length = f.intrinsic("smin", f.sub(read("split.extent"), k), read("split.chunk"))
        indices, axes = [*batch, *outer, k], [*[f"batch{i}" for i in range(s.batch)], *[f"outer{i}" for i in range(s.outer)], "split"]
        start = address(f, source, dot(f, indices, read, [f"{axis}.{name}" for axis in axes]), side.dtype)
        # Tiles are numbered in the order in which they lie.
        place = f.offset(target, f.mul(loop.index, read("panel")), tile.element)
        lane = f.mul(panel, amx.LANES)
        here = f.intrinsic("smin", f.sub(read("lanes.extent"), lane), i64(amx.LANES))
        columns = [TableColumn(name, i64(0), scratch)]
        shifts = []
        for bound in range(side.bounds):
            what = f"{name}.bound{bound}"
            before = dot(f, batch, read, [f"batch{i}.{what}" for i in range(s.batch)], read(f"{what}.start"))
            columns.append(TableColumn(what, before, f.offset(scratch, f.mul(read(f"{name}.capacity"), bound + 1), "i64")))
            shifts.append(dot(f, indices[s.batch :], read, [f"{axis}.{what}" for axis in axes[s.batch :]]))
        fill(f, read, "lanes", s.lanes, lane, here, columns)
        steps = f.mul(length, read("inner"))
        pairs.pack(f, read, raw, start, place, scratch, here, f.mul(length, read(f"{name}.box0.scale")), steps, shifts)
    f.ret()
