"""The output shape of `Conv2d`, and the sum that each of its outputs is."""

from __future__ import annotations

import itertools

import torch


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """⌊(size + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


checked = 0
for kernel, stride, padding, dilation, groups in itertools.product((1, (3, 2), 5), (1, (2, 3)), (0, (1, 2)), (1, 2), (1, 2)):
    conv = torch.nn.Conv2d(4, 6, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)
    settings = conv.kernel_size, conv.stride, conv.padding, conv.dilation
    expected = tuple(output_size(size, *(setting[axis] for setting in settings)) for axis, size in enumerate((17, 14)))
    assert conv(torch.randn(3, 4, 17, 14)).shape == (3, 6, *expected)  # (N, C, H, W)
    assert conv(torch.randn(4, 17, 14)).shape == (6, *expected)  # (C, H, W)
    assert conv.weight.shape == (6, 4 // groups, *conv.kernel_size) and conv.bias.shape == (6,)
    checked += 1
print(f"{checked} output shapes follow the formula")

# bias(c_out) + Σ_k weight(c_out, k) ⋆ input(k), one output at a time.
conv = torch.nn.Conv2d(2, 3, 3, 1, 1)
image = torch.randn(1, 2, 5, 5)
padded = torch.nn.functional.pad(image, (1, 1, 1, 1))
by_hand = torch.stack(
    [(padded[0, :, y : y + 3, x : x + 3] * conv.weight).sum((1, 2, 3)) + conv.bias for y in range(5) for x in range(5)], dim=1
).reshape(1, 3, 5, 5)
torch.testing.assert_close(conv(image), by_hand)
print("the values are the sum over channels and windows, plus the bias")

assert torch.nn.Conv2d(2, 3, 5, padding="same")(image).shape == (1, 3, 5, 5)
assert torch.nn.Conv2d(2, 3, 5, padding="valid")(image).shape == (1, 3, 1, 1)
try:
    torch.nn.Conv2d(2, 3, 5, stride=2, padding="same")
except ValueError as error:
    print(f"padding='same' needs stride 1: {error}")

depthwise = torch.nn.Conv2d(2, 2 * 3, 3, groups=2)
assert depthwise.weight.shape == (6, 1, 3, 3)
print("groups = in_channels makes a depthwise convolution")
