"""From a contraction to calls of kernels: structures, parameters, tiles, scratch memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import gcd, prod

from flambeau._codegen.bundles import PAIRS
from flambeau._codegen.contract import amx
from flambeau._codegen.contract.amx_blocking import best_matrix_blocking, is_direct
from flambeau._codegen.contract.arithmetic import Tile, register_tile
from flambeau._codegen.contract.blocking import WAY, Blocking, SideChoice, best_blocking, describe_packing, has_near_rows, has_short_panel
from flambeau._codegen.contract.bordered import Bordered, border_of, bordered, parameters_of
from flambeau._codegen.contract.casting import best_casting
from flambeau._codegen.contract.chains import TERMS
from flambeau._codegen.contract.choice import Values
from flambeau._codegen.contract.dot import best_dot
from flambeau._codegen.contract.ending import Ending, dependence
from flambeau._codegen.contract.existing import KEY, MOST_LISTS, Listing
from flambeau._codegen.contract.frame import PARAMETERS
from flambeau._codegen.contract.kernel import Code, Structure, contraction, short_micros
from flambeau._codegen.contract.micro import WORDS, split_rows
from flambeau._codegen.contract.normal import Axis, Column, merged, normalise, projected
from flambeau._codegen.contract.packing import Side
from flambeau._codegen.contract.packing_kernel import PackStructure, bordering, packing
from flambeau._codegen.contract.passing import best_passing
from flambeau._codegen.contract.places import MORE
from flambeau._codegen.contract.skinny import best_skinny
from flambeau._codegen.contract.sliding import best_sliding
from flambeau._codegen.contract.stage import Contract
from flambeau._codegen.contract.summing import best_casting_sums, best_summing
from flambeau._codegen.contract.tables import Tables, describe_panels
from flambeau._runtime.targets import Target
from flambeau._types import dtype as types

_ROWS_AT_A_TIME = 32
"""Rows of memory that are packed side by side, so that the processor sees what to prefetch. Rows that are a multiple of ``WAY`` apart evict
each other: with 8 ways and 128 channels of 32 x 32, 2 x 2 windows ran at 57 GFLOP/s with 32 rows and 68 with 8, where 128 channels of 36 x 36
reached 73."""
_ENOUGH = 64
"""Steps in which the lines of a result that no near cache holds come, if they are asked for before (1 x 1, channels innermost, 56 x 56: 64 -> 256 105 to
124 GFLOP/s with so many, 32 -> 128 110 to 96)."""
_SHORT, _MANY = 64, 1 << 14
"""Steps up to which, and results from which on, whole register tiles are finished in registers, with short vectors: LLVM takes 20 ms for it, which
a small layer would never win back."""
_ALL = 1 << 62
_GRAIN = 20_000
"""Cycles of work that a thread should claim at once, at least."""


@dataclass(slots=True)
class Keep:
    """An operand whose packed panels a call can keep for the next run.

    Attributes:
        operand: which
        nbytes: of all panels
        key: says how they are packed
        mode, slot: the parameters that say whether they are kept, and the table slot of the memory for them
    """

    operand: str
    nbytes: int
    key: str
    mode: int
    slot: int


@dataclass(slots=True)
class ContractCall:
    """One kernel call.  ``params`` lack their buffers: for each ``(position, buffer)`` of ``buffers`` the caller stores the
    buffer's table slot at ``position`` and adds the byte offset of its first element at ``position + 1``."""

    kernel: str
    source: str
    params: list[int]
    buffers: list[tuple[int, str]]
    tiles: int
    grain: int
    scratch_bytes: int
    keeps: list[Keep] = field(default_factory=list)


@dataclass(slots=True)
class ContractPlan:
    """Calls to run in order.

    Buffers are ``a``, ``b``, ``out``, ``write0``, …, ``read0``, …, and ``t0``, … for ``temporaries`` of so many bytes.
    """

    calls: list[ContractCall]
    temporaries: list[int]


