"""Eigenvalues and singular values.

Vectors are determined up to a sign (a phase, if complex): a gradient is right for functions that do not depend on it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops import return_types
from flambeau._ops.arguments import into
from flambeau._ops.linalg.host import (
    check_floating,
    check_matrix,
    check_square,
    column_major,
    converging,
    hermitian_part,
    host_operator,
    kernel_operator,
    refuse_infinite,
)
from flambeau._ops.linalg.solve import solve
from flambeau._ops.operator import Operator
from flambeau._ops.registry import FUNCTIONS
from flambeau._ops.shaping import diag_embed
from flambeau._tape.tape import LOCAL
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


def _ratio(x: Tensor, gap: Tensor) -> Tensor:
    """``x / gap``, but 0 where x is: equal eigenvalues only matter to a gradient that tells their vectors apart."""
    zero = x == 0
    return FUNCTIONS.where(zero, 0.0, x / FUNCTIONS.where(zero, 1.0, gap))


def _skew(x: Tensor) -> Tensor:
    return x - x.mH


# -- Hermitian matrices ----------------------------------------------------------------------------------------------


def _infer_eigh(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    a = operands[0]
    return lay.contiguous(a.shape[:-1], a.dtype.to_real()), column_major(a.shape, a.dtype)


def _infer_eigvalsh(operands: tuple, statics: tuple) -> Layout:
    return lay.contiguous(operands[0].shape[:-1], operands[0].dtype.to_real())


def _lower_eigh(graph: Graph, operands: list[Node], uplo: str) -> tuple[Node, Node]:
    from flambeau._compiler import linear, spectra

    a = operands[0]
    refuse_infinite(graph, "linalg.eigh", a)
    values, vectors = spectra.eigh(graph, linear.columns_of(graph, a if uplo == "L" else a.transpose(-2, -1)))
    return values.reshape(a.shape[:-1]), linear.matrices_of(vectors, a.shape[:-2])


def _lower_eigvalsh(graph: Graph, operands: list[Node], uplo: str) -> Node:
    from flambeau._compiler import linear, spectra

    a = operands[0]
    refuse_infinite(graph, "linalg.eigvalsh", a)
    return spectra.eigvalsh(graph, linear.columns_of(graph, a if uplo == "L" else a.transpose(-2, -1))).reshape(a.shape[:-1])


EIGH = kernel_operator(
    "linalg_eigh",
    ("A",),
    ("UPLO",),
    infer=_infer_eigh,
    kernels=_lower_eigh,
    compute=converging("linalg.eigh", lambda a, uplo: tuple(np.linalg.eigh(a, uplo))),
)
EIGVALSH = kernel_operator(
    "linalg_eigvalsh",
    ("A",),
    ("UPLO",),
    infer=_infer_eigvalsh,
    kernels=_lower_eigvalsh,
    compute=converging("linalg.eigvalsh", np.linalg.eigvalsh),
)


def _eigh_gradient(grad0: Tensor, grad1: Tensor, result0: Tensor, result1: Tensor) -> Tensor:
    """``V (diag(grad_L) + (V^H grad_V) / E) V^H`` with ``E_ij = L_j - L_i`` (Giles, 2008)."""
    gap = result0.unsqueeze(-2) - result0.unsqueeze(-1)
    inner = result1.mH @ grad1
    inner = _ratio(inner - diag_embed(inner.diagonal(0, -2, -1)), gap)
    return hermitian_part(result1 @ (inner + diag_embed(grad0).to(inner.layout.dtype)) @ result1.mH)


def _eigvalsh_gradient(grad: Tensor, A: Tensor, UPLO: str) -> Tensor:
    vectors = EIGH(A, statics=(UPLO,))[1]
    return (vectors * grad.unsqueeze(-2)) @ vectors.mH


EIGH.gradient(A=_eigh_gradient)
EIGVALSH.gradient(A=_eigvalsh_gradient)


def _uplo(UPLO: str) -> str:
    if not isinstance(UPLO, str) or UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return UPLO.upper()


def eigh(A: Tensor, UPLO: str = "L", *, out: Any = None) -> Any:
    """Eigenvalues (in increasing order) and orthonormal eigenvectors of Hermitian matrices: ``A = V diag(L) V^H``.

    Only the lower (``"L"``) or the upper (``"U"``) triangle of A is read.

    Raises:
        LinAlgError: the algorithm does not converge, for instance because an element is not finite.
    """
    check_square("linalg.eigh", A)
    check_floating("linalg.eigh", A)
    return return_types.several(return_types.linalg_eigh, out, *EIGH(A, statics=(_uplo(UPLO),)))


def eigvalsh(A: Tensor, UPLO: str = "L", *, out: Tensor | None = None) -> Tensor:
    """The eigenvalues of Hermitian matrices, in increasing order."""
    check_square("linalg.eigvalsh", A)
    check_floating("linalg.eigvalsh", A)
    return into(out, _values(A, _uplo(UPLO)))


# -- general matrices ------------------------------------------------------------------------------------------------


def _infer_eig(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    a = operands[0]
    return lay.contiguous(a.shape[:-1], a.dtype.to_complex()), column_major(a.shape, a.dtype.to_complex())


def _infer_eigvals(operands: tuple, statics: tuple) -> Layout:
    return lay.contiguous(operands[0].shape[:-1], operands[0].dtype.to_complex())


EIG = host_operator("linalg_eig", ("A",), infer=_infer_eig, compute=converging("linalg.eig", lambda a: tuple(np.linalg.eig(a))))
EIGVALS = host_operator("linalg_eigvals", ("A",), infer=_infer_eigvals, compute=converging("linalg.eigvals", np.linalg.eigvals))


def _eig_gradient(grad0: Tensor, grad1: Tensor, result0: Tensor, result1: Tensor) -> Tensor:
    """``V^-H (diag(grad_L) + (V^H grad_V - V^H V diag(Re(V^H grad_V))) / conj(E)) V^H`` for vectors of norm 1."""
    product = result1.mH @ grad1
    inner = product - (result1.mH @ result1) * product.diagonal(0, -2, -1).real.unsqueeze(-2)
    gap = (result0.unsqueeze(-2) - result0.unsqueeze(-1)).conj()
    inner = _ratio(inner - diag_embed(inner.diagonal(0, -2, -1)), gap)
    return solve(result1.mH, (inner + diag_embed(grad0)) @ result1.mH)


def _eigvals_gradient(grad: Tensor, A: Tensor) -> Tensor:
    vectors = EIG(A)[1]
    return solve(vectors.mH, grad.unsqueeze(-1) * vectors.mH)


EIG.gradient(A=_eig_gradient)
EIGVALS.gradient(A=_eigvals_gradient)


def eig(A: Tensor, *, out: Any = None) -> Any:
    """Eigenvalues and eigenvectors (of norm 1) of square matrices, complex in general: ``A V = V diag(L)``.

    Raises:
        LinAlgError: the algorithm does not converge, for instance because an element is not finite.
    """
    check_square("linalg.eig", A)
    check_floating("linalg.eig", A)
    return return_types.several(return_types.linalg_eig, out, *EIG(A))


def eigvals(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The eigenvalues of square matrices, complex in general."""
    check_square("linalg.eigvals", A)
    check_floating("linalg.eigvals", A)
    return into(out, EIGVALS(A))


