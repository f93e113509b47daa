"""OpenMP, which is not used."""

from __future__ import annotations

__all__ = ["is_available"]


def is_available() -> bool:
    """Whether OpenMP is used: no, kernels and threads are Flambeau's own."""
    return False
