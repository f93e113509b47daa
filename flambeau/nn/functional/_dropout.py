"""Dropout, by element and by channel."""

from __future__ import annotations

import math
import warnings

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._common import probability

# SELU goes to minus this value; alpha dropout puts it in the place of what it drops.
_SELU_LIMIT = 1.7580993408473766


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Sets elements to zero with probability ``p`` and divides the others by 1 - ``p`` (Srivastava et al. 2014).

    Args:
        input: any shape.
        p: the probability.
        training: without it the input is returned.
        inplace: whether the input is overwritten.

    Raises:
        ValueError: ``p`` is not in [0, 1].
    """
    probability(p)
    return flambeau.dropout_(input, p, training) if inplace else flambeau.dropout(input, p, training)


def _channel_noise(input: Tensor, keep: float) -> Tensor:
    """Ones with probability ``keep``, otherwise zeros: one number for each sample and channel."""
    if input.dim() < 2:
        raise RuntimeError(f"Feature dropout requires at least 2 dimensions in the input, got shape {tuple(input.shape)}")
    shape = (*input.shape[:2], *((1,) * (input.dim() - 2)))
    return flambeau.empty(shape, dtype=input.dtype, device=input.device).bernoulli_(keep)


def feature_dropout(input: Tensor, p: float, training: bool, inplace: bool) -> Tensor:
    if input.numel() == 0 or p == 0.0 or not training:
        return input
    if p == 1.0:
        return input.mul_(0.0) if inplace else input * flambeau.zeros((), dtype=input.dtype, device=input.device)
    noise = _channel_noise(input, 1.0 - p).div_(1.0 - p)
    return input.mul_(noise) if inplace else input * noise


def _alpha_dropout(input: Tensor, p: float, training: bool, inplace: bool, feature: bool) -> Tensor:
    probability(p)
    if input.numel() == 0 or p == 0.0 or not training:
        return input
    if p == 1.0:
        return input.mul_(0.0) if inplace else input * flambeau.zeros((), dtype=input.dtype, device=input.device)
    keep = 1.0 - p
    noise = _channel_noise(input, keep) if feature else flambeau.empty_like(input).bernoulli_(keep)
    # Scale and shift that give mean 0 and variance 1 again.
    scale = 1.0 / math.sqrt((_SELU_LIMIT * _SELU_LIMIT * p + 1.0) * keep)
    shift = noise.sub(1.0).mul_(_SELU_LIMIT * scale).add_(_SELU_LIMIT * scale * p)
    noise = noise.mul_(scale)
    return input.mul_(noise).add_(shift) if inplace else input * noise + shift


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Drops elements to SELU's lowest value and keeps mean and variance (Klambauer et al. 2017, arXiv:1706.02515)."""
    return _alpha_dropout(input, p, training, inplace, feature=False)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Computes :func:`alpha_dropout` of whole channels of (N, C, ...)."""
    return _alpha_dropout(input, p, training, inplace, feature=True)


def _batched_feature_dropout(input: Tensor, p: float, training: bool, inplace: bool, dims: int) -> Tensor:
    if input.dim() == dims:
        return feature_dropout(input, p, training, inplace)
    batch = input.unsqueeze_(0) if inplace else input.unsqueeze(0)
    result = feature_dropout(batch, p, training, inplace)
    return result.squeeze_(0) if inplace else result.squeeze(0)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Sets whole channels of (N, C, L) or (C, L) to zero with probability ``p`` and divides the others by 1 - ``p``.

    Raises:
        RuntimeError: the input has another number of dimensions.
    """
    probability(p)
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.dim()}D input. dropout1d drops channels of (N, C, L) or (C, L)."
        )
    return _batched_feature_dropout(input, p, training, inplace, 3)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Sets whole channels of (N, C, H, W) to zero with probability ``p`` and divides the others by 1 - ``p``.

    An input of three dimensions counts as (N, C, L), with a warning.
    """
    probability(p)
    if input.dim() not in (3, 4):
        warnings.warn(
            f"dropout2d: Received a {input.dim()}-D input to dropout2d, which is deprecated: it drops channels of (N, C, H, W). "
            "Use dropout instead.",
            stacklevel=2,
        )
    if input.dim() == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is desired - input is "
            "interpreted as shape (N, C, L), where C is the channel dim. Use dropout1d instead.",
            stacklevel=2,
        )
    return feature_dropout(input, p, training, inplace)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Sets whole channels of (N, C, D, H, W) or (C, D, H, W) to zero with probability ``p``; see :func:`dropout2d`."""
    probability(p)
    if input.dim() not in (4, 5):
        warnings.warn(
            f"dropout3d: Received a {input.dim()}-D input to dropout3d, which is deprecated: it drops channels of (N, C, D, H, W). "
            "Use dropout instead.",
            stacklevel=2,
        )
    return _batched_feature_dropout(input, p, training, inplace, 5)
