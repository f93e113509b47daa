"""NNPACK, which is not used."""

from __future__ import annotations

from contextlib import AbstractContextManager

from flambeau.backends._settings import changed

__all__ = ["flags", "is_available", "set_flags"]

_settings = {"enabled": True}


def is_available() -> bool:
    """Whether NNPACK is used: no, kernels and threads are Flambeau's own."""
    return False


def set_flags(_enabled: bool) -> tuple[bool]:
    """Keeps a setting of NNPACK, and returns the one before."""
    before = _settings["enabled"]
    _settings["enabled"] = _enabled
    return (before,)


def flags(enabled: bool = False) -> AbstractContextManager[None]:
    """A context with this setting of NNPACK."""
    return changed(_settings, enabled=enabled)
