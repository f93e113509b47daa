"""Checkpoints give the gradients of the plain call, and draw the same random numbers again."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau.utils.checkpoint import (
    CheckpointError,
    CheckpointFunction,
    check_backward_validity,
    checkpoint,
    checkpoint_sequential,
    detach_variable,
    get_device_states,
    set_checkpoint_early_stop,
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
        return (x * scale).exp(), x.detach()

    x = flambeau.ones(2, requires_grad=True)
    product, plain = checkpoint(function, x, scale=3.0, use_reentrant=False)
    assert calls == [3.0] and product.requires_grad and not plain.requires_grad
    np.testing.assert_allclose(flambeau.autograd.grad(product.sum(), x)[0].numpy(), np.full(2, 3 * np.exp(3)), rtol=1e-6)
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


def twice(first: object, second: object, **options: object) -> flambeau.Tensor:
    """The gradient through a checkpoint whose function does something else the second time."""
    calls: list[int] = []

    def function(x: flambeau.Tensor) -> flambeau.Tensor:
        calls.append(1)
        return (first if len(calls) == 1 else second)(x)

    x = flambeau.full((3,), 0.5, requires_grad=True)
    checkpoint(function, x, use_reentrant=False, **options).sum().backward()
    return x.grad


def test_a_second_computation_that_saves_something_else_is_an_error() -> None:
    sine = flambeau.sin
    with pytest.raises(CheckpointError, match=r"(?s)different number.*during forward: 2\n.*recomputation: 1"):
        twice(lambda x: x.sin().exp(), sine)
    with pytest.raises(CheckpointError, match=r"(?s)position 0:.*'shape': \[3\], .*\n.*'shape': \[2\]"):
        twice(sine, lambda x: x[:2].sin())
    with pytest.raises(CheckpointError, match=r"(?s)'dtype': torch.float32.*'dtype': torch.float64"):
        twice(sine, lambda x: x.double().sin())

    np.testing.assert_allclose(twice(sine, lambda x: x.sin().exp()).numpy(), np.cos(np.full(3, 0.5)), rtol=1e-6)
    with pytest.raises(CheckpointError, match="different number"):
        twice(sine, lambda x: x.sin().exp(), early_stop=False)
    with pytest.raises(CheckpointError, match="different number"), set_checkpoint_early_stop(False):
        twice(sine, lambda x: x.sin().exp())
    np.testing.assert_allclose(
        twice(sine, lambda x: (x.double() * 2).sin(), determinism_check="none").numpy(), np.cos(np.ones(3)), rtol=1e-6
    )
    with pytest.raises(ValueError, match="determinism_check should be one of"):
        twice(sine, sine, determinism_check="perhaps")


def test_tensors_that_functions_refer_to_have_their_gradients_and_hooks_once() -> None:
    weight, x = flambeau.full((3,), 0.5, requires_grad=True), flambeau.ones(3, requires_grad=True)
    hidden = weight.exp()
    hidden.retain_grad()
    calls: list[int] = []
    hidden.register_hook(lambda grad: calls.append(1))
    first = checkpoint(lambda x: (x * hidden).sin(), x, use_reentrant=False)
    second = checkpoint(lambda x: {"cosine": [(x * hidden).cos()]}, x, use_reentrant=False)
    (first + second["cosine"][0]).sum().backward()

    e = np.exp(0.5)
    np.testing.assert_allclose(hidden.grad.numpy(), np.full(3, np.cos(e) - np.sin(e)), rtol=1e-5)
    np.testing.assert_allclose(weight.grad.numpy(), np.full(3, e * (np.cos(e) - np.sin(e))), rtol=1e-5)
    assert calls == [1]


def test_gradients_of_gradients_and_several_passes() -> None:
    x = flambeau.full((3,), 0.5, requires_grad=True)
    loss = checkpoint(lambda x: (x * x).sin(), x, use_reentrant=False).sum()
    (first,) = flambeau.autograd.grad(loss, x, create_graph=True)
    (second,) = flambeau.autograd.grad(first.sum(), x, retain_graph=True)
    (again,) = flambeau.autograd.grad(loss, x)
    np.testing.assert_allclose(second.numpy(), np.full(3, 2 * np.cos(0.25) - 4 * 0.25 * np.sin(0.25)), rtol=1e-6)
    assert flambeau.equal(first, again)
    with pytest.raises(RuntimeError, match="a second time"):
        loss.backward()


def test_what_a_checkpoint_is_given_must_not_change() -> None:
    x, factor = flambeau.ones(3, requires_grad=True), flambeau.ones(3)
    y = checkpoint(lambda x, factor: (x * factor).exp(), x, factor, use_reentrant=False)
    factor.mul_(3)
    with pytest.raises(RuntimeError, match=r"has been modified by an inplace operation: a torch.float32 tensor of shape \[3\], given to a"):
        y.sum().backward()


def test_checkpoints_within_checkpoints() -> None:
    calls: list[str] = []

    def inner(x: flambeau.Tensor) -> flambeau.Tensor:
        calls.append("inner")
        return x.sin().exp()

    def outer(x: flambeau.Tensor) -> flambeau.Tensor:
        calls.append("outer")
        return checkpoint(inner, x.cos(), use_reentrant=False) * x

    x = flambeau.full((3,), 0.5, requires_grad=True)
    checkpoint(outer, x, use_reentrant=False).sum().backward()
    plain = flambeau.full((3,), 0.5, requires_grad=True)
    (plain.cos().sin().exp() * plain).sum().backward()
    assert flambeau.equal(x.grad, plain.grad) and calls == ["outer", "inner", "outer", "inner", "inner"]


def test_the_function_that_others_build_on() -> None:
    x, expected = flambeau.tensor(0.3, requires_grad=True), flambeau.tensor(0.3, requires_grad=True)
    CheckpointFunction.apply(lambda x: x.sin().exp(), True, x).backward()
    expected.sin().exp().backward()
    assert x.grad == expected.grad
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        check_backward_validity([flambeau.ones(2), 3])
