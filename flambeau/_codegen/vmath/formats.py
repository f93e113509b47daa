"""What the functions know of float32 and float64: their layout, and mathematical constants split over two numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flambeau._codegen.lanes import Lanes


class Format(NamedTuple):
    """One float format.  A pair is a constant as ``high + low`` with both rounded to the format."""

    mantissa: int
    bias: int
    smallest_normal: float
    integer: float
    """Adding this leaves the nearest integer in the low bits of the sum."""
    reciprocal: int
    """Less the bits of a number, those of about its reciprocal."""
    ln2: tuple[float, float]
    log2e: tuple[float, float]
    log10e: tuple[float, float]
    pi: tuple[float, float]
    half_pi: tuple[float, float, float]
    quarter_pi: tuple[float, float]
    three_quarter_pi: tuple[float, float]


FORMATS = {
    "float": Format(
        mantissa=23,
        bias=127,
        smallest_normal=2.0**-126,
        integer=1.5 * 2**23,
        reciprocal=0x7EF311C3,
        ln2=(0.6931471824645996, -1.9046542121259336e-09),
        log2e=(1.4426950216293335, 1.925963033500011e-08),
        log10e=(0.4342944920063019, -1.0103049952192578e-08),
        pi=(3.1415927410125732, -8.742277657347586e-08),
        half_pi=(1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
        quarter_pi=(0.7853981852531433, -2.1855694143368964e-08),
        three_quarter_pi=(2.356194496154785, -5.962440319251527e-09),
    ),
    "double": Format(
        mantissa=52,
        bias=1023,
        smallest_normal=2.0**-1022,
        integer=1.5 * 2**52,
        reciprocal=0x7FDE623822FC16E6,
        ln2=(0.6931471805599453, 2.3190468138462996e-17),
        log2e=(1.4426950408889634, 2.0355273740931033e-17),
        log10e=(0.4342944819032518, 1.098319650216765e-17),
        pi=(3.141592653589793, 1.2246467991473532e-16),
        half_pi=(1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
        quarter_pi=(0.7853981633974483, 3.061616997868383e-17),
        three_quarter_pi=(2.356194490192345, 9.184850993605148e-17),
    ),
}


def format_of(x: Lanes) -> Format:
    return FORMATS[x.element]


def in_double(function: Callable[[Lanes], Lanes]) -> Callable[[Lanes], Lanes]:
    """A function that is computed in double precision, for float32 as well."""

    def either(x: Lanes) -> Lanes:
        if x.element == "double":
            return function(x)
        return function(x.convert("fpext", "double")).convert("fptrunc", "float")

    return either
