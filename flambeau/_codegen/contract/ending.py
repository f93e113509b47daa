"""What becomes of sums once their chains have ended: the fused body, rounding, storing."""

from __future__ import annotations

from typing import NamedTuple

from flambeau._codegen.contract.arithmetic import Tile, narrow
from flambeau._codegen.contract.bordered import LINE
from flambeau._codegen.contract.normal import Axis, merged, projected
from flambeau._codegen.contract.packing import address, are_all, store_lanes
from flambeau._codegen.contract.stage import Epilogue
from flambeau._codegen.ir import Builder, Module, Value, constant, constant_vector, i64, vector
from flambeau._codegen.scalar import registers
from flambeau._types.dtype import dtype


class Ending(NamedTuple):
    """All that the code of an epilogue depends on.

    ``step`` is the distance of neighbouring columns in the output if they can be stored as vectors (1 or 2), else 0.  Each of the
    epilogue's further ``writes`` and ``reads`` depends on ``rows``, on ``columns`` (a ``line``, if they are neighbours), or on ``both``, or runs
    ``along`` the output; a read that depends on nothing, such as a learning rate, is ``fixed``.
    """

    out: dtype
    step: int
    writes: tuple[tuple[dtype, str], ...] = ()
    reads: tuple[tuple[dtype, str], ...] = ()
    epilogue: Epilogue | None = None

    @property
    def others(self) -> list[str]:
        """The names of the operands beside the output, in the order of the epilogue's parameters."""
        return [*[f"write{i}" for i in range(len(self.writes))], *[f"read{i}" for i in range(len(self.reads))]]

    @property
    def kinds(self) -> dict[str, str]:
        """What the places of each operand beside the output depend on."""
        return dict(zip(self.others, [kind for _, kind in (*self.writes, *self.reads)], strict=True))

    @property
    def operands(self) -> list[str]:
        """The names of the output and of those beside it, first those whose places depend on something: these have tables of places."""
        kinds = self.kinds
        return ["out", *sorted(kinds, key=lambda name: kinds[name] == "fixed")]

    @property
    def asked(self) -> list[str]:
        """The operands whose lines are worth asking for: those that are stored, or read, as vectors."""
        return ["out"] * (self.step == 1) + [name for name, kind in self.kinds.items() if kind == "along"]

    @property
    def moving(self) -> int:
        """How many operands have tables of places."""
        return sum(kind != "fixed" for kind in self.kinds.values()) + 1

    @property
    def dtypes(self) -> dict[str, dtype]:
        return {"out": self.out} | dict(zip(self.others, [of for of, _ in (*self.writes, *self.reads)], strict=True))


def emit_ending(module: Module, tile: Tile, ending: Ending, masked: bool = False) -> str:
    """A function that finishes one register tile; returns its name.

    ``ending(sums, rows, count, operands, row, column)``: each of the ``operands``, which are those of the ``Ending`` in order, is three addresses: where it
    is, a table of offsets of rows, and one of columns. The tile's first are ``row`` and ``column``. If that is
    ``masked``, what follows the first ``count`` sums of a row may be anything, and is taken for 0.
    """
    labels = [("ptr", "sums"), ("i64", "rows"), ("i64", "count"), ("ptr", "operands"), ("i64", "row"), ("i64", "column")]
    f = module.function("ending", labels, linkage="internal", attributes="noinline")
    emitter = _OfMemory(f, tile, ending, masked)
    if ending.step:
        emitter.runs()
    else:
        emitter.apart()
    f.ret()
    return "ending"


def finish_registers(f: Builder, tile: Tile, ending: Ending, sums: list[Value], operands: Value, row: Value, column: Value) -> None:
    """Finish a whole register tile whose ``sums`` are in registers, row by row, and whose columns are neighbours in the output."""
    _Emitter(f, tile, ending, operands, row, column).neighbours(sums)


