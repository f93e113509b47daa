"""PyTorch's archive: a zip file whose records are not compressed and start at multiples of 64 bytes.

All records lie in one folder, ``archive/data.pkl`` and so on. The writer needs no seeking: sizes and checksums follow each record
(PKWARE's APPNOTE 6.3.10, sections 4.3.9 and 4.5.3). Its files are what PyTorch writes, byte for byte, up to ``serialization_id``.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from hashlib import sha256
from typing import BinaryIO

from flambeau._runtime import checksums

ALIGNMENT = 64
FORMAT_VERSION = b"1"  # storages are in the order of their numbers
_ARCHIVE_VERSION = b"3\n"

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_CENTRAL_HEADER = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_FLAG_DESCRIPTOR, _FLAG_UTF8 = 0x0008, 0x0800
_LIMIT32 = 0xFFFFFFFF
_PIECE = 1 << 20  # bytes that are read, or written, and checked at a time, while the cache holds them


class ArchiveWriter:
    """Writes records one after the other, and the directory in ``close``."""

    def __init__(self, stream: BinaryIO, folder: str, alignment: int = ALIGNMENT, checksums: bool = True) -> None:
        self._stream = stream
        self._folder = folder
        self._alignment = alignment
        self._checksums = checksums
        self._position = 0
        self._directory: list[bytes] = []
        self._identity = sha256()

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Add a record."""
        data = memoryview(data).cast("B")
        path = f"{self._folder}/{name}".encode()
        start = self._position
        size = data.nbytes
        flags = _FLAG_UTF8 | (_FLAG_DESCRIPTOR if size else 0)
        extra = _extra64(size, start)
        padding = -(start + _LOCAL_HEADER.size + len(path) + len(extra) + 4) % self._alignment
        self._put(_LOCAL_HEADER.pack(b"PK\x03\x04", 0, flags, 0, 0, 0, 0, 0, 0, len(path), len(extra) + 4 + padding))
        self._put(path + extra + struct.pack("<2sH", b"FB", padding) + b"Z" * padding)
        checksum = 0
        for begin in range(0, size, _PIECE):
            piece = data[begin : begin + _PIECE]
            if self._checksums:
                checksum = checksums.crc32(piece, checksum)
            self._put(piece)
        if size:
            self._put(struct.pack("<4sL2Q" if extra else "<4s3L", b"PK\x07\x08", checksum, size, size))
        self._identity.update(path + struct.pack("<LQ", checksum, size))
        short, at = min(size, _LIMIT32), min(start, _LIMIT32)
        header = (b"PK\x01\x02", 0, 0, flags, 0, 0, 0, checksum, short, short, len(path), len(extra), 0, 0, 0, 0, at)
        self._directory.append(_CENTRAL_HEADER.pack(*header) + path + extra)

    def close(self, version: bool = True) -> None:
        """Add the last records and the directory; without ``version`` the one that says which form checkpoints have."""
        if version:
            self.write("version", _ARCHIVE_VERSION)
        self.write(".data/serialization_id", f"{int.from_bytes(self._identity.digest(), 'little') % 10**40:040d}".encode())
        start = self._position
        count = len(self._directory)
        for entry in self._directory:
            self._put(entry)
        size = self._position - start
        end = self._position
        self._put(_END64.pack(b"PK\x06\x06", _END64.size - 12, 0x031E, 45, 0, 0, count, count, size, start))
        self._put(_LOCATOR64.pack(b"PK\x06\x07", 0, end, 1))
        short = min(count, 0xFFFF)
        self._put(_END.pack(b"PK\x05\x06", 0, 0, short, short, min(size, _LIMIT32), min(start, _LIMIT32), 0))

    def _put(self, data: bytes | memoryview) -> None:
        self._stream.write(data)
        self._position += len(data)


def _extra64(size: int, start: int) -> bytes:
    """The extra field with the numbers that do not fit 32 bits."""
    values = [value for value in (size, size, start) if value >= _LIMIT32]
    return struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values) if values else b""


