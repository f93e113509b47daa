"""Linear layers with weights of 8 bits."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor, nn
from flambeau._types.dtype import dtype as DType
from flambeau.ao.nn import intrinsic as nni
from flambeau.ao.nn.intrinsic.qat.modules.linear_fused import LinearBn1d, fused_parameters
from flambeau.ao.nn.quantized.modules.utils import WeightedQuantizedModule, parameters_of, quantize_weight
from flambeau.ao.tensors import products
from flambeau.ao.tensors.products import Packed

__all__ = ["Linear", "LinearPackedParams"]


class LinearPackedParams(nn.Module):
    """A quantized weight (out, in) and a bias (out), as one."""

    _version = 3

    def __init__(self, dtype: DType = flambeau.qint8) -> None:
        super().__init__()
        self.dtype = dtype
        weight = flambeau._empty_affine_quantized([1, 1], scale=1.0, zero_point=0, dtype=dtype)
        self.set_weight_bias(weight, None)

    def set_weight_bias(self, weight: Any, bias: Tensor | None) -> None:
        """Take this weight and bias."""
        self._packed_params = Packed(weight, bias)

    def _weight_bias(self) -> tuple:
        return self._packed_params.unpack()

    def forward(self, x: Tensor) -> Tensor:
        return x

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "dtype"] = self.dtype
        destination[prefix + "_packed_params"] = self._weight_bias()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, strict: bool, *rest: Any) -> None:
        self.dtype = state_dict.pop(prefix + "dtype", self.dtype)
        found = state_dict.pop(prefix + "_packed_params", None)
        if found is not None:
            self.set_weight_bias(*found)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, False, *rest)

    def __repr__(self) -> str:
        return repr(self._weight_bias())


class Linear(WeightedQuantizedModule):
    """``x @ weight.T + bias`` of a quantized input, on the grid of ``scale`` and ``zero_point``.

    Shapes: input (*, in_features), result (*, out_features).

    Attributes:
        scale, zero_point: of the result

    Example::

        >>> from flambeau.ao.nn import quantized
        >>> layer = quantized.Linear(20, 30)
        >>> x = flambeau.quantize_per_tensor(flambeau.randn(128, 20), 1.0, 0, flambeau.quint8)
        >>> layer(x).shape
        torch.Size([128, 30])
    """

    _version = 3
    _FLOAT_MODULE: Any = (nn.Linear, nn.modules.linear.NonDynamicallyQuantizableLinear)

    def __init__(self, in_features: int, out_features: int, bias_: bool = True, dtype: DType = flambeau.qint8) -> None:
        super().__init__()
        if dtype is not flambeau.qint8:
            raise RuntimeError(f"the weight of a quantized Linear is of torch.qint8, got {dtype!r}")
        self.in_features = in_features
        self.out_features = out_features
        self._packed_params = LinearPackedParams(dtype)
        weight = flambeau._make_per_tensor_quantized_tensor(flambeau.zeros(out_features, in_features, dtype=flambeau.int8), 1.0, 0)
        self.set_weight_bias(weight, flambeau.zeros(out_features) if bias_ else None)
        self.scale = 1.0
        self.zero_point = 0

    def _get_name(self) -> str:
        return "QuantizedLinear"

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, scale={self.scale}, zero_point={self.zero_point}, "
            f"qscheme={self.weight().qscheme()}"
        )

    def forward(self, x: Tensor) -> Tensor:
        return products.linear(x, self._packed_params._packed_params, self.scale, self.zero_point)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "scale"] = flambeau.tensor(self.scale)
        destination[prefix + "zero_point"] = flambeau.tensor(self.zero_point)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, strict: bool, missing: Any, *rest: Any) -> None:
        for name, kind in (("scale", float), ("zero_point", int)):
            if prefix + name in state_dict:
                setattr(self, name, kind(state_dict.pop(prefix + name)))
            elif strict:
                missing.append(prefix + name)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, False, missing, *rest)

    def _weight_bias(self) -> tuple:
        return self._packed_params._weight_bias()

    def weight(self) -> Any:
        """The quantized weight."""
        return self._weight_bias()[0]

    def bias(self) -> Any:
        """The bias, float32, or ``None``."""
        return self._weight_bias()[1]

    def set_weight_bias(self, w: Any, b: Tensor | None) -> None:
        """Take this quantized weight and this bias."""
        self._packed_params.set_weight_bias(w, b)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """The quantized layer of a float one that was observed, or of one that was trained with rounding."""
        scale, zero_point = parameters_of(mod)
        inner = mod[0] if isinstance(mod, nni._FusedModule) and not hasattr(mod, "weight_fake_quant") else mod
        weight, bias = fused_parameters(mod) if isinstance(mod, LinearBn1d) else (inner.weight, inner.bias)
        observer = mod.weight_fake_quant if hasattr(mod, "weight_fake_quant") else mod.qconfig.weight()
        if not use_precomputed_fake_quant or inner is not mod:
            observed(observer, weight)
        made = cls(inner.in_features, inner.out_features)
        made.set_weight_bias(quantize_weight(weight, observer), bias)
        made.scale, made.zero_point = scale, zero_point
        return made


def observed(observer: Any, weight: Tensor) -> Any:
    """The observer, after it has seen the weight."""
    observer(weight.detach())
    return observer
