"""Transforms that are written out, carried out on Python's numbers."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from flambeau._codegen.fourier.butterflies import root, transform
from flambeau._codegen.ir import Value


class Number:
    """A number where code expects a register."""

    type = "double"

    def __init__(self, number: float) -> None:
        self.number = number


def _number(value: Any) -> float:
    return value.number if isinstance(value, Number) else struct.unpack(">d", bytes.fromhex(value.text[2:]))[0]


class Calculator:
    """What writes instructions elsewhere computes them."""

    def __init__(self) -> None:
        self.operations = 0

    def _done(self, number: float) -> Number:
        self.operations += 1
        return Number(number)

    def add(self, x: Number, y: Number) -> Number:
        return self._done(_number(x) + _number(y))

    def sub(self, x: Number, y: Number) -> Number:
        return self._done(_number(x) - _number(y))

    def mul(self, x: Number, y: Number | Value) -> Number:
        return self._done(_number(x) * _number(y))

    def fma(self, x: Number, y: Number | Value, z: Number) -> Number:
        return self._done(_number(x) * _number(y) + _number(z))

    def neg(self, x: Number) -> Number:
        return Number(-_number(x))


@pytest.mark.parametrize("n", range(1, 33))
def test_a_transform_of_registers(n: int) -> None:
    values = np.random.default_rng(n).standard_normal((n, 2))
    found = transform(Calculator(), [(Number(re), Number(im)) for re, im in values])  # type: ignore[arg-type]
    found = np.array([complex(_number(re), _number(im)) for re, im in found])
    np.testing.assert_allclose(found, np.fft.fft(values @ [1, 1j]), atol=1e-13)


@pytest.mark.parametrize(("n", "most"), [(2, 4), (4, 16), (8, 56), (16, 180), (15, 190), (12, 110)])
def test_it_takes_few_operations(n: int, most: int) -> None:
    calculator = Calculator()
    transform(calculator, [(Number(1.0), Number(0.0))] * n)  # type: ignore[arg-type]
    assert calculator.operations <= most


def test_roots_are_exact_on_the_axes_and_symmetric() -> None:
    assert [root(4, power) for power in range(4)] == [(1, 0), (0, -1), (-1, 0), (0, 1)]
    assert root(8, 1) == pytest.approx((0.5**0.5, -(0.5**0.5)), abs=2e-16)
    for n in (5, 24, 1000):
        for power in range(n):
            cosine, sine = root(n, power)
            assert root(n, n - power) == (cosine, -sine)
            assert abs(complex(cosine, sine) - np.exp(-2j * np.pi * power / n)) < 2e-15
