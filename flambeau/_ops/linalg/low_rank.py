"""Singular values of large matrices of low rank, from products with a few random vectors.

See Halko, Martinsson and Tropp, "Finding structure with randomness", 2011 (arXiv:0909.4061), algorithms 4.4 and 5.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau._ops.autocast import in_float32
from flambeau._ops.linalg import factor, spectral
from flambeau._ops.linalg.host import check_matrix
from flambeau._ops.sampling import randn

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor

qr, svd = in_float32(factor.qr), in_float32(spectral.svd)


def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """``(U, S, V)`` with ``A - M`` near ``U diag(S) V^H``, for matrices whose rank is at most about ``q``.

    Args:
        q: how many singular values there are to be
        niter: how many steps of subspace iteration sharpen them
        M: what is subtracted from A, such as its mean

    Shapes: A ``(*, m, n)``; U ``(*, m, q)``, S ``(*, q)``, V ``(*, n, q)``.
    """
    check_matrix("svd_lowrank", A)
    if M is not None:
        A = A - M
    q, niter = 6 if q is None else q, 2 if niter is None else niter
    rows, columns = A.layout.shape[-2:]
    if not 0 <= q <= min(rows, columns):
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(rows, columns)}")
    if rows < columns:
        v, s, u = _tall(A.mH, q, niter)
        return u, s, v
    return _tall(A, q, niter)


def _tall(a: Tensor, q: int, niter: int) -> tuple[Tensor, Tensor, Tensor]:
    basis = qr(a @ randn(a.layout.shape[-1], q, dtype=a.layout.dtype)).Q
    for _ in range(niter):
        basis = qr(a @ qr(a.mH @ basis).Q).Q
    u, s, vh = svd(basis.mH @ a, full_matrices=False)
    return basis @ u, s, vh.mH


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Principal components of observations (rows): ``svd_lowrank`` of A, less the mean of each column if ``center``.

    The columns of V are the components, ``S**2 / (m - 1)`` their variances, and ``A @ V[:, :k]`` projects onto the first k.
    """
    check_matrix("pca_lowrank", A)
    rows, columns = A.layout.shape[-2:]
    if q is None:
        q = min(6, rows, columns)
    elif not 0 <= q <= min(rows, columns):
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(rows, columns)}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A, q, niter, A.mean(-2, keepdim=True) if center else None)
