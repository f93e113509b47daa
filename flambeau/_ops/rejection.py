"""Random numbers whose parameters are tensors: gamma, Poisson, binomial, Dirichlet. The first and the last have gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau._ops.copying import contiguous_format
from flambeau._ops.creation import empty_like, new_empty
from flambeau._ops.generators import engine_of
from flambeau._ops.operator import Operator
from flambeau._ops.sampling import drawn_with
from flambeau._ops.shaping import broadcast_tensors
from flambeau._runtime import rejection
from flambeau._tape.tape import LOCAL
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.device import CPU
from flambeau._types.finfo import finfo

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._ops.generators import Generator
    from flambeau._tensor.tensor import Tensor

_TERMS = 64


def _drawn(name: str, generator: Generator | None, *parameters: Tensor, more: tuple[float, ...] = ()) -> Tensor:
    """Samples of the distributions of each element of the parameters, which have one shape and dtype."""
    if LOCAL.tape.batched:
        return LOCAL.tape.each(lambda *each: _drawn(name, generator, *each, more=more), *parameters)
    if parameters[0].memory.device is not CPU:
        return empty_like(parameters[0], memory_format=contiguous_format)
    dtype = parameters[0].dtype
    wide = dt.float64 if dtype is dt.float64 else dt.float32
    given = [parameter.detach().to(wide).contiguous() for parameter in parameters]
    result = new_empty(lay.contiguous(given[0].layout.shape, wide))
    count = result.layout.numel
    if count:
        addresses = [each.data_ptr() for each in (*given, result)]
        wrong = rejection.draw(engine_of(generator), name, wide.name, *addresses, count, *more)
        if wrong:
            rate = given[0].reshape(-1)[wrong - 1].item()
            raise RuntimeError(f"invalid Poisson rate, expected rate to be non-negative, but got {rate:g}")
    return result if dtype is wide else result.to(dtype)


def _floating(name: str, input: Tensor) -> None:
    if not input.is_floating_point():
        raise RuntimeError(f"{name}: expected a floating-point tensor, but got {input.dtype!r}")


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Counts of the Poisson distribution whose rates ``input`` holds; of its shape and dtype.

    Raises:
        RuntimeError: a rate is negative or NaN.
    """
    _floating("poisson", input)
    return drawn_with(_drawn("poisson", generator, input), input)


def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """Successes in ``count`` trials of probability ``prob`` each; both of one shape and dtype.

    Raises:
        RuntimeError: the dtypes differ.
    """
    if count.dtype is not prob.dtype:
        raise RuntimeError(f"binomial only supports floating-point dtypes for count, got: {count.dtype}")
    _floating("binomial", count)
    count, prob = broadcast_tensors(count, prob)
    return drawn_with(_drawn("binomial", generator, count, prob), prob)


