"""Padding layers."""

from __future__ import annotations

from typing import Any

from flambeau._tensor.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.utils import _ntuple

__all__ = [f"{kind}Pad{n}d" for kind in ("Circular", "Constant", "Reflection", "Replication", "Zero") for n in (1, 2, 3)]


class _PadNd(Module):
    """Padding by ``mode`` of the last ``spatial_dims`` dimensions; one int counts for every side."""

    mode: str
    spatial_dims: int

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = _ntuple(2 * self.spatial_dims)(padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _CircularPadNd(_PadNd):
    mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        n = self.spatial_dims
        if input.dim() not in (n + 1, n + 2):
            raise ValueError(f"expected {n + 1}D or {n + 2}D input (got {input.dim()}D input)")
        return super().forward(input)


class CircularPad1d(_CircularPadNd):
    """Continues (N, C, L) or (C, L) periodically by ``padding``: an int or (left, right)."""

    spatial_dims = 1


class CircularPad2d(_CircularPadNd):
    """Continues (N, C, H, W) or (C, H, W) periodically by ``padding``: an int or (left, right, top, bottom)."""

    spatial_dims = 2


class CircularPad3d(_CircularPadNd):
    """Continues (N, C, D, H, W) periodically by ``padding``: an int or (left, right, top, bottom, front, back)."""

    spatial_dims = 3


class _ConstantPadNd(_PadNd):
    mode = "constant"

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """Adds ``value`` on the sides of the last dimension; ``padding`` is an int or (left, right)."""

    spatial_dims = 1


class ConstantPad2d(_ConstantPadNd):
    """Adds ``value`` on the sides of the last two dimensions; ``padding`` is an int or (left, right, top, bottom)."""

    spatial_dims = 2


class ConstantPad3d(_ConstantPadNd):
    """Adds ``value`` on the sides of the last three dimensions; ``padding`` is an int or six ints, the last dimension's first."""

    spatial_dims = 3


class _ReflectionPadNd(_PadNd):
    mode = "reflect"


class ReflectionPad1d(_ReflectionPadNd):
    """Mirrors (N, C, L) or (C, L) at its ends, which are not repeated; ``padding`` is an int or (left, right)."""

    spatial_dims = 1


class ReflectionPad2d(_ReflectionPadNd):
    """Mirrors (N, C, H, W) at its edges, which are not repeated; ``padding`` is an int or (left, right, top, bottom)."""

    spatial_dims = 2


class ReflectionPad3d(_ReflectionPadNd):
    """Mirrors (N, C, D, H, W) at its faces, which are not repeated; ``padding`` is an int or six ints."""

    spatial_dims = 3


class _ReplicationPadNd(_PadNd):
    mode = "replicate"


class ReplicationPad1d(_ReplicationPadNd):
    """Repeats the ends of (N, C, L) or (C, L); ``padding`` is an int or (left, right)."""

    spatial_dims = 1


class ReplicationPad2d(_ReplicationPadNd):
    """Repeats the edges of (N, C, H, W) or (C, H, W); ``padding`` is an int or (left, right, top, bottom)."""

    spatial_dims = 2


class ReplicationPad3d(_ReplicationPadNd):
    """Repeats the faces of (N, C, D, H, W) or (C, D, H, W); ``padding`` is an int or six ints."""

    spatial_dims = 3


class ZeroPad1d(ConstantPad1d):
    """Adds zeros on the sides of the last dimension; ``padding`` is an int or (left, right)."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad2d(ConstantPad2d):
    """Adds zeros on the sides of the last two dimensions; ``padding`` is an int or (left, right, top, bottom)."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad3d(ConstantPad3d):
    """Adds zeros on the sides of the last three dimensions; ``padding`` is an int or six ints."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"
