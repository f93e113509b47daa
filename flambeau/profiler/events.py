"""What a profile holds: events with a begin and a duration, sums of them by name, the table and the trace."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from flambeau._serialization.files import writing

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg"]

COLUMNS = ("Name", "Self CPU %", "Self CPU", "CPU total %", "CPU total", "CPU time avg", "# of Calls")
SORTS = (
    "cpu_time", "cpu_time_total", "self_cpu_time_total", "cpu_memory_usage", "self_cpu_memory_usage", "count", "device_time", "device_time_total",
    "self_device_time_total", "cuda_time", "cuda_time_total", "self_cuda_time_total",
)  # fmt: skip
"""What tables are sorted by; times of other devices are 0, since there are none."""


class _OnTheCpu:
    """Times on other devices, of which there are none, and times as text."""

    device_time = device_time_total = self_device_time_total = cuda_time = cuda_time_total = self_cuda_time_total = 0.0
    cpu_time: float
    cpu_time_total: float
    self_cpu_time_total: float

    @property
    def cpu_time_str(self) -> str:
        """The time of one event, on average."""
        return _time(self.cpu_time, None)

    @property
    def cpu_time_total_str(self) -> str:
        """The time of all events."""
        return _time(self.cpu_time_total, None)

    @property
    def self_cpu_time_total_str(self) -> str:
        """The time of all events without those inside."""
        return _time(self.self_cpu_time_total, None)


@dataclass
class FunctionEvent(_OnTheCpu):
    """Something that began and ended.

    Attributes:
        key: its name; of a kernel, the operators fused into it
        kind: `kernel`, `compile`, `range` (of `record_function`) or `step`
        start: microseconds since the profile began
        cpu_time_total: microseconds
        self_cpu_time_total: microseconds without the events inside
        thread: the thread that it happened in
        details: what else is known, such as the bytes that a kernel moved
        cpu_memory_usage: of a range or a step in a profile with `profile_memory`, the bytes of tensors that there were more at its end
        self_cpu_memory_usage: those without the ranges inside
    """

    key: str
    kind: str
    start: float
    cpu_time_total: float
    thread: int = 0
    details: dict[str, Any] = field(default_factory=dict)
    self_cpu_time_total: float = 0.0
    cpu_memory_usage: int = 0
    self_cpu_memory_usage: int = 0

    count = 1

    @property
    def flops(self) -> int:
        """Operations of a kernel."""
        return self.details.get("flops", 0)

    @property
    def name(self) -> str:
        return self.key

    @property
    def cpu_time(self) -> float:
        return self.cpu_time_total

    @property
    def end(self) -> float:
        return self.start + self.cpu_time_total


@dataclass
class FunctionEventAvg(_OnTheCpu):
    """All events of one name: how many, and microseconds in all."""

    key: str
    kind: str
    count: int = 0
    cpu_time_total: float = 0.0
    self_cpu_time_total: float = 0.0
    cpu_memory_usage: int = 0
    self_cpu_memory_usage: int = 0
    flops: int = 0

    @property
    def cpu_time(self) -> float:
        """Microseconds of one event, on average."""
        return self.cpu_time_total / self.count if self.count else 0.0

    def add(self, event: FunctionEvent) -> None:
        self.count += 1
        self.cpu_time_total += event.cpu_time_total
        self.self_cpu_time_total += event.self_cpu_time_total
        self.cpu_memory_usage += event.cpu_memory_usage
        self.self_cpu_memory_usage += event.self_cpu_memory_usage
        self.flops += event.flops


class EventList(list):
    """Events, or sums of events.

    Args:
        events: in order
        profile_memory, with_flops: whether tables show memory and operations
        metadata: is written into traces
    """

    def __init__(
        self, events: Iterable[Any] = (), profile_memory: bool = False, with_flops: bool = False, metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(events)
        self.profile_memory, self.with_flops, self.metadata = profile_memory, with_flops, dict(metadata or {})

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds of all events together, each counted without those inside."""
        return sum(event.self_cpu_time_total for event in self)

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0, group_by_overload_name: bool = False
    ) -> EventList:
        """The sums by name, in the order of the first event of each. Kernels of other shapes are kernels of another name in any case."""
        sums: dict[tuple[str, str], FunctionEventAvg] = {}
        for event in self:
            sums.setdefault((event.kind, event.key), FunctionEventAvg(event.key, event.kind)).add(event)
        return EventList(sums.values(), self.profile_memory, self.with_flops, self.metadata)

    def total_average(self) -> FunctionEventAvg:
        """The sum of all events."""
        total = FunctionEventAvg("Total", "total")
        for event in self:
            total.count += event.count
            total.self_cpu_time_total += event.self_cpu_time_total
        total.cpu_time_total = total.self_cpu_time_total
        return total

    def table(
        self, sort_by: str | None = None, row_limit: int = 100, max_src_column_width: int = 75, max_name_column_width: int = 55,
        max_shapes_column_width: int = 80, header: str | None = None, top_level_events_only: bool = False, time_unit: str | None = None,
    ) -> str:  # fmt: skip
        """The events as text, a row each.

        Args:
            sort_by: `cpu_time`, `cpu_time_total`, `self_cpu_time_total`, `cpu_memory_usage`, `count`, …, the largest first; as they happened
                without it
            row_limit: how many rows at most; -1 for all
            max_name_column_width: where longer names are cut
            header: a line above the table
            time_unit: `s`, `ms` or `us` for all times; without it each has the unit that suits it

        Raises:
            ValueError: `sort_by` or `time_unit` is none of these
        """
        if sort_by is not None and sort_by not in SORTS:
            raise ValueError(f"a table is sorted by one of {', '.join(SORTS)}, not by {sort_by!r}")
        if time_unit not in (None, "s", "ms", "us"):
            raise ValueError(f"a time is in s, ms or us, not in {time_unit!r}")
        events = sorted(self, key=lambda event: -getattr(event, sort_by)) if sort_by else list(self)
        if row_limit >= 0:
            events = events[:row_limit]
        whole = self.self_cpu_time_total or 1.0
        columns = [*COLUMNS[:-1], *(("CPU Mem", "Self CPU Mem") if self.profile_memory else ()), COLUMNS[-1]]
        columns += ["Total KFLOPs"] if self.with_flops else []
        rows = [
            (
                event.key if len(event.key) <= max_name_column_width else event.key[: max_name_column_width - 3] + "...",
                f"{event.self_cpu_time_total / whole:.2%}",
                _time(event.self_cpu_time_total, time_unit),
                f"{event.cpu_time_total / whole:.2%}",
                _time(event.cpu_time_total, time_unit),
                _time(event.cpu_time, time_unit),
                *((_size(event.cpu_memory_usage), _size(event.self_cpu_memory_usage)) if self.profile_memory else ()),
                str(event.count),
                *((f"{event.flops / 1000:.3f}" if event.flops else "--",) if self.with_flops else ()),
            )
            for event in events
        ]
        widths = [max(map(len, column)) for column in zip(columns, *rows)]
        rule = "  ".join("-" * width for width in widths)
        lines = [header] if header else []
        for cells in (None, columns, None, *rows, None):
            lines.append(rule if cells is None else "  ".join(cell.rjust(width) for cell, width in zip(cells, widths)))
        return "\n".join([*lines, f"Self CPU time total: {_time(self.self_cpu_time_total, time_unit)}", ""])

    def __str__(self) -> str:
        return self.table()

    def export_chrome_trace(self, path: str | os.PathLike) -> None:
        """Write the events for chrome://tracing, Perfetto or TensorBoard's profiler page; the file is there whole or not at all."""
        process = os.getpid()
        trace = [
            {
                "ph": "X", "cat": event.kind, "name": event.key, "ts": event.start, "dur": event.cpu_time_total, "pid": process, "tid": event.thread,
                "args": event.details,
            }
            for event in self
        ]  # fmt: skip
        with writing(path) as file:
            file.write(json.dumps({"schemaVersion": 1, "traceEvents": trace, "displayTimeUnit": "ms", **self.metadata}).encode())


def nested(events: Iterable[FunctionEvent]) -> EventList:
    """The events by their begin, with the time of each that is not spent in events inside it."""
    ordered = sorted(events, key=lambda event: (event.thread, event.start, -event.cpu_time_total))
    outer: list[FunctionEvent] = []
    for event in ordered:
        event.self_cpu_time_total = event.cpu_time_total
        event.self_cpu_memory_usage = event.cpu_memory_usage
        while outer and (outer[-1].thread != event.thread or outer[-1].end <= event.start):
            outer.pop()
        if outer:
            outer[-1].self_cpu_time_total -= event.cpu_time_total
            outer[-1].self_cpu_memory_usage -= event.cpu_memory_usage
        outer.append(event)
    return EventList(sorted(ordered, key=lambda event: event.start))


def _size(nbytes: int) -> str:
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if abs(nbytes) >= size:
            return f"{nbytes / size:.2f} {unit}"
    return f"{nbytes} B"


def _time(microseconds: float, unit: str | None) -> str:
    if unit is None:
        unit = "s" if microseconds >= 1e6 else "ms" if microseconds >= 1e3 else "us"
    return f"{microseconds / {'s': 1e6, 'ms': 1e3, 'us': 1.0}[unit]:.3f}{unit}"
