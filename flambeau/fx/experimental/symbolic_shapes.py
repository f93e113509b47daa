"""Errors about sizes and values that are not known while a program is traced."""

from __future__ import annotations

__all__ = ["ConstraintViolationError", "GuardOnDataDependentSymNode"]


class ConstraintViolationError(RuntimeError):
    """An example does not fit what was said of its sizes."""


class GuardOnDataDependentSymNode(RuntimeError):
    """A program asks for a tensor's value, which is not known while it is traced."""
