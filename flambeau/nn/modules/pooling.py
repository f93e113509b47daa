"""Pooling layers: one for any number of dimensions, and what 1, 2 and 3 of them are called."""

from __future__ import annotations

from typing import Any

from flambeau._tensor.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.utils import _ntuple

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]


class _MaxPoolNd(Module):
    spatial_dims: int

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        return (F.max_pool1d, F.max_pool2d, F.max_pool3d)[self.spatial_dims - 1](
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPoolNd):
    """The maximum of every window of (N, C, L) or (C, L); see :class:`MaxPool2d`."""

    spatial_dims = 1


class MaxPool2d(_MaxPoolNd):
    """The maximum of every window of an image.

    Args:
        kernel_size: the size of the window, an int or a pair.
        stride: the step of the window; ``kernel_size`` if left out.
        padding: what is added on each side, as -∞; at most half the window.
        dilation: the distance between the window's elements.
        return_indices: whether the positions of the maxima are returned too; :class:`MaxUnpool2d` takes them.
        ceil_mode: whether the output size is rounded up.

    Shape:
        (N, C, H, W) or (C, H, W) to (N, C, H_out, W_out), with
        H_out = ⌊(H + 2 padding - dilation (kernel - 1) - 1) / stride⌋ + 1.

    Example:
        >>> flambeau.nn.MaxPool2d(3, stride=2)(flambeau.zeros(20, 16, 50, 32)).shape
        torch.Size([20, 16, 24, 15])
    """

    spatial_dims = 2


class MaxPool3d(_MaxPoolNd):
    """The maximum of every window of (N, C, D, H, W) or (C, D, H, W); see :class:`MaxPool2d`."""

    spatial_dims = 3


class _MaxUnpoolNd(Module):
    spatial_dims: int

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        ntuple = _ntuple(self.spatial_dims)
        self.kernel_size = ntuple(kernel_size)
        self.stride = ntuple(stride if stride is not None else kernel_size)
        self.padding = ntuple(padding)

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        unpool = (F.max_unpool1d, F.max_unpool2d, F.max_unpool3d)[self.spatial_dims - 1]
        return unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpoolNd):
    """Puts the maxima of a :class:`MaxPool1d` back where they came from; see :class:`MaxUnpool2d`."""

    spatial_dims = 1


class MaxUnpool2d(_MaxUnpoolNd):
    """Puts the maxima of a :class:`MaxPool2d` back where they came from, with zeros elsewhere.

    It is called with the maxima, their positions, and, where the pooling's arguments leave a choice, the size that was pooled.

    Args:
        kernel_size: the pooling's window.
        stride: the pooling's step.
        padding: the pooling's padding.
    """

    spatial_dims = 2


class MaxUnpool3d(_MaxUnpoolNd):
    """Puts the maxima of a :class:`MaxPool3d` back where they came from; see :class:`MaxUnpool2d`."""

    spatial_dims = 3


class AvgPool1d(Module):
    """The mean of every window of (N, C, L) or (C, L); see :class:`AvgPool2d`."""

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True
    ) -> None:
        super().__init__()
        single = _ntuple(1)
        self.kernel_size = single(kernel_size)
        self.stride = single(stride if stride is not None else kernel_size)
        self.padding = single(padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPoolNd(Module):
    spatial_dims: int

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        settings = (self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        if self.spatial_dims == 1:
            return F.avg_pool1d(input, *settings)
        return (F.avg_pool2d, F.avg_pool3d)[self.spatial_dims - 2](input, *settings, self.divisor_override)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPoolNd):
    """The mean of every window of an image.

    Args:
        kernel_size: the size of the window, an int or a pair.
        stride: the step of the window; ``kernel_size`` if left out.
        padding: zeros added on each side; at most half the window.
        ceil_mode: whether the output size is rounded up.
        count_include_pad: whether the padding counts in the mean.
        divisor_override: by what the sum is divided instead of the number of elements.

    Shape:
        (N, C, H, W) or (C, H, W) to (N, C, H_out, W_out), with H_out = ⌊(H + 2 padding - kernel) / stride⌋ + 1.
    """

    spatial_dims = 2


class AvgPool3d(_AvgPoolNd):
    """The mean of every window of (N, C, D, H, W) or (C, D, H, W); see :class:`AvgPool2d`."""

    spatial_dims = 3


class _LPPoolNd(Module):
    spatial_dims: int

    def __init__(self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        pool = (F.lp_pool1d, F.lp_pool2d, F.lp_pool3d)[self.spatial_dims - 1]
        return pool(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, ceil_mode={self.ceil_mode}"


class LPPool1d(_LPPoolNd):
    """(Σ x^p)^(1/p) over every window of (N, C, L), p being ``norm_type``; p = ∞ is the maximum."""

    spatial_dims = 1


class LPPool2d(_LPPoolNd):
    """(Σ x^p)^(1/p) over every window of (N, C, H, W), p being ``norm_type``; p = ∞ is the maximum."""

    spatial_dims = 2


class LPPool3d(_LPPoolNd):
    """(Σ x^p)^(1/p) over every window of (N, C, D, H, W), p being ``norm_type``; p = ∞ is the maximum."""

    spatial_dims = 3


class _AdaptiveAvgPoolNd(Module):
    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """The means of windows so chosen that the output (N, C, L_out) has ``output_size``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """The means of windows so chosen that the output has ``output_size``, an int or a pair; ``None`` keeps the input's size.

    Shape:
        (N, C, H, W) or (C, H, W) to (N, C, H_out, W_out).

    Example:
        >>> flambeau.nn.AdaptiveAvgPool2d((None, 7))(flambeau.zeros(1, 64, 10, 9)).shape
        torch.Size([1, 64, 10, 7])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """The means of windows so chosen that the output (N, C, D_out, H_out, W_out) has ``output_size``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool3d(input, self.output_size)


class _AdaptiveMaxPoolNd(Module):
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """The maxima of windows so chosen that the output (N, C, L_out) has ``output_size``."""

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """The maxima of windows so chosen that the output has ``output_size``, an int or a pair; ``None`` keeps the input's size."""

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """The maxima of windows so chosen that the output (N, C, D_out, H_out, W_out) has ``output_size``."""

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool3d(input, self.output_size, self.return_indices)


class _FractionalMaxPoolNd(Module):
    spatial_dims: int

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        name, n = type(self).__name__, self.spatial_dims
        if output_size is None and output_ratio is None:
            raise ValueError(f"{name} requires specifying either an output size, or a pooling ratio")
        if output_size is not None and output_ratio is not None:
            raise ValueError(f"only one of output_size and output_ratio may be specified, got {output_size} and {output_ratio}")
        ntuple = _ntuple(n)
        self.kernel_size = ntuple(kernel_size)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else ntuple(output_size)
        self.output_ratio = None if output_ratio is None else ntuple(output_ratio)
        if self.output_ratio is not None and not all(0 < ratio < 1 for ratio in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """The maxima of randomly placed windows, so many that the output has the size wanted (Graham 2014, arXiv:1412.6071).

    Args:
        kernel_size: the size of the window, an int or a pair.
        output_size: the size of the output.
        output_ratio: or its ratio to the input's size, between 0 and 1.
        return_indices: whether the positions of the maxima are returned too.
    """

    spatial_dims = 2

    def forward(self, input: Tensor) -> Any:
        return F.fractional_max_pool2d(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples
        )


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """The maxima of randomly placed windows of a volume; see :class:`FractionalMaxPool2d`."""

    spatial_dims = 3

    def forward(self, input: Tensor) -> Any:
        return F.fractional_max_pool3d(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples
        )
