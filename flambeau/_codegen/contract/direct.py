"""Register tiles of short sums: multiplied, finished and stored without waiting in memory between.

A micro-kernel leaves its sums in memory, whence the ending takes them row by row. With few steps that, and the call of a second function, takes as long as
the multiply-adds do. If one block has all steps of a sum, and what becomes of it is short, a whole register tile is finished in the registers that it was
summed up in. Tiles at the edges go the ordinary way; the bits are the same.
"""

from __future__ import annotations

from flambeau._codegen.contract.arithmetic import Tile
from flambeau._codegen.contract.ending import Ending, finish_registers
from flambeau._codegen.contract.micro import Walk, emit_chains
from flambeau._codegen.ir import Module


def emit_direct(module: Module, tile: Tile, ending: Ending, tabled: bool, walk: Walk) -> str:
    """A function for a whole register tile, ``direct(a, rs, ks, b, bs, k, operands, row, column)``; returns its name.

    The first six arguments are those of a micro-kernel, the others those of an ending.
    """
    parameters = [("ptr", "a"), ("i64", "rs"), ("i64", "ks"), ("ptr", "b"), ("i64", "bs"), ("i64", "k")]
    parameters += [("ptr", "operands"), ("i64", "row"), ("i64", "column")]
    f = module.function("direct", parameters, linkage="internal", attributes="noinline")
    sums = emit_chains(f, tile, tabled, walk)
    finish_registers(f, tile, ending, sums, *f.parameters[6:])
    f.ret()
    return "direct"
