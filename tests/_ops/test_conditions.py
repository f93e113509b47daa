"""Where conditions hold: few elements and many, found in two ways, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau._ops.conditions import FEW

SHAPES = [(0,), (1,), (9,), (FEW,), (FEW + 1,), (7, 11), (1, 5), (100, 100), (0, 3), (2, 3, 4), (30, 20, 20)]


def condition(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(len(shape)).random(shape) < 0.4


@pytest.mark.parametrize("shape", SHAPES)
def test_nonzero(shape: tuple[int, ...]) -> None:
    mask = condition(shape)
    expected = np.nonzero(mask)
    for given in (mask, mask.astype(np.float32) * -2.5, mask.astype(np.int64)):
        found = flambeau.tensor(given).nonzero()
        assert found.tolist() == np.stack(expected, 1).tolist() and found.stride() == (1, len(expected[0]))
        for each, place in zip(flambeau.tensor(given).nonzero(as_tuple=True), expected, strict=True):
            assert each.tolist() == place.tolist() and each.is_contiguous()


def test_nonzero_without_dimensions() -> None:
    assert flambeau.tensor(3.0).nonzero().shape == (1, 0) and flambeau.tensor(0.0).nonzero().shape == (0, 0)
    assert [each.tolist() for each in flambeau.tensor(3.0).nonzero(as_tuple=True)] == [[0]]


def test_zeros_of_half_precision_have_signs() -> None:
    assert flambeau.tensor([[0.0, -0.0, 1.0]], dtype=flambeau.bfloat16).nonzero().tolist() == [[0, 2]]
    assert flambeau.zeros(1, FEW + 1, dtype=flambeau.bfloat16).neg().nonzero().shape == (0, 2)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8", "bool", "complex64", "complex128"])
def test_selection(shape: tuple[int, ...], dtype: str) -> None:
    values = np.random.default_rng(3).integers(0, 100, shape).astype(dtype)
    mask = condition(shape)
    x = flambeau.tensor(values)
    for found in (x[flambeau.tensor(mask)], x.masked_select(flambeau.tensor(mask))):
        assert np.array_equal(found.numpy(), values[mask])
    if len(shape) > 1:
        lines = condition(shape[:1])
        assert np.array_equal(x[flambeau.tensor(lines)].numpy(), values[lines])
        assert np.array_equal(x.transpose(0, 1)[flambeau.tensor(mask.swapaxes(0, 1))].numpy(), values.swapaxes(0, 1)[mask.swapaxes(0, 1)])


@pytest.mark.parametrize("size", [6, FEW + 6])
def test_gradients_go_back_to_their_places(size: int) -> None:
    x = flambeau.arange(float(size)).view(2, -1).requires_grad_()
    mask = x.detach() % 3 == 1
    selected = x[mask]
    assert selected.grad_fn is not None and selected.grad_fn.name() == "IndexBackward0"
    (selected * selected).sum().backward()
    assert flambeau.equal(x.grad, flambeau.where(mask, 2 * x.detach(), 0.0))


def test_what_was_selected_is_a_copy() -> None:
    x = flambeau.arange(6.0)
    selected = x[x > 2]
    x.zero_()
    assert selected.tolist() == [3, 4, 5]


@pytest.mark.parametrize("shape", [(5,), (6, 7), (FEW + 1,), (0,)])
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "complex128"])
def test_insertion(shape: tuple[int, ...], dtype: str) -> None:
    random = np.random.default_rng(5)
    values, source = random.integers(0, 9, shape).astype(dtype), random.integers(0, 9, (*shape, 2)).astype(dtype)
    mask, expected = condition(shape), values.copy()
    expected[mask] = source.ravel()[: mask.sum()]
    found = flambeau.masked_scatter(flambeau.tensor(values), flambeau.tensor(mask), flambeau.tensor(source))
    assert np.array_equal(found.numpy(), expected)
    again = flambeau.tensor(values)
    assert flambeau.equal(again.masked_scatter_(flambeau.tensor(mask), flambeau.tensor(source)), found) and flambeau.equal(again, found)


def test_a_source_that_is_too_short_is_refused() -> None:
    x, mask = flambeau.zeros(3), flambeau.tensor([True, True, False])
    assert x.masked_scatter(mask, flambeau.ones(2)).tolist() == [1, 1, 0]
    with pytest.raises(RuntimeError, match="source at least 2 elements, but it has 1"):
        x.masked_scatter(mask, flambeau.ones(1))


def test_gradients_of_an_insertion() -> None:
    x, source = flambeau.zeros(4, requires_grad=True), flambeau.ones(4, requires_grad=True)
    x.masked_scatter(flambeau.tensor([True, False, True, False]), source).sum().backward()
    assert x.grad.tolist() == [0, 1, 0, 1] and source.grad.tolist() == [1, 1, 0, 0]
