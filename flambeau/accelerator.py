"""Accelerators: there are none, and scripts that ask go on with the CPU."""

from __future__ import annotations

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