# -- singular values -------------------------------------------------------------------------------------------------


def _infer_svd(operands: tuple, statics: tuple) -> tuple[Layout, Layout, Layout]:
    a = operands[0]
    *batch, rows, columns = a.shape
    steps = min(rows, columns)
    left, right = (rows, columns) if statics[0] else (steps, steps)
    return (
        column_major((*batch, rows, left), a.dtype),
        lay.contiguous((*batch, steps), a.dtype.to_real()),
        column_major((*batch, right, columns), a.dtype),
    )


def _infer_svdvals(operands: tuple, statics: tuple) -> Layout:
    *batch, rows, columns = operands[0].shape
    return lay.contiguous((*batch, min(rows, columns)), operands[0].dtype.to_real())


def has_singular_kernels(a: Node) -> bool:
    """Whether singular values are ours: those of float32, and those of float64 that rotations in lanes find."""
    return a.dtype is dt.float32 or _are_short(a)


def _are_short(a: Node) -> bool:
    from flambeau._compiler import linear

    return linear.are_small(math.prod(a.shape[:-2]), max(a.shape[-2:]), a.dtype)


def singular(graph: Graph, name: str, a: Node) -> tuple[Node, Node, Node]:
    """Singular values, and both sides' vectors as ``(batch, vector, element)``, of matrices that ``has_singular_kernels``; vectors of values that are 0 may be 0."""
    from flambeau._compiler import linear, spectra

    refuse_infinite(graph, name, a)
    rows, columns = a.shape[-2:]
    standing = linear.columns_of(graph, a if rows >= columns else a.transpose(-2, -1))
    values, left, right = linear.singular(graph, standing) if _are_short(a) else spectra.svd(graph, standing, full=False)
    return (values, left, right) if rows >= columns else (values, right, left)