def _standard_gamma(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Samples of gamma distributions of scale 1 whose shapes ``input`` holds; gradients flow to it (Figurnov et al., 2018)."""
    _floating("_standard_gamma", input)
    values = _drawn("gamma", generator, input, more=(finfo(input.dtype).tiny,))
    return GAMMA_SAMPLE(values, input) if input.requires_grad or LOCAL.tape.batched else values


def _sample_dirichlet(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Samples of Dirichlet distributions whose concentrations lie along the last dimension; gradients flow to them."""
    parts = _standard_gamma(input.detach(), generator)
    values = parts / parts.sum(-1, keepdim=True)
    return DIRICHLET_SAMPLE(values, input) if input.requires_grad or LOCAL.tape.batched else values


def _gamma_slope(shape: np.ndarray, value: np.ndarray) -> tuple[np.ndarray]:
    """``d value / d shape`` of a gamma sample at constant probability: ``-(dP/dshape) / density``.

    ``P(a, x) = x^a e^-x sum_n x^n / Gamma(a + n + 1)``; the terms are added until they no longer count, each with its derivative by ``a``.
    """
    from scipy.special import digamma  # SciPy's digamma is exact to the last bits; ours is a kernel

    total = np.zeros_like(value)
    term = 1 / shape  # x^n Gamma(a) / Gamma(a + n + 1), so that the density's own factor drops out
    derivative = np.log(value) - digamma(shape + 1)
    position = shape + 1
    while True:
        for _ in range(_TERMS):
            total += term * derivative
            derivative -= 1 / position
            term = term * value / position
            position = position + 1
        if np.all((term * np.abs(derivative) <= 1e-12 * np.abs(total)) & (position > value) | ~np.isfinite(term)):
            return (-total * value,)


def _beta_slope(value: np.ndarray, shape: np.ndarray, total: np.ndarray) -> tuple[np.ndarray]:
    """``d value / d shape / (1 - value)`` of a beta sample of shapes ``(shape, total - shape)``: ``-(dI/dshape) / density / (1 - value)``.

    ``I_y(p, q) = y^p (1-y)^q / (p B(p, q)) sum_n (p+q)_n / (p+1)_n y^n``, taken from the side of the mean where the terms fall at once.
    """
    from scipy.special import digamma

    value = np.clip(value, np.finfo(float).tiny, 1 - np.finfo(float).epsneg)
    below = value * total <= shape
    y, p = np.where(below, value, 1 - value), np.where(below, shape, total - shape)
    # Of each term its derivative by `shape`, which is p below the mean and q above it; `at_p` marks where.
    at_p = below.astype(float)
    logarithm = np.where(below, np.log(y) - 1 / p - digamma(p), np.log1p(-y) - digamma(total - p)) + digamma(total)
    term, result, rising, falling = np.ones_like(y), np.zeros_like(y), total.copy(), p + 1
    while True:
        for _ in range(_TERMS):
            result += term * logarithm
            logarithm += 1 / rising - at_p / falling
            term = term * (y * rising / falling)
            rising, falling = rising + 1, falling + 1
        if np.all((term * np.abs(logarithm) <= 1e-12 * np.abs(result)) | ~np.isfinite(term)):
            return (np.where(below, -1.0, 1.0) * result * y * (1 - y) / p / (1 - value),)


def _lower_beta_slope(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple) -> Node:
    value, shape, total = (graph.cast(operand, dt.float64) for operand in operands)
    return graph.cast(graph.host(_beta_slope, (value, shape, total), ((dt.float64, value.shape),))[0], layouts[0].dtype)


def _lower_gamma_slope(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple) -> Node:
    shape, value = (graph.cast(operand, dt.float64) for operand in operands)
    return graph.cast(graph.host(_gamma_slope, (shape, value), ((dt.float64, shape.shape),))[0], layouts[0].dtype)


GAMMA_SLOPE = Operator(
    "_standard_gamma_grad",
    ("input", "sample"),
    infer=lambda operands, statics: lay.contiguous(operands[0].shape, operands[0].dtype),
    lower=_lower_gamma_slope,
)
GAMMA_SAMPLE = Operator(
    "_standard_gamma",
    ("values", "input"),
    infer=lambda operands, statics: lay.like(operands[0], operands[0].dtype),
    lower=lambda graph, operands, statics, layouts: graph.copy(operands[0]),
    grad_name="StandardGammaBackward0",
)
GAMMA_SAMPLE.gradient(input=lambda grad, input, result: grad * GAMMA_SLOPE(input, result))

BETA_SLOPE = Operator(
    "_dirichlet_grad",
    ("x", "alpha", "total"),
    infer=lambda operands, statics: lay.contiguous(operands[0].shape, operands[0].dtype),
    lower=_lower_beta_slope,
)
DIRICHLET_SAMPLE = Operator(
    "_sample_dirichlet",
    ("values", "input"),
    infer=lambda operands, statics: lay.like(operands[0], operands[0].dtype),
    lower=lambda graph, operands, statics, layouts: graph.copy(operands[0]),
    grad_name="SampleDirichletBackward0",
)


def _dirichlet_gradient(grad: Tensor, input: Tensor, result: Tensor) -> Tensor:
    """Of the marginal betas, each element's share moved from all others in proportion (Jankowiak & Obermeyer, 2018)."""
    slope = BETA_SLOPE(result, input, input.sum(-1, keepdim=True).expand(input.shape))
    return slope * (grad - (result * grad).sum(-1, keepdim=True))


DIRICHLET_SAMPLE.gradient(input=_dirichlet_gradient)

PUBLIC = ("_sample_dirichlet", "_standard_gamma", "binomial", "poisson")
METHODS = ()
