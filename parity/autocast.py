"""`python -m parity.autocast [REGEX]`: which dtypes PyTorch's samples of operators give inside a region of automatic casts, on both sides."""

from __future__ import annotations

import re
import sys
import warnings
from itertools import islice
from typing import Any

import torch

import flambeau
from parity.calls import Call, describe
from parity.check import first_line
from parity.compare import SELF, tensors_in
from parity.operators import operators
from parity.translate import MissingError, Translator

SAMPLES = 8
TRANSLATOR = Translator(flambeau)


def dtypes(package: Any, function: Any, arguments: Any) -> str:
    """The dtypes of all tensors of a call's result, or the class of error that it raises."""
    with package.autocast("cpu", package.bfloat16):
        call = Call(package, function, *arguments).run()
    if call.error is not None:
        return f"{type(call.error).__name__}: {first_line(call.error)}"
    return ", ".join(str(each.dtype).rpartition(".")[2] for each in tensors_in(call.result, package.Tensor))


def differences(op: Any, dtype: torch.dtype) -> list[str]:
    """The samples of one operator that give other dtypes, unless PyTorch has none."""
    found = []
    ours = TRANSLATOR.function(op.op)
    for sample in islice(op.sample_inputs("cpu", dtype), SAMPLES):
        arguments = ((sample.input, *sample.args), sample.kwargs)
        expected = dtypes(torch, op.op, SELF(arguments))
        actual = dtypes(flambeau, ours, TRANSLATOR(arguments))
        if actual != expected and ":" not in expected:
            found.append(f"{actual}, in PyTorch {expected}: {describe(op.name, *arguments)}")
    return found


def main() -> int:
    warnings.simplefilter("ignore")
    pattern, wrong = re.compile(sys.argv[1] if len(sys.argv) > 1 else ".*"), 0
    for name, op in operators().items():
        for dtype in (torch.float32, torch.bfloat16):
            if not pattern.fullmatch(name) or dtype not in op.supported_dtypes("cpu"):
                continue
            try:
                found = differences(op, dtype)
            except MissingError:
                continue
            wrong += bool(found)
            for line in found[:1]:
                print(f"{name}: {line}", flush=True)
    print(f"{wrong} operators differ in one of two dtypes")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
