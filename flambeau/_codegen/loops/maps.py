"""Nests without a reduction: a tile is a block of the vector digit, at several places of the last outer digit if it is short."""

from __future__ import annotations

from flambeau._codegen.ir import Value, i64
from flambeau._codegen.loops.body import Body
from flambeau._codegen.loops.spec import BLOCK, EFFECTS, VECTOR


def emit_map(body: Body) -> None:
    f = body.f
    extent = body.extents[body.vector_digit]
    blocks = f.binary("udiv", f.add(extent, BLOCK - 1), i64(BLOCK))
    known = dict(body.values)
    outer = list(range(body.spec.outer))
    tile_rows = body.parameter(body.parameters.extent)
    rows = body.extents[outer[-1]] if outer else i64(1)
    groups = f.binary("udiv", f.add(rows, f.sub(tile_rows, i64(1))), tile_rows)
    with f.loop(body.begin, body.end) as tiles:
        place = f.binary("udiv", tiles.index, blocks)
        block = f.sub(tiles.index, f.mul(place, blocks))
        above = f.binary("udiv", place, groups)
        first_row = f.mul(f.sub(place, f.mul(above, groups)), tile_rows)
        body.unravel(above, outer[:-1])
        first = f.mul(block, i64(BLOCK))
        last = f.intrinsic("smin", f.add(first, BLOCK), extent)
        _hoist(body, outer[:-1])
        with f.loop(first_row, f.intrinsic("smin", f.add(first_row, tile_rows), rows)) as lines:
            before = dict(body.values)
            if outer:
                body.places[outer[-1]] = lines.index
                _hoist(body, outer)
            _emit_line(body, first, last)
            body.values = before
        body.values = dict(known)
        body.places.clear()


def _hoist(body: Body, digits: list[int]) -> None:
    for number in body.known_at(frozenset(digits), 0):
        body.values[number] = body.compute(number, 1, None)


def _emit_line(body: Body, first: Value, last: Value) -> None:
    f = body.f
    width = VECTOR * (2 if len(body.instructions) <= 14 else 1)
    whole = f.add(first, f.binary("and", f.sub(last, first), i64(-width)))
    with f.loop(first, whole, width) as vectors:
        body.places[body.vector_digit] = vectors.index
        at_vector(body, width, None)
    with f.loop(whole, last, VECTOR) as tail:
        body.places[body.vector_digit] = tail.index
        at_vector(body, VECTOR, body.first_lanes(f.sub(last, tail.index), VECTOR))


def at_vector(body: Body, width: int, mask: Value | None) -> None:
    """All instructions at one vector of places."""
    known = dict(body.values)
    for number, instr in enumerate(body.instructions):
        if instr.op in EFFECTS:
            body.effect(number, width, mask)
        elif number not in body.values:
            body.values[number] = body.compute(number, width if body.is_vector(number) else 1, mask)
    body.values = known
