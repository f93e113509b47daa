"""PyTorch's format before 1.6; files that PyTorch wrote are read in ``tests/test_serialization.py``."""

from __future__ import annotations

import io
import pickle
from typing import Any

import pytest

import flambeau
from flambeau.serialization import load, save

MAGIC = 0x1950A86A20F9469CFC6C


def written(obj: Any) -> bytes:
    buffer = io.BytesIO()
    save(obj, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def pickles(*values: Any) -> bytes:
    return b"".join(pickle.dumps(value, 2) for value in values)


def test_storages_are_shared() -> None:
    base = flambeau.arange(10)
    whole, part = load(io.BytesIO(written([base, base[5:]])))
    whole.add_(1)
    assert part.tolist() == [6, 7, 8, 9, 10]


def test_objects_one_after_the_other() -> None:
    stream = io.BytesIO(written(flambeau.ones(3)) + written({"b": flambeau.zeros(2)}))
    assert load(stream).tolist() == [1, 1, 1]
    assert load(stream)["b"].tolist() == [0, 0]


def test_files_of_the_other_byte_order() -> None:
    data = written(flambeau.tensor([1, 256], dtype=flambeau.int16))
    import sys

    order = b"little_endian" + data.split(b"little_endian")[1][:3]
    little = sys.byteorder == "little"
    swapped = data.replace(order, order[:-1] + (b"\x89" if little else b"\x88"))
    assert swapped != data
    assert load(io.BytesIO(swapped)).tolist() == [256, 1]


def test_storages_that_are_parts_of_others() -> None:
    data = written([flambeau.arange(4.0)])
    whole = b"ctorch\nFloatStorage\n"
    start = data.index(b"NtQ")  # no view
    view = b"X\x01\x00\x00\x00vK\x01K\x02\x87tQ"  # ("v", 1, 2)
    assert whole in data
    changed = data[:start] + data[start - 0 : start].join([b"", b""]) + view[: len(view)] + data[start + 3 :]
    with pytest.raises(RuntimeError, match=r"requires a storage of 16 bytes, but the file has one of 8 bytes"):
        load(io.BytesIO(changed))
    smaller = changed.replace(b"K\x00K\x04\x85", b"K\x00K\x02\x85")
    assert load(io.BytesIO(smaller))[0].tolist() == [1, 2]


def test_files_that_make_no_sense() -> None:
    for data, message in (
        (pickles(1), "Invalid magic number"),
        (pickles(MAGIC, 7), "Invalid protocol version: 7"),
        (pickles(MAGIC, 1001, {}, "object", ["0"]), "storages that its object does not refer to"),
        (pickles(MAGIC, 1001, {}, "object", 5), "storages that its object does not refer to"),
    ):
        with pytest.raises(RuntimeError, match=message):
            load(io.BytesIO(data))


def test_a_storage_larger_than_the_file_takes_no_memory() -> None:
    data = written(flambeau.ones(200))
    huge = data.replace(b"K\xc8NtQ", b"\x8a\x08" + (2**60).to_bytes(8, "little") + b"NtQ")
    assert huge != data
    with pytest.raises(RuntimeError, match="claims to have 1152921504606846976 elements, for which the file is too short"):
        load(io.BytesIO(huge))


def test_a_storage_of_another_size_than_its_object_expects() -> None:
    data = written(flambeau.ones(3))
    changed = data.replace((3).to_bytes(8, "little"), (2).to_bytes(8, "little"))
    with pytest.raises(RuntimeError, match="storage 0 has 2 elements, but the object expects 3"):
        load(io.BytesIO(changed))
