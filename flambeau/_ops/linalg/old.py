"""The names that linear algebra has outside of ``torch.linalg``, some with arguments in another order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau._ops import return_types
from flambeau._ops.arguments import into
from flambeau._ops.autocast import in_float32
from flambeau._ops.linalg import factor, least_squares, norms, products, solve, spectral
from flambeau._ops.linalg.host import check_matrix, check_square, in_columns
from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor

# -- factors ---------------------------------------------------------------------------------------------------------


def cholesky(input: Tensor, upper: bool = False, *, out: Tensor | None = None) -> Tensor:
    """``linalg.cholesky``."""
    return factor.cholesky(input, upper=upper, out=out)


def qr(input: Tensor, some: bool = True, *, out: Any = None) -> Any:
    """``linalg.qr``; without ``some`` Q is square."""
    return return_types.several(return_types.qr, out, *factor.qr(input, "reduced" if some else "complete"))


def svd(input: Tensor, some: bool = True, compute_uv: bool = True, *, out: Any = None) -> Any:
    """``A = U diag(S) V^H``: ``linalg.svd``, but with V; without ``compute_uv`` U and V are 0."""
    check_matrix("svd", input, letter="input")
    if not compute_uv:
        rows, columns = input.layout.shape[-2:]
        batch = input.layout.shape[:-2]
        u, v = input.new_zeros((*batch, rows, rows)), input.new_zeros((*batch, columns, columns))
        return return_types.several(return_types.svd, out, u, spectral.svdvals(input), v)
    u, s, vh = spectral.svd(input, not some)
    return return_types.several(return_types.svd, out, u, s, vh.mH)


def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor, *, out: Tensor | None = None) -> Tensor:
    """``linalg.lu_solve`` with the right-hand side first."""
    return factor.lu_solve(LU_data, LU_pivots, b, out=out)


def lu(A: Tensor, pivot: bool = True, get_infos: bool = False, out: Any = None) -> Any:
    """The packed LU decomposition and its pivots (and, with ``get_infos``, which matrices are singular)."""
    found = tuple(factor.lu_factor_ex(A, pivot=pivot, check_errors=not get_infos))
    found = found if get_infos else found[:2]
    return found if out is None else into(out, found)


orgqr = factor.householder_product

# -- systems ---------------------------------------------------------------------------------------------------------


def inverse(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """``linalg.inv``."""
    return solve.inv(input, out=out)


def det(input: Tensor) -> Tensor:
    """``linalg.det``."""
    return solve.det(input)


def slogdet(input: Tensor, *, out: Any = None) -> Any:
    """``linalg.slogdet``."""
    return return_types.several(return_types.slogdet, out, *solve.slogdet(input))


@in_float32
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """``linalg.pinv`` with another default for what counts as 0."""
    return least_squares.pinv(input, rcond)


def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False, *, out: Any = None
) -> Any:
    """The solution X of ``A X = b`` (``A^T X = b`` with ``transpose``) for a triangular A, and a copy of A."""
    for name, each in (("b", b), ("A", A)):
        if each.layout.ndim < 2:
            raise RuntimeError(
                f"torch.triangular_solve: Expected {name} to have at least 2 dimensions, but it has {each.layout.ndim} dimensions instead"
            )
    check_square("triangular_solve", A)
    system = A.mT if transpose else A
    solution = solve.solve_triangular(system, b, upper=upper != transpose, unitriangular=unitriangular)
    batch = solution.layout.shape[:-2]
    return return_types.several(return_types.triangular_solve, out, solution, in_columns(A.expand(*batch, *A.layout.shape[-2:])))


# -- products --------------------------------------------------------------------------------------------------------


def chain_matmul(*matrices: Tensor, out: Tensor | None = None) -> Tensor:
    """The product of matrices in the cheapest order: ``linalg.multi_dot``, of matrices alone."""
    if len(matrices) == 1:
        return into(out, matrices[0].clone())
    return products.multi_dot(matrices, out=out)


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of each element of a vector, the highest first unless ``increasing``."""
    if x.layout.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    count = x.layout.numel if N is None else N
    if x.layout.dtype.category < dt.FLOAT:
        x = x.to(dt.int64)
    powers = products.vander(x, N=max(count, 2))[:, : max(count, 0)]
    return powers if increasing else powers.flip(1)


def adjoint(input: Tensor) -> Tensor:
    """The matrices transposed and conjugated: ``input.mH``."""
    if input.layout.ndim == 1:
        raise RuntimeError(f"tensor.adjoint() is only supported on matrices or batches of matrices. Got {input.layout.ndim}-D tensor.")
    return input.mH


# -- norms -----------------------------------------------------------------------------------------------------------


def norm(
    input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, out: Tensor | None = None, dtype: DType | None = None
) -> Tensor:
    """A vector norm over all elements or ``dim``; ``"fro"`` is the 2-norm, ``"nuc"`` the sum of a matrix's singular values."""
    if p == "nuc":
        return norms.matrix_norm(input, p, (-2, -1) if dim is None else dim, keepdim, dtype=dtype, out=out)
    return norms.vector_norm(input, 2 if p in ("fro", None) else p, dim, keepdim, dtype=dtype, out=out)
