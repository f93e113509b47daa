"""oneDNN, which is not used."""

from __future__ import annotations

from contextlib import AbstractContextManager

from flambeau.backends._settings import changed

__all__ = ["flags", "is_available"]

enabled = True
deterministic = False
allow_tf32 = True
fp32_precision = "none"


def is_available() -> bool:
    """Whether oneDNN is used: no, kernels and threads are Flambeau's own."""
    return False


def flags(
    enabled: bool = False, deterministic: bool = False, allow_tf32: bool = True, fp32_precision: str = "none"
) -> AbstractContextManager[None]:
    """A context with these settings of oneDNN."""
    return changed(globals(), **locals())
