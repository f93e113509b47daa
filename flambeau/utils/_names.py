"""Under which module's name an object is known."""

from __future__ import annotations

from typing import Any

__all__ = ["set_module"]


def set_module(obj: Any, mod: str) -> None:
    """Says that a function or class is of the module ``mod``, which is how it is printed and pickled.

    Raises:
        TypeError: ``mod`` is no name
    """
    if not isinstance(mod, str):
        raise TypeError(f"The mod argument should be a string, the name of a module, but got {type(mod).__name__}")
    obj.__module__ = mod
