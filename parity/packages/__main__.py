"""`python -m parity.packages`: run the trials on Flambeau and on PyTorch, and compare. Exits with 1 if one differs or fails on Flambeau.

What fails on PyTorch, too (a package that does not fit to it, say), runs *alone*: there is nothing to compare it with.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TRIALS = Path(__file__).with_name("trials.py")
TOLERANCE = 2e-4
"""Relative, of numbers at the end of some steps of training; that of Pyro's gradients is PyTorch's own approximation."""
SECONDS = 300
"""Time limit of a trial on one side."""
OURS, THEIRS = ("-m", "flambeau"), ()


def run(side: tuple[str, ...], *names: str) -> Any:
    """What a trial has returned on one side, or why it has not; without a name, which trials there are."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-W", "ignore", *side, str(TRIALS), *names]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"ran longer than {SECONDS} s"
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"trial')]
    return list(lines[-1].values())[-1] if lines else f"exited with {done.returncode}: {done.stderr[-300:].strip()}"


def same(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, (int, float)):
        return abs(one - other) <= TOLERANCE * max(1.0, abs(other))
    return one == other


def main() -> int:
    argparse.ArgumentParser(prog="python -m parity.packages", description=__doc__).parse_args()
    names = run(OURS)
    if isinstance(names, str):
        sys.exit(names)
    verdicts: Counter[str] = Counter()
    for name in names:
        mine, other = run(OURS, name), run(THEIRS, name)
        if isinstance(mine, str):
            verdict, detail = "FAILS", mine
        elif isinstance(other, str):
            verdict, detail = "alone", f"PyTorch itself: {other}"
        else:
            verdict, detail = ("same", "") if same(mine, other) else ("DIFFERS", f"{mine} and {other}")
        verdicts[verdict] += 1
        print(f"{name:<22} {verdict:<8} {' '.join(detail.split())}"[:200], flush=True)
    print(f"{verdicts['same']} of {verdicts.total()} packages give PyTorch's numbers, {verdicts['alone']} run on Flambeau alone")
    return 1 if verdicts["FAILS"] + verdicts["DIFFERS"] else 0


if __name__ == "__main__":
    sys.exit(main())
