"""Linear algebra: norms, and the QR decomposition by LAPACK through NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau._ops.operator import Operator
from flambeau._ops.shaping import tril, triu
from flambeau._ops.statistics import vector_norm as vector_norm
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph, Node
    from flambeau._tensor.tensor import Tensor

__all__ = ["qr", "vector_norm"]


def _qr(array: np.ndarray, mode: str) -> tuple[np.ndarray, np.ndarray]:
    q, r = np.linalg.qr(array, mode)
    return np.ascontiguousarray(q), np.ascontiguousarray(r)


def _infer_qr(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    source = operands[0]
    if source.ndim < 2:
        raise RuntimeError(f"linalg.qr: The input tensor A must have at least 2 dimensions, but it has shape {list(source.shape)}.")
    if source.dtype not in (dt.float32, dt.float64, dt.complex64, dt.complex128):
        raise RuntimeError(f"linalg.qr: Expected a floating point or complex tensor as input. Got {source.dtype!r}")
    rows, columns = source.shape[-2:]
    inner = rows if statics[0] == "complete" else min(rows, columns)
    batch = source.shape[:-2]
    return lay.contiguous((*batch, rows, inner), source.dtype), lay.contiguous((*batch, inner, columns), source.dtype)


def _lower_qr(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, ...]:
    return graph.host(_qr, operands, [(layout.dtype, layout.shape) for layout in layouts], statics[0])


QR = Operator("linalg_qr", ("A",), ("mode",), infer=_infer_qr, lower=_lower_qr)


def _qr_gradient(grad0: Tensor, grad1: Tensor, result0: Tensor, result1: Tensor, mode: str) -> Tensor:
    """``(grad_Q + Q copyltu(M)) R^-H`` with ``M = R grad_R^H - grad_Q^H Q`` (Seeger et al., arXiv:1710.08717), for tall or square matrices."""
    q, r = result0, result1
    if mode != "reduced" or r.shape[-1] > r.shape[-2]:
        raise RuntimeError(
            "The gradient of linalg.qr is defined here for mode='reduced' and matrices with at least as many rows as columns"
        )
    m = r @ grad1.mH - grad0.mH @ q
    lower = tril(m, -1)
    hermitian = lower + lower.mH + (m - lower - triu(m, 1))
    return _solve_right(grad0 + q @ hermitian, r)


def _solve_right(b: Tensor, r: Tensor) -> Tensor:
    """``b @ R^-H`` for an upper triangular R, by substitution from the last column."""
    size = r.shape[-1]
    columns: list[Tensor] = [b[..., 0]] * size
    conjugate = r.conj()
    for column in range(size - 1, -1, -1):
        total = b[..., column]
        for known in range(column + 1, size):
            total = total - columns[known] * conjugate[..., column, known].unsqueeze(-1)
        columns[column] = total / conjugate[..., column, column].unsqueeze(-1)
    from flambeau._ops.joining import stack

    return stack(columns, -1)


QR.gradient(A=_qr_gradient)


def qr(A: Tensor, mode: str = "reduced") -> tuple[Tensor, Tensor]:
    """``A = Q R`` with orthonormal columns in Q and an upper triangular R.

    Shapes: A ``(*, m, n)``; Q ``(*, m, k)`` and R ``(*, k, n)`` with ``k = min(m, n)``, or ``k = m`` for ``mode="complete"``.

    Raises:
        RuntimeError: A is no matrix, or its dtype is not floating point or complex.

    Example::

        >>> q, r = flambeau.linalg.qr(flambeau.eye(2))
        >>> r.shape
        torch.Size([2, 2])
    """
    if mode not in ("reduced", "complete"):
        raise RuntimeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default) or 'complete'")
    return QR(A, statics=(mode,))
