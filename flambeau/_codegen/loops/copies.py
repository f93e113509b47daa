"""Rows of a few elements that are copied as they are: each is one piece of so many bytes, of which LLVM makes as few moves as there may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau._codegen.ir import Value, i64
from flambeau._codegen.loops.spec import Instr

if TYPE_CHECKING:
    from flambeau._codegen.loops.body import Body


def emit_rows(body: Body, first_row: Value, end_row: Value) -> None:
    """Copy the rows of a tile, one after the other."""
    f = body.f
    *others, row = range(body.spec.outer)
    body.places[body.vector_digit] = i64(0)
    with body.along(others), f.loop(first_row, end_row) as rows:
        body.places[row] = rows.index
        for instr in body.instructions:
            if instr.op == "store":
                nbytes = i64(body.spec.window[0] * instr.dtype.itemsize)
                f.copy(body.pointer(instr.attrs[0]), body.pointer(_origin(body, instr).attrs[0]), nbytes)


def _origin(body: Body, instr: Instr) -> Instr:
    """The load whose elements an instruction is given."""
    return instr if instr.op == "load" else _origin(body, body.instructions[instr.args[0]])
