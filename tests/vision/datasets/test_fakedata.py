from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.vision.datasets import FakeData


def test_images_depend_on_the_index_alone():
    dataset = FakeData(size=3, image_size=(3, 4, 5), num_classes=10)
    assert len(dataset) == 3
    flambeau.manual_seed(1)
    image, target = dataset[2]
    assert (image.mode, image.size) == ("RGB", (5, 4))
    assert 0 <= target < 10
    again, same_target = dataset[2]
    assert again.tobytes() == image.tobytes()
    assert same_target == target
    assert dataset[1][0].tobytes() != image.tobytes()
    assert FakeData(image_size=(3, 4, 5), random_offset=2)[0][0].tobytes() == image.tobytes()


def test_the_global_generator_is_left_alone():
    flambeau.manual_seed(1)
    expected = flambeau.rand(2).tolist()
    flambeau.manual_seed(1)
    FakeData(image_size=(1, 4, 4))[0]
    assert flambeau.rand(2).tolist() == expected


def test_transforms():
    dataset = FakeData(size=1, image_size=(1, 4, 4), transform=np.asarray, target_transform=str)
    image, target = dataset[0]
    assert image.shape == (4, 4)
    assert isinstance(target, str)


def test_bounds():
    with pytest.raises(IndexError, match="index out of range: 2 of 2"):
        FakeData(size=2)[2]
