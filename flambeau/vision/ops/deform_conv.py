"""Convolutions whose taps lie where a network says (Dai et al. 2017, "Deformable Convolutional Networks"; Zhu et al. 2019 with masks)."""

from __future__ import annotations

import math

import flambeau
from flambeau import Tensor, nn
from flambeau.nn.modules.utils import _pair

__all__ = ["DeformConv2d", "deform_conv2d"]


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = (1, 1),
    padding: int | tuple[int, int] = (0, 0),
    dilation: int | tuple[int, int] = (1, 1),
    mask: Tensor | None = None,
) -> Tensor:
    """A convolution that takes its samples at places of their own: those of the kernel's grid, moved by ``offset``, between pixels bilinearly.

    Args:
        input: (N, C, H, W); 0 outside.
        offset: (N, 2 * G * KH * KW, OH, OW): for each of G groups of channels and each tap the way down, then the way to the right, in pixels.
        weight: (O, C / groups, KH, KW).
        bias: (O,).
        stride, padding, dilation: of the grid, as for ``conv2d``.
        mask: (N, G * KH * KW, OH, OW): what each sample is multiplied by.

    Returns:
        (N, O, OH, OW); differentiable with respect to all tensors.

    Raises:
        RuntimeError: the shapes do not fit.

    Example:
        >>> x = flambeau.arange(9.0).reshape(1, 1, 3, 3)
        >>> deform_conv2d(x, flambeau.full((1, 2, 3, 3), 0.5), flambeau.ones(1, 1, 1, 1))[0, 0, 0]
        tensor([2.0000, 3.0000, 1.7500])
    """
    (down, right), (above, left), (steps_down, steps_right) = _pair(stride), _pair(padding), _pair(dilation)
    outputs, inner, kernel_height, kernel_width = weight.shape
    batch, channels, height, width = input.shape
    taps = kernel_height * kernel_width
    rows = (height + 2 * above - steps_down * (kernel_height - 1) - 1) // down + 1
    columns = (width + 2 * left - steps_right * (kernel_width - 1) - 1) // right + 1
    parts = offset.shape[1] // (2 * taps)
    if offset.shape != (batch, 2 * parts * taps, rows, columns) or not parts or channels % parts:
        raise RuntimeError(
            f"offset should have shape ({batch}, 2 * G * {taps}, {rows}, {columns}) with a G that divides {channels}, but got {tuple(offset.shape)}"
        )
    if channels % inner or outputs % (channels // inner):
        raise RuntimeError(f"a weight of shape {tuple(weight.shape)} does not fit an input of {channels} channels")
    if mask is not None and mask.shape != (batch, parts * taps, rows, columns):
        raise RuntimeError(f"mask should have shape ({batch}, {parts * taps}, {rows}, {columns}), but got {tuple(mask.shape)}")
    moved = offset.reshape(batch, parts, kernel_height, kernel_width, 2, rows, columns)
    y = moved[..., 0, :, :] + _grid(rows, down, above, kernel_height, steps_down, input.dtype)[:, None, :, None]
    x = moved[..., 1, :, :] + _grid(columns, right, left, kernel_width, steps_right, input.dtype)[:, None, :]
    samples = _between(input.reshape(batch, parts, channels // parts, height * width), y, x, height, width)
    if mask is not None:
        samples = samples * mask.reshape(batch, parts, 1, taps, rows * columns)
    groups = channels // inner
    samples = samples.reshape(batch, groups, inner * taps, rows * columns)
    result = weight.reshape(1, groups, outputs // groups, inner * taps) @ samples
    result = result.reshape(batch, outputs, rows, columns)
    return result if bias is None else result + bias.reshape(1, -1, 1, 1)


def _grid(count: int, stride: int, padding: int, kernel: int, dilation: int, dtype: flambeau.dtype) -> Tensor:
    """Where the taps (kernel, count) of a convolution lie along one dimension."""
    starts = flambeau.arange(count, dtype=dtype) * stride - padding
    return flambeau.arange(kernel, dtype=dtype)[:, None] * dilation + starts


def _between(images: Tensor, y: Tensor, x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear samples (N, G, C, taps, places) of images (N, G, C, H * W) at (N, G, KH, KW, OH, OW); pixels outside are 0."""
    batch, parts, channels = images.shape[:3]
    taps, places = math.prod(y.shape[2:4]), math.prod(y.shape[2:])
    top, left = y.floor(), x.floor()
    result = None
    for row, row_weight in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, column_weight in ((left, 1 - (x - left)), (left + 1, x - left)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            place = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long().reshape(batch, parts, 1, places)
            found = images.gather(3, place.expand(-1, -1, channels, -1))
            part = found * (row_weight * column_weight * inside).reshape(batch, parts, 1, places)
            result = part if result is None else result + part
    assert result is not None
    return result.reshape(batch, parts, channels, taps, places // taps)


class DeformConv2d(nn.Module):
    """:func:`deform_conv2d` with weights of its own; called with the input, the offsets and, if there are any, the masks."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"groups must divide the channels, but got {groups} for {in_channels} and {out_channels}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.padding, self.dilation = map(_pair, (kernel_size, stride, padding, dilation))
        self.weight = nn.Parameter(flambeau.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.bias = nn.Parameter(flambeau.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases as ``Conv2d`` does."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:
        return deform_conv2d(input, offset, self.weight, self.bias, self.stride, self.padding, self.dilation, mask)

    def extra_repr(self) -> str:
        more = [f"padding={self.padding}"] * (self.padding != (0, 0)) + [f"dilation={self.dilation}"] * (self.dilation != (1, 1))
        more += [f"groups={self.groups}"] * (self.groups != 1) + ["bias=False"] * (self.bias is None)
        return ", ".join([str(self.in_channels), str(self.out_channels), f"kernel_size={self.kernel_size}", f"stride={self.stride}", *more])
