"""Convolutions that round their weight, for training."""

from __future__ import annotations

from typing import Any

from flambeau import Tensor, nn
from flambeau.ao.nn.intrinsic import ConvReLU1d, ConvReLU2d, ConvReLU3d
from flambeau.ao.nn.qat.modules.linear import require_float, require_qconfig

__all__ = ["Conv1d", "Conv2d", "Conv3d"]

SETTINGS = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
"""What a convolution is made with, by the names of its attributes, in this order."""


class _RoundedConv:
    """What the convolutions here have in common."""

    _FLOAT_MODULE: Any
    qconfig: Any
    weight_fake_quant: Any

    def _round(self, qconfig: Any) -> None:
        require_qconfig(self, qconfig)
        self.qconfig = qconfig
        self.weight_fake_quant = qconfig.weight()

    def forward(self: Any, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight_fake_quant(self.weight), self.bias)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """A layer with the weight and the bias of a float one, which has a ``qconfig``."""
        require_float(cls, mod)
        inner = mod[0] if type(mod) in (ConvReLU1d, ConvReLU2d, ConvReLU3d) else mod
        make: Any = cls
        made = make(
            *[getattr(inner, name) for name in SETTINGS], bias=inner.bias is not None, padding_mode=inner.padding_mode, qconfig=mod.qconfig
        )
        made.weight, made.bias = inner.weight, inner.bias
        return made

    def to_float(self: Any) -> nn.Module:
        """The float convolution with this one's weight and bias."""
        cls = next(each for each in (nn.Conv1d, nn.Conv2d, nn.Conv3d) if isinstance(self, each))
        made = cls(*[getattr(self, name) for name in SETTINGS], bias=self.bias is not None, padding_mode=self.padding_mode)
        made.weight = nn.Parameter(self.weight.detach())
        if self.bias is not None:
            made.bias = nn.Parameter(self.bias.detach())
        return made


def _rounded(name: str, base: Any) -> Any:
    def init(
        self: Any, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
        groups: int = 1, bias: bool = True, padding_mode: str = "zeros", qconfig: Any = None, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        base.__init__(
            self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device=device, dtype=dtype
        )
        self._round(qconfig)

    doc = f"``nn.{name}`` with ``weight_fake_quant``, made of ``qconfig.weight``, between its weight and the convolution."
    members = {"__init__": init, "_FLOAT_MODULE": base, "_FLOAT_CONV_MODULE": base, "__module__": __name__, "__doc__": doc}
    return type(name, (_RoundedConv, base), members)


Conv1d = _rounded("Conv1d", nn.Conv1d)
Conv2d = _rounded("Conv2d", nn.Conv2d)
Conv3d = _rounded("Conv3d", nn.Conv3d)
