"""Norms and condition numbers against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import linalg
from flambeau.autograd import gradcheck
from tests._ops.linalg.matrices import values

ORDERS = ["fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dim", [(-2, -1), (0, 2), (2, 0)])
@pytest.mark.parametrize("keepdim", [False, True])
def test_matrix_norm(order: object, dim: tuple, keepdim: bool) -> None:
    a = values(3, 4, 5)
    found = linalg.matrix_norm(flambeau.tensor(a), order, dim, keepdim)
    np.testing.assert_allclose(found.numpy(), np.linalg.norm(a, order, dim, keepdim), rtol=1e-10)
    assert gradcheck(lambda a: linalg.matrix_norm(a, order, dim), (flambeau.tensor(a, requires_grad=True),), fast_mode=True)


@pytest.mark.parametrize("order", [None, 0, 0.5, 1, 2, 3.5, np.inf, -np.inf, -1])
def test_norm_of_vectors(order: object) -> None:
    a = values(3, 4)
    np.testing.assert_allclose(linalg.norm(flambeau.tensor(a), order, 1).numpy(), np.linalg.norm(a, order, 1), rtol=1e-10)


@pytest.mark.parametrize("order", [-3, 0.3, 3, 6, 11])
def test_powers_of_float32_lose_nothing(order: float) -> None:
    x = flambeau.tensor(values(5, 40), dtype=flambeau.float32, requires_grad=True)
    wide = x.detach().double().requires_grad_()
    found, exact = linalg.vector_norm(x, order, 1), linalg.vector_norm(wide, order, 1)
    np.testing.assert_allclose(found.detach().numpy(), exact.detach().numpy(), rtol=6e-8)
    gradients = flambeau.autograd.grad(found.sum(), x) + flambeau.autograd.grad(exact.sum(), wide)
    np.testing.assert_allclose(*[each.numpy() for each in gradients], rtol=order**2 * 1.2e-8 + 2e-7)  # what is left of the norm's rounding
    assert linalg.vector_norm(flambeau.tensor([3e9, 4e9]), 5).item() == pytest.approx(5e9 * (0.6**5 + 0.8**5) ** 0.2)


def test_gradients_at_zero_are_zero() -> None:
    for order in (0.5, 1, 2, 3):
        x = flambeau.zeros(3, requires_grad=True)
        linalg.vector_norm(x, order).backward()
        assert x.grad.tolist() == [0, 0, 0]


@pytest.mark.parametrize("order", [0, 0.5, 1, 2, 3, np.inf])
def test_norm_of_a_number_is_its_size(order: float) -> None:
    for number in (-3.0, 3 - 4j):
        assert linalg.vector_norm(flambeau.tensor(number), order).item() == pytest.approx(abs(number) if order else 1)
    assert flambeau.tensor(-3.0).norm().item() == 3 and gradcheck(
        linalg.vector_norm, flambeau.tensor(-3.0, dtype=flambeau.float64, requires_grad=True)
    )


def test_norm_without_order_is_that_of_all_elements() -> None:
    a = values(2, 3, 4)
    np.testing.assert_allclose(linalg.norm(flambeau.tensor(a)).item(), np.sqrt((a * a).sum()), rtol=1e-12)
    np.testing.assert_allclose(flambeau.norm(flambeau.tensor(a[0]), "nuc").item(), np.linalg.norm(a[0], "nuc"), rtol=1e-10)
    with pytest.raises(RuntimeError, match="must be 1D or 2D"):
        linalg.norm(flambeau.tensor(a), 2)
    with pytest.raises(RuntimeError, match="Order 3 not supported"):
        linalg.matrix_norm(flambeau.tensor(a), 3)


@pytest.mark.parametrize("order", [None, *ORDERS])
def test_cond(order: object) -> None:
    a = values(2, 3, 3)
    np.testing.assert_allclose(linalg.cond(flambeau.tensor(a), order).numpy(), np.linalg.cond(a, order), rtol=1e-9)
    assert linalg.cond(flambeau.zeros(2, 2), 1).item() == np.inf
