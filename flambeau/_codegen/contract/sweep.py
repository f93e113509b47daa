"""The sweep over the register tiles of one block of k of one tile of the output, by rows, so that the output is written along its rows."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from flambeau._codegen.contract import amx
from flambeau._codegen.contract.arithmetic import Tile
from flambeau._codegen.contract.existing import list_of
from flambeau._codegen.contract.frame import Frame, function
from flambeau._codegen.contract.micro import panels_of_rows
from flambeau._codegen.ir import Builder, Module, Value, i64


class Sweep(NamedTuple):
    """All that the code of a sweep depends on.

    Rows of the left operand are ``panels`` (packed, copied, or where they are), in a ``table`` each, in a table for the first of ``neighbours``, or packed
    ``when`` their turn comes. Steps of a panel are ``listed``, or all that a block has.
    """

    tile: Tile
    left: str
    listed: bool = False


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
    """Writes a sweep. All that is the same for the register tiles of a block is found before the first of them: they are as short as 1,000 cycles."""

    def __init__(self, f: Builder, frame: Frame, sweep: Sweep) -> None:
        self.f, self.frame, self.sweep, self.tile = f, frame, sweep, sweep.tile
        self.read = frame.parameter
        self.others = f.offset(frame.memory("operands"), 6, "ptr")
        self.rows, self.columns, self.steps = (frame.number(name) for name in ("rows", "columns", "steps"))
        self.a, self.b = frame.address("a.source"), frame.address("b.source")
        self.known = {name: self.read(name) for name in ("a.rs", "a.ks", "b.ks", "b.panel", "edge", "short", "short.micro", "out.row")}
        self.starts, self.ends, self.adds, self.finish = (frame.flag(name) for name in ("starts", "ends", "adds", "finish"))
        self.asks = f.binary("and", self.finish, f.compare("ne", self.read("out.far"), 0))
        self.lanes = frame.scratch("a.lanes")
        self.micro, self.ending, self.direct = frame.memory("micro"), frame.address("ending"), frame.address("direct")
        self.may_be_direct = f.compare("ne", self.direct, Value("null", "ptr"))
        self.out = [f.load(f.offset(self.others, word, "ptr"), "ptr") for word in range(3)]
        self.may_be_in_place = f.binary("and", self.ends, f.compare("ne", self.read("out.place"), 0))
        zeros = f.module.table(self.tile.element, [0] * self.tile.pitch)
        sums, chains = (_Waiting.of(frame, name, i64(self.tile.pitch)) for name in ("sums", "chains"))
        nowhere = _Waiting(zeros, i64(0), i64(0), i64(0))
        self.begin, self.target = nowhere.if_(f, self.starts, chains), sums.if_(f, self.ends, chains)

    def emit(self) -> None:
        f, sweep, tile = self.f, self.sweep, self.tile
        run = (self.frame.number("first_row"), self.read("a.run")) if sweep.left == "neighbours" else ()
        with panels_of_rows(f, tile, self.rows, *run) as (row, number, here):
            left, steps = self._left(row, number, here), self.steps
            if sweep.listed:
                left[-1], steps = list_of(f, self.frame, number)
            with f.loop(0, self.columns, tile.lanes) as loop:
                self._register_tile(left, steps, row, here, loop.index)

    def _left(self, row: Value, number: Value, here: Value) -> list[Value]:
        """Where a panel of rows is, and the distances in it, or its tables; packs it, if its turn has come."""
        f, frame, read, source, left = self.f, self.frame, self.read, self.a, self.sweep.left
        distances = [self.known["a.rs"], self.known["a.ks"]]
        lanes = f.offset(self.lanes, row, "i64")
        if left == "panels":
            place = f.add(f.mul(row, read("a.row")), f.mul(number, read("a.panel")))
            return [f.offset(source, place, self.tile.element), *distances]
        if left == "when":
            panel, length = frame.scratch("a.panels"), f.mul(frame.number("length"), read("a.scale"))
            frame.call("pack.a", frame.memory("a.section"), source, panel, lanes, here, length, frame.memory("a.shifts"))
            return [panel, *distances]
        if left == "neighbours":
            source = f.offset(source, f.load(lanes, "i64"), self.tile.element)
        return [source, *[f.cast("ptrtoint", table, "i64") for table in (lanes, frame.scratch("a.steps"))]]

    def _register_tile(self, left: list[Value], steps: Value, row: Value, here: Value, column: Value) -> None:
        f, known, tile = self.f, self.known, self.tile
        count = f.intrinsic("smin", f.sub(self.columns, column), i64(tile.lanes))
        panel, is_short = f.binary("udiv", column, tile.lanes), f.compare("sle", count, tile.width)
        # A last panel of columns in place that is ragged starts earlier.
        size = f.select(is_short, known["short"], i64(tile.lanes))
        earlier = f.binary("and", f.sub(size, count), known["edge"])
        b = f.offset(self.b, f.sub(f.mul(panel, known["b.panel"]), earlier), tile.element)
        is_row, place = self._in_output(row, column, count)
        is_direct = f.binary("and", f.binary("and", self.may_be_direct, is_row), f.compare("eq", here, tile.rows))
        with f.when(is_direct):
            f.call(self.direct.text, *left, b, known["b.ks"], steps, self.others, row, column)
        with f.when(f.binary("xor", is_direct, 1)):
            # Bring the lines that a register tile writes, and those that it reads beside them: by the time it has its sums they are there.
            with f.when(self.asks):
                self.frame.call("ask", self.others, row, here, column)
            begin, target = (each.place(f, tile, panel, row) for each in (self.begin, self.target))
            in_place = f.binary("and", self.may_be_in_place, is_row)
            if tile.packing:
                self._products(left[0], b, here, target)
            else:
                target, target_row = f.select(in_place, place, target), f.select(in_place, known["out.row"], i64(tile.pitch))
                arguments = [*left, b, known["b.ks"], steps, begin, self.begin.pitch, target, target_row, count, self.adds]
                number = f.add(here, f.select(is_short, known["short.micro"], i64(0)))
                f.call(f.load(f.offset(self.micro, number, "ptr"), "ptr").text, *arguments, self._ahead(row, panel))
            with f.when(f.binary("and", self.finish, f.binary("xor", in_place, 1))):
                f.call(self.ending.text, f.offset(target, earlier, tile.element), here, count, self.others, row, column)

    def _products(self, a: Value, b: Value, here: Value, sums: Value) -> None:
        f = self.f
        groups, is_large = f.binary("udiv", f.add(self.steps, amx.GROUP - 1), i64(amx.GROUP)), f.compare("sgt", here, 16)
        micro = f.load(f.offset(self.micro, f.cast("zext", is_large, "i64"), "ptr"), "ptr")
        f.call(micro.text, a, b, groups, self.starts, sums)

    def _in_output(self, row: Value, column: Value, count: Value) -> tuple[Value, Value]:
        """Whether a panel is full and its columns lie side by side in the output, and where its first row is there.

        It is for outputs in which further columns are further on, so that the last one says whether all are neighbours.
        """
        f, tile, (base, rows, columns) = self.f, self.tile, self.out
        places = f.offset(columns, column, "i64")
        first, last = f.load(places, "i64"), f.load(f.offset(places, tile.lanes - 1, "i64"), "i64")
        is_row = f.binary("and", f.compare("eq", count, tile.lanes), f.compare("eq", f.sub(last, first), tile.lanes - 1))
        return is_row, f.offset(base, f.add(f.load(f.offset(rows, row, "i64"), "i64"), first), tile.element)

    def _ahead(self, row: Value, panel: Value) -> Value:
        """A row of the next panel of rows, another one for each panel of columns; micro-kernels that read rows as they lie ask for it."""
        f, tile = self.f, self.tile
        if self.sweep.left in ("table", "neighbours"):
            return self.a
        wanted = f.intrinsic("smin", f.add(f.add(row, tile.rows), panel), f.sub(self.rows, 1))
        if self.sweep.left == "when":
            return f.offset(self.a, f.load(f.offset(self.lanes, wanted, "i64"), "i64"), tile.element)
        return f.offset(self.a, f.mul(wanted, self.known["a.rs"]), tile.element)


class _Waiting(NamedTuple):
    """Where sums wait: those of the first register tile, how far panels of columns and rows are apart, and rows of one register tile."""

    first: Value
    panel: Value
    row: Value
    pitch: Value

    @classmethod
    def of(cls, frame: Frame, name: str, pitch: Value) -> _Waiting:
        return cls(frame.scratch(name), frame.parameter(f"{name}.panel"), frame.parameter(f"{name}.row"), pitch)

    def if_(self, f: Builder, condition: Value, other: _Waiting) -> _Waiting:
        return _Waiting(*[f.select(condition, own, its) for own, its in zip(self, other, strict=True)])

    def place(self, f: Builder, tile: Tile, panel: Value, row: Value) -> Value:
        return f.offset(self.first, f.add(f.mul(panel, self.panel), f.mul(row, self.row)), tile.element)
