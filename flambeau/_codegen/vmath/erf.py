"""erf, erfc, the normal distribution, and the inverse of erf."""

from __future__ import annotations

import math

from flambeau._codegen.lanes import Lanes, polynomial
from flambeau._codegen.vmath.exponential import exp, exp_of_reduced, power_of_two, reduce, scale, short_exp
from flambeau._codegen.vmath.logarithm import log1p, short_log
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
    0.25539567632435306, -0.42718584717801084, 0.24165819166493963, -0.07897859386774776, 0.003732972000459737,
    0.00699765364542479, -0.0008480625706555645, -0.0009831061478593804, 4.8481972992687145e-05,
    0.0001770269424657556, 1.4820594467310093e-05, -2.9027353315291295e-05,
)  # fmt: skip
"""``exp(x**2) erfc(x) = P(t)``, ``t = (x - 2) / (x + 2)``, for ``1/2 <= x <= 10.5`` to 32 bits, for float32 in double arithmetic."""

_SHORT_ERF = (
    0.1283791670789938, -0.37612638445533736, 0.11283771087395732, -0.02686277648107458, 0.005198567799899659,
    -0.0007662388980759672,
)  # fmt: skip
"""``erf(x) = x + x P(x**2)`` for ``|x| <= 1/2``, likewise."""

_SHORT_ERFINV = (
    1.6235420103927158, 0.24163040379017345, -0.005738166673979439, -0.0008361787581922573, 0.00019510229640199938,
    -1.2720408570086267e-05, -1.7676169065443272e-06, 4.519472619499686e-07, -1.9411591408408924e-08,
    -5.917819597720749e-09, 6.745184100173228e-10, 1.9701289962659887e-11,
)  # fmt: skip
"""``erfinv(x) = x P(w - 3)``, ``w = -log(1 - x**2)``, for ``w <= 6`` to 27 bits."""

_SHORT_ERFINV_TAIL = (
    3.0838855999192054, 1.0052589299786194, 0.005371700510918066, -0.0037504135995087445, 0.002482002172336854,
    -0.0016924041589642062, 0.0009934808722219207, -0.00034925742517442264, -4.738859343924444e-05,
    7.281426803552735e-05,
)  # fmt: skip
"""``erfinv(x) = x P(sqrt(w) - 13/4)`` beyond, for float32."""

_HALF_ROOT_PI = (0.886226925452758, -3.8332932499128993e-17)
"""``sqrt(pi) / 2``, and what it lacks."""

_NORMAL_TAIL = (
    0.14133134484291077, -0.22806978225708008, 0.11313512921333313, -0.024548364803195, -0.005118155851960182,
    0.0029429795686155558, 0.0008014310733415186, -0.00033141043968498707, -0.0001563560654176399,
)  # fmt: skip
"""``exp(x**2 / 2)`` times the integral of the normal distribution from x on is ``P(t)``, ``t = (x - 5/2) / (x + 5/2)``: for float32, from 0 on."""

_NORMAL_TAIL_IS_ZERO = 14.6

_MINUS_LOG_NORMAL_TAIL = (
    0.6931471228599548, 0.7978881597518921, 0.31827452778816223, 0.0364631786942482, -0.005002462770789862,
    0.00016708095790818334, 0.00010825659410329536, -2.733256042120047e-05, 3.17577564601379e-06, -1.8929988243598928e-07,
    4.639814754625604e-09,
)  # fmt: skip
"""That integral is ``exp(-P(x))``, for ``0 <= x <= 9`` within 3e-8 (relative from 1e-4 on): precise enough for ``1`` minus it, and no division."""

_NORMAL_TAIL_IS_TINY = 9.0


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
    if x.element == "float":
        return _short_erfc(x.convert("fpext", "double")).convert("fptrunc", "float")
    magnitude = x.abs()
    large = _precise_erfc_of_large(magnitude.at_most(28.0).at_least(0.75))
    large = (x < 0.0).select(2.0 - large, large)
    # 1 - (x + x P), with the part that is close to 1/2 first where the result is small.
    tail = x * polynomial(x * x, _ERF["double"])
    small = (x < 0.25).select(1.0 - (x + tail), 0.5 - ((x - 0.5) + tail))
    return (magnitude < 0.75).select(small, large)


