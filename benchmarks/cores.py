"""What a program would gain from more cores than this machine has: `python -m benchmarks.cores [--select REGEX]`.

Each kernel of a workload's steady state is timed on one thread. On P cores it takes as long as the core with most of its equal chunks,
or as long as its bytes need at P cores' bandwidth, and a barrier besides. What the machine would really do, its caches and clocks, is
not in it; which kernels have too few chunks, and what barriers cost, is.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from typing import Any

from benchmarks.runner import load, touch
from benchmarks.workload import all_workloads

CORES = (1, 2, 8, 32, 128)
CHANNEL_CORES = 8
"""So many cores have as much bandwidth as the memory of a socket gives; more have no more."""
BARRIER_SECONDS, BARRIER_PER_CORE = 0.4e-6, 0.08e-6
"""Ringing the bell, and each further core's claim and report, which are transfers of a cache line one after the other."""


def seconds_on(kernel: Any, cores: int, bandwidth: float) -> float:
    """How long a kernel takes on so many cores, by what it took on one."""
    if kernel.chunks <= 1 or cores == 1:
        return kernel.seconds
    computing = -(-kernel.chunks // cores) / kernel.chunks * kernel.seconds
    moving = min((kernel.bytes_read + kernel.bytes_written) / bandwidth / min(cores, CHANNEL_CORES), kernel.seconds)
    return max(computing, moving) + BARRIER_SECONDS + BARRIER_PER_CORE * min(cores, kernel.chunks)


def simulate(kernels: Iterable[Any], bandwidth: float) -> dict[int, float]:
    """The seconds of all kernels together for each number of cores."""
    listed = list(kernels)
    return {cores: sum(seconds_on(kernel, cores, bandwidth) for kernel in listed) for cores in CORES}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cores", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--select", default="train step|demo", metavar="REGEX", help="only workloads whose group/name it is found in")
    options = parser.parse_args()
    torch = load("flambeau", 1)
    import flambeau

    print(f"{'speed on so many cores, one is 1':<52}" + "".join(f"{cores:>8}" for cores in CORES) + f"{'few chunks':>12}{'barriers':>10}")
    for key, workload in all_workloads().items():
        if not re.search(options.select, key):
            continue
        call = workload.setup(torch)
        for _ in range(3):
            touch(call())
        explanation = flambeau.explain(lambda call=call: touch(call()))
        bandwidth = explanation.limits.bandwidth
        times = simulate(explanation.kernels, bandwidth)
        most = CORES[-1]
        few = sum(seconds_on(kernel, most, bandwidth) for kernel in explanation.kernels if kernel.chunks < most // 2)
        barriers = sum(BARRIER_SECONDS + BARRIER_PER_CORE * min(most, kernel.chunks) for kernel in explanation.kernels if kernel.chunks > 1)
        speeds = "".join(f"{times[1] / times[cores]:>8.1f}" for cores in CORES)
        print(f"{workload.name:<52.52}{speeds}{few / times[most]:>12.0%}{barriers / times[most]:>10.0%}", flush=True)


if __name__ == "__main__":
    main()
