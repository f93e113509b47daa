"""cuDNN, which is not used: settings that scripts make (``benchmark``, ``deterministic``) are kept, and mean nothing here."""

from __future__ import annotations

from contextlib import AbstractContextManager

from flambeau.backends._settings import changed

__all__ = ["flags", "is_available", "version"]

enabled = True
benchmark = False
benchmark_limit = 10
deterministic = False
allow_tf32 = True
fp32_precision = "none"


def is_available() -> bool:
    """Whether cuDNN can be used: no."""
    return False


def version() -> None:
    """The version of cuDNN: there is none."""
    return None


def flags(
    enabled: bool = False,
    benchmark: bool = False,
    benchmark_limit: int = 10,
    deterministic: bool = False,
    allow_tf32: bool = True,
    fp32_precision: str = "none",
) -> AbstractContextManager[None]:
    """A context with these settings of cuDNN."""
    return changed(globals(), **locals())
