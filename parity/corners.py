"""`python -m parity.corners [--ops REGEX] [--gradients]`: PyTorch's samples of all operators with what is rare put into them.

- *special*: zeros of both signs, NaN, infinities and subnormal numbers in place of some elements;
- *empty*: a size of the first tensor is 0, and so is every dimension of that size of all others;
- *overlapping*: all elements along a dimension lie in one place of memory.

Both sides must raise the same class of error, or agree on which elements are NaN or infinite (of which sign), and nearly on the others.
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch.utils._pytree import tree_map

from parity.__main__ import selected
from parity.check import seed
from parity.compare import SELF, Comparison, MismatchError, tensors_in
from parity.operators import OperatorCheck, operators
from parity.translate import MissingError, Translator
from parity.workers import Crash, run_all

SPECIAL = (0.0, -0.0, math.nan, math.inf, -math.inf, 1e-42, 1.0)
NEAR = 1e-2
"""By how much finite elements may differ, relative to the largest of them: it is classes that are compared here."""


class Classes(Comparison):
    """Compares which elements are NaN, infinite or finite, and these nearly."""

    def values(self, ours: Any, theirs: torch.Tensor, exact: Callable[[], Any] | None, where: str) -> None:
        actual, expected = self.translator.back(ours), SELF.back(theirs)
        if not expected.is_floating_point() and not expected.is_complex():
            if not torch.equal(actual, expected):
                raise MismatchError(f"{where}{actual.flatten()[:8].tolist()} instead of {expected.flatten()[:8].tolist()}")
            return
        if expected.is_complex():  # an infinite number is one whatever its parts are
            finite = torch.isfinite(expected)
            same = torch.isfinite(actual) == finite
        else:
            finite = torch.isfinite(expected)
            same = torch.where(finite, torch.isfinite(actual), (actual == expected) | (actual.isnan() & expected.isnan()))
        wide = torch.complex128 if expected.is_complex() else torch.float64
        distance = torch.where(finite & same, actual.to(wide) - expected.to(wide), 0).abs()
        largest = torch.where(finite, expected.to(wide).abs(), 0)
        same &= distance <= NEAR * largest.max().item() if largest.numel() else True
        if not same.all():
            place = tuple((~same).nonzero()[0].tolist())
            raise MismatchError(
                f"{where}{int((~same).sum())} of {same.numel()} differ, at {list(place)} {actual[place].item()} instead of {expected[place].item()}"
            )


def _is_float(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.layout is torch.strided and (value.is_floating_point() or value.is_complex())


def special(tensor: torch.Tensor) -> torch.Tensor:
    """Some elements replaced."""
    drawn = torch.tensor(SPECIAL)[torch.randint(len(SPECIAL), tensor.shape)]
    return torch.where(torch.rand(tensor.shape) < 0.3, drawn.to(tensor.dtype), tensor.detach())


def empty(tensor: torch.Tensor, size: int) -> torch.Tensor:
    """Nothing along the dimensions of a size."""
    for dim in range(tensor.dim()):
        if tensor.shape[dim] == size:
            tensor = tensor.narrow(dim, 0, 0)
    return tensor


def overlapping(tensor: torch.Tensor, dim: int) -> torch.Tensor:
    """The first elements along a dimension, again and again."""
    if not tensor.dim() or not tensor.numel():
        return tensor
    dim %= tensor.dim()
    return tensor.narrow(dim, 0, 1).expand(tensor.shape)


class CornerCheck(OperatorCheck):
    """Checks an operator's function on samples that are changed."""

    def __init__(self, op: Any, translator: Translator, limit: int, kinds: list[str], gradients: bool) -> None:
        super().__init__(op, translator, limit)
        self.comparison = Classes(translator)
        self.kinds = kinds
        self.gradients = gradients
        self.found: dict[str, str] = {}

    def samples(self, ours: Callable[..., Any], dtype: torch.dtype) -> None:
        differentiable = self.gradients and self.op.supports_autograd and dtype in self.op.supported_backward_dtypes("cpu")
        for number, sample in enumerate(islice(self.op.sample_inputs("cpu", dtype, requires_grad=differentiable), self.limit)):
            for kind, change in self._changes(sample):
                seed()
                changed = replace_tensors(sample, change)
                self.report.samples += 1
                try:
                    self._function(ours, changed, (changed.input, *changed.args))
                except (MismatchError, MissingError) as error:
                    self.found.setdefault(f"{kind} {str(dtype)[6:]}", f"sample {number}: {error}: {changed.summary()}")

    def error_inputs(self, ours: Callable[..., Any]) -> None:
        """These are as they are in `python -m parity`."""

    def _changes(self, sample: Any) -> Iterator[tuple[str, Callable[[torch.Tensor], torch.Tensor]]]:
        first = next(tensors_in([sample.input, sample.args], torch.Tensor), None)
        if first is None:
            return
        if "special" in self.kinds:
            yield "special", lambda tensor: special(tensor) if _is_float(tensor) else tensor
        if "empty" in self.kinds:
            for size in dict.fromkeys(first.shape):
                yield "empty", partial(empty, size=size)
        if "overlapping" in self.kinds:
            for dim in range(min(first.dim(), 2)):
                yield "overlapping", lambda tensor, dim=dim: overlapping(tensor, dim) if _is_float(tensor) else tensor


def replace_tensors(sample: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A sample with all its strided tensors changed."""

    def changed(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
            return value
        return change(value.detach()).requires_grad_(value.requires_grad)

    input, args, kwargs = tree_map(changed, (sample.input, sample.args, sample.kwargs))
    return type(sample)(input, args=args, kwargs=kwargs, output_process_fn_grad=sample.output_process_fn_grad)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m parity.corners", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ops", metavar="REGEX", help="only operators whose name matches (all of it)")
    parser.add_argument("--dtypes", default="float32,bfloat16,complex64", help="default: %(default)s")
    parser.add_argument("--kinds", default="special,empty,overlapping", help="default: %(default)s")
    parser.add_argument("--gradients", action="store_true", help="compare gradients, too")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="samples of an operator and dtype (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    translator = Translator(importlib.import_module("flambeau"))
    chosen = selected(operators(), options.ops)
    dtypes = tuple(getattr(torch, each) for each in options.dtypes.split(","))

    def work(name: str) -> tuple[int, dict[str, str]]:
        check = CornerCheck(chosen[name], translator, options.limit, options.kinds.split(","), options.gradients)
        report = check.run(dtypes)
        return report.samples, {**check.found, **report.gaps}

    samples, differing = 0, 0
    for name, answer in run_all(list(chosen), work, options.jobs, 300):
        count, found = (0, {"all": answer.strip().rpartition("\n")[2]}) if isinstance(answer, Crash) else answer
        samples += count
        differing += bool(found)
        for what, why in found.items():
            print(f"{name}: {what}: {why}", flush=True)
    print(f"{samples} samples; {differing} of {len(chosen)} operators differ")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
