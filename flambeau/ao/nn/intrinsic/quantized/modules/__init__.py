"""Quantized layers that were several."""

from __future__ import annotations

from flambeau.ao.nn.intrinsic.quantized.modules.bn_relu import BNReLU2d as BNReLU2d
from flambeau.ao.nn.intrinsic.quantized.modules.bn_relu import BNReLU3d as BNReLU3d
from flambeau.ao.nn.intrinsic.quantized.modules.conv_relu import ConvReLU1d as ConvReLU1d
from flambeau.ao.nn.intrinsic.quantized.modules.conv_relu import ConvReLU2d as ConvReLU2d
from flambeau.ao.nn.intrinsic.quantized.modules.conv_relu import ConvReLU3d as ConvReLU3d
from flambeau.ao.nn.intrinsic.quantized.modules.linear_relu import LinearLeakyReLU as LinearLeakyReLU
from flambeau.ao.nn.intrinsic.quantized.modules.linear_relu import LinearReLU as LinearReLU
from flambeau.ao.nn.intrinsic.quantized.modules.linear_relu import LinearTanh as LinearTanh

__all__ = ["BNReLU2d", "BNReLU3d", "ConvReLU1d", "ConvReLU2d", "ConvReLU3d", "LinearLeakyReLU", "LinearReLU", "LinearTanh"]
