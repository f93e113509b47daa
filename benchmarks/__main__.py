"""`python -m benchmarks`: the same work on Flambeau and on PyTorch, and how they compare.

Each workload runs in fresh processes, in turn: Flambeau with an empty cache, the peer, Flambeau with the cache that the
first left, the peer again. The times are those of the fastest call of both. A ratio above 1 means that Flambeau is faster.
With `--peer one-thread` the peer is Flambeau on one thread, and the results have to be the same bits.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.figures import HEADINGS, ROW, difference, merged, show, slow_with_threads, summary
from benchmarks.sides import PEERS, Side, compile_bytecode, opened, supply_memory
from benchmarks.workload import Workload, all_workloads
from benchmarks.workloads.surroundings import IMPORT


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--select", default="", metavar="REGEX", help="only workloads whose group/name it is found in")
    parser.add_argument("--peer", choices=PEERS, default="torch", help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="on both sides (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="to time each workload for, in each process (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw the ratios, as a PNG (needs pillow)")
    parser.add_argument("--readme", action="store_true", help="write the READMEs' tables and docs/benchmarks.png, too")
    parser.add_argument("--list", action="store_true", help="only say which workloads there are")
    return parser.parse_args()


class Comparison:
    """Both sides, and where they put their files."""

    def __init__(self, options: argparse.Namespace, folder: Path, ours: Side, peer: Side | None, limits: dict[str, Any]) -> None:
        self.options, self.folder, self.ours, self.peer, self.limits = options, folder, ours, peer, limits

    def row(self, workload: Workload) -> dict[str, Any]:
        """Run a workload on both sides in turn and put the figures side by side."""
        with tempfile.TemporaryDirectory(dir=self.folder) as cache:
            files = Path(cache, "ours.npz"), Path(cache, "peer.npz")
            request = {"key": workload.key, "seconds": self.options.seconds, "cache": cache}

            def run(side: Side, file: Path) -> dict[str, Any]:
                supply_memory()
                return side.run(**request, file=file)

            cold = run(self.ours, files[0])
            peer = [] if self.peer is None else [run(self.peer, files[1])]
            warm = run(self.ours, files[0])
            if self.peer is not None and "error" not in peer[0]:
                peer.append(run(self.peer, files[1]))
            row: dict[str, Any] = {"group": workload.group, "name": workload.name, "per": workload.per}
            row["flambeau"] = merged([cold, warm], workload, self.limits)
            row["peer"] = merged(peer, workload, self.limits)
            if "error" not in cold:
                row["flambeau"]["first_cold_seconds"] = cold["first_seconds"]
            if "seconds" in row["flambeau"] and "seconds" in row["peer"]:
                row["ratio"] = row["peer"]["seconds"] / row["flambeau"]["seconds"]
                row["difference"] = difference(*files)
                row["agrees"] = row["difference"] <= (0.0 if self.options.peer == "one-thread" else workload.tolerance)
        return row


def import_row(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The row of the import itself: the better of two starts of each side."""
    starts = []
    for _ in range(2):
        with opened(options.peer, options.threads, folder) as sides:
            starts.append(
                [{"seconds": side.started["import_seconds"], "megabytes": side.started["import_megabytes"]} for side in sides if side]
            )
    best = [min(runs, key=lambda run: run["seconds"]) for runs in zip(*starts, strict=True)]
    row: dict[str, Any] = {"group": "startup", "name": IMPORT, "per": 1, "flambeau": best[0], "peer": {}}
    return row | {"peer": best[1], "ratio": best[1]["seconds"] / best[0]["seconds"]} if best[1:] else row


def compare(options: argparse.Namespace, chosen: list[Workload], limits: dict[str, Any]) -> list[dict[str, Any]]:
    """All rows, printed as they come."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="flambeau-bench-") as name:
        folder = Path(name)
        compile_bytecode(folder)
        with opened(options.peer, options.threads, folder) as (ours, peer):
            comparison = Comparison(options, folder, ours, peer, limits)
            for group in dict.fromkeys(workload.group for workload in chosen):
                print("\n" + ROW.format(group, *HEADINGS[1:]))
                for workload in chosen:
                    if workload.group == group:
                        rows.append(import_row(options, folder) if workload.name == IMPORT else comparison.row(workload))
                        print(show(rows[-1]), flush=True)
    return rows


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
    rows = compare(options, chosen, limits)
    print()
    for group in dict.fromkeys(row["group"] for row in rows):
        print(summary(group, [row for row in rows if row["group"] == group], options.peer))
    print(summary("all", rows, options.peer))
    if options.peer == "one-thread":
        print("not fast enough with more threads:", *(slow_with_threads(rows) or ["none"]), sep="\n    ")
    if options.json:
        options.json.write_text(json.dumps({"machine": limits, "peer": options.peer, "rows": rows}, indent=1) + "\n", "utf-8")
    if options.chart:
        from benchmarks.chart import draw

        draw(rows, options.peer, options.chart)
    if options.readme:
        from benchmarks import readme

        readme.write(rows, limits)
    wrong = [row for row in rows if "error" in row["flambeau"] or not row.get("agrees", True)]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
