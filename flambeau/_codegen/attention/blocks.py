"""Copying blocks of rows into the order in which they are multiplied, multiplying them, and writing them back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flambeau._codegen.contract.arithmetic import Tile
from flambeau._codegen.contract.micro import row_choices
from flambeau._codegen.contract.packing import address
from flambeau._codegen.ir import Builder, Module, Value, i64
from flambeau._codegen.scalar import registers
from flambeau._codegen.squares import transpose
from flambeau._types.dtype import dtype

_AHEAD = 8
"""Rows that are fetched ahead while rows are copied: 1 to 2 % of the forward pass, whose keys come from a farther cache."""
NO_DIAGONAL = 1 << 40
"""A diagonal that is beyond every column."""


@contextmanager
def panels(f: Builder, tile: Tile, rows: Value) -> Iterator[tuple[Value, Value]]:
    """Walk ``rows`` rows (at least one) in panels of the micro-kernels' sizes: gives the first row and how many they are."""
    choices = row_choices(tile.variants)
    table = f.module.table("i64", choices)
    with f.repeat([i64(0)]) as loop:
        (row,) = loop.carried
        left = f.intrinsic("smin", f.sub(rows, row), i64(len(choices) - 1))
        here = f.load(f.offset(table, left, "i64"), "i64")
        yield row, here
        row = f.add(row, here)
        loop.again(f.compare("slt", row, rows), row)


# -- copies ------------------------------------------------------------------------------------------------------------


def emit_gather_rows(module: Module, tile: Tile, of: dtype) -> str:
    """``gather_rows(source, stride, rows, size, factors, step, target, pitch, panel)``: rows of ``size`` elements in the compute dtype, each times
    its factor (``step`` apart), in panels of ``tile.lanes`` columns, the last one filled up with zeros.

    Rows of a panel are ``pitch`` apart, and panels ``panel``: with ``tile.lanes`` for that rows lie as they do in the source.
    """
    signature = [("ptr", "source"), ("i64", "stride"), ("i64", "rows"), ("i64", "size"), ("ptr", "factors"), ("i64", "step")]
    name = "gather_rows"
    signature += [("ptr", "target"), ("i64", "pitch"), ("i64", "panel")]
    f = module.function(name, signature, linkage="internal", attributes="noinline")
    source, stride, rows, size, factors, step, target, pitch, panel = f.parameters
    whole, ahead = f.binary("and", size, -tile.lanes), f.mul(stride, _AHEAD)
    with f.loop(0, rows) as row:
        factor = f.splat(f.load(f.offset(factors, f.mul(row.index, step), tile.element), tile.element), tile.width)
        start, place = address(f, source, f.mul(row.index, stride), of), f.offset(target, f.mul(row.index, pitch), tile.element)

        def copy(column: Value, place: Value, is_whole: bool, start: Value = start, factor: Value = factor) -> None:
            for part in range(0, tile.lanes, tile.width):
                here = f.add(column, part)
                mask = None if is_whole else f.lane_mask(f.sub(size, here), tile.width)
                value = _load(f, address(f, start, here, of), of, tile, mask)
                f.store(f.mul(value, factor), f.offset(place, part, tile.element))

        with f.loop(0, whole, tile.lanes, [place]) as panels:
            (place,) = panels.carried
            f.prefetch(address(f, start, f.add(panels.index, ahead), of))
            copy(panels.index, place, True)
            panels.carry(f.offset(place, panel, tile.element))
        with f.when(f.compare("slt", whole, size)):
            copy(whole, panels.carried[0], False)
    f.ret()
    return name


def emit_gather_columns(module: Module, tile: Tile, of: dtype) -> str:
    """``gather_columns(source, stride, rows, size, factor, target, panel)``: the transpose of rows, times one factor, in panels of
    ``tile.lanes`` columns.

    A panel has a row for each element, and so many more that they are whole vectors. The columns after the last are copies of it.
    """
    signature = [("ptr", "source"), ("i64", "stride"), ("i64", "rows"), ("i64", "size"), ("ptr", "factor")]
    name = "gather_columns"
    f = module.function(name, [*signature, ("ptr", "target"), ("i64", "panel")], linkage="internal", attributes="noinline")
    source, stride, rows, size, factor, target, panel = f.parameters
    last, factor = f.sub(rows, 1), f.splat(f.load(factor, tile.element), tile.width)
    ahead = f.mul(stride, tile.lanes)
    with f.loop(0, rows, tile.lanes) as first, f.loop(0, tile.lanes, tile.width) as group:
        place = f.offset(target, f.mul(f.binary("udiv", first.index, tile.lanes), panel), tile.element)
        place = f.offset(place, group.index, tile.element)
        numbers = [f.intrinsic("smin", f.add(f.add(first.index, group.index), lane), last) for lane in range(tile.width)]
        starts = [address(f, source, f.mul(number, stride), of) for number in numbers]
        with f.loop(0, size, tile.width) as column:
            mask = f.lane_mask(f.sub(size, column.index), tile.width)
            lanes = []
            for start in starts:
                f.prefetch(address(f, start, f.add(column.index, ahead), of))
                lanes.append(f.mul(_load(f, address(f, start, column.index, of), of, tile, mask), factor))
            for number, values in enumerate(transpose(f, lanes)):
                f.store(values, f.offset(place, f.mul(f.add(column.index, number), tile.lanes), tile.element))
    f.ret()
    return name


