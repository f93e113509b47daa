"""The operators of torchvision's compiled libraries, for the installed package, which is written in Python apart from them.

`torch.ops.load_library` comes here for them instead of loading what was built for PyTorch's own library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import Tensor, library
from flambeau.vision import io
from flambeau.vision.ops.boxes import nms
from flambeau.vision.ops.deform_conv import deform_conv2d
from flambeau.vision.ops.roi_align import pooled, roi_align

__all__ = ["LIBRARIES"]

_ROI = "Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width"
_KERNELS = "int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w, int groups, int offset_groups, bool use_mask"
_SIZES = "int batch_size, int channels, int height, int width"


def _define(namespace: str, schema: str, function: Callable | None = None) -> None:
    """Name an operator that is made of PyTorch's, and whose gradient is theirs; or one that there is not (the package names it)."""
    name = f"{namespace}::{schema.partition('(')[0]}"
    library.define(name, schema)
    if function is not None:
        library.impl(name, "CompositeImplicitAutograd", function)


def _roi_align(input: Tensor, rois: Tensor, scale: float, height: int, width: int, sampling_ratio: int, aligned: bool) -> Tensor:
    return roi_align(input, rois, (height, width), scale, sampling_ratio, aligned)


def _roi_pool(input: Tensor, rois: Tensor, scale: float, height: int, width: int) -> tuple[Tensor, Tensor]:
    return pooled(input, rois, (height, width), scale)


def _deform_conv2d(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor, bias: Tensor, stride_h: int, stride_w: int, pad_h: int, pad_w: int, dilation_h: int, dilation_w: int,
    groups: int, offset_groups: int, use_mask: bool,
) -> Tensor:  # fmt: skip
    strides, padding, dilation = (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w)
    return deform_conv2d(input, offset, weight, bias, strides, padding, dilation, mask if use_mask else None)


def _operators() -> None:
    define = lambda *args: _define("torchvision", *args)
    define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor", nms)
    define(f"roi_align({_ROI}, int sampling_ratio, bool aligned) -> Tensor", _roi_align)
    define(f"roi_pool({_ROI}) -> (Tensor, Tensor)", _roi_pool)
    define(f"deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, {_KERNELS}) -> Tensor", _deform_conv2d)
    define("_cuda_version() -> int", lambda: -1)
    for schema in (
        f"_roi_align_backward(Tensor grad, Tensor rois, float scale, int h, int w, {_SIZES}, int sampling_ratio, bool aligned) -> Tensor",
        f"_roi_pool_backward(Tensor grad, Tensor rois, Tensor argmax, float scale, int h, int w, {_SIZES}) -> Tensor",
        f"ps_roi_align({_ROI}, int sampling_ratio) -> (Tensor, Tensor)",
        f"_ps_roi_align_backward(Tensor grad, Tensor rois, Tensor mapping, float scale, int h, int w, int sampling_ratio, {_SIZES}) -> Tensor",
        f"ps_roi_pool({_ROI}) -> (Tensor, Tensor)",
        f"_ps_roi_pool_backward(Tensor grad, Tensor rois, Tensor mapping, float scale, int h, int w, {_SIZES}) -> Tensor",
        f"_deform_conv2d_backward(Tensor grad, Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, {_KERNELS}) -> Tensor[]",
        "box_iou_rotated(Tensor boxes1, Tensor boxes2) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        f"qroi_align({_ROI}, int sampling_ratio, bool aligned) -> Tensor",
    ):
        define(schema)


def _mode(function: Callable) -> Callable:
    """A decoder that is told the mode by its number."""
    return lambda data, mode=0, apply_exif_orientation=False: function(
        data, io.ImageReadMode(mode), apply_exif_orientation=apply_exif_orientation
    )


def _images() -> None:
    define = lambda *args: _define("image", *args)
    define("read_file(str filename) -> Tensor", io.read_file)
    define("write_file(str filename, Tensor data) -> ()", io.write_file)
    for name in ("decode_image", "decode_jpeg", "decode_png"):
        define(f"{name}(Tensor data, int mode=0, bool apply_exif_orientation=False) -> Tensor", _mode(getattr(io, name)))
    define("encode_png(Tensor data, int compression_level=6) -> Tensor", io.encode_png)
    define("encode_jpeg(Tensor data, int quality=75) -> Tensor", io.encode_jpeg)


LIBRARIES: dict[str, Callable[[], Any]] = {"_C": _operators, "image": _images}
"""What defines the operators of a library, by its name."""
