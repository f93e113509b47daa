"""pow and hypot."""

from __future__ import annotations

import math

from flambeau._codegen.lanes import Lanes, polynomial
from flambeau._codegen.vmath.exponential import exp_of_reduced, scale, short_exp2
from flambeau._codegen.vmath.exponential import reduce as reduce_exponent
from flambeau._codegen.vmath.formats import FORMATS
from flambeau._codegen.vmath.logarithm import SHORT_LN2, reduce, short_log_parts
from flambeau._codegen.vmath.pairs import Pair, divide, fast_two_sum, multiply, two_product, two_sum

_ATANH = (
    0.3999999999999998, 0.2857142857144384, 0.22222222217789744, 0.18181818843990116, 0.15384558428927447,
    0.1333626447651685, 0.11675781295979717, 0.11981747775878687,
)  # fmt: skip
"""``log((1 + s) / (1 - s)) = 2 s + 2/3 s**3 + s**5 P(s**2)``."""

_TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)


def _short_power(x: Lanes, y: Lanes) -> Lanes:
    """``x ** y`` of positive float32 numbers, in doubles."""
    x, y = x.convert("fpext", "double"), y.convert("fpext", "double")
    logarithm, k = short_log_parts(x)
    exponent = y * logarithm.fma(FORMATS["double"].log2e[0], k)
    return short_exp2(exponent.at_most(200.0).at_least(-200.0)).convert("fptrunc", "float")


def log_pair(x: Lanes) -> Pair:
    """The natural logarithm of a positive double, to some 66 bits."""
    mantissa, k = reduce(x)
    one = x.constant(1.0)
    s = divide((mantissa - one, x.constant(0.0)), two_sum(mantissa, one))
    square = multiply(s, s)
    high, low = fast_two_sum(x.constant(_TWO_THIRDS[0]), square[0] * polynomial(square[0], _ATANH))
    cubic = multiply(multiply(s, square), (high, low + _TWO_THIRDS[1]))
    ln2, ln2_low = SHORT_LN2["double"]
    high, first = fast_two_sum(k * ln2, s[0] + s[0])
    high, second = fast_two_sum(high, cubic[0])
    return fast_two_sum(high, k.fma(ln2_low, first + second + (s[1] + s[1] + cubic[1])))


def _power(x: Lanes, y: Lanes) -> Lanes:
    """``x ** y`` of positive doubles."""
    logarithm, low = log_pair(x)
    exponent, error = two_product(y, logarithm)
    low = y.fma(low, error)
    bounded = exponent.at_most(710.0).at_least(-746.0)
    low = (exponent == bounded).select(low, 0.0)
    r, shifted = reduce_exponent(bounded)
    return scale(exp_of_reduced(r + low), shifted)


def pow(x: Lanes, y: Lanes) -> Lanes:
    """``x ** y`` as C99 defines it, special values included."""
    magnitude = x.abs()
    result = (_short_power if x.element == "float" else _power)(magnitude, y)
    grows = (magnitude == math.inf) ^ (y < 0.0)
    extreme = (magnitude == 0.0) | (magnitude == math.inf)
    result = extreme.select(grows.select(x.constant(math.inf), 0.0), result)
    result = (magnitude == 1.0).select(x.constant(1.0), result)
    half = y * 0.5
    integer = y.trunc() == y
    odd = integer & (half.trunc() != half)
    result = (odd & (x.as_integer() < 0)).select(-result, result)
    result = ((x < 0.0) & (x > -math.inf) & ~integer).select(x.constant(math.nan), result)
    result = (x.is_nan() | y.is_nan()).select(x + y, result)
    return ((y == 0.0) | (x == 1.0)).select(x.constant(1.0), result)


def hypot(x: Lanes, y: Lanes) -> Lanes:
    """``sqrt(x**2 + y**2)`` without overflow on the way; float32 through float64."""
    if x.element == "float":
        a, b = x.convert("fpext", "double"), y.convert("fpext", "double")
        result = a.fma(a, b * b).sqrt().convert("fptrunc", "float")
    else:
        a, b = x.abs(), y.abs()
        larger, smaller = (a < b).select(b, a), (a < b).select(a, b)
        huge, tiny = larger > 2.0**500, larger < 2.0**-400
        factor = huge.select(x.constant(2.0**-600), tiny.select(x.constant(2.0**600), 1.0))
        back = huge.select(x.constant(2.0**600), tiny.select(x.constant(2.0**-600), 1.0))
        larger, smaller = larger * factor, smaller * factor
        result = larger.fma(larger, smaller * smaller).sqrt() * back
    infinite = (x.abs() == math.inf) | (y.abs() == math.inf)
    return infinite.select(x.constant(math.inf), result)
