"""Convolution layers: one layer for any number of dimensions, and what 1, 2 and 3 of them are called."""

from __future__ import annotations

import math
from typing import Any

import flambeau
from flambeau._ops.conv_shapes import padding_sides, transposed_sizes
from flambeau._tensor.tensor import Tensor
from flambeau.nn import init
from flambeau.nn.functional._common import integer
from flambeau.nn.functional._convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    convolve_padded,
    convolve_transposed,
)
from flambeau.nn.modules.lazy import LazyModuleMixin
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.utils import _ntuple
from flambeau.nn.parameter import Parameter, UninitializedParameter

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
_FORWARD = {1: conv1d, 2: conv2d, 3: conv3d}
_TRANSPOSED = {1: conv_transpose1d, 2: conv_transpose2d, 3: conv_transpose3d}


class _ConvNd(Module):
    """What all convolutions share: their sizes, their parameters, and how these are drawn."""

    spatial_dims: int
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        in_channels, out_channels = integer(in_channels, "in_channels"), integer(out_channels, "out_channels")
        groups = integer(groups, "groups")
        self._check(in_channels, out_channels, padding, groups, padding_mode)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = self._sizes(kernel_size, "kernel_size")
        self.stride = self._sizes(stride, "stride")
        self.padding = padding if isinstance(padding, str) else self._sizes(padding, "padding")
        self.dilation = self._sizes(dilation, "dilation")
        self.output_padding = self._sizes(output_padding, "output_padding")
        self.groups = groups
        self.padding_mode = padding_mode
        self._reversed_padding_repeated_twice = self._explicit_padding()
        ends = (in_channels, out_channels // groups) if self.transposed else (out_channels, in_channels // groups)
        self.weight = Parameter(flambeau.empty((*ends, *self.kernel_size), device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(flambeau.empty(out_channels, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def _sizes(self, value: Any, name: str) -> tuple[int, ...]:
        """A tuple of ints, whose number is checked when an input comes."""
        return tuple(integer(each, name) for each in _ntuple(self.spatial_dims)(value))

    @staticmethod
    def _check(in_channels: int, out_channels: int, padding: Any, groups: int, padding_mode: str) -> None:
        if groups <= 0:
            raise ValueError(f"groups (={groups}) must be a positive integer")
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{name} (={channels}) must be divisible by groups (={groups})")
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f"Invalid padding string {padding!r}, should be one of 'same', 'valid'")
        if padding_mode not in _PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {_PADDING_MODES}, but got padding_mode={padding_mode!r}")

    def _explicit_padding(self) -> tuple[int, ...] | None:
        """The padding as an argument of ``F.pad``: (before, behind) for the last dimension first; ``None`` if it depends on the input's size."""
        if self.padding == "same" and any(step != 1 for step in self.stride):
            return None
        sides = padding_sides((1,) * self.spatial_dims, self.kernel_size, self.stride, self.padding, self.dilation)
        return tuple(amount for side in reversed(sides) for amount in side)

    def reset_parameters(self) -> None:
        """Draws weight and bias anew."""
        # The slope √5 makes kaiming_uniform_'s bound 1/√fan_in.
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        for name, plain in (("padding", 0), ("dilation", 1), ("output_padding", 0)):
            value = getattr(self, name)
            if value != (plain,) * len(value):
                text += f", {name}={value}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _Conv(_ConvNd):
    """A convolution in ``spatial_dims`` dimensions."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode, device, dtype)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        sizes = self.stride, self.padding, self.dilation
        if input.__class__ is not Tensor and self.padding_mode == "zeros":  # a subclass may want to know which function is called
            return _FORWARD[self.spatial_dims](input, weight, bias, *sizes, self.groups)
        return convolve_padded(self.spatial_dims, input, weight, bias, *sizes, self.groups, self.padding_mode)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_Conv):
    """A convolution of signals: (N, C_in, L) to (N, C_out, L_out); see :class:`Conv2d` and :func:`~flambeau.nn.functional.conv1d`."""

    spatial_dims = 1


class Conv2d(_Conv):
    """A convolution of images: out[n, o] = bias[o] + Σ_i weight[o, i] ⋆ input[n, i], ⋆ being the cross-correlation.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        kernel_size: the size of the window, an int or a pair.
        stride: the step of the window.
        padding: what is added on each side; ``"valid"`` adds none; ``"same"`` adds what makes H_out = ⌈H / stride⌉, with any stride:
            max((H_out - 1) stride + dilation (kernel - 1) + 1 - H, 0) in all, the odd one at the end (TensorFlow's SAME).
        dilation: the distance between the window's elements.
        groups: into how many independent groups the channels are split.
        bias: whether there is a bias.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        device: where the parameters lie.
        dtype: the parameters' dtype.

    Attributes:
        weight: (C_out, C_in / groups, kernel_h, kernel_w), drawn from U(-k, k) with k = √(groups / (C_in kernel_h kernel_w)).
        bias: (C_out), drawn likewise.

    Shape:
        (N, C_in, H, W) or (C_in, H, W) to (N, C_out, H_out, W_out) or (C_out, H_out, W_out), with
        H_out = ⌊(H + 2 padding - dilation (kernel - 1) - 1) / stride⌋ + 1.

    Raises:
        ValueError: an argument is not allowed, such as channels that are not divisible by the groups.
        TypeError: a size or a number of channels is no int.

    Example:
        >>> flambeau.nn.Conv2d(16, 33, (3, 5), stride=(2, 1), padding=(4, 2))(flambeau.zeros(1, 16, 50, 100)).shape
        torch.Size([1, 33, 28, 100])
    """

    spatial_dims = 2


class Conv3d(_Conv):
    """A convolution of volumes: (N, C_in, D, H, W) to (N, C_out, D_out, H_out, W_out); see :class:`Conv2d`."""

    spatial_dims = 3


class _ConvTransposeNd(_ConvNd):
    """A transposed convolution in ``spatial_dims`` dimensions."""

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            output_padding,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _output_padding(self, input: Tensor, output_size: Any) -> tuple[int, ...]:
        """The output padding that gives ``output_size``."""
        if output_size is None:
            return self.output_padding
        n = self.spatial_dims
        size = tuple(output_size)
        if input.dim() == n + 2 and len(size) == n + 2:
            size = size[2:]
        elif input.dim() == n + 1 and len(size) == n + 1:
            size = size[1:]
        if len(size) != n:
            raise ValueError(
                f"ConvTranspose{n}D: for {input.dim()}D input, output_size must have {n} or {input.dim()} elements (got {len(size)})"
            )
        given = tuple(input.shape[-n:])
        if self.padding == "same":  # counted from the largest of the sizes, not from the smallest
            plain = [old * step for old, step in zip(given, self.stride)]
            smallest, largest = [full - step + 1 for full, step in zip(plain, self.stride)], plain
        else:
            sides = padding_sides(given, self.kernel_size, self.stride, self.padding, self.dilation)
            plain = smallest = list(transposed_sizes(given, self.kernel_size, self.stride, sides, (0,) * n, self.dilation))
            largest = [low + step - 1 for low, step in zip(smallest, self.stride)]
        if any(not low <= wanted <= high for low, wanted, high in zip(smallest, size, largest)):
            raise ValueError(
                f"requested an output size of {list(size)}, but valid sizes range from {smallest} to {largest} (for an input of "
                f"{list(given)}): these are the sizes that a convolution with the same settings maps to {list(given)}"
            )
        return tuple(wanted - base for wanted, base in zip(size, plain))

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        output_padding = self._output_padding(input, output_size)
        if input.__class__ is not Tensor and self.padding_mode == "zeros":
            function = _TRANSPOSED[self.spatial_dims]
            return function(input, self.weight, self.bias, self.stride, self.padding, output_padding, self.groups, self.dilation)
        return convolve_transposed(
            self.spatial_dims,
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            output_padding,
            self.groups,
            self.dilation,
            self.padding_mode,
        )


class ConvTranspose1d(_ConvTransposeNd):
    """A transposed convolution of signals: (N, C_in, L) to (N, C_out, L_out); see :class:`ConvTranspose2d`."""

    spatial_dims = 1


class ConvTranspose2d(_ConvTransposeNd):
    """A transposed convolution of images: the gradient of :class:`Conv2d` with respect to its input.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        kernel_size: the size of the window, an int or a pair.
        stride: the step between the places to which neighbouring inputs are written.
        padding: how many rows and columns are cut from each side of the result; ``"valid"`` cuts none; ``"same"`` gives
            H_out = H stride + output_padding.
        output_padding: how many are added at the end; it chooses between the sizes that a strided convolution maps to one. With
            ``padding="same"`` it is at most 0.
        groups: into how many independent groups the channels are split.
        bias: whether there is a bias.
        dilation: the distance between the window's elements.
        padding_mode: what the padding of the convolution holds whose adjoint this is: ``"zeros"`` (then it is cut off), ``"reflect"``,
            ``"replicate"`` or ``"circular"`` (then it is folded back onto the elements that it repeats).
        device: where the parameters lie.
        dtype: the parameters' dtype.

    Attributes:
        weight: (C_in, C_out / groups, kernel_h, kernel_w).
        bias: (C_out).

    Shape:
        (N, C_in, H, W) or (C_in, H, W) to (N, C_out, H_out, W_out) or (C_out, H_out, W_out), with
        H_out = (H - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1.

    ``forward(input, output_size)`` chooses the output padding by the size wanted.

    Without their biases, a :class:`Conv2d` and a transposed one with the same weight and arguments are adjoint maps, whatever the stride,
    padding, dilation, groups and padding mode: ⟨conv(x), y⟩ = ⟨x, transposed(y)⟩.

    Example:
        >>> up = flambeau.nn.ConvTranspose2d(8, 3, 4, stride=2, padding="same")
        >>> up(flambeau.zeros(1, 8, 5, 7)).shape
        torch.Size([1, 3, 10, 14])
    """

    spatial_dims = 2


class ConvTranspose3d(_ConvTransposeNd):
    """A transposed convolution of volumes: (N, C_in, D, H, W) to (N, C_out, D_out, H_out, W_out); see :class:`ConvTranspose2d`."""

    spatial_dims = 3


class _LazyConvNd(LazyModuleMixin):
    """Takes ``in_channels`` from the first input."""

    def _leave_open(self, out_channels: int, bias: bool, device: Any, dtype: Any) -> None:
        """Makes the parameters of a layer that was built with 0 channels (for which nothing is drawn) uninitialized ones."""
        if out_channels % self.groups:
            raise ValueError(f"out_channels (={out_channels}) must be divisible by groups (={self.groups})")
        self.out_channels = out_channels
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        if not self.has_uninitialized_params():
            return
        n = self.spatial_dims
        if input.dim() not in (n + 1, n + 2):
            raise RuntimeError(
                f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {type(self).__name__}, but got input of size: "
                f"{tuple(input.shape)}"
            )
        self.in_channels = input.shape[-n - 1]
        if self.in_channels % self.groups:
            raise ValueError(f"in_channels (={self.in_channels}) must be divisible by groups (={self.groups})")
        ends = (self.out_channels, self.in_channels // self.groups)
        if self.transposed:
            ends = (self.in_channels, self.out_channels // self.groups)
        self.weight.materialize((*ends, *self.kernel_size))
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()


class _LazyConv(_LazyConvNd):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode)
        self._leave_open(out_channels, bias, device, dtype)


class _LazyConvTranspose(_LazyConvNd):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(0, 0, kernel_size, stride, padding, output_padding, groups, False, dilation, padding_mode)
        self._leave_open(out_channels, bias, device, dtype)


class LazyConv1d(_LazyConv, Conv1d):
    """A :class:`Conv1d` whose ``in_channels`` is that of its first input."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """A :class:`Conv2d` whose ``in_channels`` is that of its first input."""

    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """A :class:`Conv3d` whose ``in_channels`` is that of its first input."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvTranspose, ConvTranspose1d):
    """A :class:`ConvTranspose1d` whose ``in_channels`` is that of its first input."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, ConvTranspose2d):
    """A :class:`ConvTranspose2d` whose ``in_channels`` is that of its first input."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose, ConvTranspose3d):
    """A :class:`ConvTranspose3d` whose ``in_channels`` is that of its first input."""

    cls_to_become = ConvTranspose3d
