"""asin, acos, atan, atan2."""

from __future__ import annotations

import math

from flambeau._codegen.lanes import Lanes, polynomial
from flambeau._codegen.vmath.formats import format_of

_ATAN = {
    "float": (-0.33333316445350647, 0.1999853104352951, -0.1424446851015091, 0.1059979498386383, -0.06091662496328354),
    "double": (
        -0.33333333333333326, 0.19999999999997095, -0.14285714285316392, 0.11111111083745044, -0.09090907985839294,
        0.07692279200657946, -0.06666174680072265, 0.05876516483719558, -0.05215181794800591, 0.044905689247715846,
        -0.03317512366072998, 0.014894045198540507,
    ),
}  # fmt: skip
"""``atan(t) = t + t**3 P(t**2)`` for ``|t| <= tan(pi/8)``."""

_ASIN = {
    "float": (0.16666753590106964, 0.07495252043008804, 0.0454760380089283, 0.024152036756277084, 0.042212195694446564),
    "double": (
        0.16666666666666763, 0.07499999999970129, 0.04464285717525399, 0.030381942676945075, 0.022372215855784687,
        0.017351596451921455, 0.013981006564169193, 0.011397395225106936, 0.010788726332366525, 0.0036745109934020552,
        0.0217848035170249, -0.021108197308588, 0.03269667915882291,
    ),
}  # fmt: skip
"""``asin(x) = x + x**3 P(x**2)`` for ``|x| <= 1/2``."""

_TAN_PI_8 = math.sqrt(2.0) - 1.0


def _atan_of_ratio(y: Lanes, x: Lanes, negative: Lanes | None = None) -> Lanes:
    """The angle of the point ``(x, y)``, both at least 0; where ``negative``, of ``(-x, y)``."""
    of = format_of(x)
    steep = y * _TAN_PI_8 > x
    middle = ~steep & (x * _TAN_PI_8 < y)
    t = steep.select(-x, middle.select(y - x, y)) / steep.select(y, middle.select(y + x, x))

    def choose(flat: float, diagonal: float, upright: float) -> Lanes:
        return steep.select(x.constant(upright), middle.select(x.constant(diagonal), flat))

    high = choose(0.0, of.quarter_pi[0], of.half_pi[0])
    low = choose(0.0, of.quarter_pi[1], of.half_pi[1])
    if negative is not None:
        # pi minus the angle: other constants, and t with the other sign.
        high = negative.select(choose(of.pi[0], of.three_quarter_pi[0], of.half_pi[0]), high)
        low = negative.select(choose(of.pi[1], of.three_quarter_pi[1], of.half_pi[1]), low)
        t = negative.select(-t, t)
    square = t * t
    return high + (t + (t * square).fma(polynomial(square, _ATAN[x.element]), low))


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
    both_infinite = (up == math.inf) & (across == math.inf)
    both_zero = larger == 0.0
    up_scaled = both_infinite.select(x.constant(1.0), up * factor)
    across_scaled = (both_infinite | both_zero).select(x.constant(1.0), across * factor)
    angle = _atan_of_ratio(up_scaled, across_scaled, x.as_integer() < 0)
    return (x.is_nan() | y.is_nan()).select(x + y, angle.copysign(y))


def _asin_parts(magnitude: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """``(small, s, tail)``: asin is ``s + tail``, or where not ``small`` ``pi/2 - 2 (s + tail)``."""
    small = magnitude <= 0.5
    halved = (1.0 - magnitude) * 0.5
    square = small.select(magnitude * magnitude, halved)
    s = small.select(magnitude, halved.sqrt())
    return small, s, (s * square) * polynomial(square, _ASIN[s.element])


def asin(x: Lanes) -> Lanes:
    high, low = format_of(x).half_pi[:2]
    small, s, tail = _asin_parts(x.abs())
    large = high - ((s + s) - (low - (tail + tail)))
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
