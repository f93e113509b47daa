"""The thread pool and the program runner: what happens between two kernels.

A *program* is an array of kernel calls. One native function walks it: a call of one chunk runs on the calling thread, a larger
one is shared with worker threads, chunk by chunk, and each call ends before the next begins. Which thread computes a chunk is
left to chance and never changes a result. The native part is LLVM IR text (``runner.py``), compiled as any kernel is.

Workers are native threads that never touch Python. They start when a program first runs, stay hot while programs follow each
other, and sleep otherwise. If several Python threads run programs at once, one of them has the workers for the length of a
call, and the others compute their calls alone.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy

from flambeau._runtime import environment, runner, targets
from flambeau._runtime.interrupts import interrupts_held
from flambeau._types.errors import OutOfMemoryError


class Call(NamedTuple):
    """One kernel call: ``function(table, params, begin, end, scratch)`` over ``tiles`` tiles, shared ``grain`` tiles at a time."""

    function: int
    params: Sequence[int]
    tiles: int
    grain: int = 1
    scratch_bytes: int = 0


_TILES, _CHUNKS = 2, 4
"""Words of a call, of ``runner.CALL_WORDS``."""

Task = ctypes.c_int64 * 6
"""A run of a program as the native runner takes it: state, calls, scratch bytes, table, begin, end. It can be used again."""


class Program:
    """Kernel calls in the form that the native runner walks.

    ``params`` is the array that holds the parameters of all calls, one after another.
    """

    __slots__ = ("_calls", "_length", "_scratch_bytes", "params")

    def __init__(self, calls: Sequence[Call]) -> None:
        self.params = numpy.fromiter(chain.from_iterable(call.params for call in calls), numpy.int64)
        words: list[int] = []
        address, scratch = self.params.ctypes.data, 0
        for call in calls:
            grain = max(call.grain, -(-call.tiles // runner.MAX_CHUNKS))
            words += (call.function, address, call.tiles, grain, -(-call.tiles // grain), call.scratch_bytes)
            address += 8 * len(call.params)
            scratch = max(scratch, call.scratch_bytes)
        self._calls = numpy.array(words, numpy.int64)
        self._scratch_bytes = scratch
        self._length = len(calls)

    def __len__(self) -> int:
        return self._length

    def skip(self, index: int) -> Callable[[], None]:
        """Leave a call out of the runs to come; returns what takes it up again. Nobody may be running the program."""
        words = self._calls[runner.CALL_WORDS * index :][: runner.CALL_WORDS]
        whole = words.copy()
        words[_TILES] = words[_CHUNKS] = 0

        def resume() -> None:
            words[:] = whole

        return resume

    def task(self, table: int, begin: int = 0, end: int | None = None) -> Task:
        """The argument of ``native_runner()``: calls ``begin`` to ``end`` with the buffers in ``table`` (an address). The program must outlive it."""
        return Task(_pool.state, self._calls.ctypes.data, self._scratch_bytes, table, begin, self._length if end is None else end)

    def run(self, table: int, begin: int = 0, end: int | None = None) -> int:
        """Run calls ``begin`` to ``end`` with the buffers in ``table`` (an address); other Python threads go on meanwhile.

        Returns 0, or 1 + the index of the call that left an error in the error block (table slot 0), where the run stopped.
        """
        result = native_runner()(self.task(table, begin, end))
        if result < 0:
            raise self.no_scratch()
        return result

    def no_scratch(self) -> OutOfMemoryError:
        """The error of a run that gave -1."""
        return OutOfMemoryError(f"no memory for {self._scratch_bytes} bytes of scratch")


class _Pool:
    """The worker threads of the process, and the state that they share with the native runner."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.dormant = True  # whether run() has to start workers first
        self.threads: int | None = None
        self.workers: list[tuple[ctypes.c_void_p, numpy.ndarray]] = []
        self.memory = numpy.zeros(runner.STATE_BYTES + 128, numpy.uint8)
        self.state = -(-self.memory.ctypes.data // 128) * 128
        self.ready = ctypes.c_int64()  # the address of the runner while nothing has to be started first

    def start(self) -> None:
        """Start the workers, unless there are some; compile the runner at first need."""
        with self.lock:
            if not self.dormant:
                return
            if not hasattr(self, "run"):
                run, self.entry, staff = runner.entry_points()
                self.staff = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)(staff)
                self.run = ctypes.CFUNCTYPE(ctypes.c_int64)(run)  # one argument without a declared type: 0.2 µs, four declared ones 0.7
            with interrupts_held():  # a worker that nobody knows, or fewer than the state says, would be for good
                wanted = get_num_threads() - 1
                if wanted and not self.staff(self.state, wanted):
                    return  # a call is being shared at this moment: the next run will try again
                self.dormant = False
                self.ready.value = ctypes.cast(self.run, ctypes.c_void_p).value or 0
                # Threads inherit the signal mask: signals are for threads that run Python. (What blocks them may raise what a handler raises.)
                mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
                try:
                    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
                    self._create(wanted)
                finally:
                    signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _create(self, wanted: int) -> None:
        library = ctypes.CDLL(None)
        for index in range(wanted):
            thread = ctypes.c_void_p()
            slot = numpy.array([self.state, index, wanted + 1], numpy.int64)
            if library.pthread_create(ctypes.byref(thread), None, ctypes.c_void_p(self.entry), ctypes.c_void_p(slot.ctypes.data)):
                break  # the system allows no more: the runner works with any number
            self.workers.append((thread, slot))

    def stop(self) -> None:
        """Let the workers finish what they are computing, and end them. The next run starts them again."""
        with self.lock:
            self.ready.value = 0
            if self.workers:
                while not self.staff(self.state, 0):
                    time.sleep(1e-5)  # another thread is sharing a call
                library = ctypes.CDLL(None)
                while self.workers:
                    library.pthread_join(self.workers[-1][0], None)
                    self.workers.pop()
            self.dormant = True


