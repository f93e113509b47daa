"""``vmap``: its arguments and results, what it refuses, random numbers; with derivatives in it and around it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import func, nn
from flambeau.nn import functional


def test_samples_are_mapped_over() -> None:
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


def test_random_numbers() -> None:
    x = flambeau.zeros(3, 2)
    same = func.vmap(lambda x: x + flambeau.rand(2), randomness="same")(x)
    assert same[0].equal(same[1])
    different = func.vmap(lambda x: x + flambeau.rand(2), randomness="different")(x)
    assert not different[0].equal(different[1])


def same(found: Any, expected: Any, **tolerances: float) -> None:
    assert found.dtype is expected.dtype and found.shape == expected.shape
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), **{"rtol": 1e-5, "atol": 1e-6, **tolerances})


def test_the_function_is_called_once() -> None:
    calls = []
    found = func.vmap(lambda x: calls.append(x.shape) or x.sum())(flambeau.ones(4, 3))
    assert calls == [(3,)] and found.tolist() == [3, 3, 3, 3]


def test_dimensions_in_and_out() -> None:
    x = flambeau.randn(2, 3, 4)
    same(func.vmap(lambda x: x.sum(0), in_dims=-1)(x), x.sum(0).t())
    same(func.vmap(lambda x: x * 2, in_dims=1, out_dims=-1)(x), (x * 2).movedim(1, -1))
    nested = func.vmap(lambda a, b: a["x"] + b[0] * b[1], in_dims=({"x": 1}, (0, None)), out_dims=1)
    same(nested({"x": x[0]}, (x[0, 0], 2)), (x[0].t() + x[0, 0].unsqueeze(1) * 2).t())
    pair = func.vmap(lambda x: (x, flambeau.ones(2)), out_dims=(0, None))(x)
    assert pair[0].shape == (2, 3, 4) and pair[1].shape == (2,)
    same(func.vmap(lambda x: flambeau.ones(2))(x), flambeau.ones(2, 2))
    assert func.vmap(flambeau.neg)(flambeau.ones(0, 3)).shape == (0, 3)


def test_arguments_by_name_are_the_same_for_all() -> None:
    x, k = flambeau.randn(3, 2), flambeau.randn(3, 2)
    same(func.vmap(lambda x, *, k: x + k)(x, k=k), x.unsqueeze(1) + k)


def test_chunks() -> None:
    x = flambeau.randn(5, 2)
    sizes = []
    found = func.vmap(lambda x: (x * 2, x.sum()), out_dims=(1, 0), chunk_size=2)(x)
    same(found[0], (x * 2).t())
    same(found[1], x.sum(1))
    func.vmap(lambda x: sizes.append(1) or x, chunk_size=2)(x)
    assert len(sizes) == 3


def test_arguments_that_cannot_be_mapped_over() -> None:
    x = flambeau.ones(2, 3)
    cases = [
        (lambda: func.vmap(flambeau.add)(flambeau.ones(2), flambeau.ones(3)), r"same size in the mapped dimension, got sizes \[2, 3\]"),
        (lambda: func.vmap(flambeau.neg, in_dims=None)(x), "expected in_dims to be an int or a tuple"),
        (lambda: func.vmap(flambeau.neg, in_dims=(None,))(x), "at least one input"),
        (lambda: func.vmap(flambeau.neg, in_dims=(0, 0))(x), "not compatible with the structure of the inputs"),
        (lambda: func.vmap(flambeau.neg, in_dims=2)(x), r"in_dim=2 for a tensor of shape \[2, 3\]; expected -2 <= in_dim < 2"),
        (lambda: func.vmap(flambeau.mul)(x, 3), "in_dim=0 for an input of type int"),
        (lambda: func.vmap(lambda: x)(), "no inputs"),
        (lambda: func.vmap(lambda x: 3)(x), "must only return Tensors, got type int"),
        (lambda: func.vmap(lambda x: None)(x), "must only return Tensors, got type NoneType"),
        (lambda: func.vmap(lambda x: (x, x), out_dims=(0,))(x), "not compatible with the structure of the outputs"),
        (lambda: func.vmap(lambda x: x, out_dims=None)(x), "cannot be returned with out_dim=None"),
        (lambda: func.vmap(flambeau.neg, chunk_size=0)(x), "chunk_size should be None or greater than 0"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(RuntimeError, match="Got other"):
        func.vmap(flambeau.neg, randomness="other")


def test_elements_cannot_be_looked_at() -> None:
    x = flambeau.ones(2, 3)
    looks = [
        lambda x: x.sum().item(), lambda x: x if x.sum() > 0 else -x, lambda x: x[x > 0], lambda x: x.nonzero(), lambda x: x.numpy(), lambda x: x.tolist(),
        lambda x: int(x[0]), lambda x: x.data_ptr(), lambda x: x.unique(),
    ]  # fmt: skip
    for look in looks:
        with pytest.raises(RuntimeError, match="other elements in every sample"):
            func.vmap(look)(x)
    assert func.vmap(flambeau.neg)(x).tolist() == [[-1, -1, -1]] * 2  # and nothing is broken afterwards
    kept = []
    func.vmap(lambda x: kept.append(x) or x)(x)
    with pytest.raises(RuntimeError, match="return it instead"):
        kept[0] + 1


def test_a_tensor_of_one_sample_can_be_printed() -> None:
    texts = []
    func.vmap(func.vmap(lambda x: texts.append(repr(x)) or x))(flambeau.zeros(1, 2))
    assert texts == ["BatchedTensor(lvl=2, bdim=0, value=BatchedTensor(lvl=1, bdim=0, value=tensor([[0., 0.]])))"]


def test_writes() -> None:
    x, total = flambeau.randn(2, 3), flambeau.zeros(3)
    expected = x + 1
    func.vmap(lambda x: x.add_(1))(x)  # the argument itself is written
    same(x, expected)
    with pytest.raises(RuntimeError, match="not mapped over"):
        func.vmap(lambda x: total.add_(x))(x)
    func.vmap(lambda x: (total.add_(1), x)[1])(x)  # the same for all
    assert total.tolist() == [1, 1, 1]

    def shifted(x: Any) -> Any:
        y = flambeau.zeros(3)
        y[1:] = x[:-1].cos()
        y[0] += x[-1]
        return y.mul_(y)

    same(func.vmap(shifted)(x), flambeau.stack([shifted(row) for row in x]))
    inner = func.grad(lambda x: shifted(x).sum())
    same(func.vmap(inner)(x), flambeau.stack([inner(row) for row in x]))
    same(func.grad(lambda x: func.vmap(shifted)(x).sum())(x), flambeau.stack([inner(row) for row in x]))


def test_a_leaf_is_not_written() -> None:
    x = flambeau.ones(2, 3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        func.vmap(lambda x: x.add_(1))(x)


def test_random_numbers_need_to_be_allowed() -> None:
    x = flambeau.zeros(3, 50)
    draws = [
        lambda x: x + flambeau.rand(50), lambda x: flambeau.randn_like(x), lambda x: functional.dropout(x), lambda x: x.clone().uniform_(),
        lambda x: flambeau.randperm(50), lambda x: flambeau.bernoulli(x), lambda x: flambeau.multinomial(x + 1, 2),
        lambda x: flambeau.poisson(x + 2), lambda x: flambeau.normal(x, 1.0),
    ]  # fmt: skip
    for draw in draws:
        with pytest.raises(RuntimeError, match="random operation while in randomness error mode"):
            func.vmap(draw)(x)
        assert func.vmap(draw, randomness="different")(x).shape[0] == 3
    flambeau.manual_seed(0)
    found = func.vmap(lambda x: flambeau.rand(50) + x, randomness="different")(x)
    flambeau.manual_seed(0)
    assert found.equal(flambeau.rand(3, 50))
    flambeau.manual_seed(0)
    kept = func.vmap(lambda x: functional.dropout(x + 1), randomness="same")(x)
    flambeau.manual_seed(0)
    assert kept.equal(functional.dropout(flambeau.ones(50)).expand(3, 50))
    with pytest.raises(RuntimeError, match="not mapped over and has room for one sample only"):
        func.vmap(lambda row: x.uniform_(), randomness="different")(x)
    with pytest.raises(RuntimeError, match="cannot be the same"):
        func.vmap(flambeau.bernoulli, randomness="same")(x)


def test_derivatives_inside_and_outside() -> None:
    x, w = flambeau.randn(3, 4), flambeau.randn(4)
    value = lambda w, x: ((w * x).sin() * x.cumsum(0)).sum()
    rows = flambeau.stack([func.grad(value)(w, row) for row in x])
    same(func.vmap(func.grad(value), in_dims=(None, 0))(w, x), rows)
    same(func.grad(lambda w: func.vmap(value, in_dims=(None, 0))(w, x).sum())(w), rows.sum(0))
    square = lambda x: (func.vmap(func.grad(lambda x: value(w, x)))(x) ** 2).sum()
    looped = lambda x: sum((func.grad(lambda row: value(w, row))(row) ** 2).sum() for row in x)
    same(func.grad(square)(x), func.grad(looped)(x), rtol=1e-4)
    same(
        func.vmap(func.hessian(value, argnums=1), in_dims=(None, 0))(w, x),
        flambeau.stack([func.hessian(value, argnums=1)(w, row) for row in x]),
    )
    leaf = w.clone().requires_grad_()
    func.vmap(lambda x: value(leaf, x))(x).sum().backward()
    same(leaf.grad, rows.sum(0))


def test_without_gradients() -> None:
    x = flambeau.randn(3, 4, requires_grad=True)

    def partly(x: Any) -> Any:
        with flambeau.no_grad():
            factor = x * 2
        return (x * factor).sum()

    same(func.grad(lambda x: func.vmap(partly)(x).sum())(x.detach()), 2 * x)
    with flambeau.no_grad():
        assert not func.vmap(partly)(x).requires_grad


def test_gradients_of_each_image_and_an_ensemble() -> None:
    flambeau.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 5))
    parameters = {name: each.detach() for name, each in model.named_parameters()}
    images, classes = flambeau.randn(4, 1, 8, 8), flambeau.tensor([0, 4, 2, 2])

    def loss(parameters: dict, image: Any, label: Any) -> Any:
        return functional.cross_entropy(func.functional_call(model, parameters, image.unsqueeze(0)), label.unsqueeze(0))

    found = func.vmap(func.grad(loss), in_dims=(None, 0, 0))(parameters, images, classes)
    for number in range(4):
        for name, each in func.grad(loss)(parameters, images[number], classes[number]).items():
            same(found[name][number], each, rtol=1e-4)
    several = {name: flambeau.stack([each, each * 0.5]) for name, each in parameters.items()}
    outputs = func.vmap(lambda p: func.functional_call(model, p, images))(several)
    same(outputs[1], func.functional_call(model, {name: each * 0.5 for name, each in parameters.items()}, images))


def test_what_is_detached_is_a_constant_for_everybody() -> None:
    x = flambeau.randn(3, 4)
    product = lambda x: (x.detach() * x).sum()
    same(func.grad(lambda x: func.vmap(product)(x).sum())(x), x)
    same(func.vmap(func.grad(product))(x), x)


def test_random_numbers_of_maps_within_maps() -> None:
    x = flambeau.zeros(3, 2, 40)
    for outer, inner in (("same", "different"), ("different", "same"), ("different", "different")):
        flambeau.manual_seed(0)
        found = func.vmap(func.vmap(lambda x: x + flambeau.rand(40), randomness=inner), randomness=outer)(x)
        flambeau.manual_seed(0)
        shape = (1 if outer == "same" else 3, 1 if inner == "same" else 2, 40)
        assert found.equal(flambeau.rand(*shape).expand(3, 2, 40))


def test_checks_of_arguments_look_at_all_samples() -> None:
    x = flambeau.tensor([[0.5, 1.0], [2.0, -1.0]])
    found = func.vmap(lambda x: flambeau.distributions.Normal(0.0, x.abs()).log_prob(x))(x)
    same(found, flambeau.distributions.Normal(0.0, x.abs()).log_prob(x))
    with pytest.raises(ValueError, match="scale"):
        func.vmap(lambda x: flambeau.distributions.Normal(0.0, x).log_prob(x))(x)
    with pytest.raises(flambeau.linalg.LinAlgError):
        func.vmap(flambeau.linalg.inv)(flambeau.stack([flambeau.eye(2), flambeau.zeros(2, 2)]))


def test_threads() -> None:
    program = """
