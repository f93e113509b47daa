"""Resizing of signals, images and volumes.

Every mode works on one axis after the other. Along an axis an output is a weighted sum of a few neighbours (``_ops/resampling.py``): one for
nearest neighbours, two for linear, four for cubic interpolation, as many as a filter is wide with ``antialias``.
"""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from typing import Any

import flambeau
from flambeau._ops.arguments import whole
from flambeau._ops.resampling import Rule, Rules, resample
from flambeau._tensor.tensor import Tensor
from flambeau._types.symbolic import SymInt
from flambeau.nn.functional._pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

_LINEAR = {"linear": 3, "bilinear": 4, "trilinear": 5, "bicubic": 4, "lanczos": 4}
_ANY = ("nearest", "nearest-exact", "area")
_KINDS = {mode: "linear" if mode.endswith("linear") else "cubic" if mode == "bicubic" else mode for mode in (*_LINEAR, *_ANY)}
"""The rule that each mode has along an axis."""


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resizes the spatial axes of ``input``.

    Args:
        input: (N, C, L), (N, C, H, W) or (N, C, D, H, W).
        size: the new sizes, an int or a tuple.
        scale_factor: or the factors, a number or a tuple.
        mode: ``"nearest"``, ``"nearest-exact"``, ``"area"``; ``"linear"`` (L), ``"bilinear"`` (H, W), ``"trilinear"`` (D, H, W),
            ``"bicubic"`` (H, W), ``"lanczos"`` (H, W, with ``antialias``).
        align_corners: whether the centres of the corner elements coincide (otherwise their outer edges do).
        recompute_scale_factor: whether positions are computed from the rounded output size instead of ``scale_factor``.
        antialias: whether the filter is widened where the image shrinks; for the two-dimensional modes.

    Raises:
        ValueError: the arguments contradict each other.
        NotImplementedError: the mode does not fit the number of dimensions.

    Example:
        >>> flambeau.nn.functional.interpolate(flambeau.tensor([[[1.0, 3.0]]]), size=4, mode="linear")
        tensor([[[1.0000, 1.5000, 2.5000, 3.0000]]])
    """
    if mode in _ANY and align_corners is not None:
        raise ValueError("align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear")
    align_corners = bool(align_corners)
    shape = tuple(input.shape)
    old = shape[2:]
    sizes, scales = _sizes(old, size, scale_factor)
    if recompute_scale_factor and size is not None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    if recompute_scale_factor or mode == "area":
        scales = None
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and input.dim() == 4):
        raise ValueError("Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as input")
    _check_mode(input, mode, align_corners, antialias)
    if mode == "area":
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[len(old) - 1](input, sizes)
    if min(*sizes, *old) < 1:
        raise RuntimeError(f"Input and output sizes should be greater than 0, but got input (spatial size {old}) and output {sizes}")
    output = input if input.is_floating_point() else input.to(flambeau.float32)
    kind = ("wide " if antialias else "") + _KINDS[mode]
    output = resample(output, _rules(kind, old, sizes, scales, align_corners))
    if output.dtype == input.dtype:
        return output
    if mode in ("nearest", "nearest-exact"):
        return output.to(input.dtype)
    return output.round().clamp(0, 255).to(input.dtype)


@lru_cache(maxsize=512)
def _rules(kind: str, old: tuple[int, ...], sizes: tuple[int, ...], scales: tuple[float, ...] | None, align_corners: bool) -> Rules:
    each_axis = enumerate(zip(old, sizes, scales or (None,) * len(old), strict=True))
    return tuple((axis + 2, Rule(kind, before, after, scale, align_corners)) for axis, (before, after, scale) in each_axis)


def _sizes(old: tuple[int, ...], size: Any, scale_factor: Any) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
    """The output's sizes, and the factors where those were given."""
    n = len(old)
    if (size is None) == (scale_factor is None):
        raise ValueError(
            "either size or scale_factor should be defined" if size is None else "only one of size or scale_factor should be defined"
        )
    what, values = ("output size", size) if size is not None else ("scale_factor", scale_factor)
    values = tuple(values) if isinstance(values, (tuple, list)) else (values,) * n
    if len(values) != n:
        raise ValueError(
            f"Input and output must have the same number of spatial dimensions, but got input with spatial dimensions of "
            f"{list(old)} and {what} of {values}. Give one number, or one for each of the {n} dimensions."
        )
    if size is not None:
        if any(isinstance(value, SymInt) for value in values):
            raise TypeError("interpolate() needs to know its sizes")
        return tuple(whole(value, "size") for value in values), None
    try:
        return tuple(math.floor(before * factor) for before, factor in zip(old, values)), values
    except (TypeError, ValueError, OverflowError) as error:
        kind = TypeError if isinstance(error, TypeError) else RuntimeError
        raise kind(f"interpolate(): scale_factor must be finite numbers, but is {values}") from None


def _check_mode(input: Tensor, mode: str, align_corners: bool, antialias: bool) -> None:
    dims = input.dim()
    if (mode not in _LINEAR and mode not in _ANY) or dims not in (3, 4, 5):
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {dims}D) for the modes: nearest | linear | bilinear | "
            f"bicubic | trilinear | lanczos | area | nearest-exact (got {mode})"
        )
    if mode in _LINEAR and _LINEAR[mode] != dims:
        raise NotImplementedError(f"Got {dims}D input, but {mode} mode needs {_LINEAR[mode]}D input")
    if mode == "lanczos" and (align_corners or not antialias):
        raise ValueError("Lanczos mode does not support align_corners=True" if align_corners else "Lanczos mode requires antialias=True")


def upsample(input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None) -> Tensor:
    """The old name of :func:`interpolate`."""
    warnings.warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Resizes to the nearest neighbour; see :func:`interpolate`."""
    warnings.warn("`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Resizes linearly with aligned corners; see :func:`interpolate`."""
    warnings.warn("`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