_pool = _Pool()


def native_runner() -> Callable[[Any], int]:
    """The native function that runs a ``Task``, with the workers started; see ``Program.run`` for what it returns.

    It returns -1 if there is no memory for scratch, and is no Python function: nothing interrupts between its call and what it does.
    """
    if _pool.dormant:
        _pool.start()
    return _pool.run


def pool() -> _Pool:
    """The pool, for whoever keeps its memory."""
    return _pool


def runner_cell() -> int:
    """Where the address of the native runner lies, or 0 while ``native_runner`` would have to start the workers first."""
    return ctypes.addressof(_pool.ready)


def get_num_threads() -> int:
    """How many threads a program runs on, the calling one included.

    ``FLAMBEAU_NUM_THREADS`` or ``OMP_NUM_THREADS`` if set, else the number of cores that this process may use.
    """
    if _pool.threads is None:
        _pool.threads = _default_threads()
    return _pool.threads


def set_num_threads(count: int) -> None:
    """Run programs on ``count`` threads, the calling one included. Results do not depend on it."""
    if not hasattr(type(count), "__index__"):
        raise RuntimeError(f"set_num_threads expects an int, but got {type(count).__name__}")
    if not 1 <= count <= runner.MAX_THREADS:
        raise RuntimeError(f"the number of threads must be from 1 to {runner.MAX_THREADS}, but is {count}")
    with _pool.lock:
        if count != get_num_threads():
            _pool.stop()
            _pool.threads = count


def _default_threads() -> int:
    count = environment.whole_number("FLAMBEAU_NUM_THREADS", least=1, default=0)
    if not count:
        text = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # a list has a number for each level of nesting
        count = int(text) if text.isdecimal() else 0
    return min(count or targets.available_cores(), runner.MAX_THREADS)


def _before_fork() -> None:
    """A forked process has none of the workers, and one that had them at the time is warned about by Python 3.12."""
    _pool.lock.acquire()
    _pool.stop()


def _after_fork_in_child() -> None:
    _pool.memory[:] = 0  # another thread may have been sharing a call
    _pool.lock.release()


def _at_exit() -> None:
    """Python unloads what workers run. A daemon thread that goes on computes alone."""
    with _pool.lock:
        _pool.stop()
        _pool.threads = 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_pool.lock.release, after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
