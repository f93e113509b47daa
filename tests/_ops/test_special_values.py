"""Infinities, numbers at the ends of a dtype's range, and neighbours in half precision."""

from __future__ import annotations

import cmath
import itertools
import math

import numpy as np
import pytest

import flambeau

INF = math.inf
PARTS = (0.0, -0.0, 1.0, -0.5, 3.0, INF, -INF)
FUNCTIONS = ("acos", "acosh", "asin", "asinh", "atan", "atanh", "cosh", "exp", "sinh", "sqrt")


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_infinite_complex_numbers_are_those_of_c99(name: str, dtype: str) -> None:
    numbers = [complex(*parts) for parts in itertools.product(PARTS, PARTS) if INF in map(abs, parts)]
    found = getattr(flambeau, name)(flambeau.tensor(numbers, dtype=getattr(flambeau, dtype))).tolist()
    for z, result in zip(numbers, found, strict=True):
        try:
            right = getattr(cmath, name)(z)
        except (ValueError, OverflowError):  # where C99 has an error, and no number
            assert cmath.isnan(result), (z, result)
            continue
        for part, expected in ((result.real, right.real), (result.imag, right.imag)):
            assert (math.isnan(part) and math.isnan(expected)) or part == pytest.approx(expected, rel=1e-6), (z, result, right)


LARGE = (complex(710, 1e-5), complex(-712, math.pi / 2), complex(1e-7, 715))
HUGE = (complex(1.5e308, 1.7e308), complex(3, -1e308), complex(-1.7e308, 1.7e308))


@pytest.mark.parametrize(
    ("name", "z"),
    [
        *itertools.product(("exp", "sinh", "cosh", "sin", "cos"), LARGE),
        *itertools.product(("asinh", "acosh", "asin", "acos", "log"), (*LARGE, *HUGE)),
    ],
)
def test_complex_results_at_the_end_of_the_range(name: str, z: complex) -> None:
    """One part of a result may be a number where the other, or something on the way to it, is none."""
    mpmath = pytest.importorskip("mpmath")
    found = getattr(flambeau, name)(flambeau.tensor([z], dtype=flambeau.complex128)).item()
    with mpmath.workdps(400):
        right = getattr(mpmath, name)(mpmath.mpc(z))
    for part, expected in ((found.real, float(right.real)), (found.imag, float(right.imag))):
        assert part == pytest.approx(expected, rel=1e-13, abs=1e-300), (found, right)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_numbers_divided_by_zero_and_infinity(dtype: str) -> None:
    tensor = lambda *numbers: flambeau.tensor(numbers, dtype=getattr(flambeau, dtype))
    above = tensor(1 + 2j, 1 - 2j, 3j, -1 + 1j)
    assert (above / tensor(complex(INF, 3), complex(0, -INF), complex(-INF, INF), complex(INF, 0))).abs().tolist() == [0.0] * 4
    assert (above / tensor(0j, 0j, 0j, 0j)).tolist()[:2] == [complex(INF, INF), complex(INF, -INF)]
    reciprocal = tensor(0j).reciprocal().item()
    assert reciprocal.real == INF
    assert math.isnan(reciprocal.imag)


def test_a_logarithm_of_exponentials_with_nan_is_nan() -> None:
    nan, none = flambeau.tensor([complex(math.nan, 1)]), flambeau.tensor([complex(-INF, 0)])
    assert flambeau.logaddexp(nan, none).isnan().all()
    assert flambeau.logaddexp(none, nan).isnan().all()
    assert flambeau.logaddexp(none, none).real.item() == -INF


@pytest.mark.parametrize(
    ("dtype", "pairs"),
    [
        (
            "float16",
            {(65504.0, INF): INF, (INF, 0.0): 65504.0, (1.0, 2.0): 1 + 2.0**-10, (0.0, -1.0): -(2.0**-24), (1.0, 0.0): 1 - 2.0**-11},
        ),
        ("bfloat16", {(1.0, 2.0): 1 + 2.0**-7, (1.0, -INF): 1 - 2.0**-8, (INF, 1.0): (2 - 2.0**-7) * 2.0**127}),
    ],
)
def test_the_next_number_in_half_precision(dtype: str, pairs: dict[tuple[float, float], float]) -> None:
    x, y = (flambeau.tensor(each, dtype=getattr(flambeau, dtype)) for each in zip(*pairs, strict=True))
    assert flambeau.nextafter(x, y).tolist() == list(pairs.values())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_sinc_is_zero_at_whole_numbers_and_never_nan(dtype: str) -> None:
    x = flambeau.tensor([0.0, 1.0, -2.0, 60000.0, 0.5], dtype=getattr(flambeau, dtype), requires_grad=True)
    result = flambeau.sinc(x)
    assert result.tolist()[:3] == [1.0, 0.0, 0.0]
    assert result[3].abs() < 1e-5
    assert result[4].item() == pytest.approx(2 / math.pi, rel=flambeau.finfo(x.dtype).eps)
    result.sum().backward()
    assert x.grad.tolist()[:3] == pytest.approx([0.0, -1.0, -0.5], rel=flambeau.finfo(x.dtype).eps, abs=1e-12)
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    ("dtype", "size"), [("float16", 3e4), ("float32", 1e30), ("bfloat16", 1e30), ("complex64", 1e30), ("float32", 1e-30)]
)
def test_squares_of_a_norm_need_not_fit_the_dtype(dtype: str, size: float) -> None:
    x = flambeau.full((2, 9), size, dtype=getattr(flambeau, dtype), requires_grad=True)
    rows = flambeau.linalg.vector_norm(x[:, :4], dim=1) / 2
    assert rows.tolist() == [x[0, 0].abs().item()] * 2
    rows.sum().backward()
    assert np.allclose(x.grad[:, :4].abs().float().numpy(), 0.25, rtol=1e-2)


def test_the_norm_of_half_precision_is_rounded_once() -> None:
    x = np.random.default_rng(0).standard_normal((20, 1000)).astype(np.float16)
    right = np.linalg.norm(x.astype(np.float64), axis=1)
    assert (np.abs(flambeau.tensor(x).norm(dim=1).numpy().astype(np.float64) - right) <= 2.0**-11 * right * 1.001).all()


def test_the_gradient_of_a_norm_is_zero_at_zero() -> None:
    x = flambeau.zeros(3, requires_grad=True)
    x.norm().backward()
    assert x.grad.tolist() == [0.0] * 3


def test_polynomials_of_a_degree_that_is_no_number_are_zero() -> None:
    found = flambeau.special.chebyshev_polynomial_t(flambeau.tensor([0.5, 0.5, 0.5]), flambeau.tensor([math.nan, INF, 2.0]))
    assert found.tolist() == [0.0, 0.0, -0.5]


def test_airys_function_of_huge_numbers_is_zero() -> None:
    pytest.importorskip("scipy")
    assert flambeau.special.airy_ai(flambeau.tensor([1e12, 1e30])).tolist() == [0.0, 0.0]


def test_a_number_has_one_place_to_move_a_dimension_to() -> None:
    assert flambeau.tensor(3.0).movedim(0, -1).shape == ()
    with pytest.raises(IndexError):
        flambeau.tensor(3.0).movedim(0, 1)
