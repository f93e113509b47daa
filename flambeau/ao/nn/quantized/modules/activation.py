"""Activations of quantized tensors."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor, nn
from flambeau.ao.nn.quantized import functional as F
from flambeau.ao.nn.quantized.modules.utils import parameters_of

__all__ = ["ELU", "Hardswish", "LeakyReLU", "PReLU", "ReLU6", "Sigmoid", "Softmax"]


class ReLU6(nn.ReLU6):
    """``clamp(x, 0, 6)``, on the grid of the input."""

    def _get_name(self) -> str:
        return "QuantizedReLU6"

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.relu6(input, self.inplace)

    @staticmethod
    def from_float(mod: Any, use_precomputed_fake_quant: bool = False) -> ReLU6:
        """The quantized layer of a float one."""
        return ReLU6(mod.inplace)


class _OnGrid:
    """A layer whose results are on the grid of its ``scale`` and ``zero_point``, which are buffers."""

    def _on_grid(self: Any, scale: float, zero_point: int) -> None:
        self.register_buffer("scale", flambeau.tensor(scale))
        self.register_buffer("zero_point", flambeau.tensor(zero_point))

    def _get_name(self) -> str:
        return f"Quantized{type(self).__name__}"


class Hardswish(_OnGrid, nn.Hardswish):
    """``x * clamp(x + 3, 0, 6) / 6``, on the grid of ``scale`` and ``zero_point``."""

    def __init__(self, scale: float, zero_point: int, device: Any = None, dtype: Any = None) -> None:
        nn.Hardswish.__init__(self)
        self._on_grid(scale, zero_point)

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input, self.scale, self.zero_point)

    @staticmethod
    def from_float(mod: Any, use_precomputed_fake_quant: bool = False) -> Hardswish:
        """The quantized layer of a float one that was observed."""
        return Hardswish(*parameters_of(mod))


class ELU(nn.ELU):
    """``x`` above zero and ``alpha * (exp(x) - 1)`` below, on the grid of ``scale`` and ``zero_point``."""

    def __init__(self, scale: float, zero_point: int, alpha: float = 1.0) -> None:
        super().__init__(alpha)
        self.scale = scale
        self.zero_point = zero_point

    def _get_name(self) -> str:
        return "QuantizedELU"

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.scale, self.zero_point, self.alpha)

    @staticmethod
    def from_float(mod: Any, use_precomputed_fake_quant: bool = False) -> ELU:
        """The quantized layer of a float one that was observed."""
        return ELU(*parameters_of(mod), mod.alpha)


class LeakyReLU(_OnGrid, nn.LeakyReLU):
    """``x`` above zero and ``negative_slope * x`` below, on the grid of ``scale`` and ``zero_point``."""

    def __init__(
        self, scale: float, zero_point: int, negative_slope: float = 1e-2, inplace: bool = False, device: Any = None, dtype: Any = None
    ) -> None:
        nn.LeakyReLU.__init__(self, negative_slope, inplace)
        self._on_grid(scale, zero_point)

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace, self.scale, self.zero_point)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> LeakyReLU:
        """The quantized layer of a float one that was observed."""
        return cls(*parameters_of(mod), mod.negative_slope, mod.inplace)


class Sigmoid(nn.Sigmoid):
    """The sigmoid, on the grid of ``output_scale`` and ``output_zero_point``."""

    def __init__(self, output_scale: float, output_zero_point: int) -> None:
        super().__init__()
        self.output_scale = output_scale
        self.output_zero_point = output_zero_point

    def forward(self, input: Tensor) -> Tensor:
        return F.on_grid(nn.functional.sigmoid, input, self.output_scale, self.output_zero_point)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Sigmoid:
        """The quantized layer of a float one that was observed."""
        return cls(*parameters_of(mod))


class Softmax(nn.Softmax):
    """The softmax along a dimension, on the grid of ``scale`` and ``zero_point``."""

    def __init__(self, dim: int | None = None, scale: float = 1.0, zero_point: int = 0) -> None:
        super().__init__()
        self.dim = dim
        self.scale = scale
        self.zero_point = zero_point

    def _get_name(self) -> str:
        return "QuantizedSoftmax"

    def forward(self, input: Tensor) -> Tensor:
        dim = self.dim if self.dim is not None else (0 if input.dim() in (0, 1, 3) else 1)
        return F.on_grid(lambda x: nn.functional.softmax(x, dim), input, self.scale, self.zero_point)

    @staticmethod
    def from_float(mod: Any, use_precomputed_fake_quant: bool = False) -> Softmax:
        """The quantized layer of a float one that was observed."""
        return Softmax(mod.dim, *parameters_of(mod))


class PReLU(nn.Module):
    """``x`` above zero and ``weight * x`` below, with a quantized weight, on the grid of ``scale`` and ``zero_point``."""

    def __init__(self, output_scale: float, output_zero_point: int, num_parameters: int = 1) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.scale = output_scale
        self.zero_point = output_zero_point
        self.set_weight(flambeau.quantize_per_tensor(flambeau.randn(num_parameters), 1.0, 0, flambeau.quint8))

    def set_weight(self, w: Any) -> None:
        """Take this quantized weight."""
        self.weight = w

    def _get_name(self) -> str:
        return "QuantizedPReLU"

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight.dequantize()
        return F.on_grid(lambda x: nn.functional.prelu(x, weight), input, self.scale, self.zero_point)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> PReLU:
        """The quantized layer of a float one that was observed."""
        made = cls(*parameters_of(mod), mod.num_parameters)
        observer = mod.qconfig.weight()
        observer(mod.weight.detach())
        if observer.dtype is not flambeau.quint8:
            raise AssertionError(
                f"the weight of a quantized PReLU is of torch.quint8, but the observer of qconfig.weight is for {observer.dtype!r}"
            )
        scale, zero_point = observer.calculate_qparams()
        made.set_weight(flambeau.quantize_per_tensor(mod.weight.detach().float(), float(scale), int(zero_point), flambeau.quint8))
        return made
