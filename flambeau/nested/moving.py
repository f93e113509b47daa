"""Rows that change places, with places left over: how a batch of pieces is padded, and taken out of its padding again."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor

Places = tuple[Tensor, Tensor | None]
"""For each row of the result which row it is (0 where it is none), and whether it is one (``None``: all are)."""


def moved(rows: Tensor, places: Places, back: Places) -> Tensor:
    """The rows at other places, zeros where none goes.

    Args:
        rows: (n, …)
        places: for each of the m rows of the result which of the n it is, and whether it is one
        back: the same for the n rows, of the m: where each has gone

    Returns:
        (m, …)
    """
    return _Moved.apply(rows, *places, *back)


class _Moved(flambeau.autograd.Function):
    """As each row goes to one place at most, the gradient is the way back: another gather, where that of a gather is a scatter."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, present: Tensor | None, back: Tensor, there: Tensor | None) -> Tensor:
        ctx.save_for_backward(index, present, back, there)
        (count, *sizes), (places,) = rows.layout.shape, index.layout.shape
        if not count or not places:
            return rows.new_zeros(places, *sizes)
        found = rows.index_select(0, index)
        return found if present is None else found.masked_fill(_beside(~present, found), 0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        index, present, back, there = ctx.saved_tensors
        return _Moved.apply(gradient, back, there, index, present), None, None, None, None


def _beside(mask: Tensor, rows: Tensor) -> Tensor:
    """A mask of rows, (n), to be broadcast against them, (n, …)."""
    return mask.reshape(-1, *(1,) * (rows.layout.ndim - 1))
