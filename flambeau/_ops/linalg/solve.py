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
    in_columns,
    kernel_operator,
    refuse,
)
from flambeau._ops.registry import FUNCTIONS
from flambeau._ops.shaping import tril, triu
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
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


def _lower_triangular(graph: Graph, operands: list[Node], upper: bool, left: bool, unitriangular: bool) -> Node:
    from flambeau._compiler import linear

    a, b = operands if left else [each.transpose(-2, -1) for each in operands]  # X A = B is A^T X^T = B^T
    flags = ("upper",) * (upper is left) + ("unit",) * unitriangular
    factor, *turned = linear.as_they_lie(graph, a)
    columns = linear.substitution(graph, factor, linear.columns_of(graph, b), *flags, *turned)
    found = linear.matrices_of(columns, b.shape[:-2])
    return found if left else found.transpose(-2, -1)


TRIANGULAR = kernel_operator(
    "linalg_solve_triangular",
    ("A", "B"),
    ("upper", "left", "unitriangular"),
    infer=_infer_triangular,
    kernels=_lower_triangular,
    compute=_compute_triangular,
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


def _lower_cholesky_solve(graph: Graph, operands: list[Node], upper: bool) -> Node:
    from flambeau._compiler import linear

    b, factor = operands
    lower, higher = (factor.transpose(-2, -1), factor) if upper else (factor, factor.transpose(-2, -1))
    (lower, *first), (higher, *second) = linear.as_they_lie(graph, lower), linear.as_they_lie(graph, higher)
    columns = linear.substitution(graph, lower, linear.columns_of(graph, b), *first)
    return linear.matrices_of(linear.substitution(graph, higher, columns, "upper", *second), b.shape[:-2])


CHOLESKY_SOLVE = kernel_operator(
    "cholesky_solve", ("B", "L"), ("upper",), infer=_infer_first, kernels=_lower_cholesky_solve, compute=_compute_cholesky_solve
)


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


def _identity(graph: Graph, shape: tuple[int, ...], dtype: DType) -> Node:
    ones = graph.iota(shape, len(shape) - 1).equals(graph.iota(shape, len(shape) - 2))
    return graph.cast(ones, dtype)


def _lower_cholesky_inverse(graph: Graph, operands: list[Node], upper: bool) -> Node:
    factor = operands[0]
    return _lower_cholesky_solve(graph, [_identity(graph, factor.shape, factor.dtype), factor], upper)


CHOLESKY_INVERSE = kernel_operator(
    "cholesky_inverse", ("L",), ("upper",), infer=_infer_first, kernels=_lower_cholesky_inverse, compute=_compute_cholesky_inverse
)


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


def _singular(what: str) -> Callable[[int], str]:
    def reason(info: int) -> str:
        return f"The diagonal element {info} is zero, the {what} could not be completed because the input matrix is singular."

    return reason


def _zero_pivot(what: str) -> Callable[[np.ndarray], tuple[int, str]]:
    def failure(matrix: np.ndarray) -> tuple[int, str]:
        info = int(triangles.lu(matrix)[2])
        return info, _singular(what)(info)

    return failure


def _lower_lu(graph: Graph, name: str, what: str, a: Node, check: bool) -> tuple[Node, Node, Node]:
    """The packed LU decomposition, pivots, and info."""
    from flambeau._compiler import linear

    packed, pivots, info = linear.lu(graph, *linear.as_they_lie(graph, a))
    info = info.reshape(a.shape[:-2])
    if check:
        refuse(graph, name, info, _singular(what))
    return packed, pivots, info


def _lower_solve(graph: Graph, operands: list[Node], check: bool) -> tuple[Node, Node]:
    from flambeau._compiler import linear

    a, b = operands
    packed, pivots, info = _lower_lu(graph, "torch.linalg.solve", "solve", a, check)
    columns = linear.substitution(graph, packed, linear.columns_of(graph, b), "unit", pivots=pivots)
    return linear.matrices_of(linear.substitution(graph, packed, columns, "upper"), a.shape[:-2]), info


def _infer_solve(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    a, b = operands
    return column_major(b.shape, b.dtype), lay.contiguous(a.shape[:-2], dt.int32)


SOLVE = kernel_operator(
    "linalg_solve_ex",
    ("A", "B"),
    ("check",),
    infer=_infer_solve,
    kernels=_lower_solve,
    compute=lambda a, b, check: guarded("torch.linalg.solve", np.linalg.solve, (a, b), check, _zero_pivot("solve")),
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


def _lower_inverse(graph: Graph, operands: list[Node], check: bool) -> tuple[Node, Node]:
    from flambeau._compiler import linear

    packed, pivots, info = _lower_lu(graph, "linalg.inv", "inversion", operands[0], check)
    return linear.matrices_of(linear.inverse(graph, packed, pivots), operands[0].shape[:-2]), info


INVERSE = kernel_operator(
    "linalg_inv_ex",
    ("A",),
    ("check",),
    infer=_infer_inverse,
    kernels=_lower_inverse,
    compute=lambda a, check: guarded("linalg.inv", np.linalg.inv, (a,), check, _zero_pivot("inversion")),
)
INVERSE.gradient(A=lambda grad0, result0: -(result0.mH @ grad0 @ result0.mH))


def inv_ex(A: Tensor, *, check_errors: bool = False, out: Any = None) -> Any:
    """The inverse, and for each matrix the diagonal element of its LU decomposition that is 0 (0: none).

    What is returned for a singular matrix means nothing, unless ``check_errors`` makes it an error.
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


def _lower_factors(graph: Graph, a: Node) -> tuple[Node, Node, Node, Node]:
    """The LU decomposition of square matrices: packed, pivots, the diagonal of U, and whether rows were exchanged an odd number of times."""
    from flambeau._compiler import linear

    batch, size = a.shape[:-2], a.shape[-1]
    packed, pivots, _ = linear.lu(graph, *linear.as_they_lie(graph, a))
    count, step = packed.shape[0], packed.strides[0]
    diagonal = graph.view(packed, lay.layout((count, size), (step, size + 1), 0, a.dtype)).reshape((*batch, size))
    moved = graph.cast(pivots.differs(graph.cast(graph.iota(pivots.shape, 1) + 1, dt.int32)), dt.int64).sum((1,))
    return packed, pivots, diagonal, (moved & 1).equals(1).reshape(batch)


def _signed(graph: Graph, odd: Node, number: Node) -> Node:
    return graph.where(odd, graph.map("neg", number), number)


def _lower_det(graph: Graph, operands: list[Node]) -> Node:
    _, _, diagonal, odd = _lower_factors(graph, operands[0])
    return _signed(graph, odd, graph.reduce("prod", diagonal, (diagonal.ndim - 1,)))


def _lower_slogdet(graph: Graph, operands: list[Node]) -> tuple[Node, Node]:
    _, _, diagonal, odd = _lower_factors(graph, operands[0])
    last = (diagonal.ndim - 1,)
    sign = graph.reduce("prod", graph.map("sign", diagonal), last)
    return _signed(graph, odd, sign), graph.map("log", graph.map("abs", diagonal)).sum(last)


def _lower_cofactors(graph: Graph, operands: list[Node]) -> Node:
    """``det(A') A'^-T``, where A' has small numbers in place of zeros on the diagonal of U: these leave the product.

    One zero leaves a matrix of rank 1, in which the number itself has cancelled; of two, one is left, and the result is almost 0.
    """
    from flambeau._compiler import linear

    a = operands[0]
    packed, pivots, diagonal, odd = _lower_factors(graph, a)
    small = graph.constant(2.0**-60 if a.dtype is dt.float32 else 2.0**-500, a.dtype)
    bad = _identity(graph, packed.shape, dt.bool) & packed.equals(0.0)
    packed = graph.dense(graph.where(bad, small, packed))
    product = _signed(graph, odd, graph.reduce("prod", graph.where(diagonal.equals(0.0), small, diagonal), (diagonal.ndim - 1,)))
    columns = linear.inverse(graph, packed, pivots)
    return product.unsqueeze(product.ndim).unsqueeze(product.ndim + 1).expand(a.shape) * columns.reshape(a.shape)


DET = kernel_operator("linalg_det", ("A",), infer=_infer_scalar, kernels=_lower_det, compute=lambda a: np.asarray(np.linalg.det(a)))
COFACTORS = kernel_operator(
    "_linalg_cofactors",
    ("A",),
    infer=lambda operands, statics: lay.contiguous(operands[0].shape, operands[0].dtype),
    kernels=_lower_cofactors,
    compute=_compute_cofactors,
)
SLOGDET = kernel_operator(
    "linalg_slogdet",
    ("A",),
    infer=_infer_slogdet,
    kernels=_lower_slogdet,
    compute=lambda a: tuple(np.asarray(each) for each in np.linalg.slogdet(a)),
)


def _cofactors_gradient(grad: Tensor, A: Tensor, result: Tensor) -> Tensor:
    inverse = INVERSE(A, statics=(True,))[0].mH
    return (conj(grad) * inverse).sum((-2, -1), keepdim=True) * result - result @ grad.mH @ inverse


def _slogdet_gradient(grad0: Tensor, grad1: Tensor, result0: Tensor, A: Tensor) -> Tensor:
    """``(grad_logabsdet - i Im(conj(grad_sign) sign)) A^-H``; the sign of a real determinant has no gradient."""
    scale = grad1
    if result0.is_complex():
        scale = grad1 - 1j * (conj(grad0) * result0).imag
    return scale[..., None, None] * INVERSE(A, statics=(True,))[0].mH


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
