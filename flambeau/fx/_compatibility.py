"""A decorator by which packages mark what they promise to keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["compatibility"]

T = TypeVar("T")


def compatibility(is_backward_compatible: bool) -> Callable[[T], T]:
    """The function or class itself."""
    return lambda fn: fn
