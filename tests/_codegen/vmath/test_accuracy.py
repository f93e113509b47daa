"""How far each function is from the exact value, in units in the last place of the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import scipy.special

from flambeau._codegen import vmath
from tests._codegen.elementwise import run_lanes


class Case(NamedTuple):
    exact: Callable[..., np.ndarray]
    float32: float = 2.0
    float64: float = 2.0
    """The largest error allowed."""


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


# Bounds are the measured maximum (docs/design/0004-vector-math.md), rounded up to a tenth.
UNARY = {
    "exp": Case(np.exp, 0.9, 0.9),
    "exp2": Case(np.exp2, 0.9, 0.9),
    "expm1": Case(np.expm1, 1.1, 1.2),
    "log": Case(np.log, 1.0, 0.9),
    "log2": Case(np.log2, 1.1, 1.1),
    "log10": Case(np.log10, 1.0, 1.0),
    "log1p": Case(np.log1p, 1.0, 0.9),
    "sigmoid": Case(_sigmoid, 1.7, 1.7),
    "tanh": Case(np.tanh, 1.0, 1.0),
    "sinh": Case(np.sinh, 1.0, 1.0),
    "cosh": Case(np.cosh, 1.0, 1.0),
    "asinh": Case(np.arcsinh, 1.1, 1.0),
    "acosh": Case(np.arccosh, 1.0, 1.0),
    "atanh": Case(np.arctanh, 1.1, 0.9),
    "sin": Case(np.sin, 0.8, 0.8),
    "cos": Case(np.cos, 0.8, 0.8),
    "tan": Case(np.tan, 1.2, 1.0),
    "asin": Case(np.arcsin, 0.7, 0.7),
    "acos": Case(np.arccos, 0.8, 0.8),
    "atan": Case(np.arctan, 1.1, 1.1),
}
FLOAT32_ONLY = {  # NumPy has them in no precision beyond float64
    "erf": Case(scipy.special.erf, 1.2),
    "erfc": Case(scipy.special.erfc, 0.6),
    "erfinv": Case(scipy.special.erfinv, 0.6),
    "i0": Case(scipy.special.i0, 0.6),
    "i0e": Case(scipy.special.i0e, 0.6),
    "i1": Case(scipy.special.i1, 0.6),
    "i1e": Case(scipy.special.i1e, 0.6),
}
BINARY = {"pow": Case(np.power, 0.6, 1.1), "atan2": Case(np.arctan2, 1.2, 1.2), "hypot": Case(np.hypot, 0.6, 1.0)}

needs_extended_precision = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant <= 60, reason="long double is no wider than double on this platform"
)


def error(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Distance in units in the last place of the rounded exact value; inf where only one is NaN, or a zero's sign is wrong."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(got.dtype)
        unit = np.spacing(np.minimum(np.abs(rounded), np.finfo(got.dtype).max)).astype(exact.dtype)
        distance = np.abs(got.astype(exact.dtype) - exact) / unit
        same = (np.isnan(got) & np.isnan(rounded)) | (np.isinf(got) & (got == rounded))
        distance = np.where(same, 0, distance)
        wrong = (np.isnan(got) != np.isnan(rounded)) | ((got == 0) & (exact == 0) & (np.signbit(got) != np.signbit(rounded)))
        return np.where(wrong, np.inf, distance)


def check(function: Callable, exact: np.ndarray, bound: float, *arrays: np.ndarray) -> None:
    got = run_lanes(function, *arrays)
    errors = error(got, exact)
    worst = int(np.argmax(errors))
    where = ", ".join(repr(array[worst]) for array in arrays)
    assert errors[worst] <= bound, f"{errors[worst]} units at {where}: got {got[worst]!r}, exact {exact[worst]!r}"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", [*UNARY, *FLOAT32_ONLY])
def test_float32_over_all_bit_patterns(name):
    """Every 4099th float32 there is, negative, subnormal, infinite and NaN ones among them."""
    case = {**UNARY, **FLOAT32_ONLY}[name]
    x = np.arange(0, 1 << 32, 4099, dtype=np.uint64).astype(np.uint32).view(np.float32)
    if name in ("i0", "i1"):
        x = x[np.isfinite(x)]  # SciPy gives NaN for infinity
    check(getattr(vmath, name), case.exact(x.astype(np.float64)), case.float32, x)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_trigamma():
    """As exact as SciPy's zeta function where it is positive, and by reflection below."""
    x = np.concatenate([np.geomspace(1e-6, 1e6, 2001), np.linspace(-30.3, -0.01, 1500)])
    expected = scipy.special.polygamma(1, np.abs(x))
    reflected = np.pi**2 / np.sin(np.pi * (x - np.rint(x))) ** 2 - scipy.special.polygamma(1, 1 - x)
    np.testing.assert_allclose(run_lanes(vmath.trigamma, x), np.where(x < 0, reflected, expected), rtol=3e-15)


