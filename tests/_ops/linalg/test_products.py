"""Powers, the exponential and products of matrices against NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

import flambeau
from flambeau import linalg
from flambeau.autograd import gradcheck, gradgradcheck
from tests._ops.linalg.matrices import values


@pytest.mark.parametrize("scale", [1e-6, 1.0, 30.0])
@pytest.mark.parametrize("complex", [False, True])
def test_matrix_exp(complex: bool, scale: float) -> None:
    a = values(2, 4, 4, complex=complex) * np.array([scale, 0.5]).reshape(2, 1, 1)
    found = linalg.matrix_exp(flambeau.tensor(a)).numpy()
    for position in range(2):
        expected = scipy.linalg.expm(a[position])
        np.testing.assert_allclose(found[position], expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_gradients_of_matrix_exp() -> None:
    for complex in (False, True):
        a = flambeau.tensor(values(3, 3, complex=complex), requires_grad=True)
        assert gradcheck(linalg.matrix_exp, (a,), fast_mode=True) and gradgradcheck(linalg.matrix_exp, (a,), fast_mode=True)


@pytest.mark.parametrize("n", [-3, -1, 0, 1, 2, 5, 8])
def test_matrix_power(n: int) -> None:
    a = values(2, 3, 3)
    np.testing.assert_allclose(linalg.matrix_power(flambeau.tensor(a), n).numpy(), np.linalg.matrix_power(a, n), rtol=1e-8)


def test_multi_dot() -> None:
    shapes = [(10, 100), (100, 5), (5, 50), (50, 1)]
    arrays = [values(*shape) for shape in shapes]
    found = linalg.multi_dot([flambeau.tensor(each) for each in arrays])
    np.testing.assert_allclose(found.numpy(), np.linalg.multi_dot(arrays), rtol=1e-9)
    vectors = [values(3), values(3, 4), values(4)]
    np.testing.assert_allclose(
        linalg.multi_dot([flambeau.tensor(each) for each in vectors]).item(), np.linalg.multi_dot(vectors), rtol=1e-9
    )
    with pytest.raises(RuntimeError, match="tensors 0 and 1 with shapes .* cannot be multiplied"):
        linalg.multi_dot([flambeau.ones(2, 3), flambeau.ones(2, 3)])
    with pytest.raises(RuntimeError, match="at least 2 tensors"):
        linalg.multi_dot([flambeau.ones(2, 3)])


def test_vectors() -> None:
    x, y = values(2, 3, complex=True), values(2, 3, complex=True)[::-1].copy()
    np.testing.assert_allclose(linalg.vecdot(flambeau.tensor(x), flambeau.tensor(y)).numpy(), (x.conj() * y).sum(-1), rtol=1e-10)
    np.testing.assert_allclose(linalg.cross(flambeau.tensor(x), flambeau.tensor(y)).numpy(), np.cross(x, y), rtol=1e-10)


def test_vander() -> None:
    x = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(linalg.vander(flambeau.tensor(x)).numpy(), np.vander(x, increasing=True))
    np.testing.assert_allclose(flambeau.vander(flambeau.tensor(x), 4).numpy(), np.vander(x, 4))
    assert flambeau.vander(flambeau.tensor([2, 3]), 0).shape == (2, 0)


def test_tensors_as_matrices() -> None:
    a = values(2, 3, 6)
    np.testing.assert_allclose(linalg.tensorinv(flambeau.tensor(a)).numpy(), np.linalg.tensorinv(a), rtol=1e-8)
    b = values(2, 3)
    np.testing.assert_allclose(linalg.tensorsolve(flambeau.tensor(a), flambeau.tensor(b)).numpy(), np.linalg.tensorsolve(a, b), rtol=1e-8)
    with pytest.raises(RuntimeError, match="prod"):
        linalg.tensorinv(flambeau.ones(2, 3), 1)
