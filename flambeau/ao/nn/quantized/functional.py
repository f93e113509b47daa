"""``torch.ao.nn.quantized.functional``: functions of quantized tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau import Tensor, nn
from flambeau._types.dtype import dtype as DType
from flambeau.ao.tensors import products
from flambeau.ao.tensors.pointwise import whole
from flambeau.ao.tensors.tensor import Grid, QuantizedTensor

__all__ = [
    "adaptive_avg_pool2d", "adaptive_avg_pool3d", "avg_pool2d", "avg_pool3d", "celu", "clamp", "conv1d", "conv2d", "conv3d", "elu", "hardsigmoid", "hardswish", "hardtanh",
    "interpolate", "leaky_relu", "linear", "max_pool1d", "max_pool2d", "threshold", "upsample", "upsample_bilinear", "upsample_nearest",
]  # fmt: skip


def _require(input: Any, name: str) -> None:
    if not isinstance(input, QuantizedTensor):
        raise ValueError(f"quantized.{name}: expected a quantized tensor, got {getattr(input, 'dtype', type(input).__name__)}")


def on_grid(function: Callable, input: Any, scale: Any, zero_point: Any) -> QuantizedTensor:
    """A function of the numbers that a quantized tensor stands for, on a grid."""
    if not isinstance(input, QuantizedTensor):
        raise NotImplementedError(f"expected a quantized tensor, got {input.dtype!r}; put torch.ao.quantization.QuantStub before the layer")
    grid = Grid(whole(input, "this function").dtype, float(scale), int(zero_point))
    return QuantizedTensor.of(grid.quantized(function(input.dequantize())), grid)


def _same(name: str) -> Callable:
    """The function of that name of ``nn.functional``, which quantized tensors have."""
    run = getattr(nn.functional, name)

    def function(input: Any, *args: Any, **options: Any) -> Any:
        _require(input, name)
        return run(input, *args, **options)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"``nn.functional.{name}`` of a quantized tensor, on the same grid."
    return function


adaptive_avg_pool2d = _same("adaptive_avg_pool2d")
adaptive_avg_pool3d = _same("adaptive_avg_pool3d")
avg_pool2d = _same("avg_pool2d")
avg_pool3d = _same("avg_pool3d")
hardsigmoid = _same("hardsigmoid")
hardtanh = _same("hardtanh")
interpolate = _same("interpolate")
max_pool1d = _same("max_pool1d")
max_pool2d = _same("max_pool2d")
threshold = _same("threshold")


def upsample(input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None) -> Any:
    """``interpolate``, by its old name."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_bilinear(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """``interpolate(mode="bilinear", align_corners=True)``."""
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


def upsample_nearest(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """``interpolate(mode="nearest")``."""
    return interpolate(input, size, scale_factor, mode="nearest")


def clamp(input: Any, min_: float, max_: float) -> Any:
    """The numbers, held between two, on the same grid."""
    _require(input, "clamp")
    return flambeau.clamp(input, min_, max_)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False, scale: Any = None, zero_point: Any = None) -> Any:
    """``x`` above zero and ``negative_slope * x`` below, on the grid of ``scale`` and ``zero_point``, or of the input."""
    if scale is None or zero_point is None:
        return nn.functional.leaky_relu(input, negative_slope, inplace)
    return on_grid(lambda x: nn.functional.leaky_relu(x, negative_slope), input, scale, zero_point)


def hardswish(input: Any, scale: Any, zero_point: Any) -> Any:
    """``x * clamp(x + 3, 0, 6) / 6``, on the grid of ``scale`` and ``zero_point``."""
    _require(input, "hardswish")
    return on_grid(nn.functional.hardswish, input, scale, zero_point)


def elu(input: Any, scale: Any, zero_point: Any, alpha: float = 1.0) -> Any:
    """``x`` above zero and ``alpha * (exp(x) - 1)`` below, on the grid of ``scale`` and ``zero_point``."""
    _require(input, "elu")
    return on_grid(lambda x: nn.functional.elu(x, alpha), input, scale, zero_point)


def celu(input: Any, scale: Any, zero_point: Any, alpha: float = 1.0) -> Any:
    """``x`` above zero and ``alpha * (exp(x / alpha) - 1)`` below, on the grid of ``scale`` and ``zero_point``."""
    _require(input, "celu")
    return on_grid(lambda x: nn.functional.celu(x, alpha), input, scale, zero_point)


def linear(input: Any, weight: Any, bias: Tensor | None = None, scale: Any = None, zero_point: Any = None) -> Any:
    """``input @ weight.T + bias`` on the grid of ``scale`` and ``zero_point``, or of the input; the weight is packed at each call."""
    scale = input.q_scale() if scale is None else scale
    zero_point = input.q_zero_point() if zero_point is None else zero_point
    return products.linear(input, products.Packed(weight, bias), scale, zero_point)


def _convolution(rank: int) -> Callable:
    def conv(
        input: Any, weight: Any, bias: Tensor | None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
        padding_mode: str = "zeros", scale: float = 1.0, zero_point: int = 0, dtype: DType | None = None,
    ) -> Any:  # fmt: skip
        if padding_mode != "zeros":
            raise NotImplementedError(f"only zero-padding is implemented for a quantized convolution, got padding_mode={padding_mode!r}")
        if input.dtype is not flambeau.quint8:
            raise NotImplementedError(f"expected an input of torch.quint8, got {input.dtype!r}")
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return products.conv(input, products.Packed(weight, bias), settings, scale, zero_point)

    conv.__name__ = conv.__qualname__ = f"conv{rank}d"
    conv.__doc__ = f"``nn.functional.conv{rank}d`` on the grid of ``scale`` and ``zero_point``; the weight is packed at each call."
    return conv


conv1d, conv2d, conv3d = (_convolution(rank) for rank in (1, 2, 3))


def quantized(values: Tensor, like: Any, scale: Any, zero_point: Any) -> QuantizedTensor:
    """Numbers on a grid with the dtype of a quantized tensor."""
    grid = Grid(like.dtype, float(scale), int(zero_point))
    return QuantizedTensor.of(grid.quantized(values), grid)
