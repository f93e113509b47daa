"""What all optimizers share: groups, state, hooks, checks; and that a step never reads what is recorded."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest

import flambeau
from flambeau import nn, optim
from flambeau.optim.optimizer import register_optimizer_step_post_hook


def parameter(*values):
    return nn.Parameter(flambeau.tensor(values or (1.0, 2.0)))


def step(optimizer):
    optimizer.zero_grad()
    sum((p * p).sum() for group in optimizer.param_groups for p in group["params"]).backward()
    optimizer.step()


def test_sgd_by_hand():
    p = parameter(1.0)
    optimizer = optim.SGD([p], lr=0.1, momentum=0.5)
    step(optimizer)
    assert p.item() == pytest.approx(0.8)
    step(optimizer)  # buffer = 0.5 * 2 + 1.6
    assert p.item() == pytest.approx(0.8 - 0.1 * 2.6)


def test_adamw_by_hand():
    p = parameter(1.0)
    step(optim.AdamW([p], lr=0.1, weight_decay=0.5))
    assert p.item() == pytest.approx(1.0 * (1 - 0.05) - 0.1, rel=1e-5)


def test_groups_and_names():
    a, b = parameter(), parameter()
    optimizer = optim.SGD([{"params": a}, {"params": [b], "lr": 1.0}], lr=0.1, momentum=0.9)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 1.0]
    optimizer.add_param_group({"params": [parameter()], "momentum": 0.0})
    assert optimizer.param_groups[2]["momentum"] == 0.0 and optimizer.param_groups[2]["lr"] == 0.1
    named = optim.SGD(nn.Linear(1, 1).named_parameters(), lr=0.1)
    assert named.param_groups[0]["param_names"] == ["weight", "bias"]
    assert named.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]


def test_repr():
    text = repr(optim.SGD([parameter()], lr=0.1))
    assert text == (
        "SGD (\nParameter Group 0\n    dampening: 0\n    differentiable: False\n    foreach: None\n    fused: None\n    lr: 0.1\n"
        "    maximize: False\n    momentum: 0\n    nesterov: False\n    weight_decay: 0\n)"
    )


@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        (lambda: optim.SGD([], lr=0.1), ValueError, "optimizer got an empty parameter list"),
        (lambda: optim.SGD(parameter(), lr=0.1), TypeError, "should be an iterable of Tensors or dicts"),
        (lambda: optim.SGD([3], lr=0.1), TypeError, "can only optimize Tensors, but one of the params is int"),
        (lambda: optim.SGD([parameter() * 2], lr=0.1), ValueError, "can't optimize a non-leaf Tensor"),
        (lambda: optim.SGD([{"params": {parameter()}}], lr=0.1), TypeError, "ordered collections"),
        (lambda: optim.SGD([parameter()], lr=-1.0), ValueError, "Invalid learning rate: -1.0"),
        (lambda: optim.SGD([parameter()], momentum=-1.0), ValueError, "Invalid momentum value: -1.0"),
        (lambda: optim.SGD([parameter()], nesterov=True), ValueError, "Nesterov momentum requires a momentum"),
        (lambda: optim.Adam([parameter()], betas=(0.9, 1.0)), ValueError, "Invalid beta parameter at index 1: 1.0"),
        (lambda: optim.Adam([parameter()], fused=True, foreach=True), RuntimeError, "cannot be `True` together"),
        (lambda: optim.Rprop([parameter()], etas=(1.2, 0.5)), ValueError, "Invalid eta values: 1.2, 0.5"),
        (lambda: optim.LBFGS([{"params": [parameter()]}, {"params": [parameter()]}]), ValueError, "per-parameter options"),
        (lambda: optim.SGD([("a", parameter()), parameter()]), ValueError, "Some param names are missing"),
        (lambda: optim.Optimizer([parameter()], {}).step(), NotImplementedError, r"does not define step\(\)"),
    ],
)
def test_errors(act, error, text):
    with pytest.raises(error, match=text):
        act()


def test_a_parameter_belongs_to_one_group():
    p = parameter()
    with pytest.raises(ValueError, match="appear in more than one parameter group"):
        optim.SGD([{"params": [p]}, {"params": [p]}], lr=0.1)
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optim.SGD([p, p], lr=0.1)


def test_parameters_without_gradients_stay():
    a, b = parameter(), parameter()
    optimizer = optim.Adam([a, b])
    (a * a).sum().backward()
    optimizer.step()
    assert b.tolist() == [1.0, 2.0] and b not in optimizer.state


def test_closure():
    p = parameter(3.0)
    optimizer = optim.SGD([p], lr=0.1)

    def closure():
        assert flambeau.is_grad_enabled()
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with flambeau.no_grad():
        assert optimizer.step(closure).item() == 9.0
    assert p.item() == pytest.approx(2.4)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "ASGD", "Rprop"])
def test_state_dict_goes_on(name):
    """Ten steps, or five, a checkpoint through pickle, and five more: the same numbers."""
    options = {"momentum": 0.9, "lr": 0.01} if name == "SGD" else {}
    straight, broken = parameter(1.0, -2.0), parameter(1.0, -2.0)
    optimizer = getattr(optim, name)([straight], **options)
    for _ in range(10):
        step(optimizer)
    optimizer = getattr(optim, name)([broken], **options)
    for _ in range(5):
        step(optimizer)
    state = pickle.loads(pickle.dumps(optimizer.state_dict()))
    optimizer = getattr(optim, name)([broken], **options)
    optimizer.load_state_dict(state)
    for _ in range(5):
        step(optimizer)
    assert broken.tolist() == straight.tolist()


def test_step_counts_are_tensors_that_nobody_reads():
    p, q = parameter(), parameter()
    optimizer = optim.Adam([p, q])
    for expected in (1.0, 2.0, 3.0):
        step(optimizer)
        assert optimizer.state[p]["step"].item() == expected
        assert optimizer.state[p]["step"] is optimizer.state[q]["step"]
    optimizer.state[p]["step"] = flambeau.tensor(9.0)
    step(optimizer)
    assert optimizer.state[p]["step"].item() == 10.0 and optimizer.state[q]["step"].item() == 4.0
    optimizer.state[p]["step"].add_(5)
    step(optimizer)
    assert optimizer.state[p]["step"].item() == 16.0


def test_loading_checks_the_groups():
    optimizer = optim.SGD([parameter()], lr=0.1)
    state = optim.SGD([parameter(), parameter()], lr=0.1).state_dict()
    with pytest.raises(ValueError, match="group 0 has 2 parameters instead of 1"):
        optimizer.load_state_dict(state)
    state["param_groups"] = []
    with pytest.raises(ValueError, match="different number of parameter groups"):
        optimizer.load_state_dict(state)


def test_loaded_state_takes_the_parameters_dtype():
    p = parameter()
    optimizer = optim.Adam([p])
    step(optimizer)
    other = nn.Parameter(p.detach().double())
    loaded = optim.Adam([other])
    loaded.load_state_dict(optimizer.state_dict())
    assert loaded.state[other]["exp_avg"].dtype == flambeau.float64
    assert loaded.state[other]["step"].dtype == flambeau.float32


def test_copies_go_their_own_way():
    p = parameter()
    optimizer = optim.Adam([p])
    step(optimizer)
    other = copy.deepcopy(optimizer)
    step(other)
    assert optimizer.state[p]["step"].item() == 1.0
    copied = other.param_groups[0]["params"][0]
    assert copied is not p and other.state[copied]["step"].item() == 2.0


def test_step_hooks():
    p, seen = parameter(), []
    optimizer = optim.SGD([p], lr=0.1)
    optimizer.register_step_pre_hook(lambda opt, args, kwargs: seen.append("before"))
    handle = optimizer.register_step_post_hook(lambda opt, args, kwargs: seen.append("after"))
    with register_optimizer_step_post_hook(lambda opt, args, kwargs: seen.append("everywhere")):
        step(optimizer)
    handle.remove()
    step(optimizer)
    assert seen == ["before", "after", "everywhere", "before"]


def test_state_dict_hooks():
    optimizer = optim.SGD([parameter()], lr=0.1)
    optimizer.register_state_dict_post_hook(lambda opt, state: {**state, "extra": 1})
    optimizer.register_load_state_dict_pre_hook(lambda opt, state: {k: v for k, v in state.items() if k != "extra"})
    state = optimizer.state_dict()
    assert state["extra"] == 1
    state["param_groups"][0]["lr"] = 5.0
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 5.0


def test_a_step_of_a_base_class_runs_hooks_once():
    class Doubling(optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            return super().step(closure)

    p, seen = parameter(1.0), []
    optimizer = Doubling([p], lr=0.25)
    optimizer.register_step_post_hook(lambda *args: seen.append(1))
    step(optimizer)
    assert p.item() == 0.0 and seen == [1]


def test_a_tensor_as_learning_rate():
    p = parameter(1.0)
    optimizer = optim.SGD([p], lr=flambeau.tensor(0.25))
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    step(optimizer)
    scheduler.step()
    assert p.item() == 0.5 and optimizer.param_groups[0]["lr"].item() == 0.125


def test_differentiable():
    """The gradient of a step's result with respect to the parameter it began with."""
    start = flambeau.tensor([1.0, 2.0], requires_grad=True)
    moved = start.clone()
    optimizer = optim.SGD([moved], lr=0.25, differentiable=True)
    moved.grad = (2 * start).detach()
    optimizer.step()
    moved.sum().backward()
    assert start.grad.tolist() == [1.0, 1.0]


