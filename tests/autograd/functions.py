"""What several tests of gradients start from: leaves of the graph, and a function of the user's own."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.autograd import Function


def leaf(*values: float) -> flambeau.Tensor:
    return flambeau.tensor(values, dtype=flambeau.float64, requires_grad=True)


class Cube(Function):
    @staticmethod
    def forward(ctx: Any, x: flambeau.Tensor) -> flambeau.Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, gradient: flambeau.Tensor) -> flambeau.Tensor:
        (x,) = ctx.saved_tensors
        return gradient * 3 * x**2
