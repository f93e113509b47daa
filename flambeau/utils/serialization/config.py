"""Defaults of ``torch.save`` and ``torch.load``, to be changed by assignment or, for a while, by :func:`patch`.

Example:
    >>> flambeau.utils.serialization.config.save.storage_alignment
    64
    >>> with patch({"save.storage_alignment": 4096}):
    ...     flambeau.utils.serialization.config.save.storage_alignment
    4096
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import flambeau  # noqa: F401 (of the example)
from flambeau._serialization.options import load as load
from flambeau._serialization.options import save as save

__all__ = ["load", "patch", "save"]


@contextmanager
def patch(changes: dict[str, Any] | str, value: Any = None) -> Iterator[None]:
    """Changes options within a context: a dictionary from names such as ``"save.compute_crc32"`` to values, or one of them.

    Raises:
        AttributeError: there is no such option
    """
    named = {changes: value} if isinstance(changes, str) else changes
    before = []
    try:
        for name, new in named.items():
            part, _, option = name.partition(".")
            options = getattr(sys.modules[__name__], part)
            before.append((options, option, getattr(options, option)))
            setattr(options, option, new)
        yield
    finally:
        for options, option, old in reversed(before):
            setattr(options, option, old)
