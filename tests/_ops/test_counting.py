"""Sets, counts and searches against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau


@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 1000])
@pytest.mark.parametrize("right", [False, True])
def test_searchsorted(length: int, right: bool) -> None:
    generator = np.random.default_rng(length)
    sequence, values = np.sort(generator.integers(-9, 9, length)), generator.integers(-12, 12, (5, 8))
    expected = np.searchsorted(sequence, values, "right" if right else "left")
    found = flambeau.searchsorted(flambeau.tensor(sequence), flambeau.tensor(values), right=right)
    assert found.dtype is flambeau.int64 and np.array_equal(found.numpy(), expected)
    narrow = flambeau.searchsorted(flambeau.tensor(sequence).float(), flambeau.tensor(values).float(), right=right, out_int32=True)
    assert narrow.dtype is flambeau.int32 and np.array_equal(narrow.numpy(), expected)
    assert np.array_equal(flambeau.bucketize(flambeau.tensor(values), flambeau.tensor(sequence), right=right).numpy(), expected)


def test_searchsorted_of_rows_through_a_sorter() -> None:
    generator = np.random.default_rng(0)
    rows, values = generator.standard_normal((4, 9)), generator.standard_normal((4, 6))
    order = np.argsort(rows, 1)
    expected = [np.searchsorted(np.sort(row), value) for row, value in zip(rows, values, strict=True)]
    for given in (flambeau.tensor(rows), flambeau.tensor(rows.T.copy()).t()):
        assert np.array_equal(flambeau.searchsorted(given, flambeau.tensor(values), sorter=flambeau.tensor(order)).numpy(), expected)
    with pytest.raises(RuntimeError, match="sorter index out of range"):
        flambeau.searchsorted(flambeau.tensor(rows), flambeau.tensor(values), sorter=flambeau.tensor(order + 1))


@pytest.mark.parametrize("dtype", ["float32", "int64", "int8", "bool", "bfloat16"])
def test_unique(dtype: str) -> None:
    array = np.random.default_rng(3).integers(0, 6, (7, 9))
    x = flambeau.tensor(array).to(getattr(flambeau, dtype))
    if dtype == "bool":
        array = array != 0
    values, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    found = flambeau.unique(x, return_inverse=True, return_counts=True)
    assert found[0].dtype is x.dtype and found[0].tolist() == values.tolist()
    assert found[1].tolist() == inverse.reshape(array.shape).tolist() and found[2].tolist() == counts.tolist()
    assert flambeau.unique(x).tolist() == values.tolist() and x.unique(return_counts=True)[1].tolist() == counts.tolist()


@pytest.mark.parametrize("numbers", [[-3, -1, -3, -2], [2**62, -(2**62), 5, 5], [-(2**63), 2**63 - 1, 0], [7] * 20])
def test_unique_of_narrow_and_wide_ranges(numbers: list) -> None:
    expected = np.unique(numbers, return_inverse=True, return_counts=True)
    found = flambeau.unique(flambeau.tensor(numbers), return_inverse=True, return_counts=True)
    assert [each.tolist() for each in found] == [each.tolist() for each in expected]


def test_unique_of_what_int64_cannot_hold() -> None:
    x = flambeau.tensor([2**64 - 1, 2**64 - 2, 2**64 - 1], dtype=flambeau.uint64)
    assert [each.tolist() for each in flambeau.unique(x, return_counts=True)] == [[2**64 - 2, 2**64 - 1], [1, 2]]


def test_unique_of_slices_and_of_what_is_not_a_number() -> None:
    x = flambeau.tensor([[1, 2], [0, 2], [1, 2]])
    values, inverse = flambeau.unique(x, dim=0, return_inverse=True)
    assert values.tolist() == [[0, 2], [1, 2]] and inverse.tolist() == [1, 0, 1]
    nan = float("nan")
    assert flambeau.unique(flambeau.tensor([nan, 1.0, nan]), return_counts=True)[1].tolist() == [1, 1, 1]
    assert flambeau.unique(flambeau.zeros(0)).shape == (0,)
    assert flambeau.unique(flambeau.tensor([[1, 1, 2], [3, 3, 4]]), dim=1).stride() == (1, 2)  # as in PyTorch


def test_unique_of_neighbours() -> None:
    x = flambeau.tensor([[1, 1, 2], [2, 1, 1]])
    found, inverse, counts = flambeau.unique_consecutive(x, return_inverse=True, return_counts=True)
    assert found.tolist() == [1, 2, 1] and inverse.tolist() == [[0, 0, 1], [1, 2, 2]] and counts.tolist() == [2, 2, 2]
    assert flambeau.unique_consecutive(flambeau.zeros(0)).shape == (0,)
    assert flambeau.unique_consecutive(flambeau.zeros(5, 0, 5), dim=1).shape == (5, 0, 5)


def test_histograms_of_nothing_lie_between_0_and_1() -> None:
    counts, edges = flambeau.histogram(flambeau.empty(0), 2)
    assert counts.tolist() == [0, 0] and edges.tolist() == [0, 0.5, 1]
    assert flambeau.histogram(flambeau.zeros(3), 1).bin_edges.tolist() == [-0.5, 0.5]


def test_bincount() -> None:
    x = flambeau.tensor([1, 3, 1])
    assert x.bincount().tolist() == [0, 2, 0, 1] and x.bincount(minlength=6).shape == (6,)
    assert x.bincount(flambeau.tensor([0.5, 1.0, 0.25])).tolist() == [0, 0.75, 0, 1]
    with pytest.raises(RuntimeError, match="non-negative"):
        flambeau.tensor([-1]).bincount()
    with pytest.raises(NotImplementedError, match="expected an integer tensor"):
        flambeau.ones(2).bincount()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "bool", "bfloat16", "int16"])
@pytest.mark.parametrize("size", [1, 100, 9000])
def test_few_and_many_are_counted_alike(dtype: str, size: int) -> None:
    values = np.random.default_rng(size).integers(0, 2 if dtype == "bool" else 20, size)
    x = flambeau.tensor(values).to(getattr(flambeau, dtype))
    for given, found in (
        (np.sort(values), flambeau.unique(x, return_inverse=True, return_counts=True)),
        (values, flambeau.unique_consecutive(x, return_inverse=True, return_counts=True)),
    ):
        starts = np.flatnonzero(np.concatenate([[True], given[1:] != given[:-1]]))
        assert found[0].dtype is x.dtype and found[0].double().tolist() == given[starts].tolist()
        assert found[0][found[1]].double().tolist() == values.tolist()
        assert found[2].tolist() == np.diff([*starts, size]).tolist()
    if dtype.startswith(("int", "uint")):
        weights = np.random.default_rng(1).standard_normal(size)
        assert flambeau.bincount(x, minlength=7).tolist() == np.bincount(values, minlength=7).tolist()
        np.testing.assert_allclose(
            flambeau.bincount(x, flambeau.tensor(weights)).numpy(), np.bincount(values, weights), rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_bincount_of_nothing_counts_in_int64(dtype: str) -> None:
    nothing = flambeau.empty(0, dtype=flambeau.int64)
    counts = flambeau.bincount(nothing, weights=flambeau.empty(0, dtype=getattr(flambeau, dtype)), minlength=2)
    assert counts.dtype is flambeau.int64 and counts.tolist() == [0, 0]
