"""Special values, as IEEE 754-2019 (section 9.2.1) and C99 (annex F) define them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from flambeau._codegen import vmath
from tests._codegen.elementwise import run_lanes

INF, NAN = math.inf, math.nan

# Where the sign of a zero matters it is written 0.0 and not 0.
EXPECTED = {
    "exp": [(0.0, 1), (-INF, 0), (INF, INF), (-1000.0, 0), (1000.0, INF)],
    "exp2": [(0.0, 1), (-INF, 0), (INF, INF), (10.0, 1024), (-1.0, 0.5), (2000.0, INF), (-2000.0, 0)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (-INF, -1), (INF, INF), (-1000.0, -1), (1000.0, INF)],
    "log": [(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (-1.0, NAN), (INF, INF), (-INF, NAN)],
    "log2": [(1.0, 0.0), (8.0, 3), (0.0, -INF), (-1.0, NAN), (INF, INF), (2.0**-100, -100)],
    "log10": [(1.0, 0.0), (1000.0, 3), (0.0, -INF), (-1.0, NAN), (INF, INF)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (-1.5, NAN), (INF, INF)],
    "silu": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, NAN), (-1000.0, -0.0), (1000.0, 1000.0)],
    "sigmoid": [(0.0, 0.5), (INF, 1), (-INF, 0), (1000.0, 1), (-1000.0, 0)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (100.0, 1)],
    "sinh": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (1000.0, INF)],
    "cosh": [(0.0, 1), (INF, INF), (-INF, INF), (1000.0, INF)],
    "asinh": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF)],
    "acosh": [(1.0, 0.0), (0.5, NAN), (INF, INF), (-INF, NAN)],
    "atanh": [(0.0, 0.0), (-0.0, -0.0), (1.0, INF), (-1.0, -INF), (1.5, NAN), (INF, NAN)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "cos": [(0.0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN)],
    "tan": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "sinpi": [(0.0, 0.0), (1.0, 0), (0.5, 1), (-0.5, -1), (2.5, 1), (1.5, -1)],
    "asin": [(0.0, 0.0), (-0.0, -0.0), (1.0, math.pi / 2), (1.5, NAN), (INF, NAN)],
    "acos": [(1.0, 0.0), (-1.0, math.pi), (1.5, NAN), (INF, NAN)],
    "atan": [(0.0, 0.0), (-0.0, -0.0), (INF, math.pi / 2), (-INF, -math.pi / 2)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (30.0, 1)],
    "erfc": [(0.0, 1), (INF, 0), (-INF, 2), (30.0, 0)],
    "erfinv": [(0.0, 0.0), (-0.0, -0.0), (1.0, INF), (-1.0, -INF), (1.5, NAN), (INF, NAN)],
    "lgamma": [(1.0, 0.0), (2.0, 0.0), (0.0, INF), (-0.0, INF), (-3.0, INF), (INF, INF), (-INF, INF)],
    "digamma": [(0.0, -INF), (-0.0, INF), (-3.0, NAN), (INF, INF)],
    "trigamma": [(0.0, INF), (-0.0, INF), (-3.0, INF), (INF, 0), (-INF, NAN)],
    "i0": [(0.0, 1), (INF, INF), (-INF, INF), (1000.0, INF)],
    "i0e": [(0.0, 1), (INF, 0), (-INF, 0)],
    "i1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (1000.0, INF)],
    "i1e": [(0.0, 0.0), (-0.0, -0.0), (INF, 0.0), (-INF, -0.0)],
    "ndtr": [(0.0, 0.5), (INF, 1), (-INF, 0)],
}


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("name", EXPECTED)
def test_special_values(name, precision):
    cases = [*EXPECTED[name], (NAN, NAN)]
    x, want = np.array(cases).T.astype(precision).copy()
    signed_zero = np.array([value == 0 and isinstance(value, float) for _, value in cases])
    for width in (1, 4):
        got = run_lanes(getattr(vmath, name), x, width=width)
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(np.signbit(got[signed_zero]), np.signbit(want[signed_zero]))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("name, exact", [("pow", np.power), ("atan2", np.arctan2), ("hypot", np.hypot)])
def test_special_pairs(name, exact, precision):
    """All pairs of special numbers against the C library's double precision."""
    limits = np.finfo(precision)
    odd = 2.0**limits.nmant + 1
    numbers = [0.0, 0.5, 1.0, 2.0, 3.0, odd, 2 * odd, INF, float(limits.tiny) / 4, float(limits.max)]
    pairs = np.array(list(itertools.product([*numbers, *(-number for number in numbers), NAN], repeat=2)), precision)
    x, y = pairs.T.copy()
    want = exact(x.astype(np.float64), y.astype(np.float64)).astype(precision)
    got = run_lanes(getattr(vmath, name), x, y, width=4)
    np.testing.assert_allclose(got, want, rtol=4 * limits.eps)
    number = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(want[number]))
