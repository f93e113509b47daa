from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator

import numpy
import pytest

from flambeau._runtime import pool, runner
from flambeau._runtime.pool import Call, Program
from tests._runtime.little_kernels import Table, kernel


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = pool.get_num_threads()
    yield
    pool.set_num_threads(before)


def rotations(calls: int, size: int, grain: int) -> numpy.ndarray:
    """What a chain of dependent calls leaves: each reads what the one before wrote, elsewhere."""
    arrays = numpy.arange(size), numpy.zeros(size, numpy.int64)
    table = Table(*arrays)
    program = Program(
        [Call(kernel("rotate"), (2 + (i + 1) % 2, 2 + i % 2, 1 + i % 7, size), size, grain if i % 5 else size) for i in range(calls)]
    )
    assert len(program) == calls
    assert program.run(table.address) == 0
    return arrays[calls % 2]


def expected_rotations(calls: int, size: int) -> numpy.ndarray:
    values = numpy.arange(size)
    for i in range(calls):
        values = 3 * numpy.roll(values, -(1 + i % 7)) + 1
    return values


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize(("size", "grain"), [(97, 3), (2, 1), (5, 1), (1, 1), (1000, 7)])
def test_each_call_sees_what_the_one_before_wrote(threads: int, size: int, grain: int) -> None:
    pool.set_num_threads(threads)
    for _ in range(5):
        numpy.testing.assert_array_equal(rotations(300, size, grain), expected_rotations(300, size))


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize(("tiles", "grain"), [(1, 1), (2, 1), (7, 3), (1000, 1), (1000, 999), (1000, 5000), (100_000, 1)])
def test_every_tile_is_computed_once(threads: int, tiles: int, grain: int) -> None:
    pool.set_num_threads(threads)
    counts = numpy.zeros(tiles + 1, numpy.int64)
    table = Table(counts)
    assert Program([Call(kernel("tally"), (2,), tiles, grain)] * 20).run(table.address) == 0
    numpy.testing.assert_array_equal(counts, [20] * tiles + [0])


def test_call_without_tiles_and_program_without_calls() -> None:
    counts = numpy.zeros(1, numpy.int64)
    assert Program([Call(kernel("tally"), (2,), 0)]).run(Table(counts).address) == 0
    assert Program([]).run(Table(counts).address) == 0
    assert counts[0] == 0


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_threads_really_work_together(threads: int) -> None:
    pool.set_num_threads(threads)
    arrived = numpy.zeros(1 + threads, numpy.int64)
    table = Table(arrived)
    program = Program([Call(kernel("meet"), (2, threads), threads)])
    for _ in range(20):
        arrived[:] = 0
        assert program.run(table.address) == 0
        assert len(set(arrived[1:])) == threads
    assert arrived[0] == threads


def test_sleeping_workers_wake_up() -> None:
    pool.set_num_threads(3)
    arrived = numpy.zeros(4, numpy.int64)
    table = Table(arrived)
    program = Program([Call(kernel("meet"), (2, 3), 3)])
    for pause in (0.0, 0.0005, 0.002, 0.05):
        threading.Event().wait(pause)
        arrived[:] = 0
        program.run(table.address)
        assert arrived[0] == 3


def test_part_of_a_program() -> None:
    counts = numpy.zeros(5, numpy.int64)
    table = Table(counts)
    program = Program([Call(kernel("tally"), (2,), tiles) for tiles in (1, 2, 3, 4, 5)])
    assert program.run(table.address, 1, 3) == 0
    assert counts.tolist() == [2, 2, 1, 0, 0]
    assert program.run(table.address, 4) == 0
    assert counts.tolist() == [3, 3, 2, 1, 1]


def test_a_task_can_be_run_again() -> None:
    counts = numpy.zeros(3, numpy.int64)
    table = Table(counts)
    task = Program([Call(kernel("tally"), (2,), tiles) for tiles in (1, 2, 3)]).task(table.address, 1)
    assert [pool.native_runner()(task) for _ in range(4)] == [0] * 4
    assert counts.tolist() == [8, 8, 4]


def test_params_of_all_calls_are_one_array() -> None:
    program = Program([Call(kernel("tally"), (2,), 1), Call(kernel("rotate"), (2, 3, 1, 9), 1)])
    assert program.params.dtype == numpy.int64
    assert program.params.tolist() == [2, 2, 3, 1, 9]


@pytest.mark.parametrize("threads", [1, 2])
def test_error_stops_the_program_and_names_the_call(threads: int) -> None:
    pool.set_num_threads(threads)
    counts = numpy.zeros(10, numpy.int64)
    table = Table(counts)
    tally = Call(kernel("tally"), (2,), 10)
    program = Program([tally, tally, Call(kernel("fail"), (77,), 100), tally])
    assert program.run(table.address) == 3
    assert table.error[[0, 1, 3]].tolist() == [7, 77, 2]
    assert counts.tolist() == [2] * 10
    table.error[:] = 0
    assert program.run(table.address, 3) == 0
    assert counts.tolist() == [3] * 10


