"""The IDX format of arrays, in which MNIST and its relatives are distributed.

Two zero bytes, a code of the dtype, the number of axes; then each axis's length as a big-endian 32-bit number; then the
values, big-endian, the last axis fastest (http://yann.lecun.com/exdb/mnist/).
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

import flambeau

__all__ = ["read_idx"]

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CHUNK = 1 << 20


def read_idx(path: str | os.PathLike[str]) -> flambeau.Tensor:
    """Reads an IDX file, compressed with gzip or not, as a tensor.

    Memory is used for the bytes that the file has, whatever its header says.

    Raises:
        ValueError: a file that is not in this format, or that has more or fewer values than its header says.
    """
    path = Path(path)
    with open(path, "rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path, "rb") if compressed else open(path, "rb") as file:
            start = file.read(4)
            if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _DTYPES or start[3] == 0:
                raise ValueError(
                    f"{path} is not an IDX file: it begins with {start.hex(' ') or 'nothing'}, where 00 00, a code of the dtype "
                    f"(one of {', '.join(f'{code:02x}' for code in _DTYPES)}) and a number of axes were expected"
                )
            lengths = file.read(4 * start[3])
            if len(lengths) < 4 * start[3]:
                raise ValueError(f"{path} is truncated: it ends within its header, which announces {start[3]} axes")
            shape = struct.unpack(f">{start[3]}I", lengths)
            dtype = np.dtype(_DTYPES[start[2]])
            expected = math.prod(shape) * dtype.itemsize
            content = bytearray()
            # In pieces, and one byte too far: a hostile header must neither cost memory nor hide what follows.
            while len(content) <= expected and (piece := file.read(min(_CHUNK, expected + 1 - len(content)))):
                content += piece
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is truncated or damaged: {error}") from error
    if len(content) != expected:
        found = f"{len(content)} bytes" if len(content) < expected else "more"
        raise ValueError(f"{path} should have {expected} bytes of values, for shape {shape} as its header says, but it has {found}")
    return flambeau.from_numpy(np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False))
