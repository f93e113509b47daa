"""The CPU as a device."""

from __future__ import annotations

from typing import Any

__all__ = ["current_device", "device_count", "is_available", "set_device", "synchronize"]


def is_available() -> bool:
    """Whether there is a CPU: yes."""
    return True


def device_count() -> int:
    """The number of devices that the CPU counts as: 1."""
    return 1


def current_device() -> str:
    """The current device: ``"cpu"``."""
    return "cpu"


def set_device(device: Any) -> None:
    """Choose the device, of which there is one."""


def synchronize(device: Any = None) -> None:
    """Wait until what was called is computed."""
    from flambeau._tape.tape import flush

    flush()
