"""Matrix registers of x86 (AMX): products of bfloat16 by squares of 16 results, 32 terms an instruction.

A register holds 16 rows of 64 bytes: 16 sums of float32, or 16 pairs of terms of bfloat16.  One instruction adds to 16 x 16 sums the
products of 16 pairs.  Its order is fixed: the first terms of all pairs are summed up from 0, so are the second ones, and both are added
up and then added to the sum.  So what decides the bits is which terms are the 32 of an instruction: chains are cut by the extents of
k alone (``chains``), each chain into groups of 32 from its start on, and a last group that is shorter is filled with zeros.  All
chains of an element continue each other.  Subnormal numbers count as zeros.

The register tile is 32 x 32 results in four registers; two others hold rows of the left operand, two columns of the right one.  Both
operands are packed as panels of 32 lanes: for each group of 32 terms two registers, as they are loaded.
"""

from __future__ import annotations

from functools import cache

from flambeau._codegen.contract.arithmetic import Tile
from flambeau._codegen.contract.packing import Side, address, emit_pack
from flambeau._codegen.contract.parameters import Parameters, Reader
from flambeau._codegen.contract.stage import Contract
from flambeau._codegen.ir import Builder, Module, Value, i64, vector
from flambeau._codegen.squares import transpose
from flambeau._runtime.targets import Target
from flambeau._types import dtype as types

TERMS = 512
"""Terms of a chain: a panel of rows takes two thirds of the first-level cache, and sums travel to memory for a tenth of the time."""
GROUP = 32
"""Terms of an instruction."""
LANES = 32
"""Lanes of a panel of either operand: two registers of 16."""
GROUP_BYTES = 2 * LANES * GROUP
_HALF_BYTES = GROUP_BYTES // 2
_FEWEST = (8, 8, 16)
"""Rows, columns and terms from which on the registers are worth filling."""


def fits(contract: Contract, target: Target) -> bool:
    """Whether a contraction is computed so: a matter of its dtype and extents alone, since it decides the bits."""
    if not (target.has_amx and contract.a.dtype is contract.b.dtype is types.bfloat16):
        return False
    sizes = []
    for group in (contract.m, contract.n, contract.k):
        sizes.append(1)
        for extent in group:
            sizes[-1] *= extent
    return all(size >= least for size, least in zip(sizes, _FEWEST, strict=True))


@cache
def matrix_tile() -> Tile:
    """The register tile of sums; ``packing`` is that of the operands, 16-bit numbers whose values do not matter to who copies them."""
    packing = Tile(types.int16, "i16", 16, 2, 1, (LANES,))
    return Tile(types.float32, "float", 16, 2, 1, (LANES,), packing)


def emit_configure(f: Builder) -> None:
    """Give each of the eight registers 16 rows of 64 bytes (palette 1)."""
    sizes = [1, *[0] * 15, *[64, 0] * 8, *[0] * 16, *[16] * 8, *[0] * 8]
    f.intrinsic("x86.ldtilecfg", f.module.table("i8", sizes), returns="void", suffix="")


def emit_release(f: Builder) -> None:
    """Free the registers, so that whoever is scheduled next need not have them saved."""
    f.intrinsic("x86.tilerelease", returns="void", suffix="")


def emit_products(module: Module, tile: Tile, registers: int) -> str:
    """A function that continues sums of ``registers`` x 16 rows and 32 columns over some groups of terms; returns its name.

    ``products(a, b, groups, starts, c)``: panels of both operands; rows of sums at ``c`` are ``tile.pitch`` apart, and from 0 if it
    ``starts``.
    """
    name = f"products{registers}"
    parameters = [("ptr", "a"), ("ptr", "b"), ("i64", "groups"), ("i1", "starts"), ("ptr", "c")]
    f = module.function(name, parameters, linkage="internal", attributes="noinline")
    a, b, groups, starts, c = f.parameters
    pitch, line = i64(tile.pitch * tile.bytes), i64(64)
    sums = [(2 * r + v, f.offset(c, r * 16 * tile.pitch + v * tile.width, tile.element)) for r in range(registers) for v in range(2)]
    with f.when(starts):
        for number, _ in sums:
            f.intrinsic("x86.tilezero", _register(number), returns="void", suffix="")
    with f.when(f.binary("xor", starts, 1)):
        for number, place in sums:
            f.intrinsic("x86.tileloadd64", _register(number), place, pitch, returns="void", suffix="")
    with f.repeat([groups, a, b]) as loop:
        left, a, b = loop.carried
        for first, panel, count in ((6, b, 2), (4, a, registers)):
            for half in range(count):
                place = f.offset(panel, half * _HALF_BYTES, "i8")
                f.intrinsic("x86.tileloadd64", _register(first + half), place, line, returns="void", suffix="")
        for r in range(registers):
            for v in range(2):
                f.intrinsic("x86.tdpbf16ps", *[_register(each) for each in (2 * r + v, 4 + r, 6 + v)], returns="void", suffix="")
        left = f.sub(left, 1)
        loop.again(f.compare("sgt", left, 0), left, f.offset(a, GROUP_BYTES, "i8"), f.offset(b, GROUP_BYTES, "i8"))
    for number, place in sums:
        f.intrinsic("x86.tilestored64", _register(number), place, pitch, returns="void", suffix="")
    f.ret()
    return name


