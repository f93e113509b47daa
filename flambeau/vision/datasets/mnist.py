"""MNIST and the datasets that come in its format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import flambeau
from flambeau.vision._pillow import pillow
from flambeau.vision.datasets.idx import read_idx
from flambeau.vision.datasets.vision import SplitDataset, folder_of

__all__ = ["KMNIST", "MNIST", "FashionMNIST"]


class MNIST(SplitDataset):
    """Handwritten digits: 60,000 images of 28 × 28 pixels to train on and 10,000 to test on (LeCun et al. 1998).

    A sample is a PIL image and the digit. The files of a split, such as ``train-images-idx3-ubyte`` and
    ``train-labels-idx1-ubyte`` with or without ``.gz``, lie in ``root/MNIST/raw`` or in ``root`` itself.

    Args:
        root: the folder.
        train: the training split, or else the test split (``t10k-…``).
        transform: called with the image.
        target_transform: called with the digit.
        download: accepted, but nothing is ever downloaded: the files have to be there.

    Raises:
        RuntimeError: a file is missing.
        ValueError: a file is damaged.
    """

    classes: ClassVar[list[str]] = [
        "0 - zero",
        "1 - one",
        "2 - two",
        "3 - three",
        "4 - four",
        "5 - five",
        "6 - six",
        "7 - seven",
        "8 - eight",
        "9 - nine",
    ]
    url = "https://ossci-datasets.s3.amazonaws.com/mnist/"

    def _load(self) -> None:
        prefix = "train" if self.train else "t10k"
        images, labels = (self._find(f"{prefix}-{name}") for name in ("images-idx3-ubyte", "labels-idx1-ubyte"))
        self.data = read_idx(images)
        targets = read_idx(labels)
        if self.data.dtype != flambeau.uint8 or self.data.dim() != 3:
            raise ValueError(f"{images} should hold bytes with 3 axes (images, rows, columns), but holds {_described(self.data)}")
        if targets.dtype != flambeau.uint8 or targets.dim() != 1:
            raise ValueError(f"{labels} should hold bytes with 1 axis, but holds {_described(targets)}")
        if len(targets) != len(self.data):
            raise ValueError(f"{images} has {len(self.data)} images, but {labels} has {len(targets)} labels")
        self.targets = targets.long()
        self._views: tuple[Any, ...] = ()

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        images, targets = self._arrays()
        return self._transformed(pillow().fromarray(images[index]), int(targets[index]))

    def __len__(self) -> int:
        return len(self.data)

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """``data`` and ``targets`` as NumPy sees them, which is a quicker way to one image than indexing a tensor."""
        if not self._views or self._views[0] is not self.data or self._views[1] is not self.targets:
            self._views = (self.data, self.targets, np.asarray(self.data), np.asarray(self.targets))
        return self._views[2:]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_views": ()}

    @property
    def raw_folder(self) -> str:
        return os.path.join(folder_of(self.root), type(self).__name__, "raw")

    def _find(self, name: str) -> Path:
        folders = (Path(self.raw_folder), folder_of(self.root))
        for folder in folders:
            for candidate in (folder / name, folder / f"{name}.gz"):
                if candidate.is_file():
                    return candidate
        raise RuntimeError(
            f"Dataset not found: {type(self).__name__} needs {name} or {name}.gz in {folders[0]} or {folders[1]}. "
            f"Flambeau downloads nothing; put the file there yourself, for example from {self.url}{name}.gz"
        )


class FashionMNIST(MNIST):
    """Zalando's articles of clothing, in MNIST's format (Xiao et al. 2017)."""

    classes: ClassVar[list[str]] = [
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ]
    url = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"


class KMNIST(MNIST):
    """Kuzushiji, cursive Japanese characters, in MNIST's format (Clanuwat et al. 2018)."""

    classes: ClassVar[list[str]] = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]
    url = "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"


def _described(tensor: flambeau.Tensor) -> str:
    return f"{tensor.dtype} with shape {tuple(tensor.shape)}"
