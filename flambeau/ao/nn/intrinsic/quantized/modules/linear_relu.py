"""Quantized linear layers with an activation."""

from __future__ import annotations

from typing import Any

from flambeau import Tensor, nn
from flambeau._types.dtype import dtype as DType
from flambeau.ao.nn import intrinsic as nni
from flambeau.ao.nn import quantized as nnq
from flambeau.ao.nn.quantized import functional as F
from flambeau.ao.tensors import products

__all__ = ["LinearLeakyReLU", "LinearReLU", "LinearTanh"]


class LinearReLU(nnq.Linear):
    """``quantized.Linear`` and relu."""

    _FLOAT_MODULE: Any = nni.LinearReLU

    def _get_name(self) -> str:
        return "QuantizedLinearReLU"

    def forward(self, x: Tensor) -> Tensor:
        return products.linear(x, self._packed_params._packed_params, self.scale, self.zero_point, relu=True)


class LinearLeakyReLU(nnq.Linear):
    """``quantized.Linear`` and leaky relu."""

    _FLOAT_MODULE: Any = nni.LinearLeakyReLU

    def __init__(self, in_features: int, out_features: int, negative_slope: float, bias: bool = True, dtype: DType | None = None) -> None:
        super().__init__(in_features, out_features, bias)
        self.negative_slope = negative_slope

    def _get_name(self) -> str:
        return "QuantizedLinearLeakyReLU"

    def forward(self, x: Tensor) -> Tensor:
        return _activated(self, x, lambda y: nn.functional.leaky_relu(y, self.negative_slope))

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """The quantized layer of an ``intrinsic.LinearLeakyReLU`` that was observed."""
        return _of(cls(mod[0].in_features, mod[0].out_features, mod[1].negative_slope), mod)


class LinearTanh(nnq.Linear):
    """``quantized.Linear`` and the hyperbolic tangent."""

    _FLOAT_MODULE: Any = nni.LinearTanh

    def _get_name(self) -> str:
        return "QuantizedLinearTanh"

    def forward(self, x: Tensor) -> Tensor:
        return _activated(self, x, lambda y: y.tanh())


def _activated(layer: Any, x: Any, activation: Any) -> Any:
    """The activation of the numbers that the sums stand for, on the layer's grid."""
    values = products.linear_values(x, layer._packed_params._packed_params)
    return F.quantized(activation(values), x, layer.scale, layer.zero_point)


def _of(made: Any, mod: Any) -> Any:
    plain = nnq.Linear.from_float(mod)
    made.set_weight_bias(*plain._weight_bias())
    made.scale, made.zero_point = plain.scale, plain.zero_point
    return made
