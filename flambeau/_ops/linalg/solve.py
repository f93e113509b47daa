"""Systems of linear equations, inverses and determinants."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops import return_types
from flambeau._ops.arguments import into
from flambeau._ops.elementwise import conj
from flambeau._ops.linalg import triangles
from flambeau._ops.linalg.host import (
    broadcast_batches,
    check_floating,
    check_matrix,
    check_square,
    checked,
    column_major,
    guarded,
    host_operator,
    in_columns,
)
from flambeau._ops.registry import FUNCTIONS
from flambeau._ops.shaping import tril, triu
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor

# -- triangular systems ----------------------------------------------------------------------------------------------


def _infer_first(operands: tuple, statics: tuple) -> Layout:
    return column_major(operands[0].shape, operands[0].dtype)


def _infer_triangular(operands: tuple, statics: tuple) -> Layout:
    b = operands[1]
    return column_major(b.shape, b.dtype)


def _compute_triangular(a: np.ndarray, b: np.ndarray, upper: bool, left: bool, unitriangular: bool) -> np.ndarray:
    if left:
        return triangles.substitute(a, b, upper, unitriangular)
    return np.swapaxes(triangles.substitute(np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2), not upper, unitriangular), -1, -2)


TRIANGULAR = host_operator(
    "linalg_solve_triangular", ("A", "B"), ("upper", "left", "unitriangular"), infer=_infer_triangular, compute=_compute_triangular
)


def _triangular_gradient_a(grad: Tensor, A: Tensor, result: Tensor, upper: bool, left: bool, unitriangular: bool) -> Tensor:
    inner = TRIANGULAR(A.mH, grad, statics=(not upper, left, unitriangular))
    whole = -(inner @ result.mH) if left else -(result.mH @ inner)
    return triu(whole, int(unitriangular)) if upper else tril(whole, -int(unitriangular))


TRIANGULAR.gradient(
    A=_triangular_gradient_a,
    B=lambda grad, A, upper, left, unitriangular: TRIANGULAR(A.mH, grad, statics=(not upper, left, unitriangular)),
)


def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False, out: Tensor | None = None
) -> Tensor:
    """The solution X of ``A X = B`` (``X A = B`` with ``left=False``) for a triangular A, of which only that triangle is read.

    A zero on the diagonal makes infinities, not an error.

    Shapes: A ``(*, n, n)``, B ``(*, n, k)`` (``(*, k, n)`` with ``left=False``); batches are broadcast.
    """
    check_square("linalg.solve_triangular", A)
    check_matrix("linalg.solve_triangular", B, letter="B")
    check_floating("linalg.solve_triangular", A, B)
    _check_sizes("linalg.solve_triangular", A, B, left)
    A, B = broadcast_batches(A, B)
    return into(out, TRIANGULAR(A, B, statics=(bool(upper), bool(left), bool(unitriangular))))


def _check_sizes(name: str, A: Tensor, B: Tensor, left: bool) -> None:
    size = A.layout.shape[-1]
    if B.layout.shape[-2 if left else -1] != size:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
            f"({A.layout.shape[-2]}x{size} and {B.layout.shape[-2]}x{B.layout.shape[-1]})"
        )


# -- systems whose Cholesky factor is known --------------------------------------------------------------------------


def _compute_cholesky_solve(b: np.ndarray, factor: np.ndarray, upper: bool) -> np.ndarray:
    adjoint = np.conj(np.swapaxes(factor, -1, -2))
    lower, higher = (adjoint, factor) if upper else (factor, adjoint)
    return triangles.substitute(higher, triangles.substitute(lower, b, False, False), True, False)


CHOLESKY_SOLVE = host_operator("cholesky_solve", ("B", "L"), ("upper",), infer=_infer_first, compute=_compute_cholesky_solve)


def _cholesky_solve_gradient_l(grad: Tensor, L: Tensor, result: Tensor, upper: bool) -> Tensor:
    """``-(S + S^H) L`` with ``S = A^-1 grad X^H``: as in PyTorch also above the diagonal, where L is not read."""
    product = CHOLESKY_SOLVE(grad, L, statics=(upper,)) @ result.mH
    product = -(product + product.mH)
    return L @ product if upper else product @ L


CHOLESKY_SOLVE.gradient(B=lambda grad, L, upper: CHOLESKY_SOLVE(grad, L, statics=(upper,)), L=_cholesky_solve_gradient_l)


def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The solution X of ``A X = B`` from the Cholesky factor of A.

    Shapes: B ``(*, n, k)``, L ``(*, n, n)``, result ``(*, n, k)``.
    """
    check_matrix("cholesky_solve", B, letter="B")
    check_square("cholesky_solve", L, "L")
    check_floating("cholesky_solve", B, L)
    _check_sizes("cholesky_solve", L, B, True)
    B, L = broadcast_batches(B, L)
    return into(out, CHOLESKY_SOLVE(B, L, statics=(bool(upper),)))


