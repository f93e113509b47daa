"""Bessel functions against SciPy's, and at their special values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special

from flambeau._codegen import vmath
from tests._codegen.elementwise import run_lanes

INF, NAN = math.inf, math.nan
OSCILLATING = ("j0", "j1", "y0", "y1")
X = np.concatenate([np.geomspace(1e-8, 2, 500), np.linspace(2, 9, 500), np.geomspace(9, 1e4, 500)])
SPECIAL = {
    "j0": [(0.0, 1), (INF, NAN)],
    "j1": [(0.0, 0), (-INF, NAN)],
    "y0": [(0.0, -INF), (-0.0, -INF), (-1.0, NAN)],
    "y1": [(0.0, -INF), (-1.0, NAN), (-INF, NAN)],
    "k0": [(0.0, INF), (-1.0, NAN), (INF, 0), (800.0, 0)],
    "k1": [(0.0, INF), (-1.0, NAN), (INF, 0), (800.0, 0)],
    "k0e": [(0.0, INF), (-1.0, NAN), (INF, 0)],
    "k1e": [(0.0, INF), (-1.0, NAN), (INF, 0)],
}


@pytest.mark.parametrize("name", SPECIAL)
def test_values(name: str) -> None:
    """To 1e-14 of the value, or of what the oscillation swings by, and what SciPy loses as it rounds the angle."""
    x = X if name in OSCILLATING or name.endswith("e") else X[X < 600]
    expected = getattr(scipy.special, name)(x)
    swing = np.sqrt(2 / (np.pi * x)) if name in OSCILLATING else 0.0
    error = np.abs(run_lanes(getattr(vmath, name), x) - expected) / np.maximum(np.abs(expected), swing)
    assert (error < 1e-14 + 1e-16 * x).all()
    short = x.astype(np.float32)
    expected = getattr(scipy.special, name)(short.astype(np.float64))
    error = np.abs(run_lanes(getattr(vmath, name), short) - expected) / np.maximum(np.abs(expected), 1e-37)
    assert error.max() < 1e-7


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name: str, precision: type) -> None:
    x, expected = np.array([*SPECIAL[name], (NAN, NAN)]).T.astype(precision).copy()
    for width in (1, 4):
        np.testing.assert_array_equal(run_lanes(getattr(vmath, name), x, width=width), expected)


def test_of_the_first_kind_they_are_even_and_odd() -> None:
    np.testing.assert_array_equal(run_lanes(vmath.j0, -X), run_lanes(vmath.j0, X))
    np.testing.assert_array_equal(run_lanes(vmath.j1, -X), -run_lanes(vmath.j1, X))


def test_zeros_are_exact() -> None:
    """Next to a zero the value is the distance times the slope, also in the digits that cancel in a series."""
    for order, name in enumerate(("j0", "j1")):
        zeros = scipy.special.jn_zeros(order, 2)
        near = zeros + 1e-9
        slope = scipy.special.jvp(order, zeros)
        np.testing.assert_allclose(run_lanes(getattr(vmath, name), near), slope * 1e-9, rtol=1e-6)
