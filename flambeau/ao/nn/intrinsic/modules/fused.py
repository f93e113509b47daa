"""Layers that belong together, one after the other: what ``fuse_modules`` makes, and ``convert`` turns into one."""

from __future__ import annotations

from typing import Any

from flambeau import Tensor, nn

__all__ = [
    "BNReLU2d", "BNReLU3d", "ConvAdd2d", "ConvAddReLU2d", "ConvBn1d", "ConvBn2d", "ConvBn3d", "ConvBnReLU1d", "ConvBnReLU2d", "ConvBnReLU3d", "ConvReLU1d",
    "ConvReLU2d", "ConvReLU3d", "LinearBn1d", "LinearLeakyReLU", "LinearReLU", "LinearTanh",
]  # fmt: skip


class _FusedModule(nn.Sequential):
    """Layers one after the other that are observed as one."""


def _fused(name: str, **layers: type | tuple[type, ...]) -> type:
    """A class whose instances are made of layers of these classes."""

    def init(self: nn.Sequential, *given: nn.Module, **named: nn.Module) -> None:
        found = dict(zip(layers, given)) | named
        if list(found) != list(layers):
            raise TypeError(f"{name} is made of {', '.join(layers)}, got {', '.join(found) or 'nothing'}")
        for layer, (place, cls) in zip(found.values(), layers.items()):
            if not isinstance(layer, cls):
                raise TypeError(f"{name}: {place} must be of {cls}, got {type(layer).__name__}")
        _FusedModule.__init__(self, *found.values())

    described = " and ".join(layers)
    return type(
        name, (_FusedModule,), {"__init__": init, "__module__": __name__, "__doc__": f"{described.capitalize()}, one after the other."}
    )


ConvReLU1d = _fused("ConvReLU1d", conv=nn.Conv1d, relu=nn.ReLU)
ConvReLU2d = _fused("ConvReLU2d", conv=nn.Conv2d, relu=nn.ReLU)
ConvReLU3d = _fused("ConvReLU3d", conv=nn.Conv3d, relu=nn.ReLU)
LinearReLU = _fused("LinearReLU", linear=nn.Linear, relu=nn.ReLU)
ConvBn1d = _fused("ConvBn1d", conv=nn.Conv1d, bn=nn.BatchNorm1d)
ConvBn2d = _fused("ConvBn2d", conv=nn.Conv2d, bn=nn.BatchNorm2d)
ConvBn3d = _fused("ConvBn3d", conv=nn.Conv3d, bn=nn.BatchNorm3d)
ConvBnReLU1d = _fused("ConvBnReLU1d", conv=nn.Conv1d, bn=nn.BatchNorm1d, relu=nn.ReLU)
ConvBnReLU2d = _fused("ConvBnReLU2d", conv=nn.Conv2d, bn=nn.BatchNorm2d, relu=nn.ReLU)
ConvBnReLU3d = _fused("ConvBnReLU3d", conv=nn.Conv3d, bn=nn.BatchNorm3d, relu=nn.ReLU)
BNReLU2d = _fused("BNReLU2d", batch_norm=nn.BatchNorm2d, relu=nn.ReLU)
BNReLU3d = _fused("BNReLU3d", batch_norm=nn.BatchNorm3d, relu=nn.ReLU)
LinearBn1d = _fused("LinearBn1d", linear=nn.Linear, bn=nn.BatchNorm1d)
LinearLeakyReLU = _fused("LinearLeakyReLU", linear=nn.Linear, leaky_relu=nn.LeakyReLU)
LinearTanh = _fused("LinearTanh", linear=nn.Linear, tanh=nn.Tanh)


class ConvAdd2d(_FusedModule):
    """A convolution, to which something is added: ``module(x, other)``."""

    def __init__(self, conv: nn.Module, add: Any) -> None:
        super().__init__(conv)
        self.add = add

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return self.add(self[0](x1), x2)


class ConvAddReLU2d(_FusedModule):
    """A convolution, to which something is added, and ``relu``: ``module(x, other)``."""

    def __init__(self, conv: nn.Module, add: Any, relu: Any) -> None:
        super().__init__(conv)
        self.add = add
        self.relu = relu

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return self.relu(self.add(self[0](x1), x2))
