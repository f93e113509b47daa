"""Operators on integer lanes: none traps, whatever the operands.

Division by zero gives 0 (the caller reports it); the smallest integer divided by -1 wraps around.
"""

from __future__ import annotations

from flambeau._codegen.lanes import Lanes

_EXACT_FLOATS = {8: "float", 16: "float", 32: "double"}
"""A quotient of integers of so many bits, rounded in this type, never reaches the next integer."""


def maximum(x: Lanes, y: Lanes) -> Lanes:
    x = x.unfolded()
    return (x > y).select(x, y)


def minimum(x: Lanes, y: Lanes) -> Lanes:
    x = x.unfolded()
    return (x < y).select(x, y)


def sign(x: Lanes) -> Lanes:
    positive = (x > 0).select(x.constant(1), 0)
    return (x < 0).select(x.constant(-1), positive) if x.signed else positive


def trunc_divide(x: Lanes, y: Lanes) -> Lanes:
    """The quotient rounded to zero."""
    zero = y == 0
    unsafe = zero | (y == -1) if x.signed else zero
    divisor = unsafe.select(y.constant(1), y)
    if x.bits in _EXACT_FLOATS:
        # Vector processors divide floats, not integers.
        element, kind = _EXACT_FLOATS[x.bits], "s" if x.signed else "u"
        ratio = x.convert(f"{kind}itofp", element) / divisor.convert(f"{kind}itofp", element)
        quotient = ratio.convert(f"fpto{kind}i", x.element, x.signed)
    else:
        quotient = x / divisor
    if x.signed:
        quotient = (y == -1).select(-x, quotient)
    return zero.select(x.constant(0), quotient)


def fmod(x: Lanes, y: Lanes) -> Lanes:
    """The remainder of ``trunc_divide``, with the sign of x."""
    return (y == 0).select(x.constant(0), x - trunc_divide(x, y) * y)


def _rounds_down(rest: Lanes, y: Lanes) -> Lanes:
    return (rest != 0) & ((rest ^ y) < 0)


def remainder(x: Lanes, y: Lanes) -> Lanes:
    """The remainder of ``floor_divide``, with the sign of y."""
    rest = fmod(x, y)
    return _rounds_down(rest, y).select(rest + y, rest) if x.signed else rest


def floor_divide(x: Lanes, y: Lanes) -> Lanes:
    """The quotient rounded down."""
    quotient = trunc_divide(x, y)
    if not x.signed:
        return quotient
    rest = x - quotient * y
    return ((y != 0) & _rounds_down(rest, y)).select(quotient - 1, quotient)


def power(x: Lanes, exponent: Lanes) -> Lanes:
    """``x ** exponent`` by squaring; for a negative exponent the quotient ``1 / x ** -exponent`` rounded to zero."""
    builder = x.builder
    with builder.repeat([x.constant(1).value, x.value, exponent.value]) as loop:
        result, base, rest = (x.of(value) for value in loop.carried)
        result = ((rest & 1) != 0).select(result * base, result)
        rest = rest.shift_in_zeros(1)
        loop.again((rest != 0).any().value, result.value, (base * base).value, rest.value)
    result = x.of(loop.carried[0])
    if not x.signed:
        return result
    odd = (exponent & 1) != 0
    inverse = (x == 1).select(x.constant(1), (x == -1).select(odd.select(x.constant(-1), 1), 0))
    return (exponent < 0).select(inverse, result)


def _magnitude(x: Lanes) -> Lanes:
    """The absolute value, unsigned, so that the smallest integer has one."""
    return Lanes(x.builder, x.abs().value, signed=False)


def gcd(x: Lanes, y: Lanes) -> Lanes:
    """The greatest common divisor by Euclid's algorithm."""
    builder = x.builder
    with builder.repeat([_magnitude(x).value, _magnitude(y).value]) as loop:
        a, b = (Lanes(builder, value, signed=False) for value in loop.carried)
        done = a == 0
        a, b = fmod(b, a), done.select(b, a)
        loop.again((a != 0).any().value, a.value, b.value)
    return x.of(loop.carried[1])


def lcm(x: Lanes, y: Lanes) -> Lanes:
    """The least common multiple, modulo the size; 0 if either is 0."""
    divisor = Lanes(x.builder, gcd(x, y).value, signed=False)
    return x.of((trunc_divide(_magnitude(x), divisor) * _magnitude(y)).value)


def shift_left(x: Lanes, count: Lanes) -> Lanes:
    """``x * 2**count`` modulo the size; 0 if the count is negative or too large."""
    fits = count.shift_in_zeros(x.bits.bit_length() - 1) == 0
    return fits.select(x << fits.select(count, 0), 0)


def shift_right(x: Lanes, count: Lanes) -> Lanes:
    """``floor(x / 2**count)``; a count that is negative or too large shifts everything out."""
    fits = count.shift_in_zeros(x.bits.bit_length() - 1) == 0
    if x.signed:
        return x >> fits.select(count, x.bits - 1)
    return fits.select(x >> fits.select(count, 0), 0)


def heaviside(x: Lanes, at_zero: Lanes) -> Lanes:
    return (x == 0).select(at_zero, (x > 0).select(x.constant(1), 0))
