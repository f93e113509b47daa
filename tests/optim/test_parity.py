"""Optimizers and schedulers take PyTorch's steps."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(0)
START = [RNG.normal(size=(4, 3)), RNG.normal(size=5)]
FACTOR = RNG.normal(size=(4, 3))

CASES = [
    ("SGD", {}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.01, "momentum": 0.5, "dampening": 0.3, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.1}),
    ("AdamW", {"amsgrad": True, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2}),
    ("Adadelta", {"weight_decay": 0.1, "lr": 0.5}),
    ("Adamax", {"weight_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"weight_decay": 0.1, "lr": 0.1}),
    ("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("ASGD", {"t0": 3, "weight_decay": 0.1, "lr": 0.01}),
    ("Rprop", {"lr": 0.1}),
    ("Adafactor", {"weight_decay": 0.1}),
    ("LBFGS", {"max_iter": 3, "lr": 0.1}),
    ("LBFGS", {"line_search_fn": "strong_wolfe", "max_iter": 4}),
    ("LBFGS", {"max_iter": 5, "history_size": 3, "lr": 0.05}),
]


def trained(package, name, options, dtype, steps=8):
    dtype = getattr(package, dtype)
    parameters = [package.nn.Parameter(package.tensor(values.tolist(), dtype=dtype)) for values in START]
    factor = package.tensor(FACTOR.tolist(), dtype=dtype)
    optimizer = getattr(package.optim, name)(parameters, **options)

    def closure():
        optimizer.zero_grad()
        loss = (parameters[0] * factor).sum() ** 2 / 9 + (parameters[1] ** 2).sum() + (parameters[0] ** 4).sum() / 7
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return parameters, optimizer


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda value: str(value))
def test_optimizer(name, options, dtype):
    mine, optimizer = trained(flambeau, name, options, dtype)
    theirs, expected = trained(torch, name, options, dtype)
    # A line search compares losses, and a last bit may decide.
    loose = name == "LBFGS"
    tolerance = {"rtol": 2e-2, "atol": 2e-2} if loose else {"rtol": 1e-5, "atol": 1e-6}
    for parameter, other in zip(mine, theirs):
        np.testing.assert_allclose(parameter.detach().numpy(), other.detach().numpy(), **tolerance)
    assert repr(optimizer) == repr(expected)
    state, their_state = optimizer.state_dict(), expected.state_dict()
    assert list(state["param_groups"][0]) == list(their_state["param_groups"][0])
    if name == "LBFGS":
        return
    assert list(state["state"]) == list(their_state["state"])
    for number, values in their_state["state"].items():
        assert list(state["state"][number]) == list(values)
        for key, value in values.items():
            found = state["state"][number][key]
            if isinstance(value, torch.Tensor):
                assert str(found.dtype).partition(".")[2] == str(value.dtype).partition(".")[2]
                np.testing.assert_allclose(found.numpy(), value.numpy(), rtol=1e-4, atol=1e-6)
            else:
                assert found == value


@pytest.mark.parametrize("options", [{}, {"nesterov": False, "adjust_lr_fn": "match_rms_adamw", "lr": 0.1}])
def test_muon(options):
    results = []
    for package in (flambeau, torch):
        matrix = package.nn.Parameter(package.tensor(START[0].tolist()))
        optimizer = package.optim.Muon([matrix], **options)
        for _ in range(4):
            optimizer.zero_grad()
            (matrix**4).sum().backward()
            optimizer.step()
        results.append(matrix.detach().numpy())
        assert list(optimizer.state_dict()["state"][0]) == ["momentum_buffer"]
    np.testing.assert_allclose(*results, atol=1e-2)


SCHEDULERS = {
    "LambdaLR": lambda m, o: m.LambdaLR(o, lambda epoch: 0.9**epoch),
    "LambdaLR/groups": lambda m, o: m.LambdaLR(o, [lambda epoch: 0.9**epoch, lambda epoch: 1 / (epoch + 1)]),
    "MultiplicativeLR": lambda m, o: m.MultiplicativeLR(o, lambda epoch: 0.95),
    "StepLR": lambda m, o: m.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda m, o: m.MultiStepLR(o, [2, 5, 5, 9], 0.5),
    "ConstantLR": lambda m, o: m.ConstantLR(o, 0.4, 4),
    "LinearLR": lambda m, o: m.LinearLR(o, 0.3, 0.8, 6),
    "ExponentialLR": lambda m, o: m.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda m, o: m.PolynomialLR(o, 7, 2.0),
    "CosineAnnealingLR": lambda m, o: m.CosineAnnealingLR(o, 5, 0.01),
    "CosineAnnealingWarmRestarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 3, 2, 0.01),
    "CyclicLR": lambda m, o: m.CyclicLR(o, 0.01, 0.2, 3, 4, mode="triangular2"),
    "CyclicLR/exp": lambda m, o: m.CyclicLR(o, [0.01, 0.02], 0.2, 3, mode="exp_range", gamma=0.9),
    "CyclicLR/function": lambda m, o: m.CyclicLR(o, 0.01, 0.2, 3, scale_fn=lambda x: 1 / (x + 1), scale_mode="iterations"),
    "OneCycleLR": lambda m, o: m.OneCycleLR(o, 0.3, total_steps=14),
    "OneCycleLR/three": lambda m, o: m.OneCycleLR(o, [0.3, 0.1], epochs=7, steps_per_epoch=2, three_phase=True, anneal_strategy="linear"),
    "SequentialLR": lambda m, o: m.SequentialLR(o, [m.ConstantLR(o, 0.1, 2), m.ExponentialLR(o, 0.9), m.StepLR(o, 2)], [3, 7]),
    "SequentialLR/warm up": lambda m, o: m.SequentialLR(o, [m.LinearLR(o, 0.1, 1.0, 4), m.CosineAnnealingLR(o, 8)], [4]),
    "ChainedScheduler": lambda m, o: m.ChainedScheduler([m.ConstantLR(o, 0.1, 4), m.ExponentialLR(o, 0.9)]),
}


def optimizers():
    for package in (flambeau, torch):
        groups = [{"params": [package.nn.Parameter(package.ones(2))], "lr": lr} for lr in (0.1, 0.05)]
        yield package, package.optim.SGD(groups, lr=0.1, momentum=0.9)


def plain(state):
    """A scheduler's state without what cannot be compared."""
    if isinstance(state, dict):
        return {str(key): plain(value) for key, value in state.items() if key != "_scale_fn_custom"}
    if isinstance(state, (list, tuple)):
        return [plain(value) for value in state]
    return state


