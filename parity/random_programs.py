"""`python -m parity.random_programs [--seeds 0-200] [--gradients] [--layers]`: programs drawn at random, on Flambeau in several ways and on PyTorch.

Each program of `tests/samples/random_programs/` is run

- on Flambeau with every line computed at once, with everything at the end, with a flush at random places, and on two threads: the same bits;
- on Flambeau and PyTorch line by line: dtypes, shapes, strides, whether gradients are wanted, classes of errors and values. What differs by no more than rounding is set to PyTorch's before the next
  line, so that errors do not add up, and a comparison of what is nearly equal does not tip over.

What differs is cut down to the lines that matter, and printed as a program.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch

import flambeau
from parity.check import first_line, mro_names
from parity.compare import significant
from parity.translate import Translator
from tests.samples.random_programs import Run, Writer

TRANSLATOR = Translator(flambeau)
EPSILONS = 64
"""By how many epsilons of the largest number that takes part in it a line's results may differ."""


STRICTER = (
    "more than one element of the written-to tensor",
    "whatever its values",
    "in-place operation. (logical_not_)",
    "appears multiple times",
)
"""Errors that PyTorch raises only where it sees them easily, or later."""


MORE = (
    "refer to a single memory location",
    "expected dtype",
    "Found dtype",
    "does not support complex",
    "does not support bool",
    "different dtypes",
    "narrow(): length must be non-negative",
    "modified by an inplace operation",
    "is not implemented",
    "created in no_grad mode",
    "does not support automatic differentiation for outputs with complex dtype",
)
"""Errors of PyTorch's where we compute what is meant: operands are read before anything is written, dtypes are promoted, and a gradient's formula may need
what was not written over."""


class Difference(Exception):
    """What differs."""


# -- one package, several ways -----------------------------------------------------------------------------------------


def bits(tensor: Any) -> tuple[Any, ...]:
    """A tensor's bytes, all NaNs being the same."""
    values = TRANSLATOR.back(tensor)
    if values.is_floating_point() or values.is_complex():
        real = torch.view_as_real(values) if values.is_complex() else values
        values = torch.where(torch.isnan(real), torch.nan, real)
        values = values.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[values.element_size()])
    return tuple(tensor.shape), str(tensor.dtype), values.numpy().tobytes()


def outcome(lines: Sequence[str], flush: Callable[[], bool], threads: int = 1) -> dict[str, Any]:
    """What a program's tensors hold at its end, or the error that reading them raises."""
    flambeau.set_num_threads(threads)
    flambeau.manual_seed(0)
    run = Run(flambeau)
    found: dict[str, Any] = {}
    for number, line in enumerate(lines):
        error = run.line(line)
        if error is not None:
            found[f"line {number}"] = type(error).__name__
        if flush():
            with suppress(Exception):  # whoever reads what it concerns hears of it
                flambeau.flush()
    for name, tensor in run.tensors().items():
        try:
            found[name] = bits(tensor)
        except Exception as error:
            found[name] = type(error).__name__
    return found


def check_bits(lines: Sequence[str], seed: int) -> None:
    """The same bits, whenever bytes are needed and however many threads there are."""
    draw = random.Random(seed)
    ways = {
        "at the end": lambda: outcome(lines, lambda: False),
        "at random places": lambda: outcome(lines, lambda: draw.random() < 0.3),
        "at the end, again": lambda: outcome(lines, lambda: False),
        "on two threads": lambda: outcome(lines, lambda: False, 2),
    }
    expected = outcome(lines, lambda: True)
    for way, run in ways.items():
        actual = run()
        for name in {**expected, **actual}:
            if expected.get(name) != actual.get(name):
                raise Difference(f"{name} is another if computed {way}: {show(actual.get(name))} instead of {show(expected.get(name))}")


def show(found: Any) -> str:
    if not isinstance(found, tuple):
        return str(found)
    shape, dtype, content = found
    name = dtype.rpartition(".")[2]
    if name == "bfloat16":
        values = (np.frombuffer(content, np.uint16).astype(np.uint32) << 16).view(np.float32)
    else:
        values = np.frombuffer(content, name)
    return f"{name}{list(shape)} {values[:12]}"


