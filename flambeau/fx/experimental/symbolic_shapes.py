"""Sizes and values that are not known while a program is traced: what may be asked of them, and the errors about them.

A comparison of sizes that are free in an exported program is decided there and then, or raises; so what is asked of one here is a bool.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ConstraintViolationError", "GuardOnDataDependentSymNode", "guard_or_false", "guard_or_true", "guard_size_oblivious", "statically_known_true",
]  # fmt: skip


class ConstraintViolationError(RuntimeError):
    """An example does not fit what was said of its sizes."""


class GuardOnDataDependentSymNode(RuntimeError):
    """A program asks for a tensor's value, which is not known while it is traced."""


def guard_or_false(a: Any) -> bool:
    """Whether a condition holds; ``False`` where nobody knows."""
    return bool(a)


def guard_or_true(a: Any) -> bool:
    """Whether a condition holds; ``True`` where nobody knows."""
    return bool(a)


def guard_size_oblivious(expr: Any) -> bool:
    """Whether a condition holds, of sizes that are taken to be neither 0 nor 1 where nobody knows."""
    return bool(expr)


def statically_known_true(x: Any) -> bool:
    """Whether a condition is known to hold."""
    return bool(x)
