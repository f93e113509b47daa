"""Convolutions in one, two and three dimensions, and their transposes."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._common import AXES, ntuple


def convolve(n: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int) -> Tensor:
    """The convolution in ``n`` dimensions behind :func:`conv1d`, :func:`conv2d` and :func:`conv3d`."""
    if stride.__class__ is not tuple or len(stride) != n:
        stride = ntuple(stride, n, "stride")
    if dilation.__class__ is not tuple or len(dilation) != n:
        dilation = ntuple(dilation, n, "dilation")
    if padding.__class__ is str:
        input, padding = _named_padding(n, input, weight, padding, stride, dilation)
    elif padding.__class__ is not tuple or len(padding) != n:
        padding = ntuple(padding, n, "padding")
    dims = input.dim()
    if dims == n + 2:
        return flambeau.convolution(input, weight, bias, stride, padding, dilation, False, (0,) * n, groups)
    if dims != n + 1:
        raise _wrong_dims(f"conv{n}d", n, input)
    batch = input.unsqueeze(0)
    return flambeau.convolution(batch, weight, bias, stride, padding, dilation, False, (0,) * n, groups).squeeze(0)


def convolve_transposed(
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    """The transposed convolution in ``n`` dimensions."""
    stride = ntuple(stride, n, "stride")
    padding = ntuple(padding, n, "padding")
    output_padding = ntuple(output_padding, n, "output_padding")
    dilation = ntuple(dilation, n, "dilation")
    dims = input.dim()
    if dims == n + 2:
        return flambeau.convolution(input, weight, bias, stride, padding, dilation, True, output_padding, groups)
    if dims != n + 1:
        raise _wrong_dims(f"conv_transpose{n}d", n, input)
    batch = input.unsqueeze(0)
    return flambeau.convolution(batch, weight, bias, stride, padding, dilation, True, output_padding, groups).squeeze(0)


def _wrong_dims(name: str, n: int, input: Tensor) -> RuntimeError:
    axes = ", ".join(AXES[n])
    return RuntimeError(
        f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of size: {list(input.shape)}. "
        f"{name} takes (C, {axes}) or (N, C, {axes})."
    )


def same_padding(kernel: tuple[int, ...], dilation: tuple[int, ...]) -> list[tuple[int, int]]:
    """What ``padding="same"`` adds before and after each dimension: dilation (kernel - 1) in all, the odd one behind."""
    totals = [d * (k - 1) for k, d in zip(kernel, dilation)]
    return [(total // 2, total - total // 2) for total in totals]


def _named_padding(n: int, input: Tensor, weight: Tensor, padding: str, stride: tuple, dilation: tuple) -> tuple[Tensor, tuple[int, ...]]:
    if padding == "valid":
        return input, (0,) * n
    if padding != "same":
        raise RuntimeError(f"Invalid padding string: '{padding}', should be one of 'same' or 'valid'")
    if any(s != 1 for s in stride):
        raise RuntimeError(f"padding='same' is not supported for strided convolutions: stride (={stride}) must be 1")
    sides = same_padding(tuple(weight.shape[2:]), dilation)
    if any(before != after for before, after in sides):
        # Convolution pads both sides alike, so the odd element is added here.
        extra = [amount for before, after in reversed(sides) for amount in (0, after - before)]
        input = flambeau.constant_pad_nd(input, extra, 0.0)
    return input, tuple(before for before, _ in sides)


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Computes the cross-correlation of a signal with ``weight``.

    Args:
        input: (N, C_in, L) or (C_in, L).
        weight: (C_out, C_in / groups, kernel).
        bias: (C_out).
        stride: the step of the kernel.
        padding: zeros added on both sides; ``"same"`` keeps the length, ``"valid"`` adds none.
        dilation: the distance between the kernel's elements.
        groups: into how many independent groups the channels are split.

    Returns:
        (N, C_out, L_out) with L_out = ⌊(L + 2 padding - dilation (kernel - 1) - 1) / stride⌋ + 1.

    Raises:
        RuntimeError: the shapes do not fit; the message has the formula with its numbers.
    """
    return convolve(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Computes the cross-correlation of an image with ``weight``.

    Args:
        input: (N, C_in, H, W) or (C_in, H, W).
        weight: (C_out, C_in / groups, kernel_h, kernel_w).
        bias: (C_out).
        stride: the step of the kernel, an int or a pair.
        padding: zeros added on each side, an int or a pair; ``"same"`` keeps the size, ``"valid"`` adds none.
        dilation: the distance between the kernel's elements, an int or a pair.
        groups: into how many independent groups the channels are split.

    Returns:
        (N, C_out, H_out, W_out) with H_out = ⌊(H + 2 padding - dilation (kernel - 1) - 1) / stride⌋ + 1.

    Raises:
        RuntimeError: the shapes do not fit; the message has the formula with its numbers.

    Example:
        >>> flambeau.nn.functional.conv2d(flambeau.ones(1, 3, 5, 5), flambeau.ones(2, 3, 3, 3), stride=2).shape
        torch.Size([1, 2, 2, 2])
    """
    return convolve(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Computes the cross-correlation of a volume (N, C_in, D, H, W) with ``weight``; see :func:`conv2d`."""
    return convolve(3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Computes the transposed convolution of a signal (N, C_in, L); see :func:`conv_transpose2d`."""
    return convolve_transposed(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Computes the transposed convolution of an image: the gradient of :func:`conv2d` with respect to its input.

    Args:
        input: (N, C_in, H, W) or (C_in, H, W).
        weight: (C_in, C_out / groups, kernel_h, kernel_w).
        bias: (C_out).
        stride: the step between the places to which neighbouring inputs are written.
        padding: how many rows and columns are cut from each side of the result.
        output_padding: how many are added at one side; smaller than stride or dilation.
        groups: into how many independent groups the channels are split.
        dilation: the distance between the kernel's elements.

    Returns:
        (N, C_out, H_out, W_out) with H_out = (H - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1.

    Raises:
        RuntimeError: the shapes do not fit; the message has the formula with its numbers.
    """
    return convolve_transposed(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Computes the transposed convolution of a volume (N, C_in, D, H, W); see :func:`conv_transpose2d`."""
    return convolve_transposed(3, input, weight, bias, stride, padding, output_padding, groups, dilation)
