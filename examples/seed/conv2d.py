"""`Conv2d`: the shape of its output, the sum that each output is, and what its arguments do."""

from __future__ import annotations

import itertools

import torch


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """⌊(size + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def shape(tensor: torch.Tensor) -> str:
    return "×".join(map(str, tensor.shape))


print("H_out = ⌊(H + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1\n")
images = torch.randn(1, 3, 32, 32)
print("from 1×3×32×32 (N, C_in, H, W):")
for settings in (
    {},
    {"padding": 1},
    {"stride": 2, "padding": 1},
    {"dilation": 2},
    {"stride": (2, 1), "padding": (4, 2), "dilation": (3, 1)},
    {"padding": "valid"},
    {"padding": "same"},
    {"stride": 2, "padding": "same"},  # PyTorch has "same" for stride 1 only; here it is ⌈H / stride⌉
):
    conv = torch.nn.Conv2d(3, 64, 3, **settings)
    written = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    print(f"  Conv2d(3, 64, 3{', ' if written else ''}{written})".ljust(68) + f"→ {shape(conv(images))}")

checked = 0
for kernel, stride, padding, dilation, groups in itertools.product((1, (3, 2), 5), (1, (2, 3)), (0, (1, 2)), (1, 2), (1, 2)):
    conv = torch.nn.Conv2d(4, 6, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)
    settings = conv.kernel_size, conv.stride, conv.padding, conv.dilation
    expected = tuple(output_size(size, *(setting[axis] for setting in settings)) for axis, size in enumerate((17, 14)))
    assert conv(torch.randn(3, 4, 17, 14)).shape == (3, 6, *expected)  # (N, C, H, W)
    assert conv(torch.randn(4, 17, 14)).shape == (6, *expected)  # (C, H, W)
    assert conv.weight.shape == (6, 4 // groups, *conv.kernel_size) and conv.bias.shape == (6,)
    checked += 1
print(f"{checked} more combinations follow the formula, batched and unbatched\n")

# bias(c_out) + Σ_k weight(c_out, k) ⋆ input(k), one output at a time.
conv = torch.nn.Conv2d(2, 3, 3, 1, 1)  # the first five arguments: in_channels, out_channels, kernel_size, stride, padding
image = torch.randn(1, 2, 5, 5)
padded = torch.nn.functional.pad(image, (1, 1, 1, 1))
by_hand = torch.stack(
    [(padded[0, :, y : y + 3, x : x + 3] * conv.weight).sum((1, 2, 3)) + conv.bias for y in range(5) for x in range(5)], dim=1
).reshape(1, 3, 5, 5)
torch.testing.assert_close(conv(image), by_hand)
print("out[n, c_out] = bias[c_out] + Σ_k weight[c_out, k] ⋆ input[n, k]:")
print(
    f"  by hand {by_hand[0, 0, 0, 0].item():+.6f}, Conv2d {conv(image)[0, 0, 0, 0].item():+.6f}, and so for all {by_hand.numel()} outputs\n"
)

row = torch.arange(1.0, 6.0).reshape(1, 1, 1, 5)
print("padding_mode: what padding=(0, 2) adds on both sides of 1 2 3 4 5")
for mode in ("zeros", "reflect", "replicate", "circular"):
    look = torch.nn.Conv2d(1, 1, 1, padding=(0, 2), padding_mode=mode, bias=False)
    torch.nn.init.ones_(look.weight)
    print(f"  {mode:10}" + " ".join(f"{number:g}" for number in look(row).flatten().tolist()))

print("\ngroups: the channels that a filter sees")
for groups in (1, 2, 4):
    grouped = torch.nn.Conv2d(4, 8, 3, groups=groups)
    kind = "every filter sees all channels" if groups == 1 else "depthwise: a channel each" if groups == 4 else "two halves side by side"
    print(f"  Conv2d(4, 8, 3, groups={groups}): weight {shape(grouped.weight)} ({kind})")
    parts = zip(torch.ones(1, 4, 5, 5).chunk(groups, 1), grouped.weight.chunk(groups), grouped.bias.chunk(groups), strict=True)
    beside = torch.cat([torch.nn.functional.conv2d(*part) for part in parts], 1)
    torch.testing.assert_close(grouped(torch.ones(1, 4, 5, 5)), beside)

wave = torch.nn.Conv2d(1, 2, 3, dtype=torch.complex64)(torch.ones(1, 1, 4, 4, dtype=torch.complex64))
print(f"\ndtypes: float32 by default, complex too: {wave.dtype} {shape(wave)}")

print("\nand where the shapes do not fit:")
network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Conv2d(8, 16, 5)))
for wrong in (torch.randn(1, 4, 32, 32), torch.randn(1, 3, 6, 6)):
    try:
        network(wrong)
    except RuntimeError as error:
        print(f"  {shape(wrong)}: {error}")
