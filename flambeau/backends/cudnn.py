"""cuDNN, which is not used: settings that scripts make (``benchmark``, ``deterministic``) are kept, and mean nothing here."""

from __future__ import annotations

__all__ = ["is_available", "version"]

enabled = True
benchmark = False
benchmark_limit = 10
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """Whether cuDNN can be used: no."""
    return False


def version() -> None:
    """The version of cuDNN: there is none."""
    return None
