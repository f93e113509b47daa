"""Masked reductions against NumPy's over the elements that are selected."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import flambeau
from flambeau import masked
from flambeau.autograd import gradcheck

X = np.random.default_rng(0).standard_normal((3, 5))
MASK = np.array([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 1, 1, 1]], bool)

REDUCTIONS = {
    "sum": np.sum, "prod": np.prod, "amax": np.max, "amin": np.min, "mean": np.mean, "var": lambda x: np.var(x, ddof=1), "std": lambda x: np.std(x, ddof=1),
    "norm": np.linalg.norm, "logsumexp": lambda x: np.log(np.exp(x).sum()),
}  # fmt: skip


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name: str) -> None:
    function, expected = getattr(masked, name), REDUCTIONS[name]
    x, mask = flambeau.tensor(X), flambeau.tensor(MASK)
    np.testing.assert_allclose(function(x, mask=mask).item(), expected(X[MASK]), rtol=1e-12)
    rows = [expected(row[chosen]) for row, chosen in zip(X, MASK, strict=True)]
    np.testing.assert_allclose(function(x, dim=1, mask=mask).numpy(), rows, rtol=1e-12)
    np.testing.assert_allclose(function(x, dim=1, keepdim=True).numpy()[:, 0], [expected(row) for row in X], rtol=1e-12)
    assert gradcheck(lambda x: function(x, dim=1, mask=mask), (flambeau.tensor(X, requires_grad=True),), fast_mode=True)


def test_positions_and_median() -> None:
    x, mask = flambeau.tensor(X), flambeau.tensor(MASK)
    filled = np.where(MASK, X, -np.inf)
    assert masked.argmax(x, 1, mask=mask, dtype=flambeau.int64).tolist() == filled.argmax(1).tolist()
    assert masked.argmin(x, 1, mask=mask, dtype=flambeau.int64).tolist() == np.where(MASK, X, np.inf).argmin(1).tolist()
    expected = [np.sort(row[chosen])[(chosen.sum() - 1) // 2] for row, chosen in zip(X, MASK, strict=True)]
    np.testing.assert_allclose(masked.median(x, 1, mask=mask).numpy(), expected)


@pytest.mark.parametrize(("name", "function"), [("cumsum", np.cumsum), ("cumprod", np.cumprod)])
def test_running(name: str, function: Callable) -> None:
    filled = np.where(MASK, X, 0 if name == "cumsum" else 1)
    np.testing.assert_allclose(
        getattr(masked, name)(flambeau.tensor(X), 1, mask=flambeau.tensor(MASK)).numpy(), function(filled, 1), rtol=1e-12
    )


def test_normalisations() -> None:
    x, mask = flambeau.tensor(X), flambeau.tensor(MASK)
    weights = np.where(MASK, np.exp(X), 0)
    expected = weights / weights.sum(1, keepdims=True)
    np.testing.assert_allclose(masked.softmax(x, 1, mask=mask).numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(masked.log_softmax(x, 1, mask=mask).exp().numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(masked.softmin(-x, 1, mask=mask).numpy(), expected, rtol=1e-12)
    filled = np.where(MASK, X, 0)
    np.testing.assert_allclose(
        masked.normalize(x, 2.0, 1, mask=mask).numpy(), filled / np.linalg.norm(filled, axis=1, keepdims=True), rtol=1e-12
    )


def test_a_mask_is_broadcast_and_may_leave_nothing() -> None:
    x = flambeau.ones(2, 3)
    assert masked.sum(x, mask=flambeau.tensor([True, False, True])).item() == 4
    assert masked.mean(x, 1, mask=flambeau.zeros(2, 3, dtype=flambeau.bool)).isnan().all()
    assert masked.amax(x, 1, mask=flambeau.zeros(3, dtype=flambeau.bool)).tolist() == [-np.inf, -np.inf]
    with pytest.raises(IndexError, match="the mask has 3 dimensions, the input 2"):
        masked.sum(x, mask=flambeau.ones(1, 2, 3, dtype=flambeau.bool))
    with pytest.raises(ValueError, match="Floating point"):
        masked.mean(flambeau.ones(2, dtype=flambeau.int64))
