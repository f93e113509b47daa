"""The device that tensors are made on if nobody says another one: ``with torch.device(...)`` and ``torch.set_default_device``.

Functions that make tensors look at no default. While there is one that is not the CPU, a mode (``overrides.TorchFunctionMode``) is asked about
every call of PyTorch's functions, and gives those that make tensors their ``device=``; otherwise nothing is asked and nothing costs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cache, wraps
from importlib import import_module
from typing import Any

import flambeau
from flambeau._tensor import overriding
from flambeau._types.device import CPU, Contexts, device, is_meta
from flambeau.overrides import TorchFunctionMode

__all__ = ["DeviceContext", "device_decorator", "set_device"]

_MAKERS = (
    "arange", "as_tensor", "asarray", "bartlett_window", "blackman_window", "empty", "empty_permuted", "empty_strided", "eye", "full", "hamming_window", "hann_window", "kaiser_window", "linspace", "logspace",
    "ones", "rand", "randint", "randn", "randperm", "range", "scalar_tensor", "tensor", "tril_indices", "triu_indices", "zeros",
)  # fmt: skip
_FREQUENCIES = ("fftfreq", "rfftfreq")


@cache
def _makers() -> frozenset[Callable]:
    """The functions that make tensors on the default device."""
    fft = import_module("flambeau.fft")
    return frozenset([getattr(flambeau, name) for name in _MAKERS] + [getattr(fft, name) for name in _FREQUENCIES])


class DeviceContext(TorchFunctionMode):
    """A context in which tensors are made on a device; ``with torch.device(...)`` is one.

    Args:
        device: the CPU or the meta device

    Raises:
        DeviceNotAvailableError: there is no such device here
    """

    def __init__(self, device: str | device) -> None:
        is_meta(device)
        self.device = flambeau.device(device)

    def __torch_function__(self, func: Callable, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _makers() and kwargs.get("device") is None:
            kwargs["device"] = self.device
        return func(*args, **kwargs)

    def __enter__(self) -> DeviceContext:
        CONTEXTS.enter(self.device)
        return self

    def __exit__(self, *exc: object) -> None:
        CONTEXTS.leave()


class _Entered(threading.local):
    """The contexts that this thread is in: each the mode that is asked and what lets it be asked; none where nobody need ask."""

    def __init__(self) -> None:
        self.stack: list[tuple[DeviceContext, overriding.Active] | None] = []
        self.default: tuple[DeviceContext, overriding.Active] | None = None


ENTERED = _Entered()


class _Contexts(Contexts):
    def enter(self, place: device) -> None:
        mode = DeviceContext(place)
        asks = place.type != CPU.type or get().type != CPU.type
        ENTERED.stack.append(_begin(mode, len(overriding.STATE.modes)) if asks else None)

    def leave(self) -> None:
        entered = ENTERED.stack.pop()
        if entered is not None:
            _end(entered)


CONTEXTS = _Contexts()


def _begin(mode: DeviceContext, position: int) -> tuple[DeviceContext, overriding.Active]:
    active = overriding.Active()
    active.__enter__()
    overriding.STATE.modes.insert(position, mode)
    return mode, active


def _end(entered: tuple[DeviceContext, overriding.Active]) -> None:
    mode, active = entered
    overriding.STATE.modes.remove(mode)
    active.__exit__()


def get() -> device:
    """The device that tensors are made on in this thread."""
    for entered in [ENTERED.default, *ENTERED.stack][::-1]:
        if entered is not None:
            return entered[0].device
    return device("cpu")


def set_default(place: Any) -> None:
    """Let this thread make tensors on another device from here on; contexts go before it.

    Raises:
        DeviceNotAvailableError: there is no such device here
    """
    mode = None if place is None else DeviceContext(place)
    if ENTERED.default is not None:
        _end(ENTERED.default)
    ENTERED.default = _begin(mode, 0) if mode is not None and mode.device.type != CPU.type else None


def device_decorator(device: Any, func: Callable) -> Callable:
    """A function that makes its tensors on a device; ``device`` may be a function that returns a context."""

    @wraps(func)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        with device() if callable(device) else flambeau.device(device):
            return func(*args, **kwargs)

    return decorated


def set_device(device: Any) -> Callable[[Callable], Callable]:
    """A decorator of functions that are to make their tensors on a device."""
    return lambda func: device_decorator(flambeau.device(device), func)
