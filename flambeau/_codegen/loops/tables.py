"""Gathers along a row by a table, and what the rows of a tile share of them: how neighbours are loaded and permuted (``near.Plan``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flambeau._codegen import near, scalar
from flambeau._codegen.ir import Value, i64
from flambeau._codegen.scalar import Operand
from flambeau._types import dtype as dtypes

if TYPE_CHECKING:
    from flambeau._codegen.loops.body import Body


def place(body: Body, number: int) -> int | None:
    """Which index of a gather alone moves along the lanes, if it does so within a row and is a table of ours (what users give is checked)."""
    access, _, moves = body.instructions[number].attrs
    args = body.instructions[number].args
    moving = [place for place, argument in enumerate(args) if body.is_vector(argument)]
    if len(moving) != 1 or body.spec.accesses[access].vector != 0:
        return None
    index = body.instructions[args[moving[0]]]
    return moving[0] if moves[moving[0]] and index.op == "load" and index.dtype is dtypes.int64 else None


def indices(body: Body) -> dict[int, int]:
    """The gathers along a row by a table, and for each the instruction that loads its place in the row."""
    gathers = [number for number, instr in enumerate(body.instructions) if instr.op == "gather"]
    return {number: body.instructions[number].args[at] for number in gathers if (at := place(body, number)) is not None}


def gather(body: Body, number: int, mask: Value | None, otherwise: Callable[[], Operand]) -> Operand:
    """The elements of a row, as ``indices`` says; ``otherwise`` gathers lane by lane."""
    instr, index = body.instructions[number], indices(body)[number]
    return near.gather(body.f, _row_start(body, number, index), _plan(body, number, index, mask), instr.dtype, otherwise)


def straight_on(body: Body, number: int, width: int) -> Operand:
    """The elements of a row where the table goes straight on."""
    assert body.straight is not None
    instr, index = body.instructions[number], indices(body)[number]
    place = body.f.add(body.places[body.vector_digit], body.straight)
    return scalar.load(body.f, body.element(_row_start(body, number, index), place, instr.dtype), instr.dtype, width)


@contextmanager
def planning(body: Body, mask: Value | None) -> Iterator[None]:
    """Inside, where each gather is computed whenever a later one is, gathers at the same index share what is known of it. Of indices that are
    known already that is found out here."""
    body.plans = {}
    for number, index in indices(body).items():
        value = body.values.get(index)
        if isinstance(value, Value) and value.width == near.WIDTH:
            _plan(body, number, index, mask)
    yield
    body.plans = None


def _plan(body: Body, number: int, index: int, mask: Value | None) -> near.Plan:
    of, value = body.instructions[number].dtype, body.values[index]
    assert isinstance(value, Value)
    if body.plans is not None and (value.text, of) in body.plans:
        return body.plans[value.text, of]
    found = near.plan(body.f, value, of, mask, _reach(body, index))
    if body.plans is not None:
        body.plans[value.text, of] = found
    return found


def _reach(body: Body, index: int) -> Value | None:
    """A place that a table says somewhere along the lanes, and so one that the row has: the larger of the first and the last."""
    f, digit = body.f, body.vector_digit
    access, bounds = body.instructions[index].attrs
    if bounds:
        return None
    here, ends = body.places[digit], []
    for end in (i64(0), f.sub(body.extents[digit], i64(1))):
        body.places[digit] = end
        ends.append(f.load(body.pointer(access), "i64"))
    body.places[digit] = here
    return f.intrinsic("smax", *ends)


def _row_start(body: Body, number: int, table: int) -> Value:
    """Where the row of a gather begins along which one of its indices moves."""
    f, instr = body.f, body.instructions[number]
    start = body.pointer(instr.attrs[0])
    for argument, stride in zip(instr.args, body.extras[number], strict=True):
        if argument != table:
            index = body.values[argument]
            assert isinstance(index, Value)
            start = body.element(start, f.mul(index, stride), instr.dtype)
    return start