def _short_erfc(x: Lanes) -> Lanes:
    """erfc of doubles to some 30 bits."""
    magnitude = x.abs()
    bounded = magnitude.at_most(_FLOAT_ERFC_IS_ZERO).at_least(0.5)
    large = short_exp(-(bounded * bounded)) * polynomial((bounded - 2.0) / (bounded + 2.0), _SHORT_ERFC)
    large = (x < 0.0).select(2.0 - large, large)
    small = 1.0 - x.fma(polynomial(x * x, _SHORT_ERF), x)
    return (magnitude < 0.5).select(small, large)


def ndtr(x: Lanes) -> Lanes:
    """The integral of the normal distribution up to x."""
    if x.element == "double":
        return erfc(x * -math.sqrt(0.5)) * 0.5
    magnitude = x.abs().at_most(_NORMAL_TAIL_IS_ZERO)
    r, shifted = reduce(magnitude * magnitude * -0.5)
    tail = polynomial((magnitude - 2.5) / (magnitude + 2.5), _NORMAL_TAIL)
    tail = scale(exp_of_reduced(r) * tail, shifted)
    return (x < 0.0).select(tail, 1.0 - tail)


def gelu(x: Lanes) -> Lanes:
    """``x ndtr(x)``."""
    if x.element == "double":
        return x * 0.5 * (erf(x * math.sqrt(0.5)) + 1.0)
    magnitude = x.abs()
    r, shifted = reduce(-polynomial(magnitude.at_most(_NORMAL_TAIL_IS_TINY), _MINUS_LOG_NORMAL_TAIL))
    tail = (magnitude > _NORMAL_TAIL_IS_TINY).select(0.0, exp_of_reduced(r) * power_of_two(shifted))
    return x * (x < 0.0).select(tail, 1.0 - tail)


def erfinv(x: Lanes) -> Lanes:
    """The y with ``erf(y) = x``."""
    if x.element == "float":
        wide = _short_erfinv(x.convert("fpext", "double"))
        return x.is_nan().select(x, wide.convert("fptrunc", "float"))
    return _precise_erfinv(x)


def _at_ends(magnitude: Lanes, y: Lanes) -> Lanes:
    """Infinity at 1, and nothing beyond."""
    return (magnitude == 1.0).select(y.constant(math.inf), (magnitude > 1.0).select(y.constant(math.nan), y))


def _short_erfinv(x: Lanes) -> Lanes:
    """Two polynomials in ``log(1 - x**2)`` and its root (M. Giles, 2010), in doubles for float32."""
    magnitude = x.abs()
    w = -short_log((-magnitude).fma(magnitude, 1.0).at_least(2.0**-30))
    near = polynomial(w.at_most(6.0) - 3.0, _SHORT_ERFINV)
    far = polynomial(w.at_least(6.0).sqrt() - 3.25, _SHORT_ERFINV_TAIL)
    return _at_ends(magnitude, magnitude * (w < 6.0).select(near, far)).copysign(x)


def _precise_erfinv(x: Lanes) -> Lanes:
    """S. Winitzki's approximation (2008, to three digits), then Halley's steps, each of which triples the digits."""
    builder = x.builder
    magnitude = x.abs()
    complement = 1.0 - magnitude
    # log(1 - x**2), with a lower bound for arguments outside of (-1, 1), which are dealt with below.
    logarithm = log1p((-(magnitude * magnitude)).at_least(-1.0 + 2.0**-53))
    a = 0.147
    centre = logarithm * 0.5 + 2.0 / (math.pi * a)
    square = (logarithm * (-1.0 / a)) / ((centre * centre - logarithm * (1.0 / a)).sqrt() + centre)
    with builder.loop(0, 3, carried=[square.sqrt().value]) as loop:
        y = x.of(loop.carried[0])
        small = y.fma(polynomial(y * y, _ERF["double"]), y - magnitude)  # a difference that is exact in the last step
        error = (y < 0.75).select(small, complement - _precise_erfc_of_large(y.at_least(0.75)))
        step = error * exp(y * y) * (math.sqrt(math.pi) / 2.0)
        loop.carry((y - step / step.fma(y, 1.0)).value)
    y = x.of(loop.carried[0])
    # Below, erf(y) is 2 y / sqrt(pi) to the last place, and the square above may be subnormal.
    y = (magnitude < 2.0**-28).select(magnitude.fma(_HALF_ROOT_PI[0], magnitude * _HALF_ROOT_PI[1]), y)
    return x.is_nan().select(x, _at_ends(magnitude, y).copysign(x))
