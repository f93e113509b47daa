"""`python -m parity.accuracy [--ops REGEX]`: how far both sides are from the same computation in double precision, operator by operator.

An element's error is counted in units of its dtype's epsilon, relative to its magnitude, or to a thousandth of the tensor's largest if it is less than
that. What is shown is the largest error over all samples and elements: of results, and of gradients.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

from parity.__main__ import selected
from parity.compare import SELF, WIDER, Comparison
from parity.operators import OperatorCheck, operators
from parity.translate import Translator
from parity.workers import Crash, run_all

ROUNDING = 1.0
"""Errors of one epsilon and less are those of the last rounding, and say nothing."""


def error(values: torch.Tensor, exact: torch.Tensor) -> float:
    """The largest error among the finite elements, in epsilons."""
    magnitude = exact.abs()
    finite = torch.isfinite(magnitude) & torch.isfinite(values)
    if not finite.any():
        return 0.0
    magnitude = magnitude[finite]
    scale = torch.maximum(magnitude, magnitude.max() * 1e-3).clamp_min(torch.finfo(values.dtype).tiny)
    distance = (values[finite].to(exact.dtype) - exact[finite]).abs() / scale
    return distance.max().item() / torch.finfo(values.dtype).eps


class Measuring(Comparison):
    """Compares as parity does, and keeps the largest errors of both sides."""

    def __init__(self, translator: Translator) -> None:
        super().__init__(translator)
        self.errors: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))

    def values(self, ours: Any, theirs: torch.Tensor, exact: Callable[[], Any] | None, where: str) -> None:
        if exact is not None and theirs.dtype in WIDER:
            right = exact()
            if isinstance(right, torch.Tensor) and right.shape == theirs.shape and right.dtype is WIDER[theirs.dtype]:
                kind = "gradients" if where.startswith("gradient") else "results"
                pair = (self.translator.back(ours), SELF.back(theirs))
                mine, other = (error(values, right.detach()) for values in pair)
                self.errors[kind] = max(self.errors[kind][0], mine), max(self.errors[kind][1], other)
        super().values(ours, theirs, exact, where)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m parity.accuracy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ops", metavar="REGEX", help="only operators whose name matches (all of it)")
    parser.add_argument("--dtype", default="float32", help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="show all operators, and not only those where ours is the larger error")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    translator = Translator(importlib.import_module("flambeau"))
    chosen = selected(operators(), options.ops)

    def work(name: str) -> dict[str, tuple[float, float]]:
        check = OperatorCheck(chosen[name], translator)
        check.comparison = measuring = Measuring(translator)
        check.run((getattr(torch, options.dtype),))
        return dict(measuring.errors)

    rows = []
    for name, answer in run_all(list(chosen), work, options.jobs, 300):
        if isinstance(answer, Crash):
            print(f"{name}: {answer.strip().rpartition(chr(10))[2]}")
            continue
        rows += [(mine / max(theirs, ROUNDING), name, kind, mine, theirs) for kind, (mine, theirs) in answer.items()]
    print(f"{'operator':<44} {'':<10} {'flambeau':>10} {'pytorch':>10} {'ratio':>7}   (epsilons of {options.dtype})")
    larger = [row for row in rows if row[0] > 1]
    for ratio, name, kind, mine, theirs in sorted(rows if options.all else larger, reverse=True):
        print(f"{name:<44} {kind:<10} {mine:>10.3g} {theirs:>10.3g} {ratio:>7.2f}")
    print(f"{len(rows)} measured; PyTorch's error is as large or larger in {len(rows) - len(larger)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
