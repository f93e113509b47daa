"""Operators on float lanes that are more than one instruction, apart from the functions of ``vmath``."""

from __future__ import annotations

import math

from flambeau._codegen.lanes import Lanes, rarely

INFINITY = math.inf
_MANTISSA = {"float": 23, "double": 52}


def maximum(x: Lanes, y: Lanes) -> Lanes:
    """The larger; NaN if either is; 0.0 is not larger than -0.0."""
    return ((x > y) | x.is_nan()).select(x, y)


def minimum(x: Lanes, y: Lanes) -> Lanes:
    """The smaller; NaN if either is."""
    return ((x < y) | x.is_nan()).select(x, y)


def fmax(x: Lanes, y: Lanes) -> Lanes:
    """The larger; of a NaN and a number the number."""
    return ((x >= y) | y.is_nan()).select(x, y)


def fmin(x: Lanes, y: Lanes) -> Lanes:
    """The smaller; of a NaN and a number the number."""
    return ((x <= y) | y.is_nan()).select(x, y)


def sign(x: Lanes) -> Lanes:
    """-1, 0 or 1; 0 for NaN."""
    return (x > 0.0).select(x.constant(1.0), (x < 0.0).select(x.constant(-1.0), 0.0))


def rsqrt(x: Lanes) -> Lanes:
    return 1.0 / x.sqrt()


def reciprocal(x: Lanes) -> Lanes:
    return 1.0 / x


def frac(x: Lanes) -> Lanes:
    return x - x.trunc()


def is_infinite(x: Lanes) -> Lanes:
    return x.abs() == INFINITY


def is_finite(x: Lanes) -> Lanes:
    return x.abs() < INFINITY


def sign_bit(x: Lanes) -> Lanes:
    return x.as_integer() < 0


def fmod(x: Lanes, y: Lanes) -> Lanes:
    """``x - y trunc(x / y)`` without rounding, with the sign of x.

    One division does where the quotient has fewer bits than a mantissa; the other lanes call the C library's ``fmod``.
    """
    quotient = (x / y).trunc()
    # A quotient that was rounded up to an integer makes the remainder negative; both steps are exact.
    remainder = (-quotient.abs()).fma(y.abs(), x.abs())
    remainder = (remainder < 0.0).select(remainder + y.abs(), remainder)
    remainder = (y.abs() == INFINITY).select(x, remainder).copysign(x)
    remainder = ((x.abs() < INFINITY) & (y != 0.0)).select(remainder, (x - x) / (y - y))
    large = (quotient.abs() >= 2.0 ** (_MANTISSA[x.element] - 1)) & (y.abs() < INFINITY)
    return rarely(large, [remainder], lambda: [x % y])[0]


def remainder(x: Lanes, y: Lanes) -> Lanes:
    """``x - y floor(x / y)``, with the sign of y, as Python's ``%``."""
    result = fmod(x, y)
    return ((result != 0.0) & ((result < 0.0) ^ (y < 0.0))).select(result + y, result)


def floor_divide(x: Lanes, y: Lanes) -> Lanes:
    """Python's ``//``: the floor of the exact quotient, made from the exact remainder."""
    rest = fmod(x, y)
    exact = (x - rest) / y
    quotient = ((rest != 0.0) & ((rest < 0.0) ^ (y < 0.0))).select(exact - 1.0, exact)
    floor = quotient.floor()
    floor = (quotient - floor > 0.5).select(floor + 1.0, floor)
    ratio = x / y
    floor = (quotient == 0.0).select(ratio.constant(0.0).copysign(ratio), floor)
    return (y == 0.0).select(ratio, floor)


def trunc_divide(x: Lanes, y: Lanes) -> Lanes:
    return (x / y).trunc()


def nextafter(x: Lanes, y: Lanes) -> Lanes:
    """The number next to x in the direction of y."""
    bits = x.as_integer()
    away = (x < y) ^ (x < 0.0)
    step = away.select(bits + 1, bits - 1).as_float()
    smallest = bits.constant(1).as_float().copysign(y)
    result = (x == 0.0).select(smallest, step)
    return (x == y).select(y, (x.is_nan() | y.is_nan()).select(x + y, result))


def heaviside(x: Lanes, at_zero: Lanes) -> Lanes:
    """0 below 0, 1 above it, ``at_zero`` at it; NaN for NaN."""
    return (x == 0.0).select(at_zero, x.is_nan().select(x, (x > 0.0).select(x.constant(1.0), 0.0)))


def angle(x: Lanes) -> Lanes:
    """The argument of a real number: pi below 0, else 0; NaN for NaN."""
    return x.is_nan().select(x, (x < 0.0).select(x.constant(math.pi), 0.0))
