"""Batches of pieces for the tests of operators, and the same operators on each piece by itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

import flambeau as torch

LAYOUTS = (torch.jagged, torch.strided)
SIZES = {
    "a": ((2, 6), (5, 6), (1, 6)),
    "b": ((2, 6), (5, 6), (1, 6)),
    "h": ((2, 4, 6), (5, 4, 6), (1, 4, 6)),
    "k": ((3, 4, 6), (4, 4, 6), (2, 4, 6)),
}
DENSE = {"weight": (3, 6), "bias": (3,), "row": (6,), "each": (3, 1, 6), "matrices": (3, 6, 2)}


class Names:
    """What an operator is written with: nested tensors a, b, h, k (a and b with the same pieces) and dense ones."""

    def __init__(self, **named: Any) -> None:
        self.__dict__.update(named)


def _leaf(array: np.ndarray) -> torch.Tensor:
    return torch.tensor(array, dtype=torch.float64).requires_grad_()


def leaves(seed: int = 0) -> tuple[dict[str, list[torch.Tensor]], dict[str, torch.Tensor]]:
    rng = np.random.default_rng(seed)
    pieces = {name: [_leaf(rng.standard_normal(size)) for size in sizes] for name, sizes in SIZES.items()}
    return pieces, {name: _leaf(rng.standard_normal(size)) for name, size in DENSE.items()}


def of_batch(layout: torch.layout) -> tuple[Names, list[torch.Tensor]]:
    """The names for whole batches, and all leaves."""
    pieces, dense = leaves()
    named = {name: torch.nested.as_nested_tensor(each, layout=layout) for name, each in pieces.items()}
    if layout == torch.jagged:
        named["b"] = torch.nested.nested_tensor_from_jagged(torch.cat(pieces["b"]), named["a"].offsets())
    return Names(**named, **dense, count=3), [*itertools.chain(*pieces.values()), *dense.values()]


def of_pieces() -> tuple[list[Names], list[torch.Tensor]]:
    """The names for each piece, as dense batches of one, and all leaves."""
    pieces, dense = leaves()
    names = []
    for number in range(3):
        own = {name: each[number].unsqueeze(0) for name, each in pieces.items()}
        mine = {name: dense[name][number : number + 1] for name in ("each", "matrices")}
        names.append(Names(**own, **{**dense, **mine}, count=1))
    return names, [*itertools.chain(*pieces.values()), *dense.values()]


def check(operator: Callable[[Names], Any], layout: torch.layout) -> None:
    """That an operator of a batch gives what it gives for each piece, with the same gradients."""
    names, inputs = of_batch(layout)
    result = operator(names)
    found = list(result.unbind())
    alone, other_inputs = of_pieces()
    expected = [operator(each)[0] for each in alone]
    assert len(found) == len(expected)
    for piece, wanted in zip(found, expected):
        torch.testing.assert_close(piece.detach(), wanted.detach(), rtol=1e-10, atol=1e-12)
    if not result.dtype.is_floating_point:
        return
    for outputs in (found, expected):
        factors = [torch.tensor(np.random.default_rng(number).standard_normal(tuple(each.shape))) for number, each in enumerate(outputs)]
        sum((each * factor).sum() for each, factor in zip(outputs, factors)).backward()
    for mine, other in zip(inputs, other_inputs):
        zeros = torch.zeros_like(mine)
        torch.testing.assert_close(
            zeros if mine.grad is None else mine.grad, zeros if other.grad is None else other.grad, rtol=1e-9, atol=1e-11
        )
