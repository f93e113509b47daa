"""Singular values and principal components of matrices of low rank, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (2, 30, 20)])
def test_svd_lowrank(shape: tuple) -> None:
    random = np.random.default_rng(0)
    *batch, rows, columns = shape
    a = random.standard_normal((*batch, rows, 4)) @ random.standard_normal((*batch, 4, columns))
    u, s, v = flambeau.svd_lowrank(flambeau.tensor(a), q=4)
    np.testing.assert_allclose(s.numpy(), np.linalg.svd(a, compute_uv=False)[..., :4], rtol=1e-9)
    np.testing.assert_allclose(((u * s.unsqueeze(-2)) @ v.mH).numpy(), a, atol=1e-9)


def test_pca_lowrank() -> None:
    random = np.random.default_rng(0)
    a = random.standard_normal((40, 3)) @ random.standard_normal((3, 10)) + 5
    _, s, v = flambeau.pca_lowrank(flambeau.tensor(a), q=3)
    np.testing.assert_allclose(s.numpy() ** 2 / 39, np.linalg.eigvalsh(np.cov(a.T))[::-1][:3], rtol=1e-9)
    assert v.shape == (10, 3)
    with pytest.raises(ValueError, match="min\\(m, n\\)=10"):
        flambeau.pca_lowrank(flambeau.tensor(a), q=11)
