"""Which elements reach which others, found out from the layers themselves: where the gradient is not zero.

Nothing here knows what a convolution or a normalisation is, so that a picture can not disagree with the code that it is a picture of.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np

import flambeau
from flambeau.nn import Module, Parameter


@flambeau.enable_grad()
def reach(function: Callable[[flambeau.Tensor], flambeau.Tensor], input: flambeau.Tensor) -> np.ndarray:
    """``reach(f, x)[o, i]``: whether element ``i`` of ``x`` reaches element ``o`` of ``f(x)``, both counted row by row."""
    x = input.detach().clone().requires_grad_()
    result = function(x)
    rows = []
    for chosen in flambeau.eye(result.numel(), dtype=result.dtype):
        (gradient,) = flambeau.autograd.grad(result, x, chosen.reshape(result.shape), retain_graph=True)
        rows.append((gradient != 0).numpy().ravel())
    return np.array(rows)


@flambeau.enable_grad()
def window_reach(layer: Module, sizes: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, ...]]:
    """How a convolution, transposed or not, reads an input of these spatial sizes.

    Returns:
        ``reads[o, k, i]``, whether output ``o`` reads input ``i`` through place ``k`` of the kernel, and the sizes of the output.
    """
    probe = copy.deepcopy(layer)
    probe.in_channels = probe.out_channels = probe.groups = 1
    probe.bias = None
    places = math.prod(layer.kernel_size)
    kernels = flambeau.eye(places).reshape(places, 1, 1, *layer.kernel_size)
    probe.weight = Parameter(kernels[0])
    output_sizes = tuple(probe(flambeau.zeros(1, 1, *sizes)).shape[2:])
    outputs = math.prod(output_sizes)
    # A batch of as many inputs as there are outputs, so that one gradient answers for all of them.
    x = flambeau.zeros(outputs, 1, *sizes, requires_grad=True)
    chosen = flambeau.eye(outputs).reshape(outputs, 1, *output_sizes)
    reads = np.empty((outputs, places, math.prod(sizes)), bool)
    for place, kernel in enumerate(kernels):
        probe.weight = Parameter(kernel)
        (gradient,) = flambeau.autograd.grad(probe(x), x, chosen)
        reads[:, place] = (gradient != 0).numpy().reshape(outputs, -1)
    return reads, output_sizes
