"""Resizing of channels-last images: the same numbers as of contiguous ones, and channels stay side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
@pytest.mark.parametrize(
    "how", [{"scale_factor": 2}, {"scale_factor": (3, 2)}, {"scale_factor": 1.5}, {"size": (12, 14)}, {"size": (11, 3)}]
)
def test_channels_last(mode: str, how: dict[str, Any]) -> None:
    image = flambeau.randn(2, 5, 6, 7, generator=flambeau.Generator().manual_seed(0), requires_grad=True)
    wanted = flambeau.nn.functional.interpolate(image, mode=mode, **how)
    result = flambeau.nn.functional.interpolate(image.contiguous(memory_format=flambeau.channels_last), mode=mode, **how)
    assert result.is_contiguous(memory_format=flambeau.channels_last)
    assert np.array_equal(result.detach().numpy(), wanted.detach().numpy())
    ahead = flambeau.arange(wanted.numel(), dtype=flambeau.float32).reshape(wanted.shape)
    gradients = [flambeau.autograd.grad(each, [image], ahead)[0].numpy() for each in (wanted, result)]
    assert np.allclose(*gradients, rtol=1e-5)


def test_an_area_that_shrinks_to_nothing() -> None:
    image = flambeau.ones(1, 2, 1, 4)
    assert flambeau.nn.functional.interpolate(image, scale_factor=0.6, mode="area").shape == (1, 2, 0, 2)
    with pytest.raises(RuntimeError, match="should be greater than 0"):
        flambeau.nn.functional.interpolate(image, scale_factor=0.6, mode="bilinear")
