"""Normalisations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import flambeau
from flambeau._ops import nn as ops
from flambeau._ops.autocast import STATE, cast
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._common import integer


@lru_cache(maxsize=1024)
def _needs_values(shape: tuple[int, ...], groups: int | None, what: str) -> None:
    """Checks that a statistic is not taken over one value: of a channel in the batch, or of ``groups``, or (``groups`` = 0) of a channel alone."""
    n, *positions = (*shape[:1], *shape[2:])
    count = prod(positions) if groups == 0 else prod((n, *positions)) if groups is None else n * shape[1] // groups * prod(positions)
    if count == 1:
        raise ValueError(
            f"Expected more than 1 {what} when training, got input size {list(shape)}: the variance of one value is not defined"
        )


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalises every channel over the batch: (x - mean) / √(var + eps) · weight + bias (Ioffe and Szegedy 2015, arXiv:1502.03167).

    Args:
        input: (N, C, ...).
        running_mean: (C), the mean where ``training`` is off; with it on it moves by ``momentum`` towards the batch's mean.
        running_var: (C), the variance, which moves towards the batch's unbiased variance.
        weight: (C).
        bias: (C).
        training: whether the statistics are the batch's.
        momentum: how far the running statistics move.
        eps: added to the variance.

    Raises:
        ValueError: ``training`` with one value per channel, or an ``eps`` that is not positive.
        RuntimeError: a shape does not fit.
    """
    if training:
        _needs_values(input.layout.shape, None, "value per channel")
        if eps == 0.0:
            raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    if eps < 0.0:
        raise ValueError(f"batch_norm eps must be non-negative, but got {eps}")
    return flambeau.batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps, True)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalises every channel of every sample on its own (Ulyanov et al. 2016, arXiv:1607.08022).

    Args:
        input: (N, C, ...).
        running_mean: (C), used where ``use_input_stats`` is off, otherwise updated.
        running_var: (C).
        weight: (C).
        bias: (C).
        use_input_stats: whether the statistics are those of the sample.
        momentum: how far the running statistics move.
        eps: added to the variance.

    Raises:
        ValueError: ``use_input_stats`` with one value per channel.
    """
    if use_input_stats:
        _needs_values(input.layout.shape, 0, "spatial element")
    elif running_mean is None or running_var is None:
        raise RuntimeError("Expected running_mean and running_var to be defined when use_input_stats is false")
    return flambeau.instance_norm(input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, True)


def group_norm(input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Normalises every group of channels of every sample on its own: (x - mean) / √(var + eps) · weight + bias (Wu and He 2018, arXiv:1803.08494).

    Args:
        input: (N, C, ...).
        num_groups: into how many groups the C channels are split.
        weight: (C).
        bias: (C).
        eps: added to the variance, which is that of the population.

    Returns:
        (N, C, ...).

    Raises:
        RuntimeError: C is not divisible by ``num_groups``, or a shape does not fit.
        TypeError: ``num_groups`` is no int.
        ValueError: each group has one value, and there is one sample.
    """
    if input.dim() < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.dim()}")
    num_groups = integer(num_groups, "num_groups")
    if num_groups > 0:
        _needs_values(input.layout.shape, num_groups, "value per channel")
    return flambeau.group_norm(input, num_groups, weight, bias, eps)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalises over the last dimensions: (x - mean) / √(var + eps) · weight + bias (Ba et al. 2016, arXiv:1607.06450).

    Args:
        input: (..., *normalized_shape).
        normalized_shape: the sizes of the dimensions that are normalised over.
        weight: of shape ``normalized_shape``.
        bias: of shape ``normalized_shape``.
        eps: added to the variance.

    Raises:
        RuntimeError: a shape does not fit.
    """
    return flambeau.layer_norm(input, normalized_shape, weight, bias, eps)


def rms_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """Divides by the root of the mean square over the last dimensions (Zhang and Sennrich 2019, arXiv:1910.07467).

    Args:
        input: (..., *normalized_shape).
        normalized_shape: the sizes of the dimensions that are normalised over.
        weight: of shape ``normalized_shape``.
        eps: added to the mean square; the dtype's machine epsilon if left out.

    Raises:
        RuntimeError: a shape does not fit.
    """
    return flambeau.rms_norm(input, normalized_shape, weight, eps)


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Divides by (k + ``alpha`` mean(x²))^``beta``, the mean being over ``size`` neighbouring channels.

    Args:
        input: (N, C, ...) with at least 3 dimensions.
        size: how many channels count as neighbours.
        alpha: the factor of the mean.
        beta: the exponent.
        k: added to the mean.
    """
    if input.dim() < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {input.dim()} dimensions)")
    if input.numel() == 0:
        return input
    squares = input.mul(input) if STATE.dtype is None or input.dim() == 3 else cast(input.mul(input), flambeau.float32)
    squares = squares.reshape(input.size(0), 1, input.size(1), -1)
    squares = flambeau.constant_pad_nd(squares, (0, 0, size // 2, (size - 1) // 2), 0.0)
    means = ops.avg_pool(squares, (size, 1), (1, 1), (0, 0), False, True, None).reshape(input.shape)
    return input / means.mul(alpha).add(k).pow(beta)


def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """Divides by the p-norm along ``dim``: x / max(‖x‖_p, ``eps``).

    Args:
        input: any shape.
        p: the exponent of the norm.
        dim: the dimension, or a tuple of dimensions, over which the norm is taken.
        eps: the least that is divided by.
        out: where the result is written.
    """
    norm = input.norm(p, dim, keepdim=True).clamp_min(eps).expand_as(input)
    return input / norm if out is None else flambeau.div(input, norm, out=out)