def _lower_svd(graph: Graph, operands: list[Node], full: bool) -> tuple[Node, Node, Node]:
    from flambeau._compiler import linear, spectra

    a = operands[0]
    refuse_infinite(graph, "linalg.svd", a)
    batch, (rows, columns) = a.shape[:-2], a.shape[-2:]
    values, left, right = spectra.svd(graph, linear.columns_of(graph, a if rows >= columns else a.transpose(-2, -1)), full)
    if rows < columns:
        left, right = right, left
    right = right.reshape((*batch, *right.shape[1:]))
    return linear.matrices_of(left, batch), values.reshape((*batch, values.shape[1])), right


SVD = kernel_operator(
    "linalg_svd",
    ("A",),
    ("full_matrices",),
    infer=_infer_svd,
    kernels=_lower_svd,
    compute=converging("linalg.svd", lambda a, full: tuple(np.linalg.svd(a, full))),
    suits=lambda a: a.dtype is dt.float32,
)


def _lower_svdvals(graph: Graph, operands: list[Node]) -> Node:
    from flambeau._compiler import linear, spectra

    a = operands[0]
    rows, columns = a.shape[-2:]
    refuse_infinite(graph, "linalg.svdvals", a)
    standing = linear.columns_of(graph, a if rows >= columns else a.transpose(-2, -1))
    values = linear.singular(graph, standing)[0] if _are_short(a) else spectra.svdvals(graph, standing)
    return values.reshape((*a.shape[:-2], values.shape[1]))


SVDVALS = kernel_operator(
    "linalg_svdvals",
    ("A",),
    infer=_infer_svdvals,
    kernels=_lower_svdvals,
    compute=converging("linalg.svdvals", lambda a: np.linalg.svd(a, compute_uv=False)),
    suits=has_singular_kernels,
)


def _svd_gradient(grad0: Tensor, grad1: Tensor, grad2: Tensor, result0: Tensor, result1: Tensor, result2: Tensor) -> Tensor:
    """``U (skew(U^H grad_U) / E S + S skew(V^H grad_V) / E + diag(grad_S)) V^H`` and what leaves the two subspaces, where
    ``E_ij = S_j^2 - S_i^2`` (Townsend, "Differentiating the singular value decomposition", 2016).

    Of full matrices the gradient is that of their first min(m, n) vectors, which alone depend smoothly on A.
    """
    steps = result1.layout.shape[-1]
    u, grad_u = result0[..., :steps], grad0[..., :steps]
    vh, grad_vh = result2[..., :steps, :], grad2[..., :steps, :]
    s = result1
    row, column = s.unsqueeze(-2), s.unsqueeze(-1)
    gap = row * row - column * column
    u_inner, v_inner = u.mH @ grad_u, vh @ grad_vh.mH
    turn_u, turn_v = _skew(u_inner), _skew(v_inner)
    inner = _ratio(_off_diagonal(turn_u), gap) * row + column * _ratio(_off_diagonal(turn_v), gap)
    diagonal = grad1.to(u.layout.dtype)
    if u.is_complex():
        diagonal = diagonal + _ratio(turn_u.diagonal(0, -2, -1), 2 * s)
    grad = u @ (inner + diag_embed(diagonal)) @ vh
    if u.layout.shape[-2] > steps:
        grad = grad + _ratio(grad_u - u @ u_inner, row) @ vh
    if vh.layout.shape[-1] > steps:
        grad = grad + u @ _ratio(grad_vh - v_inner.mH @ vh, column)
    return grad


