"""What a program would gain from more cores than this machine has: `python -m benchmarks.cores [--select REGEX]`.

For each number of cores kernels are compiled as they would be there, and timed on one thread. On P cores a kernel takes as long as
the core with most of its equal chunks, or as long as its bytes need at P cores' bandwidth, and a barrier besides. What the machine would really do, its caches and clocks, is
not in it; which kernels have too few chunks, and what barriers cost, is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
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


def measure(select: str, cores: int) -> None:
    """Print, a line each, a workload's name, its seconds on one core and on `cores`, and the shares of few chunks and of barriers there."""
    torch = load("flambeau")
    torch.set_num_threads(1)
    import flambeau
    from flambeau._runtime import targets

    targets.available_cores = lambda: cores  # which the sizes of blocks follow
    for key, workload in all_workloads().items():
        if not re.search(select, key):
            continue
        call = workload.setup(torch)
        for _ in range(3):
            touch(call())
        explanation = flambeau.explain(lambda call=call: touch(call()))
        bandwidth = explanation.limits.bandwidth
        one = sum(kernel.seconds for kernel in explanation.kernels)
        many = sum(seconds_on(kernel, cores, bandwidth) for kernel in explanation.kernels)
        few = sum(seconds_on(kernel, cores, bandwidth) for kernel in explanation.kernels if kernel.chunks < cores // 2)
        barriers = sum(
            BARRIER_SECONDS + BARRIER_PER_CORE * min(cores, kernel.chunks) for kernel in explanation.kernels if kernel.chunks > 1
        )
        print(json.dumps([workload.name, one, many, few / many, barriers / many]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cores", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--select", default="train step|demo", metavar="REGEX", help="only workloads whose group/name it is found in")
    parser.add_argument("--measure", type=int, metavar="P", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        return measure(options.select, options.measure)
    table: dict[str, list[list[Any]]] = {}
    for cores in CORES:
        command = [sys.executable, "-m", "benchmarks.cores", "--select", options.select, "--measure", str(cores)]
        output = subprocess.run(command, env={**os.environ, "FLAMBEAU_CACHE": "off"}, capture_output=True, text=True, check=True).stdout
        for line in output.splitlines():
            name, *figures = json.loads(line)
            table.setdefault(name, []).append(figures)
    print(f"{'speed on so many cores, one is 1':<44}" + "".join(f"{cores:>8}" for cores in CORES) + f"{'few chunks':>12}{'barriers':>10}")
    for name, rows in table.items():
        speeds = "".join(f"{rows[0][0] / many:>8.1f}" for _, many, _, _ in rows)
        print(f"{name:<44.44}{speeds}{rows[-1][2]:>12.0%}{rows[-1][3]:>10.0%}")


if __name__ == "__main__":
    main()
