"""CIFAR-10 and CIFAR-100, read from their Python files without running what a pickle may ask for."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from flambeau.vision._pillow import pillow
from flambeau.vision.datasets.vision import SplitDataset, folder_of

__all__ = ["CIFAR10", "CIFAR100"]

_ALLOWED = {
    ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"), ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
}  # fmt: skip


class _ArraysOnly(pickle.Unpickler):
    """Loads arrays, lists, dictionaries, text and numbers."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and CIFAR's files hold arrays and lists only")
        return super().find_class(module, name)


class CIFAR10(SplitDataset):
    """Colour photographs of 32 × 32 pixels in 10 classes: 50,000 to train on and 10,000 to test on (Krizhevsky 2009).

    A sample is a PIL image and the number of its class. The files lie in ``root/cifar-10-batches-py``, or in the archive
    ``root/cifar-10-python.tar.gz``, which is read as it is.

    Args:
        root: the folder.
        train: the training split, or else the test split.
        transform: called with the image.
        target_transform: called with the class.
        download: accepted, but nothing is ever downloaded: the files have to be there.

    Attributes:
        data: uint8 array (images, 32, 32, 3)
        targets: list of the classes' numbers
        classes: their names

    Raises:
        RuntimeError: a file is missing.
        ValueError: a file is damaged, or asks for more than arrays.
    """

    base_folder = "cifar-10-batches-py"
    filename = "cifar-10-python.tar.gz"
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    _splits: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]] = (tuple(f"data_batch_{number}" for number in range(1, 6)), ("test_batch",))
    _meta: ClassVar[tuple[str, str, str]] = ("batches.meta", "label_names", "labels")

    def _load(self) -> None:
        meta, names, labels = self._meta
        files = self._read([*self._splits[not self.train], meta])
        self.classes: list[str] = [str(name) for name in self._entry(files, meta, names)]
        parts = []
        self.targets: list[int] = []
        for file in self._splits[not self.train]:
            pixels, numbers = np.asarray(self._entry(files, file, "data")), self._entry(files, file, labels)
            if pixels.dtype != np.uint8 or pixels.shape != (len(numbers), 3072):
                raise ValueError(
                    f"{self.base_folder}/{file} should hold bytes (images, 3072) and as many labels, but holds {pixels.dtype} {pixels.shape}"
                )
            parts.append(pixels)
            self.targets += [int(number) for number in numbers]
        if self.targets and not 0 <= min(self.targets) <= max(self.targets) < len(self.classes):
            raise ValueError(f"a label of {self.base_folder} is none of its {len(self.classes)} classes")
        self.data = np.ascontiguousarray(np.concatenate(parts).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self._transformed(pillow().fromarray(self.data[index]), self.targets[index])

    def __len__(self) -> int:
        return len(self.data)

    def _entry(self, files: dict[str, Any], file: str, key: str) -> Any:
        content = files[file]
        if not isinstance(content, dict) or key not in content:
            raise ValueError(f"{self.base_folder}/{file} should hold a dictionary with {key!r}")
        return content[key]

    def _read(self, names: list[str]) -> dict[str, Any]:
        """What is in some files of the folder, or of the archive."""
        root = folder_of(self.root)
        folder, archive = root / self.base_folder, root / self.filename
        if all((folder / name).is_file() for name in names):
            return {name: self._loaded(name, (folder / name).read_bytes()) for name in names}
        if not archive.is_file():
            missing = next(name for name in names if not (folder / name).is_file())
            raise RuntimeError(
                f"Dataset not found or corrupted: {type(self).__name__} needs {folder / missing}, or {archive}. "
                f"Flambeau downloads nothing; put the archive there yourself, from {self.url}"
            )
        found: dict[str, Any] = {}
        try:
            with tarfile.open(archive) as members:
                for member in members:
                    name = Path(member.name)
                    if member.isfile() and name.parent.name == self.base_folder and name.name in names:
                        file = members.extractfile(member)
                        assert file is not None
                        found[name.name] = self._loaded(name.name, file.read())
        except (tarfile.TarError, EOFError, OSError) as error:
            raise ValueError(f"{archive} is damaged or cut off: {error}") from error
        for name in names:
            if name not in found:
                raise RuntimeError(f"Dataset not found or corrupted: {archive} holds no {self.base_folder}/{name}")
        return found

    def _loaded(self, name: str, content: bytes) -> Any:
        try:
            return _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
        except Exception as error:  # a damaged pickle may raise anything
            raise ValueError(f"cannot read {self.base_folder}/{name}: {error}") from error


class CIFAR100(CIFAR10):
    """As :class:`CIFAR10`, in 100 classes; the files lie in ``root/cifar-100-python`` or ``root/cifar-100-python.tar.gz``."""

    base_folder = "cifar-100-python"
    filename = "cifar-100-python.tar.gz"
    url = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    _splits = (("train",), ("test",))
    _meta = ("meta", "fine_label_names", "fine_labels")
