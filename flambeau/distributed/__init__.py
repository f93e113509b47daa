"""Several processes that train together: not here yet.

`is_available()` says so, which is what packages ask before they use anything else of `torch.distributed`.
"""

from __future__ import annotations

__all__ = ["is_available", "is_initialized"]


def is_available() -> bool:
    """Whether processes can train together: no."""
    return False


def is_initialized() -> bool:
    """Whether this process is part of a group: no."""
    return False
