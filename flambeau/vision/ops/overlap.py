"""Overlaps of boxes as losses (N boxes each, ``(x1, y1, x2, y2)``), and the focal loss of detectors."""

from __future__ import annotations

import flambeau
from flambeau import Tensor
from flambeau.nn.functional import binary_cross_entropy_with_logits
from flambeau.vision.ops.boxes import box_area, widened

__all__ = ["generalized_box_iou", "generalized_box_iou_loss", "sigmoid_focal_loss"]


def generalized_box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """The generalized intersection over union (N, M), between -1 and 1 (Rezatofighi et al. 2019): less than 0 for boxes far apart.

    Example:
        >>> generalized_box_iou(flambeau.tensor([[0.0, 0.0, 1.0, 1.0]]), flambeau.tensor([[2.0, 0.0, 3.0, 1.0]]))
        tensor([[-0.3333]])
    """
    return _generalized(widened(boxes1)[:, None], widened(boxes2)[None])


def _generalized(first: Tensor, second: Tensor, eps: float = 0.0) -> Tensor:
    sides = (flambeau.minimum(first[..., 2:], second[..., 2:]) - flambeau.maximum(first[..., :2], second[..., :2])).clamp(min=0)
    around = (flambeau.maximum(first[..., 2:], second[..., 2:]) - flambeau.minimum(first[..., :2], second[..., :2])).clamp(min=0)
    shared, hull = sides[..., 0] * sides[..., 1], around[..., 0] * around[..., 1]
    union = box_area(first) + box_area(second) - shared
    return shared / (union + eps) - (hull - union) / (hull + eps)


def generalized_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """1 - the generalized intersection over union of each box (N, 4) with its partner."""
    return _reduced(1 - _generalized(widened(boxes1), widened(boxes2), eps), reduction)


def sigmoid_focal_loss(inputs: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2, reduction: str = "none") -> Tensor:
    """Binary cross entropy of logits, in which what is already right counts little (Lin et al. 2017, "Focal loss for dense object detection").

    Args:
        inputs: logits of any shape.
        targets: 0 or 1, of the same shape.
        alpha: weight of the positive; not weighted if negative.
        gamma: how little the easy ones count.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    """
    if not (0 <= alpha <= 1) and alpha != -1:
        raise ValueError(f"Invalid alpha value: {alpha}. alpha must be in the range [0,1] or -1 for ignore.")
    chance = flambeau.sigmoid(inputs)
    entropy = binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    right = chance * targets + (1 - chance) * (1 - targets)
    loss = entropy * (1 - right) ** gamma
    if alpha >= 0:
        loss = (alpha * targets + (1 - alpha) * (1 - targets)) * loss
    return _reduced(loss, reduction)


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"Invalid Value for arg 'reduction': '{reduction}'. Supported reduction modes: 'none', 'mean', 'sum'")
    return loss if reduction == "none" else loss.sum() if reduction == "sum" else loss.mean() if loss.numel() else 0.0 * loss.sum()
