"""sinh, cosh, tanh and their inverses."""

from __future__ import annotations

import math

from flambeau._codegen.lanes import Lanes, polynomial
from flambeau._codegen.vmath.exponential import exp_of_reduced, expm1_of_reduced, power_of_two, reduce, scale
from flambeau._codegen.vmath.formats import format_of
from flambeau._codegen.vmath.logarithm import log_of_pair
from flambeau._codegen.vmath.pairs import divide, fast_two_sum, two_product, two_sum

_TANH_IS_ONE = {"float": 9.125, "double": 19.5}

_SINH_OVERFLOW = {"float": 90.0, "double": 711.0}

_TANH = {
    "float": (
        -0.33333295583724976, 0.13332346081733704, -0.05387984588742256, 0.021486669778823853, -0.007945985533297062,
        0.002301187952980399, -0.000358378718374297,
    ),
    "double": (
        -0.333333333333333, 0.1333333333333071, -0.0539682539673334, 0.021869488516528056, -0.0088632352612599,
        0.0035921255852439903, -0.0014558189063604544, 0.0005899575782695721, -0.00023889821594622686, 9.63467229062808e-05,
        -3.822302143709721e-05, 1.4434092782697184e-05, -4.863310815113855e-06, 1.319359193205451e-06, -2.4614939420027537e-07,
        2.293341336095708e-08,
    ),
}  # fmt: skip
"""``tanh(x) = x + x**3 P(x**2)`` for ``|x| <= 1``."""

_SINH = {
    "float": (0.166667178273201, 0.008330223150551319, 0.00020376636530272663),
    "double": (
        0.16666666666666669, 0.008333333333332915, 0.00019841269841589228, 2.755731910849992e-06, 2.505213067188447e-08,
        1.6056687421557975e-10, 7.775683658036021e-13,
    ),
}  # fmt: skip
"""``sinh(x) = x + x**3 P(x**2)`` for ``|x| <= 1``."""


def tanh(x: Lanes) -> Lanes:
    """``1 - 2 / (exp(2 |x|) + 1)``; a polynomial where that would cancel."""
    magnitude = x.abs().at_most(_TANH_IS_ONE[x.element])
    r, shifted = reduce(magnitude + magnitude)
    large = 1.0 - 2.0 / (exp_of_reduced(r) * power_of_two(shifted) + 1.0)
    square = magnitude * magnitude
    small = (magnitude * square).fma(polynomial(square, _TANH[x.element]), magnitude)
    return (magnitude < 1.0).select(small, large).copysign(x)


def _half_exp(magnitude: Lanes) -> tuple[Lanes, Lanes]:
    """``exp(x) / 2`` as a pair, which overflows only where sinh and cosh do."""
    r, shifted = reduce(magnitude.at_most(_SINH_OVERFLOW[magnitude.element]))
    high, low = fast_two_sum(r.constant(1.0), expm1_of_reduced(r))
    return scale(high, shifted - 1.0), scale(low, shifted - 1.0)


def sinh(x: Lanes) -> Lanes:
    magnitude = x.abs()
    half, rest = _half_exp(magnitude)
    square = magnitude * magnitude
    small = (magnitude * square).fma(polynomial(square, _SINH[x.element]), magnitude)
    return (magnitude < 1.0).select(small, half + (rest - 0.25 / half)).copysign(x)


def cosh(x: Lanes) -> Lanes:
    half, rest = _half_exp(x.abs())
    return half + (rest + 0.25 / half)


def asinh(x: Lanes) -> Lanes:
    """``log(|x| + sqrt(x**2 + 1))`` with the argument as a pair."""
    magnitude = x.abs()
    huge = magnitude > 2.0**30
    bounded = huge.select(magnitude.constant(1.0), magnitude)
    square, error = two_product(bounded, bounded)
    argument = _plus_root(bounded, two_sum(square.constant(1.0), square), error)
    result = log_of_pair((huge.select(magnitude, argument[0]), huge.select(magnitude.constant(0.0), argument[1])))
    result = huge.select(result + format_of(x).ln2[0], result)
    unchanged = (magnitude < 2.0**-30) | ~(magnitude < math.inf)
    return unchanged.select(x, result.copysign(x))


def acosh(x: Lanes) -> Lanes:
    """``log(x + sqrt(x**2 - 1))`` with the argument as a pair."""
    huge = x > 2.0**30
    bounded = huge.select(x.constant(1.0), x)
    square, error = two_product(bounded, bounded)
    argument = _plus_root(bounded, two_sum(square, square.constant(-1.0)), error)
    result = log_of_pair((huge.select(x, argument[0]), huge.select(x.constant(0.0), argument[1])))
    result = huge.select(result + format_of(x).ln2[0], result)
    return (x < 1.0).select(x.constant(math.nan), (x < math.inf).select(result, x))


def _plus_root(x: Lanes, square: tuple[Lanes, Lanes], error: Lanes) -> tuple[Lanes, Lanes]:
    """``x + sqrt(square + error)`` as a pair."""
    high, low = fast_two_sum(square[0], square[1] + error)
    root = high.sqrt()
    correction = ((-root).fma(root, high) + low) / (root + root)
    correction = (root == 0.0).select(root.constant(0.0), correction)
    high, low = two_sum(x, root)
    return fast_two_sum(high, low + correction)


def atanh(x: Lanes) -> Lanes:
    """``log((1 + |x|) / (1 - |x|)) / 2`` with the argument as a pair."""
    magnitude = x.abs()
    one = x.constant(1.0)
    argument = divide(fast_two_sum(one, magnitude), fast_two_sum(one, -magnitude))
    result = (log_of_pair(argument) * 0.5).copysign(x)
    result = (magnitude == 1.0).select(x.constant(math.inf).copysign(x), (magnitude > 1.0).select(x.constant(math.nan), result))
    return ((magnitude < 2.0**-30) | x.is_nan()).select(x, result)
