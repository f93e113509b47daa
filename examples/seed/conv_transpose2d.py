"""`ConvTranspose2d`: the shape of its output, and why it is called transposed."""

from __future__ import annotations

import itertools

import torch


def output_size(size: int, kernel: int, stride: int, padding: int, output_padding: int, dilation: int) -> int:
    """(size − 1)·stride − 2·padding + dilation·(kernel − 1) + output_padding + 1."""
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1


def shape(tensor: torch.Tensor) -> str:
    return "×".join(map(str, tensor.shape))


print("H_out = (H − 1)·stride − 2·padding + dilation·(kernel − 1) + output_padding + 1\n")
features = torch.randn(1, 64, 8, 8)
print("from 1×64×8×8 (N, C_in, H, W):")
for kernel, settings in (
    (3, {}),
    (4, {"stride": 2, "padding": 1}),
    (3, {"stride": 2, "padding": 1}),
    (3, {"stride": 2, "padding": 1, "output_padding": 1}),
    (3, {"stride": 2, "dilation": 2}),
    (3, {"stride": 2, "padding": "same"}),  # which PyTorch does not have: H · stride
):
    conv = torch.nn.ConvTranspose2d(64, 3, kernel, **settings)
    written = ", ".join([str(kernel), *(f"{name}={value!r}" for name, value in settings.items())])
    print(f"  ConvTranspose2d(64, 3, {written})".ljust(68) + f"→ {shape(conv(features))}")

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
print(f"{checked} more combinations follow the formula, batched and unbatched\n")

# It is a convolution of stride 1 over an input with zeros between its rows and columns, and around it.
kernel = torch.arange(1.0, 5.0).reshape(1, 1, 2, 2)
image = torch.tensor([[[[1.0, 10.0], [100.0, 1000.0]]]])
spread = torch.zeros(1, 1, 3, 3)
spread[:, :, ::2, ::2] = image  # stride − 1 = 1 zero between
around = torch.nn.functional.pad(spread, (1, 1, 1, 1))  # dilation·(kernel − 1) − padding = 1 zero around
as_convolution = torch.nn.functional.conv2d(around, kernel.flip(2, 3))
transposed = torch.nn.functional.conv_transpose2d(image, kernel, stride=2)
torch.testing.assert_close(transposed, as_convolution)
print("each input is written, times the kernel, `stride` apart:")
print("  input ", image[0, 0].int().tolist(), "  kernel", kernel[0, 0].int().tolist())
print("  output", transposed[0, 0].int().tolist(), "\n")

# After a convolution with the same settings, the transposed one leads back to the first shape …
print("down by Conv2d(3, stride=2, padding=1), and up again:")
down = torch.nn.Conv2d(4, 6, 3, stride=2, padding=1)
up = torch.nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1)
for size in (15, 16):
    small = down(torch.randn(2, 4, size, size))
    back = up(small, output_size=(size, size))
    assert back.shape[2:] == (size, size)
    print(f"  {size}×{size} → {small.shape[2]}×{small.shape[3]} → {size}×{size}, with output_padding={size - 15}")

# … and it is the gradient of that convolution with respect to its input (not its inverse).
images = torch.randn(2, 4, 16, 16, requires_grad=True)
convolved = torch.nn.functional.conv2d(images, down.weight, stride=2, padding=1)
ahead = torch.randn(convolved.shape)
(gradient,) = torch.autograd.grad(convolved, images, ahead)
transposed = torch.nn.functional.conv_transpose2d(ahead, down.weight, stride=2, padding=1, output_padding=1)
torch.testing.assert_close(transposed, gradient)
print("\nconv_transpose2d is the gradient of conv2d with respect to its input:")
print(f"  ⟨conv(x), y⟩ = {(convolved * ahead).sum().item():.4f} = ⟨x, conv_transpose(y)⟩ = {(images * transposed).sum().item():.4f}")
