"""Convolutions in one, two and three dimensions, and their transposes."""

from __future__ import annotations

from typing import Any

from flambeau._ops import nn as ops
from flambeau._ops.conv_shapes import padding_sides
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._common import AXES, integer, ntuple


def convolve(
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> Tensor:
    """The convolution in ``n`` dimensions behind :func:`conv1d`, :func:`conv2d` and :func:`conv3d`."""
    _check_tensors(n, "conv", input, weight, bias)
    stride, dilation = ntuple(stride, n, "stride"), ntuple(dilation, n, "dilation")
    if padding.__class__ is not str:
        padding = ntuple(padding, n, "padding")
    return convolve_padded(n, input, weight, bias, stride, padding, dilation, integer(groups, "groups"), "zeros")


def convolve_padded(
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    mode: str,
) -> Tensor:
    """The convolution behind the layers, where sizes are mostly tuples of ints already; ``mode`` is what the padding holds."""
    if stride.__class__ is not tuple or len(stride) != n:
        stride = ntuple(stride, n, "stride")
    if dilation.__class__ is not tuple or len(dilation) != n:
        dilation = ntuple(dilation, n, "dilation")
    if padding.__class__ is not str and (padding.__class__ is not tuple or len(padding) != n):
        padding = ntuple(padding, n, "padding")
    try:
        dims = input.layout.ndim
    except AttributeError:
        raise TypeError(f"conv{n}d(): argument 'input' must be Tensor, not {type(input).__name__}") from None
    if dims != n + 2:
        _check_dims(f"conv{n}d", n, input)
        return convolve_padded(n, input.unsqueeze(0), weight, bias, stride, padding, dilation, groups, mode).squeeze(0)
    if weight.layout.ndim != n + 2:
        raise _wrong_weight(f"conv{n}d", n, weight)
    if mode != "zeros" and padding != "valid":
        sides = padding_sides(input.layout.shape[2:], weight.layout.shape[2:], stride, padding, dilation)
        input = ops.pad_border(input, mode, ((0, 0), (0, 0), *sides))
        padding = "valid"
    return ops.convolve(input, weight, bias, stride, padding, dilation, groups)


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
    mode: str = "zeros",
) -> Tensor:
    """The transposed convolution in ``n`` dimensions; ``mode`` is what the padding of the convolution holds whose adjoint it is."""
    _check_tensors(n, "conv_transpose", input, weight, bias)
    stride = ntuple(stride, n, "stride")
    if padding.__class__ is not str:
        padding = ntuple(padding, n, "padding")
    output_padding = ntuple(output_padding, n, "output_padding")
    dilation = ntuple(dilation, n, "dilation")
    groups = integer(groups, "groups")
    if input.layout.ndim != n + 2:
        _check_dims(f"conv_transpose{n}d", n, input)
        batch = input.unsqueeze(0)
        return convolve_transposed(n, batch, weight, bias, stride, padding, output_padding, groups, dilation, mode).squeeze(0)
    if weight.layout.ndim != n + 2:
        raise _wrong_weight(f"conv_transpose{n}d", n, weight)
    return ops.convolve_transposed(input, weight, bias, stride, padding, output_padding, dilation, groups, mode)


def _check_tensors(n: int, kind: str, input: Any, weight: Any, bias: Any) -> None:
    for name, operand in (("input", input), ("weight", weight), ("bias", bias)):
        if not isinstance(operand, Tensor) and (operand is not None or name != "bias"):
            raise TypeError(f"{kind}{n}d(): argument '{name}' must be Tensor, not {type(operand).__name__}")


def _check_dims(name: str, n: int, input: Tensor) -> None:
    if input.layout.ndim != n + 1:
        axes = ", ".join(AXES[n])
        raise RuntimeError(
            f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of size: {list(input.shape)}. "
            f"{name} takes (C, {axes}) or (N, C, {axes})."
        )


def _wrong_weight(name: str, n: int, weight: Tensor) -> RuntimeError:
    ends = "C_in, C_out / groups" if "transpose" in name else "C_out, C_in / groups"
    return RuntimeError(
        f"{name}: expected a weight of {n + 2} dimensions ({ends}, {', '.join(f'kernel_{axis.lower()}' for axis in AXES[n])}), but got one of "
        f"size: {list(weight.shape)}"
    )


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
        padding: zeros added on both sides; ``"same"`` makes L_out = ⌈L / stride⌉, ``"valid"`` adds none.
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
        padding: zeros added on each side, an int or a pair; ``"valid"`` adds none; ``"same"`` adds what makes H_out = ⌈H / stride⌉,
            max((H_out - 1) stride + dilation (kernel - 1) + 1 - H, 0) in all, the odd one at the end (the rule that TensorFlow calls SAME).
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
    """Computes the cross-correlation of a volume with ``weight``; arguments and errors are those of :func:`conv2d`, with one more dimension.

    (N, C_in, D, H, W) and a weight of (C_out, C_in / groups, kernel_d, kernel_h, kernel_w) to (N, C_out, D_out, H_out, W_out).
    """
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
    """Computes the transposed convolution of a signal; arguments and errors are those of :func:`conv_transpose2d`, with one dimension less.

    (N, C_in, L) and a weight of (C_in, C_out / groups, kernel) to (N, C_out, L_out).
    """
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
        padding: how many rows and columns are cut from each side of the result; ``"valid"`` cuts none; with ``"same"`` the result is the
            adjoint of :func:`conv2d` with ``padding="same"`` on an image of H_out = H stride + output_padding.
        output_padding: how many are added at the end. Of the sizes that a strided convolution maps to one, 0 gives the smallest; with
            ``padding="same"`` it gives the largest, and -1, …, 1 - stride the others.
        groups: into how many independent groups the channels are split.
        dilation: the distance between the kernel's elements.

    Returns:
        (N, C_out, H_out, W_out) with H_out = (H - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1.

    Raises:
        RuntimeError: the shapes do not fit; the message has the formula with its numbers.

    Example:
        >>> flambeau.nn.functional.conv_transpose2d(flambeau.ones(1, 3, 5, 5), flambeau.ones(3, 2, 3, 3), stride=2).shape
        torch.Size([1, 2, 11, 11])
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
    """Computes the transposed convolution of a volume; arguments and errors are those of :func:`conv_transpose2d`, with one more dimension.

    (N, C_in, D, H, W) and a weight of (C_in, C_out / groups, kernel_d, kernel_h, kernel_w) to (N, C_out, D_out, H_out, W_out).
    """
    return convolve_transposed(3, input, weight, bias, stride, padding, output_padding, groups, dilation)
