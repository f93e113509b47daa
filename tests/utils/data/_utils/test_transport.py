from __future__ import annotations

import errno
import gc
import multiprocessing
import os

import numpy as np
import pytest

import flambeau
from flambeau.utils.data._utils import transport
from flambeau.utils.data._utils.transport import Receiver, Sender

LARGE = 10_000  # float32s: too many bytes to travel inside of the pickle

needs_segments = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this platform has no memfd")


class Line:
    """A sender and a receiver in one process; the pipe holds a small message until it is read."""

    def __init__(self, leases=100):
        there, here = multiprocessing.Pipe(duplex=True)
        self.sender = Sender(there, os.getpid())
        self.receiver = Receiver(here, leases)

    def carry(self, value):
        self.sender.send(value)
        return self.receiver.receive()

    def recycle(self):
        numbers = self.receiver.returned()
        self.sender.take_back(numbers)
        return numbers


@pytest.fixture
def line():
    return Line()


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.stride() == b.stride() and flambeau.equal(a, b)


@pytest.mark.parametrize("size", [0, 1, 7, LARGE])
@pytest.mark.parametrize("name", ["float32", "float64", "float16", "bfloat16", "int64", "uint8", "bool", "complex64"])
def test_tensors_of_any_dtype_arrive(line, size, name):
    tensor = flambeau.arange(size).to(getattr(flambeau, name))
    assert same(line.carry(tensor), tensor)


def test_shapes_and_strides_arrive(line):
    image = flambeau.arange(2 * 3 * 50 * 60, dtype=flambeau.float32).reshape(2, 3, 50, 60)
    channels_last = image.to(memory_format=flambeau.channels_last)
    for tensor in (image, channels_last, image.transpose(0, 3), flambeau.tensor(3.5), flambeau.ones(2, 0, 3)):
        assert same(line.carry(tensor), tensor)


def test_a_tensor_with_gaps_arrives_without_them(line):
    tensor = flambeau.arange(2 * LARGE)[::2]
    arrived = line.carry(tensor)
    assert arrived.is_contiguous()
    assert flambeau.equal(arrived, tensor)


def test_structures_arrive(line):
    value = {"image": flambeau.ones(LARGE), "array": np.arange(LARGE), "names": ["a", b"b"], "deep": [(1, {2: flambeau.zeros(3)})]}
    arrived = line.carry(value)
    assert flambeau.equal(arrived["image"], value["image"])
    assert (arrived["array"] == value["array"]).all()
    assert arrived["names"] == ["a", b"b"]
    assert arrived["deep"][0][1][2].tolist() == [0, 0, 0]


def test_leaves_keep_requires_grad(line):
    assert line.carry(flambeau.ones(3, requires_grad=True)).requires_grad
    with pytest.raises(RuntimeError, match="part of an autograd graph"):
        line.sender.send(flambeau.ones(3, requires_grad=True) * 2)
    assert line.carry("still in order") == "still in order"


def test_what_cannot_be_pickled_is_not_half_sent(line):
    with pytest.raises(Exception, match="pickle"):
        line.sender.send([flambeau.ones(LARGE), lambda: None])
    assert line.carry(1) == 1


def test_what_arrives_can_be_written_to(line):
    for size in (3, LARGE):
        arrived = line.carry([flambeau.zeros(size), np.zeros(size)])
        arrived[0].add_(1)
        arrived[1] += 1
        assert arrived[0].sum().item() == arrived[1].sum() == size


@needs_segments
def test_a_segment_is_used_again_when_nothing_lives_on_it(line):
    arrived = line.carry(flambeau.ones(LARGE))
    assert line.recycle() == []
    view = arrived[5:]
    del arrived
    gc.collect()
    assert line.recycle() == [], "a view keeps its memory"
    del view
    gc.collect()
    assert line.recycle() == [0]
    again = line.carry(flambeau.full((LARGE,), 2.0))
    assert (again == 2).all()
    del again
    gc.collect()
    assert line.recycle() == [0]


@needs_segments
def test_values_that_are_kept_do_not_change(line):
    kept = []
    for number in range(10):
        kept.append(line.carry(flambeau.full((LARGE,), float(number))))
        line.recycle()
    assert [tensor[0].item() for tensor in kept] == [tensor[-1].item() for tensor in kept] == list(range(10))


@needs_segments
def test_segments_are_few_however_much_is_kept():
    line = Line(leases=3)
    kept = []
    for number in range(20):
        kept.append(line.carry(flambeau.full((LARGE,), float(number))))
        line.recycle()
    assert [tensor[0].item() for tensor in kept] == list(range(20))
    assert len(line.sender._segments) == 4


@needs_segments
def test_growing_values_replace_segments(line):
    for factor in range(1, 6):
        arrived = line.carry(flambeau.full((LARGE * factor,), float(factor)))
        assert (arrived == factor).all()
        del arrived
        gc.collect()
        line.recycle()
    assert set(line.sender._segments) == set(line.receiver._segments)
    assert len(line.sender._segments) == 1


@needs_segments
def test_descriptors_do_not_leak(line):
    def open_descriptors():
        return len(os.listdir("/proc/self/fd"))

    line.carry(flambeau.ones(LARGE))
    line.recycle()
    before = open_descriptors()
    for factor in range(1, 6):
        line.carry(flambeau.ones(LARGE * factor))
        gc.collect()
        line.recycle()
    assert open_descriptors() == before


def test_without_segments_everything_is_in_the_pickle(monkeypatch):
    monkeypatch.setattr(transport, "_SHARES", False)
    line = Line()
    arrived = line.carry([flambeau.arange(5000), np.arange(5000)])
    assert arrived[0].sum().item() == arrived[1].sum() == 12497500
    arrived[0].add_(1)


def test_a_sender_that_is_gone():
    line = Line()
    line.sender._connection.close()
    with pytest.raises(EOFError):
        line.receiver.receive()


@needs_segments
@pytest.mark.parametrize("call", ["memfd_create", "ftruncate"])
def test_without_segments_buffers_travel_in_the_pickle(line, call, monkeypatch):
    """There may be no descriptors left (``ulimit -n``), or no files of this size allowed (``ulimit -f``)."""

    def refuse(*arguments):
        raise OSError(errno.EMFILE, "Too many open files")

    descriptors = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, call, refuse)
    for size in (LARGE, LARGE + 1):  # both fit into the pipe
        tensor = flambeau.arange(size)
        assert same(line.carry(tensor), tensor)
    assert os.listdir("/proc/self/fd") == descriptors
    monkeypatch.undo()
    tensor = flambeau.arange(99 * LARGE)
    assert same(line.carry(tensor), tensor)
