"""Losses of classification: cross entropies and likelihoods."""

from __future__ import annotations

import math
import warnings
from typing import Any

import flambeau
from flambeau._ops import nn as ops
from flambeau._ops.autocast import in_float32
from flambeau._ops.inspecting import holds_everywhere
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._common import legacy_reduction, reduction_code, shape_text
from flambeau.nn.functional._common import reduce as reduced
from flambeau.nn.functional._linear import linear


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Computes -weight[t] · input[t], t being the target's class: the negative log-likelihood.

    Args:
        input: log-probabilities, (C), (N, C) or (N, C, d1, ...).
        target: classes, (), (N) or (N, d1, ...), int64.
        weight: (C), the classes' weights; the mean is weighted by them.
        size_average: what ``reduction`` replaced.
        ignore_index: a class that does not count.
        reduce: what ``reduction`` replaced.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Raises:
        ValueError: the shapes do not fit.
        IndexError: a class is out of range.
    """
    code = reduction_code(legacy_reduction(size_average, reduce, reduction))
    _check_weight_dtype(input, weight)
    return ops.nll_loss_nd(input, target, weight, code, ignore_index)


def _check_weight_dtype(input: Tensor, weight: Tensor | None) -> None:
    if weight is not None and weight.dtype != input.dtype:
        raise RuntimeError(f"expected scalar type {input.dtype} but found {weight.dtype}: the classes' weights must have the input's dtype")


@in_float32
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Computes -log softmax(input)[t], t being the target's class, or the cross entropy with a target of probabilities.

    Args:
        input: logits, (C), (N, C) or (N, C, d1, ...).
        target: classes, (), (N) or (N, d1, ...), int64; or probabilities in the shape of ``input``.
        weight: (C), the classes' weights; with classes as target the mean is weighted by them.
        size_average: what ``reduction`` replaced.
        ignore_index: a class that does not count.
        reduce: what ``reduction`` replaced.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        label_smoothing: how much of the target is spread over all classes, in [0, 1] (Szegedy et al. 2015, arXiv:1512.00567).

    Raises:
        ValueError, RuntimeError: the shapes do not fit.
        IndexError: a class is out of range.

    Example:
        >>> flambeau.nn.functional.cross_entropy(flambeau.zeros(2, 4), flambeau.tensor([1, 3]))
        tensor(1.3863)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    code = reduction_code(reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    class_dim = 0 if input.dim() == 1 else 1
    if input.shape == target.shape:
        if ignore_index >= 0:
            raise RuntimeError(f"ignore_index is not supported for floating point target, got ignore_index={ignore_index}")
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing, class_dim)
    _check_weight_dtype(input, weight)
    log_probs = flambeau.log_softmax(input, class_dim)
    loss = ops.nll_loss_nd(log_probs, target, weight, code, ignore_index)
    if label_smoothing == 0.0:
        return loss
    smooth = -log_probs
    if weight is not None:
        smooth = smooth * _along(weight, input.dim(), class_dim)
    smooth = smooth.sum(class_dim)
    ignored = target == ignore_index
    smooth = smooth.masked_fill(ignored, 0.0)
    if reduction == "mean":
        if weight is None:
            count = (~ignored).sum()
        else:
            count = weight[target.masked_fill(ignored, 0)].masked_fill(ignored, 0.0).sum()
        smooth = smooth.sum() / count
    elif reduction == "sum":
        smooth = smooth.sum()
    return (1 - label_smoothing) * loss + smooth * (label_smoothing / input.size(class_dim))


def _along(weight: Tensor, dims: int, dim: int) -> Tensor:
    """``weight`` as a tensor of ``dims`` dimensions that lies along ``dim``."""
    return weight.view([-1 if d == dim else 1 for d in range(dims)])


def _soft_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float, class_dim: int
) -> Tensor:
    if not target.is_floating_point():
        raise RuntimeError(
            f"Expected floating point type for target with class probabilities, got {target.dtype}: a target of the input's shape "
            f"{shape_text(input)} holds probabilities; classes have no dimension of size C"
        )
    classes = input.size(class_dim)
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(f"cross_entropy: weight must have one element for each of the {classes} classes, got {shape_text(weight)}")
    if label_smoothing > 0.0:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    product = flambeau.log_softmax(input, class_dim) * target
    if weight is not None:
        product = product * _along(weight, input.dim(), class_dim)
    if reduction == "mean":
        return -product.sum() / (input.numel() / max(classes, 1))
    return -product.sum() if reduction == "sum" else -product.sum(class_dim)


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """Computes the cross entropy of the logits ``linear(input, linear_weight, linear_bias)``.

    Args:
        input: (in_features) or (N, in_features).
        linear_weight: (C, in_features) or (C, d1, ..., in_features).
        target: see :func:`cross_entropy`.
        linear_bias: (C) or (C, d1, ...).
        weight: (C), the classes' weights.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        ignore_index: a class that does not count; -100 if left out.
        label_smoothing: how much of the target is spread over all classes.
        options: accepted; how the work is split does not change the result.
    """
    if input.dim() not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.dim()}")
    if linear_weight.dim() < 2:
        raise RuntimeError(f"expected linear_weight with dimensionality at least 2, got {linear_weight.dim()}")
    if linear_weight.dim() > 2 and input.dim() == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} requires batched input, "
            f"(N, {input.size(-1)}), got unbatched input with shape {tuple(input.shape)}"
        )
    shape = (*input.shape[:-1], *linear_weight.shape[:-1])
    if ignore_index is not None and tuple(target.shape) == shape:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = linear(input, linear_weight.flatten(0, -2), bias).reshape(shape)
    return cross_entropy(
        logits,
        target,
        weight=weight,
        reduction=reduction,
        ignore_index=-100 if ignore_index is None else ignore_index,
        label_smoothing=label_smoothing,
    )


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Computes -(t log x + (1 - t) log(1 - x)), the logarithms being at least -100.

    Args:
        input: probabilities in [0, 1].
        target: of the same shape, in [0, 1].
        weight: factors, broadcast to the shape.
        size_average: what ``reduction`` replaced.
        reduce: what ``reduction`` replaced.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Raises:
        ValueError: the shapes differ.
    """
    code = reduction_code(legacy_reduction(size_average, reduce, reduction))
    if target.size() != input.size():
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}) is deprecated. "
            "Please ensure they have the same size."
        )
    if weight is not None:
        weight = weight.expand(flambeau.broadcast_shapes(target.size(), weight.size()))
    return ops.binary_cross_entropy(input, target, weight, code)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Computes the binary cross entropy of sigmoid(x) without loss of precision: (1 - t) x - (1 + (p - 1) t) log sigmoid(x).

    Args:
        input: logits x.
        target: t, of the same shape, in [0, 1].
        weight: factors, broadcast to the shape.
        size_average: what ``reduction`` replaced.
        reduce: what ``reduction`` replaced.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        pos_weight: p, the weight of positive targets, broadcast to the shape.

    Raises:
        ValueError: the shapes differ.
        RuntimeError: the target has a dtype of integers.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if target.size() != input.size():
        raise ValueError(f"Target size ({target.size()}) must be the same as input size ({input.size()})")
    if not target.is_floating_point() and input.is_floating_point():
        raise RuntimeError(
            f"binary_cross_entropy_with_logits: the target is {target.dtype}, and must be floating-point as the logits ({input.dtype}) are: target.float()"
        )
    log_sigmoid = ops.log_sigmoid(input)
    if pos_weight is not None:
        log_sigmoid = ((pos_weight - 1) * target + 1) * log_sigmoid
    loss = (1 - target) * input - log_sigmoid
    if weight is not None:
        loss = loss * weight
    return reduced(loss, reduction)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Computes t (log t - x), the summands of the Kullback-Leibler divergence.

    Args:
        input: log-probabilities x.
        target: probabilities t, or their logarithms with ``log_target``.
        size_average: what ``reduction`` replaced.
        reduce: what ``reduction`` replaced.
        reduction: ``"none"``, ``"mean"``, ``"sum"``, or ``"batchmean"``: the sum divided by the batch size, which is the divergence.
        log_target: whether ``target`` holds logarithms.
    """
    if size_average is None and reduce is None and reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size. 'batchmean' divides only by the "
            "batch size, and aligns with the KL div math definition.",
            stacklevel=2,
        )
    reduction = legacy_reduction(size_average, reduce, reduction)
    loss = target.exp() * (target - input) if log_target else flambeau.xlogy(target, target) - target * input
    if reduction != "batchmean":
        return reduced(loss, reduction)
    return loss.sum() / input.size(0) if input.dim() else loss.sum()


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Computes exp(x) - t x, the negative log-likelihood of a Poisson distribution.

    Args:
        input: x, the logarithm of the rate; or the rate itself (then x - t log(x + ``eps``)) if ``log_input`` is off.
        target: t, the counts.
        log_input: what ``input`` is.
        full: whether Stirling's approximation t log t - t + log(2πt) / 2 of log t! is added where t > 1.
        size_average: what ``reduction`` replaced.
        eps: added under the logarithm.
        reduce: what ``reduction`` replaced.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    """
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + stirling.masked_fill(target <= 1, 0.0)
    return reduced(loss, legacy_reduction(size_average, reduce, reduction))


