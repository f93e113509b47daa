"""Scaling of losses: gradients are unscaled, steps with overflow skipped, the scale adapts."""

from __future__ import annotations

import pytest

import flambeau
from flambeau.amp import GradScaler


def parts() -> tuple:
    weight = flambeau.nn.Parameter(flambeau.ones(2))
    return weight, flambeau.optim.SGD([weight], lr=0.5)


def test_a_step() -> None:
    weight, optimizer = parts()
    scaler = GradScaler("cpu", init_scale=8.0, growth_interval=1)
    scaler.scale(weight.sum()).backward()
    assert weight.grad.tolist() == [8, 8]
    scaler.unscale_(optimizer)
    assert weight.grad.tolist() == [1, 1]
    scaler.step(optimizer)
    scaler.update()
    assert weight.tolist() == [0.5, 0.5] and scaler.get_scale() == 16


def test_an_overflow_skips_the_step() -> None:
    weight, optimizer = parts()
    scaler = GradScaler("cpu", init_scale=8.0)
    scaler.scale((weight * float("inf")).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert weight.tolist() == [1, 1] and scaler.get_scale() == 4


def test_state_and_misuse() -> None:
    weight, optimizer = parts()
    scaler = GradScaler("cpu", init_scale=8.0)
    with pytest.raises(AssertionError, match="No inf checks"):
        scaler.update()
    scaler.scale([weight.sum()])[0].backward()
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="step\\(\\) has already been called"):
        scaler.step(optimizer)
    scaler.update(3.0)
    other = GradScaler("cpu")
    other.load_state_dict(scaler.state_dict())
    assert other.get_scale() == 3


def test_without_the_device_it_is_disabled() -> None:
    weight, optimizer = parts()
    with pytest.warns(UserWarning, match="cuda is not available"):
        scaler = GradScaler()
    scaler.scale(weight.sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert not scaler.is_enabled() and weight.tolist() == [0.5, 0.5] and scaler.get_scale() == 1 and scaler.state_dict() == {}


def test_a_step_without_gradients_is_refused() -> None:
    _, optimizer = parts()
    with pytest.raises(AssertionError, match="No inf checks were recorded for this optimizer"):
        GradScaler("cpu").step(optimizer)
