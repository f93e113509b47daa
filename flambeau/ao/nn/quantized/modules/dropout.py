"""Dropout of quantized tensors: none."""

from __future__ import annotations

from typing import Any

from flambeau import Tensor, nn

__all__ = ["Dropout"]


class Dropout(nn.Dropout):
    """The input: dropout is for training."""

    def _get_name(self) -> str:
        return "QuantizedDropout"

    def forward(self, input: Tensor) -> Tensor:
        return input

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Dropout:
        """The quantized layer of a float one."""
        return cls(mod.p, mod.inplace)
