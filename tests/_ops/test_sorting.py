"""Sorting and order statistics against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).integers(-3, 4, (4, 7, 3)).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_sort_is_stable_in_both_directions(values: np.ndarray, axis: int) -> None:
    x = flambeau.tensor(values)
    up = x.sort(axis, stable=True)
    assert np.array_equal(up.indices.numpy(), np.argsort(values, axis, kind="stable"))
    down = x.sort(axis, descending=True, stable=True)
    assert np.array_equal(down.indices.numpy(), np.argsort(-values, axis, kind="stable"))
    assert np.array_equal(down.values.numpy(), -np.sort(-values, axis))


def test_nan_is_the_largest() -> None:
    x = flambeau.tensor([1.0, float("nan"), 3.0])
    assert x.sort().indices.tolist() == [0, 2, 1]
    assert x.sort(descending=True).indices.tolist() == [1, 2, 0]
    assert x.median().isnan().item()
    assert x.nanmedian().item() == 1.0


def test_gradient_returns_to_the_elements_that_were_taken() -> None:
    x = flambeau.tensor([3.0, 1.0, 2.0], requires_grad=True)
    x.topk(2).values.backward(flambeau.tensor([10.0, 20.0]))
    assert x.grad.tolist() == [10.0, 0.0, 20.0]


@pytest.mark.parametrize("q", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantile(values: np.ndarray, q: float, interpolation: str) -> None:
    found = flambeau.quantile(flambeau.tensor(values), q, 1, interpolation=interpolation)
    np.testing.assert_allclose(found.numpy(), np.quantile(values, q, axis=1, method=interpolation), rtol=1e-6)


def test_named_results_are_shown_by_their_names() -> None:
    assert repr(flambeau.tensor([2, 1]).sort()) == "torch.return_types.sort(\nvalues=tensor([1, 2]),\nindices=tensor([1, 0]))"


def test_topk_refuses_more_than_there_are() -> None:
    with pytest.raises(RuntimeError, match="must be between 0 and 3"):
        flambeau.zeros(3).topk(4)
