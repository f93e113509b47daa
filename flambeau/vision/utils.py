"""Looking at batches of images."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, BinaryIO

import flambeau
from flambeau.vision._pillow import pillow

__all__ = ["make_grid", "save_image"]


def make_grid(
    tensor: flambeau.Tensor | Sequence[flambeau.Tensor],
    nrow: int = 8,
    padding: int = 2,
    normalize: bool = False,
    value_range: tuple[float, float] | None = None,
    scale_each: bool = False,
    pad_value: float = 0.0,
) -> flambeau.Tensor:
    """Lays images out in a grid, as one image (C, H, W).

    Args:
        tensor: (N, C, H, W), or a list of images of one size. One channel is shown as three.
        nrow: how many images there are in a row.
        padding: how many pixels lie around each.
        normalize: scale values to 0 … 1, from ``value_range`` or else from the smallest and largest.
        value_range: (low, high); what lies outside is clamped.
        scale_each: scale each image by its own smallest and largest value.
        pad_value: the value between the images.

    Example:
        >>> make_grid(flambeau.zeros(5, 1, 4, 4), nrow=3).shape
        torch.Size([3, 14, 20])
    """
    if not isinstance(tensor, flambeau.Tensor):
        if not isinstance(tensor, Sequence) or not all(isinstance(image, flambeau.Tensor) for image in tensor):
            raise TypeError(f"tensor or list of tensors expected, got {type(tensor)}")
        tensor = flambeau.stack(list(tensor), 0)
    assert isinstance(tensor, flambeau.Tensor)
    if value_range is not None and not isinstance(value_range, tuple):
        raise TypeError("value_range has to be a tuple (min, max) if specified. min and max are numbers")
    if not 2 <= tensor.dim() <= 4:
        raise ValueError(f"make_grid expects (H, W), (C, H, W) or (N, C, H, W), but got shape {tuple(tensor.shape)}")
    single = tensor.dim() < 4
    images = tensor.reshape(-1, *(tensor.shape[-3:] if tensor.dim() > 2 else (1, *tensor.shape)))
    if images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1)
    if normalize:
        images = _to_unit_range(images.to(flambeau.get_default_dtype()), value_range, scale_each)
    count, channels, height, width = images.shape
    if single:
        return images[0]
    columns = min(nrow, count)
    rows = math.ceil(count / columns)
    height, width = height + padding, width + padding
    grid = images.new_full((channels, height * rows + padding, width * columns + padding), pad_value)
    for number in range(count):
        top, left = number // columns * height + padding, number % columns * width + padding
        grid[:, top : top + height - padding, left : left + width - padding] = images[number]
    return grid


def _to_unit_range(images: flambeau.Tensor, value_range: tuple[float, float] | None, scale_each: bool) -> flambeau.Tensor:
    if value_range is not None:
        low, high = value_range
        images = images.clamp(low, high)
        return (images - low) / max(high - low, 1e-5)
    axes = (1, 2, 3) if scale_each else (0, 1, 2, 3)
    low, high = images.amin(axes, keepdim=True), images.amax(axes, keepdim=True)
    return (images - low) / (high - low).clamp(min=1e-5)


def save_image(
    tensor: flambeau.Tensor | Sequence[flambeau.Tensor], fp: str | os.PathLike[str] | BinaryIO, format: str | None = None, **options: Any
) -> None:
    """Writes an image, or a grid of images, to a file.

    Args:
        tensor: values between 0 and 1, as :func:`make_grid` takes them.
        fp: a file name or an open file.
        format: the image format; by default that of the file name's ending.
        options: for :func:`make_grid`.
    """
    grid = make_grid(tensor, **options)
    # Half is added so that the cast to bytes rounds.
    pixels = grid.mul(255).add(0.5).clamp(0, 255).permute(1, 2, 0).to(flambeau.uint8).detach().numpy()
    pillow().fromarray(pixels).save(fp, format=format)
