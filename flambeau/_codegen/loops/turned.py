"""Short rows that a window reads or writes, of which each lane has one: they are turned, so that what the lanes have lies side by side.

Before: each of the ten numbers of a row is loaded for 16 rows, lane by lane. After: 16 rows are transposed in registers to a *square* in memory, whose
lines are positions; what is to be written waits in another one, and is transposed back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flambeau._codegen import scalar
from flambeau._codegen.ir import Builder, Value, element_type, i64
from flambeau._codegen.loops.spec import ACROSS, VECTOR
from flambeau._codegen.squares import transpose
from flambeau._types.dtype import dtype as DType

if TYPE_CHECKING:
    from flambeau._codegen.loops.body import Body


@contextmanager
def rows(body: Body, mask: Value | None) -> Iterator[None]:
    """Inside, loads and stores that lie across read and write lines of squares, which are filled before and written out after."""
    instrs = body.instructions
    moves = [(number, instr) for number, instr in enumerate(instrs) if instr.op in ("load", "store")]
    numbers = [number for number, instr in moves if body.spec.accesses[instr.attrs[0]].vector == ACROSS]
    if not numbers:
        yield
        return
    count = body.spec.window[-1]
    lines = -(-count // VECTOR) * VECTOR
    width = i64(VECTOR) if mask is None else body.counts[mask.text]
    body.squares = {number: body.f.alloca(f"<{VECTOR} x {scalar.memory_type(instrs[number].dtype)}>", lines) for number in numbers}
    for number in numbers:
        if instrs[number].op == "load":
            _read(body, number, width, count)
    yield
    for number in numbers:
        if instrs[number].op == "store":
            _write(body, number, width, count)
    body.squares = {}


def line(body: Body, number: int) -> Value:
    """The address of the line of a square that belongs to the present position."""
    place = body.f.mul(body.places[body.spec.run_digits[-1]], i64(VECTOR))
    return body.element(body.squares[number], place, body.instructions[number].dtype)


def _start(body: Body, number: int) -> tuple[Value, Value]:
    """Where the rows of the lanes begin, and how far they are apart."""
    access, (digit,) = body.instructions[number].attrs[0], body.spec.run_digits
    before = body.places.get(digit)
    body.places[digit] = i64(0)
    start = body.pointer(access)
    if before is not None:
        body.places[digit] = before
    return start, body.strides[access][body.vector_digit]


def _read(body: Body, number: int, width: Value, count: int) -> None:
    f, of = body.f, body.instructions[number].dtype
    start, step = _start(body, number)
    # Where rows follow, a part of them may be read, too: blocks without masks.
    beyond = -(-(-count % VECTOR) // count)
    digit = body.vector_digit
    follows = f.compare("sle", f.add(body.places[digit], VECTOR + beyond), body.extents[digit])
    may_pass = f.binary("and", follows, f.compare("sge", step, count))
    with f.loop(0, count, VECTOR) as blocks:
        height = f.select(may_pass, i64(VECTOR), f.intrinsic("smin", f.sub(i64(count), blocks.index), i64(VECTOR)))
        square = body.element(body.squares[number], f.mul(blocks.index, i64(VECTOR)), of)
        turn(body, of, body.element(start, blocks.index, of), step, f.intrinsic("smin", width, i64(VECTOR)), height, square)


def _write(body: Body, number: int, width: Value, count: int) -> None:
    f, of = body.f, body.instructions[number].dtype
    type = scalar.memory_type(of)
    start, step = _start(body, number)
    turned = f.alloca(f"<{VECTOR} x {type}>", VECTOR)
    with f.loop(0, count, VECTOR) as blocks:
        here = f.intrinsic("smin", f.sub(i64(count), blocks.index), i64(VECTOR))
        square = body.element(body.squares[number], f.mul(blocks.index, i64(VECTOR)), of)
        turn(body, of, square, i64(VECTOR), here, i64(VECTOR), turned)
        with f.loop(0, f.intrinsic("smin", width, i64(VECTOR))) as lanes:
            row = f.load(f.offset(turned, f.mul(lanes.index, i64(VECTOR)), type), f"<{VECTOR} x {type}>")
            place = body.element(start, f.add(f.mul(lanes.index, step), blocks.index), of)
            if count % VECTOR == 0:
                f.store(row, place)
            elif "avx512f" in f.module.features:
                f.masked_store(row, place, f.lane_mask(here, VECTOR))
            else:
                f.store_first(row, place, here)


# -- squares -----------------------------------------------------------------------------------------------------------


def turn(body: Body, of: DType, start: Value, step: Value, width: Value, height: Value, square: Value) -> None:
    """Transpose `VECTOR` lines of as many elements, `step` apart, of which so many (`width`) are there, and so many elements (`height`) of each."""
    type = scalar.memory_type(of)
    name = f"turn_{type}"
    if not body.f.module.has_function(name):
        _emit_turn(body, name, type)
    body.f.call(f"@{name}", start, step, width, height, square)


def _emit_turn(body: Body, name: str, type: str) -> None:
    """A function ``turn(start, step, width, height, square)``, which kernels share."""
    parameters = [("ptr", "start"), ("i64", "step"), ("i64", "width"), ("i64", "height"), ("ptr", "square")]
    f = body.f.module.function(name, parameters, linkage="internal", attributes="noinline")
    start, step, width, height, square = f.parameters
    vector = f"<{VECTOR} x {type}>"
    copy = f.alloca(vector, VECTOR)
    full = f.binary("and", f.compare("sge", width, i64(VECTOR)), f.compare("sge", height, i64(VECTOR)))
    with f.when(f.binary("xor", full, 1)):  # what lies in memory is copied; lines beyond the last one read that one again
        mask, last = f.lane_mask(height, VECTOR), f.sub(width, i64(1))
        with f.loop(0, VECTOR) as line:
            value = f.masked_load(f.offset(start, f.mul(step, f.intrinsic("smin", line.index, last)), type), mask, vector)
            f.store(value, f.offset(copy, f.mul(line.index, i64(VECTOR)), type), align=min(64, VECTOR))
    start, step = f.select(full, start, copy), f.select(full, step, i64(VECTOR))
    lines = [f.load(f.offset(start, f.mul(step, i64(line)), type), vector) for line in range(VECTOR)]
    for line, value in enumerate(transposed(f, lines)):
        f.store(value, f.offset(square, line * VECTOR, type), align=min(64, VECTOR))
    f.ret()


def transposed(f: Builder, lines: list[Value]) -> list[Value]:
    """A square of vectors, transposed.

    Bytes: as often as the size is a power of two, line ``i`` is interleaved with line ``i + half``. Wider elements: first squares of four, side by
    side in four lines, since AVX2 shuffles within quads of lanes, then squares of such squares change places. Floats so took LLVM 18 ms and not 121
    on a processor with AVX2, and the processor a third of the instructions.
    """
    size = len(lines)
    if element_type(lines[0].type) == "i8":
        half = size // 2
        low = [lane // 2 + (lane % 2) * size for lane in range(size)]
        high = [lane + half for lane in low]
        for _ in range(size.bit_length() - 1):
            pairs = [(lines[line], lines[line + half]) for line in range(half)]
            lines = [f.shuffle(a, b, lanes) for a, b in pairs for lanes in (low, high)]
        return lines
    quads = [_quad(f, *lines[line : line + 4]) for line in range(0, size, 4)]
    return transpose(f, [line for quad in quads for line in quad], 4)


def _quad(f: Builder, *lines: Value) -> list[Value]:
    """Four lines, in which each square of four is transposed."""
    size = lines[0].width

    def shuffle(a: Value, b: Value, *order: int) -> Value:
        """Of each quad of lanes of ``a`` (0 to 3) and ``b`` (4 to 7) some in order."""
        return f.shuffle(a, b, [group + lane + (lane > 3) * (size - 4) for group in range(0, size, 4) for lane in order])

    low = [shuffle(*pair, 0, 4, 1, 5) for pair in (lines[:2], lines[2:])]
    high = [shuffle(*pair, 2, 6, 3, 7) for pair in (lines[:2], lines[2:])]
    return [shuffle(*pair, *order) for pair in (low, high) for order in ((0, 1, 4, 5), (2, 3, 6, 7))]
