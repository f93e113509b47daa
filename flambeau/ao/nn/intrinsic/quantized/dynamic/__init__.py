"""``torch.ao.nn.intrinsic.quantized.dynamic``: layers that were several, whose inputs are quantized when they come."""

from __future__ import annotations

from typing import Any

from flambeau.ao.nn import intrinsic as nni
from flambeau.ao.nn.quantized import dynamic

__all__ = ["LinearReLU"]


class LinearReLU(dynamic.Linear):
    """``quantized.dynamic.Linear`` and relu."""

    _FLOAT_MODULE: Any = nni.LinearReLU
    _RELU = True

    def _get_name(self) -> str:
        return "DynamicQuantizedLinearReLU"
