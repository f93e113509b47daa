"""The package opt_einsum, which is not used."""

from __future__ import annotations

from contextlib import AbstractContextManager

from flambeau.backends._settings import changed

__all__ = ["flags", "is_available"]

enabled = False
strategy: str | None = None


def is_available() -> bool:
    """Whether opt_einsum is used: no, ``einsum`` contracts its operands from left to right."""
    return False


def flags(enabled: bool | None = None, strategy: str | None = None) -> AbstractContextManager[None]:
    """A context with these settings of opt_einsum; those that are ``None`` stay as they are."""
    return changed(globals(), **{name: value for name, value in locals().items() if value is not None})
