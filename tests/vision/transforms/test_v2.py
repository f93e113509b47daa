from __future__ import annotations

import pytest

import flambeau as torch
from flambeau.vision.transforms import functional as first
from flambeau.vision.transforms.v2 import functional as F


def test_dtypes():
    image = torch.tensor([[[0, 255], [100, 3]]], dtype=torch.uint8)
    assert F.to_dtype(image).flatten().tolist() == [0, 255, 100, 3] and F.to_dtype(image).dtype == torch.float32
    assert torch.equal(F.to_dtype(image, scale=True), first.convert_image_dtype(image))
    assert F.to_dtype_image(torch.tensor([[[0.5]]]), torch.uint8, scale=True).item() == 127


def test_channels_and_borders():
    grey = torch.rand(2, 1, 3, 4)
    assert torch.equal(F.grayscale_to_rgb(grey), torch.cat([grey] * 3, 1)) and F.grayscale_to_rgb(grey[0]).shape == (3, 3, 4)
    colour = torch.rand(3, 3, 4)
    assert F.grayscale_to_rgb(colour) is colour
    assert F.get_size(colour) == [3, 4] and F.get_num_channels(colour) == 3
    assert torch.equal(F.pad(colour, [1, 2]), first.pad(colour, [1, 2], 0)) and F.pad(colour, 1, fill=2)[0, 0, 0].item() == 2
    assert torch.equal(F.horizontal_flip(colour), colour.flip(-1)) and torch.equal(F.vertical_flip(colour), colour.flip(-2))


def test_gaussian_blur():
    torch.manual_seed(0)
    image = torch.rand(2, 3, 6, 7, dtype=torch.float64)
    down, across = (torch.exp(-(torch.arange(-n, n + 1.0, dtype=torch.float64) ** 2) / (2 * s * s)) for n, s in ((2, 0.7), (1, 1.5)))
    wide = torch.nn.functional.pad(image, (1, 1, 2, 2), mode="reflect")
    rows = sum(wide[..., i : i + 6, :] * (down / down.sum())[i] for i in range(5))
    expected = sum(rows[..., i : i + 7] * (across / across.sum())[i] for i in range(3))
    torch.testing.assert_close(F.gaussian_blur(image, [3, 5], [1.5, 0.7]), expected)
    torch.testing.assert_close(F.gaussian_blur(image, 3), F.gaussian_blur(image, [3, 3], [0.8]))
    whole = torch.full((1, 4, 4), 9, dtype=torch.uint8)
    assert torch.equal(F.gaussian_blur(whole, 3), whole)
    for size, sigma in ((2, 1.0), (0, 1.0), (3, 0.0), ([3, 3, 3], 1.0)):
        with pytest.raises(ValueError, match="kernel_size"):
            F.gaussian_blur(image, size, sigma)
