"""What quantized layers have in common."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor, nn

__all__ = ["WeightedQuantizedModule"]


class WeightedQuantizedModule(nn.Module):
    """A layer with a quantized weight, ``weight()``, and a bias, ``bias()``."""

    def __repr__(self) -> str:
        return without_packed(self)


def without_packed(module: nn.Module) -> str:
    """The text of a module whose weight is in a module of its own, which is not shown."""
    name, extra = module._get_name(), module.extra_repr()
    children = [f"({key}): {child!r}".replace("\n", "\n  ") for key, child in module._modules.items() if key != "_packed_params"]
    if not children:
        return f"{name}({extra})"
    return "\n  ".join([f"{name}(", *([extra] if extra else []), *children]) + "\n)"


def quantize_weight(weight: Tensor, observer: Any) -> Tensor:
    """The weight, quantized as an observer has chosen.

    Raises:
        ValueError: the observer's scheme is none that weights have.
    """
    scale, zero_point = observer.calculate_qparams()
    weight = weight.detach().float()
    if observer.qscheme in (flambeau.per_tensor_symmetric, flambeau.per_tensor_affine):
        return flambeau.quantize_per_tensor(weight, float(scale), int(zero_point), observer.dtype)
    if observer.qscheme in (flambeau.per_channel_symmetric, flambeau.per_channel_affine):
        return flambeau.quantize_per_channel(
            weight, scale.to(flambeau.double), zero_point.to(flambeau.int64), observer.ch_axis, observer.dtype
        )
    if observer.qscheme is flambeau.per_channel_affine_float_qparams:
        return flambeau.quantize_per_channel(
            weight, scale.to(flambeau.float), zero_point.to(flambeau.float), observer.ch_axis, observer.dtype
        )
    raise ValueError(f"a weight cannot be quantized by {observer.qscheme!r}")


def parameters_of(mod: nn.Module) -> tuple[float, int]:
    """The scale and the zero point that a layer's observer has chosen for its results.

    Raises:
        AssertionError: the layer was not observed.
    """
    observer = getattr(mod, "activation_post_process", None)
    if observer is None:
        raise AssertionError(f"{type(mod).__name__} has no activation_post_process: prepare() the network, and run it, before convert()")
    scale, zero_point = observer.calculate_qparams()
    return float(scale), int(zero_point)
