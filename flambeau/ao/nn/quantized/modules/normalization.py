"""Normalizations of quantized tensors: computed with the numbers that they stand for."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor, nn
from flambeau.ao.nn.quantized import functional as F
from flambeau.ao.nn.quantized.modules.activation import _OnGrid
from flambeau.ao.nn.quantized.modules.utils import parameters_of

__all__ = ["GroupNorm", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "LayerNorm"]


class LayerNorm(_OnGrid, nn.LayerNorm):
    """``nn.LayerNorm``, on the grid of ``scale`` and ``zero_point``."""

    def __init__(
        self, normalized_shape: Any, weight: Any, bias: Any, scale: float, zero_point: int, eps: float = 1e-5, elementwise_affine: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        nn.LayerNorm.__init__(self, normalized_shape, eps, elementwise_affine)
        self.weight, self.bias = weight, bias
        self._on_grid(scale, zero_point)

    def forward(self, input: Tensor) -> Tensor:
        run = lambda x: nn.functional.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return F.on_grid(run, input, self.scale, self.zero_point)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> LayerNorm:
        """The quantized layer of a float one that was observed."""
        return cls(mod.normalized_shape, mod.weight, mod.bias, *parameters_of(mod), mod.eps, mod.elementwise_affine)


class GroupNorm(_OnGrid, nn.GroupNorm):
    """``nn.GroupNorm``, on the grid of ``scale`` and ``zero_point``."""

    def __init__(
        self, num_groups: int, num_channels: int, weight: Any, bias: Any, scale: float, zero_point: int, eps: float = 1e-5, affine: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        nn.GroupNorm.__init__(self, num_groups, num_channels, eps, affine)
        self.weight, self.bias = weight, bias
        self._on_grid(scale, zero_point)

    def forward(self, input: Tensor) -> Tensor:
        run = lambda x: nn.functional.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
        return F.on_grid(run, input, self.scale, self.zero_point)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> GroupNorm:
        """The quantized layer of a float one that was observed."""
        return cls(mod.num_groups, mod.num_channels, mod.weight, mod.bias, *parameters_of(mod), mod.eps, mod.affine)


def _instance_norm(rank: int) -> Any:
    base: Any = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)[rank - 1]

    def init(
        self: Any, num_features: int, weight: Any, bias: Any, scale: float, zero_point: int, eps: float = 1e-5, momentum: float = 0.1,
        affine: bool = False, track_running_stats: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        base.__init__(self, num_features, eps, momentum, affine, track_running_stats)
        self.weight, self.bias = weight, bias
        self._on_grid(scale, zero_point)

    def forward(self: Any, input: Tensor) -> Tensor:
        run = lambda x: nn.functional.instance_norm(x, None, None, self.weight, self.bias, True, 0.1, self.eps)
        return F.on_grid(run, input, self.scale, self.zero_point)

    def from_float(cls: Any, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        return cls(mod.num_features, mod.weight, mod.bias, *parameters_of(mod), mod.eps, mod.affine)

    name = f"InstanceNorm{rank}d"
    members = {
        "__init__": init,
        "forward": forward,
        "from_float": classmethod(from_float),
        "__module__": __name__,
        "__doc__": f"``nn.{name}``, on the grid of ``scale`` and ``zero_point``.",
    }
    return type(name, (_OnGrid, base), members)


InstanceNorm1d, InstanceNorm2d, InstanceNorm3d = (_instance_norm(rank) for rank in (1, 2, 3))


def quantized_batch_norm(rank: int, relu: bool = False) -> Any:
    base: Any = nn.BatchNorm2d if rank == 2 else nn.BatchNorm3d

    def init(self: Any, num_features: int, eps: float = 1e-5, momentum: float = 0.1, device: Any = None, dtype: Any = None) -> None:
        base.__init__(self, num_features, eps, momentum)
        self.register_buffer("scale", flambeau.tensor(1.0))
        self.register_buffer("zero_point", flambeau.tensor(0))

    def forward(self: Any, input: Tensor) -> Tensor:
        def run(x: Tensor) -> Tensor:
            result = nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
            return nn.functional.relu(result) if relu else result

        return F.on_grid(run, input, self.scale, self.zero_point)

    def from_float(cls: Any, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        scale, zero_point = parameters_of(mod)
        inner = mod[0] if relu else mod
        made = cls(inner.num_features, inner.eps)
        made.weight, made.bias, made.running_mean, made.running_var = inner.weight, inner.bias, inner.running_mean, inner.running_var
        made.scale, made.zero_point = flambeau.tensor(scale), flambeau.tensor(zero_point)
        return made

    name = f"{'BNReLU' if relu else 'BatchNorm'}{rank}d"
    shown = f"Quantized{name}"
    members = {
        "__init__": init,
        "forward": forward,
        "from_float": classmethod(from_float),
        "_get_name": lambda self: shown,
        "__doc__": f"``nn.BatchNorm{rank}d`` with the means and variances that it has{', and relu' if relu else ''}, on the grid of ``scale`` and ``zero_point``.",
    }
    return type(name, (base,), members)
