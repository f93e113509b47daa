"""Maps that read along one digit and write along another (a transposed copy): square blocks are turned in registers.

Along the last outer digit, the *row digit*, some loads move by one element. A block is ``VECTOR`` places of either digit: for each such
load its ``VECTOR`` vectors along the row digit are loaded, transposed, and left in a small square of memory, from which the instructions
then read as they would from a tensor that lies the other way.
"""

from __future__ import annotations

from flambeau._codegen import scalar
from flambeau._codegen.ir import Value, i64
from flambeau._codegen.loops.body import Body
from flambeau._codegen.loops.maps import at_vector
from flambeau._codegen.loops.spec import ACROSS, VECTOR, Instr
from flambeau._codegen.loops.turned import turn

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
    turn(body, instr.dtype, body.pointer(access), body.strides[access][body.vector_digit], width, height, square)
