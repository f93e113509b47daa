"""Transforms of images as functions, under the names of torchvision's second version. Images are Pillow's, or tensors of shape (…, C, H, W)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.vision.transforms import functional as first
from flambeau.vision.transforms.functional import InterpolationMode as InterpolationMode
from flambeau.vision.transforms.functional import adjust_brightness as adjust_brightness
from flambeau.vision.transforms.functional import adjust_contrast as adjust_contrast
from flambeau.vision.transforms.functional import adjust_gamma as adjust_gamma
from flambeau.vision.transforms.functional import adjust_hue as adjust_hue
from flambeau.vision.transforms.functional import adjust_saturation as adjust_saturation
from flambeau.vision.transforms.functional import center_crop as center_crop
from flambeau.vision.transforms.functional import convert_image_dtype as convert_image_dtype
from flambeau.vision.transforms.functional import crop as crop
from flambeau.vision.transforms.functional import erase as erase
from flambeau.vision.transforms.functional import five_crop as five_crop
from flambeau.vision.transforms.functional import get_dimensions as get_dimensions
from flambeau.vision.transforms.functional import hflip as hflip
from flambeau.vision.transforms.functional import normalize as normalize
from flambeau.vision.transforms.functional import pil_to_tensor as pil_to_tensor
from flambeau.vision.transforms.functional import resize as resize
from flambeau.vision.transforms.functional import resized_crop as resized_crop
from flambeau.vision.transforms.functional import rgb_to_grayscale as rgb_to_grayscale
from flambeau.vision.transforms.functional import rotate as rotate
from flambeau.vision.transforms.functional import ten_crop as ten_crop
from flambeau.vision.transforms.functional import to_grayscale as to_grayscale
from flambeau.vision.transforms.functional import to_pil_image as to_pil_image
from flambeau.vision.transforms.functional import to_tensor as to_tensor
from flambeau.vision.transforms.functional import vflip as vflip

__all__ = [
    "InterpolationMode", "adjust_brightness", "adjust_contrast", "adjust_gamma", "adjust_hue", "adjust_saturation", "center_crop", "convert_image_dtype", "crop",
    "erase", "five_crop", "gaussian_blur", "get_dimensions", "get_num_channels", "get_size", "grayscale_to_rgb", "hflip", "horizontal_flip", "normalize", "pad",
    "pil_to_tensor", "resize", "resized_crop", "rgb_to_grayscale", "rotate", "ten_crop", "to_dtype", "to_grayscale", "to_pil_image", "to_tensor",
    "vertical_flip", "vflip",
]  # fmt: skip

horizontal_flip, vertical_flip, get_num_channels = hflip, vflip, first.get_image_num_channels


def get_size(inpt: Any) -> list[int]:
    """Height and width of an image, in this order."""
    return get_dimensions(inpt)[1:]


def pad(inpt: Any, padding: int | Sequence[int], fill: Any = None, padding_mode: str = "constant") -> Any:
    """An image with a border: of ``fill`` (0 by default), or as ``padding_mode`` says."""
    return first.pad(inpt, padding, 0 if fill is None else fill, padding_mode)


def to_dtype(inpt: Tensor, dtype: flambeau.dtype = flambeau.float32, scale: bool = False) -> Tensor:
    """The image with numbers of another dtype; with ``scale``, full intensity stays full (1.0 for floats, the largest integer)."""
    return convert_image_dtype(inpt, dtype) if scale else inpt.to(dtype)


to_dtype_image = to_dtype


def grayscale_to_rgb(inpt: Any) -> Any:
    """An image of three channels: the one that a grey image has, three times; a coloured image as it is."""
    if not isinstance(inpt, Tensor):
        return inpt.convert("RGB")
    return inpt.expand(*inpt.shape[:-3], 3, *inpt.shape[-2:]) if inpt.shape[-3] == 1 else inpt


def gaussian_blur(inpt: Tensor, kernel_size: int | Sequence[int], sigma: float | Sequence[float] | None = None) -> Tensor:
    """An image (…, C, H, W) in which each pixel is the mean of those around it, weighted by a Gaussian; the border is reflected.

    Args:
        kernel_size: the width and height of what is averaged, both odd
        sigma: the Gaussian's standard deviations; 0.15 times the size plus 0.35, by default

    Raises:
        ValueError: a size is even or not positive, a deviation is not positive, or there are neither one nor two

    Example:
        >>> gaussian_blur(flambeau.tensor([[[0.0, 0.0, 8.0, 0.0, 0.0]] * 3]), 3, 0.85)[0, 1]
        tensor([0.0000, 2.0011, 3.9978, 2.0011, 0.0000])
    """
    sizes = [kernel_size] * 2 if isinstance(kernel_size, int) else list(kernel_size)
    sigmas: Any = [0.15 * size + 0.35 for size in sizes] if sigma is None else [sigma] if isinstance(sigma, (int, float)) else list(sigma)
    sizes, sigmas = (given * 2 if len(given) == 1 else given for given in (sizes, sigmas))
    if len(sizes) != 2 or len(sigmas) != 2:
        raise ValueError(f"kernel_size and sigma are one number or two, not {kernel_size} and {sigma}")
    if any(size < 1 or size % 2 == 0 for size in sizes) or any(each <= 0 for each in sigmas):
        raise ValueError(f"kernel_size must be odd and positive, and sigma positive, but they are {sizes} and {sigmas}")
    image = inpt if inpt.is_floating_point() else inpt.float()
    image = image.reshape(-1, 1, *inpt.shape[-2:])
    (width, height), (across, down) = sizes, sigmas
    window = _gaussian(height, down, image)[:, None] * _gaussian(width, across, image)
    image = F.pad(image, [width // 2, width // 2, height // 2, height // 2], mode="reflect")
    image = F.conv2d(image, window[None, None]).reshape(inpt.shape)
    return image if inpt.is_floating_point() else image.round().to(inpt.dtype)


def _gaussian(size: int, sigma: float, like: Tensor) -> Tensor:
    """The weights of pixels in a row, which add up to 1."""
    half = (size - 1) / 2
    return flambeau.softmax(-((flambeau.linspace(-half, half, size, dtype=like.dtype) / sigma) ** 2) / 2, 0)
