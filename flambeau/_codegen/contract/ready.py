"""Getting an operand ready for one block of k of one tile: packed panels, panels for matrix registers, or a copy with its border.

Each function, ``ready(frame, section)``, reads from the frame where the operand lies (``NAME.source``), and puts there where the sweep is to read it.
The ``section`` are the parameters that only this operand has.
"""

from __future__ import annotations

from flambeau._codegen.contract import amx
from flambeau._codegen.contract.arithmetic import Tile
from flambeau._codegen.contract.bordered import emit_rows
from flambeau._codegen.contract.frame import Frame, function
from flambeau._codegen.contract.micro import panels_of_rows
from flambeau._codegen.contract.packing import Side
from flambeau._codegen.contract.parameters import Parameters
from flambeau._codegen.ir import Builder, Module, Value, i64

KEEPING, KEPT = 1, 2
"""The parameter ``keep`` of a packed operand: what tiles pack is to be kept, or has been kept; 0: neither."""


def emit_ready(module: Module, section: Parameters, tile: Tile, side: Side) -> str:
    """The function that gets an operand ready; returns its name, or nothing if the sweep reads the operand where it is.

    Its own parameters are added to the ``section``.
    """
    if side.border is None and (not side.is_packed_here or side.by_panel):
        return ""
    pairs = amx.Pairs(module, section, tile, side) if side.is_paired else None
    f, frame = function(module, f"ready_{side.name}", [("ptr", "section")])
    if side.border is not None:
        _emit_copy(f, frame, section, tile, side)
    elif pairs is not None:
        _emit_pairs(f, frame, section, pairs, tile)
    else:
        _emit_panels(f, frame, tile, side)
    f.ret()
    return f.name


def _emit_panels(f: Builder, frame: Frame, tile: Tile, side: Side) -> None:
    """Pack what a tile needs of an operand, unless an earlier run has kept it.

    Several tiles may keep the same at a time. They copy what is complete, so that each writes, and reads, the same bytes.
    """
    name, read = side.name, frame.parameter
    panels, keep = frame.scratch(f"{name}.panels"), read(f"{name}.keep")
    is_kept = f.compare("eq", keep, KEPT)
    with f.when(f.binary("xor", is_kept, 1)):
        _pack(f, frame, tile, side, panels)
        frame.set(f"{name}.source", panels)
    with f.when(f.compare("ne", keep, 0)):
        area, number = read(f"{name}.keep.area"), frame.number("row_tile" if side.is_left else "column_tile")
        number = f.add(f.mul(frame.number("batch"), read(f"{name}.keep.batch")), number)
        number = f.add(f.mul(number, read(f"{name}.keep.blocks")), frame.number("block"))
        memory = f.load(f.offset(frame.memory("table"), read(f"{name}.kept"), "ptr"), "ptr")
        kept = f.offset(memory, f.mul(number, area), "i8")
        with f.when(is_kept):
            frame.set(f"{name}.source", kept)
        with f.when(f.binary("xor", is_kept, 1)):
            f.copy(kept, panels, area)


def _pack(f: Builder, frame: Frame, tile: Tile, side: Side, panels: Value) -> None:
    """Pack all panels, a few rows of memory at a time, each read to its end, so that the processor sees what to prefetch."""
    name, read, source = side.name, frame.parameter, frame.address(f"{side.name}.source")
    length, count = f.mul(frame.number("length"), read(f"{name}.scale")), frame.number("rows" if side.is_left else "columns")
    with f.loop(0, length, read(f"{name}.rows")) as loop:
        start = f.offset(source, f.mul(loop.index, read(f"{name}.stride")), "i8")
        place = f.offset(panels, f.mul(loop.index, read(f"{name}.step")), tile.element)
        rows = f.intrinsic("smin", f.sub(length, loop.index), read(f"{name}.rows"))
        if side.keeps_rows:
            _pack_panel(f, frame, name, start, place, i64(0), count, rows)
        elif side.is_left:
            with panels_of_rows(f, tile, count) as (row, panel, here):
                _pack_panel(f, frame, name, start, f.offset(place, f.mul(panel, read("a.panel")), tile.element), row, here, rows)
        else:
            with f.loop(0, count, tile.lanes) as lane:
                panel, here = f.binary("udiv", lane.index, tile.lanes), f.intrinsic("smin", f.sub(count, lane.index), i64(tile.lanes))
                _pack_panel(f, frame, name, start, f.offset(place, f.mul(panel, read("b.panel")), tile.element), lane.index, here, rows)


def _pack_panel(f: Builder, frame: Frame, name: str, source: Value, panel: Value, lane: Value, count: Value, length: Value) -> None:
    lanes = f.offset(frame.scratch(f"{name}.lanes"), lane, "i64")
    frame.call(f"pack.{name}", f.parameters[1], source, panel, lanes, count, length, frame.address(f"{name}.shifts"))


def _emit_pairs(f: Builder, frame: Frame, section: Parameters, pairs: amx.Pairs, tile: Tile) -> None:
    """Make panels as matrix registers are loaded."""
    name, read = pairs.side.name, frame.parameter
    source, panels = frame.address(f"{name}.source"), frame.scratch(f"{name}.panels")
    count, length = frame.number("rows" if pairs.side.is_left else "columns"), f.mul(frame.number("length"), read(f"{name}.scale"))
    own = section.reader(f, f.parameters[1])
    with f.loop(0, count, amx.LANES) as lane:
        lanes, raw = f.offset(frame.scratch(f"{name}.lanes"), lane.index, "i64"), frame.scratch(f"{name}.raw")
        here = f.intrinsic("smin", f.sub(count, lane.index), i64(amx.LANES))
        panel = f.offset(panels, f.mul(f.binary("udiv", lane.index, i64(amx.LANES)), read(f"{name}.panel")), tile.element)
        shifts = frame.address(f"{name}.shifts")
        pairs.pack(f, own, f.parameters[1], raw, source, panel, lanes, here, length, frame.number("steps"), shifts)
    frame.set(f"{name}.source", panels)


def _emit_copy(f: Builder, frame: Frame, section: Parameters, tile: Tile, side: Side) -> None:
    """Copy with its border what a block of k reads, or what the rows of a tile read, unless that is there."""
    assert side.border is not None
    own, offset, size = section.reader(f, f.parameters[1]), frame.number("a.offset"), tile.bytes
    source = f.offset(frame.address("a.source"), f.sub(i64(0), offset), "i8")
    offset = f.binary("sdiv", offset, i64(size))
    if side.strips:
        first, last = offset, f.add(offset, f.mul(f.sub(frame.number("length"), 1), own("split.a")))
        is_new = Value("true", "i1")
    else:
        lanes = frame.scratch("a.lanes")
        first, last = (f.load(f.offset(lanes, row, "i64"), "i64") for row in (i64(0), f.sub(frame.number("rows"), 1)))
        number = f.add(f.mul(frame.number("batch"), frame.parameter("m.tiles")), frame.number("row_tile"))
        is_new = f.compare("ne", frame.number("copied"), number)
        frame.set("copied", number)
    begin, end = (f.binary("udiv", f.add(place, own(f"band.{which}")), own("row")) for place, which in ((first, "low"), (last, "high")))
    band = frame.scratch("a.band")
    with f.when(is_new):
        emit_rows(f, own, side.border, source, band, begin, f.add(end, 1))
    origin = f.add(f.sub(own("band.origin"), f.mul(begin, own("row"))), offset)
    frame.set("a.source", f.offset(band, origin, tile.element))
