"""`GroupNorm` by its formula: (x − E[x]) / √(Var[x] + ε) · γ + β, over each group of channels of each sample."""

from __future__ import annotations

import torch

print("output = (x − E[x]) / √(Var[x] + ε) · γ + β, for each sample and each group of channels\n")
images = torch.randn(4, 6, 5, 5) * 3 + 1
for num_groups in (1, 2, 3, 6):
    norm = torch.nn.GroupNorm(num_groups, 6)
    torch.nn.init.normal_(norm.weight)  # γ
    torch.nn.init.normal_(norm.bias)  # β
    groups = images.reshape(4, num_groups, -1)
    mean = groups.mean(-1, keepdim=True)
    variance = groups.var(-1, unbiased=False, keepdim=True)
    normalised = ((groups - mean) / torch.sqrt(variance + 1e-5)).reshape(images.shape)
    expected = normalised * norm.weight.reshape(1, 6, 1, 1) + norm.bias.reshape(1, 6, 1, 1)
    torch.testing.assert_close(norm(images), expected)
    print(
        f"GroupNorm({num_groups}, 6): {num_groups} groups of {6 // num_groups} channels, {mean.numel():2} means and deviations: as the formula says"
    )

whole = torch.nn.functional.layer_norm(images, images.shape[1:])
torch.testing.assert_close(torch.nn.functional.group_norm(images, 1), whole)
torch.testing.assert_close(torch.nn.functional.group_norm(images, 6), torch.nn.functional.instance_norm(images))
print("one group is a layer norm without weights; a group for each channel is an instance norm\n")

print("the statistics of the result, of numbers around a million (E = 1000000, σ = 1) in float32:")
far = torch.randn(2, 4, 64, 64) + 1e6
result = torch.nn.functional.group_norm(far, 2).double().reshape(2, 2, -1)
print(f"  mean {result.mean().item():+.6f}, deviation {result.std(unbiased=False).item():.6f}\n")

try:
    torch.nn.GroupNorm(4, 6)
except ValueError as error:
    print(f"and where the groups do not fit: {error}")
