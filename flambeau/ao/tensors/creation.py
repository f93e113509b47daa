"""Making quantized tensors, and asking what they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, SupportsIndex

import flambeau
from flambeau._ops.quantization import CHOOSE
from flambeau._tensor.tensor import Tensor
from flambeau._types.dtype import dtype as DType
from flambeau._types.quantized import LIMITS, QUANTIZED, qint32
from flambeau.ao.tensors.tensor import Grid, QuantizedTensor, channel_grid, check_channels

__all__ = [
    "dequantize", "int_repr", "q_per_channel_axis", "q_per_channel_scales", "q_per_channel_zero_points", "q_scale", "q_zero_point", "quantize_per_channel",
    "quantize_per_tensor", "quantize_per_tensor_dynamic", "quantized_max_pool1d", "quantized_max_pool2d",
]  # fmt: skip


def _check(input: Tensor, dtype: DType) -> None:
    if dtype not in QUANTIZED:
        raise RuntimeError(f"expected the dtype of a quantized tensor (torch.quint8, torch.qint8 or torch.qint32), got {dtype!r}")
    if isinstance(input, QuantizedTensor):
        raise NotImplementedError("the tensor is quantized already; dequantize() it first")
    if input.dtype is not flambeau.float32:
        raise RuntimeError(f"only float32 tensors are quantized, got {input.dtype!r}; use input.float()")


def quantize_per_tensor(input: Any, scale: Any, zero_point: Any, dtype: DType) -> Any:
    """A tensor as integers, ``round(input / scale + zero_point)``, ties to even, held in the range of the dtype.

    Args:
        input: a float32 tensor, or a list of them
        scale, zero_point: a number each, or a tensor with one element; for a list a tensor with one for each
        dtype: ``torch.quint8`` (0 to 255), ``torch.qint8`` (-128 to 127) or ``torch.qint32``

    Raises:
        RuntimeError: the input is not float32, the dtype not of quantized tensors, or the zero point (a number) out of its range.
        TypeError: the zero point is no integer.

    Example::

        >>> x = flambeau.quantize_per_tensor(flambeau.tensor([-1.0, 0.26, 2.0]), 0.1, 10, flambeau.quint8)
        >>> x
        tensor([-1.0000,  0.3000,  2.0000], size=(3,), dtype=torch.quint8,
               quantization_scheme=torch.per_tensor_affine, scale=0.1, zero_point=10)
        >>> x.int_repr()
        tensor([ 0, 13, 30], dtype=torch.uint8)
    """
    if isinstance(input, (tuple, list)):
        return tuple([quantize_per_tensor(each, scale[i], zero_point[i], dtype) for i, each in enumerate(input)])
    _check(input, dtype)
    low, high = LIMITS[dtype]
    if not isinstance(zero_point, (Tensor, SupportsIndex)):
        raise TypeError(f"zero_point must be an integer, got {zero_point!r}")
    scale, zero_point = _own(scale), _own(zero_point)
    if not isinstance(zero_point, Tensor) and not low <= zero_point <= high:
        raise RuntimeError(f"zero_point (={zero_point}) must be between {low} and {high}, the range of {dtype!r}")
    grid = Grid(dtype, scale if isinstance(scale, Tensor) else float(scale), zero_point)
    return QuantizedTensor.of(grid.quantized(input.detach()), grid)


def _own(parameter: Any) -> Any:
    """A scale or zero point that nobody writes into: the number that a tensor has, or if it is still to be computed a copy of the tensor."""
    if not isinstance(parameter, Tensor):
        return parameter
    return parameter.detach().reshape(()).clone() if parameter.memory.pending else parameter.item()


def quantize_per_channel(input: Tensor, scales: Tensor, zero_points: Tensor, axis: int, dtype: DType) -> QuantizedTensor:
    """``quantize_per_tensor`` with a scale and a zero point for each index of a dimension.

    Args:
        input: float32
        scales: (channels)
        zero_points: (channels); floating-point ones are added before rounding
        axis: the dimension of the channels
        dtype: as for ``quantize_per_tensor``

    Raises:
        RuntimeError: the input is not float32, the dtype not of quantized tensors, the parameters do not fit the dimension, or integer zero
            points that are known are out of its range.
    """
    _check(input, dtype)
    check_channels(input, scales, zero_points, axis)
    low, high = LIMITS[dtype]
    if not zero_points.dtype.is_floating_point and not zero_points.memory.pending:
        for channel, zero_point in enumerate(zero_points.tolist()):
            if not low <= zero_point <= high:
                raise RuntimeError(
                    f"the zero point of channel {channel} (={zero_point}) must be between {low} and {high}, the range of {dtype!r}"
                )
    grid = channel_grid(dtype, scales, zero_points, axis)
    return QuantizedTensor.of(grid.quantized(input.detach()), grid)


def quantize_per_tensor_dynamic(input: Tensor, dtype: DType, reduce_range: bool) -> QuantizedTensor:
    """``quantize_per_tensor`` with the scale and the zero point that make the range just hold all elements, and 0.

    Args:
        input: float32
        dtype: ``torch.quint8`` or ``torch.qint8``
        reduce_range: use half of the range, which leaves a bit for sums of products
    """
    _check(input, dtype)
    if dtype is qint32:
        raise RuntimeError("dtype must be torch.quint8 or torch.qint8, got torch.qint32")
    scale, zero_point = choose_qparams(input, *half(*LIMITS[dtype], reduce_range))
    grid = Grid(dtype, scale, zero_point)
    return QuantizedTensor.of(grid.quantized(input.detach()), grid)


def half(low: int, high: int, reduce_range: bool) -> tuple[int, int]:
    """The range, or half of it."""
    return (low // 2, high // 2) if reduce_range else (low, high)


def choose_qparams(input: Tensor, low: int, high: int) -> tuple[Tensor, Tensor]:
    """Scale and zero point for the integers of a range to reach all elements, and 0."""
    input = input.detach()
    least, most = flambeau.aminmax(input if input.numel() else input.new_zeros(1))
    return CHOOSE(least, most, statics=(low, high, False))


def _choose_qparams_per_tensor(input: Tensor, reduce_range: bool = False) -> tuple[float, int]:
    scale, zero_point = choose_qparams(input, *half(0, 255, reduce_range))
    return scale.item(), zero_point.item()


def dequantize(input: Any) -> Any:
    """The real numbers that a quantized tensor stands for, float32; of a list a tuple."""
    return tuple([each.dequantize() for each in input]) if isinstance(input, (tuple, list)) else input.dequantize()


def int_repr(input: Tensor) -> Tensor:
    """The integers of a quantized tensor."""
    return input.int_repr()


def q_scale(input: Tensor) -> float:
    """The scale of a tensor that is quantized as a whole."""
    return input.q_scale()


def q_zero_point(input: Tensor) -> int:
    """The zero point of a tensor that is quantized as a whole."""
    return input.q_zero_point()


def q_per_channel_scales(input: Tensor) -> Tensor:
    """The scale of each channel of a tensor that is quantized per channel."""
    return input.q_per_channel_scales()


def q_per_channel_zero_points(input: Tensor) -> Tensor:
    """The zero point of each channel of a tensor that is quantized per channel."""
    return input.q_per_channel_zero_points()


def q_per_channel_axis(input: Tensor) -> int:
    """The dimension of the channels of a tensor that is quantized per channel."""
    return input.q_per_channel_axis()


def quantized_max_pool1d(
    input: Tensor, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Tensor:
    """``torch.nn.functional.max_pool1d`` of a quantized tensor."""
    return flambeau.nn.functional.max_pool1d(input, kernel_size, stride or None, padding, dilation, ceil_mode)


def quantized_max_pool2d(
    input: Tensor, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Tensor:
    """``torch.nn.functional.max_pool2d`` of a quantized tensor."""
    return flambeau.nn.functional.max_pool2d(input, kernel_size, stride or None, padding, dilation, ceil_mode)


_FROM_INTEGERS = {integers: quantized for quantized, integers in QUANTIZED.items()}


def _make_per_tensor_quantized_tensor(input: Tensor, scale: float, zero_point: int) -> QuantizedTensor:
    return QuantizedTensor.of(input.clone(), Grid(_FROM_INTEGERS[input.dtype], float(scale), int(zero_point)))


def _make_per_channel_quantized_tensor(input: Tensor, scale: Tensor, zero_point: Tensor, axis: int) -> QuantizedTensor:
    check_channels(input, scale, zero_point, axis)
    return QuantizedTensor.of(input.clone(), channel_grid(_FROM_INTEGERS[input.dtype], scale, zero_point, axis))


def _empty_affine_quantized(size: Sequence[int], *, scale: float = 1, zero_point: int = 0, dtype: DType, **options: Any) -> QuantizedTensor:
    return QuantizedTensor.of(flambeau.empty(*size, dtype=QUANTIZED[dtype]), Grid(dtype, float(scale), int(zero_point)))


def _empty_per_channel_affine_quantized(
    size: Sequence[int], *, scales: Tensor, zero_points: Tensor, axis: int, dtype: DType, **options: Any
) -> QuantizedTensor:
    integers = flambeau.empty(*size, dtype=QUANTIZED[dtype])
    check_channels(integers, scales, zero_points, axis)
    return QuantizedTensor.of(integers, channel_grid(dtype, scales, zero_points, axis))
