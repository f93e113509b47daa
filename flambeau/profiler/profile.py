"""`profile` takes a profile, `record_function` names a part of the program."""

from __future__ import annotations

import gzip
import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ContextDecorator, ExitStack
from enum import Enum
from pathlib import Path
from typing import Any

from flambeau._compiler.explain import ProgramReport, watched
from flambeau._runtime import allocator, jit
from flambeau._tape.tape import settle
from flambeau.profiler.events import EventList, FunctionEvent, FunctionEventAvg, nested
from flambeau.profiler.schedule import ProfilerAction

__all__ = ["DeviceType", "ProfilerActivity", "kineto_available", "profile", "record_function", "supported_activities"]


class DeviceType(Enum):
    """Kinds of devices; there is the CPU only."""

    CPU = 0
    CUDA = 1


class ProfilerActivity(Enum):
    """What can be profiled; there is work on the CPU only."""

    CPU = 0
    XPU = 1
    CUDA = 2
    MTIA = 3
    HPU = 4


def supported_activities() -> set[ProfilerActivity]:
    """The activities that a profile records: the CPU's."""
    return {ProfilerActivity.CPU}


def kineto_available() -> bool:
    """Whether profiles with schedules and traces can be taken: yes."""
    return True


_current: profile | None = None
"""The profile that is being recorded."""


