"""`python -m parity.packages.suites [NAME …]`: run packages' own test suites on Flambeau and on PyTorch, and compare which tests pass.

`suites.txt` lists the releases and what of their tests is run. Each is fetched from the package index once, unpacked below
`build/suites/NAME` and tested there; lists of the tests that passed on PyTorch alone, and how they failed, lie beside it.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "suites"
TABLE = Path(__file__).with_name("suites.txt")
OPTIONS = "-q -p no:cacheprovider -o addopts= -o filterwarnings= --continue-on-collection-errors --timeout=60"
"""Of pytest. The suite's own options and what it makes of warnings are left out."""
LIMIT = 1800
"""Seconds for one suite on one side."""


class Suite(NamedTuple):
    """A line of the table: what pip fetches, and what pytest is given."""

    name: str
    requirement: str
    arguments: list[str]


def suites() -> list[Suite]:
    lines = (line for line in TABLE.read_text().splitlines() if line and not line.startswith("#"))
    halves = (line.split(" # ") for line in lines)
    return [Suite(requirement.split("==")[0], requirement, shlex.split(arguments)) for requirement, arguments in halves]


def fetch(suite: Suite) -> Path:
    """The folder of the unpacked release."""
    folder = BUILD / suite.name
    source = folder / "source"
    if not source.exists():
        folder.mkdir(parents=True, exist_ok=True)
        wanted = folder / "requirement.txt"
        wanted.write_text(suite.requirement + "\n")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--no-binary", suite.name, "--dest", folder, "-r", wanted], check=True, capture_output=True, text=True)
        shutil.unpack_archive(next(folder.glob("*.tar.gz")), folder / "unpacked", filter="data")
        next((folder / "unpacked").iterdir()).rename(source)
    return source


def outcomes(suite: Suite, source: Path, side: str, jobs: int) -> dict[str, str]:
    """Each test's name, and how it failed: nothing if it passed. Tests that were left out are left out."""
    report = source.parent / f"{side}.xml"
    report.unlink(missing_ok=True)
    run = ["-m", "flambeau", "-m", "pytest"] if side == "flambeau" else ["-m", "pytest"]
    command = [sys.executable, *run, *suite.arguments, *OPTIONS.split(), f"--numprocesses={jobs}", f"--junit-xml={report}"]
    path = os.pathsep.join([str(source), str(source / "src"), str(ROOT)])
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    with open(source.parent / f"{side}.log", "w") as log:
        try:
            subprocess.run(command, cwd=source, env=environment, stdout=log, stderr=subprocess.STDOUT, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            print(f"{suite.name}: not done on {side} after {LIMIT} s", file=log)
    return read(report) if report.exists() else {}


def read(report: Path) -> dict[str, str]:
    """What pytest's report in JUnit's XML says of each test."""
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("skipped") is not None:
            continue
        failure = case.find("failure") if case.find("failure") is not None else case.find("error")
        name = f"{case.get('classname')}::{case.get('name')}"
        # A process's addresses differ from run to run, and would make other tests of the same ones.
        found[re.sub(r"0x[0-9a-f]+", "0x…", name)] = "" if failure is None else (failure.get("message") or "failed")
    return found


def compare(suite: Suite, jobs: int) -> tuple[int, int]:
    """How many tests passed on both sides, and how many on PyTorch alone."""
    source = fetch(suite)
    theirs, ours = (outcomes(suite, source, side, jobs) for side in ("pytorch", "flambeau"))
    passed = [name for name, failure in theirs.items() if not failure]
    lost = {name: ours.get(name, "did not run") for name in passed if ours.get(name, "did not run")}
    lines = [f"{name}\n    {' '.join(failure.split())[:300]}\n" for name, failure in lost.items()]
    (source.parent / "pytorch-only.txt").write_text("".join(lines))
    print(f"{suite.name:<28} {len(passed) - len(lost):>8} {len(lost):>13}", flush=True)
    print("".join(f"    {name}\n" for name in lost), end="", flush=True)
    return len(passed) - len(lost), len(lost)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="packages; without one, all of suites.txt")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    options = parser.parse_args()
    chosen = [suite for suite in suites() if not options.names or suite.name in options.names]
    if not chosen:
        parser.error(f"none of these is in {TABLE.name}, which has {', '.join(suite.name for suite in suites())}")
    print(f"{'package':<28} {'both':>8} {'PyTorch alone':>13}")
    try:
        counts = [compare(suite, options.jobs) for suite in chosen]
    except subprocess.CalledProcessError as error:
        last = (error.stderr or "").strip().splitlines()[-1:]
        print(f"pip cannot fetch what {error.cmd[-1]} names; the package index has to be reachable: {' '.join(last)}", file=sys.stderr)
        return 2
    both, lost = (sum(column) for column in zip(*counts))
    print(f"{'all':<28} {both:>8} {lost:>13}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
