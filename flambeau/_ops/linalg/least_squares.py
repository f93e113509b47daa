"""Pseudo-inverses, ranks and least squares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops import return_types
from flambeau._ops.arguments import into
from flambeau._ops.autocast import STATE, cast, low
from flambeau._ops.creation import as_tensor, full
from flambeau._ops.elementwise import abs, maximum
from flambeau._ops.linalg.host import (
    broadcast_batches,
    check_floating,
    check_matrix,
    check_square,
    column_major,
    converging,
    host_operator,
    kernel_operator,
    may_look,
    on_host,
)
from flambeau._ops.linalg.spectral import eigvalsh, has_singular_kernels, singular, svdvals
from flambeau._ops.operator import Operator
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.device import CPU
from flambeau._types.finfo import finfo
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


def _tolerances(name: str, A: Tensor, atol: Any, rtol: Any) -> tuple[Tensor, Tensor]:
    """Below what a singular value counts as 0: absolutely, and relative to the largest.

    The latter is ``max(m, n)`` times the resolution of the dtype, unless a tolerance is given.
    """
    real = A.layout.dtype.to_real()
    default = finfo(real).eps * max(A.layout.shape[-2:])
    if rtol is None:
        rtol = default if atol is None else (as_tensor(atol) <= 0) * default
    both = []
    for label, each in (("atol", 0.0 if atol is None else atol), ("rtol", rtol)):
        tensor = as_tensor(each)
        if tensor.is_complex():
            raise RuntimeError(f"{name}: {label} tensor of complex type is not supported. Got {tensor.layout.dtype!r}")
        both.append(tensor.detach().to(real))
    return both[0], both[1]


# -- rank ------------------------------------------------------------------------------------------------------------


def matrix_rank(
    A: Tensor, tol: Any = None, *, atol: Any = None, rtol: Any = None, hermitian: bool = False, out: Tensor | None = None
) -> Tensor:
    """How many singular values are larger than ``max(atol, rtol * the largest)``.

    ``rtol`` is ``max(m, n)`` times the resolution of the dtype if no tolerance is given; ``tol`` is NumPy's name of ``atol``.
    """
    check_matrix("linalg.matrix_rank", A)
    check_floating("linalg.matrix_rank", A)
    if tol is not None:
        atol, rtol = tol, 0.0
    A = A.detach()
    if hermitian:
        check_square("linalg.matrix_rank", A)
    size = abs(eigvalsh(A)) if hermitian else svdvals(A)
    if not size.layout.shape[-1]:
        return into(out, size.sum(-1).to(dt.int64))
    atol, rtol = _tolerances("linalg.matrix_rank", A, atol, rtol)
    return into(out, (size > maximum(rtol * size.amax(-1), atol).unsqueeze(-1)).sum(-1))


# -- pseudo-inverse --------------------------------------------------------------------------------------------------


def _infer_pinv(operands: tuple, statics: tuple) -> Layout:
    *batch, rows, columns = operands[0].shape
    return lay.contiguous((*batch, columns, rows), operands[0].dtype)


def _compute_pinv(a: np.ndarray, atol: np.ndarray, rtol: np.ndarray, hermitian: bool) -> np.ndarray:
    if not a.size:
        return np.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)
    if hermitian:
        s, u = np.linalg.eigh(a)
        vh = np.conj(np.swapaxes(u, -1, -2))
    else:
        u, s, vh = np.linalg.svd(a, full_matrices=False)
    size = np.abs(s)
    keep = size > np.maximum(atol, rtol * size.max(-1))[..., None]
    inverse = np.divide(1, s, where=keep, out=np.zeros_like(s))
    return np.conj(np.swapaxes(vh, -1, -2)) @ (inverse[..., None] * np.conj(np.swapaxes(u, -1, -2)))


_on_host = on_host(converging("linalg.pinv", _compute_pinv))


def _lower_pinv(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Any:
    a, atol, rtol = operands
    if statics[0] or not a.numel or a.dtype.is_complex or not has_singular_kernels(a):
        return _on_host(graph, operands, statics, layouts)
    values, left, right = singular(graph, "linalg.pinv", a)
    batch, count = values.shape
    least, relative = (each.expand(a.shape[:-2]).reshape((batch,)) for each in (atol, rtol))
    bound = graph.map("maximum", relative * values.slice(1, 0, 1).reshape((batch,)), least).unsqueeze(1).expand(values.shape)
    inverse = graph.where(values > bound, graph.constant(1.0, a.dtype, values.shape) / values, 0.0)
    scaled = right * inverse.unsqueeze(2).expand(right.shape)
    found = graph.contract(scaled.transpose(1, 2), left, batch=1, m=1, n=1, k=1)
    return found.reshape(layouts[0].shape)


PINV = Operator("linalg_pinv", ("A", "atol", "rtol"), ("hermitian",), infer=_infer_pinv, lower=_lower_pinv, keeps_origin=True)


def _pinv_gradient(grad: Tensor, A: Tensor, result: Tensor) -> Tensor:
    """``-P^H G P^H + (I - A P) G^H P P^H + P^H P G^H (I - P A)``, for changes that keep the rank (Golub and Pereyra, 1973)."""
    p, ph, gh = result, result.mH, grad.mH
    left, right = gh @ (p @ ph), (ph @ p) @ gh
    return -(ph @ grad @ ph) + (left - A @ (p @ left)) + (right - (right @ p) @ A)


PINV.gradient(A=_pinv_gradient)


def pinv(A: Tensor, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None, out: Tensor | None = None) -> Tensor:
    """The Moore-Penrose pseudo-inverse: singular values up to ``max(atol, rtol * the largest)`` count as 0.

    Shapes: A ``(*, m, n)``, result ``(*, n, m)``. In a region of automatic casts the last step, a product, is in the region's dtype.
    """
    A = A if STATE.dtype is None else cast(A, dt.float32)
    check_matrix("linalg.pinv", A)
    check_floating("linalg.pinv", A)
    if rcond is not None:
        rtol = rcond
    if hermitian:
        check_square("linalg.pinv", A)
    return into(out, *low(PINV(A, *_tolerances("linalg.pinv", A, atol, rtol), statics=(bool(hermitian),))))


_POWERS = 2
"""Steps of the power method: they find the largest singular value of random matrices of 512² to a quarter, and a factor of two is allowed for."""


# -- systems of full rank --------------------------------------------------------------------------------------------


def _triangle(graph: Graph, a: Node) -> tuple[Node, Node, Node]:
    """Of a QR decomposition of matrices that are not wide: the packed reflections, taus, and R as its columns (with reflections below)."""
    from flambeau._compiler import linear

    packed, taus = linear.qr(graph, *linear.as_they_lie(graph, a))
    return packed, taus, graph.dense(packed.slice(2, 0, packed.shape[1]))


def _lower_full(graph: Graph, operands: list[Node]) -> Node:
    """``R^-1 Q^H B``, in as many rows as B has: as LAPACK leaves it."""
    from flambeau._compiler import linear

    a, b = operands
    packed, taus, r = _triangle(graph, a)
    turned = linear.reflection(graph, packed, taus, linear.columns_of(graph, b), adjoint=True)
    turned = graph.dense(turned.slice(2, 0, a.shape[-1]))
    found = linear.matrices_of(linear.substitution(graph, r, turned, "upper"), b.shape[:-2])
    none = (0,) * (b.ndim - 2)
    return graph.pad(found, (*none, 0, 0), (*none, b.shape[-2] - a.shape[-1], 0))


def _lower_smallest(graph: Graph, operands: list[Node]) -> Node:
    """``Q R^-H C``."""
    from flambeau._compiler import linear

    a, c = operands
    packed, taus, r = _triangle(graph, a)
    solved = linear.substitution(graph, graph.dense(r.transpose(1, 2)), linear.columns_of(graph, c))
    padded = graph.dense(graph.pad(solved, (0, 0, 0), (0, 0, a.shape[-2] - a.shape[-1])))
    return linear.matrices_of(linear.reflection(graph, packed, taus, padded), c.shape[:-2])


def _lower_conditioned(graph: Graph, operands: list[Node], rcond: float) -> Node:
    """Whether the smallest singular value is at least twice ``rcond`` times the largest.

    Frobenius' norm of ``R^-1`` bounds the former from below; the latter is estimated by the power method.
    """
    from flambeau._compiler import linear

    _, _, r = _triangle(graph, operands[0])
    row, column = graph.iota(r.shape, 2), graph.iota(r.shape, 1)
    inverse = graph.cast(linear.substitution(graph, r, graph.cast(row.equals(column), r.dtype), "upper"), dt.float64)
    wide = graph.cast(graph.where(row <= column, r, 0.0), dt.float64)
    vector, square = graph.map("abs", wide).sum((2,)), graph.constant(0.0, dt.float64, r.shape[:1])
    for _ in range(_POWERS):
        image = graph.contract(wide.transpose(1, 2), vector, batch=1, m=1, n=0, k=1)
        square = (image * image).sum((1,)) / (vector * vector).sum((1,))
        vector = graph.contract(wide, image, batch=1, m=1, n=0, k=1)
    return (square * (inverse * inverse).sum((1, 2)) < 0.25 / rcond**2).reshape(operands[0].shape[:-2])


def _no_arrays(*arguments: Any) -> np.ndarray:
    raise AssertionError("only real matrices with elements come here")


FULL = kernel_operator(
    "_linalg_full_rank_lstsq",
    ("A", "B"),
    infer=lambda operands, statics: column_major(operands[1].shape, operands[1].dtype),
    kernels=_lower_full,
    compute=_no_arrays,
)
SMALLEST = kernel_operator(
    "_linalg_smallest_solution",
    ("A", "C"),
    infer=lambda operands, statics: _rows_of(*operands),
    kernels=_lower_smallest,
    compute=_no_arrays,
)
CONDITIONED = kernel_operator(
    "_linalg_conditioned",
    ("A",),
    ("rcond",),
    infer=lambda operands, statics: lay.contiguous(operands[0].shape[:-2], dt.bool),
    kernels=_lower_conditioned,
    compute=_no_arrays,
)


def _rows_of(a: Layout, c: Layout) -> Layout:
    return column_major((*c.shape[:-2], a.shape[-2], c.shape[-1]), c.dtype)


def _full(A: Tensor, B: Tensor) -> Tensor:
    return _solution(FULL(A, B), A)


def _full_gradient_a(grad: Tensor, A: Tensor, B: Tensor, result: Tensor) -> Tensor:
    """``-U X^H + (B - A X) V^H`` with ``U = A^+H grad`` and ``V = A^+ U`` (Golub and Pereyra, 1973)."""
    x, u = _solution(result, A), SMALLEST(A, _solution(grad, A))
    return (B - A @ x) @ _full(A, u).mH - u @ x.mH


def _smallest_gradient_a(grad: Tensor, A: Tensor, result: Tensor) -> Tensor:
    y = _full(A, grad)
    return (grad - A @ y) @ _full(A, result).mH - result @ y.mH


FULL.gradient(A=_full_gradient_a, B=lambda grad, A: SMALLEST(A, _solution(grad, A)))
SMALLEST.gradient(A=_smallest_gradient_a, C=lambda grad, A: _full(A, grad))


def _solve_full_rank(A: Tensor, B: Tensor, rcond: float) -> Tensor | None:
    """The solution by a QR decomposition, if it is certain that no matrix has a singular value that ``rcond`` times the largest would hide."""
    tall = A.layout.shape[-2] >= A.layout.shape[-1]
    system = A if tall else A.mT
    if A.is_complex() or not may_look(A) or not may_look(B):
        return None
    found = _full(system, B) if tall else SMALLEST(system, B)  # before looking, so that one program decomposes for both
    certain = CONDITIONED(system.detach(), statics=(max(rcond, finfo(A.layout.dtype).eps),)).all()
    return found if bool(certain) else None


# -- least squares ---------------------------------------------------------------------------------------------------


def _infer_lstsq(operands: tuple, statics: tuple) -> tuple[Layout, Layout, Layout]:
    a, b = operands
    *batch, rows, columns = a.shape
    return (
        column_major((*batch, max(rows, columns), b.shape[-1]), a.dtype),
        lay.contiguous(tuple(batch), dt.int64),
        lay.contiguous((*batch, min(rows, columns)), a.dtype.to_real()),
    )


def _compute_lstsq(a: np.ndarray, b: np.ndarray, rcond: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    *batch, rows, columns = a.shape
    solution = np.zeros((*batch, max(rows, columns), b.shape[-1]), a.dtype)
    rank = np.zeros(tuple(batch), np.int64)
    singular = np.zeros((*batch, min(rows, columns)), a.real.dtype)
    if a.size:
        for position in np.ndindex(tuple(batch)):
            found, _, rank[position], singular[position] = np.linalg.lstsq(a[position], b[position], rcond)
            solution[position][:columns] = found
    return solution, rank, singular


LSTSQ = host_operator("linalg_lstsq", ("A", "B"), ("rcond",), infer=_infer_lstsq, compute=converging("linalg.lstsq", _compute_lstsq))


def _lstsq_gradient_a(grad0: Tensor, A: Tensor, B: Tensor) -> Tensor:
    """The solution is ``pinv(A) B``."""
    return _pinv_gradient(_solution(grad0, A) @ B.mH, A, pinv(A))


def _solution(x: Tensor, A: Tensor) -> Tensor:
    """The rows that hold the solution: as in LAPACK it has as many rows as A if these are more, and the last mean nothing."""
    return x[..., : A.layout.shape[-1], :]


LSTSQ.gradient(A=_lstsq_gradient_a, B=lambda grad0, A: pinv(A).mH @ _solution(grad0, A))

_DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None, out: Any = None) -> Any:
    """The X that minimises ``|A X - B|``, of smallest norm where there are several, with the residuals, ranks and singular values.

    ``"gels"`` and ``"gelsy"`` compute by a QR decomposition where the rank is certainly full, all others by singular values. As in PyTorch,
    the ranks are returned by all but ``"gels"``, the singular values by ``"gelsd"`` and ``"gelss"``, and the residuals by all but ``"gelsy"``
    where there are more rows than columns and the rank is full.

    Shapes: A ``(*, m, n)``, B ``(*, m, k)`` or ``(*, m)``, solution ``(*, n, k)`` or ``(*, n)``.
    """
    name = "torch.linalg.lstsq"
    if A.layout.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if B.layout.ndim < 1:
        raise RuntimeError(f"{name}: other must have at least 1 dimension.")
    check_floating(name, A, B)
    driver = driver or "gelsy"
    if driver not in _DRIVERS:
        raise RuntimeError(f"{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss), but it is {driver!r}")
    difference = A.layout.ndim - B.layout.ndim
    if not 0 <= difference <= 1:
        raise RuntimeError(f"{name}: input.dim() must be greater or equal to other.dim() and (input.dim() - other.dim()) <= 1")
    vector = difference == 1
    if vector:
        B = B.unsqueeze(-1)
    rows, columns = A.layout.shape[-2:]
    if B.layout.shape[-2] != rows:
        raise RuntimeError(
            f"{name}: input.size(-2) should match other.size({-1 if vector else -2}), but they are {rows} and {B.layout.shape[-2]}"
        )
    A, B = broadcast_batches(A, B)
    if rcond is None:
        rcond = finfo(A.layout.dtype.to_real()).eps * max(rows, columns)
    solution = _solve_full_rank(A, B, rcond) if driver in ("gels", "gelsy") else None
    if solution is not None:
        rank, singular = full(A.layout.shape[:-2], min(rows, columns), dtype=dt.int64), A
    else:
        solution, rank, singular = LSTSQ(A, B, statics=(float(rcond),))
        solution = _solution(solution, A)
    real = A.layout.dtype.to_real()
    residuals = abs(solution.reshape(-1)[:0])
    if driver != "gelsy" and rows > columns and (driver == "gels" or rank.memory.device is not CPU or bool((rank == columns).all())):
        error = A @ solution - B
        residuals = (error * error.conj()).real.sum(-2) if error.is_complex() else (error * error).sum(-2)
    return return_types.several(
        return_types.linalg_lstsq,
        out,
        solution.squeeze(-1) if vector else solution,
        residuals,
        rank if driver != "gels" else A.new_empty(0, dtype=dt.int64),
        singular.detach() if driver in ("gelsd", "gelss") else A.new_empty(0, dtype=real),
    )
