"""A linear layer that rounds its weight, for training."""

from __future__ import annotations

from typing import Any

from flambeau import Tensor, nn
from flambeau.ao.nn.intrinsic import LinearReLU

__all__ = ["Linear"]


class Linear(nn.Linear):
    """``nn.Linear`` with ``weight_fake_quant``, made of ``qconfig.weight``, between its weight and the product."""

    _FLOAT_MODULE: Any = nn.Linear

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, qconfig: Any = None, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(in_features, out_features, bias, device=device, dtype=dtype)
        require_qconfig(self, qconfig)
        self.qconfig = qconfig
        self.weight_fake_quant = qconfig.weight()

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(input, self.weight_fake_quant(self.weight), self.bias)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """A layer with the weight and the bias of a float one, which has a ``qconfig``."""
        require_float(cls, mod)
        inner = mod[0] if type(mod) is LinearReLU else mod
        made = cls(inner.in_features, inner.out_features, bias=inner.bias is not None, qconfig=mod.qconfig)
        made.weight, made.bias = inner.weight, inner.bias
        return made

    def to_float(self) -> nn.Linear:
        """The float layer with this one's weight and bias."""
        made = nn.Linear(self.in_features, self.out_features, self.bias is not None)
        made.weight = nn.Parameter(self.weight.detach())
        if self.bias is not None:
            made.bias = nn.Parameter(self.bias.detach())
        made.train(self.training)
        return made


def require_float(cls: Any, mod: Any) -> None:
    """Check what ``from_float`` is given.

    Raises:
        AssertionError: it is of another class, or has no ``qconfig``.
    """
    if type(mod) is not cls._FLOAT_MODULE:
        raise AssertionError(f"{cls.__name__}.from_float is for {cls._FLOAT_MODULE.__name__}, got {type(mod).__name__}")
    if not getattr(mod, "qconfig", None):
        raise AssertionError(f"{type(mod).__name__} must have a qconfig; call torch.ao.quantization.prepare_qat on the network, or set it")


def require_qconfig(module: Any, qconfig: Any) -> None:
    """Check that a layer that rounds is told how.

    Raises:
        AssertionError: there is no configuration.
    """
    if not qconfig:
        raise AssertionError(f"{type(module).__name__} rounds its weight by qconfig.weight: give it qconfig=")