# -- two packages, line by line ----------------------------------------------------------------------------------------


def check_values(lines: Sequence[str]) -> None:
    """PyTorch's values, shapes, dtypes, strides and errors, line by line."""
    flambeau.set_num_threads(1)
    mine, theirs = Run(flambeau), Run(torch)
    gradients = any(".grad" in each for each in lines)
    rounded = max(
        (torch.finfo(getattr(torch, name)).eps for name in ("float32", "float16", "bfloat16") if any(name in each for each in lines)),
        default=0.0,
    )
    for text in lines:
        scale, kept = largest(theirs.tensors()), (dict(mine.space), dict(theirs.space))
        right = theirs.line(text)
        error = mine.line(text)
        if error is None:
            try:
                flambeau.flush()
            except Exception as late:
                error = late
        if any(words in str(error) for words in STRICTER):
            return
        more = error is None and (isinstance(right, (NotImplementedError, TypeError)) or any(words in str(right) for words in MORE))
        nothing = isinstance(error, NotImplementedError) and right is None and is_nothing(text, theirs)
        if not more and not nothing:
            check_error(text, error, right)
        if right is not None or nothing:
            if "out=" in text or not re.match(r"v\d+ = ", text):
                return  # how much of it was written nobody says
            mine.space, theirs.space = kept
            continue
        if any(map(is_unknown, theirs.tensors().values())) or re.search(r"\.(eq|ge|logical_not)_\(", text):
            return  # what has no gradient says so at once here, in PyTorch when one is asked for
        epsilon = rounded if ".grad" in text else coarsest(text, kept[1])
        agree(text, mine, theirs, max(scale, largest(theirs.tensors())), epsilon, strides=not gradients)


def coarsest(text: str, space: dict[str, Any]) -> float:
    """The largest epsilon of the dtypes that a line names, and of the tensors that it names."""
    named = [str(space[name].dtype) for name in re.findall(r"\bv\d+\b", text) if isinstance(space.get(name), torch.Tensor)]
    found = [
        torch.finfo(getattr(torch, name)).eps
        for name in ("float64", "float32", "float16", "bfloat16")
        if name in text or f"torch.{name}" in named
    ]
    return max(found, default=0.0)


def is_unknown(tensor: torch.Tensor) -> bool:
    """Whether PyTorch has no gradient of what made a tensor, or will not say what it was: other views of the same memory were written."""
    try:
        return type(tensor.grad_fn).__name__ == "NotImplemented"
    except RuntimeError:
        return True


def is_nothing(text: str, run: Run) -> bool:
    """Whether a line's result has no elements, for which PyTorch does what it does for no other of that dtype."""
    found = run.space.get(text.partition(" ")[0])
    return isinstance(found, torch.Tensor) and not found.numel()


def check_error(text: str, error: Exception | None, right: Exception | None) -> None:
    if right is None:
        if error is not None:
            raise Difference(f"{text}: {type(error).__name__}: {first_line(error)}")
        return
    expected = next(kind for kind in type(right).__mro__ if kind.__module__ == "builtins")
    if error is None:
        raise Difference(f"{text}: no error, in PyTorch {type(right).__name__}: {first_line(right)}")
    if not isinstance(error, expected) or (expected is not type(right) and type(right).__name__ not in mro_names(error)):
        raise Difference(f"{text}: {type(error).__name__} ({first_line(error)}), in PyTorch {type(right).__name__}: {first_line(right)}")


def largest(tensors: dict[str, torch.Tensor]) -> float:
    """The largest finite number in tensors."""
    found = 1e-30
    for tensor in tensors.values():
        if tensor.is_floating_point() or tensor.is_complex():
            size = tensor.detach().abs().double()
            size = size[torch.isfinite(size)]
            found = max(found, size.max().item() if size.numel() else 0.0)
    return found


