"""Deformable convolutions: against `conv2d`, against their definition, and their gradients."""

from __future__ import annotations

import math

import pytest

import flambeau as torch
from flambeau.nn import functional as F
from flambeau.vision.ops import DeformConv2d, deform_conv2d


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"padding": (1, 2)}, {"dilation": 2, "padding": 1}])
@pytest.mark.parametrize("groups", [1, 2])
def test_without_offsets_it_is_a_convolution(options, groups):
    x, weight, bias = drawn(2, 4, 9, 8), drawn(6, 4 // groups, 3, 2, seed=1), drawn(6, seed=2)
    expected = F.conv2d(x, weight, bias, groups=groups, **options)
    offset = torch.zeros(2, 2 * 2 * 6, *expected.shape[2:], dtype=torch.float64)
    assert torch.allclose(deform_conv2d(x, offset, weight, bias, **options), expected)
    half = torch.full((2, 2 * 6, *expected.shape[2:]), 0.5, dtype=torch.float64)
    masked = deform_conv2d(x, offset, weight, None, **options, mask=half)
    assert torch.allclose(masked, (expected - bias[:, None, None]) / 2)


def sample(image, y, x):
    """The definition: pixels around a place, by their nearness."""
    height, width = image.shape
    total = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < height and 0 <= column < width:
                total += image[row, column].item() * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def test_definition():
    x, weight, mask = drawn(1, 4, 5, 4), drawn(2, 4, 2, 2, seed=1), drawn(1, 2 * 4, 4, 3, seed=2)
    offset = drawn(1, 2 * 2 * 4, 4, 3, seed=3) * 2
    found = deform_conv2d(x, offset, weight, mask=mask)
    for out, i, j in ((0, 0, 0), (1, 3, 2), (0, 2, 1)):
        expected = 0.0
        for channel in range(4):
            part = channel // 2
            for tap in range(4):
                down, right = (offset[0, part * 8 + 2 * tap + axis, i, j].item() for axis in (0, 1))
                value = sample(x[0, channel], i + tap // 2 + down, j + tap % 2 + right)
                expected += value * weight[out, channel, tap // 2, tap % 2].item() * mask[0, part * 4 + tap, i, j].item()
        assert found[0, out, i, j].item() == pytest.approx(expected)


def test_gradients():
    tensors = [
        drawn(1, 2, 4, 4),
        drawn(1, 2 * 4, 3, 3, seed=1) * 0.3 + 0.4,
        drawn(2, 1, 2, 2, seed=2),
        drawn(2, seed=3),
        drawn(1, 4, 3, 3, seed=4),
    ]
    for each in tensors:
        each.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, offset, weight, bias, mask: deform_conv2d(x, offset, weight, bias, mask=mask), tensors)


def test_module():
    layer = DeformConv2d(4, 6, 3, padding=1, groups=2, bias=False)
    assert repr(layer) == "DeformConv2d(4, 6, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=2, bias=False)"
    assert layer(torch.randn(2, 4, 5, 5), torch.zeros(2, 18, 5, 5), torch.ones(2, 9, 5, 5)).shape == (2, 6, 5, 5)
    assert list(layer.state_dict()) == ["weight"] and deform_conv2d(
        torch.ones(0, 4, 5, 5), torch.zeros(0, 18, 5, 5), layer.weight, padding=1
    ).shape == (0, 6, 5, 5)


@pytest.mark.parametrize("offset, weight, mask, text", [
    ((1, 18, 4, 4), (6, 4, 3, 3), None, "offset should have shape"),
    ((1, 20, 3, 3), (6, 4, 3, 3), None, "offset should have shape"),
    ((1, 18, 3, 3), (6, 3, 3, 3), None, "does not fit"),
    ((1, 18, 3, 3), (6, 4, 3, 3), (1, 8, 3, 3), "mask should have shape"),
])  # fmt: skip
def test_errors(offset, weight, mask, text):
    with pytest.raises(RuntimeError, match=text):
        deform_conv2d(torch.ones(1, 4, 5, 5), torch.zeros(offset), torch.ones(weight), mask=None if mask is None else torch.ones(mask))
