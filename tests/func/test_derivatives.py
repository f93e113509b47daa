"""Derivatives as functions."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import func


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


def test_an_inner_derivative_is_part_of_an_outer_one() -> None:
    x, w = flambeau.tensor([1.0, 2.0]), flambeau.tensor([3.0, -1.0])
    inner = lambda w: func.grad(lambda z: (w * z**2).sum())(x)  # w is no argument of the inner function
    np.testing.assert_allclose(func.jacrev(inner)(w).numpy(), [[2, 0], [0, 4]])
    _, product = func.vjp(lambda w: func.vjp(lambda z: w * z**2, x)[1](x)[0], w)
    np.testing.assert_allclose(product(flambeau.ones(2))[0].numpy(), [2, 8])
    assert not inner(w).requires_grad and inner(w.clone().requires_grad_()).requires_grad


def test_values_and_auxiliary_parts_have_no_history_of_their_own() -> None:
    x = flambeau.tensor([1.0, 2.0])
    gradient, (value, extra) = func.grad_and_value(lambda x: ((x * x).sum(), x * 2), has_aux=True)(x)
    assert not any(each.requires_grad for each in (gradient, value, extra))


def test_jacobians_by_columns_and_by_rows_are_the_same() -> None:
    x = flambeau.tensor([0.5, -1.0])
    tall = lambda x: {"outer": x.outer(x.sin()).expand(3, 2, 2), "double": x.double()}
    expected = func.jacrev(tall)(x)
    for found in (func.jacfwd(tall)(x), func.jacrev(tall, chunk_size=1)(x), func.jacrev(tall, chunk_size=5)(x)):
        for name, each in found.items():
            assert each.shape == expected[name].shape and each.dtype is expected[name].dtype
            np.testing.assert_allclose(each.numpy(), expected[name].numpy(), rtol=1e-6)
    with pytest.raises(ValueError, match="chunk_size"):
        func.jacrev(tall, chunk_size=0)


def test_jacobians_of_several_arguments() -> None:
    x, y = flambeau.tensor([1.0, 2.0]), flambeau.tensor([3.0])
    (by_x, by_y), extra = func.jacrev(lambda x, y: (x * y, "extra"), argnums=(0, 1), has_aux=True)(x, y)
    np.testing.assert_allclose(by_x.numpy(), [[3, 0], [0, 3]])
    np.testing.assert_allclose(by_y.numpy(), [[1], [2]])
    assert extra == "extra"
    blocks = func.hessian(lambda x, y: (x**2 * y).sum(), argnums=(0, 1))(x, y)
    np.testing.assert_allclose(blocks[0][1].numpy(), [[2], [4]])


def test_what_is_differentiated_is_tensors() -> None:
    with pytest.raises(RuntimeError, match="scalar tensor, got tensor with 1 dims"):
        func.grad(lambda x: x)(flambeau.ones(2))
    with pytest.raises(RuntimeError, match="tensors only, but it returned a int"):
        func.jacrev(lambda x: 3)(flambeau.ones(2))
    with pytest.raises(ValueError, match="differentiate by, but got a int"):
        func.grad(lambda x: x)(3)


def test_linearize() -> None:
    value, derivative = func.linearize(lambda x: x**3, flambeau.tensor([1.0, 2.0]))
    assert value.tolist() == [1, 8] and derivative(flambeau.tensor([1.0, 1.0])).tolist() == [3, 12]
    columns = func.vmap(derivative)(flambeau.eye(2))
    np.testing.assert_allclose(columns.numpy(), [[3, 0], [0, 12]])
