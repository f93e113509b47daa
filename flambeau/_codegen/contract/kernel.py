"""The kernel of a contraction."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from flambeau._codegen.contract import amx, frame
from flambeau._codegen.contract.arithmetic import Tile, register_tile
from flambeau._codegen.contract.direct import emit_direct
from flambeau._codegen.contract.ending import Ending, emit_ask, emit_ending
from flambeau._codegen.contract.existing import emit_lists
from flambeau._codegen.contract.frame import Frame
from flambeau._codegen.contract.micro import MOST_ADDRESSES, Walk, emit_micro
from flambeau._codegen.contract.packing import Side, emit_pack
from flambeau._codegen.contract.parameters import Parameters, Reader
from flambeau._codegen.contract.places import MORE, emit_fill
from flambeau._codegen.contract.ready import emit_ready
from flambeau._codegen.contract.sweep import Sweep, emit_sweep
from flambeau._codegen.contract.walk import emit_walk
from flambeau._codegen.ir import Builder, Module, Value
from flambeau._runtime.targets import Target

SIGNATURE = [
    ("ptr noalias readonly", "table"), ("ptr noalias readonly", "params"), ("i64", "begin"), ("i64", "end"), ("ptr noalias", "scratch"),
]  # fmt: skip


class Code(NamedTuple):
    """A kernel: its name, its IR, and the names of its parameters in the order of the ``params`` array."""

    name: str
    source: str
    parameters: tuple[str, ...]


REMEMBERED = 128
"""Kernels of each kind whose IR is kept, some 50 to 100 kB each."""


class Structure(NamedTuple):
    """All that the code of a contraction depends on; extents, strides and blocking are run-time parameters.

    The k axes are outer ones, one that is split into chains and these into blocks, and the ones inside it, which each ``Side`` sees as a box of its
    own.  Of columns that are read in place ``edge`` says how the last panel is read if it has fewer than the others: ``earlier``,
    so that it ends with the last column, or ``masked``, if there are not so many columns. Register tiles are one or two ``vectors`` wide.
    ``bundle`` is the tile's. A ``direct`` one finishes whole register tiles in registers.
    """

    target: Target
    a: Side
    b: Side
    ending: Ending
    edge: str = ""
    vectors: tuple[int, ...] = ()
    bundle: str = ""
    direct: bool = False

    @property
    def tile(self) -> Tile:
        if self.a.is_paired:
            return amx.matrix_tile()
        tile = register_tile(self.a.dtype, self.target, self.bundle)
        if self.a.mode == "table" and not self.a.step:
            tile = replace(tile, variants=tuple(rows for rows in tile.variants if rows <= MOST_ADDRESSES))
        return tile

    @property
    def operands(self) -> list[str]:
        """The names of all operands, in the order in which the frame has them."""
        return ["a", "b", *self.ending.operands]


@lru_cache(maxsize=REMEMBERED)
def contraction(structure: Structure) -> Code:
    """The kernel that computes tiles of the output.

    It has a frame, writes the addresses of its functions there, and lets the walk begin. Behind the parameters that every contraction has come those
    that only one operand has, and the slot and the first byte of each operand.
    """
    s, module, sections = structure, Module(structure.target.instruction_sets), {"a": Parameters(), "b": Parameters()}
    functions = {"fill": emit_fill(module), "sweep": emit_sweep(module, _sweep(s)), "walk": emit_walk(module)}
    functions["lists"] = emit_lists(module, s.tile, bool(s.a.step)) if s.a.listed else ""
    for side in (s.a, s.b):
        functions[f"ready.{side.name}"] = emit_ready(module, sections[side.name], s.tile, side)
        if side.is_packed_here and not side.is_paired:
            functions[f"pack.{side.name}"] = emit_pack(module, sections[side.name], s.tile, side)
    functions["ending"] = emit_ending(module, s.tile, s.ending, s.edge == "earlier")
    functions["ask"] = emit_ask(module, s.tile, s.ending)
    functions["direct"] = emit_direct(module, s.tile, s.ending, s.a.mode == "table", _distances(s, s.tile.rows)) if s.direct else ""
    names = [*frame.PARAMETERS, *sections["a"].names, *sections["b"].names]
    starts = {"a": len(frame.PARAMETERS), "b": len(frame.PARAMETERS) + len(sections["a"].names)}
    _emit_kernel(module, s, functions, _micros(module, s), starts)
    return finished(module, Parameters([*names, *[f"{name}.{what}" for name in s.operands for what in ("slot", "bytes")]]))


def _sweep(s: Structure) -> Sweep:
    left = "when" if s.a.by_panel else "panels"
    if s.a.mode == "table":
        left = "neighbours" if s.a.step else "table"
    return Sweep(s.tile, left, s.a.listed)


def _distances(s: Structure, rows: int) -> Walk:
    """What a micro-kernel knows of the distances in the operands: of those in packed ones nearly all.

    Kernels of few rows have them as arguments, so that contractions of all kinds share them; but for those that read tables, which may have no other.
    """
    a, tile = s.a, s.tile
    b = tile.pitch if s.b.mode != "place" else None
    if a.mode == "table":
        return Walk(1 if a.step else None, None, b, listed=a.listed)
    if rows < tile.rows:
        return Walk()
    if a.mode == "place" and not a.step:
        return Walk(b=b)
    if a.keeps_rows or a.mode in ("place", "rows"):
        return Walk(None, tile.parts, b, ahead=True)
    return Walk(tile.parts, tile.rows * tile.parts, b)


def _micros(module: Module, s: Structure) -> dict[int, str]:
    """The micro-kernels by their place in the table of those: for so many rows, and behind them those for one vector where panels have two."""
    tile, is_tabled = s.tile, s.a.mode == "table"
    if tile.packing:
        return {registers - 1: amx.emit_products(module, tile, registers) for registers in (1, 2)}
    return {
        place + rows: emit_micro(module, tile, rows, s.edge == "masked", True, is_tabled, vectors, _distances(s, rows), by_address=True)
        for place, vectors in zip((0, short_micros(tile)), s.vectors, strict=False)
        for rows in tile.variants
    }


def short_micros(tile: Tile) -> int:
    """Where the micro-kernels for one vector begin in the table of those."""
    return tile.rows + 1


def _emit_kernel(module: Module, s: Structure, functions: dict[str, str], micros: dict[int, str], starts: dict[str, int]) -> None:
    f = module.function("kernel", SIGNATURE)
    table, params, begin, end, scratch = f.parameters
    own, count, bounds = Frame(f, f.alloca("i64", frame.SIZE)), len(s.operands), s.a.bounds + s.b.bounds
    operands, shifts, of_micros = f.alloca("ptr", 3 * count), f.alloca("i64", bounds or 1), f.alloca("ptr", 2 * short_micros(s.tile))
    addresses = {
        "table": table, "params": params, "scratch": scratch, "operands": operands, "micro": of_micros,
        "offsets": f.alloca("i64", MORE * (count + bounds)), "of_block": f.alloca("i64", MORE * (2 + bounds)),
        "a.shifts": shifts, "b.shifts": f.offset(shifts, s.a.bounds, "i64"),
    }  # fmt: skip
    addresses |= {f"{name}.section": f.offset(params, start, "i64") for name, start in starts.items()}
    addresses |= {name: Value(f"@{label}" if label else "null", "ptr") for name, label in functions.items() if name != "walk"}
    for name, address in addresses.items():
        own.set(name, address)
    for place, label in micros.items():
        f.store(Value(f"@{label}", "ptr"), f.offset(of_micros, place, "ptr"))
    if s.tile.packing:
        amx.emit_configure(f)
    f.call(f"@{functions['walk']}", own.pointer, begin, end)
    if s.tile.packing:
        amx.emit_release(f)
    f.ret()


def finished(module: Module, parameters: Parameters) -> Code:
    text = str(module)
    name = "k_" + hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
    return Code(name, text.replace("@kernel(", f"@{name}("), parameters.names)


def base_address(f: Builder, read: Reader, name: str) -> Value:
    """The address of element 0 of an operand: ``table[slot] + bytes``."""
    start = f.load(f.offset(f.parameters[0], read(f"{name}.slot"), "ptr"), "ptr")
    return f.offset(start, read(f"{name}.bytes"), "i8")
