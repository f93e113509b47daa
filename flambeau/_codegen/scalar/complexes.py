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
    """Both parts of y are scaled by the larger one, so that no square overflows."""
    re, im = y.re.abs(), y.im.abs()
    scale = (re < im).select(im, re)
    c, d = y.re / scale, y.im / scale
    square = c * c + d * d
    return Complex((x.re * c + x.im * d) / square / scale, (x.im * c - x.re * d) / square / scale)


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
