"""Arithmetic and functions of complex lanes: a pair of real lanes."""

from __future__ import annotations

import math
from typing import NamedTuple

from flambeau._codegen.lanes import Lanes


class Complex(NamedTuple):
    """``re + i im``."""

    re: Lanes
    im: Lanes


def add(x: Complex, y: Complex) -> Complex:
    return Complex(x.re + y.re, x.im + y.im)


def subtract(x: Complex, y: Complex) -> Complex:
    return Complex(x.re - y.re, x.im - y.im)


def multiply(x: Complex, y: Complex) -> Complex:
    return Complex(x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re)


def divide(x: Complex, y: Complex) -> Complex:
    """``x conj(y) / |y|**2``; each part of x is divided by 0 or infinity on its own. Complex64 is computed in double precision, where all squares fit."""
    if x.re.element == "float":
        wide = [Complex(*[part.convert("fpext", "double") for part in operand]) for operand in (x, y)]
        result = _quotient(wide[0], wide[1], _larger(wide[1]))
        return Complex(*[part.convert("fptrunc", "float") for part in result])
    size = _larger(y)
    factor = _scale(size)
    return _quotient(_times(x, factor), _times(y, factor), size)


def _larger(x: Complex) -> Lanes:
    re, im = x.re.abs(), x.im.abs()
    return (re < im).select(im, re)


def _scale(size: Lanes) -> Lanes:
    """A power of two, times which the squares of a positive double neither overflow nor vanish: it is between 1/4 and 4 then, or at least 2**-52."""
    exponent = size.as_integer() & (0x7FF << 52)
    return (size >= 2.0**1021).select(size.constant(2.0**-1022), (exponent.constant(0x7FD << 52) - exponent).as_float())


def _times(x: Complex, factor: Lanes) -> Complex:
    return Complex(x.re * factor, x.im * factor)


def _quotient(x: Complex, y: Complex, size: Lanes) -> Complex:
    alone = (size == 0.0) | (size == math.inf)
    c, d = alone.select(size.constant(1.0), y.re), alone.select(size.constant(0.0), y.im)
    square = alone.select(size, c.fma(c, d * d))
    return Complex(x.re.fma(c, x.im * d) / square, (x.im * c - x.re * d) / square)


def reciprocal(x: Complex) -> Complex:
    return divide(Complex(x.re.constant(1.0), x.re.constant(0.0)), x)


def negate(x: Complex) -> Complex:
    return Complex(-x.re, -x.im)


def conjugate(x: Complex) -> Complex:
    return Complex(x.re, -x.im)


def equal(x: Complex, y: Complex) -> Lanes:
    return (x.re == y.re) & (x.im == y.im)


def not_equal(x: Complex, y: Complex) -> Lanes:
    return (x.re != y.re) | (x.im != y.im)


def is_true(x: Complex) -> Lanes:
    return (x.re != 0.0) | (x.im != 0.0)


def is_nan(x: Complex) -> Lanes:
    return x.re.is_nan() | x.im.is_nan()


def is_infinite(x: Complex) -> Lanes:
    return (x.re.abs() == math.inf) | (x.im.abs() == math.inf)


def is_finite(x: Complex) -> Lanes:
    return (x.re.abs() < math.inf) & (x.im.abs() < math.inf)


def where(condition: Lanes, x: Complex, y: Complex) -> Complex:
    return Complex(condition.select(x.re, y.re), condition.select(x.im, y.im))