def _off_diagonal(x: Tensor) -> Tensor:
    return x - diag_embed(x.diagonal(0, -2, -1))


def _svdvals_gradient(grad: Tensor, A: Tensor) -> Tensor:
    u, _, vh = SVD(A, statics=(False,))
    return (u * grad.unsqueeze(-2)) @ vh


SVD.gradient(A=_svd_gradient)
SVDVALS.gradient(A=_svdvals_gradient)


# -- values whose gradient is wanted ---------------------------------------------------------------------------------

SPECTRUM = Operator(
    "_linalg_spectrum",
    ("A", "values", "left", "right"),
    ("uplo",),
    infer=lambda operands, statics: lay.contiguous(operands[1].shape, operands[1].dtype),
    lower=lambda graph, operands, statics, layouts: graph.copy(operands[1]),
    grad_name="LinalgSpectrumBackward0",
)
"""The values of matrices whose vectors were computed with them, for the gradient; ``uplo`` is None for singular values."""


def _spectrum_gradient(grad: Tensor, A: Tensor, left: Tensor, right: Tensor, uplo: str | None) -> Tensor:
    if LOCAL.tape.grad:  # what is differentiated again needs vectors that depend on A
        return _svdvals_gradient(grad, A) if uplo is None else _eigvalsh_gradient(grad, A, uplo)
    return (left * grad.unsqueeze(-2)) @ right


SPECTRUM.gradient(A=_spectrum_gradient)


def _wants_vectors(A: Tensor) -> bool:
    return LOCAL.tape.grad and A.requires_grad and not LOCAL.tape.batched


def _values(A: Tensor, uplo: str | None) -> Tensor:
    """Singular values, or eigenvalues of Hermitian matrices."""
    if not _wants_vectors(A):
        return SVDVALS(A) if uplo is None else EIGVALSH(A, statics=(uplo,))
    if uplo is None:
        left, values, right = SVD(A.detach(), statics=(False,))
    else:
        values, left = EIGH(A.detach(), statics=(uplo,))
        right = left.mH
    return SPECTRUM(A, values, left, right, statics=(uplo,))


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None, out: Any = None) -> Any:
    """``A = U diag(S) Vh`` with orthonormal columns in U and rows in Vh, and singular values in decreasing order.

    Shapes: A ``(*, m, n)``; U ``(*, m, m)``, S ``(*, k)``, Vh ``(*, n, n)`` with ``k = min(m, n)``; without ``full_matrices`` U is
    ``(*, m, k)`` and Vh ``(*, k, n)``.

    Raises:
        LinAlgError: the algorithm does not converge, for instance because an element is not finite.
    """
    _check_svd("linalg.svd", A, driver)
    return return_types.several(return_types.linalg_svd, out, *SVD(A, statics=(bool(full_matrices),)))


def svdvals(A: Tensor, *, driver: str | None = None, out: Tensor | None = None) -> Tensor:
    """The singular values of matrices, in decreasing order."""
    _check_svd("linalg.svdvals", A, driver)
    return into(out, _values(A, None))


def _check_svd(name: str, A: Tensor, driver: str | None) -> None:
    check_matrix(name, A)
    check_floating(name, A)
    if driver is not None:
        raise RuntimeError(f"{name}: keyword argument `driver=` is only supported on CUDA inputs")
