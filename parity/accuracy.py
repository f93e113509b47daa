"""`python -m parity.accuracy [--ops REGEX]`: how far both sides are from the same computation in double precision, operator by operator.

Beside PyTorch's samples of all operators, the hard cases of `parity/hard.py` are measured (`--ops '.*[)]'` means these alone).

Two figures, in units of the dtype's epsilon, of results and of gradients:

- *largest*: the largest error of an element, relative to its magnitude, or to a thousandth of the tensor's largest if it is less than that;
- *rms*: the root mean square over tensors of the norm of the error, relative to the norm of the tensor; of at most 10, since a single number that nearly
  cancels would count for more than all the rest.

The largest error of a few samples is luck: of sums of a dozen terms either side may have the better last bit, and a sum that nearly cancels shows it a
thousandfold. So an operator whose largest error exceeds PyTorch's is drawn again, up to `--draws` times or for `--seconds`, and our error is *larger* if it
is so significantly often (by more than three standard deviations of a fair coin, of the draws in which one side's largest error exceeds the other's), or if
our root mean square exceeds PyTorch's by more than a tenth. Errors of at most one epsilon count as none: those are of the last rounding.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import random
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from parity.__main__ import selected
from parity.compare import SELF, WIDER, Comparison, MismatchError, widen
from parity.extended import EXISTS, Extended, lengthen, parts
from parity.hard import hard_cases
from parity.operators import OperatorCheck, operators
from parity.translate import MissingError, Translator
from parity.workers import Crash, run_all

ROUNDING = 1.0
"""Errors of one epsilon and less are those of the last rounding, and say nothing."""
MARGIN = 1.1
"""What a root mean square may exceed another by, and be taken for the same."""
JUDGED = (set(WIDER) - {torch.complex32}) | ({torch.float64, torch.complex128} if EXISTS else set())
CAP = 10.0
"""The most that one tensor's norm counts for."""
DEVIATIONS = 3.0
"""How many standard deviations from a half make it significant how often our error is the larger."""


def errors(values: torch.Tensor, exact: torch.Tensor, rest: torch.Tensor | None = None) -> tuple[float, float]:
    """The largest error and the norm of all errors, in epsilons, of the elements that the dtype can hold; infinity if one of them is not finite.

    What is exact may be the sum of two tensors.
    """
    magnitude = exact.abs()
    info = torch.finfo(values.dtype)
    finite = magnitude <= info.max
    if not finite.any():
        return 0.0, 0.0
    if not torch.isfinite(values[finite]).all():
        return math.inf, math.inf
    magnitude = magnitude[finite]
    largest = magnitude.max().clamp_min(info.tiny)
    distance = values[finite].to(exact.dtype) - exact[finite]
    distance = (distance if rest is None else distance - rest[finite]).abs()
    worst = (distance / torch.maximum(magnitude, largest * 1e-3)).max().item()
    norm = ((distance / largest).square().sum() / (magnitude / largest).square().sum().clamp_min(info.tiny)).sqrt().item()
    return worst / info.eps, norm / info.eps


@dataclass
class Side:
    """What one side's errors come to: the largest of each draw, and the sum of the squares of norms."""

    worst: list[float] = field(default_factory=list)
    squares: float = 0.0
    tensors: int = 0

    def add(self, worst: float, norm: float) -> None:
        self.worst[-1] = max(self.worst[-1], worst)
        self.squares += min(norm, CAP) ** 2
        self.tensors += 1

    @property
    def rms(self) -> float:
        return math.sqrt(self.squares / max(self.tensors, 1))


@dataclass
class Verdict:
    """Both sides' errors over all draws; `larger` says in which respect ours exceed PyTorch's, if they do."""

    draws: int
    largest: tuple[float, float]
    rms: tuple[float, float]
    wins: int
    losses: int

    @property
    def larger(self) -> str:
        often = self.losses - self.wins > max(DEVIATIONS * math.sqrt(self.losses + self.wins), 1)
        wide = self.rms[0] > MARGIN * self.rms[1] and self.largest[0] > ROUNDING
        return " ".join(name for name, holds in (("often", often), ("rms", wide)) if holds)

    @property
    def ratio(self) -> float:
        """By how much ours is larger, in that of both respects in which it is more so."""
        largest = 1.0 if self.largest[0] == self.largest[1] else self.largest[0] / max(self.largest[1], ROUNDING)
        return max(largest, self.rms[0] / max(self.rms[1], 1e-3) if "rms" in self.larger else 0.0)

    @property
    def perhaps(self) -> bool:
        """Whether our largest error is the larger one, be it by chance."""
        return self.largest[0] > max(self.largest[1], ROUNDING)


