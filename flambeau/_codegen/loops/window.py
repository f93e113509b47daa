"""Nests whose results each reduce a few positions (a pooling window, a group's channels), which are written out.

The extents of the reduced digits are part of the spec. Lanes are neighbouring results, as in a map, whose tiles these nests have; the running
sums of ``docs/design/0003-reductions.md`` are registers, one for each position of the run (and the 32nd after it), folded by halves.

Where functions make each position long (a softmax of ten classes), positions are a loop, of which only the folding is written out, in a line's last
vector, and in all vectors of what is small (``LoopSpec.keep``). What a later phase needs waits in memory of the stack, a vector for each position.
That takes up to twice as long, and a quarter of the code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from flambeau._codegen import scalar
from flambeau._codegen.ir import Value, i64
from flambeau._codegen.loops import tables, turned
from flambeau._codegen.loops.body import Body
from flambeau._codegen.loops.reducing import combine, neutral, take
from flambeau._codegen.loops.spec import COSTLY, EFFECTS, LANES, VECTOR
from flambeau._codegen.scalar import Operand

Memory = dict[tuple[int, tuple[int, ...]], Operand]
"""What instructions gave, by number and the places of the inner digits that they depend on."""
Lanes = dict[int, dict[int, Operand]]
"""What is in the lanes of reductions, by number and lane."""
Waiting = dict[int, list[tuple[Value, str]]]
"""The arrays in which what instructions gave waits, part by part, with the types of their elements."""


def at_vector(body: Body, width: int, mask: Value | None) -> None:
    """All instructions, for one vector of results."""
    with tables.planning(body, mask), turned.rows(body, mask):
        _at_vector(body, width, mask)


def _at_vector(body: Body, width: int, mask: Value | None) -> None:
    known = dict(body.values)
    memory = dict(body.once)
    waiting: Waiting = {}
    is_rolled = _may_be_rolled(body)
    stored: set[int] = set()
    for phase in range(body.phases):
        if is_rolled and (body.spec.keep or mask is not None):
            reductions, lanes = _rolled(body, phase, waiting, width, mask)
        else:
            reductions, lanes = _written_out(body, phase, memory, width, mask)
        for number in reductions:
            body.values[number] = _total(body, number, _folded(body, number, lanes[number]))
        for number, instr in enumerate(body.instructions):
            if instr.op in EFFECTS and number not in stored and not body.is_inner(number) and body.phase[number] <= phase + 1:
                body.effect(number, width, mask)
                stored.add(number)
    body.values = known


def _written_out(body: Body, phase: int, memory: Memory, width: int, mask: Value | None) -> tuple[list[int], Lanes]:
    """A phase's work at one position after the other; its reductions, and what is in the lanes of each."""
    reductions, effects = body.wanted(phase)
    lanes: Lanes = {number: {} for number in reductions}
    needs = body.needed((*reductions, *effects))
    before = dict(body.values)
    for position, places in _positions(body):
        _compute(body, needs, places, memory, width, mask)
        for number in effects:
            body.effect(number, width, mask)
        for number in reductions:
            _add(body, number, lanes[number], position % LANES, width)
        body.values = dict(before)
    return reductions, lanes


def _may_be_rolled(body: Body) -> bool:
    """Whether positions, each of which has a lane of its own, may be a loop (in which gathers could not share what they find out)."""
    instrs = enumerate(body.instructions)
    is_costly = any(
        instr.op == "map" and instr.attrs[0] in COSTLY and body.is_vector(number) and body.is_inner(number) for number, instr in instrs
    )
    is_short = not body.spec.reduced and len(body.spec.run_digits) == 1 and body.spec.window[0] <= LANES
    return is_costly and is_short and all(instr.op != "gather" and not instr.dtype.is_complex for instr in body.instructions)


def _rolled(body: Body, phase: int, waiting: Waiting, width: int, mask: Value | None) -> tuple[list[int], Lanes]:
    """The same as a loop over positions."""
    f = body.f
    (digit,), (count,) = body.spec.run_digits, body.spec.window
    reductions, effects = body.wanted(phase)
    needs = body.needed((*reductions, *effects), waiting)
    users = [body.instructions[number] for number in (*needs, *reductions, *effects)]
    before = dict(body.values)

    kept_after = {
        argument for number in (*reductions, *effects) for argument in body.instructions[number].args if body.is_inner(argument)
    } | {
        number for number in needs if any(number in instr.args and body.phase[user] > phase for user, instr in enumerate(body.instructions))
    }

    def kept(number: int, position: Value) -> Operand:
        return scalar.pack([f.load(f.offset(array, position, type), type) for array, type in waiting[number]])

    with f.loop(0, count) as positions:
        body.places[digit] = positions.index
        for number in sorted({argument for instr in users for argument in instr.args} & waiting.keys()):
            body.values[number] = kept(number, positions.index)
        for number in needs:
            body.values[number] = body.compute(number, width if body.is_vector(number) else 1, mask)
        for number in sorted(kept_after - waiting.keys()):
            parts = scalar.unpack(body.values[number])
            waiting[number] = [(f.alloca(part.type, count), part.type) for part in parts]
            for part, (array, type) in zip(parts, waiting[number], strict=True):
                f.store(part, f.offset(array, positions.index, type))
    body.values = dict(before)
    if effects:
        with f.loop(0, count) as positions:
            body.places[digit] = positions.index
            for number in effects:
                for argument in waiting.keys() & body.instructions[number].args:
                    body.values[argument] = kept(argument, positions.index)
                body.effect(number, width, mask)
        body.values = dict(before)
    lanes: Lanes = {number: {} for number in reductions}
    for number, place in product(reductions, range(count)):
        (argument,) = body.instructions[number].args
        body.values[argument] = kept(argument, i64(place))
        _add(body, number, lanes[number], place % LANES, width)
    body.values = before
    return reductions, lanes


def once_a_line(body: Body) -> Memory:
    """What is the same for all lanes, at each position: a window's weights, which elements count. It is computed before a line's vectors."""
    if body.spec.keep and _may_be_rolled(body):
        return {}
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
    start = neutral(instr, instr.dtype, scalar.unpack(item)[0].width)
    return combine(body.f, instr, scalar.pack(start), item)
