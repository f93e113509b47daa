"""Maps that read or write interleaved elements, two to four of which lie side by side: the channels of pixels, the parts of a pixel that is shuffled.

Along the *woven* digits, the last ones before the vector digit, some accesses move from one neighbour to the next, and along the vector digit from group to
group. All places of the woven digits are done together, so that groups are whole vectors in memory: shuffles take them apart, or put them together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import product
from math import prod
from typing import TYPE_CHECKING

from flambeau._codegen import scalar
from flambeau._codegen.ir import Builder, Value, bits, i64, vector
from flambeau._codegen.loops.spec import EFFECTS, VECTOR, Instr

if TYPE_CHECKING:
    from flambeau._codegen.loops.body import Body


def at_vector(body: Body, width: int, mask: Value | None, alone: Callable[[Body, int, Value | None], None]) -> None:
    """All instructions at one vector of places, for each place of the woven digits; with a mask place by place, as ``alone`` does one."""
    if mask is not None:
        with ExitStack() as loops:
            for digit in body.spec.woven_digits:
                body.places[digit] = loops.enter_context(body.f.loop(0, body.extents[digit])).index
            alone(body, width, mask)
        return
    woven = [number for number, instr in enumerate(body.instructions) if _is_woven(body, instr)]
    start = [0] * len(body.spec.woven)
    _go_to(body, start)
    apart = {number: _loaded(body, number) for number in woven if body.instructions[number].op == "load"}
    together: dict[int, list[Value]] = {number: [] for number in woven if number not in apart}
    known = dict(body.values)
    for position, place in enumerate(product(*map(range, body.spec.woven))):
        _go_to(body, place)
        body.values = known | {number: parts[position] for number, parts in apart.items()}
        for number, instr in enumerate(body.instructions):
            if number in together:
                body.require(instr.args[0], width, None)
                value = body.widened(instr.args[0], width)
                assert isinstance(value, Value)
                together[number].append(value)
            elif instr.op in EFFECTS:
                body.effect(number, width, None)
    _go_to(body, start)
    for number, parts in together.items():
        _store(body, number, parts)
    body.values = known


def _go_to(body: Body, place: Sequence[int]) -> None:
    body.places.update((digit, i64(at)) for digit, at in zip(body.spec.woven_digits, place, strict=True))


def _is_woven(body: Body, instr: Instr) -> bool:
    return instr.op in ("load", "store") and body.spec.accesses[instr.attrs[0]].vector == prod(body.spec.woven)


def _loaded(body: Body, number: int) -> list[Value]:
    """What a load gives at each place of the woven digits."""
    f, instr = body.f, body.instructions[number]
    pointer, type = body.pointer(instr.attrs[0]), scalar.memory_type(instr.dtype)
    count = prod(body.spec.woven)
    if bits(type) == 32:
        parts = _APART[count](f, [_line(f, pointer, line, count, type) for line in range(count)])
    else:
        whole = [f.load(f.offset(pointer, part * VECTOR, type), vector(type, VECTOR)) for part in range(count)]
        parts = [_picked(f, whole, place) for place in range(count)]
    return [scalar.from_memory(f, part, instr.dtype) for part in parts]


def _store(body: Body, number: int, parts: list[Value]) -> None:
    """Store what an instruction is given at each place of the woven digits."""
    f, instr = body.f, body.instructions[number]
    pointer, type = body.pointer(instr.attrs[0]), scalar.memory_type(instr.dtype)
    parts = [scalar.to_memory(f, part, instr.dtype) for part in parts]
    whole = _in_quads(f, _TOGETHER[len(parts)](f, parts)) if bits(type) == 32 else _zipped(f, parts)
    for part, value in enumerate(whole):
        f.store(value, f.offset(pointer, part * VECTOR, type))


# -- elements of 32 bits: in quads of lanes, within which AVX2 shuffles ------------------------------------------------

_QUAD = 4
Lines = list[Value]


def _line(f: Builder, pointer: Value, line: int, count: int, type: str) -> Value:
    """The quads of memory at ``line``, ``line + count``, and so on, side by side."""
    places = [_QUAD * (line + count * quad) for quad in range(VECTOR // _QUAD)]
    return _joined(f, [f.load(f.offset(pointer, place, type), vector(type, _QUAD)) for place in places])


def _in_quads(f: Builder, lines: Lines) -> Lines:
    """The first quads of all lines, then the second ones, and so on, as whole vectors."""
    quads = [(line, range(first, first + _QUAD)) for first in range(0, VECTOR, _QUAD) for line in lines]
    result = []
    for start in range(0, len(quads), _QUAD):
        pairs = [(quads[start + at], quads[start + at + 1]) for at in (0, 2)]
        result.append(
            _joined(f, [f.shuffle(one, other, [*here, *(VECTOR + lane for lane in there)]) for (one, here), (other, there) in pairs])
        )
    return result


def _joined(f: Builder, parts: list[Value]) -> Value:
    while len(parts) > 1:
        parts = [f.shuffle(low, high, range(2 * low.width)) for low, high in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _shuffled(f: Builder, low: Value, high: Value, order: str) -> Value:
    """Of each quad of two lines the lanes that ``order`` names: 0 to 3 those of the first, 4 to 7 those of the second."""
    lanes = [int(lane) for lane in order]
    return f.shuffle(low, high, [quad + lane + (lane >= _QUAD) * (VECTOR - _QUAD) for quad in range(0, VECTOR, _QUAD) for lane in lanes])


def _twos(f: Builder, lines: Lines) -> Lines:
    return [_shuffled(f, *lines, order) for order in ("0246", "1357")]


def _from_twos(f: Builder, parts: Lines) -> Lines:
    return [_shuffled(f, *parts, order) for order in ("0415", "2637")]


def _threes(f: Builder, lines: Lines) -> Lines:
    a, b, c = lines  # xyzx yzxy zxyz
    xy, yz = _shuffled(f, b, c, "2356"), _shuffled(f, a, b, "1245")
    return [_shuffled(f, a, xy, "0346"), _shuffled(f, yz, xy, "0257"), _shuffled(f, yz, c, "1347")]


def _from_threes(f: Builder, parts: Lines) -> Lines:
    x, y, z = parts
    xy, yz, zx = _shuffled(f, x, y, "0246"), _shuffled(f, y, z, "1357"), _shuffled(f, z, x, "0257")
    return [_shuffled(f, xy, zx, "0246"), _shuffled(f, yz, xy, "0257"), _shuffled(f, zx, yz, "1357")]


def _fours(f: Builder, lines: Lines) -> Lines:
    """Each quad of four lines, transposed."""
    low = [_shuffled(f, *pair, "0415") for pair in (lines[:2], lines[2:])]
    high = [_shuffled(f, *pair, "2637") for pair in (lines[:2], lines[2:])]
    return [_shuffled(f, *pair, order) for pair in (low, high) for order in ("0145", "2367")]


_APART = {2: _twos, 3: _threes, 4: _fours}
"""From lines of quads to one vector for each place in a group."""
_TOGETHER = {2: _from_twos, 3: _from_threes, 4: _fours}
"""The inverse."""


# -- others ------------------------------------------------------------------------------------------------------------


def _picked(f: Builder, whole: list[Value], place: int) -> Value:
    """One element of each group."""
    count = len(whole)
    lanes = [divmod(place + count * lane, VECTOR) for lane in range(VECTOR)]
    found = f.shuffle(whole[0], whole[1], [at + VECTOR * part if part < 2 else -1 for part, at in lanes])
    for more in range(2, count):
        found = f.shuffle(found, whole[more], [VECTOR + at if part == more else lane for lane, (part, at) in enumerate(lanes)])
    return found


def _zipped(f: Builder, parts: list[Value]) -> list[Value]:
    """Groups of one lane of each part."""
    count = len(parts)
    result = []
    for start in range(0, count * VECTOR, VECTOR):
        lanes = [divmod(start + at, count) for at in range(VECTOR)]
        found = f.shuffle(parts[0], parts[1], [lane + VECTOR * part if part < 2 else -1 for lane, part in lanes])
        for more in range(2, count):
            found = f.shuffle(found, parts[more], [VECTOR + lane if part == more else at for at, (lane, part) in enumerate(lanes)])
        result.append(found)
    return result