def verdict(mine: Side, theirs: Side) -> Verdict:
    """Compare two sides, draw by draw."""
    pairs = [(max(ours, ROUNDING), max(other, ROUNDING)) for ours, other in zip(mine.worst, theirs.worst, strict=True)]
    wins, losses = sum(ours < other for ours, other in pairs), sum(ours > other for ours, other in pairs)
    return Verdict(len(pairs), (max(mine.worst), max(theirs.worst)), (mine.rms, theirs.rms), wins, losses)


class Measuring(Comparison):
    """Goes through results as parity does, and adds up the errors of both sides; what differs is not its concern."""

    def __init__(self, translator: Translator) -> None:
        super().__init__(translator)
        self.draws = 0
        self.sample = 0
        self.skipped: list[str] = []
        self.unjudged: list[str] = []
        self.sides: dict[str, tuple[Side, Side]] = defaultdict(lambda: (Side([0.0] * self.draws), Side([0.0] * self.draws)))
        self.samples: dict[str, tuple[Side, Side]] = defaultdict(lambda: (Side([0.0]), Side([0.0])))

    def begin(self) -> None:
        """Begin a draw."""
        self.draws += 1
        for pair in self.sides.values():
            for side in pair:
                side.worst.append(0.0)

    def metadata(self, ours: Any, theirs: torch.Tensor, strides: bool, where: str) -> None:
        if tuple(ours.shape) != tuple(theirs.shape):
            raise MismatchError(where)

    def aliasing(self, *_: Any) -> None:
        pass

    def values(self, ours: Any, theirs: torch.Tensor, exact: Callable[[], Any] | None, where: str) -> None:
        if exact is None or theirs.dtype not in JUDGED:
            return
        right = self._exact(exact, theirs, where)
        if right is None:
            return
        kind = "gradients" if where.startswith("gradient") else "results"
        sides = (*self.sides[kind], *self.samples[f"sample {self.sample} {where or 'result'}"])
        pairs = [errors(value, *right) for value in (self.translator.back(ours), SELF.back(theirs))] * 2
        for side, pair in zip(sides, pairs, strict=True):
            side.add(*pair)

    def _exact(self, exact: Callable[[], Any], theirs: torch.Tensor, where: str) -> tuple[torch.Tensor, ...] | None:
        """What is exact, as one tensor or the sum of two; `None` where it is not known."""
        try:
            right = exact()
        except Exception as error:  # an operator that extended precision lacks
            self.unjudged.append(f"{where}{type(error).__name__}: {error}")
            return None
        longer = isinstance(right, Extended) or (isinstance(right, torch.Tensor) and right.dtype is WIDER.get(theirs.dtype))
        if not longer or right.shape != theirs.shape or right.is_complex() != theirs.is_complex():
            self.unjudged.append(where)
            return None
        return parts(right) if isinstance(right, Extended) else (SELF.back(right),)

    def verdicts(self) -> dict[str, Verdict]:
        return {kind: verdict(*pair) for kind, pair in self.sides.items()}


class Measurement(OperatorCheck):
    """The function and its gradients alone, of several draws of PyTorch's samples."""

    def __init__(self, op: Any, translator: Translator) -> None:
        super().__init__(op, translator)
        self.comparison: Measuring = Measuring(translator)
        self.ours = translator.function(self.target)
        self.exact = getattr(op, "exact", None) or op.op

    def draw(self, dtype: torch.dtype, number: int) -> None:
        """Measure the samples as they are drawn from a seed; those on which the sides do not agree at all are left out."""
        self.widen = lengthen if dtype in (torch.float64, torch.complex128) else widen
        for generator in (torch.manual_seed, np.random.seed, random.seed):
            generator(number)
        self.seed = number + 1  # a gradient of a view depends on what is pulled back, and on nothing that is drawn
        self.comparison.begin()
        differentiable = self.op.supports_autograd and dtype in self.op.supported_backward_dtypes("cpu")
        samples = self.op.sample_inputs("cpu", dtype, requires_grad=differentiable, set_seed=False)
        for index, sample in enumerate(list(samples)):  # all are drawn before a call seeds the generators anew
            self.comparison.sample = index
            try:
                self._function(self.ours, sample, (sample.input, *sample.args))
            except (MismatchError, MissingError) as error:
                self.comparison.skipped.append(str(error))

    def run_draws(self, dtype: torch.dtype, least: int, most: int, seconds: float) -> None:
        """Draw until our largest error is not the larger one, or as often and as long as may be."""
        begin = time.monotonic()
        for number in range(most):
            self.draw(dtype, number)
            verdicts = self.comparison.verdicts().values()
            fine = all(not each.perhaps and not each.larger for each in verdicts)
            if number + 1 >= least and (fine or time.monotonic() - begin > seconds):
                return


