"""Rearrangements: between channels and space, and between images and their windows."""

from __future__ import annotations

import functools
from typing import Any

import numpy

import flambeau
from flambeau._ops.creation import adopt_array
from flambeau._ops.unfolding import fold_windows, unfold_windows
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._common import ntuple, shape_text


def _is_channels_last(input: Tensor) -> bool:
    return input.dim() == 4 and input.is_contiguous(memory_format=flambeau.channels_last) and not input.is_contiguous()


def _channels_first(pixels: Tensor) -> Tensor:
    """(N, H, W, C) as (N, C, H, W), in the format ``channels_last``."""
    return pixels.permute(0, 3, 1, 2)


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Moves channels into space: (..., C r², H, W) to (..., C, H r, W r), r being ``upscale_factor`` (Shi et al. 2016).

    Raises:
        RuntimeError: the number of channels is not divisible by r².
    """
    r = upscale_factor
    if input.dim() < 3:
        raise RuntimeError(f"pixel_shuffle expects input to have at least 3 dimensions, but got input with {input.dim()} dimension(s)")
    if r < 1:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *batch, c, h, w = input.shape
    if c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but "
            f"input.size(-3)={c} is not divisible by {r * r}"
        )
    if _is_channels_last(input):
        pixels = input.reshape(*batch, c // (r * r), r, r, h, w).permute(0, 4, 2, 5, 3, 1)
        return _channels_first(pixels.reshape(*batch, h * r, w * r, c // (r * r)))
    n = len(batch)
    order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    shuffled = input.reshape(*batch, c // (r * r), r, r, h, w).permute(order).clone(memory_format=flambeau.contiguous_format)
    return shuffled.view(*batch, c // (r * r), h * r, w * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Moves space into channels: (..., C, H r, W r) to (..., C r², H, W), r being ``downscale_factor``.

    Raises:
        RuntimeError: height or width is not divisible by r.
    """
    r = downscale_factor
    if input.dim() < 3:
        raise RuntimeError(f"pixel_unshuffle expects input to have at least 3 dimensions, but got input with {input.dim()} dimension(s)")
    if r < 1:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *batch, c, h, w = input.shape
    for axis, size in (("height", h), ("width", w)):
        if size % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {axis} to be divisible by downscale_factor, but input of shape {shape_text(input)} has {axis} "
                f"{size}, which is not divisible by {r}"
            )
    if _is_channels_last(input):
        pixels = input.reshape(*batch, c, h // r, r, w // r, r).permute(0, 2, 4, 1, 3, 5)
        return _channels_first(pixels.reshape(*batch, h // r, w // r, c * r * r))
    n = len(batch)
    order = (*range(n), n, n + 2, n + 4, n + 1, n + 3)
    shuffled = input.reshape(*batch, c, h // r, r, w // r, r).permute(order).clone(memory_format=flambeau.contiguous_format)
    return shuffled.view(*batch, c * r * r, h // r, w // r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Takes channels from the groups in turn: channel i of group g goes to position i ``groups`` + g (Zhang et al. 2017).

    Args:
        input: (N, C, ...).
        groups: into how many groups the channels are split.

    Raises:
        RuntimeError: C is not divisible by ``groups``.
    """
    if input.dim() < 3:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}")
    n, c = input.shape[:2]
    if groups < 1 or c % groups:
        raise RuntimeError(f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups.")
    split = input.reshape(n, groups, c // groups, *input.shape[2:])
    if _is_channels_last(input):
        return _channels_first(split.permute(0, 3, 4, 2, 1).reshape(n, *input.shape[2:], c))
    return split.transpose(1, 2).contiguous().reshape(input.shape)


def _window_counts(size: tuple, kernel: tuple, dilation: tuple, padding: tuple, stride: tuple) -> tuple[int, ...]:
    """How many windows there are along each axis."""
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in zip(size, kernel, dilation, padding, stride))


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """Writes every window of an image as a column.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: the size of the window, an int or a pair.
        dilation: the distance between the window's elements.
        padding: zeros added on each side.
        stride: the step of the window.

    Returns:
        (N, C · kernel_h · kernel_w, L), L being the number of windows.

    Raises:
        RuntimeError: no window fits.
    """
    kernel, dilation = ntuple(kernel_size, 2, "kernel_size"), ntuple(dilation, 2, "dilation")
    padding, stride = ntuple(padding, 2, "padding"), ntuple(stride, 2, "stride")
    if input.dim() not in (3, 4):
        raise RuntimeError(f"Expected 3D or 4D (batch mode) tensor (N, C, H, W), but got shape {shape_text(input)}")
    counts = _window_counts(tuple(input.shape[-2:]), kernel, dilation, padding, stride)
    if min(counts) < 1:
        raise RuntimeError(
            f"Given input with spatial size {tuple(input.shape[-2:])}, kernel_size={kernel}, dilation={dilation}, padding={padding}, "
            f"calculated shape of the array of sliding blocks as {counts}, but its components must be at least one."
        )
    if dilation == (1, 1):
        return unfold_windows(input, kernel, stride, padding, counts)
    columns = flambeau.constant_pad_nd(input, (padding[1], padding[1], padding[0], padding[0]), 0.0)
    for axis, k, d, s in zip((-2, -1), kernel, dilation, stride):
        # (C, kernel_h, H_out, W), then (C, kernel_h, kernel_w, H_out, W_out)
        columns = columns.unfold(axis, d * (k - 1) + 1, s)[..., ::d].movedim(-1, -3)
    return columns.reshape(*input.shape[:-3], input.shape[-3] * kernel[0] * kernel[1], counts[0] * counts[1])


@functools.lru_cache(maxsize=64)
def _targets(size: tuple, kernel: tuple, dilation: tuple, padding: tuple, stride: tuple) -> Tensor:
    """Where in the flattened, padded image each element of each window lies, kernel positions first."""
    counts = _window_counts(size, kernel, dilation, padding, stride)
    rows, columns = (
        numpy.arange(k)[:, None] * d + numpy.arange(count)[None, :] * s for k, d, s, count in zip(kernel, dilation, stride, counts)
    )
    width = size[1] + 2 * padding[1]
    flat = rows[:, None, :, None] * width + columns[None, :, None, :]
    return adopt_array(flat.reshape(-1).astype(numpy.int64))


def fold(input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """Adds columns back into the image: where windows overlap their values are summed; the adjoint of :func:`unfold`.

    Args:
        input: (N, C · kernel_h · kernel_w, L) or (C · kernel_h · kernel_w, L).
        output_size: (H, W).
        kernel_size: the size of the window, an int or a pair.
        dilation: the distance between the window's elements.
        padding: what :func:`unfold` added on each side.
        stride: the step of the window.

    Returns:
        (N, C, H, W) or (C, H, W).

    Raises:
        RuntimeError: the shapes do not fit.
    """
    size, kernel = ntuple(output_size, 2, "output_size"), ntuple(kernel_size, 2, "kernel_size")
    dilation, padding = ntuple(dilation, 2, "dilation"), ntuple(padding, 2, "padding")
    stride = ntuple(stride, 2, "stride")
    if input.dim() not in (2, 3):
        raise RuntimeError(f"Expected 2D or 3D (batch mode) tensor for input (N, C * kernel, L), but got shape {shape_text(input)}")
    if input.shape[-2] % (kernel[0] * kernel[1]):
        raise RuntimeError(
            f"Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got input.size(1)="
            f"{input.shape[-2]} and kernel_size={kernel}."
        )
    counts = _window_counts(size, kernel, dilation, padding, stride)
    if min(counts) < 1 or input.shape[-1] != counts[0] * counts[1]:
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={kernel}, dilation={dilation}, padding={padding}, stride={stride}, expected size of "
            f"input's dimension 2 to match the calculated number of sliding blocks {counts[0]} * {counts[1]} = {counts[0] * counts[1]}, "
            f"but got input.size(2)={input.shape[-1]}."
        )
    if dilation == (1, 1):
        return fold_windows(input, size, kernel, stride, padding, counts)
    channels = input.shape[-2] // (kernel[0] * kernel[1])
    padded = tuple(n + 2 * p for n, p in zip(size, padding))
    values = input.reshape(*input.shape[:-2], channels, -1)
    image = flambeau.zeros(*values.shape[:-1], padded[0] * padded[1], dtype=input.dtype, device=input.device)
    image = image.index_add(-1, _targets(size, kernel, dilation, padding, stride).to(input.device), values)
    image = image.unflatten(-1, padded)
    return image[..., padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]
