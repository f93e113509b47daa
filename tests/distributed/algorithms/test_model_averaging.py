"""Parameters that are averaged now and then."""

from __future__ import annotations

from collections import OrderedDict

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.distributed.algorithms.model_averaging import averagers, utils
from flambeau.distributed.algorithms.model_averaging.hierarchical_model_averager import HierarchicalModelAverager
from flambeau.distributed.optim import PostLocalSGDOptimizer
from tests.distributed.jobs import run


def _parameter(value):
    made = nn.Parameter(torch.full((3,), float(value)))
    made.grad = torch.ones(3)
    return made


def _periodic(rank):
    averager = averagers.PeriodicModelAverager(period=2, warmup_steps=1)
    without = nn.Parameter(torch.full((2,), float(rank)))
    double = nn.Parameter(torch.full((2,), float(rank), dtype=torch.float64))
    double.grad = torch.ones_like(double)
    for step in range(5):
        parameter = _parameter(rank * 4)
        averager.average_parameters([{"params": [parameter, without]}, {"params": [double]}])
        assert parameter[0].item() == (2.0 if step in (1, 3) else rank * 4)
    assert without[0].item() == rank and double[0].item() == 0.5 and averager.step == 5
    optimizer = PostLocalSGDOptimizer(torch.optim.SGD([_parameter(rank * 4)], lr=1.0), averagers.PeriodicModelAverager(2))
    for wanted in (1.0, 0.0, -1.0):  # averaged in steps 0 and 2
        optimizer.step()
        assert optimizer.param_groups[0]["params"][0][0].item() == wanted
    saved = optimizer.state_dict()
    assert saved["step"] == 3 and optimizer.defaults["lr"] == 1.0
    optimizer.averager.step = 9
    optimizer.load_state_dict(saved)
    assert optimizer.averager.step == 3
    with pytest.warns(UserWarning, match="does not contain a step counter"):
        optimizer.load_state_dict({name: value for name, value in saved.items() if name != "step"})
    assert optimizer.averager.step == 0
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    optimizer.step()
    scheduler.step()
    assert optimizer.optim.param_groups[0]["lr"] == pytest.approx(0.1)
    with pytest.raises(ValueError, match="must be a positive value, but is 0"):
        averagers.PeriodicModelAverager(0)
    with pytest.raises(NotImplementedError, match="not supported"):
        utils.get_params_to_average([3])


def test_periodic():
    run(_periodic)


def _hierarchical(rank):
    averager = HierarchicalModelAverager(OrderedDict([(2, 2), (4, 4)]), warmup_steps=1)
    means = {2: 0.5 if rank < 2 else 2.5, 4: 1.5, 6: 0.5 if rank < 2 else 2.5}
    for step in range(7):
        parameter = _parameter(rank)
        averager.average_parameters([parameter])
        assert parameter[0].item() == means.get(step, rank)
    for wrong, message in (
        ({4: 2, 2: 4}, "periods in arg .* ascending order"), ({1: 2, 2: 2}, "group sizes .* ascending order"), ({2: 2}, "must be equal to the size"),
        ({2: 2, 5: 4}, "multiple of the one before"), ({}, "must not be empty"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            HierarchicalModelAverager(OrderedDict(wrong))


def test_hierarchical():
    run(_hierarchical, 4)
