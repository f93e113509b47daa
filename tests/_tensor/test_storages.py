"""``Tensor.storage()``: the elements behind a tensor."""

from __future__ import annotations

import numpy as np
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


def test_storages_are_made_of_sizes_and_numbers() -> None:
    assert flambeau.UntypedStorage(4).nbytes() == 4 and flambeau.UntypedStorage([1, 2]).tolist() == [1, 2]
    assert flambeau.TypedStorage(3, dtype=flambeau.int64).nbytes() == 24 and flambeau.TypedStorage([1.5]).tolist() == [1.5]
    x = flambeau.arange(3.0)
    wrapped = flambeau.TypedStorage(wrap_storage=x.untyped_storage(), dtype=flambeau.float32)
    wrapped[0] = 9
    assert x.tolist() == [9, 1, 2] and wrapped == x.storage()


def test_there_is_a_class_for_each_dtype() -> None:
    storage = flambeau.FloatStorage([1, 2])
    assert isinstance(storage, flambeau.FloatStorage) and isinstance(storage, flambeau.TypedStorage)
    assert not isinstance(storage, flambeau.LongStorage) and flambeau.LongStorage.dtype is flambeau.int64
    assert isinstance(storage.long(), flambeau.LongStorage) and storage.long().tolist() == [1, 2] and flambeau.BoolStorage(2).size() == 2
    assert flambeau.HalfStorage.from_buffer(b"\x00\x3c").tolist() == [1.0]


def test_bytes_are_filled_copied_and_resized() -> None:
    storage = flambeau.UntypedStorage([1, 2, 3])
    other = storage.clone().fill_(7)
    assert storage.tolist() == [1, 2, 3] and other.tolist() == [7, 7, 7]
    storage[1] = 9
    assert storage.copy_(other).tolist() == [7, 7, 7] and list(storage) == [7, 7, 7]
    assert storage.resize_(5).nbytes() == 5 and storage.tolist()[:3] == [7, 7, 7] and storage.resize_(2).tolist() == [7, 7]
    elements = flambeau.FloatStorage([1, 2])
    assert elements.resize_(3).size() == 3 and elements.tolist()[:2] == [1, 2]


def test_a_tensor_is_set_to_another_window() -> None:
    x = flambeau.arange(6.0)
    for source, more, shown in (
        (x, (), x.tolist()),
        (x, (1, (2, 2), (2, 1)), [[1, 2], [3, 4]]),
        (x.storage(), (4,), [4, 5]),
        (x.untyped_storage(), (1, (3,)), [1, 2, 3]),
    ):
        y = flambeau.zeros(2)
        assert y.set_(source, *more) is y and y.tolist() == shown and y.untyped_storage() == x.untyped_storage()
    y = flambeau.zeros(1).set_(x)
    y[0] = 9
    x[1] = 8
    assert x.tolist()[:2] == y.tolist()[:2] == [9, 8] and (y + 1).tolist()[:2] == [10, 9]
    assert flambeau.ones(3).set_().shape == (0,)
    grown = flambeau.ones(1).set_(flambeau.ones(2).untyped_storage(), 1, (3,))
    assert grown.shape == (3,) and grown[0] == 1
    view = flambeau.arange(4.0)[1:]
    assert view.set_(flambeau.ones(2))._base is None


def test_what_a_tensor_cannot_be_set_to() -> None:
    with pytest.raises(RuntimeError, match=r"type torch.int64 to a tensor of type torch.float32"):
        flambeau.ones(2).set_(flambeau.arange(2))
    with pytest.raises(TypeError, match="'source' must be Tensor or Storage, not str"):
        flambeau.ones(2).set_("a")
    with pytest.raises(RuntimeError, match="must not be negative"):
        flambeau.ones(2).set_(flambeau.ones(2), 0, (-1,))
    with pytest.raises(RuntimeError, match="leaf Variable"):
        flambeau.nn.Parameter(flambeau.ones(2)).set_(flambeau.ones(2))
    weight = flambeau.nn.Parameter(flambeau.ones(2))
    with flambeau.no_grad():
        weight.set_(flambeau.ones(3))
    (weight * 2).sum().backward()
    assert weight.grad.tolist() == [2, 2, 2]


def test_memory_that_others_see_does_not_grow() -> None:
    array = np.ones(2)
    ours = flambeau.ones(2)
    seen = ours.numpy()
    for x in (flambeau.from_numpy(array), flambeau.ones(2).share_memory_(), ours):
        with pytest.raises(RuntimeError, match=r"not resizable: its \d+ bytes are shared with a NumPy array, another process"):
            x.resize_(5)
        assert x.tolist() == [1.0, 1.0] and x.resize_(1).tolist() == [1.0]
    with pytest.raises(RuntimeError, match="not resizable"), pytest.warns(UserWarning, match="was resized"):
        flambeau.add(flambeau.ones(5), 1, out=flambeau.from_numpy(np.ones(2, np.float32)))
    assert seen.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("dtype", ["int16", "float32", "float64"])
@pytest.mark.parametrize("size", [1, 4, 100])
@pytest.mark.parametrize("grow", ["resize_", "out="])
def test_memory_that_grows_leaves_its_neighbours_alone(dtype: str, size: int, grow: str) -> None:
    """What is written next may not go where the old, smaller memory is."""
    of = getattr(flambeau, dtype)
    for larger in (162, 1000):
        before = [flambeau.full((9,), float(i)).to(of) for i in range(20)]
        x = flambeau.zeros(size, dtype=of)
        after = [flambeau.full((9,), float(i)).to(of) for i in range(20)]
        flambeau.flush()
        if grow == "resize_":
            x.resize_(larger)
            x.fill_(7)
        else:
            with pytest.warns(UserWarning, match="was resized"):
                flambeau.add(flambeau.full((larger,), 3).to(of), 4, out=x)
        flambeau.flush()
        assert (x == 7).all() and x.shape == (larger,) and x.untyped_storage().nbytes() == larger * of.itemsize
        for each in (before, after):
            assert all((neighbour == i).all() for i, neighbour in enumerate(each))


def test_memory_that_grows_keeps_what_it_held() -> None:
    x = flambeau.arange(5)
    flambeau.flush()
    part = x[1:3]
    x.resize_(9)
    assert x[:5].tolist() == [0, 1, 2, 3, 4] and part.tolist() == [1, 2]
    part.add_(10)
    assert x[:5].tolist() == [0, 11, 12, 3, 4]
