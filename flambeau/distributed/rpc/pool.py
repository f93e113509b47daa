"""Threads that work off what other processes ask for, and a clock that says when somebody has waited long enough."""

from __future__ import annotations

import heapq
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Clock", "Pool", "waiting"]


class Pool:
    """Threads that are started when they are needed, and kept.

    A job that waits for another process gives its place up meanwhile, so that processes that call each other in turn never wait for a place.

    Args:
        limit: how many jobs may run at a time; ``None`` for any number
        name: of the threads
    """

    def __init__(self, limit: int | None, name: str) -> None:
        self.limit, self.name = limit, name
        self.changed = threading.Condition()
        self.jobs: deque[Callable[[], Any]] = deque()
        self.idle = self.running = 0
        self.closed = self.starting = False

    def submit(self, job: Callable[[], Any]) -> None:
        """Have a job done; it must not raise anything."""
        with self.changed:
            self.jobs.append(job)
            self._provide()

    def _provide(self) -> None:
        """See that there is a thread for each job that may run."""
        count = len(self.jobs) if self.limit is None else min(len(self.jobs), self.limit - self.running)
        if count <= 0 or self.closed:
            return
        self.changed.notify(count)
        if self.idle < count and not self.starting:  # one after the other: those that there are may be done before
            threading.Thread(target=self._work, name=self.name, daemon=True).start()
            self.starting = True  # if that has raised nothing; the thread waits for us

    def _work(self) -> None:
        _OWN.pool = self
        with self.changed:
            self.starting = False
        while (job := self._next()) is not None:
            try:
                job()
            except Exception:  # which is an error of ours, or too little memory
                traceback.print_exc()
            del job  # and with it what its arguments hold
            with self.changed:
                self.running -= 1

    def _next(self) -> Callable[[], Any] | None:
        with self.changed:
            while not self.jobs or (self.limit is not None and self.running >= self.limit):
                if self.closed:
                    return None
                self.idle += 1
                self.changed.wait()
                self.idle -= 1
            self.running += 1
            job = self.jobs.popleft()
            self._provide()  # for those that are left
            return job

    @contextmanager
    def without_place(self) -> Iterator[None]:
        """A context in which this thread's job waits, and another one may run."""
        with self.changed:
            self.running -= 1
            self._provide()
        try:
            yield
        finally:
            with self.changed:
                self.running += 1

    def close(self) -> None:
        """Let the threads end, once there is nothing to do."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()


class _Own(threading.local):
    pool: Pool | None = None


_OWN = _Own()


def after_fork_in_child() -> None:
    """A forked child has no pool: what runs in it has no place to give up."""
    _OWN.pool = None


@contextmanager
def waiting() -> Iterator[None]:
    """A context in which this thread waits for another process."""
    if _OWN.pool is None:
        yield
    else:
        with _OWN.pool.without_place():
            yield


class Clock:
    """Calls a function with each number whose time is over.

    Args:
        expired: the function
        relevant: tells whether anybody still waits for a number
    """

    def __init__(self, expired: Callable[[int], Any], relevant: Callable[[int], bool]) -> None:
        self.expired, self.relevant = expired, relevant
        self.changed = threading.Condition()
        self.entries: list[tuple[float, int]] = []
        self.crowd = _CROWD
        self.closed = self.started = False

    def add(self, number: int, seconds: float) -> None:
        """Let the time of a number begin."""
        entry = (time.monotonic() + seconds, number)
        with self.changed:
            heapq.heappush(self.entries, entry)
            if len(self.entries) > self.crowd:  # most calls are answered long before
                self.entries = [each for each in self.entries if self.relevant(each[1])]
                heapq.heapify(self.entries)
                self.crowd = 2 * len(self.entries) + _CROWD
            if not self.started:
                self.started = True
                threading.Thread(target=self._watch, name="flambeau-rpc-clock", daemon=True).start()
            elif self.entries and self.entries[0] is entry:
                self.changed.notify()

    def _watch(self) -> None:
        while True:
            with self.changed:
                if self.closed:
                    return
                if not self.entries:
                    self.changed.wait()
                    continue
                moment, number = self.entries[0]
                left = moment - time.monotonic()
                if left > 0:
                    self.changed.wait(left)
                    continue
                heapq.heappop(self.entries)
            self.expired(number)

    def close(self) -> None:
        """End."""
        with self.changed:
            self.closed = True
            self.changed.notify()


_CROWD = 1000
"""So many entries may be there in vain before somebody looks."""
