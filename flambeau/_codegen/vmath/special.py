"""lgamma, digamma, and the modified Bessel functions of the first kind.

They are computed in double precision, for float32 as well: nobody's inner loop waits for them.  lgamma and digamma are
accurate to a few units in the last place for positive arguments, and in absolute terms near their zeros.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from flambeau._codegen.lanes import Lanes, polynomial
from flambeau._codegen.vmath.exponential import exp, exp_of_reduced, reduce, scale
from flambeau._codegen.vmath.formats import in_double
from flambeau._codegen.vmath.logarithm import log, short_log
from flambeau._codegen.vmath.pairs import Pair, fast_two_sum, multiply, two_product, two_sum
from flambeau._codegen.vmath.power import log_pair
from flambeau._codegen.vmath.trigonometric import sin_cos_pi, sinpi

_LGAMMA = (
    0.4831289505409809, -0.14595989591430608, 0.06291140107456439, -0.031308487501010646, 0.01679709863127416,
    -0.009425622448525798, 0.005446457839126065, -0.0032120740737152814, 0.0019229163127905161,
    -0.0011644145847310124, 0.000711519067515296, -0.00043799307479613914, 0.00027131373861446925,
    -0.0001689178215524898, 0.00010535512483785591, -6.614136022346414e-05, 4.30276814976503e-05,
    -2.7201673025504752e-05, 1.3186019073996835e-05, -8.355075869795273e-06, 1.2140008083973407e-05,
    -7.760660152513446e-06,
)  # fmt: skip
"""``lgamma(x) = (x - 1) (x - 2) P(x - 3/2)`` for ``1 <= x <= 2``: both zeros are factors, so that nothing cancels."""

_SHORT_LGAMMA = (
    0.4831289505409809, -0.14595990197047848, 0.06291140483558316, -0.031308005354291575, 0.01679679922060099,
    -0.009436288268733021, 0.005453080503264046, -0.0031169820596948635, 0.0018638849491948337,
    -0.0015244858346622184, 0.0009349331277874866,
)  # fmt: skip
"""The same to 30 bits, for float32."""

_STIRLING = (
    0.08333333333333333, -0.0027777777777741, 0.0007936507898352139, -0.0005952366070270108, 0.0008414728562342581,
    -0.0018905402246190935, 0.005069252342937096,
)  # fmt: skip
"""``lgamma(x) = (x - 1/2) log(x) - x + log(2 pi)/2 + P(1/x**2)/x`` for ``x >= 8``."""

_DIGAMMA_ROOT = (1.4616321449683622, 9.549995429965697e-17)
"""Digamma's zero, and what it lacks."""

_DIGAMMA_NEAR = (
    0.951055876031833, -0.4236274212814605, 0.2405424842407742, -0.14840492305390884, 0.09498872445494122,
    -0.061922133273064534, 0.04076083381242074, -0.02697579675613825, 0.0179072524394512, -0.011908218001568644,
    0.007926944646403797, -0.005279964873257405, 0.003519006401502276, -0.002345267632540769, 0.0015566317474486838,
    -0.0010376374098418604, 0.0007233266279287554, -0.0004821990530566789, 0.0002272331660987376,
    -0.00015148586836773365, 0.00025968482126430747, -0.00017312261802727394,
)  # fmt: skip
"""``digamma(x) = (x - root) P(x - 3/2)`` for ``1 <= x <= 2``."""

_DIGAMMA = (
    0.08333333333333333, -0.0083333333333292, 0.003968253961576452, -0.004166662613512159, 0.007574581096940411,
    -0.020915892810056413, 0.06983073231654052,
)  # fmt: skip
"""``digamma(x) = log(x) - 1/(2 x) - P(1/x**2)/x**2`` for ``x >= 10``."""

_I0_SMALL = (
    1.0, 1.0, 0.25, 0.027777777777777776, 0.001736111111111111, 6.944444444444444e-05, 1.9290123456790145e-06,
    3.936759889140778e-08, 6.151187326783971e-10, 7.594058428103558e-12, 7.59405842841386e-14, 6.276081342789052e-16,
    4.3583898442965544e-18, 2.5789287631970916e-20, 1.315780653988274e-22, 5.847887776122183e-25, 2.2844136477519394e-27,
    7.902458805231519e-30, 2.4432589702211945e-32, 6.700004361210685e-35, 1.760628638473184e-37, 3.167978929777321e-40,
    1.2401487851150994e-42, -5.460131852622237e-46, 7.897961139436332e-48,
)  # fmt: skip
"""``i0(x) = P(x**2 / 4)`` for ``|x| <= 16``."""