def emit_ask(module: Module, tile: Tile, ending: Ending) -> str:
    """A function that asks for the lines that a register tile writes, and for those that it reads beside them, ``ask(operands, row, rows, column)``.

    Returns its name, or nothing if no line is worth asking for.
    """
    if not ending.asked:
        return ""
    labels = [("ptr", "operands"), ("i64", "row"), ("i64", "rows"), ("i64", "column")]
    f = module.function("ask", labels, linkage="internal", attributes="noinline")
    operands, row, rows, column = f.parameters
    asked = {name: _Operand(f, operands, ending.operands.index(name), row, column) for name in ending.asked}
    with f.loop(0, rows) as loop:
        for name, each in asked.items():
            of = ending.dtypes[name]
            place = f.add(f.load(f.offset(each.rows, loop.index, "i64"), "i64"), f.load(each.columns, "i64"))
            start = address(f, each.base, place, of)
            for line in range(0, tile.lanes * of.itemsize, LINE):
                f.prefetch(f.offset(start, line, "i8"), writes=not name.startswith("read"))
    f.ret()
    return "ask"


class _Operand:
    """Where an operand is, and its tables from the register tile's first row and column on."""

    def __init__(self, f: Builder, operands: Value, number: int, row: Value, column: Value, is_fixed: bool = False) -> None:
        self.base = f.load(f.offset(operands, 3 * number, "ptr"), "ptr")
        if not is_fixed:
            tables = [f.load(f.offset(operands, 3 * number + word, "ptr"), "ptr") for word in (1, 2)]
            self.rows, self.columns = (f.offset(table, first, "i64") for table, first in zip(tables, (row, column), strict=True))