def plan(contract: Contract, target: Target) -> ContractPlan:
    """The kernel calls that compute a contraction on ``target``: none if the output is empty."""
    by_matrices = amx.fits(contract, target)
    tile = amx.matrix_tile() if by_matrices else register_tile(contract.a.dtype, target)
    normal = normalise(contract, amx.TERMS if by_matrices else TERMS)
    if normal is None:
        return ContractPlan([], [])
    if by_matrices:
        return _Planner(contract, best_matrix_blocking(normal, tile, target), tile, target).plan()
    blocking = best_blocking(normal, tile, target)
    ways = (best_sliding, best_casting, best_summing, best_casting_sums, best_skinny, best_passing, best_dot)
    if contract.a.dtype is not contract.b.dtype:
        ways = (best_skinny, best_passing, best_dot)
    elif contract.bundle:
        ways = (best_casting, best_skinny) if contract.bundle == PAIRS else (best_skinny,)
    choices = [find(contract, normal, tile, target) for find in ways]
    special = min((each for each in choices if each is not None), key=lambda each: each.cycles, default=None)
    if special is None or special.cycles >= blocking.cycles:
        return _Planner(contract, blocking, tile, target).plan()
    buffers = dict(zip(("a", "b"), ("b", "a") if special.normal.is_swapped else ("a", "b"), strict=True))
    buffers |= {name: name for name in contract.results_and_reads} | {"w": buffers["a"]}
    call = _call(special.code(), special.values, buffers, special.tiles, special.tile_cycles, special.scratch_bytes)
    call.grain = max(call.grain, special.together)
    return ContractPlan([call], [])


def _call(
    code: Code, values: Values, buffers: dict[str, str], tiles: int, cycles: float, scratch: int, places: Sequence[int] = ()
) -> ContractCall:
    slots = []
    for position, name in enumerate(code.parameters):
        if name.endswith(".slot"):
            values[name] = 0
            slots.append((position, buffers[name.removesuffix(".slot")]))
    params = [values[name] for name in code.parameters] + [*places]
    return ContractCall(code.name, code.source, params, slots, tiles, max(1, round(_GRAIN / cycles)), scratch)


