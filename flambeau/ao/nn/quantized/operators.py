"""``torch.ops.quantized``: operators of quantized tensors under PyTorch's names, with the scale and the zero point of their result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau import Tensor, nn
from flambeau.ao.nn.quantized import functional as F
from flambeau.ao.tensors import arithmetic, products
from flambeau.ao.tensors.moving import cat as joined
from flambeau.ao.tensors.products import Packed

__all__ = ["OPERATORS", "PackedConvolution"]


class PackedConvolution(Packed):
    """A quantized weight and a bias with the settings of a convolution: what ``conv2d_prepack`` makes.

    Args:
        settings: of the function: stride, padding, dilation, groups
    """

    def __init__(self, weight: Any, bias: Tensor | None, settings: dict[str, Any]) -> None:
        super().__init__(weight, bias, 1 if settings.get("transposed") else 0)
        self.settings = settings

    def __reduce__(self) -> tuple:
        return PackedConvolution, (self.weight, self.bias, self.settings)


def _prepack(weight: Any, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int) -> PackedConvolution:
    settings = {"stride": tuple(stride), "padding": tuple(padding), "dilation": tuple(dilation), "groups": groups}
    return PackedConvolution(weight, bias, settings)


def _prepack_transposed(
    weight: Any, bias: Tensor | None, stride: Any, padding: Any, output_padding: Any, dilation: Any, groups: int
) -> PackedConvolution:
    settings = {"stride": tuple(stride), "padding": tuple(padding), "dilation": tuple(dilation), "groups": groups}
    return PackedConvolution(weight, bias, {**settings, "output_padding": tuple(output_padding), "transposed": True})


def _conv(relu: bool) -> Callable:
    def conv(qx: Any, packed_weight: PackedConvolution, output_scale: float, output_zero_point: int) -> Any:
        return products.conv(qx, packed_weight, packed_weight.settings, output_scale, output_zero_point, relu)

    return conv


def _unpack(packed: Packed) -> tuple[Any, Tensor | None]:
    return packed.unpack()


def _linear_relu(X: Any, W_prepack: Packed, Y_scale_i: float, Y_zero_point_i: int) -> Any:
    return products.linear(X, W_prepack, Y_scale_i, Y_zero_point_i, relu=True)


def _linear_relu_dynamic(X: Tensor, W_prepack: Packed, reduce_range: bool = False) -> Tensor:
    return products.linear_dynamic(X, W_prepack, reduce_range, relu=True)


def _with_number(function: Callable, with_scalar: Callable, relu: bool) -> Callable:
    """``function`` of two tensors, or of a tensor and a number, whose result has a grid that follows."""

    def combine(qa: Any, qb: Any, scale: Any = None, zero_point: Any = None) -> Any:
        if isinstance(qa, Tensor) and isinstance(qb, Tensor):
            return function(qa, qb, scale, zero_point, relu)
        tensor, number = (qa, qb) if isinstance(qa, Tensor) else (qb, qa)
        result = with_scalar(tensor, number)
        return nn.functional.relu(result) if relu else result

    return combine


def _cat(relu: bool) -> Callable:
    def cat(qx: Any, dim: int, scale: float | None = None, zero_point: int | None = None) -> Any:
        if scale is None or zero_point is None:
            result = joined(qx, dim)
            return nn.functional.relu(result) if relu else result
        return arithmetic.cat(qx, scale, zero_point, dim, relu)

    return cat


def _layer_norm(input: Any, normalized_shape: Any, weight: Any, bias: Any, eps: float, output_scale: float, output_zero_point: int) -> Any:
    return F.on_grid(lambda x: nn.functional.layer_norm(x, normalized_shape, weight, bias, eps), input, output_scale, output_zero_point)


def _group_norm(input: Any, num_groups: int, weight: Any, bias: Any, eps: float, output_scale: float, output_zero_point: int) -> Any:
    return F.on_grid(lambda x: nn.functional.group_norm(x, num_groups, weight, bias, eps), input, output_scale, output_zero_point)


def _instance_norm(input: Any, weight: Any, bias: Any, eps: float, output_scale: float, output_zero_point: int) -> Any:
    run = lambda x: nn.functional.instance_norm(x, None, None, weight, bias, True, 0.1, eps)
    return F.on_grid(run, input, output_scale, output_zero_point)


def _batch_norm(qx: Any, weight: Any, bias: Any, mean: Tensor, var: Tensor, eps: float, output_scale: float, output_zero_point: int) -> Any:
    return F.on_grid(lambda x: nn.functional.batch_norm(x, mean, var, weight, bias, False, 0.0, eps), qx, output_scale, output_zero_point)


def _leaky_relu(qx: Any, negative_slope: float, inplace: bool, output_scale: float, output_zero_point: int) -> Any:
    return F.leaky_relu(qx, negative_slope, inplace, output_scale, output_zero_point)


def _sigmoid(qx: Any, output_scale: float, output_zero_point: int) -> Any:
    return F.on_grid(flambeau.sigmoid, qx, output_scale, output_zero_point)


def _softmax(qx: Any, dim: int, output_scale: float, output_zero_point: int) -> Any:
    return F.on_grid(lambda x: nn.functional.softmax(x, dim), qx, output_scale, output_zero_point)


OPERATORS: dict[str, Callable] = {
    "linear_prepack": Packed, "linear_unpack": _unpack, "linear": products.linear, "linear_relu": _linear_relu, "linear_dynamic": products.linear_dynamic,
    "linear_relu_dynamic": _linear_relu_dynamic,
    **{f"conv{rank}d_prepack": _prepack for rank in (1, 2, 3)}, **{f"conv_transpose{rank}d_prepack": _prepack_transposed for rank in (1, 2, 3)},
    **{f"conv{rank}d_unpack": _unpack for rank in (1, 2, 3)}, **{f"conv{rank}d": _conv(False) for rank in (1, 2, 3)},
    **{f"conv{rank}d_relu": _conv(True) for rank in (1, 2, 3)}, **{f"conv_transpose{rank}d": _conv(False) for rank in (1, 2, 3)},
    "add": _with_number(arithmetic.add, arithmetic.add_scalar, False), "add_relu": _with_number(arithmetic.add, arithmetic.add_scalar, True),
    "mul": _with_number(arithmetic.mul, arithmetic.mul_scalar, False), "mul_relu": _with_number(arithmetic.mul, arithmetic.mul_scalar, True),
    "add_scalar": arithmetic.add_scalar, "mul_scalar": arithmetic.mul_scalar, "matmul": arithmetic.matmul, "cat": _cat(False), "cat_relu": _cat(True),
    "hardswish": F.hardswish, "elu": F.elu, "celu": F.celu, "leaky_relu": _leaky_relu, "sigmoid": _sigmoid, "softmax": _softmax, "layer_norm": _layer_norm,
    "group_norm": _group_norm, "instance_norm": _instance_norm, "batch_norm2d": _batch_norm, "batch_norm3d": _batch_norm, "relu6": nn.functional.relu6, "max_pool2d": nn.functional.max_pool2d,
    "clamp": flambeau.clamp, "threshold": nn.functional.threshold,
}  # fmt: skip
"""The operators, by name."""
