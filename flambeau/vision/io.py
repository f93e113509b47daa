"""Images in files: PNG and JPEG, read and written by Pillow (`pip install flambeau[vision]`).

https://docs.pytorch.org/vision/stable/io.html
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from enum import Enum
from pathlib import Path

import numpy as np

import flambeau
from flambeau import Tensor
from flambeau.vision._pillow import pillow

__all__ = [
    "ImageReadMode", "decode_image", "decode_jpeg", "decode_png", "encode_jpeg", "encode_png", "read_file", "read_image", "write_file", "write_jpeg", "write_png",
]  # fmt: skip


class ImageReadMode(Enum):
    """Which channels a decoded image has."""

    UNCHANGED = 0
    GRAY = 1
    GRAY_ALPHA = 2
    RGB = 3
    RGB_ALPHA = 4


_PILLOW_MODES = {ImageReadMode.GRAY: "L", ImageReadMode.GRAY_ALPHA: "LA", ImageReadMode.RGB: "RGB", ImageReadMode.RGB_ALPHA: "RGBA"}


def read_file(path: str | os.PathLike) -> Tensor:
    """The bytes of a file, uint8 (size,)."""
    return flambeau.from_numpy(np.fromfile(path, np.uint8))


def write_file(filename: str | os.PathLike, data: Tensor) -> None:
    """Write bytes, uint8 (size,), to a file."""
    Path(filename).write_bytes(_bytes(data))


def _bytes(data: Tensor) -> bytes:
    if data.dtype != flambeau.uint8 or data.dim() != 1:
        raise RuntimeError(f"expected bytes as uint8 of one dimension, got {data.dtype} of shape {list(data.shape)}")
    return data.numpy().tobytes()


def decode_image(
    input: Tensor | str | os.PathLike, mode: ImageReadMode | str = ImageReadMode.UNCHANGED, apply_exif_orientation: bool = False
) -> Tensor:
    """The pixels of an image.

    Args:
        input: the bytes of a PNG, JPEG, GIF or WebP file, uint8 (size,), or a path
        mode: which channels to give, whatever the file has
        apply_exif_orientation: turn the image as its camera was held

    Returns:
        uint8 (channels, height, width); of a PNG of 16 bits uint16

    Raises:
        RuntimeError: the bytes are no image
        ValueError: there is no such mode
    """
    try:
        wanted = ImageReadMode[mode.upper()] if isinstance(mode, str) else ImageReadMode(mode)
    except KeyError:
        raise ValueError(f"there is no mode {mode!r} among {', '.join(each.name for each in ImageReadMode)}") from None
    source = io.BytesIO(_bytes(input)) if isinstance(input, Tensor) else input
    try:
        with pillow().open(source) as opened:
            image = pillow("ImageOps").exif_transpose(opened) if apply_exif_orientation else opened
            if wanted in _PILLOW_MODES:
                image = image.convert(_PILLOW_MODES[wanted])
            elif image.mode in ("P", "1"):
                image = image.convert("RGBA" if "transparency" in image.info else "RGB" if image.mode == "P" else "L")
            pixels = np.array(image)
    except pillow().UnidentifiedImageError:
        raise RuntimeError("the bytes are no image in PNG, JPEG, GIF or WebP format") from None
    except (OSError, EOFError, SyntaxError, ValueError, struct.error, zlib.error, pillow().DecompressionBombError) as error:
        if getattr(error, "errno", None) is not None:  # of the file, not of what is in it
            raise
        raise RuntimeError(f"the image is damaged or cut off: {error}") from error
    return flambeau.from_numpy(np.ascontiguousarray(np.moveaxis(pixels.reshape(*pixels.shape[:2], -1), -1, 0)))


def decode_png(input: Tensor, mode: ImageReadMode = ImageReadMode.UNCHANGED, apply_exif_orientation: bool = False) -> Tensor:
    """As `decode_image`, of a PNG."""
    return decode_image(input, mode, apply_exif_orientation)


def decode_jpeg(
    input: Tensor, mode: ImageReadMode = ImageReadMode.UNCHANGED, device: object = "cpu", apply_exif_orientation: bool = False
) -> Tensor:
    """As `decode_image`, of a JPEG."""
    flambeau.device(device)
    return decode_image(input, mode, apply_exif_orientation)


def read_image(path: str | os.PathLike, mode: ImageReadMode = ImageReadMode.UNCHANGED, apply_exif_orientation: bool = False) -> Tensor:
    """As `decode_image`, of a file."""
    return decode_image(read_file(path), mode, apply_exif_orientation)


def _encode(image: Tensor, format: str, **options: int) -> Tensor:
    if image.dtype != flambeau.uint8 or image.dim() != 3 or image.shape[0] not in (1, 3):
        raise RuntimeError(f"an image is uint8 (1 or 3, height, width), got {image.dtype} of shape {list(image.shape)}")
    pixels = image.permute(1, 2, 0).contiguous().numpy()
    encoded = io.BytesIO()
    pillow().fromarray(pixels[..., 0] if image.shape[0] == 1 else pixels).save(encoded, format, **options)
    return flambeau.from_numpy(np.frombuffer(encoded.getvalue(), np.uint8).copy())


def encode_png(input: Tensor, compression_level: int = 6) -> Tensor:
    """The bytes of a PNG file of an image, uint8 (1 or 3, height, width)."""
    if not 0 <= compression_level <= 9:
        raise RuntimeError(f"the compression level of a PNG is from 0 to 9, not {compression_level}")
    return _encode(input, "PNG", compress_level=compression_level)


def encode_jpeg(input: Tensor, quality: int = 75) -> Tensor:
    """The bytes of a JPEG file of an image, uint8 (1 or 3, height, width)."""
    if not 1 <= quality <= 100:
        raise ValueError(f"the quality of a JPEG is from 1 to 100, not {quality}")
    return _encode(input, "JPEG", quality=quality)


def write_png(input: Tensor, filename: str | os.PathLike, compression_level: int = 6) -> None:
    """Write an image, uint8 (1 or 3, height, width), as a PNG file."""
    write_file(filename, encode_png(input, compression_level))


def write_jpeg(input: Tensor, filename: str | os.PathLike, quality: int = 75) -> None:
    """Write an image, uint8 (1 or 3, height, width), as a JPEG file."""
    write_file(filename, encode_jpeg(input, quality))
