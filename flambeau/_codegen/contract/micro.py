"""The micro-kernel: a few rows of the output, one register tile wide, over a run of k."""

from __future__ import annotations

from functools import cache, lru_cache

from flambeau._codegen.contract.arithmetic import Tile, multiply_add
from flambeau._codegen.ir import Builder, Module, Value

_REACH = (0, 1, 2, 4, 8)
"""Rows that one address register reaches: x86 scales an index by 1, 2, 4 or 8 for free."""


def emit_micro(
    module: Module, tile: Tile, rows: int, masked: bool, adds: bool = False, tabled: bool = False, vectors: int | None = None
) -> str:
    """A function that continues the chains of ``rows`` x ``tile.lanes`` elements over ``k`` >= 1 steps; returns its name.

    ``micro(a, rs, ks, b, bs, k, start, ss, c, cs[, count][, more])``: element ``[r, k]`` of a is at ``a + r * rs + k * ks``, row k
    of b at ``b + k * bs``; row r of the sums is read at ``start + r * ss`` (zeros with ``ss = 0`` to start chains) and
    written at ``c + r * cs``, all in numbers of the tile's element type.  A ``masked`` kernel reads the first ``count``
    lanes of b only.  One that ``adds`` adds the sums to those at ``c`` if ``more`` (an ``i1``) is true.  If a is ``tabled``, ``rs`` and
    ``ks`` are the addresses of tables: element ``[r, k]`` is at ``a + rs[r] + ks[k]``. With fewer ``vectors`` than the tile has it computes
    the first lanes only.
    """
    made = _micro(module.features, tile, rows, masked, adds, tabled, vectors or tile.vectors)
    module.include(made)
    return made.functions[0].name


@cache
def _micro(features: frozenset[str], tile: Tile, rows: int, masked: bool, adds: bool, tabled: bool, vectors: int) -> Module:
    """A module with one function, which many kernels have: writing it takes as long as writing the rest of a kernel."""
    module = Module(features)
    name = f"micro{rows}" + "_masked" * masked + f"_of_{vectors}" * (vectors < tile.vectors)
    of_a = "ptr" if tabled else "i64"
    parameters = [("ptr", "a"), (of_a, "rs"), (of_a, "ks"), ("ptr", "b"), ("i64", "bs"), ("i64", "k")]
    parameters += [("ptr", "start"), ("i64", "ss"), ("ptr", "c"), ("i64", "cs")] + [("i64", "count")] * masked + [("i1", "more")] * adds
    f = module.function(name, parameters, linkage="internal", attributes="noinline")
    a, rs, ks, b, bs, k, start, ss, c, cs = f.parameters[:10]
    columns = range(vectors * tile.parts)

    sums = []
    for _ in range(rows):
        sums += [f.load(f.offset(start, v * tile.width, tile.element), tile.type) for v in columns]
        start = f.offset(start, ss, tile.element)
    masks = [f.lane_mask(f.sub(f.parameters[10], v * tile.width), tile.width) for v in columns] if masked else []
    if tabled:
        lines = [f.offset(a, f.load(f.offset(rs, each, "i64"), "i64"), tile.element) for each in range(rows)]
        reached, steps, moving = [(each, 0) for each in range(rows)], {}, [ks]
    else:
        anchor_rows, reached = anchors(rows)
        steps = {reach: f.mul(rs, reach) for reach in _REACH[1:]}
        moving = [f.offset(a, f.mul(rs, anchor), tile.element) for anchor in anchor_rows]
    with f.repeat([k, b, *moving, *sums]) as loop:
        left, row, *rest = loop.carried
        moving, sums = rest[: len(moving)], rest[len(moving) :]
        pointers = moving
        if tabled:
            here = f.load(moving[0], "i64")
            pointers = [f.offset(line, here, tile.element) for line in lines]
        places = [f.offset(row, v * tile.width, tile.element) for v in columns]
        right = [f.masked_load(places[v], masks[v], tile.type) if masked else f.load(places[v], tile.type) for v in columns]
        following: list[Value] = []
        for anchor, reach in reached:
            place = f.offset(pointers[anchor], steps[reach], tile.element) if reach else pointers[anchor]
            broadcast = [f.splat(f.load(f.offset(place, part, tile.element), tile.element), tile.width) for part in range(tile.parts)]
            for v in columns[:: tile.parts]:
                at = len(following)
                following += multiply_add(f, tile, broadcast, right[v : v + tile.parts], sums[at : at + tile.parts])
        left = f.sub(left, 1)
        if tabled:
            moving = [f.offset(moving[0], 1, "i64")]
        else:
            moving = [f.offset(pointer, ks, tile.element) for pointer in pointers]
        loop.again(f.compare("sgt", left, 0), left, f.offset(row, bs, tile.element), *moving, *following)
    sums = loop.carried[2 + len(moving) :]
    rows_of_c = [c]
    for _ in range(rows - 1):
        rows_of_c.append(f.offset(rows_of_c[-1], cs, tile.element))
    places = [f.offset(row, v * tile.width, tile.element) for row in rows_of_c for v in columns]
    add_up(f, tile, sums, places, f.parameters[-1] if adds else None)
    f.ret()
    return module


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


@lru_cache(maxsize=4096)
def split_rows(count: int, variants: tuple[int, ...]) -> tuple[int, ...]:
    """The panels that a kernel cuts ``count`` rows into by ``row_choices``."""
    choices = row_choices(variants)
    panels = []
    while count:
        panels.append(choices[min(count, len(choices) - 1)])
        count -= panels[-1]
    return tuple(panels)
