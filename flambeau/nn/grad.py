"""Gradients of convolutions as functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.nn import functional

__all__ = ["conv1d_input", "conv1d_weight", "conv2d_input", "conv2d_weight", "conv3d_input", "conv3d_weight"]


def _gradient(convolution: Callable, input: Tensor, weight: Tensor, wanted: Tensor, grad_output: Tensor, options: tuple) -> Tensor:
    with flambeau.enable_grad():
        return flambeau.autograd.grad(convolution(input, weight, None, *options), wanted, grad_output)[0]


def _of_input(convolution: Callable, dimensions: int) -> Callable:
    def function(
        input_size: Sequence[int],
        weight: Tensor,
        grad_output: Tensor,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        input = flambeau.zeros(tuple(input_size), dtype=grad_output.dtype, requires_grad=True)
        return _gradient(convolution, input, weight.detach(), input, grad_output, (stride, padding, dilation, groups))

    function.__name__ = function.__qualname__ = f"conv{dimensions}d_input"
    function.__doc__ = f"The gradient of ``conv{dimensions}d`` by its input, of size ``input_size``."
    return function


def _of_weight(convolution: Callable, dimensions: int) -> Callable:
    def function(
        input: Tensor,
        weight_size: Sequence[int],
        grad_output: Tensor,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        weight = flambeau.zeros(tuple(weight_size), dtype=grad_output.dtype, requires_grad=True)
        return _gradient(convolution, input.detach(), weight, weight, grad_output, (stride, padding, dilation, groups))

    function.__name__ = function.__qualname__ = f"conv{dimensions}d_weight"
    function.__doc__ = f"The gradient of ``conv{dimensions}d`` by its weight, of size ``weight_size``."
    return function


conv1d_input, conv1d_weight = _of_input(functional.conv1d, 1), _of_weight(functional.conv1d, 1)
conv2d_input, conv2d_weight = _of_input(functional.conv2d, 2), _of_weight(functional.conv2d, 2)
conv3d_input, conv3d_weight = _of_input(functional.conv3d, 3), _of_weight(functional.conv3d, 3)
