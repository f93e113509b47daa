"""erf, erfc and the inverse of erf."""

from __future__ import annotations

import math

from flambeau._codegen.lanes import Lanes, polynomial
from flambeau._codegen.vmath.exponential import exp, exp_of_reduced, power_of_two, reduce, scale
from flambeau._codegen.vmath.logarithm import log1p
from flambeau._codegen.vmath.pairs import divide, fast_two_sum, multiply, two_product, two_sum

_ERF = {
    "float": (
        0.12837916612625122, -0.3761262595653534, 0.11283578723669052, -0.026853347197175026, 0.005187162198126316,
        -0.0007997855427674949, 7.806930807419121e-05,
    ),
    "double": (
        0.1283791670955126, -0.376126389031841, 0.11283791670971095, -0.026866170648030017, 0.005223977652423705,
        -0.0008548328494414317, 0.00012055383496570756, -1.4926785200490665e-05, 1.647899341869625e-06,
        -1.6529734942134272e-07, 1.5793028931595e-08, -1.5480678784525184e-09, 1.246613225202672e-10,
    ),
}  # fmt: skip
"""``erf(x) = x + x P(x**2)`` for ``|x| <= 1``."""

_FLOAT_MINUS_LOG_ERFC = (
    0.00020706953364424407, 1.1276271343231201, 0.637266218662262, 0.10385595262050629, -0.022189566865563393,
    0.0030336366035044193, -0.0001949403085745871,
)  # fmt: skip
"""``erfc(x) = exp(-P(x))`` for ``0.92 <= x <= 3.95``, precise enough for ``1 - erfc(x)``."""

_FLOAT_ERF_IS_ONE = 3.95

_FLOAT_ERFC_IS_ZERO = 10.5

_ERFC_CENTRE = 2.5

_ERFC = (
    1.2648381843668615, -0.12235676308240441, -0.09902453957360213, 0.1576299190232386, -0.10296705603855202,
    0.03276089326759752, 0.0009318928172432, -0.0043820783147109155, 0.0004918657990851842, 0.0006321240083381619,
    -8.847888924218727e-05, -0.00011351988011849975, 6.262222158181787e-06, 2.2689140344284645e-05,
    2.6313214390748583e-06, -4.196532178469799e-06, -1.6590697449244906e-06, 5.265738776667309e-07,
    6.595639040357669e-07, -4.257595526317832e-08, -2.0485658720228555e-07, 5.780191762526355e-08,
)  # fmt: skip
"""``(1 + 2 x) exp(x**2) erfc(x) = P(t)``, ``t = (x - c) / (x + c)``, for ``3/4 <= x <= 28``."""


_EXP_TAIL = (
    0.5, 0.16666666666666669, 0.041666666666666685, 0.00833333333333169, 0.001388888888887241, 0.0001984126984633649,
    2.480158735263792e-05, 2.7557312159172697e-06, 2.755724759035361e-07, 2.5056666619181045e-08,
    2.0923428491408153e-09, 1.4962386311949948e-10,
)  # fmt: skip
"""``exp(r) = 1 + r + r**2 P(r)`` for doubles, to more than their precision."""

_SHORT_ERFC = (
    1.2648381844927474, -0.12235676612137744, -0.0990245623059156, 0.15763010856096607, -0.10296641568686278,
    0.032757509917546355, 0.0009257152531659171, -0.004356819090259505, 0.0005155199241509003, 0.0005468476145924183,
    -0.00011770357684504029,
)  # fmt: skip
"""The same for ``3/4 <= x <= 10.5`` to 32 bits, for float32 in double arithmetic."""


def erf(x: Lanes) -> Lanes:
    magnitude = x.abs()
    square = x * x
    if x.element == "float":
        bounded = magnitude.at_most(_FLOAT_ERF_IS_ONE)
        r, shifted = reduce(-polynomial(bounded, _FLOAT_MINUS_LOG_ERFC))
        large = 1.0 - exp_of_reduced(r) * power_of_two(shifted)
        limit = 0.9375
    else:
        large = 1.0 - _erfc_of_large(magnitude.at_most(6.0).at_least(0.75), _ERFC)
        limit = 1.0
    small = magnitude.fma(polynomial(square, _ERF[x.element]), magnitude)
    return (magnitude < limit).select(small, large).copysign(x)


