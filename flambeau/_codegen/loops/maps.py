"""Nests whose tiles are blocks of the vector digit, at several places of the last outer digit if it is short.

Where reads have bounds (padding), a line of vectors has an *interior*, in which all of them hold, and a border before and after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, reduce

from flambeau._codegen.ir import Value, i64
from flambeau._codegen.loops import copies, spreading, staging, straight, tables, weaving, window
from flambeau._codegen.loops.body import EVERYTHING, LINES, NOTHING, Body
from flambeau._codegen.loops.spec import BLOCK, EFFECTS, LIGHT, VECTOR, bounds_of

AtVector = Callable[[Body, int, "Value | None"], None]
SHARED = 12
"""So many vector instructions that rows have in common are worth a loop over rows inside of that over vectors."""

_SEVERAL = 4
"""Choices for which a line is written out a second time without them."""


def emit_map(body: Body) -> None:
    """A nest of the mode ``map`` or ``window``."""
    f = body.f
    extent = body.extents[body.vector_digit]
    width = body.parameter(body.parameters.piece) if body.spec.staged or body.spec.window else i64(BLOCK)
    blocks = f.binary("udiv", f.add(extent, f.sub(width, i64(1))), width)
    known = dict(body.values)
    outer = list(range(body.spec.outer))
    tile_rows = body.parameter(body.parameters.extent)
    rows = body.extents[outer[-1]] if outer else i64(1)
    groups = f.binary("udiv", f.add(rows, f.sub(tile_rows, i64(1))), tile_rows)
    above, inside = outer[: len(outer) - 1 - body.spec.inside], outer[len(outer) - 1 - body.spec.inside : -1]
    with f.loop(body.begin, body.end) as tiles:
        place = f.binary("udiv", tiles.index, blocks)
        block = f.sub(tiles.index, f.mul(place, blocks))
        linear = f.binary("udiv", place, groups)
        first_row = f.mul(f.sub(place, f.mul(linear, groups)), tile_rows)
        body.unravel(linear, above)
        first = f.mul(block, width)
        last = f.intrinsic("smin", f.add(first, width), extent)
        _hoist(body, above)
        end_row = f.intrinsic("smin", f.add(first_row, tile_rows), rows)
        if body.spec.staged:
            staging.stage(body, first, last)
        with _each_place(body, above, inside):
            if body.spec.mode == "copy":
                copies.emit_rows(body, first_row, end_row)
            elif shared(body):
                _emit_rows_inside(body, first, last, first_row, end_row)
            else:
                _emit_rows(body, first, last, first_row, end_row)
        body.values = dict(known)
        body.places.clear()


@contextmanager
def _each_place(body: Body, above: list[int], inside: list[int]) -> Iterator[None]:
    """Loops over the places of some digits, with what they say known."""
    if not inside:
        yield
        return
    known = dict(body.values)
    with body.f.loop(0, body.extents[inside[0]]) as places:
        body.places[inside[0]] = places.index
        _hoist(body, [*above, inside[0]])
        yield
    body.values = known


def _emit_rows(body: Body, first: Value, last: Value, first_row: Value, end_row: Value) -> None:
    """One row of a tile after the other."""
    outer = list(range(body.spec.outer))
    with body.f.loop(first_row, end_row) as lines:
        before = dict(body.values)
        if outer:
            body.places[outer[-1]] = lines.index
            _hoist(body, outer)
        with body.along(outer):
            body.once = window.once_a_line(body) if body.spec.mode == "window" else {}
            _emit_choices(body, first, last)
        body.values = before


def _emit_choices(body: Body, first: Value, last: Value) -> None:
    """A line; if all conditions that choose between a value and 0 for the whole of it hold, without these choices. (A resized image leaves out terms of
    weight 0, which only lines at its edge have: 28 instructions for 16 channels instead of 58.)"""
    f = body.f
    choices = [instr.args[0] for number, instr in enumerate(body.instructions) if instr.attrs == ("where",) and body.is_vector(number)]
    conditions = {number: body.values[number] for number in choices if number in body.values}
    known = {number: value for number, value in conditions.items() if isinstance(value, Value) and value.text in body.masks}
    if len(choices) < _SEVERAL or not known:
        _emit_line(body, first, last)
        return
    holds = reduce(partial(f.binary, "and"), known.values())
    body.kept = frozenset(known)
    with f.when(holds), spreading.spread(body, range(len(body.instructions))):
        _emit_line(body, first, last)
    body.kept = frozenset()
    with f.when(f.binary("xor", holds, 1)):
        _emit_line(body, first, last)


def shared(body: Body) -> list[int]:
    """What all rows of a tile have in common and is dear, with what it is made of: it is computed before a vector's rows, which are the innermost
    loop then. (Places and weights for all channels of an image, say, or from where a row is gathered by a table.) Empty if each row is computed by
    itself."""
    if (
        not body.spec.outer
        or body.spec.mode != "map"
        or body.spec.staged
        or body.spec.woven
        or any(bounds_of(instr) or instr.op == "check" for instr in body.instructions)
    ):
        return []
    row = body.spec.outer - 1
    found = [
        number
        for number, instr in enumerate(body.instructions)
        if instr.op not in EFFECTS and row not in body.depends[number] and number not in body.values
    ]
    dear = [number for number in found if body.is_vector(number) and body.instructions[number].op in ("map", "cast", "gather")]
    by_table = any(index in found for index in tables.indices(body).values())
    return found if by_table or len(dear) >= SHARED else []


def _emit_rows_inside(body: Body, first: Value, last: Value, first_row: Value, last_row: Value) -> None:
    """Each vector at all rows of a tile, whose shared instructions are computed once."""
    f = body.f
    *others, row = range(body.spec.outer)
    once = shared(body)

    def by_vectors(last_row: Value) -> None:
        def do(body: Body, width: int, mask: Value | None) -> None:
            known = dict(body.values)
            for number in once:
                body.values[number] = body.compute(number, width if body.is_vector(number) else 1, mask)
            with tables.planning(body, mask), f.loop(first_row, last_row) as lines:
                body.places[row] = lines.index
                with body.along([*others, row]):
                    at_vector(body, width, mask)
            body.values = known

        whole = f.add(first, f.binary("and", f.sub(last, first), i64(-VECTOR)))
        _vectors(body, first, whole, VECTOR, do, masked=False)
        _vectors(body, whole, last, VECTOR, do)

    with body.along(others):
        number = straight.table(body)
        if number is None:
            by_vectors(last_row)
            return
        start, stop = straight.find(body, number, first, last)
        is_straight = f.compare("slt", start, stop)
        _emit_straight_rows(body, number, (first, start, stop, last), first_row, f.select(is_straight, last_row, first_row))
        by_vectors(f.select(is_straight, first_row, last_row))


def _emit_straight_rows(body: Body, number: int, line: tuple[Value, Value, Value, Value], first_row: Value, last_row: Value) -> None:
    """Rows of a tile, one after the other: what comes before a table goes straight on, one by one, then vectors, then what comes after them."""
    f = body.f
    first, start, stop, last = line
    with straight.walking(body, number, start), f.loop(first_row, last_row) as rows:
        body.places[body.spec.outer - 1] = rows.index
        known = dict(body.values)
        _hoist(body, list(range(body.spec.outer)))
        with body.along(range(body.spec.outer)):
            _emit_rest(body, start, start, stop, at_vector)
            shift, body.straight = body.straight, None
            with f.loop(0, 2) as ends:
                is_second = f.compare("ne", ends.index, 0)
                _vectors(body, f.select(is_second, stop, first), f.select(is_second, last, start), 1, at_vector, masked=False)
            body.straight = shift
        body.values = known


def _hoist(body: Body, digits: list[int]) -> None:
    for number in body.known_at(frozenset(digits), 0):
        body.values[number] = body.compute(number, 1, None)


def _emit_line(body: Body, first: Value, last: Value) -> None:
    f = body.f
    is_window = body.spec.mode == "window"
    do = window.at_vector if is_window else partial(weaving.at_vector, alone=at_vector) if body.spec.woven else at_vector
    is_narrow = all(instr.dtype.itemsize <= 4 for number, instr in enumerate(body.instructions) if body.is_vector(number))
    is_light = len(body.instructions) <= LIGHT and is_narrow and not is_window and not body.spec.woven and not tables.indices(body)
    width = VECTOR * (2 if is_light else 1)
    if any(map(bounds_of, body.instructions)):
        _emit_bounded(body, first, last, width, do)
        return
    if body.spec.whole and not is_light:
        _emit_whole(body, first, last, do)
        return
    whole = f.add(first, f.binary("and", f.sub(last, first), i64(-width)))
    _vectors(body, first, whole, width, do, masked=False)
    if body.spec.whole:
        _emit_whole(body, whole, last, do)
        return
    if is_light or body.spec.overlaps:
        whole = _emit_rest(body, first, whole, last, do)
    if body.spec.halves:
        _vectors(body, whole, last, VECTOR // 2, do, masked=False)
    else:
        _vectors(body, whole, last, VECTOR, do)


def _emit_whole(body: Body, first: Value, last: Value, do: AtVector) -> None:
    """Vectors of a line, the last of which ends where the line does, so that what is done is there once. They stream if none of them moves from its place."""
    f, streams = body.f, body.streams
    is_even = f.compare("eq", f.binary("and", body.extents[body.vector_digit], i64(VECTOR - 1)), 0)
    body.streams = {access: f.binary("and", stream, is_even) for access, stream in streams.items()}
    with f.loop(first, last, VECTOR) as vectors:
        body.places[body.vector_digit] = f.intrinsic("smin", vectors.index, f.sub(last, VECTOR))
        do(body, VECTOR, None)
    body.streams = streams


def _emit_rest(body: Body, first: Value, begin: Value, last: Value, do: AtVector) -> Value:
    """What whole vectors are left of a line, and where its places may be computed twice the last vector, too, which ends where the line does; returns
    from where on a masked one is needed. (Without masks rows of 897 floats are copied in 280 instead of 344 µs.)"""
    f = body.f
    length = f.sub(last, first)
    end = f.add(begin, f.binary("and", f.sub(last, begin), i64(-VECTOR)))
    if body.spec.overlaps:
        end = f.select(f.compare("sge", length, i64(VECTOR)), last, begin)
    streams, body.streams = body.streams, {}
    with f.loop(begin, end, VECTOR) as vectors:
        body.places[body.vector_digit] = f.intrinsic("smin", vectors.index, f.sub(last, VECTOR)) if body.spec.overlaps else vectors.index
        do(body, VECTOR, None)
    body.streams = streams
    return end


def _vectors(body: Body, first: Value, last: Value, width: int, do: AtVector, masked: bool = True) -> None:
    f = body.f
    with f.loop(first, last, width) as vectors:
        body.places[body.vector_digit] = vectors.index
        do(body, width, body.first_lanes(f.sub(last, vectors.index), width) if masked else None)


def _emit_bounded(body: Body, first: Value, last: Value, width: int, do: AtVector) -> None:
    """The border before the interior, the interior, and (in a second round, so that its code is there once) the border after it.

    Where a bound that is the same for all lanes does not hold (at the upper edge of an image, say), what is read there is left out by branches: as
    masks that would make a border of the whole line. (Gradients of a mirrored border and of means, channels last, have hardly a line in which all
    bounds hold: 3 to 5 times as fast so.)
    """
    f = body.f
    low, high, holds = _interior(body, first, last, width)
    with f.loop(0, 2) as rounds:
        is_second = f.compare("ne", rounds.index, 0)
        _vectors(body, f.select(is_second, high, first), f.select(is_second, last, low), VECTOR, do)
        body.checked = NOTHING
        _vectors(body, f.select(is_second, high, low), high if holds is None else f.select(holds, high, low), width, do, masked=False)
        if holds is not None:
            body.checked = LINES
            _vectors(body, f.select(is_second, high, f.select(holds, high, low)), high, width, do, masked=False)
        body.checked = EVERYTHING


def _interior(body: Body, first: Value, last: Value, width: int) -> tuple[Value, Value, Value | None]:
    """Where all bounds hold that differ between lanes, for all lanes of a vector, in whole vectors counted from ``first``; from ``last`` on if
    nowhere. And whether the others hold, if there are any."""
    f = body.f
    holds: Value | None = None
    low, high = first, last
    body.places[body.vector_digit] = i64(0)
    body.places.update((digit, i64(0)) for digit in body.inner)
    for bound, number in sorted({(bound, number) for number, instr in enumerate(body.instructions) for bound in bounds_of(instr)}):
        size = body.extras[number][bounds_of(body.instructions[number]).index(bound)]
        least = most = body.affine(bound)
        for digit in body.inner & body.strides[bound].keys():
            reach = f.mul(body.strides[bound][digit], f.sub(body.extents[digit], i64(1)))
            least = f.add(least, f.intrinsic("smin", reach, i64(0)))
            most = f.add(most, f.intrinsic("smax", reach, i64(0)))
        step = body.spec.accesses[bound].vector
        if step > 0:  # places p of the vector digit with 0 <= least + step * p and most + step * p < size
            round_up: Callable[[Value], Value] = lambda at, step=step: f.binary(
                "udiv", f.add(f.intrinsic("smax", at, i64(0)), step - 1), i64(step)
            )
            low = f.intrinsic("smax", low, round_up(f.sub(i64(0), least)))
            high = f.intrinsic("smin", high, round_up(f.sub(size, most)))
        elif step != 0:
            high = first
        else:
            inside = f.binary("and", f.compare("sge", least, i64(0)), f.compare("slt", most, size))
            holds = inside if holds is None else f.binary("and", holds, inside)
    low = f.add(first, f.binary("and", f.add(f.sub(low, first), width - 1), i64(-width)))
    high = f.add(first, f.binary("and", f.intrinsic("smax", f.sub(high, first), i64(0)), i64(-width)))
    somewhere = f.compare("slt", low, high)
    return f.select(somewhere, low, last), f.select(somewhere, high, last), holds


def at_vector(body: Body, width: int, mask: Value | None) -> None:
    """All instructions at one vector of places."""
    known = dict(body.values)
    with body.f.stores_together():
        for number, instr in enumerate(body.instructions):
            if instr.op in EFFECTS:
                body.effect(number, width, mask)
            elif number not in body.values:
                body.values[number] = body.compute(number, width if body.is_vector(number) else 1, mask)
    body.values = known
