"""The output shape of `ConvTranspose2d`, and why it is called transposed."""

from __future__ import annotations

import itertools

import torch


def output_size(size: int, kernel: int, stride: int, padding: int, output_padding: int, dilation: int) -> int:
    """(size − 1)·stride − 2·padding + dilation·(kernel − 1) + output_padding + 1."""
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1


checked = 0
for kernel, stride, padding, output_padding, dilation, groups in itertools.product(
    ((3, 2), 4), (2, (3, 2)), (0, (2, 1)), (0, 1), (1, 2), (1, 2)
):
    conv = torch.nn.ConvTranspose2d(
        4, 6, kernel, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation, groups=groups
    )
    settings = conv.kernel_size, conv.stride, conv.padding, conv.output_padding, conv.dilation
    expected = tuple(output_size(size, *(setting[axis] for setting in settings)) for axis, size in enumerate((5, 7)))
    assert conv(torch.randn(3, 4, 5, 7)).shape == (3, 6, *expected)
    assert conv(torch.randn(4, 5, 7)).shape == (6, *expected)
    checked += 1
print(f"{checked} output shapes follow the formula")

# After a convolution with the same settings, the transposed one leads back to the first shape …
down = torch.nn.Conv2d(4, 6, 3, stride=2, padding=1)
up = torch.nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1)
images = torch.randn(2, 4, 16, 16)
assert up(down(images)).shape == images.shape
print("down by Conv2d and up by ConvTranspose2d: the shape of the input again")

# … and it is the gradient of that convolution with respect to its input.
images.requires_grad_()
convolved = torch.nn.functional.conv2d(images, down.weight, stride=2, padding=1)
ahead = torch.randn(convolved.shape)
(gradient,) = torch.autograd.grad(convolved, images, ahead)
transposed = torch.nn.functional.conv_transpose2d(ahead, down.weight, stride=2, padding=1, output_padding=1)
torch.testing.assert_close(transposed, gradient)
print("conv_transpose2d is the gradient of conv2d with respect to its input")
