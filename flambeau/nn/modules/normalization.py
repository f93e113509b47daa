"""Layer, group, root-mean-square and local response normalisation layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau._types.errors import ZeroGroupsError
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.functional._common import integer
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter

__all__ = ["CrossMapLRN2d", "GroupNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"]


def _sizes(normalized_shape: Any) -> tuple[int, ...]:
    sizes = normalized_shape if isinstance(normalized_shape, Iterable) else (normalized_shape,)
    return tuple(integer(size, "normalized_shape") for size in sizes)


class _Affine(Module):
    """A weight that begins at 1 and a bias that begins at 0."""

    def _register_affine(self, shape: Any, weight: bool, bias: bool, device: Any, dtype: Any) -> None:
        for name, wanted in (("weight", weight), ("bias", weight and bias)):
            parameter = Parameter(flambeau.empty(shape, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, parameter)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the weight to 1 and the bias to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class GroupNorm(_Affine):
    """Normalises each group of channels of each sample on its own (Wu and He 2018, arXiv:1803.08494).

    (x - mean) / √(var + eps) · weight + bias, where mean and var (that of the population) are those of the C / num_groups channels of a group, in training and evaluation alike.

    Args:
        num_groups: into how many groups the channels are split.
        num_channels: C.
        eps: added to the variance.
        affine: whether there are weight and bias, one number for each channel.
        device: where the parameters lie.
        dtype: their dtype.
        bias: whether there is a bias.

    Shape:
        (N, C, ...) to the same.

    Raises:
        ValueError: C is not divisible by ``num_groups``.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise (ZeroGroupsError if num_groups == 0 else ValueError)(
                f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self._register_affine(num_channels, affine, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, bias={self.bias is not None}"


class LayerNorm(_Affine):
    """Normalises over the last dimensions: (x - mean) / √(var + eps) · weight + bias (Ba et al. 2016, arXiv:1607.06450).

    Args:
        normalized_shape: the sizes of these dimensions, an int or a tuple.
        eps: added to the variance.
        elementwise_affine: whether there are weight and bias, of shape ``normalized_shape``.
        bias: whether there is a bias.
        device: where the parameters lie.
        dtype: their dtype.

    Shape:
        (..., *normalized_shape) to the same.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _sizes(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._register_affine(self.normalized_shape, elementwise_affine, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"


class RMSNorm(Module):
    """Divides by the root of the mean square over the last dimensions: x / √(mean(x²) + eps) · weight (arXiv:1910.07467).

    Args:
        normalized_shape: the sizes of these dimensions, an int or a tuple.
        eps: added to the mean square; the dtype's machine epsilon if left out.
        elementwise_affine: whether there is a weight, of shape ``normalized_shape``.
        device: where it lies.
        dtype: its dtype.

    Shape:
        (..., *normalized_shape) to the same.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _sizes(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        weight = Parameter(flambeau.empty(self.normalized_shape, device=device, dtype=dtype)) if elementwise_affine else None
        self.register_parameter("weight", weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the weight to 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class LocalResponseNorm(Module):
    """Divides by (k + ``alpha`` mean(x²))^``beta``, the mean being over ``size`` neighbouring channels (Krizhevsky et al. 2012).

    Shape:
        (N, C, ...) to the same.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(LocalResponseNorm):
    """``LocalResponseNorm`` of images; PyTorch's older name.

    Shape:
        (N, C, H, W) to the same.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__(size, alpha, beta, k)
