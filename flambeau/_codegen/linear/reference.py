"""What the kernels of linear algebra compute, as NumPy: slow, short, in float64, and what they are tested against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def compute(algorithm: str, flags: Sequence[str], columns: int, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The results of a ``linear`` node of so many columns, from its arguments; matrices as their columns in both."""
    functions = {
        "lu": _lu,
        "cholesky": _cholesky,
        "qr": _qr,
        "permutation": _permutation,
        "substitution": _substitution,
        "reflection": _reflection,
        "eigh": _eigh,
        "singular": _singular,
        "tridiagonal": _tridiagonal,
        "merge": _merge,
    }
    matrices = [*map(_turned, arrays)]
    if "turned" in flags:
        matrices[0] = np.swapaxes(matrices[0], 1, 2)
    results = [functions[algorithm](flags, columns, *each) for each in zip(*matrices, strict=True)]
    return tuple(_turned(np.stack(each)) for each in zip(*results, strict=True))


def _turned(array: np.ndarray) -> np.ndarray:
    array = array.astype(np.float64) if array.dtype.kind == "f" else array
    return np.swapaxes(array, 1, 2) if array.ndim == 3 else array


def _exchanged(rows: np.ndarray, pivots: np.ndarray) -> np.ndarray:
    rows = rows.copy()
    for step, partner in enumerate(pivots - 1):
        rows[[step, partner]] = rows[[partner, step]]
    return rows


def _lu(flags: Sequence[str], columns: int, a: np.ndarray) -> tuple:
    a, pivots, info = a.copy(), [], 0
    for step in range(min(a.shape)):
        pivot = step + int(np.abs(a[step:, step]).argmax())
        pivots.append(pivot + 1)
        a[[step, pivot]] = a[[pivot, step]]
        if a[step, step]:
            a[step + 1 :, step] /= a[step, step]
        info = info or (step + 1) * int(a[step, step] == 0)
        a[step + 1 :, step + 1 :] -= np.outer(a[step + 1 :, step], a[step, step + 1 :])
    return a, np.array(pivots, np.int32), np.array(info, np.int32)


def _cholesky(flags: Sequence[str], columns: int, a: np.ndarray) -> tuple:
    a, info = a.copy(), 0
    for step in range(len(a)):
        good = a[step, step] > 0
        info = info or (step + 1) * int(not good)
        a[step, step] = np.sqrt(a[step, step]) if good else np.nan
        a[step + 1 :, step] /= a[step, step]
        a[step + 1 :, step + 1 :] -= np.outer(a[step + 1 :, step], a[step + 1 :, step])
    return np.tril(a), np.array(info, np.int32)


def _qr(flags: Sequence[str], columns: int, a: np.ndarray) -> tuple:
    packed, taus = np.linalg.qr(a, "raw")
    return packed.T, taus


def _reflection(flags: Sequence[str], columns: int, packed: np.ndarray, taus: np.ndarray, b: np.ndarray | None = None) -> tuple:
    product = np.eye(len(packed), columns) if b is None else b.copy()
    for step in range(len(taus)) if "adjoint" in flags else reversed(range(len(taus))):
        v = np.concatenate((np.zeros(step), [1], packed[step + 1 :, step]))
        product -= taus[step] * np.outer(v, v @ product)
    return (product,)


def _substitution(flags: Sequence[str], columns: int, a: np.ndarray, b: np.ndarray | None = None, order: np.ndarray | None = None) -> tuple:
    a = np.triu(a) if "upper" in flags else np.tril(a)
    if "unit" in flags:
        np.fill_diagonal(a, 1)
    b = np.eye(len(a)) if b is None else b
    if "pivoted" in flags and order is not None:
        b = _exchanged(b, order)
    found = np.linalg.solve(a, b)
    if "ordered" in flags:
        found[:, order] = found.copy()
    return (found,)


def _permutation(flags: Sequence[str], columns: int, pivots: np.ndarray) -> tuple:
    return (_exchanged(np.arange(columns), pivots),)


def _eigh(flags: Sequence[str], columns: int, a: np.ndarray) -> tuple:
    return tuple(np.linalg.eigh(a))


def _singular(flags: Sequence[str], columns: int, a: np.ndarray) -> tuple:
    left, values, right = np.linalg.svd(a, full_matrices=False)
    return values, left * (values > 0), right.T


def _tridiagonal(flags: Sequence[str], columns: int, a: np.ndarray) -> tuple:
    size = len(a)
    below = np.tril(a, -1)
    a = np.tril(a) + below.T
    largest = np.abs(a).max()
    scale = 2.0 ** -np.floor(np.log2(largest)) if largest else 1.0
    a, packed, taus = a * scale, np.zeros((size - 1, size - 1)), np.zeros(size - 1)
    for step in range(size - 1):
        raw, tau = np.linalg.qr(a[step + 1 :, step : step + 1], "raw")
        v = np.concatenate((np.zeros(step + 1), [1], raw[0, 1:]))
        packed[step:, step], taus[step] = raw[0], tau[0]
        h = np.eye(size) - tau[0] * np.outer(v, v)
        a = h @ a @ h
    return packed, taus, np.diag(a).copy(), np.diag(a, -1).copy(), np.array(scale)


def _merge(flags: Sequence[str], columns: int, d: np.ndarray, w: np.ndarray) -> tuple:
    values, vectors = np.linalg.eigh(np.diag(d) + np.outer(w, w))
    return values, vectors.T
