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
