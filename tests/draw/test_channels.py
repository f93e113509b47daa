"""Pictures of groups: which channels read which."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau.draw import draw
from flambeau.draw.channels import channel_reach
from flambeau.draw.scene import Arrow, Label


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(("inputs", "outputs", "groups"), [(4, 6, 2), (3, 3, 1), (4, 8, 4), (6, 2, 2)])
def test_channels_of_a_group_read_each_other(kind, inputs, outputs, groups):
    layer = kind(inputs, outputs, 3, stride=2, padding=1, groups=groups)
    expected = np.equal.outer(np.arange(outputs) // (outputs // groups), np.arange(inputs) // (inputs // groups))
    np.testing.assert_array_equal(channel_reach(layer), expected)


def test_depthwise():
    picture = draw(nn.Conv2d(4, 8, 3, groups=4), 7, by="channel")
    assert picture.title == "Conv2d(4, 8, kernel_size=(3, 3), groups=4)"
    texts = [shape.text for shape in (*picture.base, *picture.still) if isinstance(shape, Label)]
    assert {"4 groups: depthwise", "weight (8, 1, 3, 3)"} <= set(texts)
    assert sum(isinstance(shape, Arrow) for shape in picture.still) == 8
    assert picture.steps[3][-1].text == "output channel 3 comes from input channel 1"


def test_one_group():
    picture = draw(nn.ConvTranspose1d(2, 3, 2), 7, by="channel")
    texts = [shape.text for shape in (*picture.base, *picture.still) if isinstance(shape, Label)]
    assert "1 group: every output channel reads every input channel" in texts
    assert "weight (2, 3, 2) (input channels first)" in texts
    assert picture.steps[0][-1].text == "output channel 0 comes from input channels 0, 1"


@pytest.mark.parametrize("dtype", [flambeau.float64, flambeau.bfloat16, flambeau.complex64], ids=str)
def test_any_dtype(dtype):
    assert channel_reach(nn.Conv2d(2, 2, 3, groups=2, dtype=dtype)).tolist() == [[True, False], [False, True]]


def test_channels_that_are_not_known_yet():
    with pytest.raises(ValueError, match="LazyConv2d does not know its channels before it has seen an input"):
        draw(nn.LazyConv2d(4, 3), 7, by="channel")


def test_too_many():
    with pytest.raises(ValueError, match="3 and 64 channels are too many for a picture"):
        draw(nn.Conv2d(3, 64, 7), 32, by="channel")
