"""Between images and the columns of their windows."""

from __future__ import annotations

from typing import Any

from flambeau._tensor.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module

__all__ = ["Fold", "Unfold"]


class Fold(Module):
    """Adds columns back into the image: where windows overlap their values are summed.

    Args:
        output_size: (H, W).
        kernel_size: the size of the window, an int or a pair.
        dilation: the distance between the window's elements.
        padding: what :class:`Unfold` added on each side.
        stride: the step of the window.

    Shape:
        (N, C · kernel_h · kernel_w, L) to (N, C, H, W).
    """

    def __init__(self, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Unfold(Module):
    """Writes every window of an image as a column.

    Args:
        kernel_size: the size of the window, an int or a pair.
        dilation: the distance between the window's elements.
        padding: zeros added on each side.
        stride: the step of the window.

    Shape:
        (N, C, H, W) to (N, C · kernel_h · kernel_w, L), L being the number of windows.
    """

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
