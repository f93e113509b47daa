"""exp, exp2, expm1, sigmoid and silu.

All reduce ``x = n ln2 + r`` with ``|r| <= ln2/2``, use a polynomial in r, and scale by ``2**n``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from flambeau._codegen.ir import Value
from flambeau._codegen.lanes import Lanes, polynomial, seldom
from flambeau._codegen.vmath.formats import Format, format_of
from flambeau._codegen.vmath.pairs import fast_two_sum, two_product

Scale = Callable[[Lanes, Lanes], Lanes]
"""How a number is multiplied by ``2**n``: ``scale``, or ``_scale_normal``."""


class _Limits(NamedTuple):
    overflow: float
    """A little above where exp overflows."""
    large: float
    """A little below where exp is half of the largest power of two."""
    normal: float
    """A little above where exp is no normal number any more."""
    underflow: float
    """A little below where exp is rounded to 0."""
    minus_one: float
    """Below this expm1 is -1."""


_LIMITS = {"float": _Limits(89.0, 88.0, -87.336, -104.0, -18.0), "double": _Limits(710.0, 709.0, -708.39, -746.0, -38.0)}

_EXP = {
    "float": (0.4999999403953552, 0.16666516661643982, 0.04166809841990471, 0.00836917757987976, 0.0013838859740644693),
    "double": (
        0.5, 0.16666666666666688, 0.041666666666666824, 0.008333333333313897, 0.0013888888888778364,
        0.00019841269903439132, 2.480158755699087e-05, 2.755722717317592e-06, 2.75570102416415e-07,
        2.5115509159495087e-08, 2.1037263836358812e-09,
    ),
}  # fmt: skip
"""``exp(r) = 1 + r + r**2 P(r)`` with the smallest error relative to ``exp(r)``."""

_EXPM1 = {
    "float": (0.5, 0.1666666567325592, 0.04166646674275398, 0.008333642967045307, 0.0013935007154941559, 0.00019664925639517605),
    "double": (
        0.5, 0.16666666666666666, 0.0416666666666667, 0.008333333333334523, 0.0013888888888864115,
        0.00019841269836501338, 2.480158736929963e-05, 2.755732746678541e-06, 2.755723681415395e-07,
        2.5045742094364726e-08, 2.092411409054467e-09, 1.786947202319329e-10,
    ),
}  # fmt: skip
"""The same with the smallest error relative to ``exp(r) - 1``."""

_SHORT_EXP2 = (
    1.0, 0.6931472149533289, 0.24022652778752357, 0.05550310599052758, 0.009617694928420115, 0.0013406473711599237,
    0.0001559055515158107,
)  # fmt: skip
"""``2**r`` for ``|r| <= 1/2`` to 28 bits."""


def reduce(x: Lanes) -> tuple[Lanes, Lanes]:
    """``(r, shifted)`` with ``x = n ln2 + r``, where the low bits of ``shifted`` are n."""
    of = format_of(x)
    shifted = x.fma(of.log2e[0], of.integer)
    n = shifted - of.integer
    return (-n).fma(of.ln2[1], (-n).fma(of.ln2[0], x)), shifted


def exp_of_reduced(r: Lanes) -> Lanes:
    """``exp(r)`` for ``|r| <= ln2/2``."""
    return polynomial(r, (1.0, 1.0, *_EXP[r.element]))


def expm1_of_reduced(r: Lanes) -> Lanes:
    """``exp(r) - 1`` for ``|r| <= ln2/2``."""
    return (r * r).fma(polynomial(r, _EXPM1[r.element]), r)


def power_of_two(shifted: Lanes) -> Lanes:
    """``2**n`` for an n that is the exponent of a normal number."""
    of = format_of(shifted)
    return ((shifted.as_integer() << of.mantissa) + (of.bias << of.mantissa)).as_float()


def scale(x: Lanes, shifted: Lanes) -> Lanes:
    """``x * 2**n``, rounded once also where the result is subnormal or overflows, for ``|n|`` up to twice the bias."""
    of = format_of(x)
    if "avx512f" in x.builder.module.features and x.width * x.bits == 512:
        return _scalef(x, shifted - of.integer)
    n = shifted.as_integer() - x.constant(of.integer).as_integer()
    half = n >> 1  # 2**n itself may not be a normal number
    return x * _power(half, of) * _power(n - half, of)


def _scale_normal(x: Lanes, shifted: Lanes) -> Lanes:
    """The same where the result and ``2**n`` are normal numbers."""
    if "avx512f" in x.builder.module.features and x.width * x.bits == 512:
        return scale(x, shifted)
    return x * power_of_two(shifted)


def _scalef(x: Lanes, n: Lanes) -> Lanes:
    """The same by one instruction."""
    every = Value(str((1 << x.width) - 1), f"i{x.width}")
    current_rounding = Value("4", "i32")
    name = "x86.avx512.mask.scalef." + {"float": "ps", "double": "pd"}[x.element] + ".512"
    return x.of(x.builder.intrinsic(name, x.value, n.value, x.value, every, current_rounding, suffix=""))


def _power(n: Lanes, of: Format) -> Lanes:
    return ((n + of.bias) << of.mantissa).as_float()


def exp(x: Lanes) -> Lanes:
    limits = _LIMITS[x.element]
    return _fading("exp", _exp, x.at_most(limits.overflow), limits.normal, limits.underflow, limits.large)


def _exp(x: Lanes, scale: Scale) -> Lanes:
    r, shifted = reduce(x)
    return scale(exp_of_reduced(r), shifted)


def exp2(x: Lanes) -> Lanes:
    of = format_of(x)
    return _fading("exp2", _exp2, x.at_most(of.bias + 2.0), 1.0 - of.bias, -of.bias - of.mantissa - 3.0, float(of.bias))


def _exp2(x: Lanes, scale: Scale) -> Lanes:
    of = format_of(x)
    shifted = x + of.integer
    fraction = x - (shifted - of.integer)
    r = fraction.fma(of.ln2[0], fraction * of.ln2[1])
    return scale(exp_of_reduced(r), shifted)


def _fading(
    name: str, function: Callable[[Lanes, Scale], Lanes], x: Lanes, normal: float, underflow: float, large: float | None = None
) -> Lanes:
    """A function whose result is 0 below ``underflow``, from there to ``normal`` a subnormal number, and above ``large`` perhaps too large for
    ``_scale_normal`` (which it never is if that is ``None``).

    Making a subnormal number takes a hundred cycles on Intel's processors, also if it is rounded to 0 in the end: scores of -inf, of which a mask is
    made, made softmax five times as slow. So only what asks for one waits for it, a register of lanes after the other, which is short code.
    """
    small = x < normal
    result = small.select(0.0, function(small.select(0.0, x), _scale_normal))

    def is_rare(x: Lanes) -> Lanes:
        fades = (x < normal) & (x > underflow)
        return fades if large is None else fades | (x > large)

    return seldom(f"rare_{name}_{x.element}", x, [result], is_rare, lambda x: [function(x.at_least(underflow), scale)])[0]


def short_exp2(x: Lanes) -> Lanes:
    """``2**x`` of doubles to 28 bits, where that is a normal number."""
    of = format_of(x)
    shifted = x + of.integer
    return polynomial(x - (shifted - of.integer), _SHORT_EXP2) * power_of_two(shifted)


def short_exp(x: Lanes) -> Lanes:
    """``exp(x)``, likewise."""
    return short_exp2(x * format_of(x).log2e[0])


def expm1(x: Lanes) -> Lanes:
    """``2**n (exp(r) - 1) + (2**n - 1)``; n is shared by two factors, since ``2**n`` overflows before the result does.

    The sum cancels: what r and ``exp(r) - 1`` are rounded by is kept.
    """
    of = format_of(x)
    limits = _LIMITS[x.element]
    bounded = x.at_most(limits.overflow).at_least(limits.minus_one)
    shifted = bounded.fma(of.log2e[0], of.integer)
    n = shifted - of.integer
    whole, part = two_product(n, of.ln2[0])
    r, rest = fast_two_sum(bounded - whole, -n.fma(of.ln2[1], part))
    small, rest = fast_two_sum(r, (r * r).fma(polynomial(r, _EXPM1[r.element]), rest))
    half = power_of_two(shifted - 1.0)
    whole = half - 0.5
    high = small.fma(half, whole)
    result = (high + rest.fma(half, small.fma(half, whole - high))) * 2.0
    # Where n is 0 the sum is exact but its halves may be subnormal.
    return (half == 0.5).select((x == 0.0).select(x, small), result)


def sigmoid(x: Lanes, e: Lanes | None = None) -> Lanes:
    """``1 - q`` or ``e - e q`` with ``e = exp(-|x|)`` (which may be known), ``q = e / (1 + e)``, so that small results keep their precision."""
    e = exp_of_minus_magnitude(x) if e is None else e
    whole = (x < 0.0).select(e, x.constant(1.0))
    return (-whole).fma(e / (e + 1.0), whole)


def silu(x: Lanes, e: Lanes | None = None) -> Lanes:
    """``x sigmoid(x)``, where x is positive with a rounding less than the product with the sigmoid."""
    e = exp_of_minus_magnitude(x) if e is None else e
    whole = (x < 0.0).select(x * e, x)
    return (x == math.inf).select(x, (-whole).fma(e / (e + 1.0), whole).copysign(x))


def exp_of_minus_magnitude(x: Lanes) -> Lanes:
    limits = _LIMITS[x.element]
    return _fading("exp_at_most_1", _exp, -x.abs(), limits.normal, limits.underflow)
