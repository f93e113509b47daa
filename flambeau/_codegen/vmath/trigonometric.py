"""sin, cos, tan.

``x = n pi/2 + r`` with ``|r| <= pi/4``; r is a pair, since it may be tiny where x is not.
"""

from __future__ import annotations

from flambeau._codegen.lanes import Lanes, polynomial, rarely
from flambeau._codegen.vmath.formats import format_of
from flambeau._codegen.vmath.pairs import fast_two_sum, two_product, two_sum
from flambeau._codegen.vmath.payne_hanek import reduce_large

_TWO_OVER_PI = {"float": 0.6366197466850281, "double": 0.6366197723675814}

_LARGE = {"float": 2.0**16, "double": 2.0**25}
"""Up to here three parts of pi/2 give r to full precision."""

_SIN = {
    "float": (-0.16666655242443085, 0.008332190103828907, -0.00019518405315466225),
    "double": (
        -0.16666666666666632, 0.008333333333322455, -0.00019841269829813248, 2.7557313687440676e-06,
        -2.505075668416584e-08, 1.589667968562823e-10,
    ),
}  # fmt: skip
"""``sin(r) = r + r**3 P(r**2)``."""

_COS = {
    "float": (0.04166664555668831, -0.00138873013202101, 2.4430675694020465e-05),
    "double": (
        0.0416666666666666, -0.0013888888888874441, 2.4801587289636395e-05, -2.755731438751013e-07,
        2.08757270645053e-09, -1.1359802650097183e-11,
    ),
}  # fmt: skip
"""``cos(r) = 1 - r**2/2 + r**4 P(r**2)``."""

_TAN = {
    "float": (
        0.33333349227905273, 0.1333267241716385, 0.05405944585800171, 0.021282769739627838, 0.010837700217962265,
        8.387380512431264e-05, 0.004380354657769203,
    ),
    "double": (
        0.3333333333333338, 0.13333333333325342, 0.05396825397290311, 0.021869488399322647, 0.008863237922159355,
        0.003592100885051645, 0.001456045511965823, 0.0005888647306650203, 0.00024375095069633246,
        8.355781247368967e-05, 6.722676853424306e-05, -2.5643644206003864e-05, 4.864728650646274e-05,
        -2.4281104927624864e-05, 9.800987265254779e-06,
    ),
}  # fmt: skip
"""``tan(r) = r + r**3 P(r**2)``."""


def _reduce(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """``(high, low, n)`` with ``x = n pi/2 + high + low``; n is an integer modulo 4 in its low bits."""
    of = format_of(x)
    shifted = x.fma(_TWO_OVER_PI[x.element], of.integer)
    n = -(shifted - of.integer)
    first, second, third = of.half_pi
    product, error = two_product(n, second)
    high, low = two_sum(n.fma(first, x), product)  # which of the two is the larger depends on x; the other one's product is exact
    low = n.fma(third, low + error)
    large = x.abs() > _LARGE[x.element]
    high, low, n = rarely(large, [high, low, shifted.as_integer()], lambda: reduce_large(x, large))
    return high, low, n


def _sin_cos(r: Lanes, low: Lanes) -> tuple[Lanes, Lanes]:
    """sin and cos of ``r + low``, ``|r| <= pi/4``."""
    square = r * r
    sin, cos = polynomial(square, _SIN[r.element]), polynomial(square, _COS[r.element])
    half = square * 0.5
    one_minus_half = 1.0 - half
    rounding = (1.0 - one_minus_half) - half
    sin = r + (r * square).fma(sin, low.fma(-half, low))
    cos = one_minus_half + (square * square).fma(cos, (-r).fma(low, rounding))
    return sin, cos


def _sign(n: Lanes, x: Lanes) -> Lanes:
    """The sign bit set where bit 1 of n is."""
    return (n & 2) << (x.bits - 2)


def sin(x: Lanes) -> Lanes:
    high, low, n = _reduce(x)
    sin, cos = _sin_cos(high, low)
    result = ((n & 1) == 0).select(sin, cos)
    result = (result.as_integer() ^ _sign(n, x)).as_float()
    return (x == 0.0).select(x, result)


def cos(x: Lanes) -> Lanes:
    high, low, n = _reduce(x)
    sin, cos = _sin_cos(high, low)
    result = ((n & 1) == 0).select(cos, sin)
    return (result.as_integer() ^ _sign(n + 1, x)).as_float()


def sin_cos(x: Lanes) -> tuple[Lanes, Lanes]:
    """Both, for one reduction."""
    high, low, n = _reduce(x)
    sin, cos = _sin_cos(high, low)
    even = (n & 1) == 0
    results = [(even.select(sin, cos), n), (even.select(cos, sin), n + 1)]
    return tuple((result.as_integer() ^ _sign(turns, x)).as_float() for result, turns in results)


def tan(x: Lanes) -> Lanes:
    """``tan(r)``, or ``-1 / tan(r)`` where n is odd."""
    r, low, n = _reduce(x)
    square = r * r
    tail = (r * square).fma(polynomial(square, _TAN[r.element]), low.fma(square, low))
    tangent, error = fast_two_sum(r, tail)
    inverse = -1.0 / tangent
    inverse = inverse.fma(inverse.fma(error, inverse.fma(tangent, 1.0)), inverse)
    result = ((n & 1) == 0).select(tangent, inverse)
    return (x == 0.0).select(x, result)


def sin_cos_pi(x: Lanes) -> tuple[Lanes, Lanes]:
    """``sin(pi x), cos(pi x)``, exactly 0 at integers and half integers."""
    nearest = x.round()
    distance = x - nearest
    size = distance.abs()
    far = size > 0.25
    turn = far.select(0.5 - size, size)
    pi, rest = format_of(x).pi
    r, low = two_product(turn, pi)
    sin, cos = _sin_cos(r, turn.fma(rest, low))
    half = nearest * 0.5
    sign = (half.trunc() != half).select(x.constant(-1.0), 1.0)
    return far.select(cos, sin).copysign(distance) * sign, far.select(sin, cos) * sign


def sinpi(x: Lanes) -> Lanes:
    return sin_cos_pi(x)[0]
