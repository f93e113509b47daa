"""Batch normalisations folded into the layer before them."""

from __future__ import annotations

import copy
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.nn.parameter import Parameter

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]


def _check(layer: Any, bn: Any) -> None:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")


def _scale_and_shift(mean: Tensor, var: Tensor, eps: float, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The batch normalisation as x · scale + shift."""
    scale = flambeau.rsqrt(var + eps)
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale
    return scale, shift if bias is None else shift + bias


def _fused(w: Tensor, b: Tensor | None, scale: Tensor, shift: Tensor, dim: int) -> tuple[Parameter, Parameter]:
    shape = [-1 if d == dim else 1 for d in range(w.dim())]
    bias = shift if b is None else b * scale + shift
    bias_dtype = w.dtype if b is None else b.dtype
    wants_gradient = False if b is None else b.requires_grad
    return (
        Parameter((w * scale.reshape(shape)).to(w.dtype), w.requires_grad),
        Parameter(bias.to(bias_dtype), wants_gradient),
    )


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of the convolution ``conv`` that computes what it and the batch normalisation ``bn`` behind it compute.

    Args:
        conv: in evaluation mode.
        bn: in evaluation mode, with running statistics.
        transpose: whether ``conv`` is a transposed convolution.
    """
    _check(conv, bn)
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a convolution with a batch normalisation folded in; see :func:`fuse_conv_bn_eval`."""
    return _fused(conv_w, conv_b, *_scale_and_shift(bn_rm, bn_rv, bn_eps, bn_w, bn_b), dim=1 if transpose else 0)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of the linear layer that computes what it and the batch normalisation behind it compute.

    Args:
        linear: in evaluation mode.
        bn: in evaluation mode, with running statistics of as many features, or of one.
    """
    _check(linear, bn)
    if bn.num_features not in (1, linear.out_features):
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got "
            f"linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        )
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        linear.weight, linear.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a linear layer with a batch normalisation folded in; see :func:`fuse_linear_bn_eval`."""
    return _fused(linear_w, linear_b, *_scale_and_shift(bn_rm, bn_rv, bn_eps, bn_w, bn_b), dim=0)
