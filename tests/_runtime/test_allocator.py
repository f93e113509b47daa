from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random

import numpy
import pytest

from flambeau._runtime import allocator
from flambeau._runtime.allocator import Buffer, allocate

SIZES = [0, 1, 64, 65, 1000, 4096, 100_000, 1 << 20, (2 << 20) + 1, 9 << 20, 33_333_333]


@pytest.fixture(autouse=True)
def _nothing_waits() -> Iterator[None]:
    gc.collect()
    allocator.empty_cache()
    yield
    gc.collect()
    allocator.empty_cache()


@pytest.mark.parametrize("nbytes", SIZES)
def test_memory_is_there_and_aligned(nbytes: int) -> None:
    buffer = allocate(nbytes)
    assert buffer.nbytes == nbytes
    assert buffer.address % (allocator.HUGE_PAGE if nbytes > 8 << 20 else 64) == 0
    view = buffer.view()
    view[:] = 7
    assert view.sum(dtype=numpy.int64) == 7 * nbytes


def test_block_is_at_most_an_eighth_larger() -> None:
    generator = Random(0)
    for nbytes in [1, 63, 64, 65, 1024, 1025] + [generator.randrange(1, 1 << generator.randrange(6, 30)) for _ in range(3000)]:
        block = allocator._size_class(nbytes).nbytes
        assert nbytes <= block
        assert block - nbytes < max(64, block / 8, allocator.HUGE_PAGE if block > 8 << 20 else 0), nbytes


def test_freed_memory_is_used_again() -> None:
    for nbytes in SIZES:
        buffer = allocate(nbytes)
        address = buffer.address
        del buffer
        assert allocate(nbytes).address == address


def test_steady_state_asks_the_system_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def step() -> None:
        held = [allocate(nbytes) for nbytes in SIZES]
        held += [allocate(nbytes) for nbytes in SIZES]
        del held

    step()

    def refuse(*_: object) -> None:
        raise AssertionError("memory was asked of the system")

    monkeypatch.setattr(allocator, "_map", refuse)
    reserved = allocator.statistics()["reserved"]
    for _ in range(10):
        step()
    assert allocator.statistics()["reserved"] == reserved


def test_buffers_in_use_never_overlap() -> None:
    generator = Random(1)
    held: list[tuple[Buffer, int]] = []
    for mark in range(2000):
        if held and generator.random() < 0.5:
            buffer, expected = held.pop(generator.randrange(len(held)))
            view = buffer.view(numpy.uint16)
            assert (view == expected).all()
            del buffer, view
        buffer = allocate(generator.choice([10, 70, 1000, 5000, 200_000, 3 << 20]) + generator.randrange(64))
        buffer.view(numpy.uint16)[:] = mark
        held.append((buffer, mark))
    spans = sorted((buffer.address, buffer.address + buffer.nbytes) for buffer, _ in held)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_large_block_serves_a_somewhat_smaller_request() -> None:
    buffer = allocate(100 << 20)
    address = buffer.address
    del buffer
    smaller = allocate(80 << 20)
    assert smaller.address == address
    assert allocate(80 << 20).address != address
    del smaller
    assert allocate(100 << 20).address == address
    assert allocate(30 << 20).address != address


def test_view_shares_memory_and_keeps_it() -> None:
    buffer = allocate(1000)
    first, second = buffer.view(numpy.float32), buffer.view(numpy.float32, 10, 40)
    assert first.shape == (250,) and second.shape == (10,)
    assert first.ctypes.data == buffer.address
    first[:] = numpy.arange(250)
    numpy.testing.assert_array_equal(second, numpy.arange(10, 20))
    address = buffer.address
    del buffer, first
    gc.collect()
    assert allocate(1000).address != address
    second[0] = 1
    del second
    gc.collect()
    assert allocate(1000).address == address


def test_view_that_does_not_fit_is_refused() -> None:
    with pytest.raises(TypeError, match="too small"):
        allocate(100).view(numpy.float64, 13)


def test_foreign_memory_keeps_its_owner_and_is_not_freed() -> None:
    class Owner:
        alive = True

        def __del__(self) -> None:
            Owner.alive = False

    array = numpy.arange(10)
    before = allocator.statistics()
    buffer = Buffer.foreign(array.ctypes.data, array.nbytes, Owner())
    assert isinstance(buffer, Buffer)
    view = buffer.view(numpy.int64)
    view[3] = 77
    assert array[3] == 77
    del buffer
    gc.collect()
    assert Owner.alive
    del view
    gc.collect()
    assert not Owner.alive
    assert allocator.statistics() == before


def test_statistics() -> None:
    before = allocator.statistics()
    allocator.reset_peak()
    assert allocator.statistics()["peak"] == before["allocated"]
    first, second = allocate(10 << 20), allocate(10 << 20)
    del second
    now = allocator.statistics()
    assert now["allocated"] == before["allocated"] + (10 << 20)
    assert now["peak"] == before["allocated"] + (20 << 20)
    assert now["reserved"] == before["reserved"] + (20 << 20)
    assert now["allocations"] == before["allocations"] + 2
    allocator.empty_cache()
    assert allocator.statistics()["reserved"] == before["reserved"] + (10 << 20)
    assert allocator.statistics()["reserved_peak"] == before["reserved"] + (20 << 20)
    del first
    allocator.reset_peak()
    assert allocator.statistics()["peak"] == before["allocated"]


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.parametrize("nbytes", [1 << 20, 32 << 20])
def test_empty_cache_gives_memory_back(nbytes: int) -> None:
    count = (128 << 20) // nbytes
    held = [allocate(nbytes) for _ in range(count)]
    for buffer in held:
        buffer.view()[:] = 1
    del held, buffer
    before = resident()
    allocator.empty_cache()
    assert before - resident() > 100 << 20
    again = [allocate(nbytes) for _ in range(count)]  # and addresses without memory get some again
    again[0].view()[:] = 2
    assert again[0].view().min() == 2


