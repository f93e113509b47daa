"""Several threads record at once, and a process forks while something is pending."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest

import flambeau
from flambeau._tape.tape import LOCAL


@pytest.fixture(autouse=True)
def frequent_switches():
    """Let threads interrupt each other as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
    flambeau.flush()


def together(*functions: Callable[[], None]) -> None:
    """Run functions in a thread each; what one raises is raised here."""
    errors: list[BaseException] = []

    def guarded(function: Callable[[], None]) -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]


def test_each_thread_has_a_tape_and_modes_of_its_own() -> None:
    seen = []

    def work() -> None:
        seen.append((LOCAL.tape, flambeau.is_grad_enabled()))

    with flambeau.no_grad():
        together(work)
    assert seen[0][0] is not LOCAL.tape and seen[0][1]


def test_threads_that_share_inputs() -> None:
    x = flambeau.arange(50.0)

    def work(factor: int) -> Callable[[], None]:
        def run() -> None:
            for number in range(100):
                y = x * factor + number
                z = (y - x).sum()
                assert z.item() == (factor - 1) * 1225 + 50 * number

        return run

    together(*(work(factor) for factor in range(2, 5)))


def test_pending_tensors_pass_between_threads() -> None:
    """Each thread goes on with what the other one has recorded and not computed."""
    forward: queue.Queue = queue.Queue()
    backward: queue.Queue = queue.Queue()

    def play(inbox: queue.Queue, outbox: queue.Queue) -> Callable[[], None]:
        def run() -> None:
            mine = flambeau.zeros(8)
            for _ in range(150):
                ball = inbox.get(timeout=30)
                mine = mine + 1
                mine.add_(ball * 0)
                outbox.put(ball + 1)
                mine = mine * 1
            assert mine.tolist() == [150.0] * 8

        return run

    forward.put(flambeau.zeros(8))
    together(play(forward, backward), play(backward, forward))
    assert forward.get().tolist() == [300.0] * 8


def test_a_thread_looks_at_what_another_is_recording() -> None:
    """A thread that records nothing itself makes the other one's tape flush, at any moment."""
    latest: list[flambeau.Tensor] = [flambeau.zeros(4)]
    done = threading.Event()

    def record() -> None:
        x = flambeau.zeros(4)
        try:
            for _ in range(2000):
                x = x + 1.0
                x.mul_(1.0)
                latest[0] = x
        finally:
            done.set()
        assert x.tolist() == [2000.0] * 4

    def look() -> None:
        while not done.is_set():
            values = latest[0].detach().tolist()
            assert len(set(values)) == 1 and values[0] == int(values[0])

    together(record, look)


def test_a_write_in_one_thread_does_not_reach_what_another_has_recorded_before() -> None:
    x = flambeau.zeros(6)
    flambeau.flush()
    recorded, written = threading.Event(), threading.Event()

    def read() -> None:
        y = x * 1 + 1
        recorded.set()
        assert written.wait(30)
        assert y.tolist() == [1.0] * 6
        assert x.tolist() == [0.0, 5.0, 5.0, 0.0, 0.0, 0.0]

    def write() -> None:
        assert recorded.wait(30)
        x[1:3] = 5
        flambeau.flush()
        written.set()

    together(read, write)


def test_a_write_that_is_pending_in_one_thread_survives_the_flush_of_another() -> None:
    x = flambeau.zeros(6)
    flambeau.flush()
    recorded, written, flushed = threading.Event(), threading.Event(), threading.Event()

    def read() -> None:
        y = x + 1
        recorded.set()
        assert written.wait(30)
        flambeau.flush()
        flushed.set()
        assert y.sum().item() == 6.0

    def write() -> None:
        assert recorded.wait(30)
        x.add_(3)
        written.set()
        assert flushed.wait(30)
        assert x.tolist() == [3.0] * 6

    together(read, write)


def test_memory_that_is_handed_out_was_read_by_the_records_of_all_threads() -> None:
    """NumPy may write what it is given; records of other threads that have yet to read it are computed first."""
    x = flambeau.ones(4) + 0
    x.tolist()
    recorded, written = threading.Event(), threading.Event()
    seen = []

    def reader() -> None:
        y = x * 10
        recorded.set()
        written.wait(60)
        seen.extend(y.tolist())

    def writer() -> None:
        recorded.wait(60)
        z = x + 1  # the storage is now an input of this thread's tape, too
        x.numpy()[:] = 5
        written.set()
        assert z.tolist() == [2.0] * 4

    together(reader, writer)
    assert seen == [10.0] * 4


def test_numbers_drawn_into_a_tensor_that_another_thread_writes() -> None:
    x = flambeau.zeros(64)

    def draw() -> None:
        for _ in range(100):
            x.uniform_()

    def write() -> None:
        for _ in range(100):
            x.add_(1)
            assert x.sum().item() >= 0

    together(draw, write)
    assert x.min().item() >= 0


def test_threads_train_side_by_side() -> None:
    def train() -> list[float]:
        weight = flambeau.full((3, 4), 0.5).requires_grad_()
        x = flambeau.arange(12.0).reshape(4, 3) / 10
        losses = []
        for _ in range(10):
            loss = (x @ weight).square().mean()
            (grad,) = flambeau.autograd.grad(loss, weight)
            with flambeau.no_grad():
                weight -= 0.1 * grad
            losses.append(loss.item())
        return losses

    expected = train()

    def check() -> None:
        assert train() == expected

    together(check, check, check)


def test_an_error_in_one_thread_is_seen_by_the_other_and_stops_nobody() -> None:
    box: queue.Queue = queue.Queue()

    def give() -> None:
        box.put(flambeau.ones(3).index_select(0, flambeau.tensor([4])))

    def take() -> None:
        mine = flambeau.ones(2) * 3
        with pytest.raises(IndexError, match="index 4"):
            box.get(timeout=30) + 1
        assert mine.tolist() == [3.0, 3.0]

    together(give, take)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_a_clean_tape_and_computes_what_was_pending() -> None:
    x = flambeau.arange(5.0)
    with flambeau.no_grad():
        y = x * 2
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                clean = not LOCAL.tape.values and not flambeau.is_grad_enabled()
                z = y + x
                ok = clean and z.tolist() == [0.0, 3.0, 6.0, 9.0, 12.0] and y.tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
                x.add_(1)
                status = 0 if ok and x[0].item() == 1.0 else 2
            finally:
                os.write(writer, b"%d" % status)
                os._exit(status)
        os.waitpid(child, 0)
        assert os.read(reader, 8) == b"0"
        os.close(reader)
        os.close(writer)
    np.testing.assert_array_equal(y.numpy(), np.arange(5) * 2.0)
    assert x.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_threads_that_write_parts_of_one_tensor_take_nothing_back() -> None:
    """A write in place makes new bytes of the old ones; nobody may come between."""
    x, index = flambeau.zeros(60), flambeau.arange(60)

    def write(number: int) -> None:
        part = x[10 * number : 10 * number + 10]
        for _ in range(5):
            part += 1
        part[3] = 100
        x.scatter_(0, index[10 * number : 10 * number + 2], 50.0)

    together(*[lambda number=number: write(number) for number in range(6)])  # type: ignore[misc]
    assert x.tolist() == ([50.0] * 2 + [5.0, 100.0] + [5.0] * 6) * 6


def test_threads_that_add_to_one_gradient_lose_none() -> None:
    weight = flambeau.ones(3, requires_grad=True)

    def run() -> None:
        for _ in range(20):
            (weight * 2).sum().backward()

    together(*[run] * 4)
    assert weight.grad is not None
    assert weight.grad.tolist() == [160.0] * 3
