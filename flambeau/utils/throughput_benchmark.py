"""How many calls of a module a machine gets done, from one thread or several."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import flambeau

__all__ = ["ExecutionStats", "ThroughputBenchmark", "format_time"]


def format_time(time_us: float | None = None, time_ms: float | None = None, time_s: float | None = None) -> str:
    """A time, given in exactly one unit, as text in that unit.

    Raises:
        AssertionError: none or several are given
    """
    given = [(value, unit) for value, unit in ((time_us, "us"), (time_ms, "ms"), (time_s, "s")) if value is not None]
    if len(given) != 1:
        raise AssertionError(f"give one of time_us, time_ms and time_s, not {len(given)} of them")
    return f"{given[0][0]:.3f}{given[0][1]}"


@dataclass(frozen=True)
class ExecutionStats:
    """What a benchmark has found.

    Attributes:
        latency_avg_ms: how long a call takes, in milliseconds
        num_iters: the calls that were measured
        total_time_seconds: the seconds from the first call's begin to the last one's end
    """

    latency_avg_ms: float
    num_iters: int
    total_time_seconds: float

    @property
    def iters_per_second(self) -> float:
        """Calls a second, of all threads together."""
        return self.num_iters / self.total_time_seconds

    def __str__(self) -> str:
        return (
            f"Average latency per example: {format_time(time_ms=self.latency_avg_ms)}\n"
            f"Total number of iterations: {self.num_iters}\n"
            f"Total number of iterations per second (across all threads): {self.iters_per_second:.2f}\n"
            f"Total time: {format_time(time_s=self.total_time_seconds)}"
        )


class ThroughputBenchmark:
    """Calls a module again and again with inputs that it was given, and computes each result.

    Args:
        module: a module or a function

    Example:
        >>> import flambeau
        >>> from flambeau.utils.throughput_benchmark import ThroughputBenchmark
        >>> bench = ThroughputBenchmark(flambeau.nn.Linear(4, 2))
        >>> bench.add_input(flambeau.ones(3, 4))
        >>> bench.benchmark(num_warmup_iters=1, num_iters=10).num_iters
        10
    """

    def __init__(self, module: Callable) -> None:
        self._module = module
        self._inputs: list[tuple[tuple, dict[str, Any]]] = []

    def add_input(self, *args: Any, **kwargs: Any) -> None:
        """Add arguments to call the module with; each call takes those of one ``add_input``, drawn at random."""
        self._inputs.append((args, kwargs))

    def run_once(self, *args: Any, **kwargs: Any) -> Any:
        """What the module gives for some arguments."""
        return self._module(*args, **kwargs)

    def benchmark(
        self, num_calling_threads: int = 1, num_warmup_iters: int = 10, num_iters: int = 100, profiler_output_path: str = ""
    ) -> ExecutionStats:
        """Measure.

        Args:
            num_calling_threads: threads that call at the same time
            num_warmup_iters: calls of each thread before the clock starts
            num_iters: calls that are measured, of all threads together
            profiler_output_path: where to write a trace of the measured calls of one thread; several cannot be traced

        Raises:
            RuntimeError: there is no input
            ValueError: there are no threads or calls, or several threads are to be traced
        """
        if not self._inputs:
            raise RuntimeError("there is no input to call the module with: use add_input first")
        if num_calling_threads < 1 or num_iters < 1:
            raise ValueError(f"at least one thread and one call are needed, not {num_calling_threads} and {num_iters}")
        if profiler_output_path and num_calling_threads > 1:
            raise ValueError("a trace is taken of one thread: set num_calling_threads to 1, or leave profiler_output_path out")
        share, rest = divmod(num_iters, num_calling_threads)
        started = threading.Barrier(num_calling_threads + 1)
        spans: list[tuple[float, float]] = []
        errors: list[BaseException] = []

        def run(number: int) -> None:
            choose = random.Random(number).choice
            try:
                for _ in range(num_warmup_iters):
                    self._call(choose(self._inputs))
                started.wait()
                begin = time.perf_counter()
                for _ in range(share + (number < rest)):
                    self._call(choose(self._inputs))
                spans.append((begin, time.perf_counter()))
            except BaseException as error:
                errors.append(error)
                started.abort()

        with self._profile(profiler_output_path):
            if num_calling_threads == 1:
                started = threading.Barrier(1)
                run(0)
            else:
                self._in_threads(run, num_calling_threads, started)
        if errors:
            raise next((error for error in errors if not isinstance(error, threading.BrokenBarrierError)), errors[0])
        total = max(end for _, end in spans) - min(begin for begin, _ in spans)
        return ExecutionStats(1000 * sum(end - begin for begin, end in spans) / num_iters, num_iters, total)

    def _call(self, given: tuple[tuple, dict[str, Any]]) -> None:
        result = self._module(*given[0], **given[1])
        flambeau.flush()
        del result  # only now: what nobody can reach is not computed

    @staticmethod
    def _profile(path: str) -> Any:
        if not path:
            return nullcontext()
        from flambeau.profiler import profile

        return profile(on_trace_ready=lambda taken: taken.export_chrome_trace(path))

    @staticmethod
    def _in_threads(run: Callable[[int], None], count: int, started: threading.Barrier) -> None:
        grad = flambeau.is_grad_enabled()

        def begin(number: int) -> None:
            with flambeau.set_grad_enabled(grad):
                run(number)

        threads = [threading.Thread(target=begin, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        with suppress(threading.BrokenBarrierError):  # the error of the thread that broke it is raised
            started.wait()
        for thread in threads:
            thread.join()
