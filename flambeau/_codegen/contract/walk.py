"""The walk of a contraction: its tiles, the blocks of k of each, and what is done for each block. All contractions have this one.

What differs among them are functions whose addresses are in the frame: what gets an operand ready (``ready``), and the ``sweep`` over register tiles.
"""

from __future__ import annotations

from functools import cache

from flambeau._codegen.contract.frame import Frame, function
from flambeau._codegen.contract.places import MORE
from flambeau._codegen.ir import Builder, Module, Value, i64


def emit_walk(module: Module) -> str:
    """A function that computes the tiles from ``begin`` to ``end``, ``walk(frame, begin, end)``; returns its name."""
    module.include(_walk(module.features))
    return "walk"


@cache
def _walk(features: frozenset[str]) -> Module:
    module = Module(features)
    f, frame = function(module, "walk", [("i64", "begin"), ("i64", "end")])
    _, begin, end = f.parameters
    _Walk(f, frame).emit(begin, end)
    return module


class _Walk:
    def __init__(self, f: Builder, frame: Frame) -> None:
        self.f, self.frame, self.read = f, frame, frame.parameter

    def emit(self, begin: Value, end: Value) -> None:
        f, frame, read = self.f, self.frame, self.read
        has_steps = f.compare("ne", read("steps.places"), 0)
        with f.when(has_steps):
            self._fill("steps", frame.memory("scratch"), i64(0), f.mul(read("split.chunk"), read("inner")))
        frame.set("copied", i64(-1))
        frame.set("known", i64(0))
        self._tables()
        with f.loop(begin, end) as loop:
            tiles = read("n.tiles")
            column_tile, rest = f.binary("urem", loop.index, tiles), f.binary("udiv", loop.index, tiles)
            tiles = read("m.tiles")
            row_tile, batch = f.binary("urem", rest, tiles), f.binary("udiv", rest, tiles)
            row, rows = self._block_of("m", row_tile)
            column, columns = self._block_of("n", column_tile)
            places = {"row_tile": row_tile, "column_tile": column_tile, "batch": batch, "first_row": row, "rows": rows, "columns": columns}
            for name, value in places.items():
                frame.set(name, value)
            self._operands(batch)
            self._fill("m", frame.memory("scratch"), row, rows)
            self._fill("n", frame.memory("scratch"), column, columns)
            with f.when(f.compare("ne", frame.address("lists"), Value("null", "ptr"))):
                frame.call("lists", frame.pointer)
            # Operands that are read where they are start at the tile's first row and column.
            operands = frame.memory("operands")
            of_row, of_panel = f.mul(row, read("a.first.row")), f.mul(f.mul(row_tile, read("m.panels")), read("a.first.panel"))
            self._move(operands, f.add(of_row, of_panel))
            self._move(f.offset(operands, 3, "ptr"), f.mul(column_tile, read("b.tile")))
            self._chains()
        f.ret()

    def _tables(self) -> None:
        """Where the operands behind the first two have their tables of rows and of columns."""
        f, read, scratch = self.f, self.read, self.frame.memory("scratch")
        tables = [f.offset(scratch, read(f"scratch.{group}"), "i8") for group in "mn"]
        with f.loop(0, read("moving"), carried=[f.offset(self.frame.memory("operands"), 6, "ptr"), *tables]) as loop:
            operand, *tables = loop.carried
            for word, table in enumerate(tables, 1):
                f.store(table, f.offset(operand, word, "ptr"))
            further = [f.offset(table, read(f"{group}.apart"), "i8") for group, table in zip("mn", tables, strict=True)]
            loop.carry(f.offset(operand, 3, "ptr"), *further)

    def _block_of(self, group: str, tile: Value) -> tuple[Value, Value]:
        """The first row (or column) of a tile, and how many it has."""
        f, block = self.f, self.read(f"{group}.block")
        first = f.mul(tile, block)
        return first, f.intrinsic("smin", f.sub(self.read(f"{group}.extent"), first), block)

    def _fill(self, name: str, memory: Value, first: Value, count: Value) -> None:
        description = self.f.offset(self.frame.memory("params"), self.read(f"{name}.places"), "i64")
        self.frame.call("fill", description, memory, first, count)

    def _operands(self, batch: Value) -> None:
        """Find where each operand's part of a batch begins: its buffer, from its first byte on, and how far the batch is from there."""
        f, frame, read = self.f, self.frame, self.read
        offsets = frame.memory("offsets")
        self._fill("batch", offsets, batch, i64(1))
        table, slots = frame.memory("table"), f.offset(frame.memory("params"), read("slots"), "i64")
        start = [slots, offsets, frame.memory("operands")]
        with f.loop(0, read("operands"), carried=start) as loop:
            slot, offset, operand = loop.carried
            buffer = f.load(f.offset(table, f.load(slot, "i64"), "ptr"), "ptr")
            distance = f.add(f.load(f.offset(slot, 1, "i64"), "i64"), f.load(offset, "i64"))
            f.store(f.offset(buffer, distance, "i8"), operand)
            loop.carry(f.offset(slot, 2, "i64"), f.offset(offset, MORE, "i64"), f.offset(operand, 3, "ptr"))

    def _move(self, operand: Value, distance: Value) -> None:
        self.f.store(self.f.offset(self.f.load(operand, "ptr"), distance, "i8"), operand)

    def _chains(self) -> None:
        """All chains of one tile, and the blocks of each, in order."""
        f, frame, read = self.f, self.frame, self.read
        with f.loop(0, read("outer.count")) as outer:
            frame.set("block", f.mul(outer.index, read("outer.blocks")))
            with f.loop(0, read("split.extent"), read("split.chain")) as split:
                extent = read("split.extent")
                stop = f.intrinsic("smin", f.add(split.index, read("split.chain")), extent)
                is_first = f.compare("eq", f.binary("or", outer.index, split.index), 0)
                is_last = f.binary("and", f.compare("eq", stop, extent), f.compare("eq", f.add(outer.index, 1), read("outer.count")))
                self._blocks(split.index, stop, is_first, is_last)

    def _blocks(self, start: Value, stop: Value, is_first: Value, is_last: Value) -> None:
        """The blocks of one chain; whether it is the first or the last one says what becomes of its sums."""
        f, frame, read = self.f, self.frame, self.read
        # With matrix registers each chain continues the one before.
        starts_anew = f.binary("or", is_first, f.compare("eq", read("continues"), 0))
        with f.loop(start, stop, read("split.chunk")) as block:
            length = f.intrinsic("smin", f.sub(stop, block.index), read("split.chunk"))
            starts, ends = f.compare("eq", block.index, start), f.compare("eq", f.add(block.index, length), stop)
            frame.set("length", length)
            frame.set("steps", f.mul(length, read("inner")))
            frame.set("starts", f.binary("and", starts, starts_anew))
            frame.set("ends", ends)
            frame.set("adds", f.binary("and", ends, f.binary("xor", is_first, 1)))
            frame.set("finish", f.binary("and", ends, is_last))
            self._block()

    def _block(self) -> None:
        """One block of k of one tile: get the operands ready, and sweep over the register tiles."""
        f, frame, read = self.f, self.frame, self.read
        number, of_block, offsets = frame.number("block"), frame.memory("of_block"), frame.memory("offsets")
        self._fill("k", of_block, number, i64(1))
        operands = frame.memory("operands")
        for i, name in enumerate("ab"):
            offset = f.load(f.offset(of_block, MORE * i, "i64"), "i64")
            if name == "a":
                frame.set("a.offset", offset)
            frame.set(f"{name}.source", f.offset(f.load(f.offset(operands, 3 * i, "ptr"), "ptr"), offset, "i8"))
        starts = [f.offset(of_block, 2 * MORE, "i64"), f.offset(offsets, f.mul(read("operands"), MORE), "i64")]
        shifts = frame.memory("a.shifts")
        with f.loop(0, read("bounds"), carried=starts) as bound:
            f.store(f.add(*[f.load(each, "i64") for each in bound.carried]), f.offset(shifts, bound.index, "i64"))
            bound.carry(*[f.offset(each, MORE, "i64") for each in bound.carried])
        for name in "ab":
            get_ready = frame.address(f"ready.{name}")
            with f.when(f.compare("ne", get_ready, Value("null", "ptr"))):
                f.call(get_ready.text, frame.pointer, frame.address(f"{name}.section"))
        frame.call("sweep", frame.pointer)
        frame.set("block", f.add(number, 1))