from threading import Thread
import flambeau
from flambeau.func import grad, vmap

x, found = flambeau.randn(4, 3), []
threads = [Thread(target=lambda: found.append(vmap(grad(lambda x: (x**3).sum()))(x))) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert len(found) == 3 and all(flambeau.allclose(each, 3 * x**2) for each in found)
"""
    subprocess.run(
        [sys.executable, "-c", program], check=True, timeout=60
    )  # since the native code is not for processes with several threads


def test_histories_of_what_is_the_same_for_all_stay_where_they_belong() -> None:
    x, w = flambeau.randn(3, 4), flambeau.randn(4)
    loss = lambda w, x: ((w * 2).sin() * x).sum() ** 2
    found = func.vmap(func.grad(loss), in_dims=(None, 0))(w, x)
    assert not found.requires_grad and not func.vmap(func.hessian(loss), in_dims=(None, 0))(w, x).requires_grad
    same(found, flambeau.stack([func.grad(loss)(w, row) for row in x]), rtol=1e-4)
    outer = func.grad(lambda w: (func.vmap(func.grad(loss), in_dims=(None, 0))(w, x) ** 2).sum())(w)
    looped = func.grad(lambda w: sum((func.grad(loss)(w, row) ** 2).sum() for row in x))(w)
    same(outer, looped, rtol=1e-4, atol=1e-4)
    nested = func.vmap(lambda y: func.vmap(func.grad(lambda w, x: loss(w, x) * y), in_dims=(None, 0))(w, x))(x[:, 0])
    assert not nested.requires_grad
    same(nested, found * x[:, 0].reshape(3, 1, 1), rtol=1e-4)


def test_samples_can_be_looked_at() -> None:
    seen = []

    def inner(x: flambeau.Tensor, y: flambeau.Tensor) -> flambeau.Tensor:
        z = x * 2 + y
        seen.extend([func.debug_unwrap(z), func.debug_unwrap(z, recurse=False), func.debug_unwrap(y), func.debug_unwrap(c)])
        return z.sum()

    c = flambeau.ones(2)
    a, b = flambeau.arange(12.0).reshape(2, 3, 2), flambeau.arange(4.0).reshape(2, 2)
    func.vmap(func.vmap(inner, in_dims=(0, None)))(a, b)
    assert flambeau.equal(seen[0], a * 2 + b[:, None]) and flambeau.equal(seen[2], b) and seen[3] is c
    assert seen[1].shape == (3, 2)
    assert func.debug_unwrap(c) is c
