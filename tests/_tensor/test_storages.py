"""``Tensor.storage()``: the elements behind a tensor."""

from __future__ import annotations

import pytest

import flambeau


def test_tensors_of_one_memory_share_a_storage() -> None:
    x = flambeau.arange(6.0).view(2, 3)
    storage = x[1].storage()
    assert storage.tolist() == list(storage) == [0, 1, 2, 3, 4, 5] and len(storage) == storage.size() == 6
    assert storage == x.storage() and storage.data_ptr() == x.data_ptr() and storage != flambeau.arange(6.0).storage()
    assert (storage.dtype, storage.nbytes(), storage.element_size()) == (flambeau.float32, 24, 4)
    assert storage.type() == "torch.FloatStorage" and flambeau.is_storage(storage) and storage.untyped() == x.untyped_storage()
    assert flambeau.empty(0).storage().size() == 0 and not flambeau.empty(0).storage()


def test_elements_are_read_and_written() -> None:
    x = flambeau.zeros(2, 2, dtype=flambeau.int64)
    storage = x.storage()
    storage[3] = 7
    assert storage[3] == 7 and x.tolist() == [[0, 0], [0, 7]]
    other = storage.clone().fill_(2)
    assert x.tolist() == [[0, 0], [0, 7]]
    storage.copy_(other)
    assert x.tolist() == [[2, 2], [2, 2]]
    with pytest.raises(RuntimeError, match="slices"):
        storage[1:]
    with pytest.raises(IndexError):
        storage[4]


def test_other_processes_may_see_it() -> None:
    storage = flambeau.ones(3).storage()
    assert not storage.is_shared() and storage.share_memory_().is_shared() and storage.tolist() == [1, 1, 1]


def test_it_is_printed_element_by_element() -> None:
    assert (
        repr(flambeau.tensor([1.0, 2.5]).storage()) == " 1.0\n 2.5\n[torch.storage.TypedStorage(dtype=torch.float32, device=cpu) of size 2]"
    )
