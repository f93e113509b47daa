"""Activations."""

from __future__ import annotations

import warnings
from typing import Any

import flambeau
from flambeau._ops import nn as ops
from flambeau._ops.arguments import into
from flambeau._tensor.tensor import Tensor
from flambeau._types.device import CPU


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Computes max(x, 0)."""
    return flambeau.relu_(input) if inplace else flambeau.relu(input)


def relu_(input: Tensor) -> Tensor:
    """Computes :func:`relu` in place."""
    return flambeau.relu_(input)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """Computes x where x > ``threshold`` and ``value`` elsewhere."""
    return flambeau.threshold_(input, threshold, value) if inplace else flambeau.threshold(input, threshold, value)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """Computes :func:`threshold` in place."""
    return flambeau.threshold_(input, threshold, value)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """Computes min(max(x, ``min_val``), ``max_val``).

    Raises:
        ValueError: ``min_val`` is greater than ``max_val``.
    """
    if min_val > max_val:
        raise ValueError(f"min_val (={min_val}) cannot be greater than max_val (={max_val})")
    return ops.hardtanh_(input, min_val, max_val) if inplace else ops.hardtanh(input, min_val, max_val)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """Computes :func:`hardtanh` in place."""
    return hardtanh(input, min_val, max_val, inplace=True)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """Computes min(max(x, 0), 6)."""
    return ops.relu6_(input) if inplace else ops.relu6(input)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Computes x where x > 0 and ``alpha`` (exp(x) - 1) elsewhere."""
    return ops.elu_(input, alpha) if inplace else ops.elu(input, alpha)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """Computes :func:`elu` in place."""
    return ops.elu_(input, alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Computes 1.0507 elu(x, 1.6733), which keeps mean 0 and variance 1 (Klambauer et al. 2017, arXiv:1706.02515)."""
    return flambeau.selu_(input) if inplace else flambeau.selu(input)


def selu_(input: Tensor) -> Tensor:
    """Computes :func:`selu` in place."""
    return flambeau.selu_(input)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Computes max(x, 0) + min(``alpha`` (exp(x / ``alpha``) - 1), 0)."""
    return flambeau.celu_(input, alpha) if inplace else flambeau.celu(input, alpha)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """Computes :func:`celu` in place."""
    return flambeau.celu_(input, alpha)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Computes x where x > 0 and ``negative_slope`` x elsewhere."""
    return ops.leaky_relu_(input, negative_slope) if inplace else ops.leaky_relu(input, negative_slope)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """Computes :func:`leaky_relu` in place."""
    return ops.leaky_relu_(input, negative_slope)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Computes x where x > 0 and ``weight`` x elsewhere; ``weight`` has one element, or one per channel (dimension 1)."""
    if weight.dim() > 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.dim()}")
    return flambeau.prelu(input, weight)