def _erfc_of_large(x: Lanes, coefficients: tuple[float, ...]) -> Lanes:
    """erfc of doubles from 3/4 on, to a few units in the last place."""
    t = (x - _ERFC_CENTRE) / (x + _ERFC_CENTRE)
    return exp(-(x * x)) * polynomial(t, coefficients) / (x + x + 1.0)


def _precise_erfc_of_large(x: Lanes) -> Lanes:
    """The same within one unit: pairs keep the errors of five roundings."""
    square = two_product(x, x)
    r, shifted = reduce(-square[0])
    one = x.constant(1.0)
    high, low = fast_two_sum(one, r)
    e = fast_two_sum(high, low + r * r * polynomial(r, _EXP_TAIL))
    e = e[0], (-e[0]).fma(square[1], e[1])
    t = divide(two_sum(x, x.constant(-_ERFC_CENTRE)), two_sum(x, x.constant(_ERFC_CENTRE)))
    inner = polynomial(t[0], _ERFC[1:])
    p = fast_two_sum(x.constant(_ERFC[0]), inner * t[0])
    high, low = divide(multiply(e, p), two_sum(x + x, one))
    return scale(high + low, shifted)


def erfc(x: Lanes) -> Lanes:
    """``1 - erf(x)`` without cancellation; float32 through float64."""
    wide = x.convert("fpext", "double")
    magnitude = wide.abs()
    if x.element == "float":
        large = _erfc_of_large(magnitude.at_most(_FLOAT_ERFC_IS_ZERO).at_least(0.75), _SHORT_ERFC)
    else:
        large = _precise_erfc_of_large(magnitude.at_most(28.0).at_least(0.75))
    large = (wide < 0.0).select(2.0 - large, large)
    # 1 - (x + x P), with the part that is close to 1/2 first where the result is small.
    tail = wide * polynomial(wide * wide, _ERF["double"])
    small = (wide < 0.25).select(1.0 - (wide + tail), 0.5 - ((wide - 0.5) + tail))
    return (magnitude < 0.75).select(small, large).convert("fptrunc", x.element)


def erfinv(x: Lanes) -> Lanes:
    """The y with ``erf(y) = x``; float32 in doubles.

    S. Winitzki's approximation (2008, to three digits), then Halley's steps, each of which triples the digits.
    """
    builder, single = x.builder, x.element == "float"
    wide = x.convert("fpext", "double")
    magnitude = wide.abs()
    complement = 1.0 - magnitude
    # log(1 - x**2), with a lower bound for arguments outside of (-1, 1), which are dealt with below.
    logarithm = log1p((-(magnitude * magnitude)).at_least(-1.0 + 2.0**-53))
    a = 0.147
    centre = logarithm * 0.5 + 2.0 / (math.pi * a)
    square = (logarithm * (-1.0 / a)) / ((centre * centre - logarithm * (1.0 / a)).sqrt() + centre)
    with builder.loop(0, 2 if single else 3, carried=[square.sqrt().value]) as loop:
        y = wide.of(loop.carried[0])
        beyond = y.at_least(0.75)
        erfc_of_y = _erfc_of_large(beyond, _SHORT_ERFC) if single else _precise_erfc_of_large(beyond)
        small = y.fma(polynomial(y * y, _ERF["double"]), y)
        error = (y < 0.75).select(small - magnitude, complement - erfc_of_y)
        step = error * exp(y * y) * (math.sqrt(math.pi) / 2.0)
        loop.carry((y - step / step.fma(y, 1.0)).value)
    y = wide.of(loop.carried[0])
    # Below, erf(y) is 2 y / sqrt(pi) to the last place, and the square above may be subnormal.
    y = (magnitude < 2.0**-28).select(magnitude * (math.sqrt(math.pi) / 2.0), y)
    y = (magnitude == 1.0).select(wide.constant(math.inf), (magnitude > 1.0).select(wide.constant(math.nan), y))
    return wide.is_nan().select(wide, y.copysign(wide)).convert("fptrunc", x.element)
