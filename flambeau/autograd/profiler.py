"""Profiles, under the name that older scripts use: the kernels and ranges of `flambeau.profiler`."""

from __future__ import annotations

from flambeau._types.errors import DeviceNotAvailableError
from flambeau.profiler.events import EventList as EventList
from flambeau.profiler.events import FunctionEvent as FunctionEvent
from flambeau.profiler.profile import profile as profile
from flambeau.profiler.profile import record_function as record_function

__all__ = ["EventList", "FunctionEvent", "emit_nvtx", "profile", "record_function"]


class emit_nvtx:
    """Marks for NVIDIA's profilers.

    Raises:
        DeviceNotAvailableError: when called
    """

    def __init__(self, enabled: bool = True, record_shapes: bool = False) -> None:
        raise DeviceNotAvailableError("emit_nvtx marks work on a CUDA device, and there is none: Flambeau computes on the CPU")
