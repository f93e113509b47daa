"""One side of the benchmarks: `python -m benchmarks.runner SIDE THREADS` imports it, and runs each workload in a process of its own.

It says in a line of JSON what the import took, reads a line of JSON for each run (`Request`), forks, and prints the child's figures as a line of JSON.
A child has imported its side and done nothing else. This module imports nothing that a side imports, so that the import can be timed.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

SAMPLE = 100_000  # values of each result that are kept for the comparison


def load(side: str) -> ModuleType:
    """The package of a side, under the name `torch` on both, so that workloads may import from it."""
    if side == "flambeau":
        from flambeau._alias import install_as_torch

        install_as_torch()
    return importlib.import_module("torch")


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


def megabytes(field: str) -> float:
    """What `/proc` says of this process's memory: `VmRSS`, what it holds, or `VmHWM`, the most that it has held since it was forked."""
    with open("/proc/self/status", encoding="utf-8") as status:
        line = next(line for line in status if line.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024


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


def figures(torch: ModuleType, side: str, request: dict[str, Any], unmapped: float) -> dict[str, Any]:
    """Times one workload, and leaves a sample of the first call's results in the file `request["file"]`.

    `unmapped` megabytes are the parent's and not mapped here yet, which a process that had imported the side itself would hold.
    """
    import numpy as np

    from benchmarks.workload import all_workloads

    torch.set_num_threads(request["threads"])
    torch.manual_seed(0)
    workload = all_workloads()[request["key"]]
    call = workload.setup(torch)
    if side == "torch-compile":
        # Random numbers as without it (its own are others), so that results can be compared.
        torch._inductor.config.fallback_random = True
        call = torch.compile(call)
    begin = time.perf_counter()
    results = list(read(call()))
    first = time.perf_counter() - begin
    np.savez(request["file"], *(thin(np.asarray(part)) for part in results))
    del results
    times = measure(call, workload.record_only, request["seconds"])
    return {
        "first_seconds": first,
        "seconds": min(times),
        "median_seconds": sorted(times)[len(times) // 2],
        "calls": len(times),
        "megabytes": megabytes("VmHWM") + unmapped,
    }


def thin(values: Any) -> Any:
    """An evenly spaced sample of an array's values, with its shape and its size at the end where a change would show."""
    flat = values.reshape(-1)
    return flat[:: max(1, len(flat) // SAMPLE)]


def in_child(torch: ModuleType, side: str, request: dict[str, Any], held: float) -> None:
    """Run a request in this process, which is a fork, and end it."""
    os.environ |= {"XDG_CACHE_HOME": request["cache"], "TORCHINDUCTOR_CACHE_DIR": os.path.join(request["cache"], "inductor")}
    status = 0
    try:
        answer = figures(torch, side, request, max(0.0, held - megabytes("VmRSS")))
    except BaseException as error:
        traceback.print_exc()
        answer, status = {"error": f"{type(error).__name__}: {error}".partition("\n")[0]}, 1
    print(json.dumps(answer), flush=True)
    os._exit(status)


def main(side: str, threads: str) -> None:
    begin = time.perf_counter()
    torch = load(side.partition("-")[0])
    held = megabytes("VmRSS")
    print(json.dumps({"import_seconds": time.perf_counter() - begin, "import_megabytes": held}), flush=True)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            in_child(torch, side, {"threads": int(threads), **json.loads(line)}, held)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status < 0:
            print(json.dumps({"error": f"killed by signal {-status}"}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
