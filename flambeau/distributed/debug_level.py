"""How much is checked and told of what processes do together."""

from __future__ import annotations

import os
from enum import Enum

__all__ = ["DebugLevel", "get_debug_level", "set_debug_level", "set_debug_level_from_env"]


class DebugLevel(Enum):
    """What ``TORCH_DISTRIBUTED_DEBUG`` can say. Collectives are checked against each other at any level."""

    OFF = 0
    INFO = 1
    DETAIL = 2


def _from_environment() -> DebugLevel:
    chosen = os.environ.get("TORCH_DISTRIBUTED_DEBUG", "OFF")
    try:
        return DebugLevel[chosen.upper()]
    except KeyError:
        raise ValueError(
            f"the value of TORCH_DISTRIBUTED_DEBUG is {chosen!r}, but it must be one of {', '.join(DebugLevel.__members__)}"
        ) from None


_LEVEL: list[DebugLevel] = []


def get_debug_level() -> DebugLevel:
    """The level: what was set, or what ``TORCH_DISTRIBUTED_DEBUG`` said when it was first asked for.

    Raises:
        ValueError: the variable says something else
    """
    if not _LEVEL:
        set_debug_level_from_env()
    return _LEVEL[0]


def set_debug_level(level: DebugLevel) -> None:
    """Choose the level."""
    _LEVEL[:] = [level]


def set_debug_level_from_env() -> None:
    """Choose the level that ``TORCH_DISTRIBUTED_DEBUG`` names.

    Raises:
        ValueError: it names none
    """
    set_debug_level(_from_environment())
