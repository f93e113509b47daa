from __future__ import annotations

import gzip
import struct
import tracemalloc

import numpy as np
import pytest

import flambeau
from flambeau.vision.datasets.idx import read_idx

CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def idx(array):
    header = struct.pack(f">HBB{array.ndim}I", 0, CODES[array.dtype.name], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("name", CODES)
def test_every_dtype(tmp_path, name, compress):
    array = np.arange(24).reshape(2, 3, 4).astype(name)
    (tmp_path / "file").write_bytes(compress(idx(array)))
    tensor = read_idx(tmp_path / "file")
    assert tensor.dtype == getattr(flambeau, name)
    assert tensor.tolist() == array.tolist()


def test_no_values(tmp_path):
    (tmp_path / "file").write_bytes(idx(np.zeros((0, 28, 28), np.uint8)))
    assert read_idx(tmp_path / "file").shape == (0, 28, 28)


@pytest.mark.parametrize("content", [b"", b"\0\0", b"PK\3\4 and so on", b"\0\0\x07\1" + bytes(20), b"\0\0\x08\0"])
def test_another_format(tmp_path, content):
    (tmp_path / "images").write_bytes(content)
    with pytest.raises(ValueError, match="images is not an IDX file: it begins with"):
        read_idx(tmp_path / "images")


def test_truncated_in_the_header(tmp_path):
    (tmp_path / "images").write_bytes(b"\0\0\x08\3" + bytes(7))
    with pytest.raises(ValueError, match="images is truncated: it ends within its header, which announces 3 axes"):
        read_idx(tmp_path / "images")


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_truncated_values(tmp_path, compress):
    (tmp_path / "images").write_bytes(compress(idx(np.zeros((5, 4), np.uint8))[:-3]))
    with pytest.raises(ValueError, match=r"images should have 20 bytes of values, for shape \(5, 4\) .* but it has 17 bytes"):
        read_idx(tmp_path / "images")


def test_too_many_values(tmp_path):
    (tmp_path / "images").write_bytes(idx(np.zeros((5, 4), np.uint8)) + b"x")
    with pytest.raises(ValueError, match=r"20 bytes of values.* but it has more"):
        read_idx(tmp_path / "images")


def test_truncated_compression(tmp_path):
    (tmp_path / "images").write_bytes(gzip.compress(idx(np.zeros((50, 40), np.uint8)))[:-9])
    with pytest.raises(ValueError, match="images is truncated or damaged"):
        read_idx(tmp_path / "images")


@pytest.mark.parametrize("position", [10, 11, 12, -1, -5])
def test_damaged_compression(tmp_path, position):
    damaged = bytearray(gzip.compress(idx(np.arange(2000, dtype=np.int32))))
    damaged[position] ^= 0xFF
    (tmp_path / "images").write_bytes(damaged)
    with pytest.raises(ValueError, match="images is truncated or damaged"):
        read_idx(tmp_path / "images")


def test_a_hostile_header_costs_no_memory(tmp_path):
    (tmp_path / "images").write_bytes(struct.pack(">HBB4I", 0, 0x0E, 4, *[2**32 - 1] * 4) + bytes(100))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="but it has 100 bytes"):
            read_idx(tmp_path / "images")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
