"""`python -m parity`: how much of PyTorch passes PyTorch's own test data, and what does not."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from parity.check import DTYPES, Report
from parity.meta import MetaCheck
from parity.modules import ModuleCheck, modules
from parity.operators import OperatorCheck, operators
from parity.translate import Translator
from parity.workers import Crash, run_all

# Before Flambeau is imported: kernels are kept where the tests keep theirs, many of which are the same.
os.environ.setdefault("XDG_CACHE_HOME", str(Path(__file__).resolve().parent.parent / ".pytest_cache" / "kernels"))
os.environ.setdefault("FLAMBEAU_CACHE_MB", "2048")

PASSING = Path(__file__).with_name("passing.txt")
QUICK = 5  # samples for each dtype
KINDS = ("op", "module", "meta")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m parity", description=__doc__)
    parser.add_argument("--ops", metavar="REGEX", help="only operators whose name matches (all of it)")
    parser.add_argument("--meta", action="store_true", help="operators on the meta device, against the same ones on the CPU, instead")
    parser.add_argument("--modules", metavar="REGEX", help="only modules whose name matches (all of it)")
    parser.add_argument("--dtypes", default=",".join(str(dtype)[6:] for dtype in DTYPES), help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help=f"only the first {QUICK} samples for each dtype; for development")
    parser.add_argument("--limit", type=float, default=300, metavar="SECONDS", help="for one operator or module (default: %(default)s)")
    parser.add_argument("--package", default="flambeau", help="what is tested (default: %(default)s; `torch` tests the harness)")
    parser.add_argument("--output", type=Path, default=Path("build/parity"), help="where the list of gaps goes (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="print the gaps' number, not the gaps")
    parser.add_argument("--fail-under-ops", type=int, default=0, metavar="N", help="fail if fewer operators pass")
    parser.add_argument("--fail-under-modules", type=int, default=0, metavar="N", help="fail if fewer modules pass")
    parser.add_argument("--update-passing", action="store_true", help=f"record what passes in {PASSING.name}")
    options = parser.parse_args(arguments)
    options.partial = bool(
        options.ops or options.modules or options.meta or options.quick or options.dtypes != parser.get_default("dtypes")
    )
    if options.update_passing and options.partial:
        parser.error("--update-passing needs a whole run")
    return options


def main() -> int:
    options = parse_arguments()
    torch.set_num_threads(1)  # the workers share the cores
    warnings.simplefilter("ignore")
    translator = Translator(importlib.import_module(options.package))
    dtypes = tuple(getattr(torch, name) for name in options.dtypes.split(","))
    limit = QUICK if options.quick else None

    checks: dict[str, Callable[[], Report]] = {}
    if options.ops or not options.modules:
        for name, op in selected(operators(), options.ops).items():
            if options.meta:
                checks[f"meta {name}"] = lambda op=op: MetaCheck(op, translator, limit).run(dtypes)
            else:
                checks[f"op {name}"] = lambda op=op: OperatorCheck(op, translator, limit).run(dtypes)
    if options.modules or not (options.ops or options.meta):
        for name, info in selected(modules(), options.modules).items():
            checks[f"module {name}"] = lambda info=info: ModuleCheck(info, translator, limit).run(dtypes)

    def work(task: str) -> Report:
        begin = time.perf_counter()
        report = checks[task]()
        report.seconds = time.perf_counter() - begin
        return report

    begin = time.perf_counter()
    reports: dict[str, Report] = {}
    for task, answer in run_all(list(checks), work, options.jobs, options.limit):
        if isinstance(answer, Crash):
            last_line = answer.strip().rpartition("\n")[2]
            answer = Report(task.partition(" ")[2], {"all": f"crashed: {last_line}"})
        reports[task] = answer
    reports = {task: reports[task] for task in checks}
    return conclude(reports, options, time.perf_counter() - begin)


def selected(entries: dict[str, Any], pattern: str | None) -> dict[str, Any]:
    return {name: entry for name, entry in entries.items() if pattern is None or re.fullmatch(pattern, name)}


def conclude(reports: dict[str, Report], options: argparse.Namespace, seconds: float) -> int:
    """Write and print the gaps and the figures; returns the exit status."""
    write_gaps(reports, options.output)
    if not options.quiet:
        print(gaps_as_text(reports))
    counts = {}
    for kind in KINDS:
        of_kind = [report for task, report in reports.items() if task.startswith(f"{kind} ")]
        counts[kind] = sum(report.passed for report in of_kind)
        if of_kind:
            print(f"{kind}s {counts[kind]}/{len(of_kind)}")
    for task, report in reports.items():
        if report.note is not None:
            print(f"{task}: {report.note}")
    samples = sum(report.samples for report in reports.values())
    print(f"{samples} samples in {seconds:.0f} s; gaps in {options.output}/gaps.txt" + (" (a partial run)" if options.partial else ""))

    passing = {task for task, report in reports.items() if report.passed}
    if options.update_passing:
        PASSING.write_text("".join(f"{task}\n" for task in sorted(passing)), "utf-8")
    expected = set(PASSING.read_text("utf-8").splitlines()) if PASSING.exists() else set()
    lost = sorted(task for task in expected & set(reports) if task not in passing)
    for task in lost:
        print(f"passed before, and does not now: {task}: {reason(reports[task])}")
    short = [
        f"{kind}s: {counts[kind]} pass, fewer than {wanted}"
        for kind, wanted in (("op", options.fail_under_ops), ("module", options.fail_under_modules))
        if counts[kind] < wanted
    ]
    print(*short, sep="\n", end="\n" if short else "")
    return 1 if lost or short else 0


def reason(report: Report) -> str:
    return report.missing or "; ".join(f"{what} {why}" for what, why in report.gaps.items())


def gaps_as_text(reports: dict[str, Report]) -> str:
    """One line for each gap, and those that are missing altogether together."""
    lines = []
    for kind in KINDS:
        of_kind = {task.partition(" ")[2]: report for task, report in reports.items() if task.startswith(f"{kind} ")}
        lines += [f"{kind} {name}: {what} {why}" for name, report in of_kind.items() for what, why in report.gaps.items()]
        missing = [name for name, report in of_kind.items() if report.missing]
        if missing:
            lines.append(f"{kind}s missing ({len(missing)}): {', '.join(missing)}")
    return "\n".join(lines)


def write_gaps(reports: dict[str, Report], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gaps.txt").write_text(gaps_as_text(reports) + "\n", "utf-8")
    rows = {task: {"passed": report.passed, **vars(report)} for task, report in reports.items()}
    (folder / "report.json").write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