class _Emitter:
    def __init__(self, f: Builder, tile: Tile, ending: Ending, operands: Value, row: Value, column: Value) -> None:
        self.f, self.tile, self.ending = f, tile, ending
        kinds = ending.kinds
        self.given = {
            name: _Operand(f, operands, number, row, column, kinds.get(name) == "fixed") for number, name in enumerate(ending.operands)
        }
        self.out = self.given["out"]
        self.fixed = {
            name: registers.load(f, self.given[name].base, ending.dtypes[name], 1) for name in ending.others if kinds[name] == "fixed"
        }

    def _begin(self, valid: list[Value]) -> None:
        """Read what all rows share of the operands beside the output, whose lanes that exist are ``valid``."""
        f, tile, ending = self.f, self.tile, self.ending
        self.valid = valid
        self.beside = [
            {
                name: _Beside(f, tile, ending.dtypes[name], kind, self.given[name], v, valid[v])
                for name, kind in ending.kinds.items()
                if kind != "fixed"
            }
            for v in range(tile.vectors)
        ]

    def _finished(self, value: registers.Operand, row: Value, v: int, run: Value) -> registers.Operand:
        """What to store in the output of a vector of sums; the others are stored."""
        f, tile, ending = self.f, self.tile, self.ending
        if ending.epilogue is None:
            return narrow(f, value, ending.out, tile.compute)
        writes, reads = ending.others[: len(ending.writes)], ending.others[len(ending.writes) :]
        loaded = [self.fixed[name] if name in self.fixed else self.beside[v][name].load(row, run) for name in reads]
        value, *more = ending.epilogue.body(f, value, loaded)
        for name, each in zip(writes, more, strict=True):
            self.beside[v][name].store(each, row, run)
        return value

    def _row_of_out(self, row: Value) -> Value:
        return self.f.load(self.f.offset(self.out.rows, row, "i64"), "i64")

    def neighbours(self, sums: list[Value]) -> None:
        """Store all rows, whose columns are neighbours."""
        f, tile = self.f, self.tile
        every = constant(vector("i1", tile.width), 1)
        self._begin([every] * tile.vectors)
        for each in self.beside:
            for operand in each.values():
                operand.start(i64(0))
        first = f.load(self.out.columns, "i64")
        for number, value in enumerate(sums):
            row, v = i64(number // tile.vectors), number % tile.vectors
            place = address(f, self.out.base, f.add(f.add(self._row_of_out(row), first), v * tile.width), self.ending.out)
            registers.store(f, self._finished(value, row, v, every), place, self.ending.out)


class _OfMemory(_Emitter):
    """Finishes sums that wait in memory, of which only the first ``count`` of a row are known where the kernel is ``masked``."""

    def __init__(self, f: Builder, tile: Tile, ending: Ending, masked: bool) -> None:
        self.sums, self.rows, self.count, *places = f.parameters
        super().__init__(f, tile, ending, *places)
        self.masked = masked
        self.offsets = [f.load(f.offset(self.out.columns, v * tile.width, "i64"), vector("i64", tile.width)) for v in range(tile.vectors)]

    def _existing(self) -> list[Value]:
        """The lanes of the columns that exist."""
        f, width = self.f, self.tile.width
        return [f.lane_mask(f.sub(self.count, v * width), width) for v in range(self.tile.vectors)]

    def _taken(self, row: Value, v: int, run: Value) -> registers.Operand:
        """What to store in the output; the others are stored."""
        f, tile = self.f, self.tile
        place = f.offset(self.sums, f.mul(row, tile.pitch), tile.element)
        places = [f.offset(place, (v * tile.parts + part) * tile.width, tile.element) for part in range(tile.parts)]
        value = registers.pack(
            [f.masked_load(each, self.valid[v], tile.type) if self.masked else f.load(each, tile.type) for each in places]
        )
        return self._finished(value, row, v, run)

    def apart(self) -> None:
        """Store the numbers of a row lane by lane, each vector of columns for itself."""
        f, of = self.f, self.ending.out
        self._begin(self._existing())
        for v, (offsets, valid) in enumerate(zip(self.offsets, self.valid, strict=True)):
            with f.loop(0, self.rows) as loop:
                place = address(f, self.out.base, self._row_of_out(loop.index), of)
                registers.store_strided(f, self._taken(loop.index, v, valid), place, offsets, of, valid)

    def runs(self) -> None:
        """Store neighbours as vectors: all columns, if those of each vector are neighbours, or else run by run."""
        f, tile, ending = self.f, self.tile, self.ending
        apart = constant_vector("i64", range(0, ending.step * tile.width, ending.step))
        along = [f.sub(each, apart) for each in self.offsets]
        distances = [f.load(f.offset(self.out.columns, v * tile.width, "i64"), "i64") for v in range(tile.vectors)]
        whole = f.compare("eq", self.count, tile.lanes)
        for each, distance in zip(along, distances, strict=True):
            whole = f.binary("and", whole, are_all(f, f.compare("eq", each, f.splat(distance, tile.width))))
        with f.when(whole):
            self._whole(distances)
        with f.when(f.binary("xor", whole, 1)):
            self._run_by_run(along)

    def _whole(self, distances: list[Value]) -> None:
        """Nearly all register tiles are so: they take no masks, and no branch for each vector."""
        f, tile, ending = self.f, self.tile, self.ending
        every = constant(vector("i1", tile.width), 1)
        self._begin([every] * tile.vectors)
        for each in self.beside:
            for operand in each.values():
                operand.start(i64(0))
        with f.loop(0, self.rows) as loop:
            row = self._row_of_out(loop.index)
            for v, distance in enumerate(distances):
                place = address(f, self.out.base, f.add(row, distance), ending.out)
                mask = every if ending.step > 1 else None
                store_lanes(f, tile, self._taken(loop.index, v, every), place, ending.out, mask, ending.step, Value("true", "i1"))

    def _run_by_run(self, along: list[Value]) -> None:
        """The first run of neighbours in each vector of columns, then the next; both vectors of a row go together, as it has one address."""
        f, tile, ending = self.f, self.tile, self.ending
        self._begin(self._existing())
        with f.repeat(self.valid) as runs:
            found = [self._run(v, left, along[v]) for v, left in enumerate(runs.carried)]
            with f.loop(0, self.rows) as loop:
                row = self._row_of_out(loop.index)
                for v, run in enumerate(found):
                    with f.when(run.exists):
                        place = address(f, self.out.base, f.add(row, run.distance), ending.out)
                        value = self._taken(loop.index, v, run.lanes)
                        store_lanes(f, tile, value, place, ending.out, run.lanes, ending.step, run.is_whole)
            left = [f.binary("xor", each, f.binary("and", each, run.lanes)) for each, run in zip(runs.carried, found, strict=True)]
            some = [f.compare("ne", f.cast("bitcast", each, f"i{tile.width}"), 0) for each in left]
            more = some[0]
            for each in some[1:]:
                more = f.binary("or", more, each)
            runs.again(more, *left)

    def _run(self, v: int, left: Value, along: Value) -> _Run:
        """The first run of neighbours among the lanes that are left."""
        f, width = self.f, self.tile.width
        lanes = f.cast("zext", f.cast("bitcast", left, f"i{width}"), "i32")
        first = f.intrinsic("cttz", f.binary("or", lanes, 1 << (width - 1)), Value("true", "i1"), suffix="i32")
        first = f.cast("zext", first, "i64")
        place = f.load(f.offset(self.out.columns, f.add(first, v * width), "i64"), "i64")
        distance = f.sub(place, f.mul(first, self.ending.step))
        found = f.binary("and", left, f.compare("eq", along, f.splat(distance, width)))
        for each in self.beside[v].values():
            each.start(first)
        return _Run(found, distance, f.compare("ne", lanes, 0), are_all(f, found))


class _Run(NamedTuple):
    """Lanes whose columns are neighbours in the output, how far their places are from where they would be from column 0 on, whether there are any,
    and whether these are all of the vector."""

    lanes: Value
    distance: Value
    exists: Value
    is_whole: Value


def emit_straight_ending(module: Module, tile: Tile, ending: Ending, vectors: int) -> str:
    """A function that finishes rows whose places are affine in row and column, with no runs to find; returns its name.

    ``ending(sums, rows, count, out, out_down, out_across[, other, other_down, other_across]…)``, with the distances of rows and columns.
    """
    parameters = [("ptr", "sums"), ("i64", "rows"), ("i64", "count")]
    for name in ending.dtypes:
        parameters += [("ptr", name), ("i64", f"{name}_down"), ("i64", f"{name}_across")]
    f = module.function("ending", parameters, linkage="internal", attributes="noinline")
    sums, rows, count, *given = f.parameters
    width = tile.width
    counts = [f.sub(count, v * width) for v in range(vectors)]
    masks = [f.lane_mask(each, width) for each in counts]
    names = list(ending.dtypes)
    kinds = dict(zip(names, ["along" if ending.step == 1 else "", *[kind for _, kind in (*ending.writes, *ending.reads)]], strict=True))

    def place(name: str, row: Value, v: int) -> Value:
        base, down, across = given[3 * names.index(name) : 3 * names.index(name) + 3]
        return address(f, base, f.add(f.mul(row, down), f.mul(across, v * width)), ending.dtypes[name])

    def across(name: str) -> Value:
        return given[3 * names.index(name) + 2]

    def load(name: str, row: Value, v: int) -> registers.Operand:
        of = ending.dtypes[name]
        if kinds[name] == "rows":
            return registers.load(f, place(name, row, 0), of, 1)
        if kinds[name] in ("along", "line"):
            return registers.load(f, place(name, row, v), of, width, masks[v])
        return registers.load_strided(f, place(name, row, v), across(name), of, width, masks[v])

    def store(name: str, value: registers.Operand, row: Value, v: int) -> None:
        of = ending.dtypes[name]
        if kinds[name] == "along" and not (tile.has_masks or isinstance(value, tuple)):
            _store_first(f, value, place(name, row, v), of, counts[v])
        elif kinds[name] == "along":
            store_lanes(f, tile, value, place(name, row, v), of, masks[v])
        elif name == "out" and ending.step:
            store_lanes(f, tile, value, place(name, row, v), of, masks[v], ending.step)
        else:
            registers.store_strided(f, value, place(name, row, v), across(name), of, masks[v])

    reads = names[1 + len(ending.writes) :]
    shared = {(name, v): load(name, Value("0", "i64"), v) for name in reads if kinds[name] in ("columns", "line") for v in range(vectors)}
    with f.loop(0, rows) as loop:
        for v in range(vectors):
            value: registers.Operand = f.load(f.offset(sums, f.add(f.mul(loop.index, tile.pitch), v * width), tile.element), tile.type)
            if ending.epilogue is None:
                values = [narrow(f, value, ending.out, tile.compute)]
            else:
                values = ending.epilogue.body(f, value, [shared.get((name, v)) or load(name, loop.index, v) for name in reads])
            for name, each in zip(names, values, strict=False):
                store(name, each, loop.index, v)
    f.ret()
    return "ending"


def _store_first(f: Builder, value: Value, place: Value, of: dtype, count: Value) -> None:
    """Store the first ``count`` lanes, all or none of them too, by halves: a masked store takes a dozen cycles where masks have no registers."""
    whole = f.compare("sge", count, value.width)
    with f.when(whole):
        registers.store(f, value, place, of)
    with f.when(f.binary("and", f.binary("xor", whole, 1), f.compare("sgt", count, 0))):
        size = value.width // 2
        while size:
            low, high = (
                f.shuffle(value, value, range(start, start + size)) if size > 1 else f.extract(value, start) for start in (0, size)
            )
            has_low = f.compare("ne", f.binary("and", count, size), 0)
            with f.when(has_low):
                registers.store(f, low, place, of)
            value, place = f.select(has_low, high, low), f.select(has_low, address(f, place, i64(size), of), place)
            size //= 2


def dependence(operand: int, out: int, rows: list[Axis], columns: list[Axis]) -> str:
    """What the addresses of an operand (whose strides are at ``operand`` in an axis) depend on; see ``Ending``."""
    if not any(axis[operand] for axis in columns):
        return "rows"
    if not any(axis[operand] for axis in rows):
        return "line" if [stride for _, stride in merged(projected(columns, [operand]))] == [1] else "columns"
    is_along = columns[-1][out] == 1 and all(axis[operand] == axis[out] for axis in columns)
    return "along" if is_along else "both"


class _Beside:
    """An operand beside the output, for one vector of columns: a row is its address, a table says where columns are."""

    def __init__(self, f: Builder, tile: Tile, of: dtype, kind: str, operand: _Operand, v: int, valid: Value) -> None:
        self.f, self.tile, self.of, self.kind, self.width, self.valid = f, tile, of, kind, tile.width, valid
        width = tile.width
        self.base, self.rows = operand.base, operand.rows
        self.columns = f.offset(operand.columns, v * width, "i64")
        self.distance = Value("0", "i64")
        self.offsets = f.load(self.columns, vector("i64", width))
        # Loading is harmless for an operand that is only written too, and LLVM drops what nobody uses.
        self.shared = None
        if kind == "line":
            self.shared = registers.load(f, address(f, self.base, f.load(self.columns, "i64"), of), of, width, valid)
        elif kind == "columns":
            self.shared = registers.load_strided(f, self.base, self.offsets, of, width, valid)

    def start(self, first: Value) -> None:
        """Find how far a run that starts at lane ``first`` is from the start of a row."""
        if self.kind == "along":
            self.distance = self.f.sub(self.f.load(self.f.offset(self.columns, first, "i64"), "i64"), first)

    def _row(self, row: Value) -> Value:
        return address(self.f, self.base, self.f.load(self.f.offset(self.rows, row, "i64"), "i64"), self.of)

    def load(self, row: Value, run: Value) -> registers.Operand:
        f = self.f
        if self.shared is not None:
            return self.shared
        if self.kind == "rows":
            return registers.load(f, self._row(row), self.of, 1)
        if self.kind == "along":
            return registers.load(f, address(f, self._row(row), self.distance, self.of), self.of, self.width, run)
        return registers.load_strided(f, self._row(row), self.offsets, self.of, self.width, self.valid)

    def store(self, value: registers.Operand, row: Value, run: Value) -> None:
        f = self.f
        if self.kind == "along":
            store_lanes(f, self.tile, value, address(f, self._row(row), self.distance, self.of), self.of, run)
        else:
            registers.store_strided(f, value, self._row(row), self.offsets, self.of, run)
