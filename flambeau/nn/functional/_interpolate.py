"""Resizing of signals, images and volumes.

Every mode but ``"area"`` works on one axis after the other. Along an axis an output is a weighted sum of a few inputs, its
*taps*: one for nearest neighbours, two for linear, four for cubic interpolation, as many as a filter is wide with
``antialias``. Taps and weights depend on sizes alone and are kept.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

_LINEAR = {"linear": 3, "bilinear": 4, "trilinear": 5, "bicubic": 4, "lanczos": 4}
_ANY = ("nearest", "nearest-exact", "area")


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
    n = input.dim() - 2
    sizes, scales = _sizes(input, n, size, scale_factor)
    if recompute_scale_factor and size is not None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    if recompute_scale_factor or mode == "area":
        scales = None
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and input.dim() == 4):
        raise ValueError("Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as input")
    _check_mode(input, mode, align_corners, antialias)
    if any(s < 1 for s in (*sizes, *input.shape[2:])):
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input (spatial size {tuple(input.shape[2:])}) and output {sizes}"
        )
    if mode == "area":
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[n - 1](input, sizes)
    output = input if input.is_floating_point() else input.to(flambeau.float32)
    last = _channels_last(output)
    if last:  # channels that lie side by side are moved together, and stay side by side
        output = output.movedim(1, -1)
    if last and _repeats(mode, input.shape[2:], sizes, scales):
        output = _repeated(output, sizes)
    else:
        for i in reversed(range(n)):  # the last axis first, as PyTorch sums them
            scale = None if scales is None else scales[i]
            output = _resize_axis(output, i + (1 if last else 2), sizes[i], scale, mode, align_corners, antialias)
    if last:
        output = output.movedim(-1, 1)
    if output.dtype == input.dtype:
        return output
    if mode in ("nearest", "nearest-exact"):
        return output.to(input.dtype)
    return output.round().clamp(0, 255).to(input.dtype)


def _channels_last(input: Tensor) -> bool:
    format = {4: flambeau.channels_last, 5: flambeau.channels_last_3d}.get(input.dim())
    return format is not None and input.is_contiguous(memory_format=format) and not input.is_contiguous()


def _repeats(mode: str, old: Sequence[int], sizes: Sequence[int], scales: Sequence[float] | None) -> bool:
    """Whether each element is repeated, along each axis the same number of times."""
    return mode in ("nearest", "nearest-exact") and all(
        after % before == 0 and scale in (None, after // before) for before, after, scale in zip(old, sizes, scales or (None,) * len(old))
    )


def _repeated(input: Tensor, sizes: Sequence[int]) -> Tensor:
    """Elements of ``(N, *, C)`` repeated until ``*`` has the given sizes."""
    batch, *old, channels = input.shape
    split = [size for before in old for size in (before, 1)]
    wide = [size for before, after in zip(old, sizes) for size in (before, after // before)]
    return input.reshape(batch, *split, channels).expand(batch, *wide, channels).reshape(batch, *sizes, channels)


def _sizes(input: Tensor, n: int, size: Any, scale_factor: Any) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
    """The output's sizes, and the factors where those were given."""
    if (size is None) == (scale_factor is None):
        raise ValueError(
            "either size or scale_factor should be defined" if size is None else "only one of size or scale_factor should be defined"
        )
    what, values = ("output size", size) if size is not None else ("scale_factor", scale_factor)
    values = tuple(values) if isinstance(values, (tuple, list)) else (values,) * n
    if len(values) != n:
        raise ValueError(
            f"Input and output must have the same number of spatial dimensions, but got input with spatial dimensions of "
            f"{list(input.shape[2:])} and {what} of {values}. Give one number, or one for each of the {n} dimensions."
        )
    if size is not None:
        if not all(isinstance(value, int) for value in values):
            raise TypeError(f"expected size to be an int or a tuple of ints, but got {[type(value).__name__ for value in values]}")
        return values, None
    return tuple(math.floor(old * factor) for old, factor in zip(input.shape[2:], values)), values


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


