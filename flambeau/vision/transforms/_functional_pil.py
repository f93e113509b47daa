"""Operations on Pillow's images; :mod:`functional` has checked the arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.vision._pillow import pillow
from flambeau.vision.transforms.interpolation import PILLOW_CODES, InterpolationMode


def dimensions(image: Any) -> tuple[int, int, int]:
    """Channels, height, width."""
    return len(image.getbands()), image.height, image.width


def to_array(image: Any) -> np.ndarray:
    """The pixels as (H, W, C), perhaps not writable; a bilevel image has the values 0 and 255."""
    dtype = {"I": np.int32, "I;16": np.int16, "F": np.float32}.get(image.mode)
    pixels = np.asarray(image, dtype=dtype)
    if image.mode == "1":
        pixels = pixels.astype(np.uint8) * 255
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def hflip(image: Any) -> Any:
    return image.transpose(pillow().Transpose.FLIP_LEFT_RIGHT)


def vflip(image: Any) -> Any:
    return image.transpose(pillow().Transpose.FLIP_TOP_BOTTOM)


def crop(image: Any, top: int, left: int, height: int, width: int) -> Any:
    return image.crop((left, top, left + width, top + height))


def resize(image: Any, height: int, width: int, mode: InterpolationMode, antialias: bool | None) -> Any:
    return image.resize((width, height), PILLOW_CODES[mode])


def pad(image: Any, left: int, top: int, right: int, bottom: int, fill: Any, padding_mode: str) -> Any:
    if padding_mode == "constant":
        padded = pillow("ImageOps").expand(image, border=(left, top, right, bottom), fill=_fill_color(image, fill))
    else:
        # Negative padding crops; NumPy cannot do that.
        crop_left, crop_top, crop_right, crop_bottom = (max(-side, 0) for side in (left, top, right, bottom))
        if crop_left or crop_top or crop_right or crop_bottom:
            image = image.crop((crop_left, crop_top, image.width - crop_right, image.height - crop_bottom))
            left, top, right, bottom = (max(side, 0) for side in (left, top, right, bottom))
        pixels = np.asarray(image)
        around = [(top, bottom), (left, right), (0, 0)][: pixels.ndim]
        padded = pillow().fromarray(np.pad(pixels, around, mode=padding_mode))
    if image.mode == "P":
        padded.putpalette(image.getpalette())
    return padded


def rotate(image: Any, angle: float, mode: InterpolationMode, expand: bool, center: Sequence[float] | None, fill: Any) -> Any:
    return image.rotate(angle, PILLOW_CODES[mode], expand, center, fillcolor=_fill_color(image, fill))


def grayscale(image: Any, channels: int) -> Any:
    gray = image.convert("L")
    return gray if channels == 1 else pillow().merge("RGB", (gray, gray, gray))


def adjust_brightness(image: Any, factor: float) -> Any:
    return pillow("ImageEnhance").Brightness(image).enhance(factor)


def adjust_contrast(image: Any, factor: float) -> Any:
    return pillow("ImageEnhance").Contrast(image).enhance(factor)


def adjust_saturation(image: Any, factor: float) -> Any:
    return pillow("ImageEnhance").Color(image).enhance(factor)


def adjust_hue(image: Any, factor: float) -> Any:
    if image.mode in {"1", "L", "I", "F"}:
        return image
    hue, saturation, value = image.convert("HSV").split()
    # Hues are angles, 256 of them: adding wraps around.
    turned = np.asarray(hue) + np.int32(factor * 255).astype(np.uint8)
    return pillow().merge("HSV", (pillow().fromarray(turned), saturation, value)).convert(image.mode)


def adjust_gamma(image: Any, gamma: float, gain: float) -> Any:
    table = [int((255 + 1 - 1e-3) * gain * (value / 255) ** gamma) for value in range(256)] * 3
    return image.convert("RGB").point(table).convert(image.mode)


def _fill_color(image: Any, fill: Any) -> Any:
    """``fill`` as Pillow takes it: one number, or a tuple with a number for each of the image's channels."""
    channels = len(image.getbands())
    if fill is None:
        fill = 0
    if isinstance(fill, (int, float)):
        return (int(fill),) * channels if channels > 1 else (fill if image.mode == "F" else int(fill))
    fill = tuple(fill)
    if len(fill) == 1:
        fill *= channels
    if len(fill) != channels:
        raise ValueError(f"fill has {len(fill)} values, but the image has {channels} channels (mode {image.mode})")
    return fill if channels > 1 else fill[0]
