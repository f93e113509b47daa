"""Timing: how long a statement takes, with what it has recorded computed each time."""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import flambeau
from flambeau._tape.tape import flush, settle

__all__ = ["Compare", "Measurement", "TaskSpec", "Timer", "select_unit", "timer", "trim_sigfig", "unit_to_english"]

_SETTLE = "_flambeau_settle"
_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
_ENGLISH = {"ns": "nanosecond", "us": "microsecond", "ms": "millisecond", "s": "second"}


def timer() -> float:
    """The time in seconds, once everything that was recorded is computed."""
    flush()
    return timeit.default_timer()


def select_unit(t: float) -> tuple[str, float]:
    """The unit that shows a time in seconds best, and how many seconds it is."""
    for unit, seconds in _UNITS.items():
        if t < 1000 * seconds:
            return unit, seconds
    return "s", 1.0


def unit_to_english(u: str) -> str:
    """The unit's name."""
    return _ENGLISH[u]


def trim_sigfig(x: float, n: int) -> float:
    """A number with ``n`` digits."""
    return float(f"{x:.{n}g}")


@dataclass(frozen=True)
class TaskSpec:
    """What is timed, and how it is called in a table."""

    stmt: str
    setup: str
    global_setup: str = ""
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    env: str | None = None
    num_threads: int = 1

    @property
    def title(self) -> str:
        """A line that names the task."""
        return self.label or self.stmt


@dataclass
class Measurement:
    """Times of a statement.

    Attributes:
        number_per_run: how often it ran each time
        raw_times: the seconds that these runs took
    """

    number_per_run: int
    raw_times: list[float]
    task_spec: TaskSpec
    metadata: dict[str, Any] | None = field(default=None)

    @property
    def times(self) -> list[float]:
        """Seconds for one run of the statement, each time."""
        return [time / self.number_per_run for time in self.raw_times]

    @property
    def mean(self) -> float:
        """The mean of the times."""
        return statistics.fmean(self.times)

    @property
    def median(self) -> float:
        """The median of the times."""
        return statistics.median(self.times)

    @property
    def iqr(self) -> float:
        """The range in which the middle half of the times lies."""
        if len(self.times) < 2:
            return 0.0
        quarters = statistics.quantiles(self.times, n=4, method="inclusive")
        return quarters[2] - quarters[0]

    @property
    def significant_figures(self) -> int:
        """How many digits of the median mean something."""
        return 4 if self.iqr < 1e-3 * self.median else 3 if self.iqr < 1e-2 * self.median else 2

    @property
    def has_warnings(self) -> bool:
        """Whether the times differ so much that they say little."""
        return self.iqr > 0.1 * self.median

    def __getattr__(self, name: str) -> Any:
        spec = self.__dict__.get("task_spec")
        if spec is None or not hasattr(spec, name):
            raise AttributeError(name)
        return getattr(spec, name)

    def __repr__(self) -> str:
        unit, seconds = select_unit(self.median)
        lines = [f"<{__name__.replace('flambeau', 'torch')}.Measurement object at {id(self):#x}>", self.task_spec.title]
        if self.task_spec.setup and self.task_spec.setup != "pass":
            lines.append(f"setup: {self.task_spec.setup}")
        many = len(self.times) > 1
        lines.append(f"  {'Median: ' if many else ''}{self.median / seconds:.2f} {unit}")
        if many:
            lines.append(f"  IQR:    {self.iqr / seconds:.2f} {unit}")
        lines.append(
            f"  {len(self.times)} measurement{'s' if many else ''}, {self.number_per_run} runs {'per measurement' if many else ''}, "
            f"{self.task_spec.num_threads} thread{'s' if self.task_spec.num_threads > 1 else ''}".replace(" ,", ",")
        )
        return "\n".join(lines)

    @staticmethod
    def merge(measurements: Sequence[Measurement]) -> list[Measurement]:
        """One measurement for each task, with the times of all of them."""
        found: dict[TaskSpec, list[float]] = {}
        for each in measurements:
            found.setdefault(each.task_spec, []).extend(each.times)
        return [Measurement(1, times, spec) for spec, times in found.items()]


