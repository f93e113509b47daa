"""What chunks add up to: of float64 and complex128 with what each addition rounds (``docs/design/0003-reductions.md``)."""

from __future__ import annotations

import math

import numpy as np
import pytest

import flambeau

EPSILON = 2.0**-52


def exact(x: np.ndarray) -> float:
    return math.fsum(x.ravel().tolist())


def hard(*shape: int) -> np.ndarray:
    """Of one sign, so that each addition rounds what all before it came to."""
    return np.random.default_rng(len(shape)).uniform(0, 1, shape)


@pytest.mark.parametrize("count", [1023, 1024, 2049, 10**5, 3 * 10**6])
def test_a_long_sum_is_within_an_epsilon(count: int) -> None:
    x = hard(count)
    right = exact(x)
    assert abs(flambeau.tensor(x).sum().item() - right) <= EPSILON * right
    assert abs(flambeau.tensor(x).mean().item() - right / count) <= 2 * EPSILON * right / count


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", [(40_000, 5), (5, 40_000), (3000, 300)])
def test_rows_and_columns_are_as_exact(shape: tuple[int, int], axis: int) -> None:
    x = hard(*shape)
    right = np.array([exact(line) for line in np.moveaxis(x, axis, 0).reshape(shape[axis], -1).T])
    for each in (x, x + 1j * x[::-1, ::-1]):
        found = flambeau.tensor(each).sum(axis).numpy()
        assert (np.abs(found.real - right) <= 2 * EPSILON * right).all()


@pytest.mark.parametrize("shape", [(5, 20_000), (5, 3, 7000), (70, 300)])
def test_a_sum_alone_and_one_beside_others_have_the_same_bits(shape: tuple[int, ...]) -> None:
    x = flambeau.tensor(hard(*shape))
    axes = tuple(range(1, len(shape)))
    fused = (x - x.sum(axes, keepdim=True)) * 0 + x.sum(axes, keepdim=True)
    total = flambeau.tensor(x.sum(axes, keepdim=True).numpy())
    assert (fused == total).all().item()
    assert flambeau.stack([line.sum() for line in x]).tolist() == total.flatten().tolist()


@pytest.mark.parametrize("count", [10, 5000, 10**6])
@pytest.mark.parametrize("numbers", [(math.inf,), (-math.inf,), (math.nan,), (math.inf, -math.inf), (1.5e308, 1.5e308)])
def test_what_is_no_number_stays_what_it_is(numbers: tuple[float, ...], count: int) -> None:
    x = np.zeros(count)
    x[: len(numbers)] = numbers
    with np.errstate(all="ignore"):
        right = x.sum()
    for found in (flambeau.tensor(x).sum(), flambeau.tensor(np.stack([x, x], 1)).sum(0)[0], flambeau.tensor(x + 0j).sum().real):
        np.testing.assert_equal(found.item(), right)
