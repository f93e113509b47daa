"""What packages ask PyTorch's compiler of Python."""

from __future__ import annotations

from typing import Any

__all__ = ["is_compile_supported"]


def is_compile_supported(device_type: Any) -> bool:
    """Whether functions on a device are compiled: those on the CPU are, and there is no other."""
    return device_type == "cpu"
