"""Maps that read along one digit and write along another (a transposed copy): square blocks are turned in registers.

Along the last outer digit, the *row digit*, some loads move by one element. A block is ``VECTOR`` places of either digit: for each such
load its ``VECTOR`` vectors along the row digit are loaded, transposed, and left in a small square of memory, from which the instructions
then read as they would from a tensor that lies the other way.
"""

from __future__ import annotations

from flambeau._codegen import scalar
from flambeau._codegen.ir import Builder, Value, element_type, i64
from flambeau._codegen.loops.body import Body
from flambeau._codegen.loops.maps import at_vector
from flambeau._codegen.loops.spec import ACROSS, VECTOR, Instr
from flambeau._codegen.squares import transpose

ROWS, COLUMNS = 64, 256
"""Places of the row digit and of the vector digit in a tile."""


def is_across(body: Body, instr: Instr) -> bool:
    return instr.op == "load" and body.spec.accesses[instr.attrs[0]].vector == ACROSS and not instr.attrs[1]


def emit_tiled(body: Body) -> None:
    f = body.f
    row_digit = body.spec.outer - 1
    rows, columns = body.extents[row_digit], body.extents[body.vector_digit]
    row_blocks = f.binary("udiv", f.add(rows, ROWS - 1), i64(ROWS))
    column_blocks = f.binary("udiv", f.add(columns, COLUMNS - 1), i64(COLUMNS))
    per_place = f.mul(row_blocks, column_blocks)
    loads = [number for number, instr in enumerate(body.instructions) if is_across(body, instr)]
    squares = {number: f.alloca(f"<{VECTOR} x {scalar.memory_type(body.instructions[number].dtype)}>", VECTOR) for number in loads}
    known = dict(body.values)
    outer = list(range(row_digit))
    with f.loop(body.begin, body.end) as tiles:
        place = f.binary("udiv", tiles.index, per_place)
        block = f.sub(tiles.index, f.mul(place, per_place))
        body.unravel(place, outer)
        row_block = f.binary("udiv", block, column_blocks)
        first_row = f.mul(row_block, i64(ROWS))
        first_column = f.mul(f.sub(block, f.mul(row_block, column_blocks)), i64(COLUMNS))
        last_row = f.intrinsic("smin", f.add(first_row, ROWS), rows)
        last_column = f.intrinsic("smin", f.add(first_column, COLUMNS), columns)
        for number in body.known_at(frozenset(outer), 0):
            body.values[number] = body.compute(number, 1, None)
        with f.loop(first_column, last_column, VECTOR) as across, f.loop(first_row, last_row, VECTOR) as down:
            width = f.sub(last_column, across.index)
            height = f.intrinsic("smin", f.sub(last_row, down.index), i64(VECTOR))
            body.places[body.vector_digit], body.places[row_digit] = across.index, down.index
            for number in loads:
                _turn(body, number, squares[number], width, height)
            for whole in (True, False):
                fits = f.compare("sge", width, i64(VECTOR))
                with f.loop(0, f.select(fits if whole else f.binary("xor", fits, 1), height, i64(0))) as lines:
                    body.places[row_digit] = f.add(down.index, lines.index)
                    for number in loads:
                        of = body.instructions[number].dtype
                        body.across[number] = body.element(squares[number], f.mul(lines.index, i64(VECTOR)), of)
                    at_vector(body, VECTOR, None if whole else body.first_lanes(width, VECTOR))
        body.across.clear()
        body.values = dict(known)
        body.places.clear()


def _turn(body: Body, number: int, square: Value, width: Value, height: Value) -> None:
    """Fill a square: line ``i`` holds what the load reads at the ``i``-th place of the row digit, along the vector digit."""
    instr = body.instructions[number]
    access = instr.attrs[0]
    type = scalar.memory_type(instr.dtype)
    name = f"turn_{type}"
    if not body.f.module.has_function(name):
        _emit_turn(body, name, type)
    body.f.call(f"@{name}", body.pointer(access), body.strides[access][body.vector_digit], width, height, square)


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
