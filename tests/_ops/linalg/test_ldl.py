"""The LDL decomposition against NumPy's solution of the same system."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import linalg


@pytest.mark.parametrize("hermitian", [False, True])
@pytest.mark.parametrize("complex", [False, True])
def test_ldl_solve(complex: bool, hermitian: bool) -> None:
    random = np.random.default_rng(1)
    a, b = random.standard_normal((2, 4, 4)), random.standard_normal((2, 4, 3))
    if complex:
        a, b = a + 1j * random.standard_normal(a.shape), b + 0j
    a = a + (a.conj() if hermitian else a).swapaxes(-1, -2)
    packed, pivots = linalg.ldl_factor(flambeau.tensor(a), hermitian=hermitian)
    assert pivots.dtype == flambeau.int32
    found = linalg.ldl_solve(packed, pivots, flambeau.tensor(b), hermitian=hermitian)
    np.testing.assert_allclose(found.numpy(), np.linalg.solve(a, b), rtol=1e-8)


def test_a_singular_matrix_is_an_error() -> None:
    with pytest.raises(linalg.LinAlgError, match="is zero"):
        linalg.ldl_factor(flambeau.zeros(2, 2)).LD.sum().item()
    assert linalg.ldl_factor_ex(flambeau.zeros(2, 2)).info.item() == 1
