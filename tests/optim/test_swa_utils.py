"""Averages of parameters, and the scheduler that goes with them."""

from __future__ import annotations

import math

import numpy as np
import pytest

import flambeau
from flambeau import nn, optim
from flambeau.optim import swa_utils


def values(module):
    return np.concatenate([p.detach().numpy().ravel() for p in module.parameters()])


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({}, [1 / 3, 1 / 3, 1 / 3]),
        ({"avg_fn": swa_utils.get_swa_avg_fn()}, [1 / 3, 1 / 3, 1 / 3]),
        ({"multi_avg_fn": swa_utils.get_swa_multi_avg_fn()}, [1 / 3, 1 / 3, 1 / 3]),
        ({"avg_fn": swa_utils.get_ema_avg_fn(0.75)}, [9 / 16, 3 / 16, 4 / 16]),
        ({"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.75)}, [9 / 16, 3 / 16, 4 / 16]),
    ],
)
def test_averages(options, weights):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    averaged = swa_utils.AveragedModel(model, **options)
    seen = []
    for _ in weights:
        with flambeau.no_grad():
            for p in model.parameters():
                p.normal_()
            model[1].running_mean.normal_()
        averaged.update_parameters(model)
        seen.append(values(model))
    np.testing.assert_allclose(values(averaged), sum(w * v for w, v in zip(weights, seen, strict=True)), rtol=1e-5, atol=1e-6)
    assert averaged.n_averaged.item() == 3
    assert averaged.module[1].running_mean.tolist() == model[1].running_mean.tolist()
    assert "n_averaged" in averaged.state_dict()


def test_buffers_are_averaged_if_wanted():
    model = nn.BatchNorm1d(2)
    averaged = swa_utils.AveragedModel(model, use_buffers=True, avg_fn=lambda a, p, n: (a + p) / 2)
    averaged.update_parameters(model)
    model.running_mean.fill_(4.0)
    averaged.update_parameters(model)
    assert averaged.module.running_mean.tolist() == [2.0, 2.0]


def test_update_bn():
    flambeau.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(2, momentum=0.3)).eval()
    batches = [flambeau.rand(6, 2) for _ in range(4)]
    swa_utils.update_bn(batches, model)
    expected = np.mean([batch.numpy().mean(0) for batch in batches], axis=0)
    np.testing.assert_allclose(model[0].running_mean.numpy(), expected, rtol=1e-5)
    assert model[0].momentum == 0.3 and not model.training


@pytest.mark.parametrize(("strategy", "shape"), [("linear", lambda t: t), ("cos", lambda t: (1 - math.cos(math.pi * t)) / 2)])
def test_swalr(strategy, shape):
    optimizer = optim.SGD([nn.Parameter(flambeau.ones(1))], lr=1.0)
    scheduler = swa_utils.SWALR(optimizer, 0.2, anneal_epochs=4, anneal_strategy=strategy)
    found = []
    for _ in range(6):
        optimizer.step()
        scheduler.step()
        found.append(scheduler.get_last_lr()[0])
    assert found == pytest.approx([1 + (0.2 - 1) * shape(min(1, t / 4)) for t in range(1, 7)])


@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        (lambda: swa_utils.get_ema_avg_fn(2.0), ValueError, "Invalid decay value 2.0"),
        (lambda: swa_utils.AveragedModel(nn.Identity(), avg_fn=max, multi_avg_fn=max), AssertionError, "Only one of"),
        (lambda: swa_utils.SWALR(optim.SGD([nn.Parameter(flambeau.ones(1))]), 0.1, -1), ValueError, "equal or greater than 0, got -1"),
        (lambda: swa_utils.SWALR(optim.SGD([nn.Parameter(flambeau.ones(1))]), 0.1, 1, "x"), ValueError, "'cos' or 'linear', instead got x"),
    ],
)
def test_errors(act, error, text):
    with pytest.raises(error, match=text):
        act()
