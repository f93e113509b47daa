"""Accelerators: there are none, and scripts that ask go on with the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from flambeau import cpu
from flambeau._types.device import CPU, require_cpu

__all__ = ["current_accelerator", "device_count", "is_available"]


class Stream(cpu.Stream):
    """``torch.Stream``: a stream of a device, which is the CPU.

    Raises:
        RuntimeError: on making one of a device that is not there
    """

    def __init__(self, device: Any = CPU, *, priority: int = 0) -> None:
        super().__init__(priority)
        require_cpu(device)
        self.device = CPU

    def query(self) -> bool:
        """Whether what comes before has been called: yes."""
        return True

    def synchronize(self) -> None:
        """Wait until what was called is computed."""
        cpu.synchronize()

    def record_event(self, event: Any = None) -> Event:
        """An event at this point of the stream."""
        return Event(self.device) if event is None else event

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Event(cpu.Event):
    """``torch.Event``: a point of a stream.

    Raises:
        RuntimeError: on making one of a device that is not there
    """

    def __init__(self, device: Any = CPU, *, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        require_cpu(device)
        self.device = CPU


def is_available() -> bool:
    """Whether there is an accelerator: no."""
    return False


def current_accelerator(check_available: bool = False) -> None:
    """The kind of accelerator: there is none."""
    return None


def device_count() -> int:
    """The number of accelerators: 0."""
    return 0


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise RuntimeError(
            f"Cannot access accelerator device when none is available: ask accelerator.is_available() before accelerator.{name}()"
        )

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = "What is asked of an accelerator: an error, as there is none."
    return refuse


for _name in (
    "current_device_idx", "current_device_index", "current_stream", "device_index", "empty_cache", "empty_host_cache", "get_device_capability", "get_memory_info",
    "max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved", "memory_stats", "reset_accumulated_memory_stats", "reset_peak_memory_stats",
    "set_device_idx", "set_device_index", "set_stream", "synchronize",
):  # fmt: skip
    globals()[_name] = _refusal(_name)
    __all__ += [_name]
