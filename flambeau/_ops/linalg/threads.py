"""NumPy's LAPACK on one thread while we call it.

Its results depend on how many threads it has, and ours must not depend on ``set_num_threads``; nor may a call use more threads than that allows.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np

_PREFIXES = ("scipy_openblas", "openblas")
_SUFFIXES = ("64_", "")


@contextmanager
def single_threaded() -> Iterator[None]:
    """Run the body with one thread in NumPy's OpenBLAS; where NumPy has another library, or one that we do not find, with what it has."""
    found = _openblas()
    before = found[0]() if found else 1
    if before == 1:
        yield
        return
    assert found is not None
    found[1](1)
    try:
        yield
    finally:
        found[1](before)


@cache
def _openblas() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """How to ask for the number of threads of the OpenBLAS that NumPy's wheel brings, and how to set it."""
    root = Path(np.__file__).parent
    for path in sorted([*root.parent.glob("numpy.libs/*openblas*"), *root.glob(".dylibs/*openblas*")]):
        try:
            library = ctypes.CDLL(str(path))
        except OSError:
            continue
        for name in (f"{prefix}_{{}}_num_threads{suffix}" for prefix in _PREFIXES for suffix in _SUFFIXES):
            if hasattr(library, name.format("set")):
                return getattr(library, name.format("get")), getattr(library, name.format("set"))
    return None
