"""Gradients of convolutions as functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.nn import functional

__all__ = ["conv1d_input", "conv1d_weight", "conv2d_input", "conv2d_weight", "conv3d_input", "conv3d_weight"]


def _gradients(convolution: Callable) -> tuple[Callable, Callable]:
    """The gradients of a convolution by its input and by its weight."""

    def gradient(wanted: Tensor, input: Tensor, weight: Tensor, grad_output: Tensor, *options: Any) -> Tensor:
        with flambeau.enable_grad():
            return flambeau.autograd.grad(convolution(input, weight, None, *options), wanted, grad_output)[0]

    # fmt: off
    def of_input(input_size: Sequence[int], weight: Tensor, grad_output: Tensor, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
                 groups: int = 1) -> Tensor:
        input = flambeau.zeros(tuple(input_size), dtype=grad_output.dtype, requires_grad=True)
        return gradient(input, input, weight.detach(), grad_output, stride, padding, dilation, groups)

    def of_weight(input: Tensor, weight_size: Sequence[int], grad_output: Tensor, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
                  groups: int = 1) -> Tensor:
        weight = flambeau.zeros(tuple(weight_size), dtype=grad_output.dtype, requires_grad=True)
        return gradient(weight, input.detach(), weight, grad_output, stride, padding, dilation, groups)
    # fmt: on

    name = convolution.__name__
    for function, kind in ((of_input, "input"), (of_weight, "weight")):
        function.__name__ = function.__qualname__ = f"{name}_{kind}"
        function.__doc__ = f"The gradient of ``{name}`` by its {kind}, of size ``{kind}_size``."
    return of_input, of_weight


conv1d_input, conv1d_weight = _gradients(functional.conv1d)
conv2d_input, conv2d_weight = _gradients(functional.conv2d)
conv3d_input, conv3d_weight = _gradients(functional.conv3d)
