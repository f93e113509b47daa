"""Tables that mostly go straight on, as those of padding do: from place to place by one, but for a few places at either end of a line.

Between these a gather is a load. A border of 1 around 64² takes half of what it took as vectors that are permuted (one of halves a quarter).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flambeau._codegen.ir import Value, constant_vector, i64
from flambeau._codegen.loops import tables
from flambeau._codegen.loops.spec import VECTOR

if TYPE_CHECKING:
    from flambeau._codegen.loops.body import Body

_MOST_ENDS = 8
"""Places at either end of a line, which are copied one by one."""


def table(body: Body) -> int | None:
    """The instruction that loads the only table of a nest, if its places may be computed twice."""
    found = set(tables.indices(body).values())
    if len(found) != 1 or not body.spec.overlaps:
        return None
    (number,) = found
    access, bounds = body.instructions[number].attrs
    return number if not bounds and body.spec.accesses[access].vector == 1 else None


def find(body: Body, number: int, first: Value, last: Value) -> tuple[Value, Value]:
    """From where to where on a line, between ``first`` and ``last``, a table goes straight on: nowhere, or all but a few places and a vector at least."""
    f, digit = body.f, body.vector_digit
    start, stop = f.alloca("i64"), f.alloca("i64")
    f.store(first, start)
    f.store(first, stop)
    access = body.instructions[number].attrs[0]

    def ahead(at: Value) -> Value:
        """How far a place of the line is behind what the table says."""
        body.places[digit] = at
        return f.sub(f.load(body.pointer(access), "i64"), at)

    with f.when(f.compare("sge", f.sub(last, first), i64(VECTOR + 2 * _MOST_ENDS))):
        middle = f.binary("lshr", f.add(first, last), i64(1))
        shift = ahead(middle)
        with f.loop(0, _MOST_ENDS, 1, [first, last]) as steps:
            low, high = steps.carried
            low = f.select(f.compare("eq", ahead(low), shift), low, f.add(low, 1))
            high = f.select(f.compare("eq", ahead(f.sub(high, 1)), shift), high, f.sub(high, 1))
            steps.carry(low, high)
        low, high = steps.carried
        with f.loop(low, high, VECTOR, [f.compare("eq", first, first)]) as vectors:
            body.places[digit] = at = f.intrinsic("smin", vectors.index, f.sub(high, VECTOR))
            wanted = f.add(constant_vector("i64", range(VECTOR)), f.splat(f.add(at, shift), VECTOR))
            equal = f.compare("eq", f.load(body.pointer(access), wanted.type), wanted)
            is_straight = f.compare("eq", f.cast("bitcast", equal, f"i{VECTOR}"), -1)
            vectors.carry(f.binary("and", vectors.carried[0], is_straight))
        with f.when(vectors.carried[0]):
            f.store(low, start)
            f.store(high, stop)
    return f.load(start, "i64"), f.load(stop, "i64")


@contextmanager
def walking(body: Body, number: int, start: Value) -> Iterator[None]:
    """Inside, gathers by a table read straight on from what it says at ``start``."""
    f, digit = body.f, body.vector_digit
    here = body.places.get(digit)
    body.places[digit] = start
    first = f.load(body.pointer(body.instructions[number].attrs[0]), "i64")
    if here is not None:
        body.places[digit] = here
    body.straight = f.sub(first, start)
    yield
    body.straight = None
