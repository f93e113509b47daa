"""Factors of a matrix: Cholesky, QR and LU decompositions, and products of Householder reflections."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops import return_types
from flambeau._ops.arguments import into
from flambeau._ops.gathering import gather
from flambeau._ops.joining import cat
from flambeau._ops.linalg import triangles
from flambeau._ops.linalg.host import (
    batch_position,
    check_floating,
    check_matrix,
    check_square,
    checked,
    column_major,
    guarded,
    in_columns,
    kernel_operator,
    refuse,
)
from flambeau._ops.linalg.solve import solve_triangular
from flambeau._ops.ranges import arange, eye
from flambeau._ops.shaping import diag_embed, tril, triu
from flambeau._ops.sorting import argsort
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.errors import LinAlgError
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

# -- Cholesky --------------------------------------------------------------------------------------------------------


def _infer_cholesky(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    source = operands[0]
    return column_major(source.shape, source.dtype), lay.contiguous(source.shape[:-2], dt.int32)


def _lower_cholesky(graph: Graph, operands: list[Node], upper: bool, check: bool) -> tuple[Node, Node]:
    from flambeau._compiler import linear

    a = operands[0].transpose(-2, -1) if upper else operands[0]
    batch = a.shape[:-2]
    columns, info = linear.cholesky(graph, *linear.as_they_lie(graph, a))
    factor, info = linear.matrices_of(columns, batch), info.reshape(batch)
    if check:
        refuse(graph, "linalg.cholesky", info, _not_definite)
    return factor.transpose(-2, -1) if upper else factor, info


def _not_definite(order: int) -> str:
    return (
        f"The factorization could not be completed because the input is not positive-definite (the leading minor of order {order} is not "
        "positive-definite)."
    )


def _definite_minors(matrix: np.ndarray) -> tuple[int, str]:
    """The order of the first leading minor that is not positive definite."""
    for order in range(1, len(matrix) + 1):
        try:
            np.linalg.cholesky(matrix[:order, :order])
        except np.linalg.LinAlgError:
            break
    return order, _not_definite(order)


def _compute_cholesky(a: np.ndarray, upper: bool, check: bool) -> tuple[np.ndarray, np.ndarray]:
    factor, info = guarded("linalg.cholesky", np.linalg.cholesky, (_adjoint(a) if upper else a,), check, _definite_minors)
    return _adjoint(factor) if upper else factor, info


def _adjoint(a: np.ndarray) -> np.ndarray:
    return np.conj(np.swapaxes(a, -1, -2))


CHOLESKY = kernel_operator(
    "linalg_cholesky_ex", ("A",), ("upper", "check"), infer=_infer_cholesky, kernels=_lower_cholesky, compute=_compute_cholesky
)


def _cholesky_gradient(grad0: Tensor, result0: Tensor, upper: bool) -> Tensor:
    """``L^-H Phi L^-1 / 2``, where Phi is the lower triangle of ``L^H grad``, mirrored (Murray, arXiv:1602.07527)."""
    factor, grad = (result0.mH, grad0.mH) if upper else (result0, grad0)
    phi = factor.mH @ grad
    lower = tril(phi, -1)
    phi = lower + lower.mH + diag_embed(phi.diagonal(0, -2, -1))
    return 0.5 * solve_triangular(factor, solve_triangular(factor.mH, phi, upper=True), upper=False, left=False)


CHOLESKY.gradient(A=_cholesky_gradient)


def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False, out: Any = None) -> Any:
    """``A = L L^H`` for Hermitian positive definite matrices, and for each the order of the minor that is not (0: none).

    Only the lower triangle of A is read (the upper, with ``upper=True``, which gives the upper factor). The factor of a matrix that is
    not positive definite is NaN from that order on (all of it, if complex).

    Raises:
        LinAlgError: a matrix is not positive definite, if ``check_errors`` is True.
    """
    check_square("linalg.cholesky", A)
    check_floating("linalg.cholesky", A)
    return return_types.several(
        return_types.linalg_cholesky_ex, out, *checked(CHOLESKY(A, statics=(bool(upper), bool(check_errors))), check_errors)
    )


def cholesky(A: Tensor, *, upper: bool = False, out: Tensor | None = None) -> Tensor:
    """The lower triangular L of ``A = L L^H`` (or the upper triangular U of ``A = U^H U``), for Hermitian positive definite matrices.

    Shapes: A and L ``(*, n, n)``.

    Raises:
        LinAlgError: a matrix is not positive definite.

    Example::

        >>> flambeau.linalg.cholesky(flambeau.tensor([[4.0, 2.0], [2.0, 5.0]]))
        tensor([[2., 0.],
                [1., 2.]])
    """
    return into(out, cholesky_ex(A, upper=upper, check_errors=True)[0])


# -- QR --------------------------------------------------------------------------------------------------------------


def _infer_qr(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    source = operands[0]
    rows, columns = source.shape[-2:]
    inner = rows if statics[0] == "complete" else min(rows, columns)
    batch = source.shape[:-2]
    q = lay.contiguous((0,), source.dtype) if statics[0] == "r" else column_major((*batch, rows, inner), source.dtype)
    return q, column_major((*batch, inner, columns), source.dtype)


def _lower_qr(graph: Graph, operands: list[Node], mode: str) -> tuple[Node, Node]:
    from flambeau._compiler import linear

    a = operands[0]
    *batch, rows, columns = a.shape
    inner = rows if mode == "complete" else min(rows, columns)
    packed, taus = linear.qr(graph, *linear.as_they_lie(graph, a))
    top = linear.matrices_of(packed, batch).slice(a.ndim - 2, 0, inner)
    above = graph.iota(top.shape, a.ndim - 2) <= graph.iota(top.shape, a.ndim - 1)
    q = graph.constant(0, a.dtype, (0,)) if mode == "r" else linear.matrices_of(linear.reflection(graph, packed, taus, inner), batch)
    return q, graph.where(above, top, 0.0)


def _compute_qr(a: np.ndarray, mode: str) -> tuple[np.ndarray, np.ndarray]:
    if mode == "r":
        return np.empty(0, a.dtype), np.linalg.qr(a, "r")
    return tuple(np.linalg.qr(a, mode))


QR = kernel_operator("linalg_qr", ("A",), ("mode",), infer=_infer_qr, kernels=_lower_qr, compute=_compute_qr)


def _qr_gradient(grad0: Tensor, grad1: Tensor, result0: Tensor, result1: Tensor, A: Tensor, mode: str) -> Tensor:
    """``(grad_Q + Q copyltu(M)) R^-H`` with ``M = R grad_R^H - grad_Q^H Q`` (Seeger et al., arXiv:1710.08717).

    Of a wide matrix ``A = [A1 A2]``, Q and the square part of R depend on A1, and the rest of R is ``Q^H A2``.
    """
    rows, columns = A.layout.shape[-2:]
    if mode == "r":
        raise RuntimeError(
            "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use linalg.qr(A, mode='reduced')"
        )
    if mode == "complete" and rows > columns:
        raise RuntimeError(
            f"The QR decomposition is not differentiable when mode='complete' and nrows > ncols. Got {rows} > {columns}; use mode='reduced'"
        )
    if rows >= columns:
        return _square_qr_gradient(grad0, grad1, result0, result1)
    tail, grad_tail = A[..., rows:], grad1[..., rows:]
    head = _square_qr_gradient(grad0 + tail @ grad_tail.mH, grad1[..., :rows], result0, result1[..., :rows])
    return cat((head, result0 @ grad_tail), -1)


def _square_qr_gradient(grad_q: Tensor, grad_r: Tensor, q: Tensor, r: Tensor) -> Tensor:
    m = r @ triu(grad_r).mH - grad_q.mH @ q
    lower = tril(m, -1)
    diagonal = m.diagonal(0, -2, -1)
    if diagonal.is_complex():
        diagonal = diagonal.real.to(diagonal.layout.dtype)
    return solve_triangular(r.mH, grad_q + q @ (lower + lower.mH + diag_embed(diagonal)), upper=False, left=False)


QR.gradient(A=_qr_gradient)


def qr(A: Tensor, mode: str = "reduced", *, out: Any = None) -> Any:
    """``A = Q R`` with orthonormal columns in Q and an upper triangular R.

    Shapes: A ``(*, m, n)``; Q ``(*, m, k)`` and R ``(*, k, n)`` with ``k = min(m, n)``, or ``k = m`` for ``mode="complete"``; with
    ``mode="r"`` Q is empty.

    Raises:
        RuntimeError: A is no matrix, or its dtype is not floating point or complex.

    Example::

        >>> q, r = flambeau.linalg.qr(flambeau.eye(2))
        >>> r.shape
        torch.Size([2, 2])
    """
    check_matrix("linalg.qr", A)
    check_floating("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'")
    return return_types.several(return_types.linalg_qr, out, *QR(A, statics=(mode,)))


# -- reflections -----------------------------------------------------------------------------------------------------


def _infer_geqrf(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    source = operands[0]
    return column_major(source.shape, source.dtype), lay.contiguous((*source.shape[:-2], min(source.shape[-2:])), source.dtype)


def _lower_geqrf(graph: Graph, operands: list[Node]) -> tuple[Node, Node]:
    from flambeau._compiler import linear

    *batch, rows, columns = operands[0].shape
    packed, taus = linear.qr(graph, *linear.as_they_lie(graph, operands[0]))
    return linear.matrices_of(packed, batch), taus.reshape((*batch, min(rows, columns)))


def _compute_geqrf(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    packed, tau = np.linalg.qr(a, "raw")
    return np.swapaxes(packed, -1, -2), tau


GEQRF = kernel_operator("geqrf", ("input",), infer=_infer_geqrf, kernels=_lower_geqrf, compute=_compute_geqrf)


def geqrf(input: Tensor, *, out: Any = None) -> Any:
    """The QR decomposition as LAPACK packs it: R in the upper triangle, below it the Householder vectors, and their factors tau."""
    check_matrix("geqrf", input, letter="input")
    check_floating("geqrf", input)
    return return_types.several(return_types.geqrf, out, *GEQRF(input))


def _reflections(name: str, input: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
    """V and T such that the product of the reflections ``I - tau_i v_i v_i^H`` is ``I - V T V^H``.

    ``T^-1`` is ``diag(1 / tau)`` plus the strict upper triangle of ``V^H V`` (Joffrain et al., "Accumulating Householder
    transformations, revisited", 2006), here multiplied by tau, which may be 0.
    """
    check_matrix(name, input, letter="input")
    check_floating(name, input, tau)
    rows, columns = input.layout.shape[-2:]
    count = tau.layout.shape[-1]
    if columns < count:
        raise RuntimeError(f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1], but they are {columns} and {count}")
    if tau.layout.shape[:-1] != input.layout.shape[:-2]:
        raise RuntimeError(
            f"{name}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got {list(tau.layout.shape[:-1])} and {list(input.layout.shape[:-2])}"
        )
    if not count:
        input = input.detach()  # nothing of it is used, so that it has no gradient
    v = tril(input[..., :count], -1) + eye(rows, count, dtype=input.layout.dtype)
    system = eye(count, dtype=input.layout.dtype) + tau.unsqueeze(-1) * triu(v.mH @ v, 1)
    return v, solve_triangular(system, diag_embed(tau), upper=True, unitriangular=True)


def householder_product(A: Tensor, tau: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The first n columns of ``H_1 H_2 … H_k`` with ``H_i = I - tau_i v_i v_i^H``.

    The vector v_i is 0 above row i, 1 in it, and below it as in column i of A.

    Shapes: A ``(*, m, n)``, tau ``(*, k)``, result ``(*, m, n)``, with ``m >= n >= k``.
    """
    if tau.layout.ndim < 1:
        raise RuntimeError("linalg.householder_product: tau must have at least 1 dimension.")
    v, t = _reflections("linalg.householder_product", A, tau)
    rows, columns = A.layout.shape[-2:]
    if rows < columns:
        raise RuntimeError(
            f"linalg.householder_product: input.shape[-2] must be greater than or equal to input.shape[-1], but they are {rows} and {columns}"
        )
    return into(out, in_columns(eye(rows, columns, dtype=A.layout.dtype) - v @ (t @ v[..., :columns, :].mH)))


def ormqr(input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False, *, out: Tensor | None = None) -> Tensor:
    """``Q other`` (or ``other Q``), with Q the product of the reflections that ``input`` and ``tau`` describe, or its adjoint."""
    check_matrix("torch.ormqr", other, letter="other")
    v, t = _reflections("torch.ormqr", input, tau)
    check_floating("torch.ormqr", input, other)
    size = other.layout.shape[-2 if left else -1]
    if input.layout.shape[-2] != size:
        raise RuntimeError(
            f"torch.ormqr: other.shape[{-2 if left else -1}] (={size}) must be equal to input.shape[-2] (={input.layout.shape[-2]})"
        )
    if input.layout.shape[:-2] != other.layout.shape[:-2]:
        raise RuntimeError("torch.ormqr: Expected batch dimensions of other to be equal to those of input")
    if transpose:
        t = t.mH
    return into(out, in_columns(other - v @ (t @ (v.mH @ other)) if left else other - ((other @ v) @ t) @ v.mH))


# -- LU --------------------------------------------------------------------------------------------------------------


def _infer_lu(operands: tuple, statics: tuple) -> tuple[Layout, Layout, Layout]:
    source = operands[0]
    batch = source.shape[:-2]
    pivots = lay.contiguous((*batch, min(source.shape[-2:])), dt.int32)
    return column_major(source.shape, source.dtype), pivots, lay.contiguous(batch, dt.int32)


def _lower_lu(graph: Graph, operands: list[Node], check: bool) -> tuple[Node, Node, Node]:
    from flambeau._compiler import linear

    *batch, rows, columns = operands[0].shape
    packed, pivots, info = linear.lu(graph, *linear.as_they_lie(graph, operands[0]))
    info = info.reshape(tuple(batch))
    if check:
        refuse(graph, "torch.linalg.lu_factor", info, _zero_pivot)
    return linear.matrices_of(packed, batch), pivots.reshape((*batch, min(rows, columns))), info


def _zero_pivot(info: int) -> str:
    return f"U[{info},{info}] is zero and using it on lu_solve would result in a division by zero."


def _compute_lu(a: np.ndarray, check: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    packed, pivots, info = triangles.lu(a)
    if check and info.any():
        position = tuple(int(each[0]) for each in np.nonzero(info)) if info.ndim else ()
        raise LinAlgError(f"torch.linalg.lu_factor: {batch_position(info.shape, position)}{_zero_pivot(info[position])}")
    return packed, pivots, info


LU = kernel_operator("linalg_lu_factor_ex", ("A",), ("check",), infer=_infer_lu, kernels=_lower_lu, compute=_compute_lu)


def _lu_gradient(grad0: Tensor, result0: Tensor, result1: Tensor) -> Tensor:
    """``P L^-H (tril(L^H grad_L, -1) + triu(grad_U U^H)) U^-H``; what lies outside of the square part is a product with it."""
    rows, columns = result0.layout.shape[-2:]
    steps = min(rows, columns)
    square, grad = result0[..., :steps, :steps], grad0[..., :steps, :steps]
    lower = tril(square, -1) + eye(steps, dtype=result0.layout.dtype)
    upper = triu(square)
    grad_lower, grad_upper = tril(grad, -1), triu(grad)
    right = below = None
    if columns > rows:  # U = [U1 U2] with U2 = L^-1 P^T A2
        right = solve_triangular(lower.mH, grad0[..., steps:], upper=True, unitriangular=True)
        grad_lower = grad_lower - tril(right @ result0[..., steps:].mH, -1)
    elif rows > columns:  # L = [L1; L2] with L2 = A2 U^-1
        below = solve_triangular(upper.mH, grad0[..., steps:, :], upper=False, left=False)
        grad_upper = grad_upper - triu(result0[..., steps:, :].mH @ below)
    inner = tril(lower.mH @ grad_lower, -1) + triu(grad_upper @ upper.mH)
    inner = solve_triangular(lower.mH, inner, upper=True, unitriangular=True)
    inner = solve_triangular(upper.mH, inner, upper=False, left=False)
    whole = cat((inner, right), -1) if right is not None else cat((inner, below), -2) if below is not None else inner
    return permutation_matrix(result1, rows, result0.layout.dtype) @ whole


LU.gradient(A=_lu_gradient)


def _infer_permutation(operands: tuple, statics: tuple) -> Layout:
    return lay.contiguous((*operands[0].shape[:-1], statics[0]), dt.int64)


def _lower_permutation(graph: Graph, operands: list[Node], rows: int) -> Node:
    from flambeau._compiler import linear

    *batch, steps = operands[0].shape
    pivots = graph.dense(operands[0]).reshape((math.prod(batch), steps))
    return linear.permutation(graph, pivots, rows).reshape((*batch, rows))


PERMUTATION = kernel_operator(
    "_pivots_to_permutation",
    ("pivots",),
    ("rows",),
    infer=_infer_permutation,
    kernels=_lower_permutation,
    compute=triangles.permutation,
)


def permutation_matrix(pivots: Tensor, rows: int, dtype: Any) -> Tensor:
    """The matrix P that gives ``A = P L U``, from LAPACK's pivots."""
    order = PERMUTATION(pivots, statics=(rows,))
    return (arange(rows).unsqueeze(-1) == order.unsqueeze(-2)).to(dtype)


def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False, out: Any = None) -> Any:
    """The packed LU decomposition, its pivots, and for each matrix the first diagonal element of U that is 0 (0: none).

    Shapes: A and LU ``(*, m, n)``, pivots ``(*, min(m, n))``, info ``(*)``.
    """
    check_matrix("torch.linalg.lu_factor", A)
    check_floating("torch.linalg.lu_factor", A)
    if not pivot:
        raise RuntimeError("linalg.lu_factor: LU without pivoting is not implemented on the CPU")
    return return_types.several(return_types.linalg_lu_factor_ex, out, *checked(LU(A, statics=(bool(check_errors),)), check_errors))


def lu_factor(A: Tensor, *, pivot: bool = True, out: Any = None) -> Any:
    """The LU decomposition with partial pivoting, packed in one matrix, and its pivots; ``lu_solve`` takes them.

    Raises:
        LinAlgError: a diagonal element of U is 0.
    """
    packed, pivots, _ = lu_factor_ex(A, pivot=pivot, check_errors=True)
    return return_types.several(return_types.linalg_lu_factor, out, packed, pivots)


def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True, *, out: Any = None) -> Any:
    """P, L and U of ``A = P L U`` from the packed decomposition; what is not unpacked is an empty tensor.

    Shapes: P ``(*, m, m)``, L ``(*, m, k)``, U ``(*, k, n)`` with ``k = min(m, n)``.
    """
    if LU_pivots.layout.dtype is not dt.int32:
        raise RuntimeError("torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype.")
    check_matrix("torch.lu_unpack", LU_data, letter="LU_data")
    dtype = LU_data.layout.dtype
    rows, columns = LU_data.layout.shape[-2:]
    steps = min(rows, columns)
    p = permutation_matrix(LU_pivots, rows, dtype) if unpack_pivots else LU_data.new_empty(0)
    lower = tril(LU_data[..., :steps], -1).contiguous() + eye(rows, steps, dtype=dtype) if unpack_data else LU_data.new_empty(0)
    upper = triu(LU_data[..., :steps, :].contiguous()) if unpack_data else LU_data.new_empty(0)
    return return_types.several(return_types.lu_unpack, out, p, lower, upper)


