"""Nests whose results each reduce a few positions (a pooling window, a group's channels), which are written out.

The extents of the reduced digits are part of the spec. Lanes are neighbouring results, as in a map, whose tiles these nests have; the running
sums of ``docs/design/0003-reductions.md`` are registers, one for each position of the run (and the 32nd after it), folded by halves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from flambeau._codegen import scalar
from flambeau._codegen.ir import Value, i64
from flambeau._codegen.loops import tables
from flambeau._codegen.loops.body import Body
from flambeau._codegen.loops.reducing import add_to_total, combine, neutral, take, total_dtype
from flambeau._codegen.loops.spec import EFFECTS, LANES, VECTOR
from flambeau._codegen.scalar import Operand

Memory = dict[tuple[int, tuple[int, ...]], Operand]
"""What instructions gave, by number and the places of the inner digits that they depend on."""


def at_vector(body: Body, width: int, mask: Value | None) -> None:
    """All instructions, for one vector of results."""
    with tables.planning(body, mask):
        _at_vector(body, width, mask)


def _at_vector(body: Body, width: int, mask: Value | None) -> None:
    known = dict(body.values)
    memory = dict(body.once)
    stored: set[int] = set()
    for phase in range(body.phases):
        reductions, effects = body.wanted(phase)
        lanes: dict[int, dict[int, Operand]] = {number: {} for number in reductions}
        needs = body.needed((*reductions, *effects))
        before = dict(body.values)
        for position, places in _positions(body):
            _compute(body, needs, places, memory, width, mask)
            for number in effects:
                body.effect(number, width, mask)
            for number in reductions:
                _add(body, number, lanes[number], position % LANES, width)
            body.values = dict(before)
        for number in reductions:
            body.values[number] = _total(body, number, _folded(body, number, lanes[number]))
        for number, instr in enumerate(body.instructions):
            if instr.op in EFFECTS and number not in stored and not body.is_inner(number) and body.phase[number] <= phase + 1:
                body.effect(number, width, mask)
                stored.add(number)
    body.values = known


def once_a_line(body: Body) -> Memory:
    """What is the same for all lanes, at each position: a window's weights, which elements count. It is computed before a line's vectors."""
    numbers = [
        number
        for number, instr in enumerate(body.instructions)
        if instr.op not in (*EFFECTS, "reduce") and body.phase[number] == 0 and body.is_inner(number) and not body.is_vector(number)
    ]
    memory: Memory = {}
    known = dict(body.values)
    if numbers:
        for _, places in _positions(body):
            _compute(body, numbers, places, memory, 1, None)
            body.values = dict(known)
    return {key: body.spread(key[0], value, VECTOR) if body.is_spread(key[0]) else value for key, value in memory.items()}


def _positions(body: Body) -> Iterator[tuple[int, dict[int, int]]]:
    """The positions of the run, line after line, with the places of the inner digits."""
    spec = body.spec
    digits = (*spec.reduced_digits, *spec.run_digits)
    lines, run = spec.window[: spec.reduced], spec.window[spec.reduced :]
    for line in product(*map(range, lines)):
        for position, places in enumerate(product(*map(range, run))):
            yield position, dict(zip(digits, (*line, *places), strict=True))


def _compute(body: Body, needs: Sequence[int], places: dict[int, int], memory: Memory, width: int, mask: Value | None) -> None:
    """Compute instructions at one position; what was there already for another one that they do not tell apart is kept."""
    body.places.update((digit, i64(place)) for digit, place in places.items())
    for number in needs:
        key = number, tuple(place for digit, place in places.items() if digit in body.depends[number])
        if key not in memory:
            memory[key] = body.compute(number, width if body.is_vector(number) else 1, mask)
        body.values[number] = memory[key]


def _add(body: Body, number: int, lanes: dict[int, Operand], lane: int, width: int) -> None:
    instr = body.instructions[number]
    item = body.widened(instr.args[0], width if body.is_vector(number) else 1)
    if lane in lanes:
        lanes[lane] = take(body.f, instr, lanes[lane], item)
    elif instr.dtype.is_complex or instr.attrs[0] == "squares":
        start = neutral(instr, instr.dtype, scalar.unpack(item)[0].width)
        lanes[lane] = take(body.f, instr, scalar.pack(start), item)
    else:  # the neutral element only turns -0.0 into 0.0, which the total does again
        lanes[lane] = item


def _folded(body: Body, number: int, lanes: dict[int, Operand]) -> Operand:
    """Combine lanes by halves; those that no position belongs to are left out, being neutral."""
    half, count = LANES // 2, len(lanes)
    while half:
        for lane in range(min(count - half, half)):
            lanes[lane] = combine(body.f, body.instructions[number], lanes[lane], lanes[lane + half])
        half //= 2
    return lanes[0]


def _total(body: Body, number: int, item: Operand) -> Operand:
    """The only chunk's sum, added to a total that is neutral: in double precision it would be the same number."""
    instr = body.instructions[number]
    width = scalar.unpack(item)[0].width
    if not instr.dtype.is_complex:
        return combine(body.f, instr, scalar.pack(neutral(instr, instr.dtype, width)), item)
    wide = total_dtype(instr)
    return scalar.cast(body.f, add_to_total(body.f, instr, scalar.pack(neutral(instr, wide, width)), item), wide, instr.dtype)
