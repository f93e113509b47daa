"""The device that tensors are made on if nobody says another one."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

import flambeau as torch
from flambeau._tensor import overriding
from flambeau.utils import _device


def test_a_block() -> None:
    given = torch.ones(2)
    with torch.device("meta") as device:
        assert device == torch.get_default_device() == torch.device("meta")
        for made in (
            torch.ones(2), torch.tensor(1), torch.as_tensor(np.ones(2)), torch.randn(3), torch.arange(3), torch.eye(2), torch.full((2,), 1),
            torch.nn.Linear(2, 3).weight, torch.nn.Parameter(torch.rand(2)), torch.fft.fftfreq(4), torch.hann_window(4), torch.tril_indices(3, 3),
        ):  # fmt: skip
            assert made.is_meta
        for made in (
            torch.ones(2, device="cpu"), torch.Tensor(2), torch.from_numpy(np.ones(2)), given + 1, torch.zeros_like(given), given.new_ones(2),
            torch.nn.functional.one_hot(torch.tensor([1], device="cpu")), given.outer(given).tril(),
        ):  # fmt: skip
            assert made.is_cpu
        with torch.device("cpu"):
            assert torch.ones(2).is_cpu and torch.get_default_device().type == "cpu"
        assert torch.ones(2).is_meta
    assert torch.ones(2).is_cpu and torch.get_default_device() == torch.device("cpu")


def test_a_block_ends_with_an_error() -> None:
    with pytest.raises(ValueError, match="mine"), torch.device("meta"):
        raise ValueError("mine")
    assert torch.ones(2).is_cpu and not overriding.STATE.modes


def test_the_default() -> None:
    torch.set_default_device("meta")
    try:
        assert torch.ones(2).is_meta and torch.get_default_device().type == "meta"
        with torch.device("cpu"):
            assert torch.ones(2).is_cpu
        optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2, device="cpu"))])
        optimizer.param_groups[0]["params"][0].grad = torch.ones(2, device="cpu")
        optimizer.step()
    finally:
        torch.set_default_device(None)
    assert torch.ones(2).is_cpu
    torch.set_default_device("cpu")
    assert torch.ones(2).is_cpu


def test_each_thread_has_its_own() -> None:
    found = []
    with torch.device("meta"):
        thread = threading.Thread(target=lambda: found.append(torch.ones(2).is_cpu))
        thread.start()
        thread.join()
        assert torch.ones(2).is_meta
    assert found == [True]


def test_who_makes_nothing_elsewhere_asks_nobody() -> None:
    """In a process of its own: once there is a class with ``__torch_function__``, every call asks."""
    script = """
import flambeau as torch
before = torch.ones.__code__
with torch.device("cpu"), torch.device("cpu", 0):
    assert torch.ones.__code__ is before and torch.ones(2).is_cpu
with torch.device("meta"):
    assert torch.ones.__code__ is not before
assert torch.ones.__code__ is before
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_modes_of_others_are_asked_as_well() -> None:
    class Counting(torch.overrides.TorchFunctionMode):
        calls = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.calls += func is torch.ones
            return func(*args, **(kwargs or {}))

    with Counting() as mode, torch.device("meta"):
        assert torch.ones(2).is_meta
    with torch.device("meta"), mode:
        assert torch.ones(2).is_meta
    assert mode.calls == 2


def test_functions_with_a_device() -> None:
    @_device.set_device("meta")
    def make() -> torch.Tensor:
        return torch.ones(2)

    assert make().is_meta and torch.ones(2).is_cpu
    with _device.DeviceContext("meta"):
        assert torch.ones(2).is_meta


def test_there_is_no_other_device() -> None:
    for use in (lambda: torch.device("cuda").__enter__(), lambda: torch.set_default_device("cuda"), lambda: torch.ones(2, device="cuda")):
        with pytest.raises(RuntimeError, match="Flambeau computes on the CPU"):
            use()
    assert torch.ones(2).is_cpu
