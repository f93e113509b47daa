"""Sorting and order statistics against NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import flambeau


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).integers(-3, 4, (4, 7, 3)).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_sort_is_stable_in_both_directions(values: np.ndarray, axis: int) -> None:
    x = flambeau.tensor(values)
    up = x.sort(axis, stable=True)
    assert np.array_equal(up.indices.numpy(), np.argsort(values, axis, kind="stable"))
    down = x.sort(axis, descending=True, stable=True)
    assert np.array_equal(down.indices.numpy(), np.argsort(-values, axis, kind="stable"))
    assert np.array_equal(down.values.numpy(), -np.sort(-values, axis))


def test_nan_is_the_largest() -> None:
    x = flambeau.tensor([1.0, float("nan"), 3.0])
    assert x.sort().indices.tolist() == [0, 2, 1]
    assert x.sort(descending=True).indices.tolist() == [1, 2, 0]
    assert x.median().isnan().item()
    assert x.nanmedian().item() == 1.0


def test_gradient_returns_to_the_elements_that_were_taken() -> None:
    x = flambeau.tensor([3.0, 1.0, 2.0], requires_grad=True)
    x.topk(2).values.backward(flambeau.tensor([10.0, 20.0]))
    assert x.grad.tolist() == [10.0, 0.0, 20.0]


@pytest.mark.parametrize("q", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantile(values: np.ndarray, q: float, interpolation: str) -> None:
    found = flambeau.quantile(flambeau.tensor(values), q, 1, interpolation=interpolation)
    np.testing.assert_allclose(found.numpy(), np.quantile(values, q, axis=1, method=interpolation), rtol=1e-6)


def test_named_results_are_shown_by_their_names() -> None:
    assert repr(flambeau.tensor([2, 1]).sort()) == "torch.return_types.sort(\nvalues=tensor([1, 2]),\nindices=tensor([1, 0]))"


def test_topk_refuses_more_than_there_are() -> None:
    with pytest.raises(RuntimeError, match="must be between 0 and 3"):
        flambeau.zeros(3).topk(4)


DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape, axis", [((1,), 0), ((49,), 0), ((20_000,), 0), ((40, 30), 0), ((5, 100, 3), 1)])
def test_every_dtype_is_sorted_with_equals_in_their_order(dtype: str, shape: tuple, axis: int) -> None:
    generator = np.random.default_rng(1)
    array = generator.standard_normal(shape) * 50
    if "float" in dtype:
        for special in (np.nan, np.inf, -np.inf, 0.0, -0.0):
            array[generator.random(shape) < 0.05] = special
    x = flambeau.tensor(array if "float" in dtype else np.trunc(array)).to(getattr(flambeau, dtype))
    wide = x.to(flambeau.float64).numpy()
    for descending in (False, True):
        order = np.argsort(np.flip(wide, axis) if descending else wide, axis, kind="stable")
        if descending:
            order = shape[axis] - 1 - np.flip(order, axis)
        found = x.sort(axis, descending)
        assert np.array_equal(found.indices.numpy(), order)
        assert np.array_equal(found.values.to(flambeau.float64).numpy(), np.take_along_axis(wide, order, axis), equal_nan=True)
        for k in {1, shape[axis] // 9, shape[axis] // 2}:
            assert np.array_equal(x.topk(k, axis, largest=descending).indices.numpy(), np.take(order, range(k), axis))
            if k and not descending:
                assert np.array_equal(x.kthvalue(k, axis).indices.numpy(), np.take(order, k - 1, axis))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int16", "bool"])
@pytest.mark.parametrize("shape, axis", [((65_537,), 0), ((300_001,), 0), ((2, 131_072), 1), ((90_000, 3), 0)])
def test_long_lines_are_sorted_in_parts_on_any_number_of_threads(dtype: str, shape: tuple, axis: int) -> None:
    generator = np.random.default_rng(5)
    array = generator.standard_normal(shape) * 1e4 if "float" in dtype else generator.integers(-900, 900, shape) > 0
    if dtype[:3] == "int":
        array = generator.integers(-900, 900, shape)
    array = array.astype(dtype)
    keys = array.astype(np.float64)
    if "float" in dtype:
        array.reshape(-1)[::1001] = np.nan
        keys.reshape(-1)[::1001] = np.inf
    for descending in (False, True):
        order = np.argsort(-keys if descending else keys, axis, kind="stable")
        for threads in (1, 3):
            with limited(threads):
                found = flambeau.tensor(array).sort(axis, descending)
                assert np.array_equal(found.indices.numpy(), order)
                assert np.array_equal(found.values.numpy(), np.take_along_axis(array, order, axis), equal_nan="float" in dtype)


@contextmanager
def limited(threads: int) -> Iterator[None]:
    before = flambeau.get_num_threads()
    flambeau.set_num_threads(threads)
    yield
    flambeau.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("shape, axis", [((6, 9), 1), ((9, 6), 0), ((4, 1), 1), ((4, 20_000), 1)])
def test_medians_of_lines_with_holes(dtype: str, shape: tuple, axis: int) -> None:
    generator = np.random.default_rng(6)
    x = flambeau.tensor(np.round(generator.standard_normal(shape) * 9)).to(getattr(flambeau, dtype))
    x[flambeau.tensor(generator.random(shape) < 0.3)] = float("nan")
    x.select(1 - axis, 0)[...] = float("nan")
    x.select(1 - axis, 1)[...] = -float("inf")
    lines = np.moveaxis(x.to(flambeau.float64).numpy(), axis, 1)
    for skips_nan, found in ((False, x.median(axis)), (True, x.nanmedian(axis))):
        for line, value, index in zip(lines, found.values.tolist(), found.indices.tolist(), strict=True):
            numbers = np.sort(line[~np.isnan(line)])
            whole = len(numbers) == len(line) or (skips_nan and len(numbers) > 0)
            wanted = numbers[(len(numbers) - 1) // 2] if whole else np.nan
            assert np.array_equal(value, wanted, equal_nan=True)
            assert np.array_equal(line[index], wanted, equal_nan=True)
            if not whole:
                assert index == np.flatnonzero(np.isnan(line))[0]


def test_median_and_mode() -> None:
    array = np.random.default_rng(2).integers(0, 5, (6, 11))
    x = flambeau.tensor(array)
    assert x.median(1).values.tolist() == np.sort(array, 1)[:, 5].tolist()
    for row, value, index in zip(array, x.mode(1).values.tolist(), x.mode(1).indices.tolist(), strict=True):
        counts = np.bincount(row, minlength=5)
        assert value == counts.argmax() and index == np.flatnonzero(row == value)[-1]
    holes = flambeau.tensor([[3.0, float("nan"), 1.0], [1.0, 2.0, 3.0]])
    assert holes.median(1).indices.tolist() == [1, 1] and holes.nanmedian(1).values.tolist() == [1, 2]


def test_nothing_is_sorted() -> None:
    empty = flambeau.zeros(0, 3)
    assert empty.sort(0).values.shape == (0, 3) and empty.sort(1).indices.shape == (0, 3)
    assert flambeau.tensor(5.0).sort().indices.item() == 0 and flambeau.ones(3).topk(0).values.shape == (0,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8])
@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 33, 96, 97])
def test_short_lines_are_ranked_as_long_ones_are_sorted(length: int, dtype: type) -> None:
    """Lines that end within a vector, whose elements are counted, and the first that is sorted instead."""
    values = np.random.default_rng(length).integers(0, 9, (length, 3)).astype(dtype)
    x = flambeau.tensor(values)
    up, down = np.argsort(values, 0, kind="stable"), np.argsort(-values.astype(int), 0, kind="stable")
    assert np.array_equal(x.sort(0, stable=True).indices.numpy(), up)
    assert np.array_equal(x.t().contiguous().sort(1, descending=True, stable=True).indices.numpy(), down.T)
    wanted = (length + 2) // 3
    assert np.array_equal(x.topk(wanted, 0).indices.numpy(), down[:wanted])
    assert np.array_equal(x.kthvalue(wanted, 0).indices.numpy(), up[wanted - 1])
    assert np.array_equal(x.median(0).values.numpy(), np.sort(values, 0)[(length - 1) // 2])


def test_equal_medians_share_the_gradient() -> None:
    """As equal extrema do; of a dimension one element gets it, whose position is told."""
    nan = float("nan")
    for values, function, expected in (
        ([1.0, 1.0, 0.0], lambda x: x.median(), [0.5, 0.5, 0.0]),
        ([1.0, nan, 1.0, 3.0], lambda x: x.nanmedian(), [0.5, 0.0, 0.5, 0.0]),
        ([1.0, nan, nan], lambda x: x.median(), [0.0, 0.5, 0.5]),
        ([2.0, 1.0, 3.0], lambda x: x.median() ** 2, [4.0, 0.0, 0.0]),
    ):
        x = flambeau.tensor(values, requires_grad=True)
        (gradient,) = flambeau.autograd.grad(function(x), x)
        assert gradient.tolist() == expected
    x = flambeau.tensor([[1.0, 1.0, 0.0], [2.0, 3.0, 1.0]])
    assert flambeau.func.vmap(flambeau.func.grad(lambda row: row.median()))(x).tolist() == [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]
    x.requires_grad_()
    assert sum(flambeau.autograd.grad(x.median(1).values.sum(), x)[0][0].tolist()) == 1 and x.median().grad_fn is not None