class record_function(ContextDecorator):
    """A range with a name, as a context or a decorator; outside of a profile it does nothing.

    Args:
        name: what the profile calls it
        args: written beside it in the trace
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name
        self.args = args
        self._starts: list[tuple[profile, float, int] | None] = []

    def _recreate_cm(self) -> record_function:
        return record_function(self.name, self.args)

    def __enter__(self) -> record_function:
        current = _current
        if current is not None:
            current._settle()
        self._starts.append(None if current is None else (current, time.perf_counter(), current._memory()))
        return self

    def __exit__(self, *exc: object) -> None:
        begun = self._starts.pop()
        if begun is not None and begun[0] is _current:
            current, start, memory = begun
            current._settle()
            details = {} if self.args is None else {"args": self.args}
            current._add(self.name, "range", start, time.perf_counter() - start, details, current._memory() - memory)


class profile:
    """Records which kernels ran, for how long, and in which ranges; a context, or `start()` and `stop()`.

    The work of the thread that starts it is recorded. A kernel is timed by a call of its own, which costs a microsecond or two.

    Args:
        activities: only work on the CPU exists, and is recorded in any case
        schedule: says for each step (see `step`) whether to record it; without it everything is recorded
        on_trace_ready: called with the profile whenever a trace is complete
        profile_memory: note for ranges and steps how many bytes of tensors more there are at their end, and show them in tables
        with_flops: show kernels' operations in tables; they are part of the trace in any case
        record_shapes, with_stack, with_modules: for PyTorch's sake: kernels of other shapes have other names, and there are no stacks, since a
            kernel has many callers

    Raises:
        RuntimeError: on entering it while another profile is being recorded

    Example:
        >>> import flambeau
        >>> from flambeau.profiler import profile, record_function
        >>> x = flambeau.ones(100, 100)
        >>> with profile() as prof:
        ...     with record_function("my work"):
        ...         y = (2 * x + 1).exp().sum()
        >>> [event.key for event in prof.events() if event.kind != "compile"]
        ['my work', 'mul, add, exp, sum']
    """

    def __init__(
        self, *, activities: Iterable[ProfilerActivity] | None = None, schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[profile], Any] | None = None, record_shapes: bool = False, profile_memory: bool = False, with_stack: bool = False,
        with_flops: bool = False, with_modules: bool = False, experimental_config: Any = None, execution_trace_observer: Any = None,
        acc_events: bool = False, use_cuda: bool | None = None, custom_trace_id_callback: Callable[[], str] | None = None,
    ) -> None:  # fmt: skip
        self.activities = set(activities) if activities is not None else supported_activities()
        self.schedule = schedule or (lambda step: ProfilerAction.RECORD)
        self.on_trace_ready = on_trace_ready
        self.profile_memory = profile_memory
        self.with_flops = with_flops
        self.step_num = 0
        self.current_action = ProfilerAction.NONE
        self._events: list[FunctionEvent] = []
        self._begin = self._step_begin = 0.0
        self._step_memory = 0
        self._metadata: dict[str, Any] = {}
        self._watching: ExitStack | None = None
        self._flush: Callable[[], None] = lambda: None
        self._compiled: dict[str, float] = {}

    # -- beginning and ending --------------------------------------------------------------------------------------------

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin, with what the schedule says for step 0."""
        self._turn(self.schedule(self.step_num))

    def stop(self) -> None:
        """End; what is being recorded becomes the last trace."""
        recorded = self._watching is not None
        self._turn(ProfilerAction.NONE)
        if recorded and self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def step(self) -> None:
        """Say that a step of the loop has ended."""
        if self._watching is not None:
            self._settle()
            seconds, memory = time.perf_counter() - self._step_begin, self._memory() - self._step_memory
            self._add(f"ProfilerStep#{self.step_num}", "step", self._step_begin, seconds, {}, memory)
        self.step_num += 1
        if self.current_action is ProfilerAction.RECORD_AND_SAVE:
            self._turn(ProfilerAction.NONE)
            if self.on_trace_ready is not None:
                self.on_trace_ready(self)
        self._turn(self.schedule(self.step_num))
        self._step_begin, self._step_memory = time.perf_counter(), self._memory()

    def _turn(self, action: ProfilerAction) -> None:
        """Begin or end recording, as an action demands."""
        global _current
        wanted = action in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)
        if wanted and self._watching is None:
            if _current is not None:
                raise RuntimeError("another profile is being recorded: it has to end before this one begins")
            with ExitStack() as stack:
                self._flush = stack.enter_context(watched(self._add_program))
                self._watching = stack.pop_all()
            _current = self
            self._events = []
            self._compiled = jit.statistics()
            self._begin = self._step_begin = time.perf_counter()
            self._step_memory = self._memory()
        elif not wanted and self._watching is not None:
            self._settle()
            _current = None
            watching, self._watching = self._watching, None
            with watching:
                pass
        self.current_action = action

    # -- recording -------------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Compute what is pending, so that it is counted here; also what the program calls and drops, which would not be computed elsewhere."""
        if self._watching is not None:
            settle()
            self._flush()

    def _memory(self) -> int:
        """The bytes of tensors that there are, if that is asked for."""
        return allocator.statistics()["allocated"] if self.profile_memory else 0

    def _add(self, name: str, kind: str, start: float, seconds: float, details: dict[str, Any], memory: int = 0) -> None:
        thread = threading.get_native_id()
        self._events.append(FunctionEvent(name, kind, (start - self._begin) * 1e6, seconds * 1e6, thread, details, cpu_memory_usage=memory))

    def _add_program(self, program: ProgramReport) -> None:
        self._add_compilation(program.start)
        start = program.start
        for kernel in program.kernels:
            details = {
                "flops": kernel.flops,
                "bytes read": kernel.bytes_read,
                "bytes written": kernel.bytes_written,
                "of limit": round(kernel.share, 3),
            }
            self._add(kernel.summary, "kernel", start, kernel.seconds, details)
            start += kernel.seconds

    def _add_compilation(self, end: float) -> None:
        """What was compiled since the last time, for a program that begins now: several threads share it, so that time is an estimate."""
        compiled, self._compiled = self._compiled, jit.statistics()
        kernels = int(self._compiled["compiled"] - compiled["compiled"])
        if kernels:
            seconds = min(self._compiled["seconds"] - compiled["seconds"], end - self._begin)
            self._add("compile", "compile", end - seconds, seconds, {"kernels": kernels})

    # -- what was recorded -----------------------------------------------------------------------------------------------

    def events(self) -> EventList:
        """All that was recorded, in order."""
        return EventList(nested(self._events), self.profile_memory, self.with_flops, self._metadata)

    @property
    def function_events(self) -> EventList:
        """As `events()`."""
        return self.events()

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds of all that was recorded."""
        return self.events().self_cpu_time_total

    def table(self, sort_by: str | None = None, row_limit: int = 100, **options: Any) -> str:
        """The events as text; `key_averages().table()` has their sums."""
        return self.events().table(sort_by, row_limit, **options)

    def total_average(self) -> FunctionEventAvg:
        """The sum of all events."""
        return self.events().total_average()

    def add_metadata(self, key: str, value: str) -> None:
        """Write a text into the trace."""
        self._metadata[key] = value

    def add_metadata_json(self, key: str, value: str) -> None:
        """Write a value, given as JSON, into the trace.

        Raises:
            ValueError: it is no JSON
        """
        self._metadata[key] = json.loads(value)

    preset_metadata_json = add_metadata_json

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0, group_by_overload_name: bool = False
    ) -> EventList:
        """Sums by name; `.table(sort_by="self_cpu_time_total")` shows them."""
        return self.events().key_averages()

    def export_chrome_trace(self, path: str | os.PathLike) -> None:
        """Write the events for chrome://tracing, Perfetto or TensorBoard's profiler page; compressed if the path ends in `.gz`."""
        self.events().export_chrome_trace(path)
        if os.fspath(path).endswith(".gz"):
            Path(path).write_bytes(gzip.compress(Path(path).read_bytes()))
