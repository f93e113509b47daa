"""Names of modules that were imported from a package: ``<torch_package_0>.network.layers`` is its ``network.layers``.

A name that nothing else has keeps two versions of a module apart.
"""

from __future__ import annotations

import re
from itertools import count
from types import ModuleType
from typing import Any

__all__ = ["demangle", "is_from_package", "is_mangled", "new_parent"]

_MANGLED = re.compile(r"<torch_package_\d+>")
_numbers = count()


def new_parent() -> str:
    """The name of a package that is being opened: `<torch_package_0>`, `<torch_package_1>`, …"""
    return f"<torch_package_{next(_numbers)}>"


def is_mangled(name: str) -> bool:
    """Whether a module's name says that it comes from a package."""
    return _MANGLED.match(name) is not None


def demangle(name: str) -> str:
    """A module's name within its package; other names stay."""
    if not is_mangled(name):
        return name
    return name.partition(".")[2]


def is_from_package(obj: Any) -> bool:
    """Whether a module was imported from a package, or an object is (of) a class or a function that was."""
    if isinstance(obj, ModuleType):
        return is_mangled(obj.__name__)
    home = getattr(obj, "__module__", None)
    return isinstance(home, str) and is_mangled(home)
