"""PyTorch's format before 1.6; files that PyTorch wrote are read in ``tests/test_serialization.py``."""

from __future__ import annotations

import io
import pickle
import struct
import sys
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


def by_hand(numel: int, view: Any, size: int) -> bytes:
    """A file with a vector of ``size`` floats, of a storage of which ``numel`` are claimed and four are there."""

    def inside(value: Any) -> bytes:
        return pickle.dumps(value, 2)[2:-1]

    identity = b"(" + inside("storage") + b"ctorch\nFloatStorage\n" + inside("k") + inside("cpu") + inside(numel) + inside(view) + b"tQ"
    tensor = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + identity + inside(0) + inside((size,)) + inside((1,)) + b"\x89NtR."
    return pickles(MAGIC, 1001, {}) + tensor + pickles(["k"]) + struct.pack("<q4f", 4, 1.5, 2.5, 3.5, 4.5)


def test_storages_are_shared() -> None:
    base = flambeau.arange(10)
    whole, part = load(io.BytesIO(written([base, base[5:]])))
    whole.add_(1)
    assert part.tolist() == [6, 7, 8, 9, 10]


@pytest.mark.parametrize("layout", [flambeau.sparse_coo, flambeau.sparse_csr, flambeau.sparse_csc])
def test_sparse_tensors_are_checked_when_their_elements_are_there(layout: Any) -> None:
    dense = flambeau.eye(3)[[2, 0, 1]].double()
    sparse = dense.to_sparse(layout=layout)
    for weights_only in (True, False):
        again, other = load(io.BytesIO(written([sparse, sparse * 2])), weights_only=weights_only)
        assert again.layout == layout and flambeau.equal(again.to_dense(), dense) and flambeau.equal(other.to_dense(), dense * 2)
        if layout == flambeau.sparse_coo:
            assert again.is_coalesced()
    made = flambeau.sparse_coo_tensor if layout == flambeau.sparse_coo else flambeau.sparse_compressed_tensor
    wrong = made([[0], [5]], [1.0], (2, 2)) if layout == flambeau.sparse_coo else made([0, 1, 1], [5], [1.0], (2, 2), layout=layout)
    with pytest.raises(RuntimeError, match="found index 5|between 0 and 1"):
        load(io.BytesIO(written(wrong)))


def test_objects_one_after_the_other() -> None:
    stream = io.BytesIO(written(flambeau.ones(3)) + written({"b": flambeau.zeros(2)}))
    assert load(stream).tolist() == [1, 1, 1]
    assert load(stream)["b"].tolist() == [0, 0]


def test_files_of_the_other_byte_order() -> None:
    data = written(flambeau.tensor([1, 256], dtype=flambeau.int16))
    order = b"little_endian" + data.split(b"little_endian")[1][:3]
    little = sys.byteorder == "little"
    swapped = data.replace(order, order[:-1] + (b"\x89" if little else b"\x88"))
    assert swapped != data
    assert load(io.BytesIO(swapped)).tolist() == [256, 1]


def test_storages_that_are_parts_of_others() -> None:
    assert load(io.BytesIO(by_hand(4, None, 4))).tolist() == [1.5, 2.5, 3.5, 4.5]
    part = load(io.BytesIO(by_hand(4, ("view", 1, 2), 2)))
    assert part.tolist() == [2.5, 3.5] and part.storage_offset() == 1
    with pytest.raises(RuntimeError, match="requires a storage of 16 bytes, but the file has one of 8 bytes"):
        load(io.BytesIO(by_hand(4, ("view", 1, 2), 4)))
    for view in (("view", 1, 4), ("view", -1, 2), ("view", 2, -1)):
        with pytest.raises(RuntimeError, match="claims to be a part of storage k that does not exist"):
            load(io.BytesIO(by_hand(4, view, 1)))


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
    for numel in (2**60, -1, 1.5, "4"):
        with pytest.raises(RuntimeError, match=f"storage k claims to have {numel} elements, for which the file is too short"):
            load(io.BytesIO(by_hand(numel, None, 4)))  # type: ignore[arg-type]


def test_a_storage_of_another_size_than_its_object_expects() -> None:
    with pytest.raises(RuntimeError, match="storage k has 4 elements, but the object expects 3"):
        load(io.BytesIO(by_hand(3, None, 3)))
