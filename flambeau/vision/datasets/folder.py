"""Datasets that are folders of files, one folder per class."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from flambeau.vision._pillow import pillow
from flambeau.vision.datasets.vision import VisionDataset, folder_of

__all__ = [
    "IMG_EXTENSIONS",
    "DatasetFolder",
    "ImageFolder",
    "default_loader",
    "find_classes",
    "make_dataset",
]

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def default_loader(path: str | os.PathLike[str]) -> Any:
    """Reads an image file as an RGB image of Pillow's."""
    with open(path, "rb") as file:
        return pillow().open(file).convert("RGB")


def find_classes(directory: str | os.PathLike[str]) -> tuple[list[str], dict[str, int]]:
    """The names of the folders in ``directory``, sorted, and the number of each.

    Raises:
        FileNotFoundError: there are none.
    """
    classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
    if not classes:
        raise FileNotFoundError(f"Couldn't find any class folder in {directory}.")
    return classes, {name: number for number, name in enumerate(classes)}


def make_dataset(
    directory: str | os.PathLike[str],
    class_to_idx: dict[str, int] | None = None,
    extensions: str | tuple[str, ...] | None = None,
    is_valid_file: Callable[[str], bool] | None = None,
    allow_empty: bool = False,
) -> list[tuple[str, int]]:
    """The files below each class's folder, sorted, each with the number of its class.

    Args:
        directory: the folder of the classes' folders.
        class_to_idx: the classes; by default all that :func:`find_classes` finds.
        extensions: which files count, in any case; or
        is_valid_file: decides that from the path.
        allow_empty: accept classes without files.

    Raises:
        ValueError: no classes, or both or neither of ``extensions`` and ``is_valid_file``.
        FileNotFoundError: a class without files.
    """
    if class_to_idx is None:
        _, class_to_idx = find_classes(directory)
    elif not class_to_idx:
        raise ValueError("'class_to_index' must have at least one entry to collect any samples.")
    if (extensions is None) == (is_valid_file is None):
        raise ValueError("Both extensions and is_valid_file cannot be None or not None at the same time")
    if extensions is not None:
        suffixes = extensions if isinstance(extensions, str) else tuple(extensions)
        is_valid_file = lambda path: path.lower().endswith(suffixes)
    samples: list[tuple[str, int]] = []
    empty = []
    for name in sorted(class_to_idx):
        before = len(samples)
        for folder, _, files in sorted(os.walk(os.path.join(directory, name), followlinks=True)):
            for path in (os.path.join(folder, file) for file in sorted(files)):
                if is_valid_file(path):
                    samples.append((path, class_to_idx[name]))
        if len(samples) == before:
            empty.append(name)
    if empty and not allow_empty:
        wanted = "" if extensions is None else f" Supported extensions are: {extensions}"
        raise FileNotFoundError(f"Found no valid file for the classes {', '.join(empty)} in {directory}.{wanted}")
    return samples


class DatasetFolder(VisionDataset):
    """Files in one folder per class, ``root/class/…/file``: samples are (what ``loader`` makes of the file, number of the class).

    Args:
        root: the folder of the classes' folders.
        loader: reads a file, given its path.
        extensions: which files count; or
        transform: called with what was loaded.
        target_transform: called with the class's number.
        is_valid_file: decides from the path which files count.
        allow_empty: accept classes without files.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        loader: Callable[[str], Any],
        extensions: tuple[str, ...] | None = None,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        folder = folder_of(self.root)
        self.classes, self.class_to_idx = self.find_classes(folder)
        self.samples = self.make_dataset(folder, self.class_to_idx, extensions, is_valid_file, allow_empty)
        self.loader = loader
        self.extensions = extensions
        self.targets = [target for _, target in self.samples]

    @staticmethod
    def make_dataset(
        directory: str | os.PathLike[str],
        class_to_idx: dict[str, int],
        extensions: tuple[str, ...] | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> list[tuple[str, int]]:
        """Which files there are; a subclass may choose otherwise."""
        return make_dataset(directory, class_to_idx, extensions, is_valid_file, allow_empty)

    def find_classes(self, directory: str | os.PathLike[str]) -> tuple[list[str], dict[str, int]]:
        """Which classes there are; a subclass may choose otherwise."""
        return find_classes(directory)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, target = self.samples[index]
        return self._transformed(self.loader(path), target)

    def __len__(self) -> int:
        return len(self.samples)


class ImageFolder(DatasetFolder):
    """Image files in one folder per class, ``root/dog/a.png``: samples are (RGB image of Pillow's, number of the class)."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        loader: Callable[[str], Any] = default_loader,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        extensions = IMG_EXTENSIONS if is_valid_file is None else None
        super().__init__(root, loader, extensions, transform, target_transform, is_valid_file, allow_empty)
        self.imgs = self.samples
