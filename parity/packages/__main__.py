"""`python -m parity.packages`: run the trials on Flambeau and on PyTorch, and compare. Exits with 1 if one differs or fails on Flambeau."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TRIALS = Path(__file__).with_name("trials.py")
TOLERANCE = 2e-4
"""Relative, of numbers at the end of some steps of training; that of Pyro's gradients is PyTorch's own approximation."""


def run(command: list[str]) -> dict[str, Any]:
    """What each trial returned."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    output = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT).stdout
    lines = [json.loads(line) for line in output.splitlines() if line.startswith('{"trial"')]
    return {line["trial"]: line["result"] for line in lines}


def same(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, (int, float)):
        return abs(one - other) <= TOLERANCE * max(1.0, abs(other))
    return one == other


def main() -> int:
    argparse.ArgumentParser(prog="python -m parity.packages", description=__doc__).parse_args()
    ours = run([sys.executable, "-W", "ignore", "-m", "flambeau", str(TRIALS)])
    theirs = run([sys.executable, "-W", "ignore", str(TRIALS)])
    wrong = 0
    for name in dict.fromkeys([*ours, *theirs]):
        mine, other = ours.get(name, "did not run"), theirs.get(name, "did not run")
        if isinstance(mine, str):
            verdict, detail = "FAILS", mine
        elif isinstance(other, str):
            verdict, detail = "ok", f"PyTorch itself: {other}"
        else:
            verdict, detail = ("same", "") if same(mine, other) else ("DIFFERS", f"{mine} and {other}")
        wrong += verdict in ("FAILS", "DIFFERS")
        print(f"{name:<22} {verdict:<8} {detail}"[:200])
    print(f"{len(ours) - wrong} of {len(ours)} packages give PyTorch's numbers")
    return 1 if wrong or not ours else 0


if __name__ == "__main__":
    sys.exit(main())
