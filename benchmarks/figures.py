"""What is made of the runs: the rows of the table, the means of the groups, and whether they reach their targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workload import Workload

HEADINGS = ("", "flambeau", "peer", "ratio", "of limit", "peer's", "first", "cached", "peer's", "memory", "peer's")
ROW = "{:<58.58} {:>10} {:>10} {:>6} {:>9} {:>7} {:>8} {:>8} {:>8} {:>7} {:>7}"

TARGETS = {
    "conv2d": (1.2, 0.95),
    "conv2d, other": (1.7, 0.95),
    "conv_transpose2d": (1.8, 1.0),
    "group_norm": (1.4, 1.0),
    "group_norm and SiLU": (2.0, 1.0),
    "scatter": (2.5, 1.2),
    "overhead": (2.5, 1.0),
    "memory": (3.0, 1.0),
    "matmul": (1.2, 0.95),
    "sorting": (1.5, 1.0),
    "models": (1.5, 1.15),
    "networks": (1.5, 1.15),
}
"""The geometric mean and the worst ratio to PyTorch that a group has to reach."""
COMPILED_TARGETS = {"models": (1.2, 1.0), "networks": (1.2, 1.0)}
"""The same for PyTorch's `torch.compile`."""
MORE_THREADS = 1.8
"""How many times as fast as one thread two have to be, in rows of more than 5 ms that memory does not hold up."""


def merged(runs: list[dict[str, Any]], workload: Workload, limits: dict[str, Any]) -> dict[str, Any]:
    """The best of several runs of one side, per operation, with its share of the machine's limits."""
    failed = [run["error"] for run in runs if "error" in run]
    if failed or not runs:
        return {"error": failed[0]} if failed else {}
    best = {name: min(run[name] for run in runs) for name in runs[0]}
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


def mean(ratios: Iterable[float]) -> float:
    """The geometric mean."""
    logarithms = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logarithms) / len(logarithms))


def summary(group: str, rows: list[dict[str, Any]], peer: str) -> str:
    """A group's mean and worst row, and, if there are targets, whether they are reached."""
    ratios = {row["name"]: row["ratio"] for row in rows if "ratio" in row}
    if not ratios:
        return ""
    worst = min(ratios, key=ratios.__getitem__)
    text = f"{group}: geometric mean {mean(ratios.values()):.2f} over {len(ratios)}, worst {ratios[worst]:.2f} ({worst})"
    targets = {"torch": TARGETS, "torch-compile": COMPILED_TARGETS}.get(peer, {})
    if group not in targets:
        return text
    of_mean, of_worst = targets[group]
    below = [name for name, ratio in ratios.items() if ratio < of_worst]
    missed = ["the mean"] if mean(ratios.values()) < of_mean else []
    missed += [f"{len(below)} row{'s' * (len(below) != 1)}"] if below else []
    return f"{text}; target {of_mean} and {of_worst}: " + (f"missed by {' and '.join(missed)}" if missed else "reached")


def slow_with_threads(rows: list[dict[str, Any]]) -> list[str]:
    """Rows of more than 5 ms, not held up by memory, that more threads do not make as much faster as they have to."""
    return [
        f"{row['group']}/{row['name']} ({row['ratio']:.2f})"
        for row in rows
        if row.get("ratio", MORE_THREADS) < MORE_THREADS and row["flambeau"]["seconds"] > 5e-3 and "gbytes" not in row["flambeau"]
    ]
