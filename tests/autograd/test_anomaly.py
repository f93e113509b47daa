"""Anomaly detection names the forward call that made a gradient NaN or made backward fail."""

from __future__ import annotations

import pytest

import flambeau
from flambeau.autograd import detect_anomaly, set_detect_anomaly


def test_the_call_that_made_nan_is_named() -> None:
    x = flambeau.tensor([0.0, 1.0], requires_grad=True)
    with detect_anomaly():
        y = x.sqrt()
        line = test_the_call_that_made_nan_is_named.__code__.co_firstlineno + 3
        with pytest.raises(RuntimeError, match=rf"SqrtBackward0.* returned nan values.*test_anomaly\.py:{line}"):
            (y * flambeau.tensor([0.0, 1.0])).sum().backward()


def test_without_it_nan_passes() -> None:
    x = flambeau.tensor([0.0, 1.0], requires_grad=True)
    (x.sqrt() * flambeau.tensor([0.0, 1.0])).sum().backward()
    assert x.grad.isnan().tolist() == [True, False]


def test_check_nan_can_be_switched_off() -> None:
    x = flambeau.tensor([0.0], requires_grad=True)
    with detect_anomaly(check_nan=False):
        (x.sqrt() * 0.0).sum().backward()
    assert x.grad.isnan().all()


def test_the_mode_ends_with_the_block() -> None:
    from flambeau._ops.registry import ANOMALY

    with set_detect_anomaly(True):
        assert ANOMALY.enabled
    assert not ANOMALY.enabled


def test_a_backward_that_fails_warns_of_the_forward_call() -> None:
    class Fails(flambeau.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            raise ValueError("no gradient today")

    x = flambeau.ones(2, requires_grad=True)
    with detect_anomaly(), pytest.warns(UserWarning, match="FailsBackward"), pytest.raises(ValueError, match="no gradient today"):
        Fails.apply(x).sum().backward()
