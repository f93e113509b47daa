"""What a worker process of a :class:`DataLoader` does."""

from __future__ import annotations

import pickle
import queue
import random
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

import flambeau
from flambeau.utils.data._utils import pipes
from flambeau.utils.data._utils.fetch import fetcher
from flambeau.utils.data._utils.transport import Sender
from flambeau.utils.data.dataset import IterableDataset

__all__ = ["Exhausted", "Failure", "Job", "WorkerInfo", "get_worker_info", "work"]


@dataclass
class WorkerInfo:
    """What a worker process knows about itself.

    ``id`` is its number, from 0 to ``num_workers - 1``; ``seed`` what its random generators were seeded with (the base
    seed of the pass plus ``id``); ``dataset`` its own copy of the dataset.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


_worker_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a :class:`DataLoader`'s worker process, what there is to know about it; elsewhere ``None``.

    An iterable dataset needs it to yield only its share of the samples, a ``worker_init_fn`` to reach the worker's copy of
    the dataset.

    Example:
        >>> get_worker_info() is None
        True
    """
    return _worker_info


class Exhausted:
    """Sent in place of a batch when the worker's copy of an iterable dataset has no more samples."""


class Failure:
    """An exception on its way from a worker to the main process: its class and its traceback as text.

    The exception itself is left behind, because its traceback would keep alive whatever the worker had at hand.
    """

    def __init__(self, error: BaseException, where: str) -> None:
        self.kind: type[BaseException] = type(error)
        self.name = type(error).__name__
        self.text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.where = where

    def as_runtime_error(self) -> Failure:
        """The same failure for a class of exception that the other process cannot be told about."""
        self.kind = RuntimeError
        return self

    def reraise(self) -> None:
        """Raises an exception of the original class whose message holds the original traceback."""
        message = f"Caught {self.name} {self.where}.\nOriginal {self.text}"
        if issubclass(self.kind, KeyError):
            # KeyError shows the repr of its message; this one's repr is the message itself, with its line breaks.
            raise self.kind(_Verbatim(message))
        try:
            error = self.kind(message)
        except Exception:  # a class that is not made from one message
            raise RuntimeError(message) from None
        raise error


class _Verbatim(str):
    """A string whose ``repr`` is itself."""

    def __repr__(self) -> str:
        return self


@dataclass
class Job:
    """What all workers of a loader are told at their start."""

    dataset: Any
    auto_collation: bool
    collate_fn: Callable
    drop_last: bool
    base_seed: int
    shared_seed: int | None
    world: tuple[int, int]
    num_workers: int
    init_fn: Callable[[int], None] | None
    parent_pid: int


def work(job: Job, worker_id: int, connection: Connection, inherited: list[Connection]) -> None:
    """The main function of a worker process: tasks come in through ``connection``, batches go out.

    A task ``(number, indices, returned)`` is answered by ``(number, batch)``, where the batch may be a :class:`Failure` or
    :class:`Exhausted`. ``(None, (first, seed), returned)`` starts another pass over the dataset, whose tasks begin at
    ``first``, and for which pipes get the ``seed``; nobody waits for what is left of those before. The end of the connection is the end of the worker.
    """
    for end in inherited:
        end.close()
    # A ^C goes to the whole foreground process group. Only the main process acts on it: it may want to go on afterwards.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _become_worker(job, worker_id)
    sender = Sender(connection, job.parent_pid)
    tasks = _TaskQueue(connection)
    where = f"in DataLoader worker process {worker_id}"
    fetch: Callable[[Any], Any] | None = None
    try:
        pipes.share(job.dataset, job.world, job.num_workers, worker_id)
        pipes.seed(job.dataset, job.shared_seed)
        if job.init_fn is not None:
            job.init_fn(worker_id)
    except Exception as error:
        failure = Failure(error, where)
        fetch = lambda _: failure
    for number, indices, returned in tasks:
        sender.take_back(returned)
        if number is None:
            pipes.seed(job.dataset, indices[1])
            fetch = None
            continue
        if number < tasks.first_wanted:
            continue
        try:
            if fetch is None:
                fetch = fetcher(job.dataset, job.auto_collation, job.collate_fn, job.drop_last)
            answer = fetch(indices)
        except StopIteration as error:
            answer = Exhausted if isinstance(job.dataset, IterableDataset) else Failure(error, where)
        except Exception as error:
            answer = Failure(error, where)
        if not _reply(sender, number, answer, where):
            return
        del answer


def _become_worker(job: Job, worker_id: int) -> None:
    global _worker_info
    seed = job.base_seed + worker_id
    flambeau.set_num_threads(1)
    flambeau.manual_seed(seed)
    random.seed(seed)
    base = job.base_seed
    np.random.seed(np.random.SeedSequence([worker_id, base & 0xFFFFFFFF, base >> 32]).generate_state(4))
    _worker_info = WorkerInfo(worker_id, job.num_workers, seed, job.dataset)


def _reply(sender: Sender, number: int, answer: Any, where: str) -> bool:
    """Sends an answer, or why it cannot be sent; false if there is nobody to send it to."""
    try:
        try:
            sender.send((number, answer))
        except OSError:
            raise
        except Exception as error:
            if isinstance(answer, Failure):  # of a class that pickle does not find by its name
                sender.send((number, answer.as_runtime_error()))
            else:
                sender.send((number, Failure(error, where)))
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


class _TaskQueue:
    """The tasks that arrive on a connection.

    A thread of its own reads them, so that the main process never waits to send one: it would wait for ever if this process
    were waiting at the same time to send a batch that does not fit into the pipe.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: queue.SimpleQueue = queue.SimpleQueue()
        self.first_wanted = 0
        self._closed = False
        threading.Thread(target=self._read, name="flambeau-dataloader-tasks", daemon=True).start()

    def __iter__(self) -> Iterator[tuple[int | None, Any, list[int]]]:
        while (task := self._waiting.get()) is not None and not self._closed:
            yield task

    def _read(self) -> None:
        try:
            while True:
                number, indices, returned = pickle.loads(self._connection.recv_bytes())
                if number is None:
                    self.first_wanted, _ = indices
                self._waiting.put((number, indices, returned))
        except (EOFError, OSError):
            self._closed = True
            self._waiting.put(None)
