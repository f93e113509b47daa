"""`python -m parity.programs_written`: programs that Flambeau exports and writes as `.pt2` files, and traces that it writes as TorchScript, loaded and
run by PyTorch.

They are the first sample of each operator in `tests/samples`. A program that these files do not hold is in Flambeau's own format, and counted.
"""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

import flambeau
from tests.export.test_operators import ASK, prepared
from tests.samples.operators import SAMPLES

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5, "equal_nan": True}


def theirs(tensor: Any) -> torch.Tensor:
    return torch.from_numpy(tensor.detach().resolve_conj().resolve_neg().numpy().copy())


def exported(module: Any, args: tuple) -> tuple[Any, Callable, Callable]:
    """What runs an exported program here, what saves it, and what loads it in PyTorch."""
    program = flambeau.export.export(module, args)
    return program.module(), lambda file: flambeau.export.save(program, file), lambda file: torch.export.load(file).module()


def traced(module: Any, args: tuple) -> tuple[Any, Callable, Callable]:
    """The same of a trace."""
    trace = flambeau.jit.trace(module, args, check_trace=False, strict=False)
    return trace, lambda file: flambeau.jit.save(trace, file), torch.jit.load


def verdict(name: str, made: Callable) -> str:
    """What comes of an operator: the same, its own format and why, or in what PyTorch differs."""
    module, args = prepared(name, SAMPLES[name][0])
    file = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            ours, save, load = made(module, args)
            save(file)
        except (NotImplementedError, RuntimeError) as error:
            return f"not saved: {error}"
    for warning in caught:
        if "own format" in str(warning.message):
            return f"own format: {str(warning.message).partition('not read: ')[2]}"
    file.seek(0)
    flambeau.manual_seed(0)
    torch.manual_seed(0)
    try:
        got = tree_leaves(load(file)(*map(theirs, args)))
        expected = flambeau.utils._pytree.tree_leaves(ours(*[each.clone() for each in args]))
        for mine, other in zip(expected, got, strict=True):
            torch.testing.assert_close(other.detach(), theirs(mine), **TOLERANCE)
    except Exception as error:
        return f"DIFFERS {type(error).__name__}: {error}"
    return "same"


def main() -> int:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    differing = 0
    for made in (exported, traced):
        counts: Counter[str] = Counter()
        for name in sorted(set(SAMPLES) - ASK):
            found = verdict(name, made)
            counts[found.partition(":")[0].partition(" ")[0]] += 1
            if found != "same":
                print(f"{made.__name__:<9} {name:<40} {found}"[:300].replace("\n", " "))
        print(
            f"{made.__name__}: {counts['same']} of {sum(counts.values())} programs give PyTorch the same numbers, {counts['own']} are in Flambeau's own format"
        )
        differing += counts["DIFFERS"]
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
