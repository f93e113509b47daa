"""The fast path of attention, which is one way of PyTorch's; here there is one way."""

from __future__ import annotations

__all__ = ["get_fastpath_enabled", "set_fastpath_enabled"]

_enabled = True


def get_fastpath_enabled() -> bool:
    """What ``set_fastpath_enabled`` has set: layers of attention compute the same either way."""
    return _enabled


def set_fastpath_enabled(value: bool) -> None:
    """Keep a setting of layers of attention that in PyTorch chooses a way of computing them in evaluation mode."""
    global _enabled
    _enabled = value
