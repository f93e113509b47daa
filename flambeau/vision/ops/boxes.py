"""Boxes in images: (x1, y1, x2, y2) with x1 ≤ x2 and y1 ≤ y2, in pixels from the top left corner."""

from __future__ import annotations

import numpy as np

import flambeau

__all__ = ["batched_nms", "box_area", "box_convert", "box_iou", "clip_boxes_to_image", "nms", "remove_small_boxes"]


def box_area(boxes: flambeau.Tensor) -> flambeau.Tensor:
    """The areas (N,) of boxes (N, 4).

    Example:
        >>> box_area(flambeau.tensor([[0.0, 0.0, 2.0, 3.0]]))
        tensor([6.])
    """
    x1, y1, x2, y2 = widened(boxes).unbind(-1)
    return (x2 - x1) * (y2 - y1)


def box_iou(boxes1: flambeau.Tensor, boxes2: flambeau.Tensor) -> flambeau.Tensor:
    """The intersection over union (N, M) of each box of (N, 4) with each of (M, 4).

    Example:
        >>> box_iou(flambeau.tensor([[0.0, 0.0, 2.0, 2.0]]), flambeau.tensor([[1.0, 0.0, 3.0, 2.0]]))
        tensor([[0.3333]])
    """
    first, second = widened(boxes1)[:, None], widened(boxes2)[None]
    sides = flambeau.minimum(first[..., 2:], second[..., 2:]) - flambeau.maximum(first[..., :2], second[..., :2])
    sides = sides.clamp(min=0)
    shared = sides[..., 0] * sides[..., 1]
    return shared / (box_area(boxes1)[:, None] + box_area(boxes2)[None] - shared)


def nms(boxes: flambeau.Tensor, scores: flambeau.Tensor, iou_threshold: float) -> flambeau.Tensor:
    """Non-maximum suppression: the indices of boxes of which no better one covers more than ``iou_threshold``.

    Boxes are taken from the highest score to the lowest, equal scores in their given order; a box is dropped if its
    intersection over union with one that was kept is larger than the threshold.

    Args:
        boxes: (N, 4).
        scores: (N,).
        iou_threshold: between 0 and 1.

    Returns:
        The indices of the kept boxes, int64, by decreasing score.

    Example:
        >>> boxes = flambeau.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.0], [9.0, 9.0, 10.0, 10.0]])
        >>> nms(boxes, flambeau.tensor([0.5, 0.9, 0.1]), iou_threshold=0.5)
        tensor([1, 2])
    """
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise RuntimeError(f"boxes should have shape (N, 4), but got {tuple(boxes.shape)}")
    if scores.shape != boxes.shape[:1]:
        raise RuntimeError(f"scores should have shape {tuple(boxes.shape[:1])}, one for each box, but got {tuple(scores.shape)}")
    # Each step depends on the one before, so there is nothing to record: NumPy does one row at a time.
    corners = boxes.detach().numpy()
    order = np.argsort(-scores.detach().numpy(), kind="stable")
    x1, y1, x2, y2 = corners[order].T
    areas = (x2 - x1) * (y2 - y1)
    zero = areas.dtype.type(0)
    dropped = np.zeros(len(order), bool)
    kept = []
    for best in range(len(order)):
        if dropped[best]:
            continue
        kept.append(order[best])
        rest = slice(best + 1, None)
        width = np.maximum(np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest]), zero)
        height = np.maximum(np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest]), zero)
        shared = width * height
        with np.errstate(invalid="ignore"):  # two boxes without area: not a number, and not more than the threshold
            dropped[rest] |= shared / (areas[best] + areas[rest] - shared) > iou_threshold
    return flambeau.tensor(np.array(kept, np.int64), device=boxes.device)


def batched_nms(boxes: flambeau.Tensor, scores: flambeau.Tensor, idxs: flambeau.Tensor, iou_threshold: float) -> flambeau.Tensor:
    """:func:`nms` among the boxes of each category; ``idxs`` (N,) says which category a box is of."""
    if boxes.numel() == 0:
        return flambeau.empty((0,), dtype=flambeau.int64, device=boxes.device)
    # Far enough apart, boxes of different categories never meet.
    offsets = idxs.to(boxes) * (boxes.max() + 1)
    return nms(boxes + offsets[:, None], scores, iou_threshold)


def box_convert(boxes: flambeau.Tensor, in_fmt: str, out_fmt: str) -> flambeau.Tensor:
    """Converts between ``xyxy`` (corners), ``xywh`` (corner and size) and ``cxcywh`` (center and size).

    Example:
        >>> box_convert(flambeau.tensor([[1.0, 1.0, 3.0, 5.0]]), "xyxy", "cxcywh")
        tensor([[2., 3., 2., 4.]])
    """
    formats = ("xyxy", "xywh", "cxcywh")
    for name in (in_fmt, out_fmt):
        if name not in formats:
            raise ValueError(f"Unsupported Bounding Box Conversions for given in_fmt {in_fmt} and out_fmt {out_fmt}: they are {formats}")
    if in_fmt == out_fmt:
        return boxes.clone()
    a, b, c, d = boxes.unbind(-1)
    if in_fmt == "xywh":
        c, d = a + c, b + d
    elif in_fmt == "cxcywh":
        a, b, c, d = a - 0.5 * c, b - 0.5 * d, a + 0.5 * c, b + 0.5 * d
    if out_fmt == "xywh":
        c, d = c - a, d - b
    elif out_fmt == "cxcywh":
        a, b, c, d = (a + c) / 2, (b + d) / 2, c - a, d - b
    return flambeau.stack((a, b, c, d), -1)


def clip_boxes_to_image(boxes: flambeau.Tensor, size: tuple[int, int]) -> flambeau.Tensor:
    """Boxes with their corners moved into an image of ``size`` (height, width)."""
    height, width = size
    x = boxes[..., 0::2].clamp(0, width)
    y = boxes[..., 1::2].clamp(0, height)
    return flambeau.stack((x, y), boxes.dim()).reshape(boxes.shape)


def remove_small_boxes(boxes: flambeau.Tensor, min_size: float) -> flambeau.Tensor:
    """The indices of boxes of which both sides are at least ``min_size``."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return flambeau.where((sides >= min_size).all(1))[0]


def widened(boxes: flambeau.Tensor) -> flambeau.Tensor:
    """The boxes in a dtype in which areas do not overflow."""
    if boxes.is_floating_point():
        return boxes if boxes.dtype in (flambeau.float32, flambeau.float64) else boxes.float()
    return boxes if boxes.dtype in (flambeau.int32, flambeau.int64) else boxes.int()