def show(name: str, kind: str, each: Verdict) -> str:
    figures = (*each.largest, *each.rms)
    figures_text = " ".join(f"{figure:>9.3g}" for figure in figures)
    return f"{name:<44} {kind:<9} {figures_text} {each.losses:>4}:{each.wins:<4} {each.draws:>5} {each.ratio:>6.2f} {each.larger}"


HEADING = f"{'operator':<44} {'':<9} {'largest':>9} {'PyTorch':>9} {'rms':>9} {'PyTorch':>9} {'larger:smaller':>9} draws  ratio   (errors in epsilons)"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m parity.accuracy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ops", metavar="REGEX", help="only operators whose name matches (all of it)")
    parser.add_argument("--dtypes", default="float32,bfloat16,float16", help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--least", type=int, default=1, metavar="N", help="draws of every operator (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=100, metavar="N", help="most draws of an operator (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="for which an operator is drawn again (default: %(default)s)")
    parser.add_argument("--samples", action="store_true", help="show the samples whose errors are larger in the root mean square, too")
    parser.add_argument(
        "--all", action="store_true", help="show all operators, and not only those where our largest error is the larger one"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    translator = Translator(importlib.import_module("flambeau"))
    entries: dict[str, Any] = {**operators(), **hard_cases()}
    chosen = {
        name if dtype is torch.float32 else f"{name} {str(dtype)[6:]}": (entry, dtype)
        for name, entry in selected(entries, options.ops).items()
        for dtype in (getattr(torch, each) for each in options.dtypes.split(","))
        if dtype in entry.supported_dtypes("cpu")
    }

    def work(name: str) -> Answer:
        measurement = Measurement(chosen[name][0], translator)
        measurement.run_draws(chosen[name][1], options.least, options.draws, options.seconds)
        samples = [(where, verdict(*pair)) for where, pair in measurement.comparison.samples.items()]
        worse = [(where, each) for where, each in samples if each.larger]
        return Answer(measurement.comparison.verdicts(), sorted(worse, key=lambda row: -row[1].ratio)[:10], measurement.comparison.skipped)

    print(HEADING)
    rows: list[tuple[str, str, Verdict]] = []
    for name, answer in run_all(list(chosen), work, options.jobs, 300 + 2 * options.seconds):
        if isinstance(answer, Crash):
            print(f"{name}: {answer.strip().rpartition(chr(10))[2]}", flush=True)
            continue
        rows += [(name, kind, each) for kind, each in answer.verdicts.items()]
        for kind, each in answer.verdicts.items():
            if options.all or each.larger or each.perhaps:
                print(show(name, kind, each), flush=True)
        for where, each in answer.worse if options.samples and any(each.larger for each in answer.verdicts.values()) else []:
            print(show(f"    {where}", "", each), flush=True)
        if answer.skipped:
            print(f"{name}: {len(answer.skipped)} samples on which the sides do not agree at all: {answer.skipped[0]}", flush=True)
    return conclude(rows, options.json)


@dataclass
class Answer:
    """What came of one operator: both sides' errors, the samples on which ours are larger, and why others were left out."""

    verdicts: dict[str, Verdict]
    worse: list[tuple[str, Verdict]]
    skipped: list[str]


def conclude(rows: list[tuple[str, str, Verdict]], file: Path | None) -> int:
    """Print the operators whose error is larger than PyTorch's, the worst first, and write all figures; returns the exit status."""
    larger = sorted((row for row in rows if row[2].larger), key=lambda row: -row[2].ratio)
    print(f"\n{len(rows)} measured; our error is larger than PyTorch's in {len(larger)}", *([HEADING] if larger else []), sep="\n")
    for row in larger:
        print(show(*row))
    chance = [f"{name} ({kind})" for name, kind, each in rows if each.perhaps and not each.larger]
    print(f"\nour largest error was the larger one, though not significantly often, in {len(chance)}: {', '.join(chance)}")
    if file is not None:
        figures = [{"operator": name, "kind": kind, "larger": each.larger, **asdict(each)} for name, kind, each in rows]
        file.write_text(json.dumps(figures, indent=1))
    return 1 if larger else 0


if __name__ == "__main__":
    sys.exit(main())
