from __future__ import annotations

import gzip
import pickle
import struct

import numpy as np
import pytest

import flambeau
from flambeau.vision.datasets import KMNIST, MNIST, FashionMNIST

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (7, 28, 28), np.uint8)
LABELS = RNG.integers(0, 10, 7, np.uint8)


def write(folder, prefix="t10k", images=IMAGES, labels=LABELS, compress=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
        content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
        if compress:
            (folder / f"{prefix}-{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / f"{prefix}-{name}").write_bytes(content)
    return folder


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("below", ["MNIST/raw", ""])
@pytest.mark.parametrize("train", [False, True])
def test_only_the_files_of_the_split_are_needed(tmp_path, train, below, compress):
    write(tmp_path / below, "train" if train else "t10k", compress=compress)
    dataset = MNIST(tmp_path, train=train, download=True)
    assert len(dataset) == 7
    assert (dataset.data.numpy() == IMAGES).all()
    assert dataset.data.dtype == flambeau.uint8
    assert dataset.targets.dtype == flambeau.int64
    assert dataset.targets.tolist() == LABELS.tolist()
    assert f"Split: {'Train' if train else 'Test'}" in repr(dataset)


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST, KMNIST])
def test_relatives(tmp_path, kind):
    write(tmp_path / kind.__name__ / "raw")
    dataset = kind(str(tmp_path), train=False)
    assert len(dataset.classes) == 10
    assert dataset.class_to_idx[dataset.classes[3]] == 3
    assert len(dataset) == 7


def test_samples(tmp_path):
    dataset = MNIST(write(tmp_path), train=False)
    image, target = dataset[3]
    assert (image.mode, image.size) == ("L", (28, 28))
    assert (np.asarray(image) == IMAGES[3]).all()
    assert type(target) is int
    assert target == LABELS[3]
    assert dataset[-1][1] == LABELS[-1]
    with pytest.raises(IndexError):
        dataset[7]


def test_transforms(tmp_path):
    dataset = MNIST(write(tmp_path), train=False, transform=np.asarray, target_transform=lambda target: -target)
    image, target = dataset[1]
    assert (image == IMAGES[1]).all()
    assert target == -int(LABELS[1])
    dataset.transform = None
    assert dataset[1][0].size == (28, 28)


def test_data_may_be_replaced(tmp_path):
    dataset = MNIST(write(tmp_path), train=False)
    dataset[0]
    dataset.data, dataset.targets = dataset.data[4:], dataset.targets[4:]
    assert len(dataset) == 3
    image, target = dataset[0]
    assert (np.asarray(image) == IMAGES[4]).all()
    assert target == LABELS[4]


def test_pickle(tmp_path):
    dataset = MNIST(write(tmp_path), train=False)
    dataset[0]
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy[2][1] == LABELS[2]


def test_missing_files_say_where_to_put_them(tmp_path):
    write(tmp_path, "t10k")
    with pytest.raises(RuntimeError) as caught:
        MNIST(tmp_path, train=True, download=True)
    text = str(caught.value)
    assert "train-images-idx3-ubyte.gz" in text
    assert str(tmp_path / "MNIST" / "raw") in text
    assert "downloads nothing" in text


def test_files_that_do_not_fit_each_other(tmp_path):
    with pytest.raises(ValueError, match=r"has 7 images, but .* has 6 labels"):
        MNIST(write(tmp_path, labels=LABELS[:6]), train=False)
    with pytest.raises(ValueError, match=r"should hold bytes with 3 axes .*, but holds .*uint8 with shape \(7,\)"):
        MNIST(write(tmp_path, images=LABELS), train=False)
    with pytest.raises(ValueError, match="should hold bytes with 1 axis"):
        MNIST(write(tmp_path, labels=IMAGES), train=False)
