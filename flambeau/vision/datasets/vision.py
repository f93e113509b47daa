"""The base of datasets of images."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flambeau.utils.data import Dataset

__all__ = ["SplitDataset", "StandardTransform", "VisionDataset"]


class StandardTransform:
    """Applies ``transform`` to an image and ``target_transform`` to its target."""

    def __init__(self, transform: Callable | None = None, target_transform: Callable | None = None) -> None:
        self.transform = transform
        self.target_transform = target_transform

    def __call__(self, image: Any, target: Any) -> tuple[Any, Any]:
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def __repr__(self) -> str:
        lines = [type(self).__name__]
        for name, transform in (("Transform", self.transform), ("Target transform", self.target_transform)):
            if transform is not None:
                label = f"{name}: "
                lines.append(label + str(transform).replace("\n", "\n" + " " * len(label)))
        return "\n".join(lines)


class VisionDataset(Dataset):
    """A dataset of images below the folder ``root``.

    Args:
        root: where its files are.
        transforms: called with image and target; instead of the next two.
        transform: called with the image.
        target_transform: called with the target.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        transforms: Callable | None = None,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
    ) -> None:
        if transforms is not None and (transform is not None or target_transform is not None):
            raise ValueError("Only transforms or transform/target_transform can be passed as argument")
        self.root = os.path.expanduser(root) if isinstance(root, str) else root
        self.transform = transform
        self.target_transform = target_transform
        if transform is not None or target_transform is not None:
            transforms = StandardTransform(transform, target_transform)
        self.transforms = transforms

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} should define __len__, as a subclass of VisionDataset")

    def _transformed(self, image: Any, target: Any) -> tuple[Any, Any]:
        # These two attributes, not `transforms`, because users replace them on a dataset that exists.
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def __repr__(self) -> str:
        lines = [f"Dataset {type(self).__name__}", f"    Number of datapoints: {len(self)}"]
        if self.root is not None:
            lines.append(f"    Root location: {self.root}")
        lines += [f"    {line}" for line in self.extra_repr().splitlines()]
        if self.transforms is not None:
            lines += [f"    {line}" for line in repr(self.transforms).splitlines()]
        return "\n".join(lines)

    def extra_repr(self) -> str:
        """More lines for the ``repr``."""
        return ""


def folder_of(root: str | os.PathLike[str] | None) -> Path:
    """``root`` as a path; a dataset that reads files needs one."""
    if root is None:
        raise TypeError("this dataset reads files: pass the folder they are in as root")
    return Path(root)


class SplitDataset(VisionDataset):
    """A dataset with a split to train on and one to test on, whose classes have names.

    Args:
        root: where its files are.
        train: the training split, or else the test split.
        transform: called with the image.
        target_transform: called with the class.
        download: accepted, but nothing is ever downloaded.
    """

    classes: Sequence[str]

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        self._load()

    def _load(self) -> None:
        """Read the files of the split."""
        raise NotImplementedError

    @property
    def class_to_idx(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.classes)}

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"
