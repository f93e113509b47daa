"""Covariances, correlations and distances against NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial.distance

import flambeau
from flambeau.autograd import gradcheck


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize("correction", [0, 1])
def test_cov(correction: int) -> None:
    x = values(3, 6)
    np.testing.assert_allclose(flambeau.cov(flambeau.tensor(x), correction=correction).numpy(), np.cov(x, ddof=correction), rtol=1e-12)
    often, much = np.array([1, 2, 1, 3, 1, 1]), np.abs(values(6))
    found = flambeau.cov(flambeau.tensor(x), correction=correction, fweights=flambeau.tensor(often), aweights=flambeau.tensor(much))
    np.testing.assert_allclose(found.numpy(), np.cov(x, ddof=correction, fweights=often, aweights=much), rtol=1e-10)
    narrow = flambeau.tensor(much, dtype=flambeau.float32)
    found = flambeau.cov(flambeau.tensor(x), correction=correction, aweights=narrow)
    np.testing.assert_allclose(found.numpy(), np.cov(x, ddof=correction, aweights=narrow.double().numpy()), rtol=1e-10)
    np.testing.assert_allclose(flambeau.cov(flambeau.tensor(x[0]), correction=correction).item(), np.cov(x[0], ddof=correction), rtol=1e-12)


def test_corrcoef() -> None:
    x = values(3, 6) + 1j * values(3, 6)[::-1]
    np.testing.assert_allclose(flambeau.corrcoef(flambeau.tensor(x)).numpy(), np.corrcoef(x), rtol=1e-10)
    np.testing.assert_allclose(flambeau.corrcoef(flambeau.tensor(x.real.copy())).numpy(), np.corrcoef(x.real), rtol=1e-10)


@pytest.mark.parametrize("p", [0.0, 1.0, 1.5, 2.0, np.inf])
def test_cdist(p: float) -> None:
    a, b = values(4, 3), values(5, 3) + 1
    metric = {0.0: "hamming", np.inf: "chebyshev"}.get(p, "minkowski")
    expected = scipy.spatial.distance.cdist(a, b, metric, **({"p": p} if metric == "minkowski" else {})) * (3 if p == 0 else 1)
    np.testing.assert_allclose(flambeau.cdist(flambeau.tensor(a), flambeau.tensor(b), p).numpy(), expected, rtol=1e-10)


def test_gradients_of_cdist() -> None:
    a, b = flambeau.tensor(values(2, 4, 3), requires_grad=True), flambeau.tensor(values(5, 3) + 1, requires_grad=True)
    assert gradcheck(flambeau.cdist, (a, b), fast_mode=True)
    same = flambeau.ones(2, 3, requires_grad=True)
    flambeau.cdist(same, same).sum().backward()
    assert same.grad.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_what_is_refused() -> None:
    with pytest.raises(RuntimeError, match="same number of columns. X1: 3 X2: 4"):
        flambeau.cdist(flambeau.ones(2, 3), flambeau.ones(2, 4))
    with pytest.raises(RuntimeError, match="fweights cannot be negative"):
        flambeau.cov(flambeau.ones(2), fweights=flambeau.tensor([-1, 1]))


@pytest.mark.parametrize("function", [flambeau.cdist, flambeau.linalg.cross, lambda x, y: x.lerp(y, 0.5), lambda x, y: x.lerp_(y, 0.5)])
def test_pairs_of_different_dtypes_are_refused(function):
    with pytest.raises(RuntimeError, match="float64"):
        function(flambeau.ones(3, 3), flambeau.ones(3, 3, dtype=flambeau.float64))


def test_a_weight_without_dimensions_may_be_of_another_dtype():
    weight = flambeau.tensor(0.5, dtype=flambeau.float64)
    assert flambeau.zeros(2).lerp(flambeau.ones(2), weight).dtype is flambeau.float32
    with pytest.raises(RuntimeError, match="`weight`"):
        flambeau.zeros(2).lerp(flambeau.ones(2), weight.expand(2))
