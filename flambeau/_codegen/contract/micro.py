"""The micro-kernel: a few rows of the output, one register tile wide, over a run of k."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import NamedTuple

from flambeau._codegen.contract.arithmetic import Tile, multiply_add
from flambeau._codegen.ir import Builder, Module, Value, constant, i64

_REACH = (0, 1, 2, 4, 8)
"""Rows that one address register reaches: x86 scales an index by 1, 2, 4 or 8 for free."""
WORDS = 2
"""Words of a step in a list (``existing.py``): numbers from a row's first one, and from the beginning of a panel of columns."""
MOST_ADDRESSES = 8
"""Rows of a register tile that can have an address register each: with more LLVM runs out of them, and moves sums to memory and back at each step."""
_UNROLLED = 4
"""Steps that a kernel of all rows takes at a time if it knows how far apart they are, or looks it up with short vectors: matrices of 256, 512 and 1024 are
4 to 6 % faster, and 8 % where another thread shares the core. There each instruction counts: of six rows through tables a step has 26, and 22 so (63 and 72 % of
the peak; 93 % either way on a core for itself)."""
_EARLY, _LINE = 12, 64
"""How many steps before they are used such a kernel asks for the lines of a panel of b, which come from the second-level cache: 2 to 5 % of matrices of 1024
with long vectors. With short ones they come in time, and asking is an instruction of 22 (a shared core: 74 % of the peak, 78 without)."""


class Walk(NamedTuple):
    """The distances between rows of a, between steps of a, and between steps of b where the code may depend on them; ``None``: they are arguments.

    A kernel of all rows asks for the row ``ahead`` that its last argument names, if it is one of a whose steps are neighbours. The steps of both operands
    may be ``listed`` (``existing.py``).
    """

    row: int | None = None
    step: int | None = None
    b: int | None = None
    ahead: bool = False
    listed: bool = False


_UNKNOWN = Walk()


def emit_micro(
    module: Module,
    tile: Tile,
    rows: int,
    masked: bool,
    adds: bool = False,
    tabled: bool = False,
    vectors: int | None = None,
    walk: Walk = _UNKNOWN,
    by_address: bool = False,
    label: str = "",
) -> str:
    """A function that continues the chains of ``rows`` x ``tile.lanes`` elements over ``k`` >= 1 steps; returns its name.

    ``micro(a, rs, ks, b, bs, k, start, ss, c, cs[, count][, more][, ahead])``: element ``[r, k]`` of a is at ``a + r * rs + k * ks``, row k
    of b at ``b + k * bs``; row r of the sums is read at ``start + r * ss`` (zeros with ``ss = 0`` to start chains) and
    written at ``c + r * cs``, all in numbers of the tile's element type.  A ``masked`` kernel reads the first ``count``
    lanes of b only.  One that ``adds`` adds the sums to those at ``c`` if ``more`` (an ``i1``) is true.  If a is ``tabled``, ``rs`` and
    ``ks`` are the addresses of tables: element ``[r, k]`` is at ``a + rs[r] + ks[k]``, or at ``a + r * walk.row + ks[k]``. If steps are ``listed``, ``ks`` is the address of a list instead. With fewer ``vectors`` than the tile has it computes
    the first lanes only.  What ``walk`` knows it does not take from its arguments.  One that is called ``by_address`` has all arguments, whether it needs them or not. A ``label`` ends its name, if a kernel has several of so many rows.
    """
    made = _micro(module.features, tile, rows, masked, adds, tabled, vectors or tile.vectors, walk, by_address, label)
    module.include(made)
    return made.functions[0].name


@cache
def _micro(
    features: frozenset[str],
    tile: Tile,
    rows: int,
    masked: bool,
    adds: bool,
    tabled: bool,
    vectors: int,
    walk: Walk,
    by_address: bool,
    label: str,
) -> Module:
    """A module with one function, which many kernels have: writing it takes as long as writing the rest of a kernel."""
    module = Module(features)
    name = f"micro{rows}" + "_masked" * masked + f"_of_{vectors}" * (vectors < tile.vectors) + label
    parameters = [("ptr", "a"), ("i64", "rs"), ("i64", "ks"), ("ptr", "b"), ("i64", "bs"), ("i64", "k")]
    parameters += [("ptr", "start"), ("i64", "ss"), ("ptr", "c"), ("i64", "cs")]
    asks = walk.ahead and rows == tile.rows
    parameters += (
        [("i64", "count")] * (masked or by_address) + [("i1", "more")] * (adds or by_address) + [("ptr", "ahead")] * (asks or by_address)
    )
    f = module.function(name, parameters, linkage="internal", attributes="noinline")
    given = {label: f.parameters[number] for number, (_, label) in enumerate(parameters)}
    start, c = given["start"], given["c"]
    columns = range(vectors * tile.parts)

    sums = []
    for _ in range(rows):
        sums += [f.load(f.offset(start, v * tile.width, tile.element), tile.type) for v in columns]
        start = f.offset(start, given["ss"], tile.element)
    masks = [f.lane_mask(f.sub(given["count"], v * tile.width), tile.width) for v in columns] if masked else []
    chains = _Chains(f, tile, columns, masks, _Left(f, tile, rows, tabled, walk), given["bs"] if walk.b is None else i64(walk.b))
    # Eight or fourteen rows through tables have no address registers left for several steps.
    knows_steps = walk.step is not None or (tabled and not tile.has_masks)
    if rows < tile.rows or not knows_steps:
        sums = chains.one_by_one(given["b"], given["k"], sums)
    else:
        sums = chains.several(given["b"], given["k"], sums, walk.b, given["ahead"] if asks else None)
    rows_of_c = [c]
    for _ in range(rows - 1):
        rows_of_c.append(f.offset(rows_of_c[-1], given["cs"], tile.element))
    places = [f.offset(row, v * tile.width, tile.element) for row in rows_of_c for v in columns]
    add_up(f, tile, sums, places, given["more"] if adds else None)
    f.ret()
    return module


