"""Transforms of images as functions. Images are Pillow's, or tensors of shape (…, C, H, W)."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

import flambeau
from flambeau.utils.data._utils.owned import owned
from flambeau.vision._pillow import is_pil_image, pillow
from flambeau.vision.transforms import _functional_pil, _functional_tensor
from flambeau.vision.transforms.interpolation import InterpolationMode, interpolation_mode

__all__ = [
    "InterpolationMode",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_gamma",
    "adjust_hue",
    "adjust_saturation",
    "center_crop",
    "convert_image_dtype",
    "crop",
    "erase",
    "five_crop",
    "get_dimensions",
    "get_image_num_channels",
    "get_image_size",
    "hflip",
    "normalize",
    "pad",
    "pil_to_tensor",
    "resize",
    "resized_crop",
    "rgb_to_grayscale",
    "rotate",
    "ten_crop",
    "to_grayscale",
    "to_pil_image",
    "to_tensor",
    "vflip",
]

NUMBER = (int, float, np.number)


def _backend(image: Any) -> ModuleType:
    if isinstance(image, flambeau.Tensor):
        if image.dim() < 2:
            raise TypeError(f"an image needs a height and a width, but the tensor has shape {tuple(image.shape)}")
        return _functional_tensor
    if is_pil_image(image):
        return _functional_pil
    raise TypeError(f"an image should be a tensor or a PIL image, but got {type(image).__name__}")


def get_dimensions(img: Any) -> list[int]:
    """Channels, height and width of an image."""
    return list(_backend(img).dimensions(img))


def get_image_size(img: Any) -> list[int]:
    """Width and height of an image, in this order."""
    _, height, width = _backend(img).dimensions(img)
    return [width, height]


def get_image_num_channels(img: Any) -> int:
    """How many channels an image has."""
    return _backend(img).dimensions(img)[0]


def to_tensor(pic: Any) -> flambeau.Tensor:
    """A PIL image or an array (H, W, C) as a tensor (C, H, W); bytes 0 … 255 become floats 0 … 1.

    Raises:
        TypeError: neither an image nor an array.
        ValueError: an array without two or three axes.

    Example:
        >>> to_tensor(np.array([[[0], [51]]], dtype=np.uint8))
        tensor([[[0.0000, 0.2000]]])
    """
    if isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be an array with 2 or 3 axes (H, W[, C]), but it has {pic.ndim}")
        pixels = pic if pic.ndim == 3 else pic[:, :, None]
    elif is_pil_image(pic):
        pixels = _functional_pil.to_array(pic)
    else:
        raise TypeError(f"pic should be PIL Image or ndarray. Got {type(pic)}")
    pixels = pixels.transpose(2, 0, 1)
    if pixels.dtype != np.uint8:
        return owned(pixels.copy())
    # In one pass over the pixels, with the rounding that dividing a tensor has.
    if flambeau.get_default_dtype() == flambeau.float32:
        return owned(np.divide(pixels, np.float32(255), order="C", dtype=np.float32))
    return owned(pixels.copy()).to(flambeau.get_default_dtype()).div(255)


def pil_to_tensor(pic: Any) -> flambeau.Tensor:
    """A PIL image as a tensor (C, H, W) of its own values, not scaled."""
    if not is_pil_image(pic):
        raise TypeError(f"pic should be PIL Image. Got {type(pic)}")
    return owned(_functional_pil.to_array(pic).copy()).permute(2, 0, 1)


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """A tensor (C, H, W) or an array (H, W, C) as a PIL image.

    Args:
        pic: floats of a tensor are scaled from 0 … 1 to bytes, unless ``mode`` is ``"F"``.
        mode: Pillow's name of the pixel format; by default what suits the number of channels and the dtype.

    Raises:
        TypeError: neither a tensor nor an array, or a dtype that Pillow has no format for.
        ValueError: a number of axes or channels that no image has, or a mode that does not suit it.
    """
    if isinstance(pic, flambeau.Tensor):
        if pic.dim() not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.dim()} dimensions.")
        if pic.is_floating_point() and mode != "F":
            pic = pic.mul(255).byte()
        pixels = pic.detach().numpy()
        pixels = pixels.transpose(1, 2, 0) if pixels.ndim == 3 else pixels[:, :, None]
    elif isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        pixels = pic if pic.ndim == 3 else pic[:, :, None]
    else:
        raise TypeError(f"pic should be Tensor or ndarray. Got {type(pic)}.")
    channels = pixels.shape[2]
    if channels not in _MODES:
        raise ValueError(f"pic should have 1 to 4 channels. Got {channels} channels.")
    if channels == 1:
        expected = _MODES_OF_ONE_CHANNEL.get(pixels.dtype.name)
        if expected is None:
            raise TypeError(f"Input type {pixels.dtype} is not supported: there is no image format of one such channel")
        if mode not in (None, expected):
            raise ValueError(f"Incorrect mode ({mode}) supplied for input type {pixels.dtype}. Should be {expected}")
        pixels = np.ascontiguousarray(pixels[:, :, 0])
        return pillow().fromarray(pixels.view(np.uint16) if expected == "I;16" else pixels)  # Pillow's 16 bits have no sign
    if pixels.dtype != np.uint8:
        raise TypeError(f"Input type {pixels.dtype} is not supported: images of {channels} channels have bytes")
    if mode not in (None, *_MODES[channels]):
        raise ValueError(f"Only modes {_MODES[channels]} are supported for {channels}D inputs, got {mode}")
    pixels = np.ascontiguousarray(pixels)
    return pillow().frombytes(mode or _MODES[channels][0], (pixels.shape[1], pixels.shape[0]), pixels.tobytes())


_MODES = {1: (), 2: ("LA",), 3: ("RGB", "YCbCr", "HSV"), 4: ("RGBA", "CMYK", "RGBX")}
_MODES_OF_ONE_CHANNEL = {"uint8": "L", "int16": "I;16", "int32": "I", "float32": "F"}


def convert_image_dtype(image: flambeau.Tensor, dtype: flambeau.dtype = flambeau.float) -> flambeau.Tensor:
    """Converts a tensor to ``dtype`` and scales it so that full intensity stays full: 1.0 for floats, the largest integer.

    Raises:
        RuntimeError: float32 to int32 or int64, or float64 to int64, where full intensity would overflow.

    Example:
        >>> convert_image_dtype(flambeau.tensor([0, 255], dtype=flambeau.uint8))
        tensor([0., 1.])
    """
    if not isinstance(image, flambeau.Tensor):
        raise TypeError(f"image should be a tensor, but got {type(image).__name__}")
    if image.dtype == dtype:
        return image
    if image.is_floating_point():
        if dtype.is_floating_point:
            return image.to(dtype)
        too_wide = {flambeau.float32: (flambeau.int32, flambeau.int64), flambeau.float64: (flambeau.int64,)}
        if dtype in too_wide.get(image.dtype, ()):
            raise RuntimeError(f"The cast from {image.dtype} to {dtype} cannot be performed safely: 1.0 would overflow")
        # Just less than one above the maximum, so that truncation gives every integer an equal share of 0 … 1.
        return image.mul(flambeau.iinfo(dtype).max + 1.0 - 1e-3).to(dtype)
    largest = flambeau.iinfo(image.dtype).max
    if dtype.is_floating_point:
        return image.to(dtype) / largest
    wanted = flambeau.iinfo(dtype).max
    if largest > wanted:
        return image.div((largest + 1) // (wanted + 1), rounding_mode="floor").to(dtype)
    return image.to(dtype) * ((wanted + 1) // (largest + 1))


def normalize(tensor: flambeau.Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> flambeau.Tensor:
    r""":math:`(x_c - \mathrm{mean}_c) / \mathrm{std}_c` for each channel of a float tensor (…, C, H, W).

    Raises:
        TypeError: an integer tensor.
        ValueError: fewer than three axes, or a standard deviation of zero.
    """
    if not isinstance(tensor, flambeau.Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(tensor)}")
    if not tensor.is_floating_point():
        raise TypeError(f"Input tensor should be a float tensor. Got {tensor.dtype}.")
    if tensor.dim() < 3:
        raise ValueError(f"Expected tensor to be a tensor image of size (..., C, H, W). Got tensor.size() = {tensor.size()}")
    shift, scale = _per_channel(mean, tensor.dtype), _per_channel(std, tensor.dtype, is_divisor=True)
    return tensor.sub_(shift).div_(scale) if inplace else tensor.sub(shift).div(scale)


def _per_channel(values: Any, dtype: flambeau.dtype, is_divisor: bool = False) -> flambeau.Tensor:
    """A number for each channel, of shape (C, 1, 1)."""
    if isinstance(values, flambeau.Tensor):
        values = values.tolist()
    return _channel_constants(tuple(values) if isinstance(values, Sequence) else (values,), dtype, is_divisor)


@functools.lru_cache
def _channel_constants(values: tuple[float, ...], dtype: flambeau.dtype, is_divisor: bool) -> flambeau.Tensor:
    constants = flambeau.tensor(values, dtype=dtype).view(-1, 1, 1)
    if is_divisor and (constants == 0).any():
        raise ValueError(f"std evaluated to zero after conversion to {dtype}, leading to division by zero.")
    return constants


def resize(
    img: Any,
    size: int | Sequence[int],
    interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
    max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:
    """Resizes an image.

    Args:
        size: (height, width), or the length of the shorter edge, with the proportions kept.
        max_size: an upper bound for the longer edge, if ``size`` is that of the shorter one.
        antialias: of tensors with bilinear or bicubic interpolation, whether shrinking averages; Pillow always does.
    """
    mode = interpolation_mode(interpolation)
    backend = _backend(img)
    _, height, width = backend.dimensions(img)
    if isinstance(size, (list, tuple)):
        if len(size) not in (1, 2):
            raise ValueError(f"Size must be an int or a 1 or 2 element tuple/list, not a {len(size)} element one")
        if max_size is not None and len(size) != 1:
            raise ValueError("max_size should only be passed if size specifies the length of the smaller edge")
    short = size if isinstance(size, int) else size[0]
    if isinstance(size, int) or len(size) == 1:
        new_height, new_width = _size_from_shorter_edge(height, width, short, max_size)
    else:
        new_height, new_width = size
    if (new_height, new_width) == (height, width):
        return img
    return backend.resize(img, new_height, new_width, mode, antialias)


def _size_from_shorter_edge(height: int, width: int, short: int, max_size: int | None) -> tuple[int, int]:
    long = int(short * max(height, width) / min(height, width))
    if max_size is not None:
        if max_size <= short:
            raise ValueError(f"max_size = {max_size} must be strictly greater than the requested size for the smaller edge size = {short}")
        if long > max_size:
            short, long = int(max_size * short / long), max_size
    return (long, short) if width <= height else (short, long)


def pad(img: Any, padding: int | Sequence[int], fill: Any = 0, padding_mode: str = "constant") -> Any:
    """Pads an image.

    Args:
        padding: for all sides, for (left and right, top and bottom), or for (left, top, right, bottom).
        fill: the value of the padding, or one for each channel of a PIL image; for ``padding_mode="constant"``.
        padding_mode: ``"constant"``; ``"edge"`` repeats the last pixel; ``"reflect"`` mirrors without it, ``"symmetric"`` with it.
    """
    if not isinstance(padding, (*NUMBER, tuple, list)):
        raise TypeError(f"Got inappropriate padding arg {padding!r}: it should be a number or a sequence of numbers")
    sides = (int(padding),) if isinstance(padding, NUMBER) else tuple(padding)
    if len(sides) not in (1, 2, 4):
        raise ValueError(f"Padding must be an int or a 1, 2, or 4 element tuple, not a {len(sides)} element tuple")
    if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
        raise ValueError(f"Padding mode should be either constant, edge, reflect or symmetric, but got {padding_mode!r}")
    left, top, right, bottom = sides * (4 // len(sides))
    return _backend(img).pad(img, left, top, right, bottom, fill, padding_mode)


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """The part of an image that begins at ``top`` and ``left``; what lies outside of the image is zero."""
    return _backend(img).crop(img, top, left, height, width)


def center_crop(img: Any, output_size: int | Sequence[int]) -> Any:
    """The middle of an image, of size (height, width); a smaller image is padded with zeros."""
    height, width = _pair(output_size)
    backend = _backend(img)
    _, image_height, image_width = backend.dimensions(img)
    if width > image_width or height > image_height:
        missing_width, missing_height = max(width - image_width, 0), max(height - image_height, 0)
        around = (missing_width // 2, missing_height // 2, (missing_width + 1) // 2, (missing_height + 1) // 2)
        img = backend.pad(img, *around, 0, "constant")
        image_height, image_width = image_height + missing_height, image_width + missing_width
    return backend.crop(img, round((image_height - height) / 2), round((image_width - width) / 2), height, width)


def resized_crop(
    img: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    size: int | Sequence[int],
    interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
    antialias: bool | None = True,
) -> Any:
    """Crops an image and resizes the part to ``size``."""
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def five_crop(img: Any, size: int | Sequence[int]) -> tuple[Any, ...]:
    """The four corners of an image (top left, top right, bottom left, bottom right) and its middle."""
    height, width = _pair(size)
    _, image_height, image_width = _backend(img).dimensions(img)
    if width > image_width or height > image_height:
        raise ValueError(f"Requested crop size {(height, width)} is bigger than input size {(image_height, image_width)}")
    corners = [(top, left) for top in (0, image_height - height) for left in (0, image_width - width)]
    return (*(crop(img, top, left, height, width) for top, left in corners), center_crop(img, (height, width)))


def ten_crop(img: Any, size: int | Sequence[int], vertical_flip: bool = False) -> tuple[Any, ...]:
    """:func:`five_crop` of an image and of its mirror image."""
    return five_crop(img, size) + five_crop(vflip(img) if vertical_flip else hflip(img), size)


def hflip(img: Any) -> Any:
    """Mirrors an image left to right."""
    return _backend(img).hflip(img)


def vflip(img: Any) -> Any:
    """Mirrors an image top to bottom."""
    return _backend(img).vflip(img)


def rotate(
    img: Any,
    angle: float,
    interpolation: InterpolationMode | int = InterpolationMode.NEAREST,
    expand: bool = False,
    center: Sequence[float] | None = None,
    fill: Any = None,
) -> Any:
    """Rotates an image counter-clockwise by ``angle`` degrees.

    Args:
        expand: make the result large enough for the whole rotated image.
        center: (x, y) of the fixed point from the top left corner, by default the middle.
        fill: the value outside of the image, or one for each channel; zero by default.
    """
    if not isinstance(angle, (int, float)):
        raise TypeError(f"angle should be a number, but got {type(angle).__name__}")
    if center is not None and len(center) != 2:
        raise TypeError(f"center should be (x, y), but got {center!r}")
    return _backend(img).rotate(img, angle, interpolation_mode(interpolation), expand, center, fill)


def to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """A PIL image in gray, of one channel, or of three equal ones."""
    if not is_pil_image(img):
        raise TypeError("Input should be PIL Image")
    return rgb_to_grayscale(img, num_output_channels)


def rgb_to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """An RGB image in gray, of one channel, or of three equal ones: 0.2989 R + 0.587 G + 0.114 B (ITU-R BT.601)."""
    if num_output_channels not in (1, 3):
        raise ValueError(f"num_output_channels should be either 1 or 3, but got {num_output_channels}")
    return _backend(img).grayscale(img, num_output_channels)


def adjust_brightness(img: Any, brightness_factor: float) -> Any:
    """Blends an image with black: 0 gives black, 1 the image, 2 twice its brightness."""
    return _backend(img).adjust_brightness(img, _non_negative("brightness_factor", brightness_factor))


def adjust_contrast(img: Any, contrast_factor: float) -> Any:
    """Blends an image with its mean gray: 0 gives gray, 1 the image, 2 twice its contrast."""
    return _backend(img).adjust_contrast(img, _non_negative("contrast_factor", contrast_factor))


def adjust_saturation(img: Any, saturation_factor: float) -> Any:
    """Blends an image with itself in gray: 0 gives gray, 1 the image, 2 twice its saturation."""
    return _backend(img).adjust_saturation(img, _non_negative("saturation_factor", saturation_factor))


def adjust_hue(img: Any, hue_factor: float) -> Any:
    """Turns the hues of an image by ``hue_factor`` turns, from -0.5 to 0.5; gray images stay as they are."""
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"hue_factor ({hue_factor}) is not in [-0.5, 0.5].")
    return _backend(img).adjust_hue(img, hue_factor)


def adjust_gamma(img: Any, gamma: float, gain: float = 1) -> Any:
    r"""Gamma correction, :math:`\mathrm{gain} \cdot x^\gamma` of intensities between 0 and 1."""
    return _backend(img).adjust_gamma(img, _non_negative("gamma", gamma), gain)


def erase(img: flambeau.Tensor, i: int, j: int, h: int, w: int, v: flambeau.Tensor, inplace: bool = False) -> flambeau.Tensor:
    """A tensor image with the rectangle from row ``i`` and column ``j``, of size (``h``, ``w``), set to ``v``."""
    if not isinstance(img, flambeau.Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(img)}")
    if not inplace:
        img = img.clone()
    img[..., i : i + h, j : j + w] = v
    return img


def _non_negative(name: str, value: float) -> float:
    if value < 0 or math.isnan(value):
        raise ValueError(f"{name} ({value}) is not non-negative.")
    return value


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) from one number for both or from a sequence of one or two."""
    if isinstance(size, NUMBER):
        return int(size), int(size)
    height, width = size if len(size) == 2 else (size[0], size[0])
    return height, width
