"""The version of the PyTorch that is stood for, which compares with other versions."""

from __future__ import annotations

import re
from typing import Any

from flambeau.version import __version__ as _version

__all__ = ["TorchVersion"]


def _key(version: Any) -> tuple:
    """What versions are compared by: five numbers, and whether there is a local part."""
    text = ".".join(map(str, version)) if isinstance(version, (tuple, list)) else str(version)
    public, local, _ = text.partition("+")
    numbers = [int(number) for number in re.findall(r"\d+", re.split(r"a|b|rc|\.?dev|\.?post", public)[0])]
    return (*numbers, *(0,) * (5 - len(numbers)), bool(local))


class TorchVersion(str):
    """A version as a string that compares with strings and tuples by its numbers."""

    def __lt__(self, other: Any) -> bool:
        return _key(self) < _key(other)

    def __le__(self, other: Any) -> bool:
        return _key(self) <= _key(other)

    def __gt__(self, other: Any) -> bool:
        return _key(self) > _key(other)

    def __ge__(self, other: Any) -> bool:
        return _key(self) >= _key(other)


__version__ = TorchVersion(_version)