def test_views_survive_empty_cache() -> None:
    view = allocate(50 << 20).view()
    view[:] = 3
    allocator.empty_cache()
    assert view.min() == view.max() == 3


def test_too_much_is_a_memory_error_that_says_how_much() -> None:
    held = allocate(20 << 20)
    with pytest.raises(
        MemoryError, match=r"can't allocate memory: 1125899906842624 bytes \(1048576.00 GiB\) were asked for, \d+ are in use"
    ):
        allocate(1 << 50)
    held.view()[:] = 1
    with pytest.raises(MemoryError, match="can't allocate memory"):
        allocate(1 << 70)
    with pytest.raises(ValueError, match="cannot allocate -1 bytes"):
        allocate(-1)


def test_waiting_memory_goes_back_before_an_allocation_fails(python: Callable[..., str]) -> None:
    python("""
import resource
from flambeau._runtime import allocator
limit = 4 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
del [allocator.allocate(1 << 30) for _ in range(2)][:]
large = allocator.allocate(3 << 30)
try:
    allocator.allocate(3 << 30)
except MemoryError as error:
    assert "3221225472 bytes (3.00 GiB) were asked for" in str(error), error
else:
    raise AssertionError("there cannot be so much memory")
""")


def test_too_much_waiting_memory_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = allocator.statistics()
    del [allocate(20 << 20) for _ in range(4)][:]
    assert allocator.statistics()["reserved"] == before["reserved"] + (80 << 20)
    monkeypatch.setattr(allocator, "_physical_memory", lambda: 100 << 20)
    held = allocate(128 << 20)
    after = allocator.statistics()
    assert after["reserved"] - before["reserved"] == after["allocated"] - before["allocated"] == held.nbytes


def test_threads() -> None:
    before = allocator.statistics()["allocated"]
    wrong = []

    def work(mark: int) -> None:
        generator = Random(mark)
        for _ in range(300):
            buffers = [allocate(generator.choice([100, 5000, 70_000, 9 << 20])) for _ in range(4)]
            views = [buffer.view(numpy.uint8, 100) for buffer in buffers]
            for view in views:
                view[:] = mark
            if generator.random() < 0.02:
                allocator.empty_cache()
            wrong.extend(view.tolist() for view in views if (view != mark).any())

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    gc.collect()
    assert allocator.statistics()["allocated"] == before


def test_forked_process_has_a_copy(python: Callable[..., str]) -> None:
    python("""
import os
from flambeau._runtime.allocator import allocate
buffer = allocate(20 << 20)
buffer.view()[:] = 1
small = allocate(100)
small.view()[:] = 1
pid = os.fork()
if pid == 0:
    assert buffer.view().min() == 1
    buffer.view()[:] = 2
    small.view()[:] = 2
    assert allocate(100).address != small.address
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert buffer.view().max() == 1 and small.view().max() == 1
""")


def test_fork_while_another_thread_takes_memory(python: Callable[..., str]) -> None:
    """The child has neither that thread nor anybody else who would release its lock."""
    python("""
import os, signal, threading, warnings
import flambeau
from flambeau._runtime import allocator
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns about any fork beside threads
held, done = threading.Event(), threading.Event()
def hold():
    with allocator._lock:
        held.set()
        done.wait()
thread = threading.Thread(target=hold)
thread.start()
held.wait()
pid = os.fork()
if pid == 0:
    signal.alarm(30)
    allocator.allocate(50 << 20).view()[:] = 1
    os._exit(0)
status = os.waitpid(pid, 0)[1]
done.set()
thread.join()
assert status == 0, status
""")


def test_buffers_that_outlive_the_modules(python: Callable[..., str]) -> None:
    python("""
import sys
from flambeau._runtime.allocator import allocate
class Late:
    def __init__(self):
        self.views = [allocate(1000).view(), allocate(20 << 20).view()]
    def __del__(self):
        for view in self.views:
            view[:] = 1
sys.late = Late()
cycle = [allocate(100)]
cycle.append(cycle)
""")


def test_what_waits_of_sizes_that_do_not_come_again_is_bounded(python: Callable[..., str]) -> None:
    """A thousand sizes of up to 40 MB: no more waits than was ever in use, or 64 MB; two sizes in turn ask the system for nothing."""
    python("""
from flambeau._runtime import allocator
waiting = []
for number in range(1000):
    blocks = [allocator.allocate((1 + number * 7 % 200) * 100_000 + number) for _ in range(2)]
    del blocks
    now = allocator.statistics()
    waiting.append(now["reserved"] - now["allocated"])
bound = max(64 << 20, now["peak"])
assert bound < max(waiting) <= bound + now["peak"], (max(waiting), now)
reserved = set()
for number in range(20):
    blocks = [allocator.allocate(30 << 20 if number % 2 else 11 << 20) for _ in range(3)]
    del blocks
    if number > 6:
        reserved.add(allocator.statistics()["reserved"])
assert len(reserved) == 1, reserved
""")
