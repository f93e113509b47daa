"""Reading the records of a package's archive. Nothing here runs anything of it."""

from __future__ import annotations

import os
import struct
import zipfile
from typing import Any, BinaryIO

__all__ = ["Records"]

_DEPTH = 200
"""Folders within folders. The names of all of them are noted, so that a path of 64 kB, which an archive can have, would take a gigabyte."""


class Records:
    """The files of a package by their paths, without the folder that all of them lie in.

    Args:
        file: a path, or a stream that can seek

    Raises:
        FileNotFoundError: there is no such file
        RuntimeError: it is damaged, cut off, or no package
    """

    def __init__(self, file: str | os.PathLike | BinaryIO) -> None:
        self.name = os.fspath(file) if isinstance(file, (str, os.PathLike)) else "<binary>"
        try:
            self._archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error) as error:
            raise RuntimeError(f"{self.name} is no package: its directory cannot be read ({error}); it is damaged or cut off") from error
        entries = self._archive.infolist()
        folders = {entry.filename.partition("/")[0] for entry in entries}
        if len(folders) != 1:
            raise RuntimeError(f"{self.name} is no package: its files do not lie in one folder")
        (self.folder,) = folders
        self._entries: dict[str, zipfile.ZipInfo] = {entry.filename.partition("/")[2]: entry for entry in entries}
        if len(self._entries) < len(entries):
            raise RuntimeError(f"{self.name} has two records of the same name; it is damaged or hostile")
        deepest = max(self._entries, key=lambda path: path.count("/"))
        if deepest.count("/") > _DEPTH:
            raise RuntimeError(f"{self.name} has folders {deepest.count('/')} deep, and {_DEPTH} are read; it is damaged or hostile")
        stream: Any = self._archive.fp
        self._length = stream.seek(0, os.SEEK_END)
        if ".data/extern_modules" not in self._entries:
            raise RuntimeError(
                f"{self.name} is no package: it has no record .data/extern_modules. Files of torch.save are read by torch.load"
            )

    def __contains__(self, path: str) -> bool:
        return path in self._entries

    def paths(self) -> list[str]:
        """The paths of all records."""
        return list(self._entries)

    def size(self, path: str) -> int:
        """The bytes of a record."""
        return self._entry(path).file_size

    def read(self, path: str) -> bytes:
        """A record.

        Raises:
            RuntimeError: there is none, or it is damaged
        """
        entry = self._entry(path)
        try:
            return self._archive.read(entry)
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, ValueError, struct.error) as error:
            raise RuntimeError(f"record {path} of {self.name} cannot be read: {error}") from error

    def text(self, path: str) -> str:
        """A record in UTF-8.

        Raises:
            RuntimeError: there is none, or it is damaged
        """
        try:
            return self.read(path).decode()
        except UnicodeDecodeError as error:
            raise RuntimeError(f"record {path} of {self.name} is no text: {error}") from error

    def _entry(self, path: str) -> Any:
        entry = self._entries.get(path)
        if entry is None:
            raise RuntimeError(f"{self.name} has no record {path}; file_structure() shows what there is")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise RuntimeError(f"record {path} of {self.name} is compressed, which no package's are; zip the files with `zip -0`")
        if entry.file_size > self._length:
            raise RuntimeError(
                f"record {path} of {self.name} claims {entry.file_size} bytes, more than the file has; it is damaged or hostile"
            )
        return entry
