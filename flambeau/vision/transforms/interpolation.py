"""The ways to resample an image."""

from __future__ import annotations

from enum import Enum

__all__ = ["InterpolationMode"]


class InterpolationMode(Enum):
    """How a value between pixels is found. ``BOX``, ``HAMMING`` and ``LANCZOS`` are for Pillow's images only."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


PILLOW_CODES = {
    InterpolationMode.NEAREST: 0,
    InterpolationMode.NEAREST_EXACT: 0,
    InterpolationMode.LANCZOS: 1,
    InterpolationMode.BILINEAR: 2,
    InterpolationMode.BICUBIC: 3,
    InterpolationMode.BOX: 4,
    InterpolationMode.HAMMING: 5,
}
"""The numbers of Pillow's resampling filters."""

_BY_CODE = {code: mode for mode, code in PILLOW_CODES.items() if mode is not InterpolationMode.NEAREST_EXACT}


def interpolation_mode(value: InterpolationMode | int) -> InterpolationMode:
    """``value`` as a mode; Pillow's numbers are understood."""
    if isinstance(value, InterpolationMode):
        return value
    if isinstance(value, int) and value in _BY_CODE:
        return _BY_CODE[value]
    raise TypeError(f"interpolation should be an InterpolationMode or one of Pillow's filters, but got {value!r}")
