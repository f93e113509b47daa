"""Linear layers with weights of 8 bits, whose inputs are quantized when they come."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._types.dtype import dtype as DType
from flambeau.ao.nn import intrinsic as nni
from flambeau.ao.nn.quantized.modules import linear
from flambeau.ao.nn.quantized.modules.linear import observed
from flambeau.ao.nn.quantized.modules.utils import quantize_weight
from flambeau.ao.tensors import products

__all__ = ["Linear"]


class Linear(linear.Linear):
    """``x @ weight.T + bias`` of float32: the input is rounded to the 128 numbers that just hold it, the weight has 8 bits.

    Shapes: input (*, in_features), result (*, out_features).

    Example::

        >>> from flambeau.ao.nn.quantized import dynamic
        >>> dynamic.Linear(20, 30)(flambeau.randn(128, 20)).shape
        torch.Size([128, 30])
    """

    _version = 4
    _RELU = False

    def _get_name(self) -> str:
        return "DynamicQuantizedLinear"

    def extra_repr(self) -> str:
        text = f"in_features={self.in_features}, out_features={self.out_features}, dtype={self._packed_params.dtype}"
        return f"{text}, qscheme={self.weight().qscheme()}"

    def forward(self, x: Tensor) -> Tensor:
        return products.linear_dynamic(x, self._packed_params._packed_params, reduce_range=True, relu=self._RELU)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """The quantized layer of a float one with a ``qconfig``."""
        inner = mod[0] if isinstance(mod, nni.LinearReLU) else mod
        inner_observer = weight_observer(mod, inner)
        made = cls(inner.in_features, inner.out_features)
        made.set_weight_bias(quantize_weight(inner.weight, inner_observer), inner.bias)
        return made


def weight_observer(mod: Any, inner: Any) -> Any:
    """The observer of ``mod.qconfig.weight``, or the usual one, after it has seen the weight.

    Raises:
        RuntimeError: it is for another dtype than ``torch.qint8``.
    """
    from flambeau.ao.quantization.qconfig import default_dynamic_qconfig

    config = getattr(mod, "qconfig", None)
    observer = (config if config is not None and config.weight is not None else default_dynamic_qconfig).weight()
    require_qint8(observer.dtype)
    return observed(observer, inner.weight)


def require_qint8(dtype: DType) -> None:
    """Check the dtype of a weight.

    Raises:
        RuntimeError: it is another than ``torch.qint8``.
    """
    if dtype is not flambeau.qint8:
        raise RuntimeError(
            f"dynamic quantization is implemented for weights of torch.qint8, got {dtype!r}; for half the memory, use module.half()"
        )
