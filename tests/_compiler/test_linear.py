"""Decompositions and triangular systems: kernels against what they mean, and the same bits however they are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import flambeau
from flambeau._codegen.linear import lanes, reference
from flambeau._compiler import linear
from flambeau._compiler.graph import Graph
from flambeau._compiler.node import Node
from flambeau._compiler.verify import verify
from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType
from tests._compiler.graphs import plan, run

SIZES = [(1, 1, 1), (3, 5, 5), (2, 7, 4), (2, 4, 7), (1, 33, 33), (2, 40, 70), (1, 70, 40), (1, 129, 129), (7, 9, 9)]


@pytest.fixture
def threads() -> Iterator[None]:
    before = flambeau.get_num_threads()
    yield
    flambeau.set_num_threads(before)


def values(*shape: int, dtype: DType = dt.float64) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape).astype(dtype.numpy)


def computed(write: Callable[..., tuple[Node, ...]], *arrays: np.ndarray) -> list[np.ndarray]:
    """What kernels make of arrays (batch, columns, rows)."""
    dtype = dt.float32 if arrays[0].dtype == np.float32 else dt.float64
    planned = plan(
        lambda graph, *flat: write(graph, *[each.reshape(array.shape) for each, array in zip(flat, arrays, strict=True)]),
        dtype,
        *[each.size for each in arrays],
    )
    verify(planned.graph)
    return [found.reshape(planned.roots[len(arrays) + number].shape) for number, found in enumerate(run(planned, *arrays))]


def agree(found: list[np.ndarray], expected: tuple[np.ndarray, ...], dtype: DType) -> None:
    tolerance = 2e-3 if dtype is dt.float32 else 1e-9
    for left, right in zip(found, expected, strict=True):
        assert left.shape == right.shape
        if left.dtype.kind == "f":
            np.testing.assert_allclose(left, right, rtol=tolerance, atol=tolerance * max(1, np.abs(right).max()))
        else:
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("dtype", [dt.float32, dt.float64])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("algorithm", ["lu", "qr"])
def test_decompositions(algorithm: str, size: tuple[int, int, int], dtype: DType) -> None:
    a = values(*size, dtype=dtype)
    agree(computed(getattr(linear, algorithm), a), reference.compute(algorithm, (), size[1], a), dtype)


@pytest.mark.parametrize("dtype", [dt.float32, dt.float64])
@pytest.mark.parametrize("size", [1, 5, 33, 70, 129])
def test_cholesky_does_not_look_above_the_diagonal(size: int, dtype: DType) -> None:
    a = values(2, size, size)
    a = np.ascontiguousarray((a @ np.swapaxes(a, 1, 2) / size + np.eye(size)).astype(dtype.numpy))
    above = a.copy()
    above[:, np.tril(np.ones((size, size), bool), -1)] = np.nan  # columns lie where rows would
    found = computed(linear.cholesky, above)
    agree(found, reference.compute("cholesky", (), size, a), dtype)


@pytest.mark.parametrize("dtype", [dt.float32, dt.float64])
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize(("batch", "size", "columns"), [(1, 1, 1), (2, 5, 3), (9, 4, 2), (1, 33, 1), (2, 70, 60), (1, 129, 7)])
def test_substitution(batch: int, size: int, columns: int, upper: bool, dtype: DType) -> None:
    a = values(batch, size, size, dtype=dtype) / size + 2 * np.eye(size, dtype=dtype.numpy)
    b = values(batch, columns, size, dtype=dtype)
    other = np.triu(np.ones((size, size), bool), 1)  # what must not be looked at, in memory by columns
    a[:, other if upper else other.T] = np.nan
    for flags in (("upper",) * upper, ("upper",) * upper + ("unit",)):
        clean = np.nan_to_num(a)
        found = computed(lambda graph, a, b, flags=flags: (linear.substitution(graph, a, b, *flags),), a, b)
        agree(found, reference.compute("substitution", flags, columns, clean, b), dtype)


@pytest.mark.parametrize("dtype", [dt.float32, dt.float64])
@pytest.mark.parametrize("size", [*SIZES, (2, 150, 200), (9, 16, 16)])
def test_matrices_that_lie_by_rows_are_decomposed_to_the_same_bits(size: tuple[int, int, int], dtype: DType) -> None:
    a = values(*size, dtype=dtype)
    rows = np.ascontiguousarray(np.swapaxes(a, 1, 2))
    square = np.ascontiguousarray(a[:, : min(size[1:]), : min(size[1:])])
    definite = square @ np.swapaxes(square, 1, 2) + np.eye(square.shape[1], dtype=dtype.numpy)
    for algorithm, columns in (("lu", a), ("qr", a), ("cholesky", definite)):
        turned = rows if columns is a else np.ascontiguousarray(np.swapaxes(columns, 1, 2))
        found = computed(lambda graph, a, algorithm=algorithm: getattr(linear, algorithm)(graph, a, "turned"), turned)
        for left, right in zip(found, computed(getattr(linear, algorithm), columns), strict=True):
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("dtype", [dt.float32, dt.float64])
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize(("batch", "size", "columns"), [(1, 1, 1), (7, 5, 3), (1, 33, 1), (2, 70, 17), (1, 129, 7), (1, 129, 60)])
def test_a_triangle_that_lies_by_rows_gives_the_same_bits(batch: int, size: int, columns: int, upper: bool, dtype: DType) -> None:
    a = values(batch, size, size, dtype=dtype) / size + 2 * np.eye(size, dtype=dtype.numpy)
    b = values(batch, columns, size, dtype=dtype)
    other = np.triu(np.ones((size, size), bool), 1)
    a[:, other if upper else other.T] = np.nan
    rows = np.ascontiguousarray(np.swapaxes(a, 1, 2))
    for flags in (("upper",) * upper, ("upper",) * upper + ("unit",)):
        expected = computed(lambda graph, a, b, flags=flags: (linear.substitution(graph, a, b, *flags),), a, b)
        found = computed(lambda graph, a, b, flags=flags: (linear.substitution(graph, a, b, *flags, "turned"),), rows, b)
        np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("dtype", [dt.float32, dt.float64])
@pytest.mark.parametrize(("batch", "size"), [(1, 1), (3, 5), (20, 7), (1, 33), (2, 64), (1, 129)])
def test_an_inverse_is_two_substitutions_in_the_identity(batch: int, size: int, dtype: DType) -> None:
    a = values(batch, size, size, dtype=dtype)

    def write(graph: Graph, a: Node, one: Node) -> tuple[Node, ...]:
        packed, pivots, _ = linear.lu(graph, a)
        lower = linear.substitution(graph, packed, one, "unit", pivots=pivots)
        return linear.inverse(graph, packed, pivots), linear.substitution(graph, packed, lower, "upper")

    found, expected = computed(write, a, np.broadcast_to(np.eye(size, dtype=dtype.numpy), a.shape).copy())
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [dt.float32, dt.float64])
@pytest.mark.parametrize("size", [(20, 5, 5), (3, 4, 9), (17, 1, 6), (40, 20, 32)])
def test_singular_values(size: tuple[int, int, int], dtype: DType) -> None:
    a = values(*size, dtype=dtype)
    a[1] = 0
    if size[1] > 1:
        a[2, 1] = a[2, 0]
    found, left, right = computed(linear.singular, a)
    tolerance = 2e-6 if dtype is dt.float32 else 1e-14
    expected = reference.compute("singular", (), size[1], a)[0]
    np.testing.assert_allclose(found, expected, atol=tolerance * expected.max())
    product = np.einsum("bj,bjr,bjc->bcr", found, left, right)
    np.testing.assert_allclose(product, a, atol=4 * tolerance * np.abs(a).max())
    np.testing.assert_allclose(
        right @ np.swapaxes(right, 1, 2), np.broadcast_to(np.eye(size[1]), right[:, : size[1]].shape), atol=2 * tolerance
    )


@pytest.mark.parametrize("size", SIZES)
def test_reflections(size: tuple[int, int, int]) -> None:
    batch, columns, rows = size
    a, b = values(*size), values(batch, 61, rows)

    def write(graph: Graph, a: Node, b: Node) -> tuple[Node, ...]:
        packed, taus = linear.qr(graph, a)
        forward, back = linear.reflection(graph, packed, taus, b), linear.reflection(graph, packed, taus, b, adjoint=True)
        return packed, taus, linear.reflection(graph, packed, taus, min(rows, columns)), forward, back

    packed, taus, q, forward, back = computed(write, a, b)
    expected = reference.compute("reflection", (), min(rows, columns), packed, taus)
    agree([q], expected, dt.float64)
    agree([forward], reference.compute("reflection", (), 61, packed, taus, b), dt.float64)
    agree([back], reference.compute("reflection", ("adjoint",), 61, packed, taus, b), dt.float64)
    r = np.tril(packed[:, :, : min(rows, columns)])  # R, its columns as rows
    np.testing.assert_allclose(r @ q, a, atol=1e-12)


def test_pivots_as_an_order() -> None:
    a = values(3, 6, 9)

    def write(graph: Graph, a: Node) -> tuple[Node, ...]:
        packed, pivots, _ = linear.lu(graph, a)
        return packed, linear.permutation(graph, pivots, 9)

    packed, order = computed(write, a)
    for columns, rows, found in zip(a, order, packed, strict=True):
        lower, upper = np.tril(found.T, -1) + np.eye(9, 6), np.triu(found.T[:6])
        np.testing.assert_allclose(columns.T[rows], lower @ upper, atol=1e-12)


@pytest.mark.parametrize(("batch", "size"), [(1, 5), (20, 5), (9, 32), (3, 47)])
def test_eigenvalues(batch: int, size: int) -> None:
    a = values(batch, size, size)
    found, vectors = computed(linear.eigh, a)  # columns lie as rows would, so that the lower triangle is the upper one
    np.testing.assert_allclose(found, np.linalg.eigvalsh(a, "U"), atol=1e-12)
    np.testing.assert_allclose(reference.compute("eigh", (), size, a)[0], found, atol=1e-12)
    np.testing.assert_allclose(vectors @ np.swapaxes(vectors, 1, 2), np.broadcast_to(np.eye(size), a.shape), atol=1e-13)


def test_rotations_are_for_enough_full_lanes() -> None:
    assert linear.are_small(1, 8, dt.float32)
    assert not linear.are_small(1, 15, dt.float32)
    assert linear.are_small(1600, 48, dt.float32) or linear.register_tile(dt.float32, linear.targets.current()).width < 16
    assert not linear.are_small(1600, 49, dt.float32)


@pytest.mark.parametrize("algorithm", ["lu", "cholesky", "qr"])
@pytest.mark.parametrize("size", [(1, 100, 100), (1, 130, 100)])
def test_threads_share_a_matrix(algorithm: str, size: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch, threads: None) -> None:
    a = values(*size, dtype=dt.float32)
    if algorithm == "cholesky":
        a = np.ascontiguousarray(a[:, :100, :100] @ np.swapaxes(a[:, :100, :100], 1, 2) + np.eye(100, dtype=np.float32))
    whole = computed(getattr(linear, algorithm), a)
    monkeypatch.setattr(linear, "_SHARED", 1)
    monkeypatch.setattr(linear.targets, "available_cores", lambda: 4)
    for count in (1, 2):
        flambeau.set_num_threads(count)
        for left, right in zip(whole, computed(getattr(linear, algorithm), a), strict=True):
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("dtype", [dt.float32, dt.float64])
@pytest.mark.parametrize("size", [1, 2, 5, 16])
def test_small_matrices_are_the_same_alone_and_together(size: int, dtype: DType, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = values(37, size, size, dtype=dtype), values(37, 3, size, dtype=dtype)
    a[3], a[4, 0] = 0, 0
    definite = np.ascontiguousarray(a @ np.swapaxes(a, 1, 2) + np.eye(size, dtype=dtype.numpy))
    definite[5] = -1

    def write(graph: Graph, a: Node, b: Node, definite: Node) -> tuple[Node, ...]:
        packed, pivots, info = linear.lu(graph, a)
        lower = linear.substitution(graph, packed, b, "unit", pivots=pivots)
        return packed, pivots, info, lower, linear.substitution(graph, packed, lower, "upper"), *linear.cholesky(graph, definite)

    with np.errstate(all="ignore"):
        together = computed(write, a, b, definite)
        monkeypatch.setattr(lanes, "FEWEST", 1000)
        alone = computed(write, a, b, definite)
    for left, right in zip(together, alone, strict=True):
        np.testing.assert_array_equal(left, right)
    assert together[2][3] == 1 and together[2][4] == 1 and together[6][5] == 1
