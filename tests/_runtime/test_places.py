"""Kernels that number places as they find them, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from flambeau._runtime import places


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_where_a_condition_holds(chance: float) -> None:
    mask = np.random.default_rng(0).random((7, 13)) < chance
    rows, columns = np.empty(91, np.int64), np.empty(91, np.int64)
    count = places.kernel("find")(mask.ctypes.data, rows.ctypes.data, columns.ctypes.data, 7, 13)
    expected = np.nonzero(mask)
    assert count == mask.sum() and np.array_equal(rows[:count], expected[0]) and np.array_equal(columns[:count], expected[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_elements_of_each_size_are_selected(dtype: type) -> None:
    random = np.random.default_rng(1)
    source, mask = random.integers(0, 2**8, 100).astype(dtype), random.random(100) < 0.3
    target = np.empty_like(source)
    count = places.kernel("select", np.dtype(dtype).name)(mask.ctypes.data, source.ctypes.data, target.ctypes.data, 100)
    assert np.array_equal(target[:count], source[mask])


def test_runs_of_floats_and_of_integers() -> None:
    for line in (np.array([1.0, 1.0, np.nan, np.nan, 0.0, -0.0, 3.0]), np.array([4, 4, 4, 1, 2, 2, 4], np.int64)):
        values, first, inverse = np.empty_like(line), np.empty(8, np.int64), np.empty(7, np.int64)
        addresses = [array.ctypes.data for array in (line, values, first, inverse)]
        count = places.kernel("runs", line.dtype.name)(*addresses, line.size)
        starts = np.concatenate([[True], line[1:] != line[:-1]])
        assert count == starts.sum() and np.array_equal(values[:count], line[starts], equal_nan=line.dtype.kind == "f")
        assert first[: count + 1].tolist() == [*np.flatnonzero(starts), 7] and np.array_equal(inverse, np.cumsum(starts) - 1)


def test_tallies() -> None:
    numbers, weights = np.array([3, 0, 3, 5], np.int64), np.array([0.5, 1.0, 2.0, 4.0], np.float32)
    assert places.kernel("bound")(numbers.ctypes.data, 4) == 6
    assert places.kernel("bound")(np.array([1, -1]).ctypes.data, 2) == -1
    counts, sums = np.empty(7, np.int64), np.empty(7, np.float32)
    places.kernel("tally")(numbers.ctypes.data, counts.ctypes.data, 4, 7)
    places.kernel("weigh", "float32")(numbers.ctypes.data, weights.ctypes.data, sums.ctypes.data, 4, 7)
    assert counts.tolist() == [1, 0, 0, 2, 0, 1, 0] and sums.tolist() == [1, 0, 0, 2.5, 0, 4, 0]
