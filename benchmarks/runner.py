"""Times one workload on one side, in a process of its own: `python -m benchmarks.runner SIDE KEY THREADS SECONDS FILE`.

Prints one line of JSON, and leaves a sample of the first call's results in FILE. It imports nothing that a side imports, so
that the import can be timed.
"""

from __future__ import annotations

import gc
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

SAMPLE = 100_000  # values of each result that are kept for the comparison
SUPPLIED = 1536 << 20  # bytes of memory that the host has given this machine before the first call
TOUCH = """
import ctypes, mmap, sys
pages = mmap.mmap(-1, int(sys.argv[1]), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
pages.madvise(mmap.MADV_HUGEPAGE)
ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(pages)), 1, len(pages))
"""


def load(side: str, threads: int) -> ModuleType:
    """The package of a side, under the name `torch` on both, so that workloads may import from it."""
    if side == "flambeau":
        from flambeau._alias import install_as_torch

        install_as_torch()
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return torch


def read(result: Any) -> Iterator[Any]:
    """The bytes of everything that a call returned, as NumPy arrays; a deferred result is computed for it."""
    if isinstance(result, (list, tuple)):
        for part in result:
            yield from read(part)
    elif hasattr(result, "detach"):
        tensor = result.detach()
        yield (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    else:
        yield result


def touch(result: Any) -> None:
    for part in read(result):
        if hasattr(part, "flat") and part.size:
            part.flat[-1]


def peak_megabytes() -> float:
    """The most memory that this process has held. (`ru_maxrss` would count what its parent held when it forked.)"""
    with open("/proc/self/status", encoding="utf-8") as status:
        peak = next(line for line in status if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 1024


def supply_memory() -> None:
    """Have `SUPPLIED` bytes of free memory that the machine really holds.

    A virtual machine gives memory that lies free back to its host and gets it again page by page, at a second for a gigabyte:
    a first call would be charged for how long the machine had been idle. A child touches the memory, so that this process
    does not count it as its own.
    """
    subprocess.run([sys.executable, "-c", TOUCH, str(SUPPLIED)], check=True)


def timed(call: Callable[[], Any], record_only: bool) -> float:
    """Seconds that the call takes, with its results read, or (`record_only`) read afterwards."""
    begin = time.perf_counter()
    result = call()
    if record_only:
        seconds = time.perf_counter() - begin
        touch(result)
        return seconds
    touch(result)
    return time.perf_counter() - begin


def measure(call: Callable[[], Any], record_only: bool, budget: float) -> list[float]:
    """Times of single calls, for `budget` seconds and at least three calls, after two that warm up."""
    for _ in range(2):
        timed(call, record_only)
    gc.collect()
    times: list[float] = []
    end = time.perf_counter() + budget
    while time.perf_counter() < end or len(times) < 3:
        times.append(timed(call, record_only))
    return times


def main(side: str, key: str, threads: str, seconds: str, file: str) -> None:
    begin = time.perf_counter()
    torch = load(side.partition("-")[0], int(threads))
    import_seconds, import_megabytes = time.perf_counter() - begin, peak_megabytes()

    import numpy as np

    from benchmarks.workload import all_workloads

    workload = all_workloads()[key]
    call = workload.setup(torch)
    if side == "torch-compile":
        call = torch.compile(call)
    supply_memory()
    before = peak_megabytes()
    begin = time.perf_counter()
    results = list(read(call()))
    first = time.perf_counter() - begin
    np.savez(file, *(thin(np.asarray(part)) for part in results))
    del results
    times = measure(call, workload.record_only, float(seconds))
    print(
        json.dumps(
            {
                "import_seconds": import_seconds,
                "import_megabytes": import_megabytes,
                "first_seconds": first,
                "seconds": min(times),
                "median_seconds": sorted(times)[len(times) // 2],
                "calls": len(times),
                "megabytes": peak_megabytes(),
                "added_megabytes": peak_megabytes() - before,
            }
        )
    )


def thin(values: Any) -> Any:
    """An evenly spaced sample of an array's values, with its shape and its size at the end where a change would show."""
    flat = values.reshape(-1)
    return flat[:: max(1, len(flat) // SAMPLE)]


if __name__ == "__main__":
    main(*sys.argv[1:])
