"""Checkpoints give the gradients of the plain call, and draw the same random numbers again."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau.utils.checkpoint import checkpoint, checkpoint_sequential


def network() -> nn.Sequential:
    flambeau.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3), nn.Tanh(), nn.Linear(3, 2))


def gradients(call: object, needs: bool) -> list[np.ndarray]:
    model = network()
    x = flambeau.ones(5, 4, requires_grad=needs)
    flambeau.manual_seed(1)
    (call(model, x) ** 2).sum().backward()
    return [each.grad.numpy() for each in [*model.parameters(), *([x] if needs else [])]]


@pytest.mark.parametrize("needs", [False, True])
@pytest.mark.parametrize(
    "call",
    [lambda model, x: checkpoint(model, x, use_reentrant=False), lambda model, x: checkpoint_sequential(model, 3, x, use_reentrant=False)],
)
def test_gradients(call: object, needs: bool) -> None:
    for one, other in zip(gradients(call, needs), gradients(lambda model, x: model(x), needs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_function_is_called_again_for_its_gradient() -> None:
    calls = []

    def function(x: flambeau.Tensor, scale: float) -> tuple:
        calls.append(scale)
        return x * scale, x.detach()

    x = flambeau.ones(2, requires_grad=True)
    product, plain = checkpoint(function, x, scale=3.0)
    assert calls == [3.0] and product.requires_grad and not plain.requires_grad
    assert flambeau.autograd.grad(product.sum(), x)[0].tolist() == [3, 3]
    assert calls == [3.0, 3.0]


def test_without_gradients_it_is_the_plain_call() -> None:
    with flambeau.no_grad():
        assert checkpoint(lambda x: x + 1, flambeau.ones(1)).tolist() == [2]
    with pytest.raises(ValueError, match="too few for 7 segments"):
        checkpoint_sequential(network(), 7, flambeau.ones(1, 4))
