"""Nests that do nothing but move elements: as bits, in larger pieces, row by row.

Before: ``x.permute(1, 0, 2)`` of rows of four bools: loads and stores of ``bool`` along three digits, the innermost of four places.
After: loads and stores of ``int32`` along two digits, which are transposed in registers as any others.
"""

from __future__ import annotations

from collections.abc import Collection
from math import gcd
from typing import TYPE_CHECKING

from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType

if TYPE_CHECKING:
    from flambeau._compiler.nest import Nest

_MOVES = ("load", "gather", "store")
_BITS: dict[int, DType] = {1: dt.uint8, 2: dt.int16, 4: dt.int32}
WIDEST = 4
"""Bytes of the largest piece that becomes an element: rows of 8 bytes are copied as quickly one by one as they are transposed."""
_SHORT, _SHORT_BYTES = 32, 128
"""Rows of fewer elements (two vectors; of bytes and halves any), and of no more bytes than LLVM copies without a call, are copied one by one. As masked vectors permuted rows of 16 numbers in
bfloat16 took 614 µs (PyTorch 236), and take 83; rows of 3 floats 1740 (1030) and 900."""
_ENOUGH = 4096
"""Fewer elements are not worth a kernel for one length of rows."""


def as_bits(nest: Nest) -> None:
    """Let what is only moved be whole numbers: half precision is decoded and rounded, bools are compared and chosen, on their way through registers."""
    body = nest.body
    moved = {instr.dtype for instr in body if instr.dtype.category == dt.BOOL or instr.dtype.compute is not instr.dtype}
    for instr in body:
        if instr.op not in _MOVES and instr.attrs[:1] != ("copy",):
            moved -= {instr.dtype, *(body[argument].dtype for argument in instr.args)}
    for of in moved:
        if of.is_complex:
            continue
        bits = _BITS[of.itemsize]
        nest.body = body = [instr._replace(dtype=bits) if instr.dtype is of else instr for instr in body]
        for each in nest.accesses:
            if each.dtype is of:
                each.dtype = bits


def widen(nest: Nest, extents: dict[int, int]) -> None:
    """Make each row of 2 or 4 bytes that lies together wherever it is read or written one element."""
    while _only_copies(nest):
        row = _row_digit(nest, extents)
        places = [each for each in nest.accesses if each.dtype is not None]
        itemsize = places[0].dtype.itemsize
        if row is None or (wide := _BITS.get(extents[row] * itemsize)) is None or wide.itemsize > WIDEST:
            return
        steps = [stride for each in places for digit, stride in each.strides.items() if digit != row and digit in extents]
        if gcd(*steps, *(each.offset for each in places)) % extents[row]:
            return
        for each in places:
            each.dtype = wide
            each.offset //= extents[row]
            each.strides = {digit: stride // extents[row] for digit, stride in each.strides.items() if digit != row}
        nest.body = [instr._replace(dtype=wide) for instr in nest.body]
        del extents[row]


def short_row(nest: Nest, sizes: dict[int, int], outer: Collection[int]) -> int | None:
    """The digit along which short rows lie that are only copied."""
    if not _only_copies(nest) or len(outer) < 2:
        return None
    row = _row_digit(nest, {digit: sizes[digit] for digit in outer})
    if row is None:
        return None
    itemsize = nest.body[0].dtype.itemsize
    if sizes[row] * itemsize > _SHORT_BYTES or (sizes[row] >= _SHORT and itemsize >= WIDEST):
        return None
    total = 1
    for digit in outer:
        total *= sizes[digit]
    return row if total >= _ENOUGH else None


def _only_copies(nest: Nest) -> bool:
    """Whether everything that a nest does is to load elements (which are all there), and to store them as they are."""
    body = nest.body
    if len({instr.dtype for instr in body}) > 1 or any(instr.op == "load" and instr.attrs[1] for instr in body):
        return False
    return body[0].op == "load" and all(instr.op in ("load", "store") or instr.attrs[:1] == ("copy",) for instr in body)


def _row_digit(nest: Nest, extents: dict[int, int]) -> int | None:
    """The digit along which all places in memory move by one element."""
    places = [each for each in nest.accesses if each.dtype is not None]
    return next((digit for digit in extents if all(each.strides.get(digit) == 1 for each in places)), None)
