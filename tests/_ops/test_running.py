"""Running sums and extrema, differences and integrals against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.autograd import gradcheck, gradgradcheck


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_running_totals_along_every_axis(axis: int) -> None:
    array = np.random.default_rng(0).standard_normal((6, 21, 37))
    x = flambeau.tensor(array)
    for given in (x, flambeau.tensor(array.transpose(2, 0, 1).copy()).permute(1, 2, 0)):
        np.testing.assert_allclose(given.cumsum(axis).numpy(), array.cumsum(axis), rtol=1e-12)
        np.testing.assert_allclose(given.cumprod(axis).numpy(), array.cumprod(axis), rtol=1e-12)
        np.testing.assert_allclose(given.logcumsumexp(axis).numpy(), np.logaddexp.accumulate(array, axis), rtol=1e-12)


def test_running_totals_are_kept_in_double_precision() -> None:
    array = np.random.default_rng(1).standard_normal((7, 3000)).astype(np.float32)
    sums, products = (function(array.astype(np.float64), 1).astype(np.float32) for function in (np.cumsum, np.cumprod))
    for x in (flambeau.tensor(array), flambeau.tensor(array.T.copy()).T):
        assert np.array_equal(x.cumsum(1).numpy(), sums)
        assert np.array_equal(x.cumprod(1).numpy(), products)
    assert np.array_equal(flambeau.tensor(array.T.copy()).cumsum(0).numpy(), sums.T)


def by_eights(line: np.ndarray) -> np.ndarray:
    """The running sum of a line along memory, in its order (``docs/design/0003-reductions.md``)."""
    whole, total, result = len(line) // 8 * 8, np.float64(0), []
    for start in range(0, whole, 8):
        items = line[start : start + 8].copy()
        for distance in (1, 2, 4):
            for lane in range(8):
                if lane & distance:
                    items[lane] += items[lane & -2 * distance | distance - 1]
        result += [total + item for item in items]
        total = result[-1]
    for number in line[whole:]:
        total = total + number
        result.append(total)
    return np.array(result)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 100, 1003])
@pytest.mark.parametrize("lines", [1, 3, 4, 9])
def test_the_order_of_a_running_sum(length: int, lines: int) -> None:
    array = np.random.default_rng(length).standard_normal((lines, length))
    assert np.array_equal(flambeau.tensor(array).cumsum(1).numpy(), np.array([by_eights(line) for line in array]))


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_sums_of_neighbours_that_overflow_are_not_seen(dtype: type) -> None:
    array = np.ones((3, 40), dtype)
    array[1, 8:12] = [-1e308, 0, 1e308, 1e308]
    array[1, 20:24] = [-1e308, -1e308, 1e308, 1e308]
    array[2, 17] = np.inf
    found, expected = flambeau.tensor(array).cumsum(1).numpy(), array.cumsum(1)
    assert np.isfinite(expected[:2]).all() and np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize("inner", [2, 3, 8, 15, 16, 17, 40])
def test_running_sums_of_lines_side_by_side_are_chains(inner: int) -> None:
    array = np.random.default_rng(inner).standard_normal((3, 50, inner))
    assert np.array_equal(flambeau.tensor(array).cumsum(1).numpy(), array.cumsum(1))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool"])
def test_running_extrema_and_the_last_place_of_equals(dtype: str) -> None:
    array = np.random.default_rng(2).integers(0, 5, (4, 30))
    x = flambeau.tensor(array).to(getattr(flambeau, dtype))
    wide = x.to(flambeau.float64).numpy()
    for function, accumulate in ((flambeau.cummax, np.maximum.accumulate), (flambeau.cummin, np.minimum.accumulate)):
        values, places = function(x, 1)
        expected = accumulate(wide, 1)
        assert values.dtype is x.dtype and np.array_equal(values.to(flambeau.float64).numpy(), expected)
        last = [[max(j for j in range(i + 1) if row[j] == top[i]) for i in range(30)] for row, top in zip(wide, expected, strict=True)]
        assert places.tolist() == last


def test_what_is_not_a_number_stays() -> None:
    nan = float("nan")
    values, places = flambeau.tensor([1.0, nan, 5.0, nan]).cummax(0)
    assert values.isnan().tolist() == [False, True, True, True] and places.tolist() == [0, 1, 1, 3]


def test_nothing_runs() -> None:
    none = flambeau.zeros(0, 3, dtype=flambeau.complex64)
    assert none.cummax(1).indices.shape == (0, 3) and flambeau.tensor(2j).cummin(0).values.item() == 2j
    with pytest.raises(NotImplementedError, match="have no order"):
        flambeau.ones(3, dtype=flambeau.complex64).cummax(0)
    assert flambeau.zeros(0, 3).cumsum(0).shape == (0, 3) and flambeau.zeros(3, 0).cummax(1).indices.shape == (3, 0)
    assert flambeau.tensor(2.0).cummax(0).values.item() == 2 and flambeau.zeros(0).logcumsumexp(0).shape == (0,)


@pytest.mark.parametrize(
    "function", [lambda x: x.cumsum(0), lambda x: x.cumprod(1), lambda x: x.logcumsumexp(1), lambda x: x.cummax(0).values]
)
def test_gradients(function) -> None:
    assert gradcheck(function, flambeau.tensor(np.random.default_rng(3).standard_normal((3, 4)), requires_grad=True))


def test_differences_and_integrals() -> None:
    array = np.random.default_rng(4).standard_normal((3, 8))
    x = flambeau.tensor(array)
    assert np.array_equal(x.diff(2, 1).numpy(), np.diff(array, 2, 1))
    assert np.array_equal(x.diff(0, 1, prepend=x, append=x).numpy(), np.diff(array, 0, 1, prepend=array, append=array))
    np.testing.assert_allclose(
        flambeau.trapezoid(x, dx=0.5).numpy(), np.trapezoid(array, dx=0.5) if hasattr(np, "trapezoid") else np.trapz(array, dx=0.5)
    )


def test_logarithms_of_running_sums_are_rounded_once() -> None:
    array = (np.random.default_rng(2).standard_normal((5, 2000)) + 1e3).astype(np.float32)
    exact = np.logaddexp.accumulate(array.astype(np.float64), 1).astype(np.float32)
    assert np.array_equal(flambeau.tensor(array).logcumsumexp(1).numpy(), exact)


@pytest.mark.parametrize("values", [[0.0, 1.0, 2.0], [0.0, 3.0, 0.0], [2.0, 0.0, 3.0, 0.0, 5.0], [1.5, -2.0, 0.5, 3.0]])
def test_products_are_differentiated_twice_also_at_zeros(values: list) -> None:
    x = flambeau.tensor(values, dtype=flambeau.float64, requires_grad=True)
    others = [
        [np.prod([v for k, v in enumerate(values) if k not in (i, j)]) if i != j else 0.0 for j in range(len(values))]
        for i in range(len(values))
    ]
    for function in (lambda x: x.prod(), lambda x: x.prod(0), lambda x: x.cumprod(0)[-1]):
        np.testing.assert_allclose(flambeau.autograd.functional.hessian(function, x).numpy(), others, atol=1e-12)
        np.testing.assert_allclose(flambeau.func.vmap(flambeau.func.hessian(function))(x.detach()[None])[0].numpy(), others, atol=1e-12)
    matrix = flambeau.stack([x.detach(), x.detach() + 1]).requires_grad_()
    for function in (
        lambda x: x.prod(1),
        lambda x: x.prod(),
        lambda x: x.cumprod(0),
        lambda x: x.cumprod(1),
        lambda x: x[:, None].prod(2, keepdim=True),
    ):
        assert gradcheck(function, (matrix,)) and gradgradcheck(function, (matrix,))
        assert gradgradcheck(lambda x, f=function: flambeau.view_as_real(f(x * (1 + 0.5j))), (matrix,))
