"""Layers that will be one, trained with rounding."""

from __future__ import annotations

from flambeau.ao.nn.intrinsic.qat.modules.conv_fused import *  # noqa: F403
from flambeau.ao.nn.intrinsic.qat.modules.conv_fused import __all__ as _conv
from flambeau.ao.nn.intrinsic.qat.modules.linear_fused import LinearBn1d as LinearBn1d
from flambeau.ao.nn.intrinsic.qat.modules.linear_relu import LinearReLU as LinearReLU

__all__ = [*_conv, "LinearBn1d", "LinearReLU"]
