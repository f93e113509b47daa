"""The main process's side of loading with worker processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import time
import warnings
import weakref
from multiprocessing.connection import Connection, wait
from typing import Any

import flambeau
from flambeau._runtime.interrupts import interrupts_held
from flambeau.utils.data._utils import pipes
from flambeau.utils.data._utils.iterator import _BaseDataLoaderIter
from flambeau.utils.data._utils.transport import Receiver, dumps
from flambeau.utils.data._utils.worker import Exhausted, Failure, Job, work

__all__ = ["_MultiProcessingDataLoaderIter"]

_PATIENCE = 5.0
"""Seconds between looks at whether the workers live, and that they have to finish their samples before they are terminated."""


_open_ends: weakref.WeakSet[Connection] = weakref.WeakSet()
"""This process's ends of the connections with all workers, of all loaders."""


class _Worker:
    """A worker process as the main process sees it."""

    def __init__(self, context: Any, job: Job, number: int, leases: int) -> None:
        self.connection, theirs = context.Pipe(duplex=True)
        _open_ends.add(self.connection)
        # A forked child has a copy of every open end, which would keep others from noticing that this process is gone.
        inherited = list(_open_ends) if context.get_start_method() == "fork" else []
        self.process = context.Process(target=work, args=(job, number, theirs, inherited), daemon=True)
        with warnings.catch_warnings():
            # Python 3.12 warns of forks while there are other threads; Flambeau's own are made anew in the child.
            warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)
            self.process.start()
        # From here on the worker alone holds its end, so that its death is the end of the connection.
        theirs.close()
        self.receiver = Receiver(self.connection, leases)
        self.outstanding = 0
        self.has_more = True

    def send(self, number: int | None, indices: Any) -> None:
        message = dumps((number, indices, self.receiver.returned()))
        # A worker that has died may have left answers behind; its death is reported when they have been delivered.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(message)

    def receive(self) -> tuple[int, Any]:
        try:
            return self.receiver.receive()
        except (EOFError, ConnectionResetError):
            raise self.death() from None

    def death(self) -> RuntimeError:
        """What to tell the user about a worker that is gone."""
        self.process.join(1)
        code = self.process.exitcode
        how = f"exit status {code}"
        if code is not None and code < 0:
            how = f"killed by {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                how += ", as the kernel does when memory runs out"
        return RuntimeError(f"DataLoader worker (pid(s) {self.process.pid}) exited unexpectedly ({how})")


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    """Batches from worker processes, of one pass or, with persistent workers, of one pass after another.

    Every batch of indices is a numbered task of one worker, in turn, and every task gets one answer. The next task is
    handed out when an answer is delivered, not when it happens to arrive, so that the order of the batches never depends on
    timing (unless ``in_order`` is off), even when one worker's share of an iterable dataset ends before the others'.
    """

    def __init__(self, loader: Any, base_seed: int, shared_seed: int | None) -> None:
        self._timeout = loader.timeout
        self._in_order = loader.in_order
        self._prefetch = loader.prefetch_factor
        self._persistent = loader.persistent_workers
        self._sent = 0
        self._workers: list[_Worker] = []
        self.stop = weakref.finalize(self, _stop, self._workers, os.getpid())
        flambeau.flush()  # what is pending would be computed by every worker again
        context = loader.multiprocessing_context or multiprocessing.get_context()
        job = Job(
            dataset=loader.dataset,
            auto_collation=loader._auto_collation,
            collate_fn=loader.collate_fn,
            drop_last=loader.drop_last,
            base_seed=base_seed,
            shared_seed=shared_seed,
            world=pipes.world(),
            num_workers=loader.num_workers,
            init_fn=loader.worker_init_fn,
            parent_pid=os.getpid(),
        )
        for number in range(loader.num_workers):
            # Leases for what is prefetched, what is in use, and what is about to be.
            self._workers.append(_Worker(context, job, number, leases=self._prefetch + 2))
        super().__init__(loader, base_seed)
        # Of no use in the first pass: drawn because PyTorch does, so that what is drawn afterwards is the same.
        pipes.shared_seed(loader.dataset, loader.generator)

    def _begin(self, loader: Any) -> None:
        super()._begin(loader)
        self._first = self._delivered = self._sent
        self._turn = 0
        self._answers: dict[int, tuple[_Worker, Any]] = {}
        for worker in self._workers:
            worker.outstanding = 0
            worker.has_more = True
        for _ in range(self._prefetch * len(self._workers)):
            self._hand_out()

    def restart(self, loader: Any) -> None:
        """Begins another pass with the same workers; what is left of the last one is forgotten."""
        shared_seed = pipes.shared_seed(loader.dataset, loader.generator)
        for worker in self._workers:
            worker.send(None, (self._sent, shared_seed))
        self._begin(loader)

    def _hand_out(self) -> None:
        """Gives the next batch of indices, if there is one, to the worker whose turn it is."""
        worker = self._next_worker()
        if worker is None:
            return
        try:
            indices = next(self._indices)
        except StopIteration:
            return
        worker.send(self._sent, indices)
        worker.outstanding += 1
        self._sent += 1

    def _next_worker(self) -> _Worker | None:
        count = len(self._workers)
        candidates = [worker for worker in (self._workers[(self._turn + step) % count] for step in range(count)) if worker.has_more]
        if not candidates:
            return None
        worker = candidates[0] if self._in_order else min(candidates, key=lambda worker: worker.outstanding)
        self._turn = self._workers.index(worker) + 1
        return worker

    def _next_batch(self) -> Any:
        while self._delivered < self._sent:
            while not self._has_next_answer():
                self._receive()
            with interrupts_held():
                worker, answer = self._answers.pop(self._delivered if self._in_order else next(iter(self._answers)))
                self._delivered += 1
                if answer is Exhausted:
                    worker.has_more = False
                self._hand_out()
            if isinstance(answer, Failure):
                answer.reraise()
            if answer is not Exhausted:
                return answer
        if not self._persistent:
            self.stop()
        raise StopIteration

    def _has_next_answer(self) -> bool:
        """Whether the oldest task is answered, or any if order does not matter."""
        return self._delivered in self._answers if self._in_order else bool(self._answers)

    def _receive(self) -> None:
        """Waits for answers and files them under the numbers of their tasks."""
        busy = {worker.connection: worker for worker in self._workers if worker.outstanding}
        ready = self._wait(busy)
        try:
            with interrupts_held():
                for connection in ready:
                    worker = busy[connection]
                    number, answer = worker.receive()
                    if number >= self._first:  # else it belongs to a pass that was left early
                        worker.outstanding -= 1
                        self._answers[number] = (worker, answer)
        except KeyboardInterrupt:
            raise
        except BaseException:
            # A connection that failed in the middle of a message cannot be read from again.
            self._give_up()
            raise

    def _wait(self, busy: dict[Any, _Worker]) -> list[Any]:
        """The connections that have something to read."""
        deadline = time.monotonic() + self._timeout if self._timeout > 0 else None
        while True:
            patience = _PATIENCE if deadline is None else min(_PATIENCE, max(0, deadline - time.monotonic()))
            ready = wait(list(busy), patience)
            if ready:
                return ready
            # A dead worker's connection stays open if it left children behind.
            dead = [worker for worker in busy.values() if not worker.process.is_alive()]
            if dead:
                error = dead[0].death()
                self._give_up()
                raise error
            if deadline is not None and time.monotonic() >= deadline:
                self._give_up()
                raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds without a batch from its workers")

    def _give_up(self) -> None:
        """Ends the pass, and the workers without waiting for what they are at."""
        self._delivered = self._sent
        for worker in self._workers:
            worker.process.terminate()
        self.stop()


def _stop(workers: list[_Worker], owner: int) -> None:
    """Ends the workers: by closing their connections, or by force if they do not notice for a while."""
    if os.getpid() != owner:
        return  # a forked child got a copy of the iterator, but the workers are not its own
    for worker in workers:
        _hang_up(worker.connection)
    deadline = time.monotonic() + _PATIENCE
    for worker in workers:
        worker.process.join(max(0, deadline - time.monotonic()))
        for end in (worker.process.terminate, worker.process.kill):
            if worker.process.is_alive():
                end()
                worker.process.join(1)
    workers.clear()


def _hang_up(connection: Connection) -> None:
    """Ends a connection, even if another process that was forked meanwhile has a copy of this end."""
    if hasattr(socket, "AF_UNIX"):
        with socket.socket(fileno=os.dup(connection.fileno())) as end, contextlib.suppress(OSError):  # the worker may be gone
            end.shutdown(socket.SHUT_RDWR)
    connection.close()
