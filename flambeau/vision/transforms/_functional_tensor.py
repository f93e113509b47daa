"""Operations on tensors of shape (…, C, H, W); :mod:`functional` has checked the arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau.nn import functional as F
from flambeau.vision.transforms.interpolation import InterpolationMode

_GRAY = (0.2989, 0.587, 0.114)
"""What red, green and blue add to the luma of ITU-R BT.601."""


def dimensions(image: flambeau.Tensor) -> tuple[int, int, int]:
    """Channels, height, width; an image without a channel axis has one."""
    channels = 1 if image.dim() == 2 else image.shape[-3]
    return channels, image.shape[-2], image.shape[-1]


def hflip(image: flambeau.Tensor) -> flambeau.Tensor:
    return image.flip(-1)


def vflip(image: flambeau.Tensor) -> flambeau.Tensor:
    return image.flip(-2)


def crop(image: flambeau.Tensor, top: int, left: int, height: int, width: int) -> flambeau.Tensor:
    _, image_height, image_width = dimensions(image)
    bottom, right = top + height, left + width
    inside = image[..., max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    outside = [max(-left, 0), max(right - max(image_width, left), 0), max(-top, 0), max(bottom - max(image_height, top), 0)]
    return F.pad(inside, outside) if any(outside) else inside


def resize(image: flambeau.Tensor, height: int, width: int, mode: InterpolationMode, antialias: bool | None) -> flambeau.Tensor:
    smooth = mode in (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC)
    if not smooth and mode not in (InterpolationMode.NEAREST, InterpolationMode.NEAREST_EXACT):
        raise ValueError(f"tensors can be resized with nearest, nearest-exact, bilinear or bicubic, not with {mode.value}")
    options: dict[str, Any] = {"align_corners": False, "antialias": bool(antialias)} if smooth else {}
    resized = _as_float_batch(image, lambda batch: F.interpolate(batch, size=(height, width), mode=mode.value, **options))
    if mode is InterpolationMode.BICUBIC and image.dtype == flambeau.uint8:
        resized = resized.clamp(0, 255)  # cubic weights overshoot
    return _cast_back(resized, image.dtype)


def pad(image: flambeau.Tensor, left: int, top: int, right: int, bottom: int, fill: Any, padding_mode: str) -> flambeau.Tensor:
    sides = [left, right, top, bottom]
    if padding_mode == "constant":
        if isinstance(fill, (tuple, list)):
            if len(fill) != 1:
                raise ValueError(f"a tensor is padded with one number, but fill={fill}")
            fill = fill[0]
        return F.pad(image, sides, value=fill or 0)
    if padding_mode == "symmetric":
        return _pad_symmetric(image, sides)
    mode = "replicate" if padding_mode == "edge" else padding_mode
    return _cast_back(_as_float_batch(image, lambda batch: F.pad(batch, sides, mode=mode)), image.dtype)


def _pad_symmetric(image: flambeau.Tensor, sides: Sequence[int]) -> flambeau.Tensor:
    """Mirrors the image at its edges, with the edge pixels repeated; negative padding crops."""
    left, right, top, bottom = sides
    for axis, before, after in ((-1, left, right), (-2, top, bottom)):
        size = image.shape[axis]
        source = [_mirror(position, size) for position in range(-before, size + after)]
        image = image.index_select(axis, flambeau.tensor(source))
    return image


def _mirror(position: int, size: int) -> int:
    """Where ``position`` lands in a row of images of which every second is mirrored."""
    position %= 2 * size
    return position if position < size else 2 * size - 1 - position


def rotate(
    image: flambeau.Tensor, angle: float, mode: InterpolationMode, expand: bool, center: Sequence[float] | None, fill: Any
) -> flambeau.Tensor:
    if mode not in (InterpolationMode.NEAREST, InterpolationMode.BILINEAR):
        raise ValueError(f"tensors can be rotated with nearest or bilinear, not with {mode.value}")
    channels, height, width = dimensions(image)
    # From here on x and y are counted from the middle of the image.
    center_x, center_y = (center[0] - width / 2, center[1] - height / 2) if center is not None else (0.0, 0.0)
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    out_height, out_width = _rotated_size(height, width, cosine, sine) if expand else (height, width)
    x = (flambeau.arange(out_width, dtype=flambeau.float32) + (0.5 - out_width / 2) - center_x)[None, :]
    y = (flambeau.arange(out_height, dtype=flambeau.float32) + (0.5 - out_height / 2) - center_y)[:, None]
    source_x = cosine * x - sine * y + center_x
    source_y = sine * x + cosine * y + center_y
    grid = flambeau.stack([source_x * (2 / width), source_y * (2 / height)], -1)

    def sample(batch: flambeau.Tensor) -> flambeau.Tensor:
        count = batch.shape[0]
        covered = flambeau.ones_like(batch[:, :1]) if fill is not None else None
        if covered is not None:
            batch = flambeau.cat([batch, covered], 1)
        grids = grid.to(batch.dtype).expand(count, -1, -1, -1)
        turned = F.grid_sample(batch, grids, mode=mode.value, padding_mode="zeros", align_corners=False)
        if covered is None:
            return turned
        turned, covered = turned[:, :-1], turned[:, -1:]
        color = flambeau.tensor(_per_channel(fill, channels), dtype=turned.dtype)[:, None, None]
        if mode is InterpolationMode.NEAREST:
            return flambeau.where(covered < 0.5, color, turned)
        return turned + (1 - covered) * color  # `turned` is blended with the zeros around the image already

    return _cast_back(_as_float_batch(image, sample), image.dtype)


def _rotated_size(height: int, width: int, cosine: float, sine: float) -> tuple[int, int]:
    """How large the smallest upright box around the rotated image is."""
    slack = 1e-4  # an angle of 90 degrees has a cosine of 6e-17, which must not cost a row of pixels
    half_width = (abs(cosine) * width + abs(sine) * height) / 2
    half_height = (abs(sine) * width + abs(cosine) * height) / 2
    return 2 * math.ceil(half_height - slack), 2 * math.ceil(half_width - slack)


def grayscale(image: flambeau.Tensor, channels: int) -> flambeau.Tensor:
    if image.shape[-3] == 3:
        red, green, blue = image.unbind(-3)
        image = (_GRAY[0] * red + _GRAY[1] * green + _GRAY[2] * blue).to(image.dtype).unsqueeze(-3)
    return image.expand(*image.shape[:-3], 3, *image.shape[-2:]) if channels == 3 else image.clone()


def adjust_brightness(image: flambeau.Tensor, factor: float) -> flambeau.Tensor:
    return _blend(image, flambeau.zeros_like(image), factor)


def adjust_contrast(image: flambeau.Tensor, factor: float) -> flambeau.Tensor:
    dtype = image.dtype if image.is_floating_point() else flambeau.float32
    gray = grayscale(image, 1) if image.shape[-3] == 3 else image
    return _blend(image, gray.to(dtype).mean((-3, -2, -1), keepdim=True), factor)


def adjust_saturation(image: flambeau.Tensor, factor: float) -> flambeau.Tensor:
    return image if image.shape[-3] == 1 else _blend(image, grayscale(image, 1), factor)


def adjust_hue(image: flambeau.Tensor, factor: float) -> flambeau.Tensor:
    if image.shape[-3] == 1:
        return image
    scaled = image if image.is_floating_point() else image.to(flambeau.float32) / _bound(image.dtype)
    hue, saturation, value = _hue_saturation_value(scaled)
    turned = _from_hue_saturation_value((hue + factor) % 1.0, saturation, value)
    if image.is_floating_point():
        return turned
    return (turned * (_bound(image.dtype) + 1 - 1e-3)).to(image.dtype)


def adjust_gamma(image: flambeau.Tensor, gamma: float, gain: float) -> flambeau.Tensor:
    scaled = image if image.is_floating_point() else image.to(flambeau.float32) / _bound(image.dtype)
    adjusted = (gain * scaled**gamma).clamp(0, 1)
    if image.is_floating_point():
        return adjusted
    return (adjusted * (_bound(image.dtype) + 1 - 1e-3)).to(image.dtype)


def _blend(image: flambeau.Tensor, other: flambeau.Tensor, factor: float) -> flambeau.Tensor:
    return (factor * image + (1.0 - factor) * other).clamp(0, _bound(image.dtype)).to(image.dtype)


def _hue_saturation_value(image: flambeau.Tensor) -> tuple[flambeau.Tensor, flambeau.Tensor, flambeau.Tensor]:
    red, green, blue = image.unbind(-3)
    value = image.amax(-3)
    chroma = value - image.amin(-3)
    gray = chroma == 0
    saturation = chroma / flambeau.where(gray, 1.0, value)
    # Where on the hexagon of hues, in sixths of a turn: from red (0) by green (2) and blue (4) back to red.
    divisor = flambeau.where(gray, 1.0, chroma)
    position = flambeau.where(
        value == red,
        (green - blue) / divisor,
        flambeau.where(value == green, 2.0 + (blue - red) / divisor, 4.0 + (red - green) / divisor),
    )
    return (position / 6.0) % 1.0, saturation, value


def _from_hue_saturation_value(hue: flambeau.Tensor, saturation: flambeau.Tensor, value: flambeau.Tensor) -> flambeau.Tensor:
    # A channel is full within a sixth of a turn from its own hue and fades out over the next sixth: a trapezoid that is the
    # same for red (5), green (3) and blue (1) but for where on the hexagon it lies.
    channels = []
    for offset in (5.0, 3.0, 1.0):
        position = (hue * 6.0 + offset) % 6.0
        fading = flambeau.minimum(position, 4.0 - position).clamp(0, 1)
        channels.append(value * (1.0 - saturation * fading))
    return flambeau.stack(channels, -3)


def _as_float_batch(image: flambeau.Tensor, function: Any) -> flambeau.Tensor:
    """``function`` of ``image`` as (N, C, H, W) floats, with the leading axes that it had."""
    batch = image if image.is_floating_point() else image.to(flambeau.float32)
    leading = image.shape[:-3]
    batch = batch.reshape(-1, *(image.shape[-3:] if image.dim() >= 3 else (1, *image.shape)))
    result = function(batch)
    return result.reshape(*leading, *result.shape[1:]) if image.dim() >= 3 else result[0, 0]


def _cast_back(image: flambeau.Tensor, dtype: flambeau.dtype) -> flambeau.Tensor:
    if image.dtype == dtype:
        return image
    return (image if dtype.is_floating_point else image.round()).to(dtype)


def _bound(dtype: flambeau.dtype) -> float:
    """The value of full intensity."""
    return 1.0 if dtype.is_floating_point else float(flambeau.iinfo(dtype).max)


def _per_channel(fill: Any, channels: int) -> list[float]:
    values = [float(fill)] * channels if isinstance(fill, (int, float)) else [float(value) for value in fill]
    if len(values) == 1:
        values *= channels
    if len(values) != channels:
        raise ValueError(f"fill has {len(values)} values, but the image has {channels} channels")
    return values