def gaussian_nll_loss(input: Tensor, target: Tensor, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> Tensor:
    """Computes (log v + (x - t)² / v) / 2, the negative log-likelihood of a normal distribution.

    Args:
        input: x, the means.
        target: t.
        var: v, the variances: of the input's shape, or with a last dimension of 1 or none, or one number.
        full: whether log(2π) / 2 is added.
        eps: the least that v counts for.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Raises:
        ValueError: a variance is negative, or the shape of ``var`` does not fit.
    """
    if isinstance(var, float):
        if var < 0:
            raise ValueError(f"var has negative entry/entries: {var}")
        var = var * flambeau.ones_like(input)
    elif not holds_everywhere(~(var < 0)):
        raise ValueError("var has negative entry/entries")
    if var.size() != input.size():
        if input.size()[:-1] == var.size():
            var = var.unsqueeze(-1)
        elif input.dim() != var.dim() or [y for x, y in zip(input.size(), var.size()) if x != y] != [1]:
            raise ValueError(f"var is of incorrect size: {shape_text(var)} does not fit input of shape {shape_text(input)}")
    var = var.clone()
    with flambeau.no_grad():
        var.clamp_(min=eps)
    loss = 0.5 * (var.log() + (input - target) ** 2 / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced(loss, reduction)
