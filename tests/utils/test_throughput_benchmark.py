"""Calls of a module, counted and timed."""

from __future__ import annotations

import threading

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.utils.throughput_benchmark import ThroughputBenchmark, format_time


@pytest.mark.parametrize("threads", [1, 3])
def test_as_many_calls_as_asked_for(threads):
    calls = []

    def function(x, scale):
        calls.append(threading.get_ident())
        return x * scale

    bench = ThroughputBenchmark(function)
    bench.add_input(torch.ones(2), scale=2.0)
    bench.add_input(torch.ones(3), scale=3.0)
    stats = bench.benchmark(num_calling_threads=threads, num_warmup_iters=2, num_iters=10)
    assert len(calls) == 10 + 2 * threads and len(set(calls)) == threads and stats.num_iters == 10
    assert stats.iters_per_second == pytest.approx(10 / stats.total_time_seconds) and "Total number of iterations: 10" in str(stats)
    assert bench.run_once(torch.ones(2), 4.0).tolist() == [4.0, 4.0]


def test_trace(tmp_path):
    bench = ThroughputBenchmark(nn.Linear(4, 4))
    bench.add_input(torch.ones(2, 4))
    bench.benchmark(num_iters=2, profiler_output_path=tmp_path / "trace.json")
    assert (tmp_path / "trace.json").stat().st_size > 0


@pytest.mark.parametrize("threads", [1, 2])
def test_errors_are_raised(threads):
    bench = ThroughputBenchmark(lambda x: 1 / 0)
    with pytest.raises(RuntimeError, match="add_input"):
        bench.benchmark()
    bench.add_input(torch.ones(1))
    with pytest.raises(ZeroDivisionError):
        bench.benchmark(num_calling_threads=threads)
    with pytest.raises(ValueError, match="at least one"):
        bench.benchmark(num_calling_threads=0)


def test_format_time():
    assert format_time(time_us=12.3) == "12.300us" and format_time(time_s=1) == "1.000s"
    with pytest.raises(AssertionError, match="2 of them"):
        format_time(1, 2)
