"""oneDNN, which is not used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["flags", "is_available"]


enabled = True
deterministic = False


def is_available() -> bool:
    """Whether oneDNN is used: no, kernels and threads are Flambeau's own."""
    return False


@contextmanager
def flags(**settings: Any) -> Iterator[None]:
    """A context with other settings of oneDNN, which is not used."""
    before = {name: globals()[name] for name in settings if name in globals()}
    globals().update({name: value for name, value in settings.items() if name in before})
    try:
        yield
    finally:
        globals().update(before)
