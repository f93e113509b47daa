"""Quantized layers."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor, nn
from flambeau._types.dtype import dtype as DType
from flambeau.ao.nn.quantized.modules.activation import ELU, Hardswish, LeakyReLU, PReLU, ReLU6, Sigmoid, Softmax
from flambeau.ao.nn.quantized.modules.batchnorm import BatchNorm2d, BatchNorm3d
from flambeau.ao.nn.quantized.modules.conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from flambeau.ao.nn.quantized.modules.dropout import Dropout
from flambeau.ao.nn.quantized.modules.embedding_ops import Embedding, EmbeddingBag
from flambeau.ao.nn.quantized.modules.functional_modules import FloatFunctional, FXFloatFunctional, QFunctional
from flambeau.ao.nn.quantized.modules.linear import Linear
from flambeau.ao.nn.quantized.modules.normalization import GroupNorm, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, LayerNorm
from flambeau.ao.nn.quantized.modules.utils import parameters_of

__all__ = [
    "ELU", "BatchNorm2d", "BatchNorm3d", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "DeQuantize", "Dropout", "Embedding",
    "EmbeddingBag", "FXFloatFunctional", "FloatFunctional", "GroupNorm", "Hardswish", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "LayerNorm", "LeakyReLU", "Linear",
    "PReLU", "QFunctional", "Quantize", "ReLU6", "Sigmoid", "Softmax",
]  # fmt: skip


class Quantize(nn.Module):
    """``quantize_per_tensor`` with a scale and a zero point that are buffers.

    Example::

        >>> Quantize(scale=1.0, zero_point=2, dtype=flambeau.qint8)(flambeau.tensor([[1.0, -1.0], [1.0, -1.0]])).int_repr()
        tensor([[3, 1],
                [3, 1]], dtype=torch.int8)
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(self, scale: float, zero_point: int, dtype: DType, factory_kwargs: Any = None) -> None:
        super().__init__()
        self.register_buffer("scale", flambeau.tensor([float(scale)]))
        self.register_buffer("zero_point", flambeau.tensor([int(zero_point)], dtype=flambeau.long))
        self.dtype = dtype
        self._known: tuple | None = None

    def forward(self, X: Tensor) -> Tensor:
        return flambeau.quantize_per_tensor(X, *self._numbers(), self.dtype)

    def _numbers(self) -> tuple[float, int]:
        """The buffers as numbers, which are looked at when they change."""
        stamp = (self.scale.memory, self.scale.memory.version, self.zero_point.memory, self.zero_point.memory.version)
        if self._known is None or self._known[0] != stamp:
            self._known = stamp, (float(self.scale), int(self.zero_point))
        return self._known[1]

    @staticmethod
    def from_float(mod: Any, use_precomputed_fake_quant: bool = False) -> Quantize:
        """Of a ``QuantStub`` that was observed."""
        return Quantize(*parameters_of(mod), mod.activation_post_process.dtype)

    def extra_repr(self) -> str:
        return f"scale={self.scale}, zero_point={self.zero_point}, dtype={self.dtype}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": None}


class DeQuantize(nn.Module):
    """``dequantize()``."""

    def forward(self, Xq: Tensor) -> Tensor:
        return Xq.dequantize()

    @staticmethod
    def from_float(mod: Any, use_precomputed_fake_quant: bool = False) -> DeQuantize:
        """Of a ``DeQuantStub``."""
        return DeQuantize()
