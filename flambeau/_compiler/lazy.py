"""The compiler's entry, which loads the compiler (and with it LLVM) at the first flush only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def compile(path: Sequence[Any], alive: Sequence[tuple[int, int]]) -> Any:
    """See ``program.compile``."""
    from flambeau._compiler import program

    return program.compile(path, alive)
