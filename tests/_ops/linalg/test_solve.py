"""Systems, inverses and determinants against NumPy; singular matrices are named."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import linalg
from flambeau.autograd import gradcheck, gradgradcheck
from tests._ops.linalg.matrices import values


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize(
    ("a", "b"), [((3, 3), (3,)), ((3, 3), (3, 2)), ((4, 3, 3), (4, 3)), ((4, 3, 3), (3, 2)), ((2, 1, 3, 3), (4, 3, 2))]
)
def test_solve(a: tuple, b: tuple, complex: bool) -> None:
    left, right = values(*a, complex=complex), values(*b, complex=complex)
    found = linalg.solve(flambeau.tensor(left), flambeau.tensor(right)).numpy()
    vector = b == a[:-1]
    expected = np.linalg.solve(left, right[..., None])[..., 0] if vector else np.linalg.solve(left, right)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_solve_from_the_right() -> None:
    a, x = values(3, 3), values(2, 3)
    np.testing.assert_allclose(linalg.solve(flambeau.tensor(a), flambeau.tensor(x @ a), left=False).numpy(), x, rtol=1e-9)


@pytest.mark.parametrize("complex", [False, True])
def test_gradients_of_solve(complex: bool) -> None:
    a = flambeau.tensor(values(3, 3, complex=complex), requires_grad=True)
    b = flambeau.tensor(values(2, 3, 2, complex=complex), requires_grad=True)
    for left in (True, False):
        b_ = b if left else b.detach().mT.clone().requires_grad_()
        assert gradcheck(lambda a, b, left=left: linalg.solve(a, b, left=left), (a, b_), fast_mode=True)
        assert gradgradcheck(lambda a, b, left=left: linalg.solve(a, b, left=left), (a, b_), fast_mode=True)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("unitriangular", [False, True])
def test_solve_triangular(unitriangular: bool, upper: bool, left: bool) -> None:
    a, x = values(2, 3, 3) + 3 * np.eye(3), values(2, 3, 3)
    triangle = np.triu(a) if upper else np.tril(a)
    if unitriangular:
        triangle = triangle - triangle * np.eye(3) + np.eye(3)
    b = triangle @ x if left else x @ triangle
    options = {"upper": upper, "left": left, "unitriangular": unitriangular}
    np.testing.assert_allclose(linalg.solve_triangular(flambeau.tensor(a), flambeau.tensor(b), **options).numpy(), x, rtol=1e-9)
    inputs = flambeau.tensor(a, requires_grad=True), flambeau.tensor(b, requires_grad=True)
    assert gradcheck(lambda a, b: linalg.solve_triangular(a, b, **options), inputs, fast_mode=True)


def test_a_triangular_matrix_may_be_singular() -> None:
    found = linalg.solve_triangular(flambeau.zeros(1, 1), flambeau.ones(1, 1), upper=True)
    assert found.isinf().all()


@pytest.mark.parametrize("complex", [False, True])
def test_inv_and_det(complex: bool) -> None:
    a = values(2, 3, 3, complex=complex)
    tensor = flambeau.tensor(a)
    np.testing.assert_allclose(linalg.inv(tensor).numpy(), np.linalg.inv(a), rtol=1e-9)
    np.testing.assert_allclose(linalg.det(tensor).numpy(), np.linalg.det(a), rtol=1e-9)
    sign, logarithm = linalg.slogdet(tensor)
    expected = np.linalg.slogdet(a)
    np.testing.assert_allclose(sign.numpy(), expected[0], rtol=1e-9)
    np.testing.assert_allclose(logarithm.numpy(), expected[1], rtol=1e-9)
    for function in (linalg.inv, linalg.det, linalg.slogdet):
        assert gradcheck(function, (tensor.detach().requires_grad_(),), fast_mode=True)
        assert gradgradcheck(function, (tensor.detach().requires_grad_(),), fast_mode=True)


def test_gradient_of_a_singular_determinant() -> None:
    """The matrix of cofactors, which exists where the inverse does not."""
    a = flambeau.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=flambeau.float64, requires_grad=True)
    linalg.det(a).backward()
    np.testing.assert_allclose(a.grad.numpy(), [[4.0, -2.0], [-2.0, 1.0]], atol=1e-12)


def test_logdet() -> None:
    a = flambeau.tensor([[[2.0, 0.0], [0.0, 3.0]], [[0.0, 1.0], [1.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]])
    np.testing.assert_allclose(flambeau.logdet(a).numpy(), [np.log(6), np.nan, -np.inf], rtol=1e-6)


def test_cofactors_of_matrices_with_zeros_on_the_diagonal_of_u() -> None:
    """Of rank 2, exactly; of rank 1, whose cofactors are 0; and of the matrix of zeros."""
    a = flambeau.tensor([[[1.0, 2, 3], [2, 4, 6], [1, 0, 1]], [[1, 2, 3]] * 3, [[0, 0, 0]] * 3], requires_grad=True)
    linalg.det(a).sum().backward()
    expected = [[[4.0, 4.0, -4.0], [-2.0, -2.0, 2.0], [0.0, 0.0, 0.0]], [[0.0] * 3] * 3, [[0.0] * 3] * 3]
    np.testing.assert_allclose(a.grad.numpy(), expected, atol=1e-5)


def test_singular_matrices_are_named() -> None:
    a = flambeau.stack([flambeau.eye(2), flambeau.ones(2, 2), flambeau.eye(2)])
    with pytest.raises(linalg.LinAlgError, match=r"linalg.inv: \(Batch element 1\): The diagonal element 2 is zero.*test_solve.py"):
        linalg.inv(a)  # at the call, where programs catch it
    with pytest.raises(RuntimeError, match=r"linalg.solve: \(Batch element 1\).*singular"):
        linalg.solve(a, flambeau.ones(2))
    inverse, info = linalg.inv_ex(a)
    assert info.tolist() == [0, 2, 0]
    assert not inverse[1].isfinite().any() and inverse[2].equal(flambeau.eye(2))
    assert linalg.solve_ex(a, flambeau.ones(2, 1)).info.tolist() == [0, 2, 0]
    assert flambeau.ones(2).sum().item() == 2  # the tape goes on


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(RuntimeError, match="AX = B.*2x2 and 3x1"):
        linalg.solve(flambeau.eye(2), flambeau.ones(3, 1))
    with pytest.raises(RuntimeError, match="same dtype"):
        linalg.solve(flambeau.eye(2), flambeau.ones(2, 1, dtype=flambeau.float64))


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("complex", [False, True])
def test_cholesky_solve(complex: bool, upper: bool) -> None:
    factor = np.tril(values(3, 3, complex=complex)) + 3 * np.eye(3)
    a, b = factor @ factor.conj().T, values(2, 3, 2, complex=complex)
    given = flambeau.tensor(factor.conj().T if upper else factor)
    np.testing.assert_allclose(flambeau.cholesky_solve(flambeau.tensor(b), given, upper).numpy(), np.linalg.solve(a, b), rtol=1e-9)
    np.testing.assert_allclose(flambeau.cholesky_inverse(given, upper).numpy(), np.linalg.inv(a), rtol=1e-9)
