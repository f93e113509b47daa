"""Pooling: the maximum or mean of every window."""

from __future__ import annotations

import functools
import math
from typing import Any

import flambeau
from flambeau._ops import nn as ops
from flambeau._ops.arguments import into
from flambeau._ops.autocast import STATE, cast
from flambeau._ops.scattering import unpool
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._common import ntuple, shape_text


def _full(volume: Tensor) -> Tensor:
    """What pooling of volumes is given in a region of automatic casts: float32."""
    return volume if STATE.dtype is None else cast(volume, flambeau.float32)


def max_pool(
    n: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    """The maximum pooling in ``n`` dimensions behind :func:`max_pool1d`, :func:`max_pool2d` and :func:`max_pool3d`."""
    kernel = ntuple(kernel_size, n, "kernel_size")
    step = ntuple(stride, n, "stride") if stride is not None and stride != () and stride != [] else kernel
    padding, dilation = ntuple(padding, n, "padding"), ntuple(dilation, n, "dilation")
    values, indices = ops.max_pool(input, kernel, step, padding, dilation, bool(ceil_mode))
    return (values, indices) if return_indices else values


def avg_pool(
    n: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    """The mean pooling in ``n`` dimensions behind :func:`avg_pool1d`, :func:`avg_pool2d` and :func:`avg_pool3d`."""
    kernel = ntuple(kernel_size, n, "kernel_size")
    step = ntuple(stride, n, "stride") if stride is not None and stride != () and stride != [] else kernel
    padding = ntuple(padding, n, "padding")
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    if n == 3:
        input = _full(input)
    return ops.avg_pool(input, kernel, step, padding, bool(ceil_mode), bool(count_include_pad), divisor_override)


def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Computes the maximum of every window of a signal (N, C, L) or (C, L); see :func:`max_pool2d`."""
    return max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Computes the maximum of every window of an image.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: the size of the window, an int or a pair.
        stride: the step of the window; ``kernel_size`` if left out.
        padding: what is added on each side, as -∞; at most half the window.
        dilation: the distance between the window's elements.
        ceil_mode: whether the output size is rounded up.
        return_indices: whether the positions of the maxima are returned too, counted over H·W.

    Returns:
        (N, C, H_out, W_out) with H_out = ⌊(H + 2 padding - dilation (kernel - 1) - 1) / stride⌋ + 1, and with
        ``return_indices`` the positions.

    Raises:
        RuntimeError: the arguments do not fit; the message has the formula with its numbers.
    """
    return max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Computes the maximum of every window of a volume (N, C, D, H, W) or (C, D, H, W); see :func:`max_pool2d`."""
    return max_pool(3, input if return_indices else _full(input), kernel_size, stride, padding, dilation, ceil_mode, return_indices)


max_pool1d_with_indices = functools.partial(max_pool1d, return_indices=True)
max_pool2d_with_indices = functools.partial(max_pool2d, return_indices=True)
max_pool3d_with_indices = functools.partial(max_pool3d, return_indices=True)


def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Computes the mean of every window of a signal (N, C, L) or (C, L); see :func:`avg_pool2d`."""
    return avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Computes the mean of every window of an image.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: the size of the window, an int or a pair.
        stride: the step of the window; ``kernel_size`` if left out.
        padding: zeros added on each side; at most half the window.
        ceil_mode: whether the output size is rounded up.
        count_include_pad: whether the padding counts in the mean.
        divisor_override: by what the sum is divided instead of the number of elements.

    Returns:
        (N, C, H_out, W_out) with H_out = ⌊(H + 2 padding - kernel) / stride⌋ + 1.

    Raises:
        RuntimeError: the arguments do not fit; the message has the formula with its numbers.
    """
    return into(out, avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override))


def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Computes the mean of every window of a volume (N, C, D, H, W) or (C, D, H, W); see :func:`avg_pool2d`."""
    return into(out, avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override))


def _adaptive_size(name: str, n: int, input: Tensor, output_size: Any) -> tuple[int, ...]:
    """``output_size`` as a tuple; ``None`` stands for the input's size."""
    if input.dim() <= n:
        kind = ValueError if n > 1 and isinstance(output_size, (list, tuple)) else RuntimeError
        raise kind(f"{name}: Input dimension should be at least {n + 1}, got shape {shape_text(input)}")
    if input.dim() > n + 2:
        raise RuntimeError(f"{name}: Expected {n + 1}D or {n + 2}D tensor, but got shape {shape_text(input)}")
    if output_size is None:
        output_size = (None,) * n
    size = ntuple(output_size, n, "output_size")
    result = tuple(given if given is not None else own for given, own in zip(size, input.shape[-n:]))
    if any(value < 0 for value in result):
        raise RuntimeError(f"{name}: elements of output_size must be greater than or equal to 0, but got {result}")
    return result


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Computes the means of windows so chosen that the output (N, C, L_out) has ``output_size``."""
    return ops.adaptive_avg_pool(input, _adaptive_size("adaptive_avg_pool1d", 1, input, output_size))


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Computes the means of windows so chosen that the output has ``output_size``.

    Window i of an axis of size H covers ⌊i H / H_out⌋ to ⌈(i + 1) H / H_out⌉.

    Args:
        input: (N, C, H, W) or (C, H, W).
        output_size: an int or a pair (H_out, W_out); ``None`` in it keeps the input's size.
    """
    return ops.adaptive_avg_pool(input, _adaptive_size("adaptive_avg_pool2d", 2, input, output_size))


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Computes the means of windows so chosen that the output (N, C, D_out, H_out, W_out) has ``output_size``."""
    return ops.adaptive_avg_pool(input, _adaptive_size("adaptive_avg_pool3d", 3, input, output_size))


def _adaptive_max(n: int, input: Tensor, output_size: Any, return_indices: bool) -> Any:
    values, indices = ops.adaptive_max_pool(input, _adaptive_size(f"adaptive_max_pool{n}d", n, input, output_size))
    return (values, indices) if return_indices else values


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Computes the maxima of windows so chosen that the output (N, C, L_out) has ``output_size``."""
    return _adaptive_max(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Computes the maxima of windows so chosen that the output has ``output_size``; see :func:`adaptive_avg_pool2d`.

    Args:
        input: (N, C, H, W) or (C, H, W).
        output_size: an int or a pair (H_out, W_out); ``None`` in it keeps the input's size.
        return_indices: whether the positions of the maxima are returned too, counted over H·W.
    """
    return _adaptive_max(2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Computes the maxima of windows so chosen that the output (N, C, D_out, H_out, W_out) has ``output_size``."""
    return _adaptive_max(3, input, output_size, return_indices)


adaptive_max_pool1d_with_indices = functools.partial(adaptive_max_pool1d, return_indices=True)
adaptive_max_pool2d_with_indices = functools.partial(adaptive_max_pool2d, return_indices=True)
adaptive_max_pool3d_with_indices = functools.partial(adaptive_max_pool3d, return_indices=True)


def _lp_pool(n: int, input: Tensor, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool) -> Tensor:
    if norm_type == math.inf:
        return max_pool(n, input.abs(), kernel_size, stride, 0, 1, ceil_mode, False)
    if norm_type == -math.inf:
        return -max_pool(n, -input.abs(), kernel_size, stride, 0, 1, ceil_mode, False)
    means = avg_pool(n, input.pow(norm_type), kernel_size, stride, 0, ceil_mode, True, None)
    sums = (means.sign() * flambeau.relu(means.abs())).mul(math.prod(ntuple(kernel_size, n, "kernel_size")))
    return sums.pow(1.0 / norm_type)


def lp_pool1d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """Computes (Σ x^p)^(1/p) over every window of a signal (N, C, L), p being ``norm_type``."""
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """Computes (Σ x^p)^(1/p) over every window of an image (N, C, H, W), p being ``norm_type``."""
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """Computes (Σ x^p)^(1/p) over every window of a volume (N, C, D, H, W), p being ``norm_type``."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


def _max_unpool(n: int, input: Tensor, indices: Tensor, kernel_size: Any, stride: Any, padding: Any, output_size: Any) -> Tensor:
    name = f"max_unpool{n}d"
    kernel = ntuple(kernel_size, n, "kernel_size")
    step = ntuple(stride, n, "stride") if stride is not None else kernel
    padding = ntuple(padding, n, "padding")
    default = [(size - 1) * s + k - 2 * p for size, s, k, p in zip(input.shape[-n:], step, kernel, padding)]
    size = default if output_size is None else list(output_size)
    size = size[2:] if len(size) == n + 2 else size
    if len(size) != n:
        raise ValueError(f"output_size should be a sequence containing {n} or {n + 2} elements, but it has a length of '{len(size)}'")
    for d in range(n):
        if not default[d] - step[d] < size[d] < default[d] + step[d]:
            raise ValueError(f'invalid output_size "{size}" (dim {d} must be between {default[d] - step[d]} and {default[d] + step[d]})')
    if indices.shape != input.shape:
        raise RuntimeError(
            f"{name}: Expected shape of indices to be same as that of the input tensor ({list(input.shape)}) but got indices tensor "
            f"with shape: {list(indices.shape)}"
        )
    places, values = indices.flatten(-n), input.flatten(-n)
    count = math.prod(size)
    if input.dim() == 4 and input.is_contiguous(memory_format=flambeau.channels_last) and not input.is_contiguous():
        places, values = places.transpose(1, 2), values.transpose(1, 2)  # as they lie in memory, and as the result shall
        flat = flambeau.zeros(values.size(0), count, values.size(2), dtype=input.dtype, device=input.device)
        return unpool(flat, 1, places, values).transpose(1, 2).unflatten(-1, size)
    flat = flambeau.zeros(*input.shape[:-n], count, dtype=input.dtype, device=input.device)
    return unpool(flat, -1, places, values).unflatten(-1, size)


def max_unpool1d(input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None) -> Tensor:
    """Puts the maxima of :func:`max_pool1d` back where they came from; see :func:`max_unpool2d`."""
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None) -> Tensor:
    """Puts the maxima of :func:`max_pool2d` back where they came from, with zeros elsewhere.

    Args:
        input: the maxima, (N, C, H, W) or (C, H, W).
        indices: their positions.
        kernel_size: the pooling's window.
        stride: the pooling's step; ``kernel_size`` if left out.
        padding: the pooling's padding.
        output_size: the size that was pooled, where the pooling's arguments leave a choice.

    Raises:
        ValueError: ``output_size`` is not one that the pooling's arguments allow.
    """
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None) -> Tensor:
    """Puts the maxima of :func:`max_pool3d` back where they came from; see :func:`max_unpool2d`."""
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)
