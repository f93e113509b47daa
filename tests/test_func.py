"""Functions of functions: derivatives as functions, samples mapped over, modules as functions."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import func, nn


def test_grad_and_its_derivatives() -> None:
    x = flambeau.tensor(2.0)
    assert func.grad(lambda x: x**3)(x).item() == 12
    assert func.grad(func.grad(lambda x: x**3))(x).item() == 12
    assert func.grad(func.grad(func.grad(lambda x: x**3)))(x).item() == 6
    assert not func.grad(lambda x: x**3)(x).requires_grad


def test_arguments_and_auxiliary_values() -> None:
    first, second = flambeau.tensor(2.0), flambeau.tensor(5.0)
    found = func.grad(lambda x, y: x * y, argnums=(0, 1))(first, second)
    assert [each.item() for each in found] == [5, 2]
    gradient, (value, extra) = func.grad_and_value(lambda x: (x * x, "extra"), has_aux=True)(first)
    assert (gradient.item(), value.item(), extra) == (4, 4, "extra")
    tree = func.grad(lambda p: p["a"] * p["b"][0])({"a": first, "b": [second]})
    assert tree["a"].item() == 5 and tree["b"][0].item() == 2


def test_jacobians() -> None:
    x = flambeau.tensor([1.0, 2.0])
    for jacobian in (func.jacrev, func.jacfwd):
        np.testing.assert_allclose(jacobian(lambda x: x**2)(x).numpy(), [[2, 0], [0, 4]])
    np.testing.assert_allclose(func.hessian(lambda x: (x**3).sum())(x).numpy(), [[6, 0], [0, 12]])


def test_products_with_vectors() -> None:
    x, v = flambeau.tensor([1.0, 2.0]), flambeau.tensor([1.0, -1.0])
    value, product = func.vjp(lambda x: x**2, x)
    assert value.tolist() == [1, 4] and product(v)[0].tolist() == [2, -4]
    assert func.jvp(lambda x: x**2, (x,), (v,))[1].tolist() == [2, -4]
    assert func.grad(lambda x: func.jvp(lambda x: (x**3).sum(), (x,), (v,))[1])(x).tolist() == [6, -12]


def test_vmap() -> None:
    a, b = flambeau.arange(6.0).reshape(2, 3), flambeau.arange(3.0)
    assert func.vmap(flambeau.dot, in_dims=(0, None))(a, b).tolist() == (a.numpy() @ b.numpy()).tolist()
    assert func.vmap(lambda x: x * 2, in_dims=1, out_dims=1)(a).tolist() == (2 * a).tolist()
    per_sample = func.vmap(func.grad(lambda w, x: ((w * x).sum()) ** 2), in_dims=(None, 0))(b, a)
    expected = [(2 * (b.numpy() @ row) * row).tolist() for row in a.numpy()]
    assert per_sample.tolist() == expected
    nested = func.vmap(func.vmap(flambeau.mul))(a, a)
    assert nested.tolist() == (a * a).tolist()
    pair = func.vmap(lambda d: {"sum": d["x"].sum(), "x": d["x"]})({"x": a})
    assert pair["sum"].tolist() == a.sum(1).tolist() and pair["x"].tolist() == a.tolist()


def test_random_numbers_under_vmap() -> None:
    x = flambeau.zeros(3, 2)
    same = func.vmap(lambda x: x + flambeau.rand(2), randomness="same")(x)
    assert same[0].equal(same[1])
    different = func.vmap(lambda x: x + flambeau.rand(2), randomness="different")(x)
    assert not different[0].equal(different[1])


def test_vmap_refuses() -> None:
    with pytest.raises(ValueError, match=r"same size in the mapped dimension, got sizes \[2, 3\]"):
        func.vmap(flambeau.add)(flambeau.ones(2), flambeau.ones(3))
    with pytest.raises(ValueError, match="at least one input"):
        func.vmap(flambeau.neg, in_dims=None)(flambeau.ones(2))


def test_modules_as_functions() -> None:
    models = [nn.Linear(3, 2) for _ in range(4)]
    parameters, buffers = func.stack_module_state(models)
    x = flambeau.randn(5, 3)
    found = func.vmap(lambda p, b: func.functional_call(models[0], (p, b), (x,)))(parameters, buffers)
    for each, model in zip(found, models, strict=True):
        np.testing.assert_allclose(each.detach().numpy(), model(x).detach().numpy(), rtol=1e-6)
    gradients = func.grad(lambda p: func.functional_call(models[0], p, x).sum())(dict(models[0].named_parameters()))
    np.testing.assert_allclose(gradients["bias"].detach().numpy(), [5, 5])