@pytest.mark.parametrize("name", SCHEDULERS)
def test_scheduler(name):
    histories, states = [], []
    for package, optimizer in optimizers():
        scheduler = SCHEDULERS[name](package.optim.lr_scheduler, optimizer)
        history = [scheduler.get_last_lr()]
        for step in range(13):
            if step == 6:  # a new scheduler goes on from the saved state
                saved, saved_optimizer = scheduler.state_dict(), optimizer.state_dict()
                scheduler = SCHEDULERS[name](package.optim.lr_scheduler, optimizer)
                optimizer.load_state_dict(saved_optimizer)
                scheduler.load_state_dict(saved)
            optimizer.step()
            scheduler.step()
            history.append((scheduler.get_last_lr(), [group["momentum"] for group in optimizer.param_groups]))
        histories.append(history)
        states.append(plain(scheduler.state_dict()))
    assert histories[0] == histories[1]
    assert states[0] == states[1]


@pytest.mark.parametrize("options", [{}, {"mode": "max", "threshold_mode": "abs"}, {"patience": 1, "cooldown": 2, "min_lr": [0.01, 0.02]}])
def test_reduce_on_plateau(options):
    metrics = [3.0, 2.0, 2.0, 1.99999, 2.5, 2.5, 2.5, 1.0, 1.0, 1.0, 1.0, 1.0]
    histories, states = [], []
    for package, optimizer in optimizers():
        scheduler = package.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **{"patience": 2, **options})
        history = []
        for metric in metrics:
            scheduler.step(package.tensor(metric))
            history.append(scheduler.get_last_lr())
        histories.append(history)
        states.append(plain(scheduler.state_dict()))
    assert histories[0] == histories[1]
    assert states[0] == states[1]


@pytest.mark.parametrize("name", ["StepLR", "MultiStepLR", "LinearLR", "PolynomialLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts"])
def test_closed_form(name):
    histories = []
    for package, optimizer in optimizers():
        scheduler = SCHEDULERS[name](package.optim.lr_scheduler, optimizer)
        history = []
        for epoch in (3, 1, 9):
            scheduler.step(epoch)
            history.append(scheduler.get_last_lr())
        histories.append(history)
    assert histories[0] == histories[1]
