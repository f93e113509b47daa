"""Eigenvalues and singular values against NumPy, and gradients of what does not depend on the phase of a vector."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import linalg
from flambeau.autograd import gradcheck, gradgradcheck
from tests._ops.linalg.matrices import values


def check(function: object, a: np.ndarray) -> None:
    tensor = flambeau.tensor(a, requires_grad=True)
    assert gradcheck(function, (tensor,), fast_mode=True)
    assert gradgradcheck(function, (tensor,), fast_mode=True)


@pytest.mark.parametrize("uplo", ["L", "U"])
@pytest.mark.parametrize("complex", [False, True])
def test_eigh(complex: bool, uplo: str) -> None:
    a = values(2, 4, 4, complex=complex)
    expected = np.linalg.eigvalsh(a, uplo)
    found, vectors = linalg.eigh(flambeau.tensor(a), uplo)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)
    np.testing.assert_allclose(linalg.eigvalsh(flambeau.tensor(a), uplo).numpy(), expected, rtol=1e-9)
    triangle = np.tril(a, -1) if uplo == "L" else np.triu(a, 1)
    whole = triangle + triangle.conj().swapaxes(-1, -2) + np.eye(4) * a.real
    np.testing.assert_allclose(((vectors * found.unsqueeze(-2)) @ vectors.mH).numpy(), whole, atol=1e-9)


@pytest.mark.parametrize("complex", [False, True])
def test_gradients_of_eigh(complex: bool) -> None:
    a = values(3, 3, complex=complex)

    def parts(a: flambeau.Tensor) -> tuple:
        found, vectors = linalg.eigh(a + a.mH)
        return found, vectors.abs(), linalg.eigvalsh(a + a.mH)

    check(parts, a)


def test_equal_eigenvalues_matter_only_to_their_vectors() -> None:
    a = flambeau.eye(3, requires_grad=True)
    linalg.eigh(a).eigenvalues.sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), np.eye(3), atol=1e-6)
    a.grad = None
    linalg.svd(a)[1].sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), np.eye(3), atol=1e-6)


@pytest.mark.parametrize("complex", [False, True])
def test_eig(complex: bool) -> None:
    a = values(2, 4, 4, complex=complex)
    found, vectors = linalg.eig(flambeau.tensor(a))
    assert found.is_complex() and vectors.is_complex()
    np.testing.assert_allclose(
        (flambeau.tensor(a.astype(complex_type)) @ vectors).numpy(), (vectors * found.unsqueeze(-2)).numpy(), atol=1e-9
    )
    np.testing.assert_allclose(vectors.abs().square().sum(-2).numpy(), 1, rtol=1e-9)
    np.testing.assert_allclose(np.sort(linalg.eigvals(flambeau.tensor(a)).numpy()), np.sort(np.linalg.eigvals(a)), rtol=1e-9)
    check(lambda a: (linalg.eigvals(a).abs(), linalg.eig(a)[1].abs()), a[0])


complex_type = np.complex128


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize("shape", [(3, 3), (2, 5, 3), (3, 5), (0, 3)])
def test_svd(shape: tuple, complex: bool, full: bool) -> None:
    a = values(*shape, complex=complex)
    u, s, vh = linalg.svd(flambeau.tensor(a), full)
    np.testing.assert_allclose(s.numpy(), np.linalg.svd(a, compute_uv=False), rtol=1e-9)
    steps = s.shape[-1]
    np.testing.assert_allclose(((u[..., :steps] * s.unsqueeze(-2)) @ vh[..., :steps, :]).numpy(), a, atol=1e-9)
    for each in (u, vh.mH):
        np.testing.assert_allclose(
            (each.mH @ each).numpy(), np.broadcast_to(np.eye(each.shape[-1]), (*shape[:-2], *[each.shape[-1]] * 2)), atol=1e-9
        )


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 4)])
def test_gradients_of_svd(shape: tuple, complex: bool) -> None:
    def parts(a: flambeau.Tensor) -> tuple:
        u, s, vh = linalg.svd(a, full_matrices=False)
        return u.abs(), s, vh.abs(), linalg.svdvals(a), (u @ vh).real

    check(parts, values(*shape, complex=complex))


def test_what_is_not_finite_does_not_converge() -> None:
    a = flambeau.eye(2).repeat(2, 1, 1)
    a[1, 0, 0] = float("nan")
    for function in (linalg.eigh, linalg.eig, linalg.svd, linalg.svdvals):
        with pytest.raises(linalg.LinAlgError, match=r"\(Batch element 1\).*non-finite"):
            parts = function(a)
            (parts if isinstance(parts, flambeau.Tensor) else parts[0]).sum().item()


@pytest.mark.parametrize("dtype", [flambeau.float32, flambeau.float64])
@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (40, 3, 3), (9, 16, 16), (2, 1, 0, 4, 4)])
def test_small_symmetric_matrices(shape: tuple[int, ...], dtype: flambeau.dtype) -> None:
    a = values(*shape)
    a = a + a.swapaxes(-1, -2)
    if len(shape) == 3:
        a[0], a[1], a[2] = 0, np.eye(shape[-1]), 1  # nothing to do, and equal eigenvalues
    found, vectors = linalg.eigh(flambeau.tensor(a, dtype=dtype))
    expected = np.linalg.eigvalsh(a)
    tolerance = 8 * flambeau.finfo(dtype).eps * np.abs(expected).max(initial=1)
    np.testing.assert_allclose(found.numpy(), expected, atol=tolerance)
    np.testing.assert_allclose((vectors.mT @ vectors).numpy(), np.broadcast_to(np.eye(shape[-1]), shape), atol=tolerance)
    np.testing.assert_allclose(((vectors * found.unsqueeze(-2)) @ vectors.mT).numpy(), a, atol=tolerance)


def test_small_matrices_that_are_not_finite_are_named() -> None:
    a = flambeau.eye(3).repeat(2, 4, 1, 1)
    a[1, 2, 0, 0] = float("inf")
    with pytest.raises(linalg.LinAlgError, match=r"linalg.eigh: \(Batch element 1, 2\).*non-finite"):
        linalg.eigh(a).eigenvalues.tolist()
