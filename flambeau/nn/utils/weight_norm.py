"""Weight normalisation by a hook; :func:`flambeau.nn.utils.parametrizations.weight_norm` is the newer way."""

from __future__ import annotations

import warnings
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter, is_lazy

__all__ = ["WeightNorm", "remove_weight_norm", "weight_norm"]


def norm_except_dim(v: Tensor, dim: int) -> Tensor:
    """The 2-norm over all dimensions but ``dim``, which all stay with size 1; over all dimensions if ``dim`` is -1."""
    if dim == -1:
        return flambeau.linalg.vector_norm(v)
    others = [d for d in range(v.dim()) if d != dim]
    return flambeau.linalg.vector_norm(v, 2, others, keepdim=True) if others else v.abs()


def normalized(v: Tensor, g: Tensor, dim: int) -> Tensor:
    """The weight g v / ‖v‖."""
    return v * (g / norm_except_dim(v, dim))


class WeightNorm:
    """The hook that computes a weight from its length ``name_g`` and direction ``name_v`` before each call."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Module) -> Tensor:
        """The weight."""
        return normalized(getattr(module, self.name + "_v"), getattr(module, self.name + "_g"), self.dim)

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))

    def remove(self, module: Module) -> None:
        """Makes the weight a parameter again."""
        weight = self.compute_weight(module)
        for name in (self.name, self.name + "_g", self.name + "_v"):
            delattr(module, name)
        setattr(module, self.name, Parameter(weight.data))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Separates length and direction of a weight: w = g v / ‖v‖ (Salimans and Kingma 2016, arXiv:1602.07868).

    Args:
        module: whose weight it is.
        name: the weight's name; the parameters are then ``name_g`` and ``name_v``.
        dim: the dimension along which each slice has a length of its own; ``None`` for one length.

    Raises:
        RuntimeError: the weight is normalised already.
        ValueError: the weight has no shape yet.
    """
    warnings.warn(
        "`torch.nn.utils.weight_norm` is deprecated in favor of `torch.nn.utils.parametrizations.weight_norm`.",
        FutureWarning,
        stacklevel=2,
    )
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm) and hook.name == name:
            raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
    norm = WeightNorm(name, dim)
    weight = getattr(module, name)
    if is_lazy(weight):
        raise ValueError("The module passed to `WeightNorm` can't have uninitialized parameters: call it with a batch first")
    delattr(module, name)
    module.register_parameter(name + "_g", Parameter(norm_except_dim(weight, norm.dim).data))
    module.register_parameter(name + "_v", Parameter(weight.data))
    setattr(module, name, norm.compute_weight(module))
    module.register_forward_pre_hook(norm)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Undoes :func:`weight_norm`.

    Raises:
        ValueError: the weight is not normalised.
    """
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, WeightNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
