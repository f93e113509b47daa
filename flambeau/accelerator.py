"""Accelerators: there are none, and scripts that ask go on with the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

__all__ = ["current_accelerator", "device_count", "is_available"]


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