def _compute_cholesky_inverse(factor: np.ndarray, upper: bool) -> np.ndarray:
    identity = np.broadcast_to(np.eye(factor.shape[-1], dtype=factor.dtype), factor.shape)
    return _compute_cholesky_solve(identity, factor, upper)


CHOLESKY_INVERSE = host_operator("cholesky_inverse", ("L",), ("upper",), infer=_infer_first, compute=_compute_cholesky_inverse)


def _cholesky_inverse_gradient(grad: Tensor, L: Tensor, result: Tensor, upper: bool) -> Tensor:
    product = -(result @ (grad + grad.mH) @ result)
    return L @ product if upper else product @ L


CHOLESKY_INVERSE.gradient(L=_cholesky_inverse_gradient)


def cholesky_inverse(L: Tensor, upper: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The inverse of a Hermitian positive definite matrix from its Cholesky factor."""
    check_square("cholesky_inverse", L, "L")
    check_floating("cholesky_inverse", L)
    return into(out, CHOLESKY_INVERSE(L, statics=(bool(upper),)))


# -- general systems -------------------------------------------------------------------------------------------------


def _singular(what: str) -> Callable[[np.ndarray], tuple[int, str]]:
    def failure(matrix: np.ndarray) -> tuple[int, str]:
        info = int(triangles.lu(matrix)[2])
        return info, f"The diagonal element {info} is zero, the {what} could not be completed because the input matrix is singular."

    return failure


def _infer_solve(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    a, b = operands
    return column_major(b.shape, b.dtype), lay.contiguous(a.shape[:-2], dt.int32)


SOLVE = host_operator(
    "linalg_solve_ex",
    ("A", "B"),
    ("check",),
    infer=_infer_solve,
    compute=lambda a, b, check: guarded("torch.linalg.solve", np.linalg.solve, (a, b), check, _singular("solve")),
)
SOLVE.gradient(
    A=lambda grad0, A, result0: -(_solve(A.mH, grad0) @ result0.mH),
    B=lambda grad0, A: _solve(A.mH, grad0),
)


def _solve(A: Tensor, B: Tensor) -> Tensor:
    return SOLVE(A, B, statics=(True,))[0]


def is_vector(A: Tensor, B: Tensor) -> bool:
    """Whether ``solve`` takes B as a vector, or a batch of them, by PyTorch's rule."""
    return B.layout.ndim == 1 or (A.layout.ndim - 1 == B.layout.ndim and B.layout.shape == A.layout.shape[:-1])


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False, out: Any = None) -> Any:
    """``solve`` and for each matrix the diagonal element of its LU decomposition that is 0 (0: none, it is not singular)."""
    check_square("linalg.solve", A)
    check_floating("linalg.solve", A, B)
    vector = is_vector(A, B)
    if vector and not left:
        raise RuntimeError("linalg.solve: Vector broadcasting of the left hand side is not supported for left=False; B must be a matrix")
    if vector:
        B = B.unsqueeze(-1)
    check_matrix("linalg.solve", B, letter="B")
    _check_sizes("linalg.solve", A, B, left)
    A, B = broadcast_batches(A, B)
    result, info = checked(SOLVE(A if left else A.mT, B if left else B.mT, statics=(bool(check_errors),)), check_errors)
    if not left:
        result = result.mT
    elif vector:
        result = result.squeeze(-1)
        result = in_columns(result) if result.layout.ndim > 1 else result  # PyTorch lays a batch of vectors out as if it were a matrix
    return return_types.several(return_types.linalg_solve_ex, out, result, info)


def solve(A: Tensor, B: Tensor, *, left: bool = True, out: Tensor | None = None) -> Tensor:
    """The solution X of ``A X = B`` (``X A = B`` with ``left=False``), by LU decomposition with partial pivoting.

    Shapes: A ``(*, n, n)``; B ``(*, n)`` or ``(*, n, k)``; batches are broadcast.

    Raises:
        LinAlgError: a matrix is singular.

    Example::

        >>> flambeau.linalg.solve(flambeau.tensor([[2.0, 0.0], [0.0, 4.0]]), flambeau.tensor([2.0, 2.0]))
        tensor([1.0000, 0.5000])
    """
    return into(out, solve_ex(A, B, left=left, check_errors=True)[0])


# -- inverses --------------------------------------------------------------------------------------------------------


