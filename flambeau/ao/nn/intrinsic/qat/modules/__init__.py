"""Layers that will be one, trained with rounding."""

from flambeau.ao.nn.intrinsic.qat.modules.conv_fused import *  # noqa: F403
from flambeau.ao.nn.intrinsic.qat.modules.conv_fused import __all__ as _conv
from flambeau.ao.nn.intrinsic.qat.modules.linear_relu import LinearReLU as LinearReLU

__all__ = [*_conv, "LinearReLU"]
