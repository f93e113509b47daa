"""Conversion between any two dtypes, with PyTorch's results on the CPU."""

from __future__ import annotations

from flambeau._codegen.ir import Builder
from flambeau._codegen.lanes import Lanes
from flambeau._codegen.scalar.registers import Operand, round_to, splat_constant
from flambeau._types import dtype as types
from flambeau._types.dtype import BOOL, COMPLEX, FLOAT, INTEGER, dtype


def cast(builder: Builder, operand: Operand, source: dtype, target: dtype) -> Operand:
    """Convert an operand.

    To bool: whether it is not 0 (NaN is not).  Float to integer rounds to zero; where the result does not fit it is
    what x86 gives (see ``_to_integer``).  Integers wrap around.  Complex to real drops the imaginary part.
    """
    if source is target:
        return operand
    if source.category == COMPLEX:
        re, im = operand
        if target.category == COMPLEX:
            part, result = source.to_real(), target.to_real()
            return cast(builder, re, part, result), cast(builder, im, part, result)
        if target.category == BOOL:
            part = source.to_real()
            return builder.binary("or", cast(builder, re, part, target), cast(builder, im, part, target))
        return cast(builder, re, source.to_real(), target)
    if target.category == COMPLEX:
        re = cast(builder, operand, source, target.to_real())
        return re, splat_constant(target.to_real(), 0.0, re.width)
    x = Lanes(builder, operand, source.is_signed)
    if target.category == BOOL:
        return (x != 0).value
    if target.category == INTEGER:
        size = 8 * target.itemsize
        return (_to_integer(x, target) if source.category == FLOAT else _resize(x, f"i{size}")).value
    element = "double" if target is types.float64 else "float"
    if source.category != FLOAT:
        result = x.convert("sitofp" if source.is_signed else "uitofp", element)
    elif x.element != element:
        result = x.convert("fpext" if element == "double" else "fptrunc", element)
    else:
        result = x
    return round_to(builder, result.value, target)


def _resize(x: Lanes, element: str) -> Lanes:
    size = int(element[1:])
    if x.bits == size:
        return x
    return x.convert("trunc" if x.bits > size else "sext" if x.signed else "zext", element)


def _truncate(x: Lanes, size: int) -> Lanes:
    """A float as a signed integer of 32 or 64 bits; what does not fit, and NaN, gives the smallest integer."""
    # ``fptosi`` alone is poison where the result does not fit, and its instruction differs between targets.
    fits = x.abs() < 2.0 ** (size - 1)
    return fits.select(x.convert("fptosi", f"i{size}"), -(1 << (size - 1)))


def _to_integer(x: Lanes, target: dtype) -> Lanes:
    """Through 32 bits for the small integers, through 64 for unsigned ones of 32 bits, then the low bits."""
    if target is types.uint64:
        half = 2.0**63
        low = _truncate(x, 64)
        high = _truncate(x - half, 64) ^ -(1 << 63)
        return (x >= half).select(high, low)
    if target is types.uint32:
        return _truncate(x, 64).convert("trunc", "i32")
    size = max(32, 8 * target.itemsize)
    return _resize(_truncate(x, size), f"i{8 * target.itemsize}")
