"""Environment variables that are numbers."""

from __future__ import annotations

import os
import warnings


def whole_number(variable: str, *, least: int, default: int) -> int:
    """The number that an environment variable gives, or ``default`` if it is not set; one that is no such number is warned about, and not used."""
    text = os.environ.get(variable, "").strip()
    if text.isdecimal() and int(text) >= least:
        return int(text)
    if text:
        warnings.warn(
            f"{variable} must be a whole number of at least {least}, but is {text!r}: it is not used", RuntimeWarning, stacklevel=2
        )
    return default
