"""Losses and distances: two that ONNX has, and what the others are made of."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.onnx._graph import Builder, Value
from flambeau.onnx._registry import MADE_OF, handler, made_of

REDUCTIONS = ("none", "mean", "sum")


@handler("nll_loss_nd", "nll_loss", "nll_loss2d")
def _nll_loss(
    g: Builder, like: Any, input: Value, target: Value, weight: Value | None = None, reduction: int = 1, ignore_index: int = -100
) -> Value:
    return _of_classes(g, "NegativeLogLikelihoodLoss", like, input, target, weight, reduction, ignore_index)


def _of_classes(
    g: Builder, op: str, like: Any, input: Value, target: Value, weight: Value | None, reduction: int, ignore_index: int
) -> Value:
    if input.dim == 1:
        input, target = g.unsqueeze(input, 0), g.unsqueeze(target, 0)
        reduction = reduction or 2
    shape = target.shape if reduction == 0 else ()
    return g(op, input, target, weight, like=Value(shape, input.dtype), reduction=REDUCTIONS[reduction], ignore_index=ignore_index)


@made_of("cross_entropy_loss")
def _cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: int = 1, ignore_index: int = -100, label_smoothing: float = 0.0
) -> Tensor:
    dim = 0 if input.dim() == 1 else 1
    logs = F.log_softmax(input, dim)
    if not target.is_floating_point() and not label_smoothing:
        return F.nll_loss(logs, target, weight, ignore_index=ignore_index, reduction=REDUCTIONS[reduction])
    classes = input.shape[dim]
    factors = None if weight is None else weight.reshape([-1, *[1] * (input.dim() - dim - 1)])
    if target.is_floating_point():
        wanted = target * (1 - label_smoothing) + label_smoothing / classes if label_smoothing else target
        terms = logs * wanted if factors is None else logs * wanted * factors
        loss = -terms.sum(dim)
        return loss.sum() / (loss.numel() if dim else 1) if reduction == 1 else loss.sum() if reduction == 2 else loss
    counted = target != ignore_index
    own = F.nll_loss(logs, target, weight, ignore_index=ignore_index, reduction="none")
    weighted = logs if factors is None else logs * factors
    spread = flambeau.where(counted, -weighted.sum(dim), 0.0)
    if reduction == 0:
        return own * (1 - label_smoothing) + spread * (label_smoothing / classes)
    total = own.sum() * (1 - label_smoothing) + spread.sum() * (label_smoothing / classes)
    if reduction == 2:
        return total
    known = flambeau.where(counted, target, 0)
    counts = counted.to(input.dtype) if weight is None else flambeau.where(counted, weight[known], 0.0)
    return total / counts.sum()


def reduced(loss: Tensor, reduction: int) -> Tensor:
    return loss.mean() if reduction == 1 else loss.sum() if reduction == 2 else loss


@made_of("l1_loss")
def _l1_loss(input: Tensor, target: Tensor, reduction: int = 1) -> Tensor:
    return reduced((input - target).abs(), reduction)


@made_of("mse_loss")
def _mse_loss(input: Tensor, target: Tensor, reduction: int = 1) -> Tensor:
    return reduced((input - target).square(), reduction)


@made_of("smooth_l1_loss")
def _smooth_l1_loss(input: Tensor, target: Tensor, reduction: int = 1, beta: float = 1.0) -> Tensor:
    distance = (input - target).abs()
    if beta == 0:
        return reduced(distance, reduction)
    return reduced(flambeau.where(distance < beta, distance.square() * (0.5 / beta), distance - 0.5 * beta), reduction)


@made_of("huber_loss")
def _huber_loss(input: Tensor, target: Tensor, reduction: int = 1, delta: float = 1.0) -> Tensor:
    distance = (input - target).abs()
    return reduced(flambeau.where(distance < delta, distance.square() * 0.5, (distance - 0.5 * delta) * delta), reduction)


@made_of("binary_cross_entropy")
def _binary_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: int = 1) -> Tensor:
    loss = -(target * input.log().clamp(min=-100) + (1 - target) * (1 - input).log().clamp(min=-100))
    return reduced(loss if weight is None else loss * weight, reduction)


@made_of("binary_cross_entropy_with_logits")
def _binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None, reduction: int = 1
) -> Tensor:
    factor = 1 if pos_weight is None else 1 + (pos_weight - 1) * target
    loss = (1 - target) * input - F.logsigmoid(input) * factor
    return reduced(loss if weight is None else loss * weight, reduction)


@made_of("kl_div")
def _kl_div(input: Tensor, target: Tensor, reduction: int = 1, log_target: bool = False) -> Tensor:
    if log_target:
        return reduced(target.exp() * (target - input), reduction)
    return reduced(flambeau.xlogy(target, target) - target * input, reduction)


@made_of("nn.functional.kl_div")
def _kl_div_function(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    if reduction == "batchmean":
        return _kl_div(input, target, 2, log_target) / (input.shape[0] if input.dim() else 1)
    return _kl_div(input, target, REDUCTIONS.index(reduction), log_target)


@made_of("poisson_nll_loss")
def _poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: int = 1
) -> Tensor:
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + flambeau.where(target > 1, stirling, 0.0)
    return reduced(loss, reduction)


@made_of("cosine_embedding_loss")
def _cosine_embedding_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 1) -> Tensor:
    similarity = (input1 * input2).sum(-1) / (((input1.square()).sum(-1) + 1e-12) * ((input2.square()).sum(-1) + 1e-12)).sqrt()
    loss = flambeau.where(target == 1, 1 - similarity, flambeau.where(target == -1, (similarity - margin).clamp(min=0), 0.0))
    return reduced(loss, reduction)


@made_of("margin_ranking_loss")
def _margin_ranking_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 1) -> Tensor:
    return reduced((margin - target * (input1 - input2)).clamp(min=0), reduction)


@made_of("hinge_embedding_loss")
def _hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: int = 1) -> Tensor:
    near = flambeau.where(target != 1, (margin - input).clamp(min=0), 0.0)
    return reduced(near + flambeau.where(target != -1, input, 0.0), reduction)


@made_of("soft_margin_loss")
def _soft_margin_loss(input: Tensor, target: Tensor, reduction: int = 1) -> Tensor:
    return reduced((1 + (-input * target).exp()).log(), reduction)


@made_of("multi_margin_loss")
def _multi_margin_loss(
    input: Tensor, target: Tensor, p: Any = 1, margin: Any = 1, weight: Tensor | None = None, reduction: int = 1
) -> Tensor:
    x = input if input.dim() == 2 else input.unsqueeze(0)
    wanted = target.reshape([-1, 1])
    distance = (margin - x.gather(1, wanted) + x).clamp(min=0)
    distance = distance if p == 1 else distance.square()
    if weight is not None:
        distance = distance * weight[wanted]
    classes = flambeau.arange(x.shape[1])
    loss = flambeau.where(classes == wanted, 0.0, distance).sum(1) / x.shape[1]
    return reduced(loss, reduction or (2 if input.dim() == 1 else 0))


@made_of("multilabel_margin_loss")
def _multilabel_margin_loss(input: Tensor, target: Tensor, reduction: int = 1) -> Tensor:
    """Targets count up to the first -1."""
    x = input if input.dim() == 2 else input.unsqueeze(0)
    labels = target if target.dim() == 2 else target.unsqueeze(0)
    valid = ((labels < 0).to(flambeau.int64).cumsum(1) == 0).to(x.dtype)
    known = labels.clamp(min=0)
    is_target = flambeau.zeros_like(x).scatter_add(1, known, valid) > 0
    distance = (1 - x.gather(1, known).unsqueeze(2) + x.unsqueeze(1)).clamp(min=0) * valid.unsqueeze(2)
    loss = flambeau.where(is_target.unsqueeze(1), 0.0, distance).sum([1, 2]) / x.shape[1]
    return reduced(loss, reduction or (2 if input.dim() == 1 else 0))


@made_of("triplet_margin_loss")
def _triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, reduction: int = 1
) -> Tensor:  # fmt: skip
    near, far = _pairwise_distance(anchor, positive, p, eps), _pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = flambeau.minimum(far, _pairwise_distance(positive, negative, p, eps))
    return reduced((near - far + margin).clamp(min=0), reduction)


def _of_function(name: str, function: Callable) -> Callable:
    """A loss as the function of `nn.functional` takes its arguments: with a text as the reduction, and older forms of it."""
    signature = inspect.signature(inspect.unwrap(getattr(F, name)))

    def call(*args: Any, **options: Any) -> Tensor:
        given = dict(signature.bind(*args, **options).arguments)
        if given.pop("size_average", None) is not None or given.pop("reduce", None) is not None:
            raise NotImplementedError("size_average and reduce are older forms of reduction: say reduction")
        if given.get("weight", 0) is None:
            del given["weight"]
        return function(**{**given, "reduction": REDUCTIONS.index(given.get("reduction", "mean"))})

    return call


for _name in (
    "cosine_embedding_loss", "hinge_embedding_loss", "huber_loss", "l1_loss", "margin_ranking_loss", "mse_loss", "multi_margin_loss", "multilabel_margin_loss",
    "poisson_nll_loss", "smooth_l1_loss", "soft_margin_loss", "triplet_margin_loss",
):  # fmt: skip
    made_of(f"nn.functional.{_name}")(_of_function(_name, MADE_OF[_name]))


# -- distances -----------------------------------------------------------------------------------------------------------


@made_of("pairwise_distance")
def _pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    return flambeau.linalg.vector_norm(x1 - x2 + eps, p, -1, keepdim)


@made_of("cosine_similarity")
def _cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    lengths = [flambeau.linalg.vector_norm(x, 2, dim, True).clamp(min=eps) for x in (x1, x2)]
    return ((x1 / lengths[0]) * (x2 / lengths[1])).sum(dim)


@made_of("cdist")
def _cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: Any = None) -> Tensor:
    return flambeau.linalg.vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


@made_of("pdist")
def _pdist(input: Tensor, p: float = 2.0) -> Tensor:
    rows, columns = flambeau.triu_indices(input.shape[0], input.shape[0], 1).unbind()
    return flambeau.linalg.vector_norm(input[rows] - input[columns], p, -1)


@made_of("dist")
def _dist(input: Tensor, other: Tensor, p: float = 2.0) -> Tensor:
    return flambeau.linalg.vector_norm(input - other, p)