def lu(A: Tensor, *, pivot: bool = True, out: Any = None) -> Any:
    """``A = P L U`` with a permutation P, a unit lower triangular L and an upper triangular U (partial pivoting).

    Shapes: A ``(*, m, n)``, P ``(*, m, m)``, L ``(*, m, k)``, U ``(*, k, n)`` with ``k = min(m, n)``.
    """
    check_matrix("linalg.lu", A)
    packed, pivots, _ = lu_factor_ex(A, pivot=pivot)
    return return_types.several(return_types.linalg_lu, out, *lu_unpack(packed, pivots))


def _take_rows(x: Tensor, order: Tensor) -> Tensor:
    """The rows of matrices in another order; batches are broadcast."""
    batch = lay.broadcast_shapes(x.layout.shape[:-2], order.layout.shape[:-1])
    size = (*batch, *x.layout.shape[-2:])
    return gather(x.expand(*size), -2, order.unsqueeze(-1).expand(*size))


def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False, out: Tensor | None = None) -> Tensor:
    """The solution X of ``A X = B`` (``X A = B`` with ``left=False``; A^H for A with ``adjoint=True``) from ``lu_factor(A)``."""
    check_square("torch.linalg.lu_solve", LU, "LU")
    check_matrix("torch.linalg.lu_solve", B, letter="B")
    check_floating("torch.linalg.lu_solve", LU, B)
    if pivots.layout.dtype is not dt.int32:
        raise RuntimeError("linalg.lu_solve: pivots should be a Tensor of scalar type torch.int32")
    size = LU.layout.shape[-1]
    if pivots.layout.shape != LU.layout.shape[:-1]:
        raise RuntimeError(f"linalg.lu_solve: Number of pivots per batch should be same as the dimension of the matrix ({size})")
    if B.layout.shape[-2 if left else -1] != size:
        raise RuntimeError(
            f"linalg.lu_solve: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
            f"({size}x{size} and {B.layout.shape[-2]}x{B.layout.shape[-1]})"
        )
    order = PERMUTATION(pivots, statics=(size,))
    x = B if left else B.mH
    if adjoint is left:  # A^H x = b
        x = solve_triangular(LU.mH, x, upper=False)
        x = _take_rows(solve_triangular(LU.mH, x, upper=True, unitriangular=True), argsort(order, -1))
    else:
        x = solve_triangular(LU, _take_rows(x, order), upper=False, unitriangular=True)
        x = solve_triangular(LU, x, upper=True)
    return into(out, in_columns(x) if left else x.mH.contiguous())
