"""Schedulers: rates by formula, checks and warnings."""

from __future__ import annotations

import math

import pytest

import flambeau
from flambeau import nn, optim
from flambeau.optim import lr_scheduler as schedulers


def sgd(lr=1.0, **options):
    return optim.SGD([nn.Parameter(flambeau.ones(1))], lr=lr, **options)


def rates(optimizer, scheduler, steps):
    found = [scheduler.get_last_lr()[0]]
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        found.append(scheduler.get_last_lr()[0])
    return found


@pytest.mark.parametrize(
    ("make", "formula"),
    [
        (lambda o: schedulers.StepLR(o, 3, 0.5), lambda t: 0.5 ** (t // 3)),
        (lambda o: schedulers.MultiStepLR(o, [2, 5], 0.1), lambda t: 0.1 ** ((t >= 2) + (t >= 5))),
        (lambda o: schedulers.ConstantLR(o, 0.5, 4), lambda t: 0.5 if t < 4 else 1.0),
        (lambda o: schedulers.LinearLR(o, 0.5, 1.0, 4), lambda t: 0.5 + 0.5 * min(t, 4) / 4),
        (lambda o: schedulers.ExponentialLR(o, 0.9), lambda t: 0.9**t),
        (lambda o: schedulers.PolynomialLR(o, 6, 2.0), lambda t: (1 - min(t, 6) / 6) ** 2),
        (lambda o: schedulers.CosineAnnealingLR(o, 4), lambda t: (1 + math.cos(math.pi * t / 4)) / 2),
        (lambda o: schedulers.CosineAnnealingWarmRestarts(o, 4), lambda t: (1 + math.cos(math.pi * (t % 4) / 4)) / 2),
        (lambda o: schedulers.LambdaLR(o, lambda t: 1 / (t + 1)), lambda t: 1 / (t + 1)),
        (lambda o: schedulers.CyclicLR(o, 0.0, 1.0, 2, cycle_momentum=False), lambda t: abs((t + 2) % 4 - 2) / 2),
    ],
)
def test_formulas(make, formula):
    optimizer = sgd()
    assert rates(optimizer, make(optimizer), 9) == pytest.approx([formula(t) for t in range(10)], abs=1e-12)


def test_one_cycle_moves_the_momentum_the_other_way():
    optimizer = sgd(momentum=0.9)
    scheduler = schedulers.OneCycleLR(optimizer, 1.0, total_steps=10)
    assert optimizer.param_groups[0]["momentum"] == 0.95 and scheduler.get_last_lr() == [pytest.approx(0.04)]
    found = rates(optimizer, scheduler, 9)
    assert max(found) == pytest.approx(1.0) and found[-1] == pytest.approx(0.04 / 1e4)
    optimizer.step()
    scheduler.step()
    optimizer.step()
    with pytest.raises(ValueError, match=r"Tried to step 11 times. The specified number of total steps is 10"):
        scheduler.step()


def test_beta1_counts_as_momentum():
    optimizer = optim.Adam([nn.Parameter(flambeau.ones(1))])
    schedulers.OneCycleLR(optimizer, 1.0, total_steps=10)
    assert optimizer.param_groups[0]["betas"] == (0.95, 0.999)


def test_sequence():
    optimizer = sgd()
    warm_up = schedulers.ConstantLR(optimizer, 0.5, 2)
    scheduler = schedulers.SequentialLR(optimizer, [warm_up, schedulers.ExponentialLR(optimizer, 0.5)], [2])
    assert rates(optimizer, scheduler, 4) == [0.5, 0.5, 1.0, 0.5, 0.25]


def test_chain():
    optimizer = sgd()
    scheduler = schedulers.ChainedScheduler([schedulers.ExponentialLR(optimizer, 0.5), schedulers.StepLR(optimizer, 2, 0.1)])
    assert rates(optimizer, scheduler, 2) == pytest.approx([1.0, 0.5, 0.025])


def test_plateau():
    optimizer = sgd()
    scheduler = schedulers.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=1)
    found = []
    for metric in (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0):
        scheduler.step(metric)
        found.append(scheduler.get_last_lr()[0])
    assert found == [1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_resuming():
    optimizer = sgd()
    with pytest.raises(KeyError, match=r"'initial_lr' is not specified in param_groups\[0\]"):
        schedulers.StepLR(optimizer, 2, last_epoch=3)
    optimizer.param_groups[0]["initial_lr"] = 1.0
    assert schedulers.StepLR(optimizer, 2, last_epoch=3).last_epoch == 4


def test_state_of_callable_objects():
    class Halving:
        def __init__(self, base):
            self.base = base

        def __call__(self, epoch):
            return self.base**epoch

    optimizer = sgd()
    state = schedulers.LambdaLR(optimizer, Halving(0.5)).state_dict()
    assert state["lr_lambdas"] == [{"base": 0.5}]
    other = schedulers.LambdaLR(optimizer, Halving(0.1))
    other.load_state_dict(state)
    assert other.lr_lambdas[0].base == 0.5
    assert schedulers.LambdaLR(optimizer, lambda epoch: 1.0).state_dict()["lr_lambdas"] == [None]


def test_order_of_steps():
    scheduler = schedulers.StepLR(sgd(), 2)
    with pytest.warns(UserWarning, match=r"`lr_scheduler.step\(\)` before `optimizer.step\(\)`"):
        scheduler.step()
    with pytest.warns(UserWarning, match=r"please use `get_last_lr\(\)`"):
        scheduler.get_lr()


def test_an_own_scheduler():
    class Halving(schedulers.LRScheduler):
        def get_lr(self):
            return [group["lr"] / 2 for group in self.optimizer.param_groups]

    optimizer = sgd()
    assert rates(optimizer, Halving(optimizer), 2) == [0.5, 0.25, 0.125]


@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        (lambda: schedulers.StepLR(3, 1), TypeError, "int is not an Optimizer"),
        (lambda: schedulers.LambdaLR(sgd(), [abs, abs]), ValueError, "Expected 1 lr_lambdas, but got 2"),
        (lambda: schedulers.LambdaLR(sgd(), 3), TypeError, "lr_lambda should be a function, but got int"),
        (lambda: schedulers.ConstantLR(sgd(), 2.0), ValueError, "between 0 and 1, got 2.0"),
        (lambda: schedulers.LinearLR(sgd(), 0.0), ValueError, "greater than 0 and less or equal to 1, got 0.0"),
        (lambda: schedulers.CosineAnnealingWarmRestarts(sgd(), 0), ValueError, "Expected positive integer T_0, but got 0"),
        (lambda: schedulers.CyclicLR(sgd(), 0.1, 1.0, mode="x"), ValueError, "mode is invalid and scale_fn is None"),
        (
            lambda: schedulers.CyclicLR(optim.Adagrad([nn.Parameter(flambeau.ones(1))]), 0.1, 1.0),
            ValueError,
            "must support momentum or beta1",
        ),
        (lambda: schedulers.OneCycleLR(sgd(), 1.0), ValueError, "either total_steps OR"),
        (lambda: schedulers.OneCycleLR(sgd(), 1.0, total_steps=0), ValueError, "Expected positive integer total_steps, but got 0"),
        (lambda: schedulers.OneCycleLR(sgd(), [1.0, 2.0], total_steps=5), ValueError, "max_lr has 2 values, param_groups has 1"),
        (lambda: schedulers.SequentialLR(sgd(), [], []), ValueError, "expects at least one scheduler"),
        (lambda: schedulers.ReduceLROnPlateau(sgd(), factor=1.0), ValueError, "Factor should be < 1.0, got 1.0"),
        (lambda: schedulers.ReduceLROnPlateau(sgd(), mode="x"), ValueError, "mode x is unknown"),
    ],
)
def test_errors(act, error, text):
    with pytest.raises(error, match=text):
        act()


def test_combinations_are_checked():
    optimizer, other = sgd(), sgd()
    step = schedulers.StepLR(optimizer, 1)
    with pytest.raises(ValueError, match="expects all schedulers to belong to the same optimizer"):
        schedulers.ChainedScheduler([step, schedulers.StepLR(other, 1)])
    with pytest.raises(ValueError, match="does not support `ReduceLROnPlateau`"):
        schedulers.SequentialLR(optimizer, [step, schedulers.ReduceLROnPlateau(optimizer)], [1])
    with pytest.raises(ValueError, match="number of schedulers 1 and the number of milestones to be equal to 2"):
        schedulers.SequentialLR(optimizer, [step], [1, 2])