class ArchiveReader:
    """Reads the records of an archive, whose directory it checks first.

    Args:
        main: a record that every archive of the kind has, right in its folder

    Records that are compressed are refused (PyTorch compresses none but source): so a file cannot ask for more memory than it is long.

    Raises:
        RuntimeError: the file is damaged, cut off, or not an archive of PyTorch's.
    """

    def __init__(self, stream: BinaryIO, main: str = "data.pkl") -> None:
        self._stream = stream
        try:
            entries = zipfile.ZipFile(stream).infolist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error) as error:
            raise RuntimeError(f"cannot read the directory at the end of this zip archive ({error}); it is damaged or cut off") from error
        self._length = stream.seek(0, 2)
        self._entries = {entry.filename: entry for entry in entries}
        if len(self._entries) < len(entries):
            raise RuntimeError("this zip archive has two records of the same name; PyTorch writes no such file")
        claimed = sum(entry.file_size for entry in entries if "/code/" not in entry.filename)  # of source, `read_source` has a limit
        if claimed > self._length:
            raise RuntimeError(f"this zip archive of {self._length} bytes claims to hold {claimed} bytes; the file is damaged or hostile")
        folders = [name.removesuffix(main) for name in self._entries if name.endswith(f"/{main}") and name.count("/") == 1]
        if len(folders) != 1:
            raise RuntimeError(f"this zip archive is no checkpoint: it has no record <folder>/{main}, as every file written by `save` has")
        self._folder = folders[0]

    def __contains__(self, name: str) -> bool:
        return self._folder + name in self._entries

    def names(self, folder: str) -> list[str]:
        """The records in a folder, with its name in front."""
        return [name.removeprefix(self._folder) for name in self._entries if name.startswith(f"{self._folder}{folder}/")]

    def size(self, name: str) -> int:
        """The bytes of a record."""
        return self._entry(name).file_size

    def offset(self, name: str) -> int:
        """Where in the file the bytes of a record start."""
        entry = self._entry(name)
        return self._start(name, entry, entry.file_size)

    def _start(self, name: str, entry: zipfile.ZipInfo, length: int) -> int:
        header = b""
        if 0 <= entry.header_offset < self._length:
            self._stream.seek(entry.header_offset)
            header = self._stream.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
            raise RuntimeError(f"record {name} of this archive has no header where the directory says; the file is damaged")
        start = entry.header_offset + _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack(header)[-2:])
        if start + length > self._length:
            raise RuntimeError(f"record {name} of this archive reaches past the end of the file; the file is damaged or cut off")
        return start

    def read(self, name: str) -> bytes:
        """A record."""
        data = bytearray(self.size(name))
        self.read_into(name, memoryview(data))
        return bytes(data)

    def read_into(self, name: str, target: memoryview) -> None:
        """Copy a record to memory of its size."""
        self._stream.seek(self.offset(name))
        checksum = 0
        for begin in range(0, len(target), _PIECE):
            piece = target[begin : begin + _PIECE]
            fill(self._stream, piece)
            checksum = checksums.crc32(piece, checksum)
        stored = self._entry(name).CRC
        if stored and checksum != stored:  # zero: written without checksums
            raise RuntimeError(f"record {name} of this archive has the wrong checksum; the file is damaged")

    def read_source(self, name: str, limit: int) -> bytes:
        """A record that may be compressed, of ``limit`` bytes at most: PyTorch compresses the source of programs.

        Raises:
            RuntimeError: it is longer, or damaged
        """
        entry = self._found(name)
        if entry.file_size > limit:
            raise RuntimeError(f"record {name} of this archive is longer than {limit} bytes")
        if entry.compress_type != zipfile.ZIP_DEFLATED:
            return self.read(name)
        self._stream.seek(self._start(name, entry, entry.compress_size))
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(self._stream.read(entry.compress_size), limit)
        except zlib.error as error:
            raise RuntimeError(f"record {name} of this archive cannot be decompressed ({error}); the file is damaged") from error
        if len(data) != entry.file_size or zlib.crc32(data) != entry.CRC:
            raise RuntimeError(f"record {name} of this archive has the wrong length or checksum; the file is damaged")
        return data

    def _found(self, name: str) -> zipfile.ZipInfo:
        entry = self._entries.get(self._folder + name)
        if entry is None:
            raise RuntimeError(f"this archive has no record {name}; the file is damaged")
        return entry

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = self._found(name)
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise RuntimeError(f"record {name} of this archive is compressed, which PyTorch's never are; zip the files with `zip -0`")
        return entry


def fill(stream: BinaryIO, target: memoryview) -> None:
    """Read exactly as many bytes as ``target`` has.

    Raises:
        RuntimeError: the stream ends before.
    """
    read_into = getattr(stream, "readinto", None)
    missing = target
    while len(missing):
        if read_into is not None:
            count = read_into(missing)
        else:
            data = stream.read(len(missing))
            count = len(data)
            missing[:count] = data
        if not count:
            raise RuntimeError(f"the file ends {len(missing)} bytes too early; it is cut off")
        missing = missing[count:]
