"""Datasets of images. Nothing is ever downloaded: they read the files that are there."""

from __future__ import annotations

from flambeau.vision.datasets.cifar import CIFAR10 as CIFAR10
from flambeau.vision.datasets.cifar import CIFAR100 as CIFAR100
from flambeau.vision.datasets.fakedata import FakeData as FakeData
from flambeau.vision.datasets.folder import DatasetFolder as DatasetFolder
from flambeau.vision.datasets.folder import ImageFolder as ImageFolder
from flambeau.vision.datasets.mnist import KMNIST as KMNIST
from flambeau.vision.datasets.mnist import MNIST as MNIST
from flambeau.vision.datasets.mnist import FashionMNIST as FashionMNIST
from flambeau.vision.datasets.vision import VisionDataset as VisionDataset

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "KMNIST",
    "MNIST",
    "DatasetFolder",
    "FakeData",
    "FashionMNIST",
    "ImageFolder",
    "VisionDataset",
]
