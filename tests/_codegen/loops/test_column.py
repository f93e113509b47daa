"""Reductions across memory: the same bits as along it, for any number of neighbouring results and any order in memory."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import flambeau
from flambeau._codegen import loops
from flambeau._types import dtype as dt
from tests._codegen.loops.order import lying, ordered_sum


@pytest.mark.parametrize("results", [1, 2, 15, 16, 17, 127, 128, 129, 300])
@pytest.mark.parametrize("length", [1, 7, 16, 17, 31, 33, 49, 127, 128, 330, 4097])
def test_columns_are_added_in_order(results: int, length: int) -> None:
    x = np.random.default_rng(results).standard_normal((length, results)).astype(np.float32)
    assert np.array_equal(flambeau.tensor(x).sum(0).numpy(), ordered_sum(x, (0,)))


@pytest.mark.parametrize("length", [2, 24, 56, 255, 257])
def test_columns_in_the_middle(length: int) -> None:
    x = np.random.default_rng(length).standard_normal((3, length, 56)).astype(np.float32)
    assert np.array_equal(flambeau.tensor(x).sum(1).numpy(), ordered_sum(x, (1,)))


@pytest.mark.parametrize("shape", [(4, 6, 5, 70), (2, 3, 9, 10), (3, 200, 11, 13), (1, 7, 130, 2), (9, 1, 2, 3)])
def test_the_order_in_memory_does_not_count(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    orders = [(0, 1, 2, 3), (0, 2, 3, 1), (3, 2, 1, 0)]
    for size in range(1, 5):
        for axes in itertools.combinations(range(4), size):
            wanted = ordered_sum(x, axes)
            for order in orders:
                expected = _in_memory_order(x, axes, order).reshape(wanted.shape) if _is_whole(shape, axes, order) else wanted
                assert np.array_equal(lying(x, order).sum(axes).numpy(), expected), (axes, order)


def _is_whole(shape: tuple[int, ...], axes: tuple[int, ...], order: tuple[int, ...]) -> bool:
    """Whether all that there is is reduced, and neighbours in memory are no neighbours in row-major order."""
    moving = [axis for axis, size in enumerate(shape) if size > 1]
    return set(moving) <= set(axes) and [axis for axis in order if axis in moving][-1] != moving[-1]


def _in_memory_order(x: np.ndarray, axes: tuple[int, ...], order: tuple[int, ...]) -> np.ndarray:
    return ordered_sum(x.transpose(order), tuple(sorted(map(order.index, axes))))


@pytest.mark.parametrize("kind", ["amax", "amin"])
def test_extrema_of_columns_keep_nan(kind: str) -> None:
    x = np.random.default_rng(0).standard_normal((50, 70)).astype(np.float32)
    x[20, 3] = np.nan
    assert np.array_equal(getattr(flambeau.tensor(x), kind)(0).numpy(), getattr(x, kind[1:])(0), equal_nan=True)


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.int64, np.float32, np.float64, np.complex64])
def test_every_dtype(dtype: type) -> None:
    x = (np.random.default_rng(0).standard_normal((40, 37)) * 50).astype(dtype)
    wide = {np.float32: np.float64, np.complex64: np.complex128}.get(dtype)
    assert np.all(np.abs(flambeau.tensor(x).sum(0).numpy() - x.sum(0, dtype=wide)) <= 2**-22 * np.abs(x).sum(0, dtype=np.float64))
    if dtype is not np.complex64:
        assert np.array_equal(flambeau.tensor(x).amax(0).numpy(), x.max(0))


def test_several_phases() -> None:
    x = np.random.default_rng(0).standard_normal((60, 45)).astype(np.float32)
    wanted = np.exp(x - x.max(0)) / np.exp(x - x.max(0)).sum(0)
    assert np.allclose(flambeau.softmax(flambeau.tensor(x), 0).numpy(), wanted, rtol=1e-6)


def test_lanes_fit_the_second_level_cache() -> None:
    def spec(*reductions: tuple[str, dt.dtype]) -> loops.LoopSpec:
        body = tuple(loops.Instr("reduce", dtype, (0,), (kind,)) for kind, dtype in reductions)
        return loops.LoopSpec("column", 0, 0, 1, (), body)

    one, many, exact = spec(("sum", dt.float32)), spec(*[("sum", dt.float64)] * 4), spec(*[("max", dt.int64)] * 4)
    assert [loops.most_vectors(each) for each in (one, many, exact)] == [64, 8, 64]