@pytest.mark.parametrize("threads", [1, 4])
def test_scratch_is_private_aligned_and_large_enough(threads: int) -> None:
    pool.set_num_threads(threads)
    wrong = numpy.zeros(1, numpy.int64)
    table = Table(wrong)
    for scratch in (64, 1000, 300_000, 5_000_000, 64):
        assert Program([Call(kernel("private"), (2, scratch), 100, 1, scratch)] * 3).run(table.address) == 0
    assert wrong[0] == 0


def test_scratch_that_does_not_exist_is_a_memory_error() -> None:
    pool.set_num_threads(2)
    table = Table(numpy.zeros(1, numpy.int64))
    with pytest.raises(MemoryError, match=f"{1 << 60} bytes of scratch"):
        Program([Call(kernel("private"), (2, 64), 2, 1, 1 << 60)]).run(table.address)


def test_several_python_threads_at_once() -> None:
    pool.set_num_threads(3)
    counts = numpy.zeros(1000, numpy.int64)
    wrong = numpy.zeros(1, numpy.int64)
    table = Table(counts, wrong)
    program = Program([Call(kernel("tally"), (2,), 1000, 7), Call(kernel("private"), (3, 5000), 20, 1, 5000)] * 20)
    results = []

    def work() -> None:
        results.extend(program.run(table.address) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for count in [1, 2, 4, 3] * 5:  # and the number of threads changes meanwhile
        pool.set_num_threads(count)
        work()
    for thread in threads:
        thread.join()
    assert results == [0] * (20 * 25)
    numpy.testing.assert_array_equal(counts, numpy.full(1000, 20 * 25 * 20))
    assert wrong[0] == 0


def test_other_python_threads_go_on_meanwhile() -> None:
    """The kernel waits for two threads, one of which is a second Python thread: this hangs unless the lock is released."""
    pool.set_num_threads(1)
    arrived = numpy.zeros(3, numpy.int64)
    table = Table(arrived)
    program = Program([Call(kernel("meet"), (2, 2), 1)])
    threads = [threading.Thread(target=program.run, args=(table.address,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert arrived[0] == 2


@pytest.mark.parametrize("count", [0, -1, runner.MAX_THREADS + 1])
def test_impossible_number_of_threads(count: int) -> None:
    with pytest.raises(RuntimeError, match=f"must be from 1 to {runner.MAX_THREADS}, but is {count}"):
        pool.set_num_threads(count)


def test_number_of_threads_comes_from_the_environment(python: Callable[..., str]) -> None:
    source = "from flambeau._runtime import pool\nprint(pool.get_num_threads())"
    assert python(source, FLAMBEAU_NUM_THREADS="3", OMP_NUM_THREADS="5").strip() == "3"
    assert python(source, FLAMBEAU_NUM_THREADS="", OMP_NUM_THREADS="5").strip() == "5"
    assert python(source, FLAMBEAU_NUM_THREADS="", OMP_NUM_THREADS="5,2").strip() == "5"
    assert python(source, FLAMBEAU_NUM_THREADS="", OMP_NUM_THREADS="many").strip() == str(len(os.sched_getaffinity(0)))


@pytest.mark.parametrize("count", ["many", "0", "-1", "1.5"])
def test_impossible_number_of_threads_in_the_environment(count: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAMBEAU_NUM_THREADS", count)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with pytest.warns(RuntimeWarning, match=f"FLAMBEAU_NUM_THREADS must be a whole number of at least 1, but is '{count}'"):
        assert pool._default_threads() == 3


_USE = """
import os, sys, threading, time
import numpy
from flambeau._runtime import pool
from flambeau._runtime.pool import Call, Program
from tests._runtime.little_kernels import Table, kernel

arrived = numpy.zeros(4, numpy.int64)
table = Table(arrived)
program = Program([Call(kernel("meet"), (2, 3), 3)])
def use():
    arrived[:] = 0
    assert program.run(table.address) == 0
    assert len(set(arrived[1:])) == 3
use()
"""


def test_fork_in_the_middle(python: Callable[..., str]) -> None:
    """Both sides of a fork have their workers again, and Python 3.12 sees no thread to warn about."""
    output = python(
        _USE
        + """
for _ in range(5):
    pid = os.fork()
    use()
    if pid == 0:
        inner = os.fork()
        use()
        if inner:
            assert os.waitpid(inner, 0)[1] == 0
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
print("done")
""",
        FLAMBEAU_NUM_THREADS="3",
    )
    assert "done" in output


def test_fork_while_a_thread_holds_the_lock(python: Callable[..., str]) -> None:
    output = python(
        _USE
        + """
import ctypes
from flambeau._runtime import runner
pool._pool.stop()
busy = ctypes.c_int64.from_address(pool._pool.state + runner.BUSY)
busy.value = 1  # as if that thread were about to share a call
pid = os.fork()
if pid == 0:
    use()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
busy.value = 0
use()
print("done")
""",
        FLAMBEAU_NUM_THREADS="3",
    )
    assert "done" in output


def test_fork_while_another_thread_runs_a_program(python: Callable[..., str]) -> None:
    output = python(
        _USE
        + """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns about any fork beside threads
counts = numpy.zeros(100, numpy.int64)
other = Table(counts)
tally = Program([Call(kernel("tally"), (2,), 100)] * 50)
stop = False
def work():
    while not stop:
        tally.run(other.address)
thread = threading.Thread(target=work)
thread.start()
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        use()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
stop = True
thread.join()
use()
assert (counts == counts[0]).all()
print("done")
""",
        FLAMBEAU_NUM_THREADS="3",
    )
    assert "done" in output


@pytest.mark.parametrize(
    "ending",
    [
        "",
        "time.sleep(0.01)",
        "sys.exit(0)",
        "threading.Thread(target=lambda: [use() for _ in range(10**9)], daemon=True).start(); time.sleep(0.02)",
        "import atexit; atexit.register(use)",
        "class Late:\n    def __del__(self, run=program.run, table=table.address): arrived[:] = 3; run(table)\nsys.late = Late()",
    ],
    ids=["hot", "asleep", "sys.exit", "daemon thread", "atexit", "finalizer"],
)
def test_exit_is_clean(python: Callable[..., str], ending: str) -> None:
    assert python(_USE + "print('done', flush=True)\n" + ending, FLAMBEAU_NUM_THREADS="3").startswith("done")


def test_an_interrupt_waits_until_the_workers_have_started(monkeypatch: pytest.MonkeyPatch) -> None:
    pool.set_num_threads(3)
    rotations(3, 97, 3)
    pool._pool.stop()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    create = pool._pool._create

    def interrupted(wanted: int) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.raise_signal(signal.SIGINT)
        create(wanted)

    monkeypatch.setattr(pool._pool, "_create", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pool.native_runner()
    assert len(pool._pool.workers) == 2
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    numpy.testing.assert_array_equal(rotations(30, 97, 3), expected_rotations(30, 97))


def test_signals_are_not_blocked_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """What blocks signals may raise what the handler of one raises that came just before."""
    pool.set_num_threads(2)
    rotations(3, 97, 3)
    pool._pool.stop()
    before, block = signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.pthread_sigmask

    def interrupted(how: int, mask: Iterable[int]) -> set:
        found = block(how, mask)
        if how == signal.SIG_BLOCK and mask:
            raise TimeoutError
        return found

    monkeypatch.setattr(signal, "pthread_sigmask", interrupted)
    with pytest.raises(TimeoutError):
        pool.native_runner()
    monkeypatch.undo()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    pool._pool.stop()


def test_workers_leave_signals_alone(python: Callable[..., str]) -> None:
    output = python(
        _USE
        + """
import signal
from pathlib import Path
states = [(task / "status").read_text() for task in Path("/proc/self/task").iterdir()]
masks = [int(state.split("SigBlk:")[1].split()[0], 16) for state in states]
print(sum(mask >> (signal.SIGINT - 1) & 1 for mask in masks), signal.pthread_sigmask(signal.SIG_BLOCK, []) == set())
""",
        FLAMBEAU_NUM_THREADS="3",
        OPENBLAS_NUM_THREADS="1",
    )
    assert output.split() == ["2", "True"]


def test_workers_have_the_default_floating_point_state() -> None:
    """Subnormal numbers are kept on every thread: each tile multiplies one and must not get 0."""
    from flambeau._runtime.jit import compile_kernels

    source = """define void @test_subnormal(ptr %table, ptr %params, i64 %begin, i64 %end, ptr %scratch) {
  %entry = getelementptr ptr, ptr %table, i64 2
  %out = load ptr, ptr %entry
  %at = getelementptr float, ptr %out, i64 %begin
  %value = load volatile float, ptr %at
  %half = fmul float %value, 5.0e-1
  store float %half, ptr %at
  ret void
}
"""
    pool.set_num_threads(4)
    values = numpy.full(1000, 1e-40, numpy.float32)
    table = Table(values)
    address = compile_kernels({"test_subnormal": source})["test_subnormal"]
    assert Program([Call(address, (), 1000)]).run(table.address) == 0
    numpy.testing.assert_array_equal(values, numpy.full(1000, numpy.float32(1e-40) * numpy.float32(0.5)))
    assert values[0] > 0