_I0_LARGE = (
    0.3989422804014327, 0.04986778505018225, 0.028050629087472762, 0.029219406616894338, 0.044741938160830344,
    0.09063760635413094, 0.22560174349111514, 0.8408170480537401, -3.231494060714385, 155.4764436522899,
    -2513.6967854492605, 29516.056844105526, -197783.9577519514, 626451.1748788559,
)  # fmt: skip
"""``i0(x) = exp(x) P(1/x) / sqrt(x)`` for ``x >= 16``."""

_I1_SMALL = (
    1.0, 0.5, 0.08333333333333333, 0.0069444444444444475, 0.00034722222222222007, 1.157407407407491e-05,
    2.755731922396412e-07, 4.920949861466336e-09, 6.834652584762577e-11, 7.594058433874306e-13,
    6.903689433498922e-15, 5.2300680867850665e-17, 3.3526060252732556e-19, 1.842098382844109e-21,
    8.771656013249883e-24, 3.655514996894235e-26, 1.3424829409335222e-28, 4.413168272858238e-31,
    1.2534198299305437e-33, 3.712825971558169e-36, 5.2701650129703274e-39, 3.421570854214081e-41,
    -3.4112180120311663e-44, 2.208321864352559e-46,
)  # fmt: skip
"""``i1(x) = x/2 P(x**2 / 4)`` for ``|x| <= 16``."""

_I1_LARGE = (
    0.3989422804014327, -0.14960335515054077, -0.046751048480920133, -0.040907168893182806, -0.057525394905340116,
    -0.11077573628425978, -0.2667999329818491, -0.9642008960754586, 3.53344901725718, -172.07405582137685,
    2767.635483539064, -32346.049322856124, 215686.34556007833, -679626.9189907534,
)  # fmt: skip
"""``i1(x) = exp(x) P(1/x) / sqrt(x)`` for ``x >= 16``."""


def _lgamma_of_positive(x: Lanes, log: Callable[[Lanes], Pair], coefficients: Sequence[float]) -> Lanes:
    """Stirling's series from 8 on; below, the recurrence from an argument between 1 and 2. What is large is a pair until it is added."""
    builder = x.builder
    with builder.loop(0, 6, carried=[x.value, x.constant(1.0).value]) as loop:
        argument, product = (x.of(value) for value in loop.carried)
        more = argument >= 2.0
        argument = more.select(argument - 1.0, argument)
        product = more.select(product * argument, product)
        loop.carry(argument.value, product.value)
    reduced, down = (x.of(value) for value in loop.carried)
    is_large, is_small = x >= 8.0, x < 1.0
    logarithm, rest = log(is_large.select(x, is_small.select(x, down)))
    less_one = is_small.select(x, reduced - 1.0)  # of x + 1 where x is small
    factor = fast_two_sum(x.constant(coefficients[0]), (less_one - 0.5) * polynomial(less_one - 0.5, coefficients[1:]))
    near, near_rest = multiply(two_product(less_one, less_one - 1.0), factor)
    high, error = two_sum(is_small.select(-logarithm, logarithm), near)
    small = high + (error + (is_small.select(-rest, rest) + near_rest))
    bounded = is_large.select(x, 8.0)
    inverse = 1.0 / bounded
    series = inverse * polynomial(inverse * inverse, _STIRLING) + 0.5 * (math.log(2.0 * math.pi) - 1.0)
    less_one, error = fast_two_sum(logarithm, x.constant(-1.0))
    high, low = two_product(bounded - 0.5, less_one)
    stirling = high + ((bounded - 0.5).fma(error + rest, low) + series)
    return is_large.select((high == math.inf).select(high, stirling), (x == 0.0).select(x.constant(math.inf), small))


def _lgamma(x: Lanes, log_of: Callable[[Lanes], Pair], coefficients: Sequence[float]) -> Lanes:
    magnitude = x.abs()
    positive = _lgamma_of_positive(magnitude, log_of, coefficients)
    # gamma(x) gamma(-x) = -pi / (x sin(pi x))
    reflected = math.log(math.pi) - log(magnitude * sinpi(magnitude).abs()) - positive
    reflected = (magnitude == magnitude.round()).select(x.constant(math.inf), reflected)
    # Next to 0 the reflection is 0/0, and the logarithm of 1/x all there is.
    reflected = (magnitude < 2.0**-60).select(positive, reflected)
    result = (x < 0.0).select(reflected, positive)
    return x.is_nan().select(x, (magnitude == math.inf).select(magnitude, result))


def lgamma(x: Lanes) -> Lanes:
    """``log |gamma(x)|``; infinite at 0 and the negative integers."""
    if x.element == "double":
        return _lgamma(x, log_pair, _LGAMMA)
    wide = x.convert("fpext", "double")
    return _lgamma(wide, lambda y: (short_log(y), y.constant(0.0)), _SHORT_LGAMMA).convert("fptrunc", "float")


_TRIGAMMA = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
"""Bernoulli's numbers: ``trigamma(x) = 1/x + 1/(2 x**2) + P(1/x**2) / x**3`` for ``x >= 10``."""