def test_the_normal_distribution():
    """In float32 its integral to a unit of 1, and in the lower tail also to a few of its own; what gelu multiplies by it as well, but for its far tail."""
    x = np.concatenate([np.linspace(-12, 12, 50_001), [-0.0, 0.0, 20.0, 1e30]]).astype(np.float32)
    wide, exact = x.astype(np.float64), scipy.special.ndtr(x.astype(np.float64))
    found = run_lanes(vmath.ndtr, x)
    assert np.abs(found - exact).max() < 1.4e-7
    np.testing.assert_allclose(found, exact, rtol=1e-5)
    gelu = run_lanes(vmath.gelu, x)
    np.testing.assert_allclose(gelu, wide * exact, rtol=4e-7, atol=1e-7)
    np.testing.assert_allclose(run_lanes(vmath.ndtr, wide), exact, rtol=2e-13)
    np.testing.assert_array_equal(run_lanes(vmath.gelu, np.array([-1e30, -13.0], np.float32)), [0, 0])


def test_silu():
    """To a few units, but for what is lost where exp gives a subnormal number."""
    for x, bound in ((np.linspace(-85, 120, 400_001).astype(np.float32), 2.3), (np.linspace(-700, 800, 100_001), 2.3)):
        wide = x.astype(np.longdouble)
        check(vmath.silu, wide * _sigmoid(wide), bound, x)


def _doubles() -> np.ndarray:
    random = np.random.default_rng(7)
    return np.concatenate(
        [
            random.normal(size=20000) * random.choice([1, 10], 20000),
            random.uniform(-1.1, 1.1, 40000),
            random.uniform(-750, 750, 20000),
            1 + random.normal(size=10000) * 1e-3,
            np.exp(random.uniform(-745, 709, 40000)) * random.choice([-1, 1], 40000),
            random.integers(0, 1 << 64, 50000, dtype=np.uint64).view(np.float64),
            [0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, -5e-324],
        ]
    )


@needs_extended_precision
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", UNARY)
def test_float64(name):
    x = _doubles()
    if name in ("sin", "cos", "tan"):
        x = x[~(np.abs(x) > 1e5)]  # beyond, extended precision is reduced by too short a pi; see below
    check(getattr(vmath, name), UNARY[name].exact(x.astype(np.longdouble)), UNARY[name].float64, x)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", BINARY)
def test_binary_float32(name):
    random = np.random.default_rng(8)
    x, y = _operands(name, random, 60000, 88)
    x, y = x.astype(np.float32), y.astype(np.float32)
    check(getattr(vmath, name), BINARY[name].exact(x.astype(np.float64), y.astype(np.float64)), BINARY[name].float32, x, y)


@needs_extended_precision
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", BINARY)
def test_binary_float64(name):
    x, y = _operands(name, np.random.default_rng(9), 30000, 709)
    check(getattr(vmath, name), BINARY[name].exact(x.astype(np.longdouble), y.astype(np.longdouble)), BINARY[name].float64, x, y)