def _resize_axis(input: Tensor, dim: int, size: int, scale: float | None, mode: str, align_corners: bool, antialias: bool) -> Tensor:
    old = input.size(dim)
    if antialias:
        weights = _filter_matrix(mode, old, size, scale, align_corners).to(device=input.device, dtype=input.dtype)
        return (input.movedim(dim, -1) @ weights).movedim(-1, dim)
    wide = "float64" if input.dtype == flambeau.float64 else "float32"
    positions, weights = _taps(mode, old, size, scale, align_corners, wide)
    result: Any = None
    for position, weight in zip(positions, weights):
        part = input.index_select(dim, position.to(input.device))
        if weight is not None:
            shape = [-1 if d == dim else 1 for d in range(input.dim())]
            part = part * weight.to(device=input.device, dtype=input.dtype).view(shape)
        result = part if result is None else result + part
    return result


def _ratio(old: int, size: int, scale: float | None, align_corners: bool, real: Callable) -> Any:
    """By how much the input's position grows from one output to the next."""
    if align_corners:
        return real(old - 1) / real(size - 1) if size > 1 else real(0)
    return real(1.0 / scale) if scale is not None and scale > 0 else real(old) / real(size)


@functools.lru_cache(maxsize=256)
def _taps(
    mode: str, old: int, size: int, scale: float | None, align_corners: bool, wide: str
) -> tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]:
    """The positions of the taps, each a vector over the outputs, and their weights (``None`` for 1)."""
    real: Any = getattr(numpy, wide)
    ratio = _ratio(old, size, scale, align_corners, real)
    out = numpy.arange(size).astype(wide)
    if mode in ("nearest", "nearest-exact"):
        shift = real(0.5) if mode == "nearest-exact" else real(0)
        position = numpy.floor((out + shift) * ratio).astype(numpy.int64).clip(0, old - 1)
        return (_vector(position),), (None,)
    source = out * ratio if align_corners else (out + real(0.5)) * ratio - real(0.5)
    if mode != "bicubic":
        source = numpy.maximum(source, real(0))
        low = numpy.floor(source).astype(numpy.int64).clip(0, old - 1)
        high = numpy.minimum(low + 1, old - 1)
        fraction = numpy.clip(source - low.astype(wide), real(0), real(1))
        return (_vector(low), _vector(high)), (_vector(real(1) - fraction), _vector(fraction))
    low = numpy.floor(source)
    fraction = source - low
    taps = [(low.astype(numpy.int64) + offset).clip(0, old - 1) for offset in (-1, 0, 1, 2)]
    weights = [_cubic(numpy.abs(fraction - real(offset)), -0.75) for offset in (-1, 0, 1, 2)]
    return tuple(_vector(tap) for tap in taps), tuple(_vector(weight.astype(wide)) for weight in weights)


def _vector(values: numpy.ndarray) -> Tensor:
    dtype = flambeau.int64 if values.dtype == numpy.int64 else getattr(flambeau, str(values.dtype))
    return flambeau.tensor(values.tolist(), dtype=dtype)


def _cubic(x: numpy.ndarray, a: float) -> numpy.ndarray:
    """The cubic convolution kernel (Keys 1981) at distance ``x``."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return numpy.where(x <= 1, near, numpy.where(x < 2, far, 0))


def _triangle(x: numpy.ndarray) -> numpy.ndarray:
    return numpy.maximum(1 - x, 0)


def _lanczos(x: numpy.ndarray) -> numpy.ndarray:
    return numpy.where(x < 3, numpy.sinc(x) * numpy.sinc(x / 3), 0)


# Half the width of each filter, and the filter as a function of the distance. With antialias the cubic one has a = -0.5.
_FILTERS: dict[str, tuple[float, Callable]] = {
    "bilinear": (1.0, _triangle),
    "bicubic": (2.0, lambda x: _cubic(x, -0.5)),
    "lanczos": (3.0, _lanczos),
}


@functools.lru_cache(maxsize=64)
def _filter_matrix(mode: str, old: int, size: int, scale: float | None, align_corners: bool) -> Tensor:
    """The (old, new) matrix of a filter that is as much wider as the image shrinks; every column sums to 1."""
    half, kernel = _FILTERS[mode]
    ratio = float(_ratio(old, size, scale, align_corners, float))
    stretch = max(ratio, 1.0)
    matrix = numpy.zeros((old, size))
    for i in range(size):
        centre = ratio * (i + 0.5)
        first = max(int(centre - half * stretch + 0.5), 0)
        last = min(int(centre + half * stretch + 0.5), old)
        weights = kernel(numpy.abs(numpy.arange(first, last) - centre + 0.5) / stretch)
        matrix[first:last, i] = weights / weights.sum()
    return flambeau.tensor(matrix.tolist(), dtype=flambeau.float64)


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
