"""Gathers from columns: ``out[i, j] = source[index[i, j], j]``.

Each row of the result would walk through all of the source, which is a cache line for each element if it is larger than the cache. Instead a
tile is a piece of all rows, and begins with a copy of the source's columns that it reads, in scratch memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau._codegen import pieces, scalar
from flambeau._codegen.ir import Value, constant, constant_vector, i64

if TYPE_CHECKING:
    from flambeau._codegen.loops.body import Body


def stage(body: Body, first: Value, last: Value) -> None:
    """Copy what the gathers of a tile read, along the vector digit from ``first`` to ``last``."""
    body.places[body.vector_digit], body.places[body.spec.outer - 1] = first, i64(0)
    start = body.scratch
    for number, position in zip(body.spec.staged, body.parameters.staged, strict=True):
        start = _copied(body, number, body.parameter(position), start, first, last)


def _copied(body: Body, number: int, rows: Value, start: Value, first: Value, last: Value) -> Value:
    """Copy what one gather reads to ``start``; returns where the copy ends."""
    f, of, (stride,) = body.f, body.instructions[number].dtype, body.extras[number]
    pitch, origin = body.parameter(body.parameters.piece), body.pointer(body.instructions[number].attrs[0])

    def row(base: Value, step: Value, row: Value) -> Value:
        return body.element(base, f.mul(row, step), of)

    nbytes = f.mul(f.sub(last, first), i64(of.itemsize))
    pieces.copy_rows(f, rows, lambda at: row(start, pitch, at), lambda at: row(origin, stride, at), nbytes)
    body.staged[number] = body.element(start, f.sub(i64(0), first), of), pitch
    return row(start, pitch, rows)


def source(body: Body, number: int) -> tuple[Value, list[Value]]:
    """Where a staged gather starts at the present place, and how far its index moves it."""
    start, pitch = body.staged[number]
    return body.element(start, body.places[body.vector_digit], body.instructions[number].dtype), [pitch]


def gather(body: Body, number: int, index: scalar.Operand, width: int, mask: Value | None) -> scalar.Operand:
    """The elements at an index: the copy is small, so that places have 32 bits, which is one gather of 16 lanes instead of two of 8."""
    f, of = body.f, body.instructions[number].dtype
    start, (pitch,) = source(body, number)
    assert isinstance(index, Value)
    place = f.mul(f.cast("trunc", index, f"<{width} x i32>"), f.splat(f.cast("trunc", pitch, "i32"), width))
    place = f.add(place, constant_vector("i32", range(width)))
    if mask is not None:  # lanes beyond the end may hold any index
        place = f.select(mask, place, constant(place.type, 0))
    return scalar.load_strided(f, start, place, of, width, mask)
