"""log, log2, log10, log1p.

All reduce ``x = 2**k (1 + f)`` with ``sqrt(1/2) <= 1 + f < sqrt(2)`` and use a polynomial for ``log(1 + f)``.
"""

from __future__ import annotations

import math

from flambeau._codegen.lanes import Lanes, polynomial, seldom
from flambeau._codegen.vmath.formats import format_of
from flambeau._codegen.vmath.pairs import Pair, two_sum

_SQRT_HALF = {"float": 0x3F3504F3, "double": 0x3FE6A09E667F3BCC}
"""The bits of sqrt(1/2), rounded down."""

SHORT_LN2 = {"float": (0.693145751953125, 1.428606765330187e-06), "double": (0.6931471805598903, 5.497923018708371e-14)}
"""ln2, with a high part so short that ``k`` times it is exact; the low part is positive, so that an infinite k is as well."""

_SHORT_LOG10_2 = {"float": (0.301025390625, 4.605039066518657e-06), "double": (0.30102999566383914, 1.42050232272661e-13)}
"""log10(2), likewise."""

_FLOAT_LOG1P = (
    0.3333333134651184, -0.250008225440979, 0.20001260936260223, -0.16623322665691376, 0.14201076328754425,
    -0.13160952925682068, 0.12771116197109222, -0.07647132128477097,
)  # fmt: skip
"""``log(1 + f) = f - f**2/2 + f**3 P(f)``."""

_DOUBLE_LOG1P = (
    0.6666666666666734, 0.39999999999416647, 0.2857142874202784, 0.2222219860484348, 0.18183562876796838,
    0.15314083842355394, 0.14795646332873516,
)  # fmt: skip
"""``log(1 + f) = 2 s + s**3 P(s**2)`` with ``s = f / (2 + f)``."""

_SHORT_ATANH = (0.6666666564559806, 0.40000335178859325, 0.2853730802094255, 0.2358217893425869)
"""``log((1 + s) / (1 - s)) = 2 s + s**3 P(s**2)`` to 37 bits, for float32 in double arithmetic."""


def split(x: Lanes) -> tuple[Lanes, Lanes]:
    """``(1 + f, k)`` of a positive normal number, and of others a finite f and k; k is an integer."""
    of = format_of(x)
    offset = x.as_integer() - _SQRT_HALF[x.element]
    mantissa = ((offset & ((1 << of.mantissa) - 1)) + _SQRT_HALF[x.element]).as_float()
    return mantissa, offset >> of.mantissa


def _is_normal(x: Lanes) -> Lanes:
    """Whether x is a positive normal number: by its bits, in one unsigned comparison."""
    of = format_of(x)
    offset = x.as_integer() - (1 << of.mantissa)
    return Lanes(x.builder, offset.value, signed=False) < ((2 * of.bias) << of.mantissa)


def _special_k(x: Lanes) -> Lanes:
    """What k must be for the result to be ``-inf`` for 0, NaN below, and ``inf`` and NaN as they are."""
    return (x == 0.0).select(x.constant(-math.inf), (x < 0.0).select(x.constant(math.nan), x))


def reduce(x: Lanes) -> tuple[Lanes, Lanes]:
    """``(1 + f, k)``; k is a float, and stands for the result where x is not a positive finite number."""
    of = format_of(x)
    shift = of.mantissa + 2

    def rare(x: Lanes) -> list[Lanes]:
        subnormal = (x > 0.0) & (x < of.smallest_normal)
        return [subnormal.select(x * 2.0**shift, x), subnormal.select(x.constant(-float(shift)), _special_k(x))]

    x, more = seldom(f"rare_log_{x.element}", x, [x, x.constant(0.0)], lambda x: ~_is_normal(x), rare)
    mantissa, k = split(x)
    return mantissa, k.to_float() + more


def log1p_tail(f: Lanes) -> Lanes:
    """``log(1 + f) - f`` for a reduced f."""
    if f.element == "float":
        square = f * f
        return square.fma(-0.5, square * f * polynomial(f, _FLOAT_LOG1P))
    s = f / (f + 2.0)
    square = s * s
    half = f * f * 0.5
    return s.fma(half + square * polynomial(square, _DOUBLE_LOG1P), -half)


def _sum(f: Lanes, k: Lanes, rest: Lanes | None = None) -> Lanes:
    """``k ln2 + log(1 + f + rest)``."""
    high, low = SHORT_LN2[f.element]
    tail = log1p_tail(f) if rest is None else rest + log1p_tail(f + rest)
    return k.fma(high, f + k.fma(low, tail))


def _scaled_sum(f: Lanes, k: Lanes, per_k: tuple[float, ...], per_log: tuple[float, float]) -> Lanes:
    """``k per_k + log(1 + f) per_log``, with constants of twice the precision."""
    product = f * per_log[0]
    error = f.fma(per_log[0], -product)
    low = log1p_tail(f).fma(per_log[0], f.fma(per_log[1], error))
    for part in per_k[1:]:
        low = k.fma(part, low)
    return k.fma(per_k[0], product + low)


def log(x: Lanes) -> Lanes:
    mantissa, k = reduce(x)
    return _sum(mantissa - 1.0, k)


def log2(x: Lanes) -> Lanes:
    mantissa, k = reduce(x)
    return _scaled_sum(mantissa - 1.0, k, (1.0,), format_of(x).log2e)


def log10(x: Lanes) -> Lanes:
    mantissa, k = reduce(x)
    return _scaled_sum(mantissa - 1.0, k, _SHORT_LOG10_2[x.element], format_of(x).log10e)


def log_of_pair(x: Pair) -> Lanes:
    """``log(high + low)``, precise also where the result is close to 0; high must not be subnormal."""
    high, low = x
    of = format_of(high)
    zero = high.constant(0.0)
    rare = lambda high: [high.constant(0.0), _special_k(high)]
    low, more = seldom(f"rare_log_of_pair_{high.element}", high, [low, zero], lambda high: ~_is_normal(high), rare)
    mantissa, k = split(high)
    # Beyond, the low part no longer counts, and this would not be a normal number.
    scale = ((of.bias - k.at_most(of.bias - 1)) << of.mantissa).as_float()
    return _sum(mantissa - 1.0, k.to_float() + more, low * scale)


def short_log_parts(x: Lanes) -> tuple[Lanes, Lanes]:
    """``(y, k)`` with ``log(x) = y + k log(2)`` of positive normal doubles, to 37 bits."""
    mantissa, k = split(x)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    return (s * square).fma(polynomial(square, _SHORT_ATANH), s + s), k.to_float()


def short_log(x: Lanes) -> Lanes:
    """``log(x)``, likewise."""
    y, k = short_log_parts(x)
    return k.fma(format_of(x).ln2[0], y)


def log1p(x: Lanes) -> Lanes:
    result = log_of_pair(two_sum(x.constant(1.0), x))
    return (x == 0.0).select(x, result)
