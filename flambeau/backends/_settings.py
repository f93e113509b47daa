"""Settings that hold within a context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def changed(settings: dict[str, Any], **values: Any) -> Iterator[None]:
    """A context in which some settings have other values."""
    before = {name: settings[name] for name in values}
    settings.update(values)
    try:
        yield
    finally:
        settings.update(before)
