"""Which elements share a mean and a variance, for each kind of normalisation."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau.draw import draw
from flambeau.draw.norms import shared_statistics
from flambeau.draw.scene import Label

SHAPE = (2, 4, 1, 2)
IMAGE, CHANNEL = np.indices(SHAPE)[:2]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.GroupNorm(2, 4), IMAGE * 2 + CHANNEL // 2),
        (nn.GroupNorm(4, 4), IMAGE * 4 + CHANNEL),
        (nn.GroupNorm(1, 4, affine=False), IMAGE),
        (nn.InstanceNorm2d(4), IMAGE * 4 + CHANNEL),
        (nn.LayerNorm(SHAPE[1:]), IMAGE),
        (nn.BatchNorm2d(4), CHANNEL),
        (nn.BatchNorm2d(4).eval(), np.full(SHAPE, -1)),
    ],
    ids=lambda value: str(value) if isinstance(value, nn.Module) else "",
)
def test_sets(layer, expected):
    np.testing.assert_array_equal(shared_statistics(layer, SHAPE), expected)


def test_sets_do_not_depend_on_the_parameters():
    layer = nn.GroupNorm(2, 4)
    layer.weight.detach().zero_()
    np.testing.assert_array_equal(shared_statistics(layer, SHAPE), IMAGE * 2 + CHANNEL // 2)
    assert layer.eps == 1e-5
    assert layer.weight.dtype is flambeau.float32


def test_words():
    picture = draw(nn.GroupNorm(3, 6), (2, 6, 2, 2))
    texts = [shape.text for shape in picture.base if isinstance(shape, Label)]
    assert "48 elements / 6 sets = 8 elements a set" in texts
    assert len(picture.steps) == 6
    assert picture.steps[1][-1].text == "set 1: 8 elements, channels 2 to 3 of image 0, share a mean and a variance"


def test_too_large():
    with pytest.raises(ValueError, match=r"an input \(8, 64, 8, 8\) of 32768 elements is too large for a picture"):
        draw(nn.GroupNorm(2, 64), (8, 64, 8, 8))
    with pytest.raises(ValueError, match=r"is \(N, C, \*\), but got \(6,\)"):
        draw(nn.GroupNorm(2, 6), 6)
