"""asin, acos, atan, atan2."""

from __future__ import annotations

import math

from flambeau._codegen.lanes import Lanes, polynomial
from flambeau._codegen.vmath.formats import format_of
from flambeau._codegen.vmath.pairs import fast_two_sum, rough_reciprocal

_ATAN = {
    "float": (
        -0.33333298563957214, 0.1999852955341339, -0.14264015853405, 0.10950877517461777, -0.08399280160665512,
        0.05788050591945648, -0.031095542013645172, 0.010867544449865818, -0.0017824710812419653,
    ),
    "double": (
        -0.33333333333333287, 0.19999999999993529, -0.1428571428531797, 0.11111111096846275, -0.09090908760891162,
        0.07692302514347236, -0.06666609098329176, 0.058818826840952486, -0.052602521459242595, 0.047480049463203416,
        -0.04295390687035764, 0.03841631205599179, -0.03315749167162474, 0.026679616082449547, -0.01920000498469904,
        0.011819755681224163, -0.005937945723283357, 0.0023058546269429958, -0.0006432557518946097, 0.0001139904599365609,
        -9.596685305102685e-06,
    ),
}  # fmt: skip
"""``atan(t) = t + t**3 P(t**2)`` for ``|t| <= 1``."""

_ASIN = {
    "float": (0.16666753590106964, 0.07495252043008804, 0.0454760380089283, 0.024152036756277084, 0.042212195694446564),
    "double": (
        0.16666666666666763, 0.07499999999970129, 0.04464285717525399, 0.030381942676945075, 0.022372215855784687,
        0.017351596451921455, 0.013981006564169193, 0.011397395225106936, 0.010788726332366525, 0.0036745109934020552,
        0.0217848035170249, -0.021108197308588, 0.03269667915882291,
    ),
}  # fmt: skip
"""``asin(x) = x + x**3 P(x**2)`` for ``|x| <= 1/2``."""


def _atan_of_ratio(y: Lanes, x: Lanes, negative: Lanes | None = None) -> Lanes:
    """The angle of the point ``(x, y)``, both at least 0; where ``negative``, of ``(-x, y)``."""
    of = format_of(x)
    steep = y > x
    divisor = steep.select(y, x)
    dividend = steep.select(-x, y)
    t = dividend / divisor
    rest = (-t).fma(divisor, dividend) * rough_reciprocal(divisor)
    high = steep.select(x.constant(of.half_pi[0]), 0.0)
    low = steep.select(x.constant(of.half_pi[1]), 0.0)
    if negative is not None:
        # pi minus the angle: other constants, and t with the other sign.
        high = negative.select(steep.select(x.constant(of.half_pi[0]), of.pi[0]), high)
        low = negative.select(steep.select(x.constant(of.half_pi[1]), of.pi[1]), low)
        t, rest = negative.select(-t, t), negative.select(-rest, rest)
    square = t * t
    low = (t * square).fma(polynomial(square, _ATAN[x.element]), low + rest)
    high, error = fast_two_sum(high, t)
    return high + (error + low)


def atan(x: Lanes) -> Lanes:
    magnitude = x.abs().at_most(2.0**100)
    return (x == 0.0).select(x, _atan_of_ratio(magnitude, x.constant(1.0)).copysign(x))


def atan2(y: Lanes, x: Lanes) -> Lanes:
    """The angle of the point ``(x, y)`` in ``[-pi, pi]``; signed zeros and infinities as in C99."""
    of = format_of(x)
    up, across = y.abs(), x.abs()
    # Their sum must not overflow, nor their quotient lose bits to subnormal numbers.
    larger = (up > across).select(up, across)
    magnified = 2.0 ** (of.bias // 2)
    factor = (larger < 1.0 / magnified).select(x.constant(magnified), 1.0)
    factor = (larger > 2.0 ** (of.bias - 2)).select(x.constant(0.25), factor)
    infinite, zero, one = larger == math.inf, x.constant(0.0), x.constant(1.0)
    up_scaled = infinite.select((up == math.inf).select(one, zero), up * factor)
    across_scaled = infinite.select((across == math.inf).select(one, zero), (larger == 0.0).select(one, across * factor))
    angle = _atan_of_ratio(up_scaled, across_scaled, x.as_integer() < 0)
    return (x.is_nan() | y.is_nan()).select(x + y, angle.copysign(y))


def _asin_parts(magnitude: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """``(small, s, tail)``: asin is ``s + tail``, or where not ``small`` ``pi/2 - 2 (s + tail)``."""
    small = magnitude <= 0.5
    halved = (1.0 - magnitude) * 0.5
    square = small.select(magnitude * magnitude, halved)
    root = halved.sqrt()
    s = small.select(magnitude, root)
    rest = small.select(0.0, (-root).fma(root, halved) * rough_reciprocal(root + root))
    return small, s, (s * square).fma(polynomial(square, _ASIN[s.element]), rest)


def asin(x: Lanes) -> Lanes:
    of = format_of(x)
    small, s, tail = _asin_parts(x.abs())
    high, error = fast_two_sum(x.constant(of.half_pi[0]), -(s + s))
    large = high + (error + (of.half_pi[1] - (tail + tail)))
    return (x == 0.0).select(x, small.select(s + tail, large).copysign(x))


def acos(x: Lanes) -> Lanes:
    of = format_of(x)
    small, s, tail = _asin_parts(x.abs())
    negative = x < 0.0
    signed, signed_tail = negative.select(-s, s), negative.select(-tail, tail)
    middle = of.half_pi[0] - (signed - (of.half_pi[1] - signed_tail))
    double, double_tail = s + s, tail + tail
    side = negative.select(of.pi[0] - (double - (of.pi[1] - double_tail)), double + double_tail)
    return small.select(middle, side)