def _operands(name: str, random: np.random.Generator, count: int, largest_exponent: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of numbers; for pow such that results cover all exponents."""
    x = np.exp(random.normal(size=count) * random.choice([0.01, 1, 10], count))
    if name == "pow":
        return x, random.uniform(-1.05, 1.02, count) * largest_exponent / np.where(np.abs(np.log(x)) < 1e-9, 1, np.log(x))
    y = np.exp(random.normal(size=count) * random.choice([0.01, 1, 20], count))
    return x * random.choice([-1, 1], count), y * random.choice([-1, 1], count)


ARGUMENTS = {  # of functions that only mpmath knows well enough
    "erf": (np.concatenate([np.linspace(-6.1, 6.1, 200), np.linspace(0.9, 1.1, 50), [1e-300, 1e-20]]), 1.0),
    "erfc": (np.concatenate([np.linspace(-6, 27.3, 300), np.linspace(0.7, 0.8, 50), np.linspace(0.2, 0.3, 20)]), 1.3),
    "erfinv": (np.concatenate([np.linspace(-0.999, 0.999, 100), 1 - 2.0 ** -np.arange(10, 53), [1e-300, 1e-10]]), 0.9),
    "i0": (np.linspace(-60, 60, 131), 3.5),
    "i1": (np.linspace(-60, 60, 131), 3.5),
    "lgamma": (
        np.concatenate(
            [np.linspace(0.01, 30, 150), 1 + np.linspace(-0.02, 0.021, 20), np.linspace(1.2, 2.6, 60), [1e-300, 1e300, 2.0000001]]
        ),
        1.1,
    ),
    "digamma": (
        np.concatenate([np.linspace(1.1, 30, 200), np.linspace(0.01, 1.1, 40), np.linspace(1.461, 1.462, 20), [1e300, 1e-10]]),
        3.0,
    ),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_special_functions_in_float64(name):
    mpmath = pytest.importorskip("mpmath")
    x, bound = ARGUMENTS[name]
    exact = {"lgamma": lambda x: mpmath.loggamma(x).real, "i0": lambda x: mpmath.besseli(0, x), "i1": lambda x: mpmath.besseli(1, x)}.get(
        name, getattr(mpmath, name, None)
    )
    with mpmath.workprec(150):
        _check_against_mpmath(getattr(vmath, name), exact, bound, x, mpmath)


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_arguments_far_out_and_next_to_multiples_of_half_pi(name, precision):
    mpmath = pytest.importorskip("mpmath")
    random = np.random.default_rng(10)
    multiples = np.concatenate([np.arange(1, 60), random.integers(1, 1 << 40, 60)]) * (np.pi / 2)
    limit = 88 if precision is np.float32 else 709
    far = np.exp(random.uniform(9, limit, 200)) * random.choice([-1, 1], 200)
    x = np.concatenate([far, multiples, np.nextafter(multiples, 0)])
    if precision is np.float64:
        x = np.append(x, 6381956970095103 * 2.0**797)  # of all doubles the closest to a multiple of pi/2
    with mpmath.workprec(1300):
        _check_against_mpmath(getattr(vmath, name), getattr(mpmath, name), 1.8, x.astype(precision), mpmath)


def _check_against_mpmath(function: Callable, exact: Callable, bound: float, x: np.ndarray, mpmath: object) -> None:
    for argument, got in zip(x.tolist(), run_lanes(function, x).tolist()):
        want = exact(mpmath.mpf(argument))
        distance = abs(mpmath.mpf(got) - want) / mpmath.mpf(float(np.spacing(abs(x.dtype.type(float(want))))))
        assert distance <= bound, f"{float(distance)} units at {argument!r}: got {got!r}, exact {mpmath.nstr(want, 20)}"
