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


def test_what_inference_mode_makes_is_not_written_nor_saved_outside() -> None:
    shared = flambeau.ones(2)
    with flambeau.inference_mode():
        made = [
            flambeau.ones(2),
            flambeau.tensor([1.0, 2.0]),
            flambeau.rand(2),
            flambeau.randint(5, (2,)).float(),
            flambeau.empty_strided((2,), (1,)),
            shared * 2,
        ]
        view = shared.view(1, 2)
        made[0].add_(1).mul_(2)
        with flambeau.inference_mode(False):
            assert not (shared * 2).is_inference()
    assert all(each.is_inference() and each.view(1, 2).is_inference() and each.detach().is_inference() for each in made)
    assert not view.is_inference() and not made[0].clone().is_inference() and not (made[0] + 1).is_inference()
    view.add_(1)
    assert made[0].tolist() == [4.0, 4.0] and shared.tolist() == [2.0, 2.0] and (made[0] + shared).tolist() == [6.0, 6.0]
    weight = flambeau.ones(2, requires_grad=True)
    for each in made:
        for write in (
            lambda x: x.add_(1),
            lambda x: x.__setitem__(0, 1),
            lambda x: x.view(2, 1).zero_(),
            lambda x: flambeau.add(shared, 1, out=x),
        ):
            with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
                write(each)
        with pytest.raises(RuntimeError, match="MulBackward0 needs one"):
            each * weight
        with pytest.raises(RuntimeError, match="requires_grad=True on inference tensor"):
            each.requires_grad_()
        with pytest.raises(RuntimeError, match="do not track version counter"):
            _ = each._version
        (each + weight).sum().backward()
        (each.clone() * weight).sum().backward()
    with flambeau.inference_mode():
        made[0].add_(1)
    assert made[0].tolist() == [5.0, 5.0]


def test_calls_made_many_times_see_inference_tensors_too() -> None:
    weight = flambeau.ones(2, requires_grad=True)
    for _ in range(4):  # native code takes over what was recorded before
        x = flambeau.ones(2)
        (x * weight).sum().backward()
        x.add_(1)
        with flambeau.inference_mode():
            y = flambeau.ones(2)
            y.add_(1)
            assert (y * 2).is_inference() and y.is_inference() and flambeau.aminmax(y)[0].is_inference()
        with pytest.raises(RuntimeError, match="cannot be saved for backward"):
            y * weight
        with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
            y.add_(1)


def test_tables_that_inference_mode_has_made_serve_afterwards() -> None:
    functional = flambeau.nn.functional
    calls = (
        lambda x: functional.interpolate(x, scale_factor=1.5, mode="bilinear"), lambda x: functional.pad(x, (1, 2, 1, 1), mode="reflect"),
        lambda x: functional.avg_pool2d(x, 2), lambda x: functional.adaptive_avg_pool2d(x, 3), lambda x: flambeau.roll(x, (1, 2), (2, 3)),
        lambda x: functional.fold(functional.unfold(x, 3), (7, 7), 3), lambda x: flambeau.fft.rfft(x).abs(), lambda x: functional.max_pool2d(x, 2),
        lambda x: functional.interpolate(x, size=5, mode="bicubic"), lambda x: functional.pixel_shuffle(x, 2), lambda x: flambeau.cdist(x, x),
    )  # fmt: skip
    for call in calls:
        with flambeau.inference_mode():
            first = call(flambeau.ones(1, 4, 7, 7))
        x = flambeau.ones(1, 4, 7, 7, requires_grad=True)
        again = call(x)
        assert again.tolist() == first.tolist()
        again.sum().backward()
        assert x.grad is not None and not x.grad.is_inference()