def rrelu(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False) -> Tensor:
    """Computes x where x > 0 and a x elsewhere.

    In training a is drawn for each element from the uniform distribution on [``lower``, ``upper``]; otherwise it is their mean.
    """
    if lower > upper:
        raise RuntimeError(f"Lower bound should be less than or equal to the upper bound, got {lower} and {upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    # One number for each element that is not positive, in the order of the elements: PyTorch's stream.
    negative = (input.detach() <= 0).reshape(-1)
    slope = flambeau.ones(input.numel(), dtype=input.dtype, device=input.device)
    if input.memory.device is CPU:
        draws = flambeau.empty(int(negative.sum()), dtype=flambeau.float64).uniform_(lower, upper)
        slope[negative] = draws.to(input.dtype)
    slope = slope.view(input.shape)
    return input.mul_(slope) if inplace else input * slope


def rrelu_(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Tensor:
    """Computes :func:`rrelu` in place."""
    return rrelu(input, lower, upper, training, inplace=True)


def gelu(input: Tensor, approximate: str = "none", *, out: Tensor | None = None) -> Tensor:
    """Computes x Φ(x), with Φ the normal distribution function (Hendrycks and Gimpel 2016, arXiv:1606.08415).

    Args:
        input: any shape.
        approximate: ``"none"``, or ``"tanh"`` for 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))).

    Raises:
        RuntimeError: ``approximate`` is something else.
    """
    result = ops.gelu(input, approximate=approximate)
    return result if out is None else into(out, result)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """Computes x sigmoid(x), also called swish."""
    return ops.silu_(input) if inplace else ops.silu(input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """Computes x tanh(softplus(x)) (Misra 2019, arXiv:1908.08681)."""
    return ops.mish_(input) if inplace else ops.mish(input)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """Computes x relu6(x + 3) / 6 (Howard et al. 2019, arXiv:1905.02244)."""
    return ops.hardswish_(input) if inplace else ops.hardswish(input)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Computes relu6(x + 3) / 6."""
    return ops.hardsigmoid_(input) if inplace else ops.hardsigmoid(input)


def sigmoid(input: Tensor) -> Tensor:
    """Computes 1 / (1 + exp(-x))."""
    return input.sigmoid()


def tanh(input: Tensor) -> Tensor:
    """Computes the hyperbolic tangent."""
    return input.tanh()


def tanhshrink(input: Tensor) -> Tensor:
    """Computes x - tanh(x)."""
    return input - input.tanh()


def softsign(input: Tensor) -> Tensor:
    """Computes x / (1 + |x|)."""
    return input / (input.abs() + 1)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0, *, out: Tensor | None = None) -> Tensor:
    """Computes log(1 + exp(``beta`` x)) / ``beta``, and x itself where ``beta`` x > ``threshold``."""
    result = ops.softplus(input, beta, threshold)
    return result if out is None else into(out, result)


def logsigmoid(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Computes log(sigmoid(x)) = min(x, 0) - log(1 + exp(-|x|))."""
    result = ops.log_sigmoid(input)
    return result if out is None else into(out, result)


def softshrink(input: Tensor, lambd: float = 0.5, *, out: Tensor | None = None) -> Tensor:
    """Computes x - ``lambd`` where x > ``lambd``, x + ``lambd`` where x < -``lambd``, and 0 between.

    Raises:
        RuntimeError: ``lambd`` is negative.
    """
    result = ops.softshrink(input, lambd)
    return result if out is None else into(out, result)


def hardshrink(input: Tensor, lambd: float = 0.5, *, out: Tensor | None = None) -> Tensor:
    """Computes x where |x| > ``lambd`` and 0 elsewhere."""
    result = flambeau.hardshrink(input, lambd)
    return result if out is None else into(out, result)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Computes a sigmoid(b), with a and b the halves of ``input`` along ``dim`` (Dauphin et al. 2016, arXiv:1612.08083).

    Raises:
        RuntimeError: the size along ``dim`` is odd, or there is no dimension.
    """
    return ops.glu(input, dim)


def _softmax_dim(name: str, input: Tensor, stacklevel: int) -> int:
    """The dimension that is taken, with a warning, where none is given: 0 for 0, 1 and 3 dimensions, otherwise 1."""
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        stacklevel=stacklevel,
    )
    return 0 if input.dim() in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """Computes exp(x_i) / Σ_j exp(x_j) along ``dim``.

    Args:
        input: any shape.
        dim: the dimension whose values shall sum to 1.
        dtype: to what ``input`` is cast first.

    Example:
        >>> flambeau.nn.functional.softmax(flambeau.zeros(4), dim=0)
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    if dim is None:
        dim = _softmax_dim("softmax", input, _stacklevel)
    return flambeau.softmax(input, dim) if dtype is None else flambeau.softmax(input, dim, dtype=dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """Computes the softmax of -x along ``dim``; see :func:`softmax`."""
    if dim is None:
        dim = _softmax_dim("softmin", input, _stacklevel)
    return flambeau.softmax(-input, dim) if dtype is None else flambeau.softmax(-input, dim, dtype=dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """Computes x_i - log(Σ_j exp(x_j)) along ``dim``; see :func:`softmax`."""
    if dim is None:
        dim = _softmax_dim("log_softmax", input, _stacklevel)
    return flambeau.log_softmax(input, dim) if dtype is None else flambeau.log_softmax(input, dim, dtype=dtype)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """Draws from the Gumbel-softmax distribution (Jang et al. 2016, arXiv:1611.01144).

    Args:
        logits: unnormalised log-probabilities.
        tau: the temperature.
        hard: whether the result is one-hot; the gradient is that of the soft one.
        eps: has no effect; it is there because PyTorch has it.
        dim: the dimension of the classes.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    gumbels = -flambeau.empty_like(logits, memory_format=flambeau.contiguous_format).exponential_().log()
    soft = ((logits + gumbels) / tau).softmax(dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    one_hot = flambeau.zeros_like(logits, memory_format=flambeau.contiguous_format).scatter_(dim, index, 1.0)
    return one_hot - soft.detach() + soft
