"""Substitution and LU by halves, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from flambeau._ops.linalg import triangles


def matrix(*shape: int, dtype: type = np.float64) -> np.ndarray:
    random = np.random.default_rng(3)
    values = random.standard_normal(shape)
    return values + 1j * random.standard_normal(shape) if dtype is np.complex128 else values


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("size", [0, 1, 2, 5, 17])
def test_substitute(size: int, unit: bool, upper: bool) -> None:
    a, b = matrix(size, size) + 4 * np.eye(size), matrix(size, 3)
    a /= max(size, 1)
    expected = scipy.linalg.solve_triangular(a, b, lower=not upper, unit_diagonal=unit) if size else b
    np.testing.assert_allclose(triangles.substitute(a, b, upper, unit), expected, rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (7, 3), (3, 7), (1, 5), (5, 1), (33, 33)])
def test_lu_is_lapacks(shape: tuple[int, int], dtype: type) -> None:
    a = np.stack([matrix(*shape, dtype=dtype), matrix(*shape, dtype=dtype)[::-1]])
    packed, pivots, info = triangles.lu(a)
    for position in range(2):
        expected, order = scipy.linalg.lapack.get_lapack_funcs("getrf", (a,))(a[position])[:2]
        np.testing.assert_allclose(packed[position], expected, rtol=1e-10, atol=1e-12)
        assert pivots[position].tolist() == (order + 1).tolist()
    assert info.tolist() == [0, 0]


def test_info_names_the_first_zero() -> None:
    a = np.array([[[1.0, 2.0], [2.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert triangles.lu(a)[2].tolist() == [2, 0, 1]


def test_permutation() -> None:
    a = matrix(5, 5)
    packed, pivots, _ = triangles.lu(a)
    lower, upper = np.tril(packed, -1) + np.eye(5), np.triu(packed)
    order = triangles.permutation(pivots, 5)
    np.testing.assert_allclose(a[order], lower @ upper, atol=1e-12)
