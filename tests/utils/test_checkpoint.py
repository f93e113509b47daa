"""Checkpoints give the gradients of the plain call, and draw the same random numbers again."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau.utils.checkpoint import (
    checkpoint,
    checkpoint_sequential,
    detach_variable,
    get_device_states,
    set_device_states,
)


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
    product, plain = checkpoint(function, x, scale=3.0, use_reentrant=False)
    assert calls == [3.0] and product.requires_grad and not plain.requires_grad
    assert flambeau.autograd.grad(product.sum(), x)[0].tolist() == [3, 3]
    assert calls == [3.0, 3.0]


def test_without_gradients_it_is_the_plain_call() -> None:
    with flambeau.no_grad():
        assert checkpoint(lambda x: x + 1, flambeau.ones(1), use_reentrant=False).tolist() == [2]
    with pytest.raises(ValueError, match="too few for 7 segments"):
        checkpoint_sequential(network(), 7, flambeau.ones(1, 4), use_reentrant=False)


def test_a_checkpoint_written_by_hand_finds_its_helpers() -> None:
    x = flambeau.ones(2, requires_grad=True)
    leaf, plain, number = detach_variable((x * 2, flambeau.ones(2), 3))
    assert (leaf.is_leaf, leaf.requires_grad, plain.requires_grad, number) == (True, True, False, 3)
    with pytest.raises(RuntimeError, match="takes a tuple of tensors"):
        detach_variable([x])

    set_device_states(*get_device_states(x))
    with pytest.raises(RuntimeError, match=r"there are no devices \[0\] here"):
        set_device_states([0], [flambeau.get_rng_state()])


def test_the_repetition_is_in_the_region_of_the_call() -> None:
    flambeau.manual_seed(0)
    weight, x = flambeau.randn(64, 64, requires_grad=True), flambeau.randn(8, 64)

    def layer(x: flambeau.Tensor) -> flambeau.Tensor:
        seen.append(flambeau.is_autocast_enabled("cpu"))
        return flambeau.tanh(x @ weight)

    seen: list[bool] = []
    with flambeau.autocast("cpu"):
        y, expected = checkpoint(layer, x, use_reentrant=False), layer(x)
    y.float().sum().backward()

    assert seen == [True, True, True]
    np.testing.assert_array_equal(weight.grad.numpy(), flambeau.autograd.grad(expected.float().sum(), weight)[0].numpy())


def test_what_is_warned_of() -> None:
    x = flambeau.ones(2, requires_grad=True)
    with pytest.warns(UserWarning, match="checkpoint: the use_reentrant parameter should be passed explicitly"):
        checkpoint(flambeau.sin, x)
    with pytest.warns(UserWarning, match="checkpoint_sequential: the use_reentrant parameter") as seen:
        checkpoint_sequential([flambeau.sin, flambeau.cos], 2, x)
    assert len(seen) == 1 and seen[0].filename == __file__
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        checkpoint(flambeau.sin, flambeau.ones(2), use_reentrant=True)
