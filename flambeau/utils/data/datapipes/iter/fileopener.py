"""Files, opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flambeau.utils.data.datapipes._decorator import functional_datapipe
from flambeau.utils.data.datapipes.datapipe import IterDataPipe
from flambeau.utils.data.datapipes.utils.common import StreamWrapper, get_file_binaries_from_pathnames

__all__ = ["FileOpenerIterDataPipe"]

_MODES = ("b", "t", "rb", "rt", "r")


@functional_datapipe("open_files")
class FileOpenerIterDataPipe(IterDataPipe):
    """Pairs of a path and the file, open for reading and closed when nothing refers to it.

    Args:
        datapipe: yields the paths
        mode: ``"r"``, ``"rt"`` or ``"t"`` for text, ``"rb"`` or ``"b"`` for bytes
        encoding: of text
        length: what ``len`` answers, where it is known

    Raises:
        ValueError: another mode, or an encoding of bytes
    """

    def __init__(self, datapipe: Iterable[str], mode: str = "r", encoding: str | None = None, length: int = -1) -> None:
        if mode not in _MODES:
            raise ValueError(f"Invalid mode {mode}: files are only read, with one of {_MODES}")
        if "b" in mode and encoding is not None:
            raise ValueError("binary mode doesn't take an encoding argument")
        self.datapipe = datapipe
        self.mode = mode
        self.encoding = encoding
        self.length = length

    def __iter__(self) -> Iterator[tuple[str, StreamWrapper]]:
        yield from get_file_binaries_from_pathnames(self.datapipe, self.mode, self.encoding)

    def __len__(self) -> int:
        if self.length < 0:
            raise TypeError(f"{type(self).__name__} instance doesn't have valid length")
        return self.length
