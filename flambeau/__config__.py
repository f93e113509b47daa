"""How this Flambeau is built, as text: `torch.__config__`."""

from __future__ import annotations

import platform

from flambeau._runtime import pool, targets
from flambeau.version import __version__

__all__ = ["parallel_info", "show"]


def show() -> str:
    """The versions of what computes, and for which processor it compiles."""
    import llvmlite
    import numpy

    return (
        f"Flambeau {__version__} built with:\n  - Python {platform.python_version()}\n  - NumPy {numpy.__version__}\n"
        f"  - llvmlite {llvmlite.__version__}, kernels are compiled for {targets.current().name}\n"
    )


def parallel_info() -> str:
    """How many threads compute."""
    return f"Flambeau's thread pool:\n\ttorch.get_num_threads() : {pool.get_num_threads()}\n"
