from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import flambeau
from flambeau.vision.utils import make_grid, save_image


def test_grid():
    images = flambeau.arange(5.0)[:, None, None, None].expand(5, 3, 2, 4)
    grid = make_grid(images, nrow=2, padding=1, pad_value=9.0)
    assert grid.shape == (3, 3 * 3 + 1, 2 * 5 + 1)
    expected = np.full((10, 11), 9.0)
    for number in range(5):
        top, left = number // 2 * 3 + 1, number % 2 * 5 + 1
        expected[top : top + 2, left : left + 4] = number
    assert (grid.numpy() == expected).all()


def test_one_channel_becomes_three():
    assert make_grid(flambeau.zeros(2, 1, 4, 4)).shape == (3, 8, 14)
    assert make_grid(flambeau.zeros(4, 4)).shape == (3, 4, 4)
    assert make_grid([flambeau.zeros(2, 4, 4)] * 3, nrow=3).shape == (2, 8, 20)


def test_normalize():
    images = flambeau.tensor([[0.0, 1.0], [2.0, 4.0]])[:, None, None, :]
    assert make_grid(images, padding=0, normalize=True)[0].tolist() == [[0.0, 0.25, 0.5, 1.0]]
    assert make_grid(images, padding=0, normalize=True, scale_each=True)[0].tolist() == [[0.0, 1.0, 0.0, 1.0]]
    assert make_grid(images, padding=0, normalize=True, value_range=(0, 2))[0].tolist() == [[0.0, 0.5, 1.0, 1.0]]
    assert images.max().item() == 4.0, "the images themselves stay"


def test_errors():
    with pytest.raises(TypeError, match="tensor or list of tensors expected"):
        make_grid([1, 2])
    with pytest.raises(TypeError, match="value_range has to be a tuple"):
        make_grid(flambeau.zeros(1, 1, 2, 2), normalize=True, value_range=[0, 1])
    with pytest.raises(ValueError, match="but got shape"):
        make_grid(flambeau.zeros(3))


def test_save_image(tmp_path):
    image = flambeau.tensor([0.0, 0.5, 1.0, 2.0]).reshape(1, 1, 4)
    save_image(image, tmp_path / "a.png")
    assert np.asarray(Image.open(tmp_path / "a.png"))[0, :, 0].tolist() == [0, 128, 255, 255]
    file = io.BytesIO()
    save_image(flambeau.zeros(2, 3, 4, 4), file, format="bmp", nrow=1, padding=0)
    assert Image.open(file).size == (4, 8)
