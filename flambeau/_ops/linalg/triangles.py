"""Triangular systems and the LU decomposition in NumPy, by halves: nearly all of the work is matrix products.

See Toledo, "Locality of reference in LU decomposition with partial pivoting", 1997. Whole batches are computed together.
"""

from __future__ import annotations

import math

import numpy as np


def substitute(a: np.ndarray, b: np.ndarray, upper: bool, unit: bool) -> np.ndarray:
    """The solution X of ``A X = B`` for a triangular A, of which the other triangle (and a unit diagonal) is not read."""
    size = a.shape[-1]
    if size == 0:
        return b
    if size == 1:
        with np.errstate(all="ignore"):
            return b if unit else b / a
    half = size // 2
    first, second = slice(None, half), slice(half, None)
    begin, end = (second, first) if upper else (first, second)
    known = substitute(a[..., begin, begin], b[..., begin, :], upper, unit)
    rest = substitute(a[..., end, end], b[..., end, :] - a[..., end, begin] @ known, upper, unit)
    return np.concatenate((rest, known) if upper else (known, rest), -2)


def lu_in_place(a: np.ndarray) -> np.ndarray:
    """Overwrite a batch of matrices (exactly one leading dimension) with L (below the diagonal) and U; returns the pivots, from 0.

    In step i row i was exchanged with row ``pivots[:, i]``: the one with the largest element in the column.
    """
    rows, columns = a.shape[1:]
    steps = min(rows, columns)
    if steps == 0:
        return np.zeros((len(a), 0), np.int64)
    if steps == 1 and columns > 1:
        return np.zeros((len(a), 1), np.int64)
    if columns == 1:
        size = np.abs(a.real) + np.abs(a.imag) if np.iscomplexobj(a) else np.abs(a)
        pivots = size.argmax(1)
        exchange_rows(a, pivots)
        top = a[:, :1]
        np.divide(a[:, 1:], top, out=a[:, 1:], where=top != 0)
        return pivots
    half = steps // 2
    left, right = a[:, :, :half], a[:, :, half:]
    first = lu_in_place(left)
    exchange_rows(right, first)
    right[:, :half] = substitute(left[:, :half], right[:, :half], False, True)
    right[:, half:] -= left[:, half:] @ right[:, :half]
    second = lu_in_place(right[:, half:])
    exchange_rows(left[:, half:], second)
    return np.concatenate((first, second + half), 1)


def exchange_rows(rows: np.ndarray, pivots: np.ndarray) -> None:
    """Exchange row i of each matrix with row ``pivots[:, i]``, for each i in turn."""
    batch = np.arange(len(rows))
    for step in range(pivots.shape[1]):
        partner = pivots[:, step]
        kept = rows[:, step].copy()
        rows[:, step] = rows[batch, partner]
        rows[batch, partner] = kept


def lu(a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(LU, pivots, info)`` as LAPACK's getrf: pivots from 1, and in ``info`` the first diagonal element of U that is 0 (or 0)."""
    *batch, rows, columns = a.shape
    steps = min(rows, columns)
    packed = a.reshape(math.prod(batch), rows, columns).copy()
    pivots = lu_in_place(packed) + 1
    zero = np.diagonal(packed, 0, -2, -1) == 0
    info = np.where(zero.any(-1), zero.argmax(-1) + 1, 0) if steps else np.zeros(len(packed), np.int64)
    return packed.reshape(a.shape), pivots.astype(np.int32).reshape(*batch, steps), info.astype(np.int32).reshape(batch)


def permutation(pivots: np.ndarray, rows: int) -> np.ndarray:
    """The order of rows that exchanging them by pivots (from 1) makes of ``0, 1, …``."""
    *batch, steps = pivots.shape
    order = np.tile(np.arange(rows), (math.prod(batch), 1))
    exchange_rows(order, pivots.reshape(len(order), steps).astype(np.int64) - 1)
    return order.reshape(*batch, rows)
