"""Sums and products with their rounding error: ``high + low`` is the exact result.

T. J. Dekker, "A floating-point technique for extending the available precision", 1971; D. E. Knuth, TAOCP 2, 4.2.2.
"""

from __future__ import annotations

from flambeau._codegen.lanes import Lanes
from flambeau._codegen.vmath.formats import format_of

Pair = tuple[Lanes, Lanes]


def two_sum(a: Lanes, b: Lanes) -> Pair:
    high = a + b
    rounded = high - a
    return high, (a - (high - rounded)) + (b - rounded)


def fast_two_sum(a: Lanes, b: Lanes) -> Pair:
    """``two_sum`` where ``|a| >= |b|`` or a is 0."""
    high = a + b
    return high, b - (high - a)


def two_product(a: Lanes, b: Lanes | float) -> Pair:
    high = a * b
    return high, a.fma(b, -high)


def multiply(a: Pair, b: Pair) -> Pair:
    """The product of two pairs, to about twice the precision of one number."""
    high, low = two_product(a[0], b[0])
    return fast_two_sum(high, a[0].fma(b[1], a[1].fma(b[0], low)))


def divide(a: Pair, b: Pair) -> Pair:
    """The quotient of two pairs, to about twice the precision of one number."""
    high = a[0] / b[0]
    rest = (-high).fma(b[1], (-high).fma(b[0], a[0]) + a[1])
    return fast_two_sum(high, rest / b[0])


def rough_reciprocal(x: Lanes) -> Lanes:
    """``1 / x`` of a positive normal number to an eighth, in one subtraction: enough for what is a rounding error and is divided by x."""
    return (x.as_integer().constant(format_of(x).reciprocal) - x.as_integer()).as_float()