@in_double
def trigamma(x: Lanes) -> Lanes:
    """The derivative of digamma; infinite at 0 and the negative integers."""
    small = x < 0.5
    argument = small.select(1.0 - x, x)
    with x.builder.loop(0, 10, carried=[argument.value, x.constant(0.0).value]) as loop:
        y, total = (x.of(value) for value in loop.carried)
        more = y < 10.0
        total = more.select(total + 1.0 / (y * y), total)
        loop.carry(more.select(y + 1.0, y).value, total.value)
    y, total = (x.of(value) for value in loop.carried)
    inverse = 1.0 / y
    square = inverse * inverse
    result = total + inverse.fma(square * polynomial(square, _TRIGAMMA), square.fma(0.5, inverse))
    sin = sinpi(x)
    reflected = (math.pi * math.pi) / (sin * sin) - result
    reflected = (x == x.round()).select(x.constant(math.inf), reflected)
    result = (x == math.inf).select(x.constant(0.0), small.select(reflected, result))
    return (x == -math.inf).select(x.constant(math.nan), result)


@in_double
def digamma(x: Lanes) -> Lanes:
    """The derivative of lgamma; NaN at the negative integers, infinite with the sign of ``-x`` at 0."""
    negative = x < 0.0
    argument = negative.select(1.0 - x, x)
    far = argument >= 10.0
    # Below, down to between 1 and 2, the smallest terms first.
    with x.builder.loop(0, 8, carried=[argument.value, x.constant(0.0).value]) as loop:
        y, total = (x.of(value) for value in loop.carried)
        more = (y >= 2.0) & ~far
        y = more.select(y - 1.0, y)
        total = more.select(total + 1.0 / y, total)
        loop.carry(y.value, total.value)
    y, total = (x.of(value) for value in loop.carried)
    small = argument < 1.0
    y, total = small.select(argument + 1.0, y), small.select(-1.0 / argument, total)
    near = total + ((y - _DIGAMMA_ROOT[0]) - _DIGAMMA_ROOT[1]) * polynomial(y - 1.5, _DIGAMMA_NEAR)
    inverse = 1.0 / argument
    square = inverse * inverse
    result = far.select(log(argument) - 0.5 * inverse - square * polynomial(square, _DIGAMMA), near)
    sin, cos = sin_cos_pi(x)
    reflected = result - math.pi * cos / sin
    reflected = (x == x.round()).select(x.constant(math.nan), reflected)
    result = negative.select(reflected, result)
    return (x == 0.0).select((-x.constant(math.inf)).copysign(-x), result)


def _modified_bessel(x: Lanes, order: int, *, scaled: bool) -> Lanes:
    """The modified Bessel function of the first kind, of order 0 or 1; ``scaled`` by ``exp(-|x|)``."""
    if x.element == "float":
        return _wide_modified_bessel(x.convert("fpext", "double"), order, scaled=scaled, precise=False).convert("fptrunc", "float")
    return _wide_modified_bessel(x, order, scaled=scaled, precise=True)


def _wide_modified_bessel(x: Lanes, order: int, *, scaled: bool, precise: bool) -> Lanes:
    small, large = ((_I0_SMALL, _I0_LARGE), (_I1_SMALL, _I1_LARGE))[order]
    magnitude = x.abs()
    bounded = magnitude.at_most(16.0)
    half = bounded * 0.5
    square, rest = two_product(half, half)
    near = polynomial(square, small)
    if precise:  # the rounding error of the square counts by the derivative, which is about that many times the function
        near = near.fma(rest / (square + (4.0 if order else 1.0)).sqrt(), near)
    if order:
        near = near * half
    beyond = magnitude.at_least(16.0)
    far = polynomial(1.0 / beyond, large) / beyond.sqrt()
    if scaled:
        near = near * exp(-bounded)
    else:
        r, shifted = reduce(beyond.at_most(720.0))  # exp(x) may overflow before the function does
        far = (magnitude == math.inf).select(magnitude, scale(exp_of_reduced(r) * far, shifted))
    result = (magnitude < 16.0).select(near, x.is_nan().select(x, far))
    return result.copysign(x) if order else result


def i0(x: Lanes) -> Lanes:
    """The modified Bessel function of the first kind and order 0."""
    return _modified_bessel(x, 0, scaled=False)


def i0e(x: Lanes) -> Lanes:
    """``exp(-|x|) i0(x)``."""
    return _modified_bessel(x, 0, scaled=True)


def i1(x: Lanes) -> Lanes:
    """The modified Bessel function of the first kind and order 1."""
    return _modified_bessel(x, 1, scaled=False)


def i1e(x: Lanes) -> Lanes:
    """``exp(-|x|) i1(x)``."""
    return _modified_bessel(x, 1, scaled=True)