class Timer:
    """Times a statement; what it gives is computed each time, even if it is dropped.

    Args:
        stmt, setup: Python's source, as for ``timeit``
        globals: the names that they use
        label, sub_label, description: how a table calls the task, its row and its column
        num_threads: with how many threads it is computed

    Example::

        >>> x = flambeau.ones(100)
        >>> measurement = flambeau.utils.benchmark.Timer("x.sum()", globals={"x": x}).timeit(3)
        >>> measurement.mean > 0
        True
    """

    def __init__(
        self,
        stmt: str = "pass",
        setup: str = "pass",
        global_setup: str = "",
        timer: Callable[[], float] = timer,
        globals: dict[str, Any] | None = None,
        label: str | None = None,
        sub_label: str | None = None,
        description: str | None = None,
        env: str | None = None,
        num_threads: int = 1,
        language: Any = "python",
    ) -> None:
        if str(language).lower() not in ("python", "language.python", "0", "py"):
            raise NotImplementedError(f"Timer: only Python's statements can be timed, not {language}")
        if global_setup:
            raise ValueError(f"global_setup is for statements in C++, got {global_setup!r}: use setup")
        names = {**(globals or {}), "torch": flambeau, _SETTLE: settle}
        self._timer = timeit.Timer(f"{stmt}\n{_SETTLE}()", setup, timer, names)
        self._task_spec = TaskSpec(stmt, setup, global_setup, label, sub_label, description, env, num_threads)

    def _timeit(self, number: int) -> float:
        before = flambeau.get_num_threads()
        flambeau.set_num_threads(self._task_spec.num_threads)
        try:
            return max(self._timer.timeit(number), 1e-9)
        finally:
            flambeau.set_num_threads(before)

    def timeit(self, number: int = 1_000_000) -> Measurement:
        """Run the statement so often, after a hundredth of that to warm up."""
        self._timeit(max(number // 100, 2))
        return Measurement(number, [self._timeit(number)], self._task_spec)

    def _block_size(self, min_run_time: float) -> int:
        """How often the statement runs in a thousandth of the time, and at least once."""
        number = 1
        self._timeit(2)
        while self._timeit(number) < min_run_time / 1000:
            number *= 10
        return number

    def blocked_autorange(self, callback: Callable | None = None, min_run_time: float = 0.2) -> Measurement:
        """Run the statement in blocks until so many seconds have passed."""
        number = self._block_size(min_run_time)
        times: list[float] = []
        while sum(times) < min_run_time:
            times.append(self._timeit(number))
            if callback is not None:
                callback(number, times[-1])
        return Measurement(number, times, self._task_spec)

    def adaptive_autorange(
        self, threshold: float = 0.1, *, min_run_time: float = 0.01, max_run_time: float = 10.0, callback: Callable | None = None
    ) -> Measurement:
        """Run the statement until the times agree, up to ``max_run_time`` seconds."""
        number = self._block_size(min_run_time)
        times: list[float] = []
        while sum(times) < max_run_time:
            times.append(self._timeit(number))
            if callback is not None:
                callback(number, times[-1])
            found = Measurement(number, times, self._task_spec)
            if sum(times) >= min_run_time and len(times) >= 4 and found.iqr < threshold * found.median:
                break
        return found

    def collect_callgrind(self, *args: Any, **options: Any) -> Any:
        """Raises ``NotImplementedError``: instructions are not counted."""
        raise NotImplementedError("collect_callgrind counts instructions under Valgrind; see flambeau.profiler for where time goes")


class Compare:
    """A table of measurements: rows are tasks, columns descriptions."""

    def __init__(self, results: Sequence[Measurement]) -> None:
        self._results = list(results)
        self._trimmed = self._highlighted = False

    def extend_results(self, results: Sequence[Measurement]) -> None:
        """Add measurements."""
        self._results.extend(results)

    def trim_significant_figures(self) -> None:
        """Show no more digits than mean something."""
        self._trimmed = True

    def colorize(self, rowwise: bool = False) -> None:
        """Ask for colours, which tables do not have: they are the same text in a file and on a screen."""

    def highlight_warnings(self) -> None:
        """Mark times that differ much."""
        self._highlighted = True

    def print(self) -> None:
        """Print the table."""
        print(str(self))

    def __str__(self) -> str:
        merged = Measurement.merge(self._results)
        unit, seconds = select_unit(min((each.median for each in merged), default=1.0))
        tables = []
        for label in dict.fromkeys(each.task_spec.title for each in merged):
            tables.append(self._table([each for each in merged if each.task_spec.title == label], label, seconds))
        return "\n".join(tables) + f"\nTimes are in {unit_to_english(unit)}s ({unit}).\n"

    def _table(self, measurements: list[Measurement], label: str, seconds: float) -> str:
        columns = list(dict.fromkeys(each.task_spec.description or "" for each in measurements))
        cells: dict[tuple[int, str], dict[str, str]] = {}
        for each in measurements:
            value = trim_sigfig(each.median / seconds, each.significant_figures) if self._trimmed else each.median / seconds
            mark = " (!)" if self._highlighted and each.has_warnings else ""
            row = cells.setdefault((each.task_spec.num_threads, each.task_spec.sub_label or each.task_spec.stmt), {})
            row[each.task_spec.description or ""] = f"{value:.1f}{mark}"
        left = max(len(name) + 6 for _, name in cells)
        widths = [max(len(column), *(len(row.get(column, "")) for row in cells.values())) for column in columns]
        head = " " * left + "  |  " + "  |  ".join(column.center(width) for column, width in zip(columns, widths, strict=True))
        lines = [f"[{label.center(len(head) - 2, '-')}]", head]
        threads = None
        for (count, name), row in sorted(cells.items(), key=lambda cell: cell[0][0]):
            if count != threads:
                lines.append(f"{count} threads: ".ljust(len(head), "-"))
                threads = count
            shown = [row.get(column, "").rjust(width) for column, width in zip(columns, widths, strict=True)]
            lines.append(f"      {name}".ljust(left) + "  |  " + "  |  ".join(shown))
        return "\n".join(lines) + "\n"
