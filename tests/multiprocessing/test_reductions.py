"""Tensors that several processes read and write."""

from __future__ import annotations

import errno
import gc
import multiprocessing as python_multiprocessing
import os
import pickle
import warnings

import numpy as np
import pytest

import flambeau
from flambeau import multiprocessing, nn
from flambeau._tensor import sharing


def _writes_its_own(number, tensor):
    tensor[number] = number + 1


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_write_parts_of_one_tensor(method):
    tensor = flambeau.zeros(3).share_memory_()
    multiprocessing.start_processes(_writes_its_own, (tensor,), 3, start_method=method)
    assert tensor.tolist() == [1, 2, 3]


def _learns(number, model, inputs):
    optimizer = flambeau.optim.SGD(model.parameters(), lr=0.5)
    model(inputs).sum().backward()
    optimizer.step()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_train_one_model(method):
    model = nn.Linear(2, 1)
    before = model.weight.detach().clone()
    assert model.share_memory() is model and all(parameter.is_shared() for parameter in model.parameters())
    inputs = flambeau.tensor([[1.0, 2.0]])
    for _ in range(2):
        multiprocessing.start_processes(_learns, (model, inputs), 1, start_method=method)
    flambeau.testing.assert_close(model.weight.detach(), before - flambeau.tensor([[1.0, 2.0]]), rtol=0, atol=1e-6)
    assert model.weight.grad is None


def _adds_one_to_what_comes(tensors, done):
    for each in tensors.get():
        each.add_(1)
    done.put(None)


def test_what_goes_through_a_queue_is_shared():
    context = multiprocessing.get_context("fork")
    tensors, done = context.Queue(), context.Queue()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)
        process = context.Process(target=_adds_one_to_what_comes, args=(tensors, done))
        process.start()
    whole = flambeau.arange(6.0).reshape(2, 3)
    tensors.put((whole, whole[1]))
    done.get(timeout=60)
    process.join()
    assert whole.tolist() == [[1, 2, 3], [5, 6, 7]] and whole.is_shared()


def test_parameters_and_views_come_back_as_they_were():
    context = multiprocessing.get_context("fork")
    channel = context.SimpleQueue()
    parameter = nn.Parameter(flambeau.ones(2, 3))
    channel.put((parameter, parameter.detach().t(), flambeau.empty(0), flambeau.ones(1, requires_grad=True)))
    same, view, empty, leaf = channel.get()
    assert type(same) is nn.Parameter and same.requires_grad and leaf.requires_grad and leaf.is_leaf and empty.shape == (0,)
    assert view.stride() == (1, 3) and view.untyped_storage() == same.untyped_storage() == parameter.untyped_storage()


def test_tensors_with_a_history_are_not_sent():
    result = flambeau.ones(2, requires_grad=True) * 2
    with pytest.raises(RuntimeError, match=r"send tensor\.detach\(\)"):
        python_multiprocessing.reduction.ForkingPickler.dumps(result)


def test_sharing_keeps_bytes_views_and_history():
    weight = flambeau.ones(4, requires_grad=True)
    pending = weight.detach() * 3
    view = pending[1:]
    reads = weight.detach() + 1
    assert pending.share_memory_() is pending and view.is_shared() and not weight.is_shared()
    weight.share_memory_()
    pending[2] = 7
    assert view.tolist() == [3, 7, 3] and reads.tolist() == [2] * 4
    (weight * pending).sum().backward()
    assert weight.grad.tolist() == [3, 3, 7, 3]
    copied = pickle.loads(pickle.dumps(pending))  # by value: a file, not another process
    assert copied.tolist() == pending.tolist() and not copied.is_shared()


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this platform has no memfd")
@pytest.mark.parametrize("call", ["memfd_create", "ftruncate"])
def test_no_memory_to_share(call, monkeypatch):
    """There may be no descriptors left, or no files of this size allowed."""

    def refuse(*arguments):
        raise OSError(errno.EMFILE, "Too many open files")

    tensor, descriptors = flambeau.arange(1000), os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(RuntimeError, match="no shared memory for 8000 bytes: .*Too many open files"):
        tensor.share_memory_()
    monkeypatch.undo()
    assert os.listdir("/proc/self/fd") == descriptors
    assert not tensor.is_shared() and tensor.sum() == 499500


def test_nothing_to_share():
    assert not flambeau.empty(0).share_memory_().is_shared()
    assert not flambeau.empty(2, device="meta").share_memory_().is_shared()


def test_memory_goes_back():
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    tensor = flambeau.ones(1000).share_memory_()
    again = sharing.attach(os.dup(sharing.segment_of(tensor.memory).descriptor), 4000)
    assert again is tensor.memory
    del tensor, again
    gc.collect()
    if descriptors is not None:
        assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_part_is_written_without_the_rest():
    """Another process may write the rest between our reading and our writing; here it is NumPy that does."""
    tensor = flambeau.zeros(4, dtype=flambeau.bfloat16).share_memory_()
    seen = flambeau.zeros(3)
    array = seen.numpy()
    version = seen._version
    new = seen[:1] + 1.0
    array[2] = 5
    seen[:1] = new
    assert array.tolist() == [1, 0, 5] and seen._version == version + 1
    tensor[1:3] = 1.5
    assert tensor.tolist() == [0, 1.5, 1.5, 0]
    np.testing.assert_array_equal(array, seen)


def test_strategies():
    assert multiprocessing.get_sharing_strategy() in multiprocessing.get_all_sharing_strategies()
    multiprocessing.set_sharing_strategy("file_system")
    with pytest.raises(AssertionError, match="no sharing strategy"):
        multiprocessing.set_sharing_strategy("telepathy")
