"""lgamma, digamma, and the modified Bessel functions of the first kind.

They are computed in double precision, for float32 as well: nobody's inner loop waits for them.  lgamma and digamma are
accurate to a few units in the last place for positive arguments, and in absolute terms near their zeros.
"""

from __future__ import annotations

import math

from flambeau._codegen.lanes import Lanes, polynomial
from flambeau._codegen.vmath.exponential import exp
from flambeau._codegen.vmath.formats import in_double
from flambeau._codegen.vmath.logarithm import log
from flambeau._codegen.vmath.trigonometric import sin_cos_pi, sinpi

_LGAMMA = (
    0.42278433509846713, 0.3224670334241133, -0.06735230105319576, 0.02058080842776596, -0.007385551028925188,
    0.0028905103318418333, -0.0011927539013294978, 0.0005096694951080109, -0.00022315497226179038, 9.945794425649252e-05,
    -4.49237719226365e-05, 2.050354340676404e-05, -9.456078923880337e-06, 4.393523296967852e-06, -1.974826379941878e-06,
    8.998962769263346e-07, -5.806122886356371e-07, 2.9771082145633714e-07,
)  # fmt: skip
"""``lgamma(2 + t) = t P(t)`` for ``|t| <= 1/2``."""

_STIRLING = (
    0.08333333333333333, -0.0027777777777741, 0.0007936507898352139, -0.0005952366070270108, 0.0008414728562342581,
    -0.0018905402246190935, 0.005069252342937096,
)  # fmt: skip
"""``lgamma(x) = (x - 1/2) log(x) - x + log(2 pi)/2 + P(1/x**2)/x`` for ``x >= 8``."""

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


def _lgamma_of_positive(x: Lanes) -> Lanes:
    """Stirling's series from 8 on; below, the recurrence from an argument between 3/2 and 5/2."""
    builder = x.builder
    with builder.loop(0, 6, carried=[x.value, x.constant(1.0).value]) as loop:
        argument, product = (x.of(value) for value in loop.carried)
        more = argument >= 2.5
        argument = more.select(argument - 1.0, argument)
        product = more.select(product * argument, product)
        loop.carry(argument.value, product.value)
    reduced, down = (x.of(value) for value in loop.carried)
    large, shrinks, smallest = x >= 8.0, x < 1.5, x < 0.5
    # t + 2 is x, or x moved up by 1 or 2, or down: written so that t is exact.
    t = smallest.select(x, shrinks.select(x - 1.0, reduced - 2.0))
    up = smallest.select(x * (x + 1.0), x)
    # One logarithm serves all: of x, of what recurrence multiplies by, or of what it divides by.
    logarithm = log(large.select(x, shrinks.select(up, down)))
    small = t * polynomial(t, _LGAMMA)
    small = shrinks.select(small - logarithm, small + logarithm)
    bounded = large.select(x, 8.0)
    inverse = 1.0 / bounded
    series = inverse * polynomial(inverse * inverse, _STIRLING) + 0.5 * math.log(2.0 * math.pi)
    stirling = (bounded - 0.5) * (logarithm - 1.0) + (series - 0.5)
    return large.select((x == math.inf).select(x, stirling), small)


@in_double
def lgamma(x: Lanes) -> Lanes:
    """``log |gamma(x)|``; infinite at 0 and the negative integers."""
    magnitude = x.abs()
    positive = _lgamma_of_positive(magnitude)
    # gamma(x) gamma(-x) = -pi / (x sin(pi x))
    reflected = math.log(math.pi) - log(magnitude * sinpi(magnitude).abs()) - positive
    reflected = (magnitude == magnitude.round()).select(x.constant(math.inf), reflected)
    # Next to 0 the reflection is 0/0, and the logarithm of 1/x all there is.
    reflected = (magnitude < 2.0**-60).select(positive, reflected)
    result = (x < 0.0).select(reflected, positive)
    return x.is_nan().select(x, (magnitude == math.inf).select(magnitude, result))


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
    builder = x.builder
    negative = x < 0.0
    argument = negative.select(1.0 - x, x)
    with builder.loop(0, 10, carried=[argument.value, x.constant(0.0).value]) as loop:
        y, total = (x.of(value) for value in loop.carried)
        more = y < 10.0
        total = more.select(total - 1.0 / y, total)
        loop.carry(more.select(y + 1.0, y).value, total.value)
    y, total = (x.of(value) for value in loop.carried)
    inverse = 1.0 / y
    square = inverse * inverse
    result = total + (log(y) - 0.5 * inverse - square * polynomial(square, _DIGAMMA))
    sin, cos = sin_cos_pi(x)
    reflected = result - math.pi * cos / sin
    reflected = (x == x.round()).select(x.constant(math.nan), reflected)
    result = negative.select(reflected, result)
    return (x == 0.0).select((-x.constant(math.inf)).copysign(-x), result)


def _modified_bessel(x: Lanes, order: int, *, scaled: bool) -> Lanes:
    """The modified Bessel function of the first kind, of order 0 or 1; ``scaled`` by ``exp(-|x|)``."""
    small, large = ((_I0_SMALL, _I0_LARGE), (_I1_SMALL, _I1_LARGE))[order]
    magnitude = x.abs()
    bounded = magnitude.at_most(16.0)
    half = bounded * 0.5
    near = polynomial(half * half, small)
    if order:
        near = near * half
    beyond = magnitude.at_least(16.0)
    far = polynomial(1.0 / beyond, large) / beyond.sqrt()
    if scaled:
        near = near * exp(-bounded)
    else:
        root = exp(beyond * 0.5)  # exp(x) may overflow before the function does
        far = (magnitude == math.inf).select(magnitude, root * far * root)
    result = (magnitude < 16.0).select(near, x.is_nan().select(x, far))
    return result.copysign(x) if order else result


@in_double
def i0(x: Lanes) -> Lanes:
    """The modified Bessel function of the first kind and order 0."""
    return _modified_bessel(x, 0, scaled=False)


@in_double
def i0e(x: Lanes) -> Lanes:
    """``exp(-|x|) i0(x)``."""
    return _modified_bessel(x, 0, scaled=True)


@in_double
def i1(x: Lanes) -> Lanes:
    """The modified Bessel function of the first kind and order 1."""
    return _modified_bessel(x, 1, scaled=False)


@in_double
def i1e(x: Lanes) -> Lanes:
    """``exp(-|x|) i1(x)``."""
    return _modified_bessel(x, 1, scaled=True)
