"""Operators of computer vision."""

from __future__ import annotations

from flambeau.vision.ops.boxes import batched_nms as batched_nms
from flambeau.vision.ops.boxes import box_area as box_area
from flambeau.vision.ops.boxes import box_convert as box_convert
from flambeau.vision.ops.boxes import box_iou as box_iou
from flambeau.vision.ops.boxes import clip_boxes_to_image as clip_boxes_to_image
from flambeau.vision.ops.boxes import nms as nms
from flambeau.vision.ops.boxes import remove_small_boxes as remove_small_boxes
from flambeau.vision.ops.deform_conv import DeformConv2d as DeformConv2d
from flambeau.vision.ops.deform_conv import deform_conv2d as deform_conv2d
from flambeau.vision.ops.misc import FrozenBatchNorm2d as FrozenBatchNorm2d
from flambeau.vision.ops.overlap import generalized_box_iou as generalized_box_iou
from flambeau.vision.ops.overlap import generalized_box_iou_loss as generalized_box_iou_loss
from flambeau.vision.ops.overlap import sigmoid_focal_loss as sigmoid_focal_loss
from flambeau.vision.ops.roi_align import RoIAlign as RoIAlign
from flambeau.vision.ops.roi_align import RoIPool as RoIPool
from flambeau.vision.ops.roi_align import roi_pool as roi_pool

from flambeau.vision.ops.roi_align import roi_align as roi_align  # isort: skip  (after its module, whose name it takes)

__all__ = [
    "DeformConv2d", "FrozenBatchNorm2d", "RoIAlign", "RoIPool", "batched_nms", "box_area", "box_convert", "box_iou", "clip_boxes_to_image", "deform_conv2d",
    "generalized_box_iou", "generalized_box_iou_loss", "nms", "remove_small_boxes", "roi_align", "roi_pool", "sigmoid_focal_loss",
]  # fmt: skip
