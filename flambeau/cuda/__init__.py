"""CUDA devices: there are none, and what scripts ask before they use one says so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NoReturn

from flambeau._types.errors import DeviceNotAvailableError
from flambeau._types.errors import OutOfMemoryError as OutOfMemoryError
from flambeau.cuda import amp as amp
from flambeau.cuda import nvtx as nvtx

_NEED_DEVICE = (
    "current_device", "current_stream", "default_stream", "get_device_capability", "get_device_name", "get_device_properties", "get_rng_state", "mem_get_info",
    "set_device", "set_rng_state", "synchronize",
)  # fmt: skip


__all__ = [
    "CUDAGraph", "Event", "OutOfMemoryError", "Stream", "StreamContext", "amp", "default_generators", "device", "device_count", "empty_cache", "get_rng_state_all", "graph", "is_available", "is_bf16_supported", "is_current_stream_capturing", "is_initialized", "manual_seed", "manual_seed_all", "max_memory_allocated", "max_memory_reserved",
    "memory_allocated", "memory_reserved", "nvtx", "reset_max_memory_allocated", "reset_peak_memory_stats", "set_rng_state_all", "stream", *_NEED_DEVICE,
]  # fmt: skip

_initialized = False  # what checkpoints that others wrote by hand ask before they keep a device's state


default_generators: tuple = ()
"""The generators of all CUDA devices: of none."""


class _OnDevice:
    """What lives on a CUDA device.

    Raises:
        DeviceNotAvailableError: when called
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _no_device(type(self).__name__)


class Stream(_OnDevice):
    """A queue of work on a CUDA device."""


class graph(_OnDevice):
    """A part of a program whose work on a CUDA device is captured."""


class device(_OnDevice):
    """A part of a program that uses another CUDA device."""


class StreamContext(_OnDevice):
    """A part of a program whose work goes to one queue of a CUDA device."""


class Event(_OnDevice):
    """A mark in a queue of work on a CUDA device."""


class CUDAGraph(_OnDevice):
    """Work on a CUDA device, captured to be run again."""


def is_available() -> bool:
    """Whether there is a CUDA device: no."""
    return False


def is_initialized() -> bool:
    """Whether CUDA is in use: no."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether a CUDA device computes in bfloat16: there is no device."""
    return False


def device_count() -> int:
    """The number of CUDA devices: 0."""
    return 0


def manual_seed(seed: int) -> None:
    """Seed the generator of the current CUDA device; without one there is nothing to seed."""
    int(seed)


def manual_seed_all(seed: int) -> None:
    """Seed the generators of all CUDA devices, of which there are none."""
    int(seed)


def empty_cache() -> None:
    """Give memory that is cached for CUDA devices back; there is none."""


def reset_peak_memory_stats(device: Any = None) -> None:
    """Forget the most memory that was in use on a CUDA device; none was."""


reset_max_memory_allocated = reset_peak_memory_stats


def memory_allocated(device: Any = None) -> int:
    """The bytes in use on a CUDA device: 0."""
    return 0


max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated


def get_rng_state_all() -> list:
    """The states of the generators of all CUDA devices: of none."""
    return []


def set_rng_state_all(new_states: Any) -> None:
    """Set the states of the generators of all CUDA devices.

    Raises:
        DeviceNotAvailableError: there is a state, and no device for it
    """
    for _ in new_states:
        _no_device("set_rng_state_all")


def is_current_stream_capturing() -> bool:
    """Whether CUDA calls are being captured: no."""
    return False


def stream(stream: Any) -> Any:
    """A context in which work goes to a queue of a CUDA device; nothing changes if the queue is ``None``."""
    return nullcontext() if stream is None else StreamContext(stream)


def _no_device(name: str) -> NoReturn:
    raise DeviceNotAvailableError(f"torch.cuda.{name} needs a CUDA device, and there is none: Flambeau computes on the CPU")


def _needs_device(name: str) -> Callable[..., NoReturn]:
    """A function that asks a CUDA device something, and says that there is none."""

    def function(*args: Any, **kwargs: Any) -> NoReturn:
        _no_device(name)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Raises ``DeviceNotAvailableError``: there is no CUDA device."
    return function


for _name in _NEED_DEVICE:
    globals()[_name] = _needs_device(_name)