def emit_chains(f: Builder, tile: Tile, tabled: bool, walk: Walk) -> list[Value]:
    """The chains of a whole register tile, from 0 on, in registers: for a function whose arguments begin as those of a micro-kernel, of few steps."""
    _, _, _, b, distance, k = f.parameters[:6]
    zeros = [constant(tile.type, 0)] * (tile.rows * tile.vectors)
    chains = _Chains(f, tile, range(tile.vectors), [], _Left(f, tile, tile.rows, tabled, walk), distance if walk.b is None else i64(walk.b))
    return chains.one_by_one(b, k, zeros)


class _Chains:
    """The chains of a micro-kernel: each step adds the products of a row of b, the right operand, with an element of each row of a, the left one.

    Args:
        columns: the vectors of a row of b
        masks: of their lanes, if only some are there
        left: where the elements of a are
        distance: how far the rows of b are apart
    """

    def __init__(self, f: Builder, tile: Tile, columns: range, masks: list[Value], left: _Left, distance: Value) -> None:
        self.f, self.tile, self.columns, self.masks, self.left, self.distance = f, tile, columns, masks, left, distance

    def one_by_one(self, b: Value, k: Value, sums: list[Value]) -> list[Value]:
        """All ``k`` steps, a step at a time."""
        f, moves = self.f, len(self.left.start)
        with f.repeat([k, b, *self.left.start, *sums]) as loop:
            remaining, row, *rest = loop.carried
            remaining = f.sub(remaining, 1)
            loop.again(f.compare("sgt", remaining, 0), remaining, *self._steps(1, row, rest[:moves], rest[moves:]))
        return loop.carried[2 + moves :]

    def several(self, b: Value, k: Value, sums: list[Value], pitch: int | None, ahead: Value | None) -> list[Value]:
        """All ``k`` steps, several at a time, which ask for rows of b early if their ``pitch`` is known, and for those of the row of a ``ahead``."""
        f, moves = self.f, len(self.left.start)
        whole = f.binary("and", k, i64(-_UNROLLED))
        with f.loop(0, whole, _UNROLLED, [b, *self.left.start, *sums]) as together:
            row, *rest = together.carried
            if ahead is not None:
                f.prefetch(f.offset(ahead, together.index, self.tile.element), level=2)
            if pitch is not None and self.tile.has_masks:
                for place in range(0, _UNROLLED * pitch * self.tile.bytes, _LINE):
                    f.prefetch(f.offset(row, place + _EARLY * pitch * self.tile.bytes, "i8"))
            together.carry(*self._steps(_UNROLLED, row, rest[:moves], rest[moves:]))
        with f.loop(whole, k, 1, together.carried) as single:
            row, *rest = single.carried
            single.carry(*self._steps(1, row, rest[:moves], rest[moves:]))
        return single.carried[1 + moves :]

    def _steps(self, count: int, row: Value, moving: list[Value], sums: list[Value]) -> list[Value]:
        """So many steps, and what the loop carries on."""
        f, tile, columns = self.f, self.tile, self.columns
        first = row
        for number in range(count):
            if self.left.walk.listed:
                row = f.offset(first, self.left.listed(moving, number), tile.element)
            places = [f.offset(row, v * tile.width, tile.element) for v in columns]
            right = [f.masked_load(places[v], self.masks[v], tile.type) if self.masks else f.load(places[v], tile.type) for v in columns]
            following: list[Value] = []
            for place in self.left.places(moving, number):
                broadcast = [f.splat(f.load(f.offset(place, part, tile.element), tile.element), tile.width) for part in range(tile.parts)]
                for v in columns[:: tile.parts]:
                    at = len(following)
                    following += multiply_add(f, tile, broadcast, right[v : v + tile.parts], sums[at : at + tile.parts])
            sums, row = following, f.offset(row, self.distance, tile.element)
        return [first if self.left.walk.listed else row, *self.left.after(moving, count), *sums]


