"""Jacobians, Hessians and their products with vectors."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.autograd import functional


def cube(x: flambeau.Tensor) -> flambeau.Tensor:
    return (x**3).sum()


X = flambeau.tensor([1.0, 2.0, 3.0])


def test_jacobian() -> None:
    found = functional.jacobian(lambda x, y: (x * y, x.sum()), (X, X))
    np.testing.assert_allclose(found[0][0].numpy(), np.diag(X.numpy()))
    np.testing.assert_allclose(found[0][1].numpy(), np.diag(X.numpy()))
    assert found[1][0].tolist() == [1, 1, 1] and found[1][1].tolist() == [0, 0, 0]
    assert functional.jacobian(lambda x: x.reshape(3, 1) * x, X).shape == (3, 3, 3)


def test_hessian() -> None:
    np.testing.assert_allclose(functional.hessian(cube, X).numpy(), np.diag(6 * X.numpy()))
    mixed = functional.hessian(lambda x, y: (x * y).sum(), (X, X))
    assert mixed[0][1].tolist() == np.eye(3).tolist() and not mixed[0][0].any()


def test_products() -> None:
    v = flambeau.tensor([1.0, 0.0, -1.0])
    np.testing.assert_allclose(functional.vjp(lambda x: x**2, X, v)[1].numpy(), 2 * X.numpy() * v.numpy())
    np.testing.assert_allclose(functional.jvp(lambda x: x**2, X, v)[1].numpy(), 2 * X.numpy() * v.numpy())
    for product in (functional.vhp, functional.hvp):
        value, found = product(cube, X, v)
        assert value.item() == 36
        np.testing.assert_allclose(found.numpy(), 6 * X.numpy() * v.numpy())


def test_the_result_can_be_differentiated() -> None:
    x = X.clone().requires_grad_()
    functional.jacobian(lambda x: x**3, x, create_graph=True).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * X.numpy())
    assert not functional.jacobian(lambda x: x**3, x).requires_grad


def test_what_is_refused() -> None:
    with pytest.raises(RuntimeError, match="single element"):
        functional.hessian(lambda x: x, X)
    with pytest.raises(RuntimeError, match="v should have the shapes"):
        functional.vjp(lambda x: x, X, flambeau.ones(2))
    with pytest.raises(RuntimeError, match="independent"):
        functional.jacobian(lambda x: flambeau.ones(2), X, strict=True)
    with pytest.raises(TypeError, match="must be a Tensor"):
        functional.jacobian(lambda x: 3, X)


def test_variable() -> None:
    x = flambeau.autograd.Variable(flambeau.ones(2), requires_grad=True)
    assert x.requires_grad and isinstance(x, flambeau.autograd.Variable) and isinstance(x, flambeau.Tensor)


def test_vectorized_jacobians() -> None:
    x, y = flambeau.tensor([1.0, 2.0]), flambeau.tensor([3.0])
    function = lambda x, y: (x.outer(x) * y, x.sin())
    expected = functional.jacobian(function, (x, y))
    for options in ({"vectorize": True}, {"vectorize": True, "strategy": "forward-mode"}):
        found = functional.jacobian(function, (x, y), **options)
        for row, wanted in zip(found, expected, strict=True):
            for each, other in zip(row, wanted, strict=True):
                np.testing.assert_allclose(each.numpy(), other.numpy(), rtol=1e-6)
    np.testing.assert_allclose(functional.hessian(lambda x: (x**3).sum(), x, vectorize=True).numpy(), [[6, 0], [0, 12]])
    with pytest.raises(RuntimeError, match="do not go together"):
        functional.jacobian(function, (x, y), strict=True, vectorize=True)
    with pytest.raises(NotImplementedError, match="vectorize=True"):
        functional.jacobian(function, (x, y), strategy="forward-mode")


def test_a_backward_that_looks_at_elements_runs_pass_by_pass() -> None:
    class Doubled(flambeau.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return flambeau.from_numpy(grad.numpy() * 2)

    x = flambeau.tensor([1.0, 2.0])
    np.testing.assert_allclose(functional.jacobian(Doubled.apply, x).numpy(), [[2, 0], [0, 2]])
    with pytest.raises(RuntimeError, match="other elements in every sample"):
        functional.jacobian(Doubled.apply, x, vectorize=True)


def test_rows_that_do_not_depend_on_an_input_have_memory_of_their_own() -> None:
    for found in functional.jacobian(lambda x, y: x.sin() + 2 * y.sum(), (X, X)):
        assert found.stride() == (3, 1)
        found[0, 0] = 7.0
        assert found[1, 0] != 7.0
