"""Handles of hooks, under the name that packages import them by."""

from __future__ import annotations

from flambeau.nn.hooks import RemovableHandle as RemovableHandle

__all__ = ["RemovableHandle"]
