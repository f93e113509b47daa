"""Sizes that a tracer leaves open, to ask whether a number is one: none is, for shapes are known at every call."""

from __future__ import annotations

from typing import Any

__all__ = ["SymBool", "SymFloat", "SymInt"]


class _Symbolic:
    def __init__(self, *args: Any) -> None:
        raise NotImplementedError(f"a {type(self).__name__} stands for a number that is not known, and all sizes are known here")


class SymInt(_Symbolic):
    """An integer that is not known yet."""


class SymFloat(_Symbolic):
    """A number that is not known yet."""


class SymBool(_Symbolic):
    """A truth value that is not known yet."""