class _Planner:
    def __init__(self, contract: Contract, blocking: Blocking, tile: Tile, target: Target) -> None:
        self.contract, self.blocking, self.normal, self.tile, self.target = contract, blocking, blocking.normal, tile, target
        self.batch, self.m, self.n, self.k = self.normal.extents
        self.m_tiles, self.n_tiles = -(-self.m // blocking.m_block), -(-self.n // blocking.n_block)
        self.n_panels = blocking.n_block // tile.lanes
        # The last tile has fewer rows, but may need more panels.
        whole, rest = divmod(self.m, blocking.m_block)
        in_rest = _panels(rest, tile)
        self.m_panels = _panels(blocking.m_block, tile)
        self.most_panels = max(self.m_panels, in_rest)
        self.all_panels = whole * self.m_panels + in_rest
        self.outer, self.box = self.normal.k[: self.normal.split], self.normal.k[self.normal.split :]
        self.inner = prod(axis[0] for axis in self.box[1:])
        self.steps = blocking.chunk * self.inner
        self.values: Values = dict.fromkeys(PARAMETERS, 0)
        self.buffers: dict[str, str] = {}
        self.scratch = 0
        self.calls: list[ContractCall] = []
        self.temporaries: list[int] = []
        self.keeps: dict[str, tuple[str, int, str]] = {}  # by side: the operand, bytes and key

    def plan(self) -> ContractPlan:
        normal, blocking, values = self.normal, self.blocking, self.values
        groups = {"batch": normal.batch, "m": normal.m, "n": normal.n, "outer": self.outer}
        axes = {f"{name}{position}": axis for name, group in groups.items() for position, axis in enumerate(group)}
        for prefix, axis in (*axes.items(), ("split", self.box[0])):
            for what, number in zip(normal.names, axis, strict=True):
                values[f"{prefix}.{what}"] = number
        chains, chunks = -(-self.box[0][0] // normal.chain), -(-normal.chain // blocking.chunk)
        values |= {
            "m.extent": self.m, "m.tiles": self.m_tiles, "m.block": blocking.m_block, "m.panels": self.m_panels,
            "n.extent": self.n, "n.tiles": self.n_tiles, "n.block": blocking.n_block, "outer.count": prod(axis[0] for axis in self.outer),
            "outer.blocks": chains * chunks, "split.chain": normal.chain, "split.chunk": blocking.chunk, "inner": self.inner,
            "continues": int(self.tile.packing is not None),
        }  # fmt: skip
        for name, operand in self.contract.results_and_reads.items():
            self.buffers[name] = name
            values[f"{name}.bytes"] = operand.offset * operand.dtype.itemsize
        self._sums()
        ending = self._ending()
        sides = self._side(normal.a, blocking.a, left=True), self._side(normal.b, blocking.b, left=False)
        self._reserve_tables(sides, ending.moving)
        self._starts(*sides)
        is_direct = self._output(ending)
        vectors = self._vectors()
        edge = self._edge(vectors) if sides[1].mode == "place" else ""
        values["edge"] = -int(edge == "earlier")
        structure = Structure(self.target, sides[0], sides[1], ending, edge, vectors, normal.bundle, is_direct)
        has_short = len(vectors) > 1
        values |= {"short": self.tile.width if has_short else self.tile.lanes, "short.micro": short_micros(structure.tile) * has_short}
        tiles = self.batch * self.m_tiles * self.n_tiles
        code = contraction(structure)
        places = self._tables(structure, len(code.parameters))
        values["slots"], values["operands"] = len(code.parameters) - 2 * len(structure.operands), len(structure.operands)
        values["moving"] = ending.moving
        self.calls.append(_call(code, values, self.buffers, tiles, blocking.tile_cycles, self.scratch, places))
        place = code.parameters.index
        self.calls[-1].keeps = [Keep(*what, place(f"{name}.keep"), place(f"{name}.kept")) for name, what in self.keeps.items()]
        return ContractPlan(self.calls, self.temporaries)

    def _ending(self) -> Ending:
        normal, writes = self.normal, len(self.contract.writes)
        neighbours = normal.n[-1][normal.out.index]
        kinds = [
            (each.dtype, self._dependence(each) if number < writes or any(each.operand.strides) else "fixed")
            for number, each in enumerate(normal.others)
        ]
        step = neighbours if neighbours in (1, 2) else 0
        return Ending(self.contract.out.dtype, step, tuple(kinds[:writes]), tuple(kinds[writes:]), self.contract.epilogue)

    def _output(self, ending: Ending) -> bool:
        """Set whether sums are kept in the output itself: if rows are equally far apart, and columns neighbours, of which further ones are further on.

        Returns whether register tiles are finished in registers where they are not.
        """
        out, tile, index = self.contract.out, self.tile, self.normal.out.index
        rows, reach, is_nest = merged(projected(self.normal.m, [index])), 0, self.normal.n[-1][index] == 1
        for extent, stride in reversed(projected(self.normal.n, [index])):
            is_nest = is_nest and stride > reach
            reach += (extent - 1) * stride
        is_plain = not tile.packing and out.dtype is tile.compute and self.contract.epilogue is None and tile.parts == 1
        in_place = is_plain and is_nest and len(rows) == 1
        # Lines that no near cache holds are asked for before a register tile writes them, if there is time enough.
        far = self.batch * self.m * self.n * out.dtype.itemsize > self.target.l2_bytes // 2 and self.steps >= _ENOUGH
        asks = far and not in_place and bool(ending.asked)
        self.values |= {"out.row": rows[-1][1], "out.place": int(in_place), "out.far": int(asks)}
        is_short = self.k <= min(self.steps, _SHORT) and (ending.epilogue is None or ending.epilogue.is_short)
        is_short = is_short and self.batch * self.m * self.n >= _MANY
        has_registers = tile.parts == 1 and not (tile.packing or tile.has_masks or self.normal.bundle)
        return is_nest and is_short and has_registers and not in_place and not {"columns", "both"} & {*ending.kinds.values()}

    def _tables(self, structure: Structure, begin: int) -> list[int]:
        """The parameters that describe tables of places, from position ``begin`` on."""
        tables, normal, a = Tables(structure, self.values, begin), self.normal, structure.a
        tables.batches(len(normal.batch))
        tables.lanes("m", len(normal.m), a)
        tables.lanes("n", len(normal.n), structure.b)
        tables.blocks(len(self.outer))
        if a.mode == "table":
            tables.steps(a.box)
        if a.listed:
            tables.limits(self.blocking.a.listings or ())
        return tables.numbers

    def _reserve_tables(self, sides: tuple[Side, Side], moving: int) -> None:
        """Reserve memory for the tables of rows and of columns: of operands that have some, and of those that tiles pack or read through tables."""
        values = self.values
        for side, group, block in zip(sides, "mn", (self.blocking.m_block, self.blocking.n_block), strict=True):
            values[f"{group}.apart"] = apart = 8 * (block + _room(self.tile))
            has_own = side.is_packed_here or side.mode == "table"
            values[f"scratch.{group}"] = start = self._reserve((moving + has_own * (1 + side.bounds)) * apart)
            values[f"scratch.{side.name}.lanes"] = start + moving * apart

    def _starts(self, a: Side, b: Side) -> None:
        """Operands that are read where they are start at a tile's first row and column."""
        values, size = self.values, self.tile.bytes
        if not a.is_packed_here and a.mode != "table":
            values |= {"a.first.row": values["a.row"] * size, "a.first.panel": values["a.panel"] * size}
        if not b.is_packed_here:
            values["b.tile"] = self.n_panels * values["b.panel"] * size

    def _vectors(self) -> tuple[int, ...]:
        """The widths of register tiles: of panels, and of a last one that is short."""
        if not has_short_panel(self.n, self.tile):
            return (self.tile.vectors,)
        return (self.tile.vectors, 1) if self.n > self.tile.lanes else (1,)

    def _edge(self, vectors: tuple[int, ...]) -> str:
        """How the last panel of columns that are read in place is read.

        Masks are for the few columns only that have nothing before them: a masked load takes the place of a multiply-add with AVX-512, and
        registers that 6 x 2 sums need with AVX2.
        """
        lanes = self.tile.width * vectors[-1]
        if self.n % lanes == 0:
            return ""
        return "earlier" if self.n >= lanes else "masked"

    def _reserve(self, size: int) -> int:
        """The offset of so many bytes of scratch memory."""
        start = self.scratch
        self.scratch += -(-size // 64) * 64
        return start

    def _dependence(self, operand: Column) -> str:
        """What the addresses of an operand of the epilogue depend on."""
        return dependence(operand.index, self.normal.out.index, self.normal.m, self.normal.n)

    def _sums(self) -> None:
        """Sums are kept between chains, and chains between blocks; if there is one, one register tile's place serves all."""
        row, chain = self.tile.pitch, self.normal.chain * self.inner
        rows = self.blocking.m_block + (self.tile.rows if self.tile.packing else 0)  # matrix registers have rows that do not exist
        for name, several in (("sums", chain < self.k), ("chains", self.blocking.chunk < self.normal.chain)):
            self.values |= {f"{name}.row": row * several, f"{name}.panel": row * several * rows}
            count = rows * self.n_panels if several else self.tile.rows
            self.values[f"scratch.{name}"] = self._reserve(row * count * self.tile.bytes)

    def _side(self, column: Column, choice: SideChoice, left: bool) -> Side:
        """Set the parameters of an operand, adding a call that packs it if so chosen."""
        name, tile, values = "a" if left else "b", self.tile, self.values
        source = "b" if left == self.normal.is_swapped else "a"
        if tile.packing:
            return self._paired(name, source, column, choice)
        if choice.where == "call":
            return self._packed_before(name, source, column, choice)
        self.buffers[name] = source
        values[f"{name}.bytes"] = column.operand.offset * column.dtype.itemsize
        if choice.where in ("table", "band", "strip"):
            return self._tabled(source, column, choice)
        if choice.where == "place":
            step = self.box[-1][column.index] * tile.parts
            if left:
                row = self.normal.m[-1][column.index] * tile.parts
                values |= {"a.row": row, "a.panel": 0, "a.rs": row, "a.ks": step}
            else:
                values |= {"b.panel": tile.lanes, "b.ks": step}
            return Side(name, column.dtype, "place", step=int(step == 1))
        columns = [column.index, *column.bounds]
        side = describe_packing(
            name, column, choice.mode, self.normal.m if left else self.normal.n, projected(self.box, columns), self.blocking.chunk, values
        )
        is_cut = side.mode == "lanes" and not side.free
        block, stride = self.blocking.m_block if left else self.blocking.n_block, values[f"{name}.box0.stride"]
        values |= {
            f"{name}.rows": _rows_at_a_time(side, stride, self.target) if is_cut else _ALL, f"{name}.scale": values[f"{name}.box0.scale"],
            f"{name}.stride": stride * column.dtype.itemsize, f"{name}.step": values[f"{name}.box0.steps"] * _numbers_per_step(side, tile),
            f"{name}.capacity": block + _room(tile),
        }  # fmt: skip
        values |= _layout(side, self.steps, tile)
        if choice.where == "panel":
            side = replace(side, by_panel=True)
            size = values["a.row"] * tile.rows
        elif side.keeps_rows:
            size = values["a.row"] * block
        else:
            size = values[f"{name}.panel"] * (self.most_panels if left else self.n_panels)
        values[f"scratch.{name}.panels"] = self._reserve(size * tile.bytes)
        if side.may_be_kept:
            self._keep(side, source, column, size * tile.bytes)
        return side

    def _keep(self, side: Side, source: str, column: Column, area: int) -> None:
        """Set where a tile may keep what it packs for a block of k, which takes ``area`` bytes: for each batch of the operand, its tiles, and their blocks."""
        name, values = side.name, self.values
        tiles, lanes = (self.m_tiles, "m") if side.is_left else (self.n_tiles, "n")
        blocks = values["outer.count"] * values["outer.blocks"]
        moves = [axis[column.index] != 0 for axis in self.normal.batch if axis[0] > 1]
        values |= {
            f"{name}.keep": 0,
            f"{name}.kept": 0,
            f"{name}.keep.area": area,
            f"{name}.keep.blocks": blocks,
            f"{name}.keep.batch": tiles * any(moves),
        }
        if all(moves) or not any(moves):
            own = [item for item in values.items() if name in item[0].split(".") or item[0].startswith((f"{lanes}.", "split.", "inner"))]
            key = repr((side, self.tile.rows, self.tile.lanes, sorted(item for item in own if item[1])))
            self.keeps[name] = source, (self.batch if any(moves) else 1) * tiles * blocks * area, key

    def _tabled(self, source: str, column: Column, choice: SideChoice) -> Side:
        """The left operand through tables of offsets: where it is, or in a copy with its border, which each tile or a call before makes."""
        values, box = self.values, [(self.blocking.chunk, *self.box[0][1:]), *self.box[1:]]
        strides, border = [axis[column.index] for axis in box], None
        if choice.where in ("band", "strip"):
            band = choice.band if choice.where == "band" else choice.strip
            assert band is not None, "the blocking has seen that there is one"
            copy, groups = band.copy, {"m": self.normal.m, "outer": self.outer}
            strides = self._steps_of(copy, groups, box)
            values |= parameters_of(copy, "a")[0]
            values |= {"band.low": band.low, "band.high": band.high, "band.origin": copy.origin}
            most = band.numbers(self.blocking.m_block) if choice.where == "band" else band.numbers(self.blocking.chunk, 1)
            values["scratch.a.band"] = self._reserve(most * self.tile.bytes)
            border = border_of(copy, self.target)
        elif column.bounds:
            groups = {"batch": self.normal.batch, "m": self.normal.m, "outer": self.outer}
            whole = bordered(column, [*[axis for group in groups.values() for axis in group], *self.box], self.tile)
            assert whole is not None, "the blocking has seen that it can be copied"
            strides = self._steps_of(whole, groups, box)
            own, tiles = parameters_of(whole, source)
            own["copied.bytes"] = 0
            self.buffers["a"] = temporary = f"t{len(self.temporaries)}"
            self.temporaries.append(whole.numbers * self.tile.bytes)
            values["a.bytes"] = whole.origin * self.tile.bytes
            code = bordering(border_of(whole, self.target), source)
            self.calls.append(_call(code, own, {source: source, "copied": temporary}, tiles, whole.numbers / tiles, 0))
        for position, (axis, stride) in enumerate(zip(box, strides, strict=True)):
            values |= {f"steps{position}.extent": axis[0], f"steps{position}.a": stride}
        listings = choice.listings or ()
        values["steps.apart"] = 8 * (self.steps + MORE)
        values["scratch.a.steps"] = self._reserve(values["steps.apart"] * (1 + len(listings)))
        if listings:
            self._lists(column, listings, box)
        # Neighbours in memory may lie apart in a copy: rows of one place each get a border.
        near = has_near_rows(self.normal, self.tile) and values[f"m{len(self.normal.m) - 1}.a"] == 1
        values["a.run"] = self.normal.m[-1][0]
        return Side(
            "a", self.tile.compute, "table", len(listings), len(box), step=int(near), border=border, strips=choice.where == "strip",
            listed=bool(listings),
        )  # fmt: skip

    def _lists(self, column: Column, listings: Sequence[Listing], box: list[Axis]) -> None:
        """Reserve memory for the lists of steps of panels of rows; see ``existing``."""
        values = self.values
        for number, (i, each) in enumerate(zip(column.bounds, listings, strict=True)):
            values[f"a.bound{number}.start"] = each.start
            values |= {f"steps{position}.a.bound{number}": axis[i] for position, axis in enumerate(box)}
        values["scratch.a.lists"] = self._reserve(8 * MOST_LISTS * WORDS * (self.steps + 1))
        values["scratch.a.keys"] = self._reserve(8 * MOST_LISTS * KEY)
        values["scratch.a.which"] = self._reserve(16 * self.blocking.m_block)

    def _steps_of(self, copy: Bordered, groups: dict[str, list[Axis]], box: list[Axis]) -> list[int]:
        """Let axes walk a copy of the left operand; returns how the steps of a block do."""
        axes = {f"{name}{position}": axis for name, group in groups.items() for position, axis in enumerate(group)}
        for prefix, axis in (*axes.items(), ("split", self.box[0])):
            self.values[f"{prefix}.a"] = copy.stride(axis)
        return [copy.stride(axis) for axis in box]

    def _paired(self, name: str, source: str, column: Column, choice: SideChoice) -> Side:
        """An operand that is packed for matrix registers, by each tile or by a call before."""
        normal, values, is_before = self.normal, self.values, choice.where == "call"
        own = Values() if is_before else values
        lanes, block = (normal.m, self.blocking.m_block) if name == "a" else (normal.n, self.blocking.n_block)
        columns = [column.index, *column.bounds]
        alone = replace(column, operand=replace(column.operand, dtype=types.int16))
        side = describe_packing(name, alone, choice.mode, lanes, projected(self.box, columns), self.blocking.chunk, own)
        side = replace(side, is_paired=True, is_direct=is_direct(normal, column, lanes, choice.mode))
        if side.is_direct:
            own[f"{name}.direct"] = 2 * (lanes[-1][column.index] if choice.mode == "steps" else own[f"{name}.box0.stride"])
        groups = -(-self.steps // amx.GROUP)
        panel = groups * amx.GROUP_BYTES // self.tile.bytes
        self.buffers[name] = source
        values |= {f"{name}.panel": panel, "a.row": 0}
        own |= {
            # An odd number of cache lines, so that the lanes of a panel do not evict each other.
            f"{name}.packed_row": (groups | 1) * amx.GROUP, f"{name}.bytes": column.operand.offset * column.dtype.itemsize,
        }  # fmt: skip
        raw = (groups | 1) * amx.GROUP_BYTES
        if is_before:
            return self._paired_before(name, source, column, side, panel, raw, own)
        values |= {f"{name}.capacity": block + self.tile.width, f"{name}.scale": values[f"{name}.box0.scale"]}
        values[f"scratch.{name}.raw"] = self._reserve(raw)
        values[f"scratch.{name}.panels"] = self._reserve(-(-block // amx.LANES) * groups * amx.GROUP_BYTES)
        return side

    def _paired_before(self, name: str, source: str, column: Column, side: Side, panel: int, raw: int, own: Values) -> Side:
        """Add the call that packs a whole operand: for each batch and block of k its panels, one after the other."""
        normal, values, columns = self.normal, self.values, [column.index, *column.bounds]
        lanes, count = (normal.m, self.m) if name == "a" else (normal.n, self.n)
        lanes = merged(projected(lanes, columns))
        panels, (extent, *_), chunk = -(-count // amx.LANES), self.box[0], self.blocking.chunk
        chunks, outer = -(-extent // chunk), prod(axis[0] for axis in self.outer)
        values[f"split.{name}"] = distance = panels * panel
        distance *= chunks
        for position in reversed(range(len(self.outer))):
            values[f"outer{position}.{name}"] = distance
            distance *= self.outer[position][0]
        kept, distance = self._batches(name, columns, distance, own)
        for number, axis in enumerate(lanes):
            own |= _named(f"lanes{number}", name, axis)
        for prefix, axis in (*[(f"outer{i}", axis) for i, axis in enumerate(self.outer)], ("split", self.box[0])):
            own |= _named(prefix, name, projected([axis], columns)[0])
        capacity = amx.LANES + self.tile.width
        own |= {
            "split.chunk": chunk, "split.chunks": chunks, "outer.count": outer, "inner": self.inner, "panels": panels, "panel": panel,
            "lanes.extent": count, f"{name}.capacity": capacity, "packed.bytes": 0, "scratch.raw": 8 * capacity * (1 + side.bounds),
        }  # fmt: skip
        self.buffers[name] = temporary = f"t{len(self.temporaries)}"
        self.temporaries.append(distance * self.tile.bytes)
        values[f"{name}.bytes"] = 0
        tiles = prod(kept) * outer * chunks * panels
        own["split.packed"] = 0
        code = packing(PackStructure(self.target, side))
        axes = [f"batch{i}" for i in range(len(kept))] + [f"outer{i}" for i in range(len(self.outer))]
        places, cycles = describe_panels(side, own, axes, len(lanes), len(code.parameters)), 0.3 * amx.LANES * self.steps
        self.calls.append(_call(code, own, {name: source, "packed": temporary}, tiles, cycles, own["scratch.raw"] + raw, places))
        return Side(name, self.tile.compute, "panels", is_paired=True)

    def _batches(self, name: str, columns: list[int], distance: int, own: Values) -> tuple[list[int], int]:
        """Set how far apart batches are in a packed temporary, which has a batch axis only where the operand has; one is ``distance`` large.

        Returns the extents of these axes, and the size of all. ``own`` gets the parameters of the call that packs.
        """
        kept: list[tuple[Axis, int]] = []
        for position in reversed(range(len(self.normal.batch))):
            axis = self.normal.batch[position]
            has_it = any(axis[i] for i in columns)
            self.values[f"batch{position}.{name}"] = distance * has_it
            if has_it:
                kept.insert(0, (axis, distance))
                distance *= axis[0]
        kept = kept or [((1,) + (0,) * (len(self.normal.names) - 1), 0)]
        for number, (axis, apart) in enumerate(kept):
            own |= _named(f"batch{number}", name, projected([axis], columns)[0])
            own[f"batch{number}.packed"] = apart * self.tile.parts
        return [axis[0] for axis, _ in kept], distance

    def _packed_before(self, name: str, source: str, column: Column, choice: SideChoice) -> Side:
        """Add the call that packs a whole operand, and let the contraction read its temporary."""
        tile, normal, values, own = self.tile, self.normal, self.values, Values()
        left = name == "a"
        columns = [column.index, *column.bounds]
        k, lanes = merged(projected(normal.k, columns)), merged(projected(normal.m if left else normal.n, columns))
        alone = Column(column.operand, 1, tuple(range(2, 1 + len(columns))))
        side = describe_packing(name, alone, choice.mode, lanes, k, k[0][0], own)
        layout = _layout(side, self.k, tile)
        values |= layout
        own |= layout

        count = self.m if left else self.n
        if side.keeps_rows:
            panels, panel, size = -(-count // tile.lanes), tile.lanes * layout["a.row"], count * layout["a.row"]
        else:
            panels = self.all_panels if left else -(-count // tile.lanes)
            panel, size = layout[f"{name}.panel"], panels * layout[f"{name}.panel"]

        # How far apart steps of k and batches are in the temporary, which has a batch axis only where the operand has.
        step = _numbers_per_step(side, tile)
        distance = step // tile.parts
        for position in reversed(range(len(normal.k))):
            prefix = "split" if position == normal.split else f"outer{position}"
            values[f"{prefix}.{name}"] = distance
            distance *= normal.k[position][0]
        kept, distance = self._batches(name, columns, size // tile.parts, own)
        copies = prod(kept)
        for number, axis in enumerate(lanes):
            own |= _named(f"lanes{number}", name, axis)

        # A tile is a panel, cut along k where panels are few; some hundred steps are worth a tile. Where memory has the lanes inside k, panels
        # of a few rows of memory follow each other.
        chunk = -(-k[0][0] // max(1, min(-(-64 // (panels * copies)), self.k // 512, k[0][0])))
        if k[0][1] >= lanes[0][0] * abs(lanes[0][1]) and panels > 1:
            chunk = min(chunk, _rows_at_a_time(side, k[0][1], self.target))
        chunks = -(-k[0][0] // chunk)
        own |= {
            "split.chunk": chunk, "split.chunks": chunks, "split.packed": self.k // k[0][0] * step, "panels": panels,
            "panel": panel, "lanes.extent": count, "m.panels": self.m_panels, "m.tiles": self.m_tiles, "m.block": self.blocking.m_block, f"{name}.capacity": max(tile.lanes, tile.rows) + _room(tile),
            f"{name}.bytes": column.operand.offset * column.dtype.itemsize, "packed.bytes": 0,
        }  # fmt: skip
        own |= _named("split", name, k[0])

        self.buffers[name] = temporary = f"t{len(self.temporaries)}"
        self.temporaries.append(distance * tile.parts * tile.bytes)
        values[f"{name}.bytes"] = 0
        tiles = copies * panels * chunks
        code = packing(PackStructure(self.target, side))
        places = describe_panels(side, own, [f"batch{i}" for i in range(len(kept))], len(lanes), len(code.parameters))
        cycles, scratch = choice.elements * choice.cost / tiles, 8 * own[f"{name}.capacity"] * (1 + side.bounds)
        self.calls.append(_call(code, own, {name: source, "packed": temporary}, tiles, cycles, scratch, places))
        return Side(name, tile.compute, "rows" if side.keeps_rows else "panels")


def _room(tile: Tile) -> int:
    """Numbers behind the last one of a table of lanes, for those who write several at a time, and for those who read a vector."""
    return max(tile.width, MORE)


def _panels(rows: int, tile: Tile) -> int:
    return -(-rows // tile.rows) if tile.packing else len(split_rows(rows, tile.variants))


def _rows_at_a_time(side: Side, stride: int, target: Target) -> int:
    """How many rows of memory, ``stride`` apart, are packed side by side: of windows, which read them again, no more than the cache keeps."""
    if side.box == 1:
        return _ROWS_AT_A_TIME
    return max(1, min(_ROWS_AT_A_TIME, target.l1_bytes // gcd(stride * side.dtype.itemsize, WAY)))


def _named(prefix: str, name: str, axis: Axis) -> Values:
    """The parameters of an axis that has an extent, an operand's stride and its bounds' coefficients."""
    extent, stride, *bounds = axis
    return {f"{prefix}.extent": extent, f"{prefix}.{name}": stride} | {
        f"{prefix}.{name}.bound{bound}": coefficient for bound, coefficient in enumerate(bounds)
    }


def _numbers_per_step(side: Side, tile: Tile) -> int:
    """How far apart steps of k are in a packed operand."""
    if side.keeps_rows:
        return tile.parts
    return tile.rows * tile.parts if side.is_left else tile.pitch


def _layout(side: Side, steps: int, tile: Tile) -> Values:
    """How the micro-kernel walks an operand that was packed for ``steps`` steps of k, in numbers."""
    step = _numbers_per_step(side, tile)
    if not side.is_left:
        return {"b.panel": steps * step, "b.ks": step}
    if side.keeps_rows:
        # An odd number of cache lines, so that the rows of a panel do not evict each other.
        line = 64 // (tile.bytes * tile.parts)
        row = (-(-steps // line) | 1) * line
        return {"a.packed_row": row, "a.row": row * tile.parts, "a.panel": 0, "a.rs": row * tile.parts, "a.ks": step}
    return {"a.row": 0, "a.panel": steps * step, "a.rs": tile.parts, "a.ks": step}
