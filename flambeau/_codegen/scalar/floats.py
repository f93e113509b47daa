"""Operators on float lanes that are more than one instruction, apart from the functions of ``vmath``."""

from __future__ import annotations

import math

from flambeau._codegen import vmath
from flambeau._codegen.lanes import Lanes, rarely
from flambeau._codegen.scalar.halves import round_to
from flambeau._codegen.vmath.formats import format_of
from flambeau._types.dtype import dtype

INFINITY = math.inf
_MANTISSA = {"float": 23, "double": 52}


def maximum(x: Lanes, y: Lanes) -> Lanes:
    """The larger; NaN if either is; 0.0 is not larger than -0.0."""
    return x.is_nan().select(x.unfolded(), (x > y).select(x, y))


def minimum(x: Lanes, y: Lanes) -> Lanes:
    """The smaller; NaN if either is."""
    return x.is_nan().select(x.unfolded(), (x < y).select(x, y))


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


def trunc_divide(x: Lanes, y: Lanes, of: dtype | None = None) -> Lanes:
    """The quotient, rounded to half precision ``of`` if given, then towards 0."""
    quotient = x / y
    if of is not None:
        quotient = x.of(round_to(x.builder, quotient.value, of))
    return quotient.trunc()


def nextafter(x: Lanes, y: Lanes) -> Lanes:
    """The number next to x in the direction of y."""
    return _neighbour(x, y, 1)


def nextafter_bfloat16(x: Lanes, y: Lanes) -> Lanes:
    return _neighbour(x, y, 1 << 16)


def nextafter_float16(x: Lanes, y: Lanes) -> Lanes:
    """The bits of a subnormal float16 are spread evenly in float32, and infinity is far from the largest number."""
    step = x.constant(2.0**-24)
    subnormal = (x < y).select(x + step, x - step)
    subnormal = (subnormal == 0.0).select(subnormal.copysign(x), subnormal)
    result = ((x.abs() < 2.0**-14) & (x != y) & ~y.is_nan()).select(subnormal, _neighbour(x, y, 1 << 13))
    return (is_infinite(x) & (x != y) & ~y.is_nan()).select(x.constant(65504.0).copysign(x), result)


def _neighbour(x: Lanes, y: Lanes, unit: int) -> Lanes:
    """nextafter where the bits of neighbours differ by ``unit``."""
    bits = x.as_integer()
    away = (x < y) ^ (x < 0.0)
    step = away.select(bits + unit, bits - unit).as_float()
    result = (x == 0.0).select(bits.constant(unit).as_float().copysign(y), step)
    return (x == y).select(y, (x.is_nan() | y.is_nan()).select(x + y, result))


def heaviside(x: Lanes, at_zero: Lanes) -> Lanes:
    """0 below 0 and for NaN, 1 above, ``at_zero`` at 0."""
    return (x == 0.0).select(at_zero, (x > 0.0).select(x.constant(1.0), 0.0))


def angle(x: Lanes) -> Lanes:
    """The argument of a real number: pi below 0, else 0; NaN for NaN."""
    return x.is_nan().select(x, (x < 0.0).select(x.constant(math.pi), 0.0))


def sinc(x: Lanes) -> Lanes:
    """``sin(pi x) / (pi x)``, and 1 at 0."""
    return (x == 0.0).select(x.constant(1.0), vmath.sinpi(x) / (x * math.pi))


def logaddexp(x: Lanes, y: Lanes) -> Lanes:
    """``log(exp(x) + exp(y))`` without overflow."""
    larger = maximum(x, y)
    same_infinity = (x == y) & is_infinite(x)
    return same_infinity.select(x, larger + vmath.log1p(vmath.exp(-(x - y).abs())))


def ldexp(x: Lanes, exponent: Lanes) -> Lanes:
    return x * vmath.exp2(exponent)


def xlogy(x: Lanes, y: Lanes) -> Lanes:
    """``x log(y)``; 0 where x is 0, unless y is NaN."""
    return y.is_nan().select(y, (x == 0.0).select(x.constant(0.0), x * vmath.log(y)))


def _split(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """``x = fraction * 2**exponent`` with ``1/2 <= |fraction| < 1``, both as floats, and whether there is no such thing."""
    of = format_of(x)
    subnormal = x.abs() < of.smallest_normal
    shift = float(of.mantissa + 2)
    stored = subnormal.select(x * 2.0**shift, x).as_integer()
    exponents = ((1 << (x.bits - 1 - of.mantissa)) - 1) << of.mantissa
    exponent = ((stored & exponents).shift_in_zeros(of.mantissa) - (of.bias - 1)).to_float()
    fraction = ((stored & ~exponents) | ((of.bias - 1) << of.mantissa)).as_float()
    return fraction, subnormal.select(exponent - shift, exponent), (x == 0.0) | ~(x.abs() < math.inf)


def frexp_fraction(x: Lanes) -> Lanes:
    fraction, _, without = _split(x)
    return without.select(x, fraction)


def frexp_exponent(x: Lanes) -> Lanes:
    _, exponent, without = _split(x)
    return without.select(x.constant(0.0), exponent)
