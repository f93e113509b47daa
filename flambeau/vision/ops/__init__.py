"""Operators of computer vision."""

from __future__ import annotations

from flambeau.vision.ops.boxes import batched_nms as batched_nms
from flambeau.vision.ops.boxes import box_area as box_area
from flambeau.vision.ops.boxes import box_convert as box_convert
from flambeau.vision.ops.boxes import box_iou as box_iou
from flambeau.vision.ops.boxes import clip_boxes_to_image as clip_boxes_to_image
from flambeau.vision.ops.boxes import nms as nms
from flambeau.vision.ops.boxes import remove_small_boxes as remove_small_boxes
from flambeau.vision.ops.misc import FrozenBatchNorm2d as FrozenBatchNorm2d

__all__ = ["FrozenBatchNorm2d", "batched_nms", "box_area", "box_convert", "box_iou", "clip_boxes_to_image", "nms", "remove_small_boxes"]
