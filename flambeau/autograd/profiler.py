"""Profiles, under the name that older scripts use: the kernels and ranges of `flambeau.profiler`."""

from __future__ import annotations

from flambeau.profiler.profile import profile as profile
from flambeau.profiler.profile import record_function as record_function

__all__ = ["profile", "record_function"]
