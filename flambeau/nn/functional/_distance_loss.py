"""Losses of regression, ranking and embedding."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau._types import dtype as dt
from flambeau.nn.functional._activation import logsigmoid
from flambeau.nn.functional._common import legacy_reduction, reduction_code, shape_text
from flambeau.nn.functional._common import reduce as reduced
from flambeau.nn.functional._distance import pairwise_distance


def _paired(input: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Both in one shape, and a warning where they are not."""
    if weight is not None and weight.size() != input.size():
        raise ValueError(f"Weights and input must have the same size, got {shape_text(weight)} and {shape_text(input)}.")
    if target.size() != input.size():
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). This will likely lead to "
            "incorrect results due to broadcasting. Please ensure they have the same size.",
            stacklevel=3,
        )
        input, target = flambeau.broadcast_tensors(input, target)  # a single number has as much of a say in the dtype as the others
    return input, target


def _weighted(loss: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """Reduces ``loss``; with weights the mean is the weighted one."""
    if weight is None:
        return reduced(loss, reduction)
    if reduction == "mean":
        return (loss * weight).sum() / weight.sum()
    return reduced(loss * weight, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Computes |x - t|.

    Args:
        input: x, any shape.
        target: t, of the same shape.
        size_average: what ``reduction`` replaced.
        reduce: what ``reduction`` replaced.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        weight: factors, of the same shape.
    """
    input, target = _paired(input, target, weight)
    return _weighted((input - target).abs(), weight, legacy_reduction(size_average, reduce, reduction))


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Computes (x - t)².

    Args:
        input: x, any shape.
        target: t, of the same shape.
        size_average: what ``reduction`` replaced.
        reduce: what ``reduction`` replaced.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        weight: factors, of the same shape.
    """
    input, target = _paired(input, target, weight)
    difference, dtype = _difference(input, target)
    loss = _weighted(difference * difference, weight, legacy_reduction(size_average, reduce, reduction))
    return loss if dtype is None else loss.to(dtype)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Computes d² / (2 ``beta``) where d = |x - t| < ``beta``, and d - ``beta`` / 2 elsewhere.

    Raises:
        RuntimeError: ``beta`` is negative.
    """
    input, target = _paired(input, target)
    reduction = legacy_reduction(size_average, reduce, reduction)
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss does not support negative values for beta, got {beta}")
    difference, dtype = _difference(input, target)
    loss = reduced(difference.abs() if beta == 0 else _huber(difference, beta) / beta, reduction)
    return loss if dtype is None else loss.to(dtype)


def _difference(input: Tensor, target: Tensor) -> tuple[Tensor, dt.dtype | None]:
    """``input - target``, of which one may be bool; and that of half precision, which is float32 here, the dtype that the loss is rounded to."""
    if input.dtype is flambeau.bool:
        input = input.to(target.dtype)
    elif target.dtype is flambeau.bool:
        target = target.to(input.dtype)
    if all(each.dtype is each.dtype.compute for each in (input, target)):
        return input - target, None
    dtype = flambeau.result_type(input, target)
    return input.to(dtype.compute) - target.to(dtype.compute), dtype


def _huber(difference: Tensor, delta: float) -> Tensor:
    """d² / 2 up to ``delta``, and a line beyond: with d cut off there, c (d - c / 2) is both, and c its gradient."""
    near = difference.clamp(-delta, delta)
    return near * (difference - 0.5 * near)


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None) -> Tensor:
    """Computes d² / 2 where d = |x - t| ≤ ``delta``, and ``delta`` (d - ``delta`` / 2) elsewhere.

    Raises:
        RuntimeError: ``delta`` is not positive.
    """
    input, target = _paired(input, target, weight)
    if delta <= 0:
        raise RuntimeError(f"huber_loss does not support non-positive values for delta, got {delta}")
    loss = _huber(_difference(input, target)[0], delta)
    return reduced(loss if weight is None else loss * weight, reduction).to(input.dtype)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Computes max(-t (x₁ - x₂) + ``margin``, 0); t = 1 says that x₁ shall rank higher, t = -1 the contrary."""
    if not input1.dim() == input2.dim() == target.dim():
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    loss = (-target * (input1 - input2) + margin).clamp_min(0)
    return reduced(loss, legacy_reduction(size_average, reduce, reduction))


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Computes x where t = 1 and max(``margin`` - x, 0) where t = -1."""
    far = (margin - input).clamp_min(0).masked_fill(target == 1, 0.0)
    near = input.masked_fill(target == -1, 0.0)
    return reduced(far + near, legacy_reduction(size_average, reduce, reduction))


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Computes log(1 + exp(-t x)), t being 1 or -1."""
    return reduced((-target * input).exp().log1p(), legacy_reduction(size_average, reduce, reduction))


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Computes the mean over the classes of the binary cross entropy of sigmoid(x).

    Args:
        input: (..., C).
        target: of the same shape, 0 or 1.
        weight: factors, broadcast to the shape.
        size_average: what ``reduction`` replaced.
        reduce: what ``reduction`` replaced.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    """
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return reduced(loss.sum(-1) / input.size(-1), legacy_reduction(size_average, reduce, reduction))


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Computes Σ_{i ≠ t} weight[t] max(0, ``margin`` - x[t] + x[i])^``p`` / C.

    Args:
        input: (N, C) or (C).
        target: (N) or (), classes.
        p: 1 or 2.
        margin: by how much the target's class shall be ahead.
        weight: (C).
        size_average: what ``reduction`` replaced.
        reduce: what ``reduction`` replaced.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    """
    if p not in (1, 2):
        raise ValueError(f"only p == 1 and p == 2 supported, got p={p}")
    if weight is not None and weight.dim() != 1:
        raise ValueError(f"weight must be one-dimensional, got shape {shape_text(weight)}")
    reduction = legacy_reduction(size_average, reduce, reduction)
    reduction_code(reduction)
    input = input.unsqueeze(-1) if input.dim() == 0 else input
    classes = target.unsqueeze(-1) if target.dim() < input.dim() else target
    loss = (margin - input.gather(-1, classes) + input).clamp_min(0)
    if p == 2:
        loss = loss * loss
    if weight is not None:
        loss = loss * weight[classes]
    loss = loss.scatter(-1, classes, 0.0).sum(-1) / input.size(-1)
    return reduced(loss, reduction)


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Computes Σ_{j in T, i not in T} max(0, 1 - (x[j] - x[i])) / C, T being the classes in ``target`` up to the first -1.

    Args:
        input: (N, C) or (C).
        target: classes, of the same shape, filled up with -1.
        size_average: what ``reduction`` replaced.
        reduce: what ``reduction`` replaced.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    """
    if input.shape != target.shape:
        raise RuntimeError(f"multilabel_margin_loss: inconsistent target size {shape_text(target)} for input of size {shape_text(input)}")
    reduction = legacy_reduction(size_average, reduce, reduction)
    reduction_code(reduction)
    if input.dim() == 0:
        input, target = input.unsqueeze(-1), target.unsqueeze(-1)
    if input.dim() > 2 or input.size(-1) == 0:
        raise RuntimeError(f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(input.shape)}")
    counts = (target < 0).cumsum(-1) == 0
    labels = target.masked_fill(~counts, 0)
    is_target = flambeau.zeros_like(input).scatter_add(-1, labels, counts.to(input.dtype)) > 0
    margins = (1 - input.gather(-1, labels).unsqueeze(-1) + input.unsqueeze(-2)).clamp_min(0)
    wanted = counts.unsqueeze(-1) & ~is_target.unsqueeze(-2)
    loss = margins.masked_fill(~wanted, 0.0).sum((-2, -1)) / input.size(-1)
    return reduced(loss, reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Computes 1 - cos(x₁, x₂) where t = 1 and max(0, cos(x₁, x₂) - ``margin``) where t = -1.

    Args:
        input1: x₁, (N, D) or (D).
        input2: x₂, of the same shape.
        target: t, (N) or ().
        margin: below which dissimilar pairs cost nothing.
        size_average: what ``reduction`` replaced.
        reduce: what ``reduction`` replaced.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    """
    if target.dim() not in (0, 1) or input1.dim() != target.dim() + 1:
        raise RuntimeError(
            f"{target.dim()}D target tensor expects {target.dim() + 1}D input tensors, but found inputs with sizes "
            f"{list(input1.shape)} and {list(input2.shape)}: give (N, D) with target (N), or (D) with target ()."
        )
    tiny = 1e-12
    lengths = ((input1 * input1).sum(-1) + tiny) * ((input2 * input2).sum(-1) + tiny)
    similarity = (input1 * input2).sum(-1) / lengths.sqrt()
    near = (1 - similarity).masked_fill(target != 1, 0.0)
    far = (similarity - margin).clamp_min(0).masked_fill(target != -1, 0.0)
    return reduced(near + far, legacy_reduction(size_average, reduce, reduction))


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Computes max(d(a, p) - d(a, n) + ``margin``, 0), d being the distance in the ``p``-norm (Balntas et al. 2016).

    Args:
        anchor: a, (N, D) or (D).
        positive: p, of the same shape.
        negative: n, of the same shape.
        margin: by how much the negative shall be farther away.
        p: the exponent of the norm.
        eps: added to the differences.
        swap: whether d(p, n) counts in the place of d(a, n) where it is smaller.
        size_average: what ``reduction`` replaced.
        reduce: what ``reduction`` replaced.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    """

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return pairwise_distance(x, y, p, eps)

    reduction = legacy_reduction(size_average, reduce, reduction)
    return triplet_margin_with_distance_loss(
        anchor, positive, negative, distance_function=distance, margin=margin, swap=swap, reduction=reduction
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Computes :func:`triplet_margin_loss` with any distance; the Euclidean one if none is given."""
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    dims = anchor.dim(), positive.dim(), negative.dim()
    if len(set(dims)) > 1:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {dims[0]}D, positive {dims[1]}D, and negative {dims[2]}D inputs"
        )
    distance: Any = distance_function or pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = flambeau.minimum(far, distance(positive, negative))
    return reduced((margin + near - far).clamp_min(0), reduction)
