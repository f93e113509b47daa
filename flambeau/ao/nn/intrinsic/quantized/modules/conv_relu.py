"""Quantized convolutions with relu."""

from __future__ import annotations

from typing import Any

from flambeau.ao.nn import intrinsic as nni
from flambeau.ao.nn import quantized as nnq
from flambeau.ao.tensors import products

__all__ = ["ConvReLU1d", "ConvReLU2d", "ConvReLU3d"]


def _conv_relu(rank: int) -> Any:
    base = getattr(nnq, f"Conv{rank}d")

    def forward(self: Any, input: Any) -> Any:
        return products.conv(self._padded(input), self._packed_params, self.settings(), self.scale, self.zero_point, relu=True)

    name = f"ConvReLU{rank}d"
    shown = f"QuantizedConvReLU{rank}d"
    members = {
        "forward": forward,
        "_get_name": lambda self: shown,
        "_FLOAT_MODULE": getattr(nni, name),
        "__module__": __name__,
        "__doc__": f"``quantized.Conv{rank}d`` and relu.",
    }
    return type(name, (base,), members)


ConvReLU1d, ConvReLU2d, ConvReLU3d = (_conv_relu(rank) for rank in (1, 2, 3))
