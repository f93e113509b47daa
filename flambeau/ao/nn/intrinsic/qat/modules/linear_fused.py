"""A linear layer and batch normalization, trained with the weight that they will have as one, rounded."""

from __future__ import annotations

from typing import Any

from flambeau import Tensor, nn
from flambeau.ao.nn import intrinsic as nni
from flambeau.ao.nn.intrinsic.qat.modules.conv_fused import _ConvBnNd
from flambeau.ao.nn.qat.modules.linear import require_float

__all__ = ["LinearBn1d"]


class LinearBn1d(_ConvBnNd, nn.Linear):
    """``nn.Linear`` and ``nn.BatchNorm1d``, with the weight rounded."""

    _FLOAT_MODULE: Any = nni.LinearBn1d

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, eps: float = 1e-5, momentum: float = 0.1, freeze_bn: bool = False, qconfig: Any = None
    ) -> None:  # fmt: skip
        nn.Linear.__init__(self, in_features, out_features, bias)
        self._begin(nn.BatchNorm1d, out_features, eps, momentum, freeze_bn, qconfig)

    __repr__ = nn.Linear.__repr__
    extra_repr = nn.Linear.extra_repr

    def _product(self, input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return nn.functional.linear(input, weight, bias)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """A layer with the parameters of ``intrinsic.LinearBn1d``, which has a ``qconfig``."""
        require_float(cls, mod)
        linear, bn = mod[0], mod[1]
        made = cls(linear.in_features, linear.out_features, linear.bias is not None, bn.eps, bn.momentum, False, mod.qconfig)
        return made._take(linear, bn)

    def to_float(self) -> Any:
        """The float layer with the normalization in its weight."""
        made = nn.Linear(self.in_features, self.out_features)
        made.weight, made.bias = fused_parameters(self)
        made.train(self.training)
        return made


def fused_parameters(mod: LinearBn1d) -> tuple[Any, Any]:
    """The weight and the bias that a layer and its normalization have as one."""
    bn = mod.bn
    return nn.utils.fuse_linear_bn_weights(mod.weight, mod.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias)
