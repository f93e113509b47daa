"""The main process's side of loading with worker processes."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
import time
import weakref
from collections.abc import Iterator
from multiprocessing import connection
from typing import Any

from flambeau.utils.data._utils.transport import Receiver, dumps
from flambeau.utils.data._utils.worker import Exhausted, Failure, Job, work

__all__ = ["MultiProcessIterator"]

_PATIENCE = 5.0
"""Seconds that a worker has to finish its sample before it is terminated, and between looks at whether all are alive."""


class _Worker:
    """A worker process as the main process sees it."""

    def __init__(self, context: Any, job: Job, number: int, siblings: list[_Worker], leases: int) -> None:
        self.connection, theirs = context.Pipe(duplex=True)
        # A forked child gets a copy of every open end, and has to close those that are not its own.
        inherited = [worker.connection for worker in siblings] + [self.connection] if context.get_start_method() == "fork" else []
        self.process = context.Process(target=work, args=(job, number, theirs, inherited), daemon=True)
        self.process.start()
        # From here on the worker alone holds its end, so that its death is the end of the connection.
        theirs.close()
        self.receiver = Receiver(self.connection, leases)
        self.outstanding = 0
        self.has_more = True

    def send(self, number: int | None, indices: Any) -> None:
        self.connection.send_bytes(dumps((number, indices, self.receiver.returned())))


class MultiProcessIterator:
    """Batches of one pass (with persistent workers: of one pass after another) from worker processes.

    Every batch of indices is a numbered task of one worker, in turn, and every task gets one answer. A worker always has
    ``prefetch_factor`` tasks; the next is handed out when an answer is delivered, never when it happens to arrive. So the
    order of the batches does not depend on timing (unless ``in_order`` is off), even when one worker's share of an
    iterable dataset ends before the others'.
    """

    def __init__(self, loader: Any, base_seed: int) -> None:
        self._timeout = loader.timeout or None
        self._in_order = loader.in_order
        self._prefetch = loader.prefetch_factor
        self._sent = 0
        self._workers: list[_Worker] = []
        self._finalizer = weakref.finalize(self, _stop, self._workers, os.getpid())
        context = loader.multiprocessing_context or multiprocessing.get_context()
        job = Job(
            loader.dataset,
            loader._auto_collation,
            loader.collate_fn,
            loader.drop_last,
            base_seed,
            loader.num_workers,
            loader.worker_init_fn,
            os.getpid(),
        )
        for number in range(loader.num_workers):
            # Leases for what is prefetched, what is being used, and what is about to be.
            self._workers.append(_Worker(context, job, number, self._workers, leases=self._prefetch + 2))
        self._start(loader)

    def restart(self, loader: Any) -> None:
        """Begins another pass with the same workers."""
        for worker in self._workers:
            self._post(worker, None, self._sent)
        self._start(loader)