def _register(number: int) -> Value:
    return Value(str(number), "i8")


class Pairs:
    """Makes panels of 32 lanes as registers are loaded: a panel is copied and then ordered, or ordered from where it lies."""

    def __init__(self, module: Module, parameters: Parameters, tile: Tile, side: Side) -> None:
        assert tile.packing is not None
        self.side = side
        self._copy, self._order = emit_pack(module, parameters, tile.packing, side), _emit_order(module, side)

    def pack(
        self, f: Builder, read: Reader, params: Value, raw: Value, source: Value, panel: Value, lanes: Value, count: Value, length: Value,
        steps: Value, shifts: Value,
    ) -> None:  # fmt: skip
        """Make one ``panel``. ``raw`` is memory for the copy; ``params``, ``source``, ``lanes``, ``count`` of them, ``length`` and ``shifts`` are what
        ``emit_pack`` asks for, and ``steps`` of k are in the block.
        """
        side, start, stride = self.side, raw, i64(2 * LANES)
        if side.keeps_rows:
            stride = f.mul(read(f"{side.name}.packed_row"), 2)
        is_direct = f.compare("eq", count, LANES) if side.is_direct else Value("false", "i1")
        with f.when(f.binary("xor", is_direct, 1)):
            f.call(f"@{self._copy}", params, source, raw, lanes, count, length, shifts)
        if side.is_direct:
            start = f.select(is_direct, address(f, source, f.load(lanes, "i64"), side.dtype), raw)
            stride = f.select(is_direct, read(f"{side.name}.direct"), stride)
        f.call(f"@{self._order}", start, stride, panel, steps)


def _emit_order(module: Module, side: Side) -> str:
    """A function that makes a panel of 32 lanes as registers are loaded; returns its name.

    ``order(source, stride, panel, steps)``: ``source`` has lanes ``stride`` bytes apart with neighbouring terms, if the side's terms
    are neighbours; else terms ``stride`` bytes apart with neighbouring lanes. What follows the last of ``steps`` terms becomes 0.
    """
    name = f"order_{side.name}"
    labels = [("ptr", "source"), ("i64", "stride"), ("ptr noalias", "panel"), ("i64", "steps")]
    f = module.function(name, labels, linkage="internal", attributes="noinline")
    source, stride, panel, steps = f.parameters
    step = i64(2 * GROUP) if side.keeps_rows else f.mul(stride, GROUP)

    def group(source: Value, panel: Value, left: Value | None) -> None:
        for half in range(2):
            rows = (_rows_of_lanes if side.keeps_rows else _rows_of_pairs)(f, source, stride, half, left)
            # A register of the left operand has a lane in each row; one of the right operand has a pair of terms.
            if side.is_left != side.keeps_rows:
                rows = transpose(f, rows)
            for r, row in enumerate(rows):
                f.store(row, f.offset(panel, half * _HALF_BYTES + 64 * r, "i8"))

    with f.loop(0, f.binary("udiv", steps, i64(GROUP)), carried=[source, panel]) as loop:
        source, panel = loop.carried
        group(source, panel, None)
        loop.carry(f.offset(source, step, "i8"), f.offset(panel, GROUP_BYTES, "i8"))
    source, panel = loop.carried
    left = f.binary("urem", steps, i64(GROUP))
    with f.when(f.compare("ne", left, 0)):
        group(source, panel, left)
    f.ret()
    return name


def _rows_of_lanes(f: Builder, source: Value, stride: Value, half: int, left: Value | None) -> list[Value]:
    """For each of 16 lanes its 16 pairs of terms."""
    rows = []
    mask = f.lane_mask(left, GROUP) if left is not None else None
    place = f.offset(source, f.mul(stride, 16 * half), "i8")
    for _ in range(16):
        row = f.load(place, vector("i16", GROUP), align=2) if mask is None else f.masked_load(place, mask, vector("i16", GROUP))
        rows.append(f.cast("bitcast", row, vector("i32", 16)))
        place = f.offset(place, stride, "i8")
    return rows


def _rows_of_pairs(f: Builder, source: Value, stride: Value, half: int, left: Value | None) -> list[Value]:
    """For each of 16 pairs of terms those of 16 lanes."""
    terms = []
    place = f.offset(source, 32 * half, "i8")
    for term in range(GROUP):
        if left is None:
            row = f.load(place, vector("i16", 16), align=2)
        else:
            row = f.masked_load(place, f.splat(f.compare("sgt", left, term), 16), vector("i16", 16))
        terms.append(f.cast("zext", row, vector("i32", 16)))
        place = f.offset(place, stride, "i8")
    shift = f.splat(Value("16", "i32"), 16)
    return [f.binary("or", low, f.binary("shl", high, shift)) for low, high in zip(terms[::2], terms[1::2], strict=True)]
