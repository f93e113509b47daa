"""Process groups: processes that call collectives together, one after another."""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from flambeau.distributed.connect import connect
from flambeau.distributed.errors import DistBackendError
from flambeau.distributed.mailbox import Mailbox
from flambeau.distributed.mesh import Mesh
from flambeau.distributed.store import Store
from flambeau.distributed.work import Work
from flambeau.futures import Future

__all__ = ["ProcessGroup"]

_COLLECTIVES, _MESSAGES = range(2)


class ProcessGroup:
    """Some processes, of which this is one.

    Args:
        store: where they find each other, for this group alone
        ranks: their numbers in the job, by their numbers in the group
        rank: this process's number in the group
        timeout: how long a collective or a message may take
        name: the group's
        backend: what the user called the way in which they communicate
    """

    def __init__(self, store: Store, ranks: Sequence[int], rank: int, timeout: timedelta, name: str, backend: str) -> None:
        self.ranks, self._rank, self.group_name, self.backend, self.store, self.group_desc = list(ranks), rank, name, backend, store, name
        self.timeout = timeout
        lanes, one_machine = connect(store, rank, len(ranks), 2, timeout)
        self.one_machine = one_machine
        try:
            self.mesh = Mesh(rank, len(ranks), lanes[_COLLECTIVES], timeout.total_seconds(), one_machine)
        except OSError as error:
            for connection in (connection for lane in lanes for connection in lane.values()):
                connection.close()
            raise DistBackendError(f"rank {rank} cannot share memory with the others: one of them is gone ({error})") from None
        self.mailbox = Mailbox(rank, lanes[_MESSAGES], timeout.total_seconds())
        self._turn, self._counting = threading.Lock(), threading.Lock()
        self._backlog: queue.SimpleQueue = queue.SimpleQueue()
        self._waiting = 0
        self._thread: threading.Thread | None = None
        _open.add(self)

    def rank(self) -> int:
        """This process's number in the group."""
        return self._rank

    def size(self) -> int:
        """How many processes the group has."""
        return len(self.ranks)

    def name(self) -> str:
        """The name of the way in which they communicate."""
        return self.backend

    def run(self, job: Callable[[], Any], result: Any, name: str, async_op: bool) -> Work | None:
        """Do something with the mesh, in the order of the calls: here and now, or in a thread."""
        if not async_op:
            with self._turn:
                if not self._waiting:
                    job()
                    return None
        future: Future = Future()
        with self._counting:
            self._waiting += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._work_off, name="flambeau-collectives", daemon=True)
                self._thread.start()
        self._backlog.put((job, future))
        work = Work(future, result, self._patience, name)
        if async_op:
            return work
        work.wait()
        return None

    @property
    def _patience(self) -> float:
        """Seconds to wait for a job, which gives up by itself; others may come before it."""
        return self.mesh.timeout * (self._waiting + 1) + 5.0

    def _work_off(self) -> None:
        while (entry := self._backlog.get()) is not None:
            job, future = entry
            error: Exception | None = None
            try:
                with self._turn:
                    job()
            except Exception as failure:
                error = failure
            with self._counting:
                self._waiting -= 1
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def close(self) -> None:
        """Leave the group."""
        if self._thread is not None:
            self._backlog.put(None)
            if self._thread is not threading.current_thread():
                self._thread.join(self._patience)
        self.mesh.close()
        self.mailbox.close()
        _open.discard(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.group_name!r}: rank {self._rank} of {len(self.ranks)}>"


_open: weakref.WeakSet[ProcessGroup] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """A forked child is no member, and its copies of the connections would keep the others from noticing that its parent is gone."""
    for group in list(_open):
        for connection in (*group.mesh.connections.values(), *group.mailbox.connections.values()):
            connection.close()
        group.mesh.failure = "this process was forked from one of its processes"
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
