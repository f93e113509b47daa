"""Pseudo-inverses, ranks and least squares against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import linalg
from flambeau.autograd import gradcheck, gradgradcheck
from tests._ops.linalg.matrices import values


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize("shape", [(3, 3), (2, 5, 3), (3, 5), (0, 3), (3, 0)])
def test_pinv(shape: tuple, complex: bool) -> None:
    a = values(*shape, complex=complex)
    np.testing.assert_allclose(linalg.pinv(flambeau.tensor(a)).numpy(), np.linalg.pinv(a), atol=1e-10)


def test_pinv_of_hermitian_matrices() -> None:
    a = values(3, 3, complex=True)
    a = a + a.conj().T
    np.testing.assert_allclose(linalg.pinv(flambeau.tensor(a), hermitian=True).numpy(), np.linalg.inv(a), atol=1e-10)


def test_gradients_of_pinv_also_where_the_rank_is_not_full() -> None:
    for complex in (False, True):
        left, right = (flambeau.tensor(values(4, 2, complex=complex) * scale, requires_grad=True) for scale in (1.0, 0.7))
        assert gradcheck(lambda a, b: linalg.pinv(a @ b.mT, rtol=1e-6), (left, right), fast_mode=True)
        assert gradgradcheck(lambda a, b: linalg.pinv(a @ b.mT, rtol=1e-6), (left, right), fast_mode=True)


def test_tolerances() -> None:
    a = flambeau.diag(flambeau.tensor([1.0, 1e-2, 1e-4]))
    assert linalg.matrix_rank(a).item() == 3
    assert linalg.matrix_rank(a, rtol=1e-3).item() == 2
    assert linalg.matrix_rank(a, atol=0.1).item() == 1
    assert linalg.matrix_rank(a, atol=flambeau.tensor(0.1), rtol=0.0).item() == 1
    assert linalg.matrix_rank(-a, hermitian=True, tol=1e-3).item() == 2
    assert linalg.pinv(a, rtol=1e-3)[2, 2].item() == 0
    assert linalg.matrix_rank(flambeau.zeros(2, 0, 3)).tolist() == [0, 0]


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize("shape", [(5, 3), (3, 3), (3, 5)])
def test_lstsq(shape: tuple, complex: bool) -> None:
    a, b = values(2, *shape, complex=complex), values(2, shape[0], 2, complex=complex)
    found = linalg.lstsq(flambeau.tensor(a), flambeau.tensor(b), driver="gelsd")
    for position in range(2):
        expected = np.linalg.lstsq(a[position], b[position], None)
        np.testing.assert_allclose(found.solution[position].numpy(), expected[0], atol=1e-10)
        np.testing.assert_allclose(found.singular_values[position].numpy(), expected[3], rtol=1e-10)
        assert found.rank[position].item() == expected[2]
        if shape[0] > shape[1]:
            np.testing.assert_allclose(found.residuals[position].numpy(), expected[1], rtol=1e-10)
    assert (found.residuals.numel() == 0) == (shape[0] <= shape[1])
    inputs = flambeau.tensor(a, requires_grad=True), flambeau.tensor(b, requires_grad=True)
    assert gradcheck(lambda a, b: linalg.lstsq(a, b)[0], inputs, fast_mode=True)


def test_what_a_driver_returns() -> None:
    a, b = flambeau.eye(3, 2), flambeau.ones(3)
    assert linalg.lstsq(a, b, driver="gels").rank.numel() == 0
    assert linalg.lstsq(a, b).residuals.numel() == 0
    assert linalg.lstsq(a, b).solution.tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="should be one of"):
        linalg.lstsq(a, b, driver="qr")


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (3, 3), (2, 40, 2)])
def test_gradients_of_lstsq_with_full_rank(shape: tuple[int, ...]) -> None:
    inputs = flambeau.tensor(values(*shape), requires_grad=True), flambeau.tensor(values(*shape[:-1], 2), requires_grad=True)
    assert gradcheck(lambda a, b: linalg.lstsq(a, b).solution, inputs, fast_mode=True)
    assert gradgradcheck(lambda a, b: linalg.lstsq(a, b).solution, inputs, fast_mode=True)


def test_lstsq_where_one_of_a_batch_has_not_full_rank() -> None:
    a, b = values(3, 6, 4), values(3, 6, 2)
    a[1, :, 3] = a[1, :, 0]
    found = linalg.lstsq(flambeau.tensor(a), flambeau.tensor(b))
    for matrix, right, solution in zip(a, b, found.solution.numpy(), strict=True):
        np.testing.assert_allclose(solution, np.linalg.lstsq(matrix, right, 1e-12)[0], atol=1e-10)
    assert found.rank.tolist() == [4, 3, 4]