class _Left:
    """Where a micro-kernel finds its left operand: what it carries from step to step (``start``), and the places of a step's rows."""

    def __init__(self, f: Builder, tile: Tile, rows: int, tabled: bool, walk: Walk) -> None:
        self.f, self.tile, self.tabled, self.walk, self.words = f, tile, tabled, walk, WORDS if walk.listed else 1
        a, rs, ks = f.parameters[:3]
        if tabled:
            rs, ks = (f.cast("inttoptr", table, "ptr") for table in (rs, ks))
        self.rows = [(0, row) for row in range(rows)]  # of each the number of an address, and how many rows further it is
        self.step = ks if walk.step is None else i64(walk.step)
        if tabled and walk.row is not None:
            self.lines, self.start = [a], [ks]
        elif tabled:
            self.lines = [f.offset(a, f.load(f.offset(rs, row, "i64"), "i64"), tile.element) for row in range(rows)]
            self.start = [ks]
        elif walk.row is not None:
            self.start = [a]
        else:
            anchor_rows, self.rows = anchors(rows)
            self.start = [f.offset(a, f.mul(rs, anchor), tile.element) for anchor in anchor_rows]
            self.distances = {reach: f.mul(rs, reach) for reach in _REACH[1:]}

    def places(self, moving: list[Value], number: int) -> list[Value]:
        """The addresses of each row's element, ``number`` steps after those that are carried."""
        f, element = self.f, self.tile.element
        if self.tabled:
            here = f.load(f.offset(moving[0], number * self.words, "i64"), "i64")
            lines = [f.offset(line, here, element) for line in self.lines]
            return lines if self.walk.row is None else [f.offset(lines[0], row * self.walk.row, element) for _, row in self.rows]
        if number:
            moving = self.after(moving, number)
        if self.walk.row is not None:
            return [f.offset(moving[0], further * self.walk.row, element) for _, further in self.rows]
        return [f.offset(moving[anchor], self.distances[reach], element) if reach else moving[anchor] for anchor, reach in self.rows]

    def listed(self, moving: list[Value], number: int) -> Value:
        """How far from the beginning of its panel the right operand is, ``number`` steps after the one that is carried."""
        return self.f.load(self.f.offset(moving[0], number * self.words + 1, "i64"), "i64")

    def after(self, moving: list[Value], count: int) -> list[Value]:
        """What is carried, so many steps later."""
        if self.tabled:
            return [self.f.offset(moving[0], count * self.words, "i64")]
        distance = self.step if count == 1 else i64(count * self.walk.step) if self.walk.step is not None else self.f.mul(self.step, count)
        return [self.f.offset(pointer, distance, self.tile.element) for pointer in moving]


def add_up(f: Builder, tile: Tile, chains: list[Value], places: list[Value], more: Value | None) -> None:
    """Store chains that have ended; or add them to what is at their places, if ``more`` (an ``i1``) says that there were others before."""
    if more is not None:
        with f.when(more):
            for chain, place in zip(chains, places, strict=True):
                f.store(f.add(f.load(place, tile.type), chain), place)
        with f.when(f.binary("xor", more, 1)):
            add_up(f, tile, chains, places, None)
        return
    for chain, place in zip(chains, places, strict=True):
        f.store(chain, place)


@cache
def anchors(rows: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Rows that get an address register, and for each row the position of its anchor and the distance from it."""
    found: list[int] = []
    reached: dict[int, tuple[int, int]] = {}
    for row in range(rows):
        if row not in reached:
            for reach in _REACH:
                reached.setdefault(row + reach, (len(found), reach))
            found.append(row)
    return found, [reached[row] for row in range(rows)]


@cache
def row_choices(variants: tuple[int, ...]) -> tuple[int, ...]:
    """For each number of rows left, up to twice the largest variant, the rows of the next panel; beyond, the largest.

    Few rows leave multiply-adds waiting for their predecessors: fewer than four rows cost as much as four.
    """
    cost = {rows: max(rows, 4) + 0.3 for rows in variants}
    best = [(0.0, 0)]
    for left in range(1, 2 * variants[0] + 1):
        best.append(min((cost[rows] + best[left - rows][0], -rows) for rows in variants if rows <= left))
    choices = [-rows for _, rows in best]
    choices[-1] = variants[0]
    return tuple(choices)


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


@lru_cache(maxsize=4096)
def split_rows(count: int, variants: tuple[int, ...]) -> tuple[int, ...]:
    """The panels that a kernel cuts ``count`` rows into by ``row_choices``."""
    choices = row_choices(variants)
    panels = []
    while count:
        panels.append(choices[min(count, len(choices) - 1)])
        count -= panels[-1]
    return tuple(panels)
