"""What ``save`` and ``load`` do where their arguments do not say."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from enum import Enum

__all__ = ["LoadEndianness", "LoadOptions", "SaveOptions", "load", "save"]

PRIVATE: int = getattr(mmap, "MAP_PRIVATE", 2)
SHARED: int = getattr(mmap, "MAP_SHARED", 1)


class LoadEndianness(Enum):
    """The order of bytes in numbers: this processor's, or one of the two there are."""

    NATIVE = 1
    LITTLE = 2
    BIG = 3


@dataclass(slots=True)
class LoadOptions:
    """Defaults of ``load``.

    Attributes:
        mmap: whether storages are read from the file when they are used
        mmap_flags: ``mmap.MAP_PRIVATE``, with which what is written to such a tensor stays here, or ``mmap.MAP_SHARED``, with
            which it changes the file
        endianness: of files that do not say which theirs is; ``None`` for this processor's
    """

    mmap: bool = False
    mmap_flags: int = PRIVATE
    endianness: LoadEndianness | None = None


@dataclass(slots=True)
class SaveOptions:
    """Defaults of ``save``.

    Attributes:
        compute_crc32: whether each record gets a checksum. Without them a program that unpacks zip files may refuse the file.
        storage_alignment: of which number of bytes the positions of records are multiples
    """

    compute_crc32: bool = True
    storage_alignment: int = 64


load = LoadOptions()
save = SaveOptions()
