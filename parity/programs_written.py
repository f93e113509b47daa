"""`python -m parity.programs_written`: programs that Flambeau exports and writes as `.pt2` files, loaded and run by PyTorch.

They are the first sample of each operator in `tests/samples`. A program that PyTorch's files do not hold is in Flambeau's own format, and counted.
"""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections import Counter
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

import flambeau
from tests.export.test_operators import ASK, prepared
from tests.samples.operators import SAMPLES

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5, "equal_nan": True}


def theirs(tensor: Any) -> torch.Tensor:
    return torch.from_numpy(tensor.detach().resolve_conj().resolve_neg().numpy().copy())


def verdict(name: str) -> str:
    """What comes of an operator: the same, its own format and why, or in what PyTorch differs."""
    module, args = prepared(name, SAMPLES[name][0])
    program, file = flambeau.export.export(module, args), io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            flambeau.export.save(program, file)
        except NotImplementedError as error:
            return f"not saved: {error}"
    for warning in caught:
        if "own format" in str(warning.message):
            return f"own format: {str(warning.message).partition('not read: ')[2]}"
    file.seek(0)
    flambeau.manual_seed(0)
    torch.manual_seed(0)
    try:
        got = tree_leaves(torch.export.load(file).module()(*map(theirs, args)))
        expected = flambeau.utils._pytree.tree_leaves(program.module()(*[each.clone() for each in args]))
        for mine, other in zip(expected, got, strict=True):
            torch.testing.assert_close(other.detach(), theirs(mine), **TOLERANCE)
    except Exception as error:
        return f"DIFFERS {type(error).__name__}: {error}"
    return "same"


def main() -> int:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    counts: Counter[str] = Counter()
    for name in sorted(set(SAMPLES) - ASK):
        found = verdict(name)
        counts[found.partition(":")[0].partition(" ")[0]] += 1
        if found != "same":
            print(f"{name:<40} {found}"[:300].replace("\n", " "))
    print(
        f"{counts['same']} of {sum(counts.values())} programs give PyTorch the same numbers, {counts['own']} are in Flambeau's own format"
    )
    return 1 if counts["DIFFERS"] else 0


if __name__ == "__main__":
    sys.exit(main())
