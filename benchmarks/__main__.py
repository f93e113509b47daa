"""`python -m benchmarks`: the same work on Flambeau and on PyTorch, and how they compare.

Each workload runs in fresh processes, in turn: Flambeau with an empty cache, the peer, Flambeau with the cache that the
first left, the peer again. The times are those of the fastest call of both. A ratio above 1 means that Flambeau is faster.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.workload import Workload, all_workloads
from benchmarks.workloads.surroundings import IMPORT

ROOT = Path(__file__).resolve().parent.parent
HEADINGS = ("", "flambeau", "peer", "ratio", "of limit", "peer's", "first", "cached", "peer's", "memory", "peer's")
ROW = "{:<52.52} {:>10} {:>10} {:>6} {:>9} {:>7} {:>8} {:>8} {:>8} {:>7} {:>7}"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--select", default="", metavar="REGEX", help="only workloads whose group/name it is found in")
    parser.add_argument("--peer", choices=("torch", "torch-compile", "none"), default="torch", help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="on both sides (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="to time each workload for, in each process (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw the ratios, as a PNG (needs pillow)")
    parser.add_argument("--list", action="store_true", help="only say which workloads there are")
    return parser.parse_args()


def run(side: str, workload: Workload, options: argparse.Namespace, cache: Path, file: Path) -> dict[str, Any]:
    """One process: its figures, or why there are none."""
    threads = str(options.threads)
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    if side == "flambeau":  # which is not installed, with its bytecode, as the peer is
        environment |= {"PYTHONPYCACHEPREFIX": str(cache / "bytecode"), "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.runner", side, workload.key, threads, str(options.seconds), str(file)]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if result.returncode:
        return {"error": (result.stderr.strip().rpartition("\n")[2] or f"exit status {result.returncode}")}
    return json.loads(result.stdout.strip().rpartition("\n")[2])


def compare(workload: Workload, options: argparse.Namespace, limits: dict[str, Any]) -> dict[str, Any]:
    """Run a workload on both sides in turn and put the figures side by side."""
    with tempfile.TemporaryDirectory(prefix="flambeau-bench-") as folder:
        cache, ours_file, peer_file = Path(folder, "cache"), Path(folder, "ours.npz"), Path(folder, "peer.npz")
        cold = run("flambeau", workload, options, cache, ours_file)
        peer = [] if options.peer == "none" else [run(options.peer, workload, options, cache, peer_file)]
        warm = run("flambeau", workload, options, cache, ours_file)
        peer += [run(options.peer, workload, options, cache, peer_file)] if peer and "error" not in peer[0] else []
        row: dict[str, Any] = {"group": workload.group, "name": workload.name, "per": workload.per}
        row["flambeau"] = merged([cold, warm], workload, limits)
        row["peer"] = merged(peer, workload, limits)
        if "error" not in cold:
            row["flambeau"]["first_cold_seconds"] = cold["first_seconds"]
        if "seconds" in row["flambeau"] and "seconds" in row["peer"]:
            row["ratio"] = row["peer"]["seconds"] / row["flambeau"]["seconds"]
            row["difference"] = difference(ours_file, peer_file)
            row["agrees"] = row["difference"] <= workload.tolerance
    return row


def merged(runs: list[dict[str, Any]], workload: Workload, limits: dict[str, Any]) -> dict[str, Any]:
    """The best of several runs of one side, per operation, with its share of the machine's limits."""
    failed = [run["error"] for run in runs if "error" in run]
    if failed or not runs:
        return {"error": failed[0]} if failed else {}
    best = {name: min(run[name] for run in runs) for name in runs[0]}
    if workload.name == IMPORT:
        best |= {"seconds": best["import_seconds"], "megabytes": best["import_megabytes"]}
    if workload.flops:
        best["gflops"] = workload.flops / best["seconds"] / 1e9
        best["share"] = best["gflops"] / limits["gflops"]
    elif workload.bytes:
        best["gbytes"] = workload.bytes / best["seconds"] / 1e9
        best["share"] = best["gbytes"] / limits["gbytes"]
    best["seconds"] /= workload.per
    return best


def difference(ours: Path, peer: Path) -> float:
    """The largest difference between the first results of both sides, relative to the largest value; infinite if they do not match."""
    worst = 0.0
    with np.load(ours) as left, np.load(peer) as right:
        if left.files != right.files or any(left[name].shape != right[name].shape for name in left.files):
            return math.inf
        for name in left.files:
            a, b = (side[name].astype(np.complex128 if np.iscomplexobj(side[name]) else np.float64) for side in (left, right))
            if a.size:
                worst = max(worst, float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-12)))
    return worst


def duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def show(row: dict[str, Any]) -> str:
    """A row of the table."""
    ours, peer = row["flambeau"], row["peer"]

    def cell(figures: dict[str, Any], name: str, write: Callable[[Any], str]) -> str:
        return write(figures[name]) if name in figures else ""

    share = lambda value: f"{value:.0%}"
    megabytes = lambda value: f"{value:.0f} MB"
    line = ROW.format(
        row["name"],
        cell(ours, "seconds", duration),
        cell(peer, "seconds", duration),
        f"{row['ratio']:.2f}" if "ratio" in row else "",
        cell(ours, "share", share),
        cell(peer, "share", share),
        cell(ours, "first_cold_seconds", duration),
        cell(ours, "first_seconds", duration),
        cell(peer, "first_seconds", duration),
        cell(ours, "megabytes", megabytes),
        cell(peer, "megabytes", megabytes),
    )
    notes = [f"    {side}: {figures['error']}" for side, figures in (("flambeau", ours), ("peer", peer)) if "error" in figures]
    if not row.get("agrees", True):
        notes.append(f"    the results differ, by {row['difference']:.2g} of the largest value")
    return "\n".join([line, *notes])


def summary(group: str, rows: list[dict[str, Any]]) -> str:
    ratios = {row["name"]: row["ratio"] for row in rows if "ratio" in row}
    if not ratios:
        return ""
    mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
    worst = min(ratios, key=ratios.__getitem__)
    return f"{group}: geometric mean {mean:.2f} over {len(ratios)}, worst {ratios[worst]:.2f} ({worst})"


def main() -> int:
    options = parse_arguments()
    chosen = [workload for key, workload in all_workloads().items() if re.search(options.select, key)]
    if options.list:
        print(*(workload.key for workload in chosen), sep="\n")
        return 0
    limits = machine.describe(options.threads)
    print(
        f"{limits['processor']}, {options.threads} threads: at most {limits['gflops']:.0f} GFLOP/s (float32 multiply-adds), "
        f"{limits['gbytes']:.1f} GB/s (copy); peer: {options.peer}"
    )
    rows: list[dict[str, Any]] = []
    for group in dict.fromkeys(workload.group for workload in chosen):
        print("\n" + ROW.format(group, *HEADINGS[1:]))
        for workload in chosen:
            if workload.group == group:
                rows.append(compare(workload, options, limits))
                print(show(rows[-1]), flush=True)
    print()
    for group in dict.fromkeys(row["group"] for row in rows):
        print(summary(group, [row for row in rows if row["group"] == group]))
    print(summary("all", rows))
    if options.json:
        options.json.write_text(json.dumps({"machine": limits, "peer": options.peer, "rows": rows}, indent=1) + "\n", "utf-8")
    if options.chart:
        from benchmarks.chart import draw

        draw(rows, options.peer, options.chart)
    wrong = [row for row in rows if "error" in row["flambeau"] or not row.get("agrees", True)]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
