"""`GroupNorm` by its formula: (x − E[x]) / √(Var[x] + ε) · γ + β, over each group of channels of each sample."""

from __future__ import annotations

import torch

images = torch.randn(4, 6, 5, 5) * 3 + 1
for num_groups in (1, 2, 3, 6):
    norm = torch.nn.GroupNorm(num_groups, 6)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    groups = images.reshape(4, num_groups, -1)
    mean = groups.mean(-1, keepdim=True)
    variance = groups.var(-1, unbiased=False, keepdim=True)
    normalised = ((groups - mean) / torch.sqrt(variance + 1e-5)).reshape(images.shape)
    expected = normalised * norm.weight.reshape(1, 6, 1, 1) + norm.bias.reshape(1, 6, 1, 1)
    torch.testing.assert_close(norm(images), expected)
    print(f"{num_groups} groups of {6 // num_groups}: as the formula says")

try:
    torch.nn.GroupNorm(4, 6)
except ValueError as error:
    print(f"num_channels must be divisible by num_groups: {error}")
