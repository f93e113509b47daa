"""Convolution and batch normalization, trained with the weight that they will have as one, rounded."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor, nn
from flambeau.ao.nn import intrinsic as nni
from flambeau.ao.nn.qat.modules import conv as nnqat
from flambeau.ao.nn.qat.modules.conv import SETTINGS
from flambeau.ao.nn.qat.modules.linear import require_float, require_qconfig

__all__ = [
    "ConvBn1d", "ConvBn2d", "ConvBn3d", "ConvBnReLU1d", "ConvBnReLU2d", "ConvBnReLU3d", "ConvReLU1d", "ConvReLU2d", "ConvReLU3d", "freeze_bn_stats",
    "update_bn_stats",
]  # fmt: skip


class _ConvBnNd(nni._FusedModule):
    """What convolutions with batch normalization have in common.

    The weight is scaled as it will be once both are one, by ``bn.weight / sqrt(bn.running_var + eps)``, and rounded then. The result is
    divided by the same factor, so that the normalization sees what the convolution alone would give, up to the rounding.
    """

    _FLOAT_MODULE: Any
    weight: Tensor
    bias: Any

    def _begin(self, bn: Any, channels: int, eps: float, momentum: float, freeze_bn: bool, qconfig: Any) -> None:
        require_qconfig(self, qconfig)
        self.qconfig = qconfig
        self.freeze_bn = freeze_bn if self.training else True
        self.bn = bn(channels, eps, momentum, True, True)
        self.weight_fake_quant = qconfig.weight()
        nn.init.uniform_(self.bn.weight)
        nn.init.zeros_(self.bn.bias)
        (self.freeze_bn_stats if freeze_bn else self.update_bn_stats)()

    def reset_running_stats(self) -> None:
        """Forget the means and variances."""
        self.bn.reset_running_stats()

    def update_bn_stats(self) -> _ConvBnNd:
        """Let the normalization follow the batches, from here on."""
        self.freeze_bn = False
        self.bn.training = True
        return self

    def freeze_bn_stats(self) -> _ConvBnNd:
        """Let the normalization keep its means and variances, from here on."""
        self.freeze_bn = True
        self.bn.training = False
        return self

    def _normalized(self, input: Tensor) -> Tensor:
        factor = self.bn.weight / flambeau.sqrt(self.bn.running_var + self.bn.eps)
        weight = self.weight_fake_quant(self.weight * factor.reshape(-1, *(1,) * (self.weight.dim() - 1)))
        bias = flambeau.zeros_like(self.bias if self.bias is not None else factor, dtype=input.dtype)
        across = (1, -1, *(1,) * (self.weight.dim() - 2))
        result = self._product(input, weight, bias) / factor.reshape(across)
        return self.bn(result if self.bias is None else result + self.bias.reshape(across))

    def _product(self, input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self._conv_forward(input, weight, bias)

    def forward(self, input: Tensor) -> Tensor:
        return self._normalized(input)

    def train(self, mode: bool = True) -> _ConvBnNd:
        """Train or not; a normalization that was frozen stays so."""
        self.training = mode
        for module in () if self.freeze_bn else self.children():
            module.train(mode)
        return self

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """A layer with the parameters of ``intrinsic.ConvBn…`` or ``ConvBnReLU…``, which has a ``qconfig``."""
        require_float(cls, mod)
        conv, bn = mod[0], mod[1]
        make: Any = cls
        made = make(
            *[getattr(conv, name) for name in SETTINGS], conv.bias is not None, conv.padding_mode, bn.eps, bn.momentum, False, mod.qconfig
        )
        return made._take(conv, bn)

    def _take(self, layer: Any, bn: Any) -> _ConvBnNd:
        """Have the parameters of these."""
        self.weight, self.bias = layer.weight, layer.bias
        self.bn.weight, self.bn.bias = bn.weight, bn.bias
        self.bn.running_mean, self.bn.running_var = bn.running_mean, bn.running_var
        self.bn.num_batches_tracked = bn.num_batches_tracked
        return self

    def to_float(self) -> Any:
        """The float convolution with the normalization in its weight (and ``relu`` after it, if this has one)."""
        cls = next(each for each in (nn.Conv1d, nn.Conv2d, nn.Conv3d) if isinstance(self, each))
        conv: Any = cls(*[getattr(self, name) for name in SETTINGS], bias=self.bias is not None, padding_mode=self.padding_mode)
        conv.weight = nn.Parameter(self.weight.detach())
        if self.bias is not None:
            conv.bias = nn.Parameter(self.bias.detach())
        fused = nn.utils.fuse_conv_bn_weights(
            conv.weight, conv.bias, self.bn.running_mean, self.bn.running_var, self.bn.eps, self.bn.weight, self.bn.bias
        )
        conv.weight, conv.bias = fused
        conv.train(self.training)
        if type(self).__name__.startswith("ConvBnReLU"):
            made = getattr(nni, f"ConvReLU{type(self).__name__[-2]}d")(conv, nn.ReLU())
            made.train(self.training)
            return made
        return conv


def _conv_bn(rank: int, relu: bool) -> Any:
    base = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1]
    bn = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[rank - 1]
    name = f"ConvBn{'ReLU' if relu else ''}{rank}d"

    def init(
        self: Any, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
        bias: Any = None, padding_mode: str = "zeros", eps: float = 1e-5, momentum: float = 0.1, freeze_bn: bool = False, qconfig: Any = None,
    ) -> None:  # fmt: skip
        base.__init__(self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bool(bias), padding_mode)
        self._begin(bn, out_channels, eps, momentum, freeze_bn, qconfig)

    def forward(self: Any, input: Tensor) -> Tensor:
        result = self._normalized(input)
        return nn.functional.relu(result) if relu else result

    members = {
        "__init__": init, "forward": forward, "__module__": __name__, "_FLOAT_MODULE": getattr(nni, name), "_FLOAT_CONV_MODULE": base, "_FLOAT_BN_MODULE": bn,
        "_FLOAT_RELU_MODULE": nn.ReLU if relu else None, "__doc__": f"``nn.Conv{rank}d`` and ``nn.BatchNorm{rank}d``{', and relu' if relu else ''}, with the weight rounded.",
        "__repr__": base.__repr__, "extra_repr": base.extra_repr,
    }  # fmt: skip
    return type(name, (_ConvBnNd, base), members)


ConvBn1d, ConvBn2d, ConvBn3d = (_conv_bn(rank, False) for rank in (1, 2, 3))
ConvBnReLU1d, ConvBnReLU2d, ConvBnReLU3d = (_conv_bn(rank, True) for rank in (1, 2, 3))


def _conv_relu(rank: int) -> Any:
    base = getattr(nnqat, f"Conv{rank}d")
    name = f"ConvReLU{rank}d"

    def forward(self: Any, input: Tensor) -> Tensor:
        return nn.functional.relu(base.forward(self, input))

    members = {
        "forward": forward,
        "__module__": __name__,
        "_FLOAT_MODULE": getattr(nni, name),
        "__doc__": f"``nn.Conv{rank}d`` and relu, with the weight rounded.",
    }
    return type(name, (base,), members)


ConvReLU1d, ConvReLU2d, ConvReLU3d = (_conv_relu(rank) for rank in (1, 2, 3))


def update_bn_stats(mod: nn.Module) -> None:
    """``model.apply(update_bn_stats)``: normalizations follow the batches from here on."""
    if isinstance(mod, _ConvBnNd):
        mod.update_bn_stats()


def freeze_bn_stats(mod: nn.Module) -> None:
    """``model.apply(freeze_bn_stats)``: normalizations keep their means and variances from here on."""
    if isinstance(mod, _ConvBnNd):
        mod.freeze_bn_stats()
