"""Apple's GPUs, which are not used."""

from __future__ import annotations

__all__ = ["is_available", "is_built"]


def is_available() -> bool:
    """Whether there is an Apple GPU to compute on: no."""
    return False


def is_built() -> bool:
    """Whether there is support for Apple's GPUs: no."""
    return False