def _infer_inverse(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    a = operands[0]
    return column_major(a.shape, a.dtype), lay.contiguous(a.shape[:-2], dt.int32)


INVERSE = host_operator(
    "linalg_inv_ex",
    ("A",),
    ("check",),
    infer=_infer_inverse,
    compute=lambda a, check: guarded("linalg.inv", np.linalg.inv, (a,), check, _singular("inversion")),
)
INVERSE.gradient(A=lambda grad0, result0: -(result0.mH @ grad0 @ result0.mH))


def inv_ex(A: Tensor, *, check_errors: bool = False, out: Any = None) -> Any:
    """The inverse, and for each matrix the diagonal element of its LU decomposition that is 0 (0: none).

    The inverse of a singular matrix is NaN, unless ``check_errors`` makes it an error.
    """
    check_square("linalg.inv", A)
    check_floating("linalg.inv", A)
    return return_types.several(return_types.linalg_inv_ex, out, *checked(INVERSE(A, statics=(bool(check_errors),)), check_errors))


def inv(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inverse of square matrices.

    Raises:
        LinAlgError: a matrix is singular; the message says which.

    Example::

        >>> flambeau.linalg.inv(flambeau.tensor([[2.0, 0.0], [0.0, 4.0]]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.2500]])
    """
    return into(out, inv_ex(A, check_errors=True)[0])


# -- determinants ----------------------------------------------------------------------------------------------------


def _infer_scalar(operands: tuple, statics: tuple) -> Layout:
    return lay.contiguous(operands[0].shape[:-2], operands[0].dtype)


def _infer_slogdet(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    shape, dtype = operands[0].shape[:-2], operands[0].dtype
    return lay.contiguous(shape, dtype), lay.contiguous(shape, dtype.to_real())


def _compute_cofactors(a: np.ndarray) -> np.ndarray:
    """``conj(det(A)) A^-H``, also of singular matrices: with ``A = U S V``, U and V times the products of the other singular values."""
    u, s, v = np.linalg.svd(a)
    size = s.shape[-1]
    others = np.where(np.eye(size, dtype=bool), np.ones((), s.dtype), s[..., None, :]).prod(-1, dtype=s.dtype)
    phase = np.conj(np.linalg.det(u) * np.linalg.det(v)).astype(a.dtype)
    return phase[..., None, None] * ((u * others[..., None, :]) @ v)


DET = host_operator("linalg_det", ("A",), infer=_infer_scalar, compute=lambda a: np.asarray(np.linalg.det(a)))
COFACTORS = host_operator(
    "_linalg_cofactors",
    ("A",),
    infer=lambda operands, statics: lay.contiguous(operands[0].shape, operands[0].dtype),
    compute=_compute_cofactors,
)
SLOGDET = host_operator(
    "linalg_slogdet", ("A",), infer=_infer_slogdet, compute=lambda a: tuple(np.asarray(each) for each in np.linalg.slogdet(a))
)


def _cofactors_gradient(grad: Tensor, A: Tensor, result: Tensor) -> Tensor:
    inverse = inv(A).mH
    return (conj(grad) * inverse).sum((-2, -1), keepdim=True) * result - result @ grad.mH @ inverse


def _slogdet_gradient(grad0: Tensor, grad1: Tensor, result0: Tensor, A: Tensor) -> Tensor:
    """``(grad_logabsdet - i Im(conj(grad_sign) sign)) A^-H``; the sign of a real determinant has no gradient."""
    scale = grad1
    if result0.is_complex():
        scale = grad1 - 1j * (conj(grad0) * result0).imag
    return scale[..., None, None] * inv(A).mH


DET.gradient(A=lambda grad, A: grad[..., None, None] * COFACTORS(A))
COFACTORS.gradient(A=_cofactors_gradient)
SLOGDET.gradient(A=_slogdet_gradient)


def det(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The determinants of square matrices.

    Shapes: A ``(*, n, n)``, result ``(*)``.
    """
    check_square("linalg.det", A)
    check_floating("linalg.det", A)
    return into(out, DET(A))


def slogdet(A: Tensor, *, out: Any = None) -> Any:
    """The sign of the determinant and the logarithm of its absolute value, which does not overflow."""
    check_square("linalg.slogdet", A)
    check_floating("linalg.slogdet", A)
    return return_types.several(return_types.linalg_slogdet, out, *SLOGDET(A))


def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant: NaN if that is negative, -inf if it is 0."""
    check_square("logdet", input, "input")
    check_floating("logdet", input)
    sign, logarithm = SLOGDET(input)
    if sign.is_complex():
        return sign.log() + logarithm
    return FUNCTIONS.where(sign == -1, float("nan"), logarithm)
