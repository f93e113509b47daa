"""Fake tensors: a program runs with them as with others, but for the elements, which nobody computes."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import nn
from flambeau._subclasses import DataDependentOutputException, FakeTensor, FakeTensorMode
from flambeau._subclasses.fake_tensor import is_fake, unset_fake_temporarily
from flambeau.nn import functional as F


def test_what_is_made_within_the_context_is_fake() -> None:
    with FakeTensorMode() as mode:
        made = [
            torch.empty(2, 3),
            torch.randn(2, 3),
            torch.zeros(2, 3),
            torch.tensor([1.0, 2.0]),
            torch.arange(3),
            torch.full((2,), 1.0),
            torch.randint(3, (2,)),
        ]
    assert all(type(each) is FakeTensor and each.fake_mode is mode and each.device.type == "cpu" and is_fake(each) for each in made)
    assert [tuple(each.shape) for each in made] == [(2, 3), (2, 3), (2, 3), (2,), (3,), (2,), (2,)]
    assert repr(made[0]) == "FakeTensor(..., size=(2, 3))" and not is_fake(torch.ones(1))
    with pytest.raises(TypeError, match="expected a tensor"):
        is_fake(1)


def test_a_network_is_trained_without_memory() -> None:
    with FakeTensorMode():
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(8 * 64, 100_000)
        )
        optimizer = torch.optim.Adam(net.parameters())
        for _ in range(2):
            loss = F.cross_entropy(net(torch.randn(4, 3, 8, 8)), torch.zeros(4, dtype=torch.int64))
            loss.backward()
            optimizer.step()
    assert type(loss) is FakeTensor and loss.shape == () and type(net[5].weight) is FakeTensor and isinstance(net[5].weight, nn.Parameter)
    assert net[5].weight.grad.shape == (100_000, 512) and type(net[5].weight.grad) is FakeTensor


def test_fake_tensors_of_others() -> None:
    mode = FakeTensorMode()
    x = torch.randn(3, 4).t()
    fake = mode.from_tensor(x)
    assert mode.from_tensor(x) is fake and fake.stride() == (1, 4) and not fake.requires_grad
    parameter = mode.from_tensor(nn.Parameter(torch.ones(2)))
    assert isinstance(parameter, nn.Parameter) and parameter.requires_grad and type(parameter + 1) is FakeTensor
    with pytest.raises(AssertionError, match="another mode"):
        FakeTensorMode().from_tensor(fake)


def test_views_and_writes() -> None:
    mode = FakeTensorMode()
    x = mode.from_tensor(torch.ones(2, 3))
    y = x.t()
    assert type(y) is FakeTensor and y.shape == (3, 2) and y[0].shape == (2,) and x.add_(1) is x and x.view(6).stride() == (1,)
    assert x.to(torch.float64).dtype is torch.float64 and x.to("cpu") is x and x.to("meta").device.type == "meta"


def test_other_tensors_beside_them() -> None:
    mode = FakeTensorMode()
    fake = mode.from_tensor(torch.ones(3))
    with pytest.raises(AssertionError, match="Please convert all Tensors to FakeTensors first"):
        fake + torch.ones(3)
    assert (fake + torch.tensor(1.0)).shape == (3,)
    with FakeTensorMode(allow_non_fake_inputs=True) as allowing:
        assert (allowing.from_tensor(torch.ones(3)) + torch.Tensor([1.0])).shape == (3,)


def test_who_looks_is_told() -> None:
    x = FakeTensorMode().from_tensor(torch.ones(()))
    for look in (lambda: x.item(), lambda: bool(x > 0), lambda: x.tolist(), lambda: float(x), lambda: x.numpy()):
        with pytest.raises(DataDependentOutputException, match="no elements"):
            look()
    assert issubclass(DataDependentOutputException, RuntimeError)


def test_it_can_be_put_off() -> None:
    with FakeTensorMode() as mode:
        with unset_fake_temporarily() as put_off:
            assert put_off is mode and torch.ones(2).tolist() == [1.0, 1.0]
        assert type(torch.ones(2)) is FakeTensor
    with unset_fake_temporarily() as put_off:
        assert put_off is None


def test_operators_of_the_user_s_own_say_what_their_results_look_like() -> None:
    @torch.library.custom_op("faking::rows", mutates_args=())
    def rows(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(x.numpy().sum(1))

    with FakeTensorMode() as mode:
        x = mode.from_tensor(torch.ones(2, 3))
        with pytest.raises(RuntimeError, match="no fake impl registered"):
            rows(x)
        rows.register_fake(lambda x: x.new_empty(x.shape[:1]))
        assert type(rows(x)) is FakeTensor and rows(x).shape == (2,)