def test_zero_grad():
    p = parameter()
    optimizer = optim.SGD([p], lr=0.1)
    (p * p).sum().backward()
    gradient = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is gradient and not bool(gradient.any())
    optimizer.zero_grad()
    assert p.grad is None


def test_complex_parameters():
    p = nn.Parameter(flambeau.tensor([1.0 + 2.0j]))
    optimizer = optim.Adam([p], lr=0.1)
    (p.real**2 + p.imag**2).sum().backward()
    optimizer.step()
    assert p.item() == pytest.approx(0.9 + 1.9j, rel=1e-5)
    assert optimizer.state[p]["exp_avg"].is_complex()


def test_momentum_begins_as_the_gradient_with_the_signs_of_its_zeros():
    p = nn.Parameter(flambeau.ones(4))
    optimizer = optim.SGD([p], lr=0.5, momentum=0.9)
    p.grad = flambeau.tensor([0.0, -0.0, 1.5, -flambeau.inf])
    optimizer.step()
    buffer = optimizer.state[p]["momentum_buffer"]
    assert buffer.view(flambeau.int32).tolist() == p.grad.view(flambeau.int32).tolist()


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW, optim.Adagrad, optim.RMSprop])
def test_settings_that_are_tensors_are_numbers(kind: Any) -> None:
    def stepped(decay: Any) -> list[float]:
        p = nn.Parameter(flambeau.ones(3))
        p.grad = flambeau.full((3,), 0.5)
        optimizer = kind([p], lr=0.1, weight_decay=decay)
        optimizer.step()
        return p.tolist()

    assert stepped(flambeau.tensor(0.25)) == stepped(0.25)


@pytest.mark.parametrize("settings", [{"beta2_decay": math.nan}, {"eps": (math.nan, 1e-3)}, {"eps": (None, math.nan)}, {"d": math.nan}])
def test_adafactor_refuses_what_is_no_number(settings: dict) -> None:
    with pytest.raises(ValueError, match="should be .* but is: nan"):
        optim.Adafactor([nn.Parameter(flambeau.ones(3))], **settings)
