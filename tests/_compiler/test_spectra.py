"""Divide and conquer against what it means, on matrices that are hard for it: clusters, grades, halves that have nothing to do with each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import flambeau
from flambeau import linalg
from flambeau._codegen.linear import reference
from flambeau._compiler import linear, spectra
from flambeau._compiler.graph import Graph
from flambeau._compiler.node import Node
from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType
from tests._compiler.test_linear import agree, computed, values

Make = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
"""Of a generator and a number of rows the diagonal, and what is beside it."""


def tridiagonal(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, _, diagonal, beside, scale = reference.compute("tridiagonal", (), len(matrix), matrix[None])
    return diagonal[0] / scale, beside[0] / scale


def turned(random: np.random.Generator, eigenvalues: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    q = np.linalg.qr(random.standard_normal((len(eigenvalues), len(eigenvalues))))[0]
    return tridiagonal((q * eigenvalues) @ q.T)


TRIDIAGONAL: dict[str, Make] = {
    "random": lambda random, n: (random.standard_normal(n), random.standard_normal(n - 1)),
    "second differences": lambda random, n: (np.full(n, 2.0), np.full(n - 1, -1.0)),
    "Wilkinson": lambda random, n: (np.abs(np.arange(n) - (n - 1) / 2), np.ones(n - 1)),
    "glued": lambda random, n: (np.arange(n) % 8.0, np.where(np.arange(n - 1) % 8 == 7, 1e-12, 1.0)),
    "graded": lambda random, n: turned(random, 10.0 ** -np.linspace(0, 14, n)),
    "clusters": lambda random, n: turned(random, 1 + 1e-13 * np.arange(n) + (np.arange(n) > n // 2)),
    "few values": lambda random, n: (random.integers(0, 3, n).astype(float), random.integers(0, 2, n - 1).astype(float)),
    "small beside": lambda random, n: (random.standard_normal(n), 10.0 ** random.uniform(-300, 0, n - 1)),
    "identity": lambda random, n: (np.ones(n), np.zeros(n - 1)),
    "nothing": lambda random, n: (np.zeros(n), np.zeros(n - 1)),
    "rank one": lambda random, n: tridiagonal(np.ones((n, n))),
}


@pytest.mark.parametrize("size", [9, 33, 100, 130])
@pytest.mark.parametrize("name", TRIDIAGONAL)
def test_hard_matrices(name: str, size: int) -> None:
    diagonal, beside = TRIDIAGONAL[name](np.random.default_rng(5), size)
    a = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
    found, vectors = computed(spectra.eigh, a[None])
    found, vectors, norm = found[0], vectors[0].T, max(np.abs(a).max(), 1e-300)
    assert (np.diff(found) >= 0).all()
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(size), atol=2e-14)
    assert np.abs(a @ vectors - vectors * found).max() < 1e-14 * norm
    np.testing.assert_allclose(found, np.linalg.eigvalsh(a), atol=3e-14 * norm)
    alone = computed(lambda graph, a: (spectra.eigvalsh(graph, a),), a[None])[0]
    np.testing.assert_array_equal(alone[0], found)


@pytest.mark.parametrize("dtype", [dt.float32, dt.float64])
@pytest.mark.parametrize("power", [-1, 0, 1])
def test_the_smallest_and_the_largest_numbers(power: int, dtype: DType) -> None:
    a = values(60, 60)
    a = (a + a.T) * (1e36 if dtype is dt.float32 else 1e300) ** power
    a = a.astype(dtype.numpy)
    found, vectors = computed(spectra.eigh, a[None])
    wide = np.linalg.eigvalsh(a.astype(np.longdouble).astype(np.float64))
    tolerance = 1e-6 if dtype is dt.float32 else 1e-14
    np.testing.assert_allclose(found[0], wide, atol=tolerance * np.abs(wide).max())
    np.testing.assert_allclose(vectors[0] @ vectors[0].T, np.eye(60), atol=tolerance)


@pytest.mark.parametrize("dtype", [dt.float32, dt.float64])
@pytest.mark.parametrize("size", [2, 5, 32, 33, 70, 129])
def test_a_tridiagonal_form_does_not_look_above_the_diagonal(size: int, dtype: DType) -> None:
    a = values(2, size, size, dtype=dtype)
    above = a.copy()
    above[:, np.tril(np.ones((size, size), bool), -1)] = np.nan  # columns lie where rows would
    packed, *others = computed(linear.tridiagonal, above)
    expected, *rest = reference.compute("tridiagonal", (), size, np.nan_to_num(a))
    agree(others[-1:], tuple(rest[-1:]), dtype)
    if dtype is dt.float64 and size > 2:
        agree(others, tuple(rest), dtype)
        below = np.tri(size - 1, k=-1, dtype=bool).T
        agree([packed[:, below]], (expected[:, below],), dtype)


@pytest.mark.parametrize("size", [2, 6, 16, 38])
def test_halves_are_merged(size: int) -> None:
    random = np.random.default_rng(4)
    half = size // 2
    parts = random.standard_normal((2, 2, half, half))
    d, q = np.linalg.eigh(parts + np.swapaxes(parts, 2, 3))
    joint = np.array([[0.7], [-0.3]])
    arguments = d.reshape(2, size), np.ascontiguousarray(q[:, :, [0, -1]]).reshape(2, 2, 2 * half), joint
    found, turn, edges = computed(lambda graph, d, edges, joint: linear.merge(graph, d, edges, joint), *arguments)
    for number in range(2):
        whole = np.zeros((size, size))
        for side, part in enumerate((slice(half), slice(half, size))):
            whole[part, part] = (q[number, side] * d[number, side]) @ q[number, side].T
        w = np.zeros(size)
        w[half - 1], w[half] = 1, np.sign(joint[number, 0])
        whole += abs(joint[number, 0]) * np.outer(w, w)
        vectors = np.concatenate([q[number, side] @ turn[number][side * half : (side + 1) * half] for side in range(2)])
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(size), atol=1e-13)
        np.testing.assert_allclose(whole @ vectors, vectors * found[number], atol=1e-13)
        np.testing.assert_allclose(edges[number], vectors[[0, -1]], atol=1e-13)


@pytest.mark.parametrize("size", [40, 100])
def test_threads_do_not_change_bits(size: int) -> None:
    a = values(size, size).astype(np.float32)
    before, found = flambeau.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            flambeau.set_num_threads(threads)
            both = *linalg.eigh(flambeau.tensor(a)), *linalg.svd(flambeau.tensor(a))
            found.append([each.numpy() for each in both])
    finally:
        flambeau.set_num_threads(before)
    for other in found[1:]:
        for left, right in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(left, right)


def hard(name: str) -> np.ndarray:
    random = np.random.default_rng(9)
    size = 70
    q, p = (np.linalg.qr(random.standard_normal((size, size)))[0] for _ in range(2))
    return {
        "tall": lambda: random.standard_normal((90, 40)),
        "wide": lambda: random.standard_normal((30, 75)),
        "graded": lambda: (q * 10.0 ** -np.linspace(0, 12, size)) @ p,
        "rank 5": lambda: q[:, :5] @ p[:5],
        "clusters": lambda: (q * (1 + 1e-6 * (np.arange(size) % 3))) @ p,
        "orthogonal": lambda: q,
        "one value": lambda: np.ones((size, size)),
        "columns of 0": lambda: random.standard_normal((60, 40)) * (np.arange(40) % 2),
        "nothing": lambda: np.zeros((30, 20)),
        "large": lambda: 1e37 * random.standard_normal((50, 50)),
        "small": lambda: 1e-37 * random.standard_normal((50, 50)),
    }[name]().astype(np.float32)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    "name",
    ["tall", "wide", "graded", "rank 5", "clusters", "orthogonal", "one value", "columns of 0", "nothing", "large", "small"],
)
def test_hard_singular_values(name: str, full: bool) -> None:
    a = hard(name)
    u, s, vh = (each.numpy().astype(np.float64) for each in linalg.svd(flambeau.tensor(a), full_matrices=full))
    expected = np.linalg.svd(a.astype(np.float64), compute_uv=False)
    size, most = len(s), expected[0]
    assert (np.diff(s) <= 0).all() and (s >= 0).all()
    np.testing.assert_allclose(s, expected, atol=4e-7 * most)
    np.testing.assert_allclose(linalg.svdvals(flambeau.tensor(a)).numpy(), expected, atol=2e-7 * most)
    np.testing.assert_allclose((u[:, :size] * s) @ vh[:size], a, atol=1e-6 * most)
    for vectors, count in ((u.T, a.shape[0]), (vh, a.shape[1])):
        assert len(vectors) == (count if full else size)
        np.testing.assert_allclose(vectors @ vectors.T, np.eye(len(vectors)), atol=2e-6)


def test_columns_next_to_the_smallest_numbers_are_reflected() -> None:
    a = values(1, 6, 40).astype(np.float32) * np.float32(1e-42)

    def write(graph: Graph, a: Node) -> tuple[Node, ...]:
        packed, taus = linear.qr(graph, a)
        return (linear.reflection(graph, packed, taus, 6),)

    q = computed(write, a)[0][0].astype(np.float64)
    np.testing.assert_allclose(q @ q.T, np.eye(6), atol=1e-6)
