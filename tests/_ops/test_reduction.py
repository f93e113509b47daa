"""Reductions: values against NumPy, gradients against differences, empty and scalar arguments."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.autograd import gradcheck, gradgradcheck

FUNCTIONS = {"sum": np.sum, "mean": np.mean, "amax": np.max, "amin": np.min}


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape)


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("axes", [(0,), (1,), (-1,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_over_axes(name: str, axes: tuple, keepdim: bool) -> None:
    array = values(3, 4, 5)
    for x in (flambeau.tensor(array), flambeau.tensor(array.transpose(2, 0, 1).copy()).permute(1, 2, 0)):
        found = getattr(flambeau, name)(x, axes, keepdim=keepdim)
        np.testing.assert_allclose(found.numpy(), FUNCTIONS[name](array, axis=axes, keepdims=keepdim), rtol=1e-12)


def test_scalars_and_nothing() -> None:
    assert flambeau.tensor(3.0).sum().item() == 3.0 and flambeau.tensor(3.0).sum(0).item() == 3.0
    assert flambeau.zeros(0).sum().item() == 0.0 and flambeau.zeros(0).mean().isnan().item()
    assert flambeau.zeros(2, 0).sum(1).tolist() == [0.0, 0.0]
    assert flambeau.zeros(0, dtype=flambeau.bool).all().item() is True


def test_sums_of_integers_are_int64() -> None:
    x = flambeau.tensor([100, 100, 100], dtype=flambeau.int8)
    assert x.sum().dtype is flambeau.int64 and x.sum().item() == 300
    assert flambeau.tensor([True, True]).sum().item() == 2


GRADIENTS = {"sum": (), "mean": (), "prod": (), "var": (), "logsumexp": ((0,),), "amax": ((0,),)}
"""With the arguments that each needs besides the tensor."""


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 3, 2)])
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str, shape: tuple) -> None:
    x = flambeau.tensor(values(*shape)).requires_grad_()

    def function(x: flambeau.Tensor) -> flambeau.Tensor:
        return getattr(flambeau, name)(x, *GRADIENTS[name])

    assert gradcheck(function, (x,)) and gradgradcheck(function, (x,))


def test_axes_out_of_range_are_named() -> None:
    with pytest.raises(IndexError, match="Dimension out of range"):
        flambeau.ones(2, 3).sum(2)


@pytest.mark.parametrize("shape, order, axes", [((96, 80), (1, 0), 1), ((7, 40, 30), (0, 2, 1), (1, 2)), ((7, 40, 30), (2, 0, 1), (0, 2))])
def test_what_lies_across_has_the_bits_of_what_lies_along(shape: tuple, order: tuple, axes: int | tuple) -> None:
    """The order of a sum over some axes is that of positions: a transposed matrix is turned before it is added up."""
    array = values(*shape).astype(np.float32)
    along = flambeau.tensor(array)
    across = flambeau.tensor(array.transpose(order).copy()).permute(tuple(np.argsort(order)))
    assert across.shape == along.shape and not across.is_contiguous()
    for reduce in (
        lambda x: x.sum(axes), lambda x: (x * 3).exp().sum(axes), lambda x: x.var(axes), lambda x: x.amax(axes), lambda x: (x > 0).sum(axes),
        lambda x: (x * 10).int().sum(axes), lambda x: x - x.mean(axes, keepdim=True),
    ):  # fmt: skip
        np.testing.assert_array_equal(reduce(across).numpy(), reduce(along).numpy())


@pytest.mark.parametrize("shape, order", [((96, 80), (1, 0)), ((7, 40, 30), (2, 0, 1))])
def test_the_order_of_a_sum_of_everything_is_that_of_memory(shape: tuple, order: tuple) -> None:
    array = values(*shape).astype(np.float32)
    as_it_lies = flambeau.tensor(array.transpose(order).copy())
    across = as_it_lies.permute(tuple(np.argsort(order)))
    for reduce in (lambda x: x.sum(), lambda x: (x * 3).exp().sum(), lambda x: x.norm(), lambda x: (x > 4).any() | (x < 9).all()):
        np.testing.assert_array_equal(reduce(across).numpy(), reduce(as_it_lies).numpy())
    np.testing.assert_allclose(across.sum().numpy(), array.sum(dtype=np.float64), rtol=1e-5)


@pytest.mark.parametrize("mean, scale", [(1e6, 1), (0, 1e30), (0, 1e-30), (0, 1)])
@pytest.mark.parametrize("axis", [0, 1])
def test_deviations_are_rounded_once(mean: float, scale: float, axis: int) -> None:
    array = (values(300, 70) * scale + mean).astype(np.float32)
    exact = array.astype(np.float64)
    x = flambeau.tensor(array)
    assert np.array_equal(x.std(axis).numpy(), exact.std(axis, ddof=1).astype(np.float32))
    spread, middle = flambeau.std_mean(x, axis)
    assert np.array_equal(spread.numpy(), exact.std(axis, ddof=1).astype(np.float32))
    np.testing.assert_allclose(middle.numpy(), exact.mean(axis), rtol=2**-23, atol=scale * 1e-16)
    if scale == 1:
        assert np.array_equal(x.var(axis).numpy(), exact.var(axis, ddof=1).astype(np.float32))


def test_gradients_of_float32_deviations_are_float32() -> None:
    x = flambeau.tensor(values(5, 3).astype(np.float32), requires_grad=True)
    for function in (flambeau.var, flambeau.std, lambda x, dim: sum(flambeau.std_mean(x, dim))):
        (gradient,) = flambeau.autograd.grad(function(x, 0).sum(), x)
        exact = x.detach().double().requires_grad_()
        (expected,) = flambeau.autograd.grad(function(exact, 0).sum(), exact)
        assert gradient.dtype is flambeau.float32
        np.testing.assert_allclose(gradient.numpy(), expected.numpy(), rtol=1e-6, atol=1e-6)


def test_sums_have_chains_of_thirty_two() -> None:
    """The error of 4096 normal numbers is below one epsilon of the root of their number; chains of 128 in each lane had twice that."""
    array = np.random.default_rng(0).standard_normal((200, 4096)).astype(np.float32)
    error = flambeau.tensor(array).sum(1).numpy() - array.astype(np.float64).sum(1)
    assert np.sqrt(np.mean(error**2)) < 1.1 * 2**-23 * 64


@pytest.mark.parametrize("keepdim", [False, True])
def test_extrema_along_a_dimension_are_elements_with_their_positions(keepdim: bool) -> None:
    """The first of equals, with its sign; a NaN wins; gradients go to the positions."""
    x = flambeau.tensor([[-0.0, 0.0, -1.0], [0.0, -0.0, -2.0], [1.0, float("nan"), 2.0]])
    for function, places in ((flambeau.max, [0, 0, 1]), (flambeau.min, [2, 2, 1])):
        values, index = function(x, 1, keepdim)
        assert values.shape == index.shape == ((3, 1) if keepdim else (3,)) and index.reshape(3).tolist() == places
        wanted = flambeau.stack([row[place] for row, place in zip(x, places, strict=True)]).reshape(values.shape)
        assert flambeau.equal(values.view(flambeau.int32), wanted.view(flambeau.int32))
    image = flambeau.randn(2, 3, 4).permute(2, 0, 1).requires_grad_()
    values, index = image.max(0, keepdim)
    assert values.grad_fn is not None and values.grad_fn.name() == "MaxBackward0"
    (found,) = flambeau.autograd.grad(values.square().sum() / 2, image)
    places = index if keepdim else index.unsqueeze(0)
    assert flambeau.equal(found, flambeau.where(flambeau.arange(4).view(4, 1, 1) == places, image, 0.0))
