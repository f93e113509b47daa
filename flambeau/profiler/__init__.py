"""Where the time of a program goes: ranges that the user names, and the kernels that ran within them.

An operator is computed when its result is looked at, fused with others; a profile therefore lists kernels, each named by the operators
in it. While a profile is taken, a range (`record_function`) and a step end by computing what is pending, so that work is counted
where it was called for. https://docs.pytorch.org/docs/stable/profiler.html
"""

from __future__ import annotations

from flambeau.profiler.events import EventList as EventList
from flambeau.profiler.events import FunctionEvent as FunctionEvent
from flambeau.profiler.profile import DeviceType as DeviceType
from flambeau.profiler.profile import ProfilerActivity as ProfilerActivity
from flambeau.profiler.profile import kineto_available as kineto_available
from flambeau.profiler.profile import profile as profile
from flambeau.profiler.profile import record_function as record_function
from flambeau.profiler.profile import supported_activities as supported_activities
from flambeau.profiler.schedule import ProfilerAction as ProfilerAction
from flambeau.profiler.schedule import schedule as schedule
from flambeau.profiler.schedule import tensorboard_trace_handler as tensorboard_trace_handler

__all__ = [
    "DeviceType",
    "EventList",
    "FunctionEvent",
    "ProfilerAction",
    "ProfilerActivity",
    "kineto_available",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]
