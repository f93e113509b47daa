"""Profiles, under the name that older scripts use: the kernels and ranges of `flambeau.profiler`, which is loaded when it is asked for."""

from __future__ import annotations

from typing import Any

from flambeau._types.errors import DeviceNotAvailableError

_ELSEWHERE = ("EventList", "FunctionEvent", "record_function")
__all__ = ["EventList", "FunctionEvent", "emit_nvtx", "profile", "record_function"]  # noqa: F822 - see __getattr__


class emit_nvtx:
    """Marks for NVIDIA's profilers.

    Raises:
        DeviceNotAvailableError: when called
    """

    def __init__(self, enabled: bool = True, record_shapes: bool = False) -> None:
        raise DeviceNotAvailableError("emit_nvtx marks work on a CUDA device, and there is none: Flambeau computes on the CPU")


def __getattr__(name: str) -> Any:
    if name == "profile":
        from flambeau.profiler._autograd import profile

        return profile
    if name in _ELSEWHERE:
        from flambeau import profiler

        return getattr(profiler, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
