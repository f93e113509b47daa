"""cuDNN, which is not used: settings that scripts make (``benchmark``, ``deterministic``) are kept, and mean nothing here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["flags", "is_available", "version"]

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


@contextmanager
def flags(**settings: Any) -> Iterator[None]:
    """A context with other settings of cuDNN, which is not used."""
    before = {name: globals()[name] for name in settings if name in globals()}
    globals().update({name: value for name, value in settings.items() if name in before})
    try:
        yield
    finally:
        globals().update(before)
