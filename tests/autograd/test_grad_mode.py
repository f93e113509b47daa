"""The modes of a thread: gradients off, on, and inference."""

from __future__ import annotations

import pytest

import flambeau


def test_no_grad_records_no_history() -> None:
    x = flambeau.ones(2, requires_grad=True)
    with flambeau.no_grad():
        assert not flambeau.is_grad_enabled()
        y = x * 2
        with flambeau.enable_grad():
            z = x * 2
    assert not y.requires_grad and z.requires_grad and flambeau.is_grad_enabled()


def test_modes_are_decorators_too() -> None:
    @flambeau.no_grad()
    def off(x: flambeau.Tensor) -> flambeau.Tensor:
        return x * 2

    @flambeau.enable_grad()
    def on(x: flambeau.Tensor) -> flambeau.Tensor:
        return x * 2

    x = flambeau.ones(2, requires_grad=True)
    assert not off(x).requires_grad
    with flambeau.no_grad():
        assert on(x).requires_grad


def test_the_mode_comes_back_after_an_error() -> None:
    with pytest.raises(ValueError), flambeau.no_grad():
        raise ValueError
    assert flambeau.is_grad_enabled()


@pytest.mark.parametrize("mode", [True, False])
def test_set_grad_enabled(mode: bool) -> None:
    x = flambeau.ones(2, requires_grad=True)
    with flambeau.set_grad_enabled(mode):
        assert (x * 2).requires_grad is mode


def test_inference_mode() -> None:
    x = flambeau.ones(2, requires_grad=True)
    with flambeau.inference_mode():
        assert flambeau.is_inference_mode_enabled() and not flambeau.is_grad_enabled()
        assert not (x * 2).requires_grad
    assert not flambeau.is_inference_mode_enabled() and flambeau.is_grad_enabled()


def test_inference_mode_and_what_is_inside() -> None:
    x = flambeau.ones(2, requires_grad=True)
    with flambeau.inference_mode():
        with flambeau.inference_mode(False):
            assert (x * 2).requires_grad and not flambeau.is_inference_mode_enabled()
        assert not (x * 2).requires_grad and flambeau.is_inference_mode_enabled()
        assert flambeau.func.grad(lambda y: (y * y).sum())(flambeau.ones(2)).tolist() == [2.0, 2.0]
        assert flambeau.func.jvp(lambda y: y * y, (flambeau.ones(2),), (flambeau.ones(2),))[1].tolist() == [2.0, 2.0]
    with flambeau.no_grad(), flambeau.inference_mode(False):
        assert (x * 2).requires_grad
    assert (x * 2).requires_grad
