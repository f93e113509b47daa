"""Convolutions with weights of 8 bits."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor, nn
from flambeau.ao.nn import intrinsic as nni
from flambeau.ao.nn.intrinsic import qat as nniqat
from flambeau.ao.nn.quantized.modules.linear import observed
from flambeau.ao.nn.quantized.modules.utils import WeightedQuantizedModule, parameters_of, quantize_weight
from flambeau.ao.tensors import products
from flambeau.ao.tensors.products import Packed

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


def _tuple(value: Any, rank: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank


class _ConvNd(WeightedQuantizedModule):
    """What quantized convolutions have in common.

    Attributes:
        scale, zero_point: of the result
    """

    _RANK = 0
    _FLOAT_MODULE: Any
    _TRANSPOSED = False

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
        bias: bool = True, padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._settle(in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode)

    def _settle(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any, output_padding: Any, groups: int,
        bias: bool, padding_mode: str,
    ) -> None:  # fmt: skip
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"in_channels (={in_channels}) and out_channels (={out_channels}) must be divisible by groups (={groups})")
        if padding_mode not in ("zeros", "reflect") or (padding_mode == "reflect" and self._TRANSPOSED):
            allowed = "'zeros'" if self._TRANSPOSED else "'zeros' or 'reflect'"
            raise ValueError(f"padding_mode={padding_mode!r} is not supported by quantized convolution, use {allowed}")
        rank = self._RANK
        self.in_channels, self.out_channels, self.groups, self.padding_mode = in_channels, out_channels, groups, padding_mode
        self.kernel_size, self.stride, self.dilation = (_tuple(each, rank) for each in (kernel_size, stride, dilation))
        self.padding = padding if isinstance(padding, str) else _tuple(padding, rank)
        self.transposed = self._TRANSPOSED
        self.output_padding = _tuple(output_padding, rank)
        channels = (in_channels, out_channels // groups) if self._TRANSPOSED else (out_channels, in_channels // groups)
        integers = flambeau.zeros(*channels, *self.kernel_size, dtype=flambeau.int8)
        self.set_weight_bias(flambeau._make_per_tensor_quantized_tensor(integers, 1.0, 0), flambeau.zeros(out_channels) if bias else None)
        self.scale = 1.0
        self.zero_point = 0

    def settings(self) -> dict[str, Any]:
        """What the function of the convolution is told."""
        padding = _tuple(0, self._RANK) if self.padding_mode == "reflect" else self.padding
        common = {"stride": self.stride, "padding": padding, "groups": self.groups, "dilation": self.dilation}
        return {**common, "output_padding": self.output_padding, "transposed": True} if self._TRANSPOSED else common

    def _padded(self, input: Any) -> Any:
        if self.padding_mode != "reflect":
            return input
        return nn.functional.pad(input, [each for size in reversed(self.padding) for each in (size, size)], mode="reflect")

    def forward(self, input: Any) -> Any:
        return products.conv(self._padded(input), self._packed_params, self.settings(), self.scale, self.zero_point)

    def set_weight_bias(self, w: Any, b: Tensor | None) -> None:
        """Take this quantized weight and this bias."""
        self._packed_params = Packed(w, b, 1 if self._TRANSPOSED else 0)

    def _weight_bias(self) -> tuple:
        return self._packed_params.unpack()

    def weight(self) -> Any:
        """The quantized weight."""
        return self._weight_bias()[0]

    def bias(self) -> Any:
        """The bias, float32, or ``None``."""
        return self._weight_bias()[1]

    def _get_name(self) -> str:
        return f"QuantizedConv{'Transpose' if self._TRANSPOSED else ''}{self._RANK}d"

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, scale={self.scale}, zero_point={self.zero_point}"
        rank = self._RANK
        for name, usual in (("padding", (0,) * rank), ("dilation", (1,) * rank), ("output_padding", (0,) * rank), ("groups", 1)):
            if getattr(self, name) != usual:
                text += f", {name}={getattr(self, name)}"
        return text + ("" if self.bias() is not None else ", bias=False")

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "weight"], destination[prefix + "bias"] = self._weight_bias()
        destination[prefix + "scale"] = flambeau.tensor(self.scale)
        destination[prefix + "zero_point"] = flambeau.tensor(self.zero_point)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, strict: bool, missing: Any, *rest: Any) -> None:
        if prefix + "weight" in state_dict:
            self.set_weight_bias(state_dict.pop(prefix + "weight"), state_dict.pop(prefix + "bias", None))
        elif strict:
            missing.append(prefix + "weight")
        for name, kind in (("scale", float), ("zero_point", int)):
            if prefix + name in state_dict:
                setattr(self, name, kind(state_dict.pop(prefix + name)))
            elif strict:
                missing.append(prefix + name)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, False, missing, *rest)

    @classmethod
    def _of(cls, conv: Any, weight: Any, bias: Any) -> Any:
        """A layer with the settings of a float one."""
        make: Any = cls
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
        made = make(**{name: getattr(conv, name) for name in names}, bias=bias is not None, padding_mode=conv.padding_mode)
        made.set_weight_bias(weight, bias)
        return made

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """The quantized layer of a float one that was observed, or of one that was trained with rounding."""
        scale, zero_point = parameters_of(mod)
        inner = mod[0] if isinstance(mod, nni._FusedModule) and not isinstance(mod, nniqat.modules.conv_fused._ConvBnNd) else mod
        weight, bias = inner.weight, inner.bias
        if isinstance(mod, nniqat.modules.conv_fused._ConvBnNd):
            bn = mod.bn
            weight, bias = nn.utils.fuse_conv_bn_weights(weight, bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias)
        if hasattr(mod, "weight_fake_quant"):
            observer = mod.weight_fake_quant if use_precomputed_fake_quant else observed(mod.weight_fake_quant, weight)
        else:
            observer = observed(mod.qconfig.weight(), weight)
        made = cls._of(inner, quantize_weight(weight, observer), bias)
        made.scale, made.zero_point = scale, zero_point
        return made


class Conv1d(_ConvNd):
    """``nn.Conv1d`` of a quantized input, on the grid of ``scale`` and ``zero_point``."""

    _RANK = 1
    _FLOAT_MODULE: Any = nn.Conv1d


class Conv2d(_ConvNd):
    """``nn.Conv2d`` of a quantized input, on the grid of ``scale`` and ``zero_point``.

    Example::

        >>> from flambeau.ao.nn import quantized
        >>> layer = quantized.Conv2d(16, 33, 3, stride=2)
        >>> x = flambeau.quantize_per_tensor(flambeau.randn(2, 16, 10, 10), 1.0, 0, flambeau.quint8)
        >>> layer(x).shape
        torch.Size([2, 33, 4, 4])
    """

    _RANK = 2
    _FLOAT_MODULE: Any = nn.Conv2d


class Conv3d(_ConvNd):
    """``nn.Conv3d`` of a quantized input, on the grid of ``scale`` and ``zero_point``."""

    _RANK = 3
    _FLOAT_MODULE: Any = nn.Conv3d


class _ConvTransposeNd(_ConvNd):
    """What quantized transposed convolutions have in common."""

    _TRANSPOSED = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1,
        bias: bool = True, dilation: Any = 1, padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        WeightedQuantizedModule.__init__(self)
        self._settle(in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups, bias, padding_mode)

    @classmethod
    def _of(cls, conv: Any, weight: Any, bias: Any) -> Any:
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding", "groups", "dilation")
        make: Any = cls
        made = make(**{name: getattr(conv, name) for name in names}, bias=bias is not None, padding_mode=conv.padding_mode)
        made.set_weight_bias(weight, bias)
        return made


class ConvTranspose1d(_ConvTransposeNd):
    """``nn.ConvTranspose1d`` of a quantized input, on the grid of ``scale`` and ``zero_point``."""

    _RANK = 1
    _FLOAT_MODULE: Any = nn.ConvTranspose1d


class ConvTranspose2d(_ConvTransposeNd):
    """``nn.ConvTranspose2d`` of a quantized input, on the grid of ``scale`` and ``zero_point``."""

    _RANK = 2
    _FLOAT_MODULE: Any = nn.ConvTranspose2d


class ConvTranspose3d(_ConvTransposeNd):
    """``nn.ConvTranspose3d`` of a quantized input, on the grid of ``scale`` and ``zero_point``."""

    _RANK = 3
    _FLOAT_MODULE: Any = nn.ConvTranspose3d
