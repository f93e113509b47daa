"""Decompositions against NumPy and SciPy: values, memory order, errors. Their gradients are checked by tests/_ops/test_samples.py."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

import flambeau
from flambeau import linalg
from flambeau.autograd import gradcheck
from tests._ops.linalg.matrices import values


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("complex", [False, True])
def test_cholesky(complex: bool, upper: bool) -> None:
    a = values(2, 4, 4, complex=complex)
    a = a @ a.conj().swapaxes(-1, -2) + np.eye(4)
    found = linalg.cholesky(flambeau.tensor(a), upper=upper)
    expected = np.linalg.cholesky(a)
    np.testing.assert_allclose(found.numpy(), expected.conj().swapaxes(-1, -2) if upper else expected, rtol=1e-10, atol=1e-12)
    assert found.stride() == (16, 1, 4)


def test_a_matrix_that_is_not_definite_is_named() -> None:
    a = flambeau.eye(3).repeat(2, 2, 1, 1)
    a[1, 0, 2, 2] = -1
    with pytest.raises(linalg.LinAlgError, match=r"linalg.cholesky: \(Batch element 1, 0\).*leading minor of order 3.*test_factor.py"):
        linalg.cholesky(a)
    factor, info = linalg.cholesky_ex(a)
    assert info.tolist() == [[0, 0], [3, 0]]
    assert factor[1, 0].isnan().tolist() == [[False] * 3, [False] * 3, [False, False, True]] and factor[0, 0].equal(flambeau.eye(3))


@pytest.mark.parametrize("mode", ["reduced", "complete", "r"])
@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (2, 3, 3), (0, 3), (3, 0)])
def test_qr(shape: tuple, mode: str) -> None:
    a = values(*shape)
    q, r = linalg.qr(flambeau.tensor(a), mode)
    expected = np.linalg.qr(a, mode)
    if mode == "r":
        assert q.shape == (0,)
        np.testing.assert_allclose(r.numpy(), expected, atol=1e-12)
    else:
        np.testing.assert_allclose(q.numpy(), expected[0], atol=1e-12)
        np.testing.assert_allclose(r.numpy(), expected[1], atol=1e-12)


def test_qr_without_a_gradient() -> None:
    tall = flambeau.ones(3, 2, requires_grad=True)
    for mode, message in (("r", "depends on Q"), ("complete", "nrows > ncols")):
        with pytest.raises(RuntimeError, match=message):
            linalg.qr(tall, mode)[1].sum().backward()


def test_householder_product_undoes_geqrf() -> None:
    for complex in (False, True):
        a = flambeau.tensor(values(5, 3, complex=complex))
        packed, tau = flambeau.geqrf(a)
        q, r = linalg.qr(a)
        np.testing.assert_allclose(linalg.householder_product(packed, tau).numpy(), q.numpy(), atol=1e-12)
        other = flambeau.tensor(values(5, 2, complex=complex))
        full = linalg.qr(a, "complete").Q
        for transpose, expected in ((False, full @ other), (True, full.mH @ other)):
            np.testing.assert_allclose(flambeau.ormqr(packed, tau, other, transpose=transpose).numpy(), expected.numpy(), atol=1e-12)


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize("shape", [(4, 4), (2, 5, 3), (3, 5), (0, 0)])
def test_lu(shape: tuple, complex: bool) -> None:
    a = flambeau.tensor(values(*shape, complex=complex))
    p, lower, upper = linalg.lu(a)
    np.testing.assert_allclose((p @ lower @ upper).numpy(), a.numpy(), atol=1e-12)
    assert lower.numpy() == pytest.approx(np.tril(lower.numpy())) and upper.numpy() == pytest.approx(np.triu(upper.numpy()))
    packed, pivots = linalg.lu_factor(a)
    assert pivots.dtype == flambeau.int32 and pivots.shape == (*shape[:-2], min(shape[-2:]))
    assert flambeau.lu_unpack(packed, pivots, unpack_data=False)[1].shape == (0,)


@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 4)])
def test_lu_gradients(shape: tuple) -> None:
    a = flambeau.tensor(values(*shape), requires_grad=True)
    assert gradcheck(lambda a: linalg.lu(a)[1:], (a,))


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("complex", [False, True])
def test_lu_solve(complex: bool, left: bool, adjoint: bool) -> None:
    a, x = values(2, 4, 4, complex=complex), values(2, 4, 3, complex=complex)
    system = a.conj().swapaxes(-1, -2) if adjoint else a
    x = x if left else x.swapaxes(-1, -2)
    b = system @ x if left else x @ system
    found = linalg.lu_solve(*linalg.lu_factor(flambeau.tensor(a)), flambeau.tensor(b), left=left, adjoint=adjoint)
    np.testing.assert_allclose(found.numpy(), x, atol=1e-10)


def test_a_singular_matrix_is_named() -> None:
    a = flambeau.stack([flambeau.eye(2), flambeau.ones(2, 2)])
    with pytest.raises(linalg.LinAlgError, match=r"\(Batch element 1\): U\[2,2\] is zero"):
        linalg.lu_factor(a).LU.sum().item()
    assert linalg.lu_factor_ex(a).info.tolist() == [0, 2]


@pytest.mark.parametrize("call", [linalg.cholesky, linalg.lu_factor, linalg.qr])
def test_operands_are_checked_at_the_call(call: object) -> None:
    with pytest.raises(RuntimeError, match="at least 2 dimensions"):
        call(flambeau.ones(3))
    with pytest.raises(RuntimeError, match="floating point or complex"):
        call(flambeau.ones(3, 3, dtype=flambeau.int64))
    with pytest.raises(RuntimeError, match="Low precision"):
        call(flambeau.ones(3, 3, dtype=flambeau.bfloat16))


def test_a_square_matrix_is_asked_for() -> None:
    with pytest.raises(RuntimeError, match="must be batches of square matrices, but they are 2 by 3"):
        linalg.cholesky(flambeau.ones(2, 3))


def test_old_names() -> None:
    a = values(3, 3)
    p, lower, upper = scipy.linalg.lu(a)
    packed, pivots, info = flambeau.lu(flambeau.tensor(a), get_infos=True)
    np.testing.assert_allclose(flambeau.triu(packed).numpy(), upper, atol=1e-12)
    np.testing.assert_allclose(flambeau.qr(flambeau.tensor(a)).R.numpy(), np.linalg.qr(a)[1], atol=1e-12)
