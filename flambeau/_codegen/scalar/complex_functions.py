"""Elementary functions of complex lanes.

complex64 is computed in complex128, which leaves its results close to correctly rounded; complex128 has the accuracy of
the formulas, which are those of W. Kahan, "Branch cuts for complex elementary functions", 1987.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from flambeau._codegen import vmath
from flambeau._codegen.lanes import Lanes, rarely
from flambeau._codegen.scalar.complexes import Complex, add, conjugate, divide, multiply, reciprocal

Function = Callable[..., Complex]


def _in_double(function: Function) -> Function:
    def either(*operands: Complex) -> Complex:
        if operands[0].re.element == "double":
            return function(*operands)
        result = function(*[Complex(*[part.convert("fpext", "double") for part in operand]) for operand in operands])
        return Complex(*[part.convert("fptrunc", "float") for part in result])

    return either


def _rotated(function: Function) -> Function:
    """``-i f(i z)``: a circular function from its hyperbolic counterpart, and the other way about."""

    def rotated(z: Complex) -> Complex:
        re, im = function(Complex(-z.im, z.re))
        return Complex(im, -re)

    return rotated


def _except(where: Callable[[Complex], Lanes], rare: Function) -> Callable[[Function], Function]:
    """A function that ``rare`` stands for at some complex128 numbers: where a square, a sum or a quotient on the way is no float64. Of complex64, which is
    computed in complex128, infinity alone is such a number."""

    def decorated(function: Function) -> Function:
        def either(z: Complex) -> Complex:
            return Complex(*rarely(where(z), function(z), lambda: rare(z)))

        return either

    return decorated


def _larger(z: Complex) -> Lanes:
    re, im = z.re.abs(), z.im.abs()
    return (re < im).select(im, re)


def _is_extreme(z: Complex) -> Lanes:
    """Whether squares may overflow, or have few bits."""
    size = _larger(z)
    return ((size > 2.0**500) & (size < math.inf)) | ((size < 2.0**-500) & (size > 0.0))


def _is_huge(z: Complex) -> Lanes:
    """Whether squares may overflow; infinity, too."""
    return _larger(z) > 2.0**500


def _moderate(z: Complex) -> tuple[Complex, Lanes]:
    """What is extreme, times a power of two, and its exponent."""
    exponent = (_larger(z) > 1.0).select(z.re.constant(-600.0), 600.0)
    factor = (exponent < 0.0).select(z.re.constant(2.0**-600), 2.0**600)
    return Complex(z.re * factor, z.im * factor), exponent


def _constant(like: Complex, re: float, im: float = 0.0) -> Complex:
    return Complex(like.re.constant(re), like.re.constant(im))


def _scaled(z: Complex, factor: float) -> Complex:
    return Complex(z.re * factor, z.im * factor)


def absolute(z: Complex) -> Lanes:
    return vmath.hypot(z.re, z.im)


def angle(z: Complex) -> Lanes:
    return vmath.atan2(z.im, z.re)


@_in_double
def sign(z: Complex) -> Complex:
    """``z / |z|``, and 0 at 0."""
    size = absolute(z)
    zero = size == 0.0
    return Complex(zero.select(size, z.re / size), zero.select(size, z.im / size))


def _grows(z: Complex) -> Lanes:
    """Whether an exponential may overflow that its sine or cosine brings back, or one part is infinite."""
    return (z.re.abs() > 700.0) | (z.im.abs() == math.inf)


def _turned(z: Complex, size: Lanes) -> Complex:
    """``size**2 (cos(im) + i sin(im))`` in two steps, of which only the last may overflow; as C99 has it where the angle is no number."""
    angle = z.im.abs() < math.inf
    re, im = vmath.cos(z.im) * size * size, vmath.sin(z.im) * size * size
    re = angle.select(re, (size == 0.0).select(size, (size == math.inf).select(size, re)))
    return Complex(re, ((z.im == 0.0) | (~angle & (size == 0.0))).select(size.constant(0.0).copysign(z.im), im))


@_in_double
@_except(_grows, lambda z: _turned(z, vmath.exp(z.re * 0.5)))
def exp(z: Complex) -> Complex:
    size = vmath.exp(z.re)
    im = (z.im == 0.0).select(z.im, size * vmath.sin(z.im))
    return Complex(size * vmath.cos(z.im), im)


@_in_double
def exp2(z: Complex) -> Complex:
    return exp(_scaled(z, math.log(2.0)))


@_in_double
def expm1(z: Complex) -> Complex:
    """The real part ``expm1(x) cos(y) - 2 sin(y/2)**2`` does not cancel next to 0."""
    half = vmath.sin(z.im * 0.5)
    re = vmath.expm1(z.re) * vmath.cos(z.im) - half * half * 2.0
    return Complex(re, vmath.exp(z.re) * vmath.sin(z.im))


def _log_of_extreme(z: Complex) -> Complex:
    moderate, exponent = _moderate(z)
    return Complex(exponent.fma(-math.log(2.0), vmath.log(absolute(moderate))), angle(z))


@_in_double
@_except(_is_extreme, _log_of_extreme)
def log(z: Complex) -> Complex:
    re, im = z.re.abs(), z.im.abs()
    larger, smaller = (re < im).select(im, re), (re < im).select(re, im)
    # Next to the unit circle the logarithm of |z| cancels, that of |z|**2 - 1 does not.
    near = (larger > 0.5) & (larger < 2.0)
    squared = (larger - 1.0).fma(larger + 1.0, smaller * smaller)
    size = near.select(vmath.log1p(near.select(squared, 0.0)) * 0.5, vmath.log(absolute(z)))
    return Complex(size, angle(z))


@_in_double
def log1p(z: Complex) -> Complex:
    far = log(Complex(z.re + 1.0, z.im))
    near = (z.re.abs() < 0.5) & (z.im.abs() < 0.5)
    squared = z.re.fma(z.re + 2.0, z.im * z.im)
    return Complex(near.select(vmath.log1p(near.select(squared, 0.0)) * 0.5, far.re), far.im)


_LOG2_E = (1.4426950408889634, 2.0355273740931033e-17)
_LOG10_E = (0.4342944819032518, 1.098319650216765e-17)
"""The logarithms of e, and what they lack."""


@_in_double
def log2(z: Complex) -> Complex:
    return Complex(*[part.fma(_LOG2_E[0], part * _LOG2_E[1]) for part in log(z)])


@_in_double
def log10(z: Complex) -> Complex:
    return Complex(*[part.fma(_LOG10_E[0], part * _LOG10_E[1]) for part in log(z)])


def _sqrt_of_extreme(z: Complex) -> Complex:
    moderate, exponent = _moderate(z)
    factor = (exponent < 0.0).select(z.re.constant(2.0**300), 2.0**-300)
    root = _usual_sqrt(moderate)
    return Complex(root.re * factor, root.im * factor)


def _usual_sqrt(z: Complex) -> Complex:
    re = z.re.abs()
    size = absolute(z)
    main = (re * 0.5 + size * 0.5).sqrt()
    other = z.im.abs() / (main + main)
    zero = size == 0.0
    other = zero.select(main, other)
    right = z.re >= 0.0
    infinite = z.im.abs() == math.inf
    result_re = infinite.select(size, right.select(main, other))
    result_im = infinite.select(size, right.select(other, main))
    return Complex(result_re, result_im.copysign(z.im))


sqrt = _in_double(_except(_is_extreme, _sqrt_of_extreme)(_usual_sqrt))


def rsqrt(z: Complex) -> Complex:
    return reciprocal(sqrt(z))


@_in_double
def sigmoid(z: Complex) -> Complex:
    """``1 / (1 + e)`` or ``e / (1 + e)`` of the exponential that is at most 1."""
    right = z.re >= 0.0
    e = exp(Complex(-z.re.abs(), right.select(-z.im, z.im)))
    above = Complex(right.select(z.re.constant(1.0), e.re), right.select(z.re.constant(0.0), e.im))
    return divide(above, add(e, _constant(z, 1.0)))


@_in_double
def power(z: Complex, exponent: Complex) -> Complex:
    """``exp(exponent log(z))``; of 0, 0 for exponents with a positive real part and 1 for 0."""
    re, im = exp(multiply(exponent, log(z)))
    zero = (z.re == 0.0) & (z.im == 0.0)
    none = (exponent.re == 0.0) & (exponent.im == 0.0)
    re = (zero & (exponent.re > 0.0)).select(re.constant(0.0), re)
    im = (zero & (exponent.re > 0.0)).select(im.constant(0.0), im)
    return Complex(none.select(re.constant(1.0), re), none.select(im.constant(0.0), im))


def _hyperbolic_of_large(z: Complex) -> Complex:
    """``exp(|x|) / 2`` times the cosine and the sine of y, for sinh of a positive x, and for cosh."""
    return _turned(z, vmath.exp(z.re.abs() * 0.5) * math.sqrt(0.5))


def _sinh_of_large(z: Complex) -> Complex:
    re, im = _hyperbolic_of_large(z)
    zero = z.re == 0.0  # of an infinite angle
    return Complex(zero.select(z.re, (z.re < 0.0).select(-re, re)), im)


def _cosh_of_large(z: Complex) -> Complex:
    re, im = _hyperbolic_of_large(z)
    zero = z.re == 0.0
    return Complex(re, zero.select(z.re, (z.re < 0.0).select(-im, im)))


@_in_double
@_except(_grows, _sinh_of_large)
def sinh(z: Complex) -> Complex:
    im = (z.im == 0.0).select(z.im, vmath.cosh(z.re) * vmath.sin(z.im))
    return Complex(vmath.sinh(z.re) * vmath.cos(z.im), im)


@_in_double
@_except(_grows, _cosh_of_large)
def cosh(z: Complex) -> Complex:
    im = (z.im == 0.0).select(z.im, vmath.sinh(z.re) * vmath.sin(z.im))
    return Complex(vmath.cosh(z.re) * vmath.cos(z.im), im)


@_in_double
def tanh(z: Complex) -> Complex:
    tangent, sine = vmath.tan(z.im), vmath.sinh(z.re)
    beta = tangent.fma(tangent, 1.0)
    denominator = (beta * sine).fma(sine, 1.0)
    re = beta * sine.fma(sine, 1.0).sqrt() * sine / denominator
    im = tangent / denominator
    # Beyond, tanh is 1 to the last place, and the squares above would overflow.
    large = z.re.abs() > 22.0
    faint = vmath.exp(z.re.abs() * -2.0) * vmath.sin(z.im) * vmath.cos(z.im) * 4.0
    faint = (z.im.abs() < math.inf).select(faint, 0.0)
    return Complex(large.select(z.re.constant(1.0).copysign(z.re), re), large.select(faint, im))


sin = _rotated(sinh)
tan = _rotated(tanh)


def cos(z: Complex) -> Complex:
    return cosh(Complex(-z.im, z.re))


def _roots(z: Complex) -> tuple[Complex, Complex]:
    """``sqrt(1 - z), sqrt(1 + z)``."""
    return sqrt(Complex(1.0 - z.re, -z.im)), sqrt(Complex(z.re + 1.0, z.im))


def _far(z: Complex) -> Lanes:
    """The logarithm of ``2 |z|``: what inverse functions of huge numbers grow as."""
    size = _larger(z)
    return (size == math.inf).select(size, _log_of_extreme(z).re + math.log(2.0))


@_in_double
@_except(_is_huge, lambda z: Complex(vmath.atan2(z.re, z.im.abs()), _far(z).copysign(z.im)))
def asin(z: Complex) -> Complex:
    minus, plus = _roots(z)
    re = vmath.atan2(z.re, multiply(minus, plus).re)
    return Complex(re, vmath.asinh(multiply(conjugate(minus), plus).im))


@_in_double
@_except(_is_huge, lambda z: Complex(vmath.atan2(z.im.abs(), z.re), -_far(z).copysign(z.im)))
def acos(z: Complex) -> Complex:
    minus, plus = _roots(z)
    re = vmath.atan2(minus.re, plus.re) * 2.0
    return Complex(re, vmath.asinh(multiply(conjugate(plus), minus).im))


@_in_double
@_except(_is_huge, lambda z: Complex(_far(z), angle(z)))
def acosh(z: Complex) -> Complex:
    minus, plus = sqrt(Complex(z.re - 1.0, z.im)), sqrt(Complex(z.re + 1.0, z.im))
    re = vmath.asinh(multiply(conjugate(minus), plus).re)
    return Complex(re, vmath.atan2(minus.im, plus.re) * 2.0)


asinh = _rotated(asin)


def _beyond_atanh(z: Complex) -> Lanes:
    """Where z is huge, or so close to 1 or -1 that the square of its distance is 0."""
    size = _larger(z)
    return (size > 2.0**500) | ((z.re.abs() == 1.0) & (z.im.abs() < 2.0**-500) & (z.im != 0.0))


def _extreme_atanh(z: Complex) -> Complex:
    """``1 / z`` and half of pi; next to 1 ``log(2 / |z - 1|) / 2`` and an eighth of a turn."""
    huge = _larger(z) > 2.0
    near = (math.log(2.0) - vmath.log(z.im.abs())) * 0.5
    re = huge.select(reciprocal(z).re, near).copysign(z.re)
    return Complex(re, huge.select(z.re.constant(math.pi / 2), math.pi / 4).copysign(z.im))


@_in_double
@_except(_beyond_atanh, _extreme_atanh)
def atanh(z: Complex) -> Complex:
    magnitude = z.re.abs()
    gap = 1.0 - magnitude
    re = vmath.log1p(magnitude * 4.0 / gap.fma(gap, z.im * z.im)) * 0.25
    im = vmath.atan2(z.im + z.im, gap.fma(magnitude + 1.0, -(z.im * z.im))) * 0.5
    return Complex(re.copysign(z.re), im)


atan = _rotated(atanh)