def emit_scatter_rows(module: Module, tile: Tile, of: dtype) -> str:
    """``scatter_rows(source, pitch, rows, size, factors, step, target, stride)``: the reverse of ``gather_rows``, rounded to the dtype."""
    signature = [("ptr", "source"), ("i64", "pitch"), ("i64", "rows"), ("i64", "size"), ("ptr", "factors"), ("i64", "step")]
    name = "scatter_rows"
    f = module.function(name, [*signature, ("ptr", "target"), ("i64", "stride")], linkage="internal", attributes="noinline")
    source, pitch, rows, size, factors, step, target, stride = f.parameters
    whole = f.binary("and", size, -tile.width)
    with f.loop(0, rows) as row:
        factor = f.splat(f.load(f.offset(factors, f.mul(row.index, step), tile.element), tile.element), tile.width)
        start, place = f.offset(source, f.mul(row.index, pitch), tile.element), address(f, target, f.mul(row.index, stride), of)

        def copy(column: Value, count: Value | None, start: Value = start, place: Value = place, factor: Value = factor) -> None:
            value = f.mul(f.load(f.offset(start, column, tile.element), tile.type), factor)
            mask = None if count is None else f.lane_mask(count, tile.width)
            registers.store(f, registers.round_to(f, value, of), address(f, place, column, of), of, mask, count=count)

        with f.loop(0, whole, tile.width) as column:
            copy(column.index, None)
        with f.when(f.compare("slt", whole, size)):
            copy(whole, f.sub(size, whole))
    f.ret()
    return name


def _load(f: Builder, pointer: Value, of: dtype, tile: Tile, mask: Value) -> Value:
    value = registers.load(f, pointer, of, tile.width, mask)
    assert isinstance(value, Value)
    return value


# -- products ----------------------------------------------------------------------------------------------------------

PRODUCT = [("ptr", "a"), ("i64", "rs"), ("i64", "ks"), ("ptr", "b"), ("i64", "bs"), ("i64", "panel"), ("i64", "steps")]
PRODUCT += [("ptr", "c"), ("i64", "cs"), ("i64", "rows"), ("i64", "columns"), ("i64", "diagonal")]
FACTORS = [("ptr", "factors"), ("i64", "factor_step")]


def emit_product(module: Module, tile: Tile, micros: dict[int, str], kind: str) -> str:
    """A function that multiplies two blocks, leaving out what lies beyond the diagonal of the scores; returns its name.

    ``product(a, rs, ks, b, bs, panel, steps, c, cs, rows, columns, diagonal)``: element ``[r, k]`` of a is at ``r * rs + k * ks``, row
    k of b's panels of ``tile.lanes`` columns at ``k * bs``, and the panels are ``panel`` apart; row r of the result is at ``r * cs``. Query r
    of a block sees the keys up to ``r + diagonal``. What is not written is added to ``c`` times the row's factor (``factors, factor_step``),
    as a sum of its own, so that rounding errors grow with the number of blocks, not with the number of products.

    ======== =============================== ========================================== ============
    kind     rows, columns, steps            what is left out                           the result
    ======== =============================== ========================================== ============
    scores   queries, keys, features         keys that none of a panel's queries sees   is written
    queries  queries, features, keys         the same                                   is added
    keys     keys, features, queries         queries that see none of a panel's keys    is added
    ======== =============================== ========================================== ============
    """
    name, adds = f"product_{kind}", kind != "scores"
    f = module.function(name, PRODUCT + FACTORS * adds, linkage="internal", attributes="noinline")
    a, rs, ks, b, bs, panel, steps, c, cs, rows, columns, diagonal, *factors = f.parameters
    zeros = module.table(tile.element, [0] * tile.lanes)
    sums = f.alloca(tile.element, tile.rows * tile.lanes) if adds else zeros
    # All panels of rows pass by a panel of columns, which then is in the first-level cache.
    with f.loop(0, columns, tile.lanes) as column, panels(f, tile, rows) as (row, here):
        from_a, from_b, count, stop = f.offset(a, f.mul(row, rs), tile.element), b, steps, columns
        seen = f.add(f.add(diagonal, row), here)
        if kind == "scores":
            stop = f.intrinsic("smin", stop, seen)
        elif kind == "queries":
            count = f.intrinsic("smin", count, seen)
        else:
            first = f.intrinsic("smax", f.sub(row, diagonal), i64(0))
            from_a, from_b = f.offset(from_a, f.mul(first, ks), tile.element), f.offset(b, f.mul(first, bs), tile.element)
            count = f.sub(count, first)
        with f.when(f.binary("and", f.compare("sgt", count, 0), f.compare("slt", column.index, stop))):
            place = f.offset(c, f.add(f.mul(row, cs), column.index), tile.element)
            right = f.offset(from_b, f.mul(f.binary("udiv", column.index, tile.lanes), panel), tile.element)
            result = (sums, i64(tile.lanes)) if adds else (place, cs)
            for size, micro in micros.items():
                with f.when(f.compare("eq", here, size)):
                    f.call(f"@{micro}", from_a, rs, ks, right, bs, count, zeros, i64(0), *result)
            if adds:
                _add(f, tile, sums, here, place, cs, f.offset(factors[0], f.mul(row, factors[1]), tile.element), factors[1])
    f.ret()
    return name


def _add(f: Builder, tile: Tile, sums: Value, rows: Value, place: Value, pitch: Value, factors: Value, step: Value) -> None:
    """``place = place * factor + sums`` for each row of a register tile."""
    with f.loop(0, rows) as row:
        factor = f.load(f.offset(factors, f.mul(row.index, step), tile.element), tile.element)
        start, own = (f.offset(each, f.mul(row.index, pitch), tile.element) for each, pitch in ((place, pitch), (sums, i64(tile.lanes))))
        for part in range(0, tile.lanes, tile.width):
            target = f.offset(start, part, tile.element)
            value = f.load(f.offset(own, part, tile.element), tile.type)
            f.store(f.fma(f.load(target, tile.type), f.splat(factor, tile.width), value), target)