def agree(text: str, mine: Run, theirs: Run, scale: float, rounded: float, strides: bool) -> None:
    """Compare all tensors of both sides, and set ours to PyTorch's where they differ by a rounding: of a gradient, perhaps to another dtype on the way."""
    ours = mine.tensors()
    for name, expected in theirs.tensors().items():
        if name not in ours:
            raise Difference(f"{text}: {name} is no tensor")
        tensor = ours[name]
        for what, own, other in (
            ("dtype", str(tensor.dtype), str(expected.dtype)),
            ("shape", tuple(tensor.shape), tuple(expected.shape)),
            ("strides", significant(tensor), significant(expected)),
            ("requires_grad", tensor.requires_grad, expected.requires_grad),
        ):
            if own != other and (strides or what != "strides"):  # what a gradient lies like nobody promises
                raise Difference(f"{text}: {what} of {name} is {own}, in PyTorch {other}")
        values = TRANSLATOR.back(tensor.clone())  # what NumPy sees cannot be resized
        right = expected.detach().resolve_conj().resolve_neg().contiguous()
        if right.dtype is torch.complex32 or torch.equal(
            values, right
        ):  # PyTorch does next to nothing with complex numbers of half precision
            continue
        if not close(values, right, scale, rounded):
            raise Difference(f"{text}: {name} is {brief(values)}, in PyTorch {brief(right)}")
        if not overlapping(expected):
            tensor.data.copy_(TRANSLATOR(right.clone()))  # of which autograd knows nothing


def close(values: torch.Tensor, right: torch.Tensor, scale: float, rounded: float) -> bool:
    if not (right.is_floating_point() or right.is_complex()):
        return False
    if right.is_complex():
        values, right = torch.view_as_real(values), torch.view_as_real(right)
        finite = torch.isfinite(right).all(-1)  # of numbers with infinite parts nobody promises anything
        values, right = values[finite], right[finite]
    epsilon = max(torch.finfo(right.dtype).eps, torch.finfo(torch.float32).eps if right.dtype is not torch.float64 else 0, rounded)
    return torch.allclose(
        values.double(),
        right.double(),
        rtol=EPSILONS * epsilon,
        atol=EPSILONS * epsilon * min(scale, torch.finfo(right.dtype).max / 100),
        equal_nan=True,
    )


def overlapping(tensor: torch.Tensor) -> bool:
    reach = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape)):
        if size > 1:
            if stride < reach:
                return True
            reach = stride * (size - 1) + reach
    return False


def brief(values: torch.Tensor) -> str:
    return f"{str(values.dtype)[6:]}{list(values.shape)} {values.flatten()[:12].tolist()}"


# -- programs ----------------------------------------------------------------------------------------------------------


def reduced(lines: list[str], fails: Callable[[list[str]], str]) -> list[str]:
    """As few of the lines as still fail."""
    at = len(lines) - 1
    while at >= 0:
        fewer = lines[:at] + lines[at + 1 :]
        if fails(fewer):
            lines = fewer
        at -= 1
    return lines


def failure(lines: Sequence[str], seed: int, kind: str) -> str:
    """What differs, or nothing."""
    try:
        if kind == "bits":
            check_bits(lines, seed)
        else:
            check_values(lines)
    except Difference as found:
        return str(found)
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m parity.random_programs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0-100", help="a range (default: %(default)s)")
    parser.add_argument("--lines", type=int, default=12, help="of a program (default: %(default)s)")
    parser.add_argument("--gradients", action="store_true", help="programs that ask for gradients")
    parser.add_argument("--layers", action="store_true", help="programs most of whose lines call layers of networks")
    parser.add_argument("--only", choices=["bits", "values"], help="one of the two comparisons")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    first, _, last = options.seeds.partition("-")
    begin, wrong, programs = time.monotonic(), 0, range(int(first), int(last or first) + 1)
    for seed in programs:
        writer = Writer(torch, seed, options.gradients, options.layers)
        everything = writer.write(options.lines)
        sound = [line for number, line in enumerate(everything) if number not in writer.failing]
        for kind, lines in (("bits", sound), ("values", everything)):
            if options.only not in (None, kind) or not failure(lines, seed, kind):
                continue
            wrong += 1
            few = reduced(list(lines), lambda each, kind=kind, seed=seed: failure(each, seed, kind))
            print(f"# {seed}: {failure(few, seed, kind)}", *few, "", sep="\n", flush=True)
    print(f"{len(programs)} programs in {time.monotonic() - begin:.0f} s; {wrong} differences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
