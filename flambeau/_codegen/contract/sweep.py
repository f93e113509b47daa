"""The sweep over the register tiles of one block of k of one tile of the output, by rows, so that the output is written along its rows."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from flambeau._codegen.contract import amx
from flambeau._codegen.contract.arithmetic import Tile
from flambeau._codegen.contract.bordered import LINE
from flambeau._codegen.contract.frame import Frame, function
from flambeau._codegen.contract.micro import panels_of_rows
from flambeau._codegen.ir import Builder, Module, Value, constant_vector, i64, vector


class Sweep(NamedTuple):
    """All that the code of a sweep depends on.

    Rows of the left operand are ``panels`` (packed, copied, or where they are), in a ``table`` each, in a table for the first of ``neighbours``, or packed
    ``when`` their turn comes.
    """

    tile: Tile
    left: str


def emit_sweep(module: Module, sweep: Sweep) -> str:
    """A function for all register tiles of a block, ``sweep(frame)``; returns its name."""
    module.include(_sweep(module.features, sweep))
    return "sweep"


@cache
def _sweep(features: frozenset[str], sweep: Sweep) -> Module:
    module = Module(features)
    f, frame = function(module, "sweep")
    _Emitter(f, frame, sweep).emit()
    f.ret()
    return module


class _Emitter:
    def __init__(self, f: Builder, frame: Frame, sweep: Sweep) -> None:
        self.f, self.frame, self.sweep, self.tile = f, frame, sweep, sweep.tile
        self.read = frame.parameter
        self.operands = frame.memory("operands")

    def _operand(self, number: int, word: int) -> Value:
        """A word of an operand: where it begins, its table of rows, its table of columns."""
        return self.f.load(self.f.offset(self.operands, 3 * number + word, "ptr"), "ptr")

    def emit(self) -> None:
        f, frame, sweep, tile = self.f, self.frame, self.sweep, self.tile
        rows, self.columns = frame.number("rows"), frame.number("columns")
        run = (frame.number("first_row"), self.read("a.run")) if sweep.left == "neighbours" else ()
        with panels_of_rows(f, tile, rows, *run) as (row, number, here):
            left = self._left(row, number, here)
            with f.loop(0, self.columns, tile.lanes) as loop:
                self._register_tile(left, rows, row, here, loop.index)

    def _left(self, row: Value, number: Value, here: Value) -> list[Value]:
        """Where a panel of rows is, and the distances in it, or its tables; packs it, if its turn has come."""
        f, frame, read, source, left = self.f, self.frame, self.read, self.frame.address("a.source"), self.sweep.left
        if left == "when":
            panel, lanes = frame.scratch("a.panels"), f.offset(frame.scratch("a.lanes"), row, "i64")
            length = f.mul(frame.number("length"), read("a.scale"))
            frame.call("pack.a", frame.memory("a.section"), source, panel, lanes, here, length, frame.memory("a.shifts"))
            return [panel, read("a.rs"), read("a.ks")]
        if left == "panels":
            place = f.add(f.mul(row, read("a.row")), f.mul(number, read("a.panel")))
            return [f.offset(source, place, self.tile.element), read("a.rs"), read("a.ks")]
        lanes = f.offset(frame.scratch("a.lanes"), row, "i64")
        if left == "neighbours":
            source = f.offset(source, f.load(lanes, "i64"), self.tile.element)
        return [source, *[f.cast("ptrtoint", table, "i64") for table in (lanes, frame.scratch("a.steps"))]]

    def _register_tile(self, left: list[Value], rows: Value, row: Value, here: Value, column: Value) -> None:
        f, frame, read, tile = self.f, self.frame, self.read, self.tile
        count = f.intrinsic("smin", f.sub(self.columns, column), i64(tile.lanes))
        panel, is_short = f.binary("udiv", column, tile.lanes), f.compare("sle", count, tile.width)
        # A last panel of columns in place that is ragged starts earlier.
        size = f.select(is_short, read("short"), i64(tile.lanes))
        earlier = f.binary("and", f.sub(size, count), read("edge"))
        b = f.offset(frame.address("b.source"), f.sub(f.mul(panel, read("b.panel")), earlier), tile.element)
        starts, ends, finish = frame.flag("starts"), frame.flag("ends"), frame.flag("finish")
        self._ask_for(finish, row, here, column)
        sums, chains = (self._waiting(name, panel, row) for name in ("sums", "chains"))
        c, c_row, in_place = self._in_output(sums, row, column, count)
        finish = f.binary("and", finish, f.binary("xor", in_place, 1))
        if tile.packing:
            self._products(left[0], b, here, starts, sums)
        else:
            zeros = f.module.table(tile.element, [0] * tile.pitch)
            arguments = [*left, b, read("b.ks"), frame.number("steps")]
            arguments += [f.select(starts, zeros, chains), f.select(starts, i64(0), i64(tile.pitch))]
            arguments += [f.select(ends, c, chains), f.select(ends, c_row, i64(tile.pitch)), count, frame.flag("adds")]
            arguments.append(self._ahead(row, panel, rows))
            number = f.add(here, f.select(is_short, read("short.micro"), i64(0)))
            f.call(f.load(f.offset(frame.memory("micro"), number, "ptr"), "ptr").text, *arguments)
        with f.when(finish):
            frame.call("ending", f.offset(c, earlier, tile.element), here, count, f.offset(self.operands, 6, "ptr"), row, column)

    def _waiting(self, name: str, panel: Value, row: Value) -> Value:
        """Where sums, or chains that have not ended, wait between blocks."""
        f, read = self.f, self.read
        number = f.add(f.mul(panel, read(f"{name}.panel")), f.mul(row, read(f"{name}.row")))
        return f.offset(self.frame.scratch(name), number, self.tile.element)

    def _products(self, a: Value, b: Value, here: Value, starts: Value, sums: Value) -> None:
        f = self.f
        groups, is_large = f.binary("udiv", f.add(self.frame.number("steps"), amx.GROUP - 1), i64(amx.GROUP)), f.compare("sgt", here, 16)
        number = f.select(is_large, i64(1), i64(0))
        f.call(f.load(f.offset(self.frame.memory("micro"), number, "ptr"), "ptr").text, a, b, groups, starts, sums)

    def _ask_for(self, finish: Value, row: Value, here: Value, column: Value) -> None:
        """Bring the lines that a register tile writes, and those that it reads beside them: by the time it has its sums they are there."""
        f, asked = self.f, self.f.offset(self.frame.memory("params"), self.read("asked"), "i64")
        with f.when(finish), f.loop(0, f.load(asked, "i64")) as loop:
            entry = f.offset(f.offset(asked, 1, "i64"), f.mul(loop.index, 3), "i64")
            number, size, is_read = (f.load(f.offset(entry, word, "i64"), "i64") for word in range(3))
            operand = f.offset(f.offset(self.operands, 6, "ptr"), f.mul(number, 3), "ptr")
            base, rows, columns = (f.load(f.offset(operand, word, "ptr"), "ptr") for word in range(3))
            first = f.load(f.offset(columns, column, "i64"), "i64")
            with f.loop(0, here) as line:
                place = f.add(f.load(f.offset(rows, f.add(row, line.index), "i64"), "i64"), first)
                with f.loop(0, f.mul(size, self.tile.lanes), LINE) as byte:
                    target = f.offset(base, f.add(f.mul(place, size), byte.index), "i8")
                    with f.when(f.compare("eq", is_read, 0)):
                        f.prefetch(target, writes=True)
                    with f.when(f.compare("ne", is_read, 0)):
                        f.prefetch(target)

    def _in_output(self, sums: Value, row: Value, column: Value, count: Value) -> tuple[Value, Value, Value]:
        """Where sums are kept, in the output if that may be, and if a panel is full and its columns lie side by side; the distance of rows; and whether it is so.

        Columns that are a single axis lie side by side anyway: no vector is checked then.
        """
        f, read, tile = self.f, self.read, self.tile
        places = f.offset(self._operand(2, 2), column, "i64")
        first = f.load(places, "i64")
        in_place = f.binary("and", f.compare("eq", count, tile.lanes), f.compare("ne", read("out.place"), 0))
        with f.loop(0, read("out.checks"), tile.width, carried=[in_place]) as loop:
            here = f.load(f.offset(places, loop.index, "i64"), vector("i64", tile.width))
            expected = f.add(f.splat(f.add(first, loop.index), tile.width), constant_vector("i64", range(tile.width)))
            same = f.cast("bitcast", f.compare("eq", here, expected), f"i{tile.width}")
            loop.carry(f.binary("and", loop.carried[0], f.compare("eq", same, -1)))
        in_place = loop.carried[0]
        offset = f.add(f.load(f.offset(self._operand(2, 1), row, "i64"), "i64"), first)
        place = f.offset(self._operand(2, 0), offset, tile.element)
        return f.select(in_place, place, sums), f.select(in_place, read("out.row"), i64(tile.pitch)), in_place

    def _ahead(self, row: Value, panel: Value, rows: Value) -> Value:
        """A row of the next panel of rows, another one for each panel of columns; micro-kernels that read rows as they lie ask for it."""
        f, tile, source = self.f, self.tile, self.frame.address("a.source")
        if self.sweep.left in ("table", "neighbours"):
            return source
        wanted = f.intrinsic("smin", f.add(f.add(row, tile.rows), panel), f.sub(rows, 1))
        if self.sweep.left == "when":
            distance = f.load(f.offset(self.frame.scratch("a.lanes"), wanted, "i64"), "i64")
        else:
            distance = f.mul(wanted, self.read("a.rs"))
        return f.offset(source, distance, tile.element)
