"""A few eigenvalues of a large symmetric matrix."""

from __future__ import annotations

import math
from typing import Any

import numpy

import flambeau
from flambeau import Tensor

__all__ = ["lobpcg"]


def lobpcg(
    A: Tensor,
    k: int | None = None,
    B: Tensor | None = None,
    X: Tensor | None = None,
    n: int | None = None,
    iK: Tensor | None = None,
    niter: int | None = None,
    tol: float | None = None,
    largest: bool | None = None,
    method: str | None = None,
    tracker: Any = None,
    ortho_iparams: dict[str, int] | None = None,
    ortho_fparams: dict[str, float] | None = None,
    ortho_bparams: dict[str, bool] | None = None,
) -> tuple[Tensor, Tensor]:
    """The ``k`` largest or smallest eigenvalues of a symmetric matrix, or of a pair ``A x = λ B x``, and their eigenvectors.

    SciPy's ``lobpcg`` finds them (Knyazev 2001): it needs products with the matrix only, so that a sparse one stays sparse.

    Args:
        A: ``(…, m, m)``, symmetric; a sparse matrix has no batch.
        k: how many; as many as ``X`` has columns, or 1.
        B: ``(…, m, m)``, symmetric and positive definite; the identity if left out.
        X: ``(…, m, n)``, where to begin; drawn at random if left out.
        n: how many columns a drawn ``X`` has; ``k`` if left out.
        iK: ``(…, m, m)``, a preconditioner: an approximate inverse of ``A``.
        niter: the number of steps, at most; 1000 if left out or negative.
        tol: how small residuals have to be; the root of the dtype's resolution if left out.
        largest: whether the largest ones are wanted (so if left out), or the smallest.
        method: ``"basic"`` or ``"ortho"``; accepted, as there is one.
        tracker: not supported: must be ``None``.
        ortho_iparams, ortho_fparams, ortho_bparams: accepted; they tune a method that is not this one.

    Returns:
        The eigenvalues ``(…, k)``, the best first, and the eigenvectors ``(…, m, k)``. Both have gradients by a dense ``A`` and ``B``.

    Raises:
        ValueError: the matrix is smaller than three times ``k``, or ``method`` is another word.
        ImportError: SciPy is not there.
    """
    if tracker is not None:
        raise NotImplementedError("lobpcg(): a tracker is not supported; SciPy's lobpcg reports no steps")
    if method not in (None, "basic", "ortho"):
        raise ValueError(f"lobpcg(): method must be 'basic' or 'ortho', got {method!r}")
    k = k if k is not None else X.shape[-1] if X is not None else 1
    _check_size(A, k)
    if X is None:
        X = flambeau.randn(*A.shape[:-1], n or k, dtype=A.dtype)
    tol = tol if tol is not None else flambeau.finfo(A.dtype).eps ** 0.5
    largest = largest is None or largest
    steps = 1000 if niter is None or niter < 0 else niter
    batch = zip(*(_matrices(operand, A) for operand in (A, B, X, iK)), strict=True)
    found = [_pairs(*matrices, k=k, steps=steps, tol=tol, largest=largest) for matrices in batch]
    values = flambeau.from_numpy(numpy.array([values for values, _ in found])).to(A.dtype).reshape(*A.shape[:-2], k)
    vectors = flambeau.from_numpy(numpy.array([vectors for _, vectors in found])).to(A.dtype).reshape(*A.shape[:-1], k)
    if flambeau.is_grad_enabled() and any(each is not None and each.requires_grad for each in (A, B)):
        return _differentiable(A, B, values, vectors)
    return values, vectors


def _check_size(matrix: Tensor, k: int) -> None:
    if matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"lobpcg(): A must be square, got the shape {tuple(matrix.shape)}")
    if matrix.shape[-1] < 3 * k:
        raise ValueError(
            f"LOBPCG algorithm is not applicable when the number of A rows (={matrix.shape[-1]}) is smaller than 3 x the number of requested eigenpairs (={k})"
        )


def _matrices(operand: Tensor | None, like: Tensor) -> list[Any]:
    """The matrices of an operand's batch, which is that of ``like``, for SciPy; nothing for each if there is no operand."""
    if operand is None:
        return [None] * math.prod(like.shape[:-2])
    if operand.is_sparse or operand.dim() == 2:
        return [_host(operand)]
    return list(_host(operand.reshape(-1, *operand.shape[-2:])))


def _host(matrix: Tensor) -> Any:
    """A matrix, or a batch of them, in double precision for SciPy."""
    matrix = matrix.detach()
    if not matrix.is_sparse:
        return matrix.double().numpy()
    from scipy import sparse

    matrix = matrix.coalesce()
    rows, columns = matrix.indices().numpy()
    return sparse.csr_array((matrix.values().double().numpy(), (rows, columns)), shape=tuple(matrix.shape))


def _pairs(a: Any, b: Any, x: Any, preconditioner: Any, k: int, steps: int, tol: float, largest: bool) -> tuple[Any, Any]:
    """The best k eigenvalues of one pair of matrices, the best first, and their vectors as columns.

    Raises:
        ImportError: SciPy is not there.
    """
    try:
        from scipy.sparse import linalg
    except ImportError:
        raise ImportError('lobpcg() needs SciPy: pip install "flambeau[scipy]"') from None
    values, vectors = linalg.lobpcg(a, x, B=b, M=preconditioner, tol=tol, maxiter=steps, largest=largest)
    order = numpy.argsort(-values if largest else values)[:k]
    return values[order], vectors[:, order]


def _differentiable(a: Tensor, b: Tensor | None, values: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """The same numbers as functions of the matrices: their first derivatives are those of an exact pair.

    A value is the quotient of Rayleigh. A vector is what one step of perturbation theory makes of it, which changes nothing where the residual is
    zero: with the other pairs (μ, w) it moves by the sum of w wᵀ(A x - λ B x) / (λ - μ), and keeps its length in B.
    """
    detached_a, detached_b = a.detach(), None if b is None else b.detach()

    def metric(of: Tensor | None, x: Tensor) -> Tensor:
        return x if of is None else of @ x

    if detached_b is None:
        all_values, all_vectors = flambeau.linalg.eigh(detached_a)
    else:
        factor = flambeau.linalg.cholesky(detached_b)
        inner = flambeau.linalg.solve_triangular(factor, detached_a, upper=False)
        inner = flambeau.linalg.solve_triangular(factor, inner.mT, upper=False)
        all_values, all_vectors = flambeau.linalg.eigh((inner + inner.mT) / 2)
        all_vectors = flambeau.linalg.solve_triangular(factor.mT, all_vectors, upper=True)
    rayleigh = (vectors * (a @ vectors)).sum(-2) / (vectors * metric(b, vectors)).sum(-2)
    residual = a @ vectors - metric(b, vectors) * rayleigh.unsqueeze(-2)
    gaps = values.unsqueeze(-2) - all_values.unsqueeze(-1)
    near = flambeau.arange(all_values.shape[-1]).unsqueeze(-1) == gaps.abs().argmin(-2, keepdim=True)
    others = all_vectors.mT @ (residual - residual.detach()) / flambeau.where(near, flambeau.inf, gaps)
    moved = vectors + all_vectors @ others
    norms = (moved * metric(b, moved)).sum(-2, keepdim=True).sqrt()
    return rayleigh - (rayleigh - values).detach(), moved / (norms / norms.detach())
