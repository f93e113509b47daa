"""Blocks of a program that have to be done in time: a process that takes longer is killed by whoever started it.

```python
queue = torch.multiprocessing.get_context("spawn").Queue()
server = timer.LocalTimerServer(queue)
server.start()                                       # in the launcher

timer.configure(timer.LocalTimerClient(queue))       # in a process
with timer.expires(after=60):
    train_a_batch()
```
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

__all__ = ["LocalTimerClient", "LocalTimerServer", "TimerClient", "TimerRequest", "configure", "expires"]


class TimerRequest(NamedTuple):
    """A block of a process, and when it has to be done (in seconds since 1970); a negative time says that it is."""

    worker_id: int
    scope_id: str
    expiration_time: float


class TimerClient(ABC):
    """Tells a server of blocks."""

    @abstractmethod
    def acquire(self, scope_id: str, expiration_time: float) -> None:
        """A block begins, which has to be done by then."""

    @abstractmethod
    def release(self, scope_id: str) -> None:
        """A block is done."""


class LocalTimerClient(TimerClient):
    """Tells a server on the same machine.

    Args:
        mp_queue: by which the server is told, a queue of ``multiprocessing``
    """

    def __init__(self, mp_queue: Any) -> None:
        self._queue = mp_queue

    def acquire(self, scope_id: str, expiration_time: float) -> None:
        self._queue.put(TimerRequest(os.getpid(), scope_id, expiration_time))

    def release(self, scope_id: str) -> None:
        self._queue.put(TimerRequest(os.getpid(), scope_id, -1))


class LocalTimerServer:
    """Kills processes of this machine whose blocks take too long.

    Args:
        mp_queue: by which it is told
        max_interval: seconds from one look to the next, at most
        daemon: whether its thread ends with the process
        log: is called with a text for each process that is killed
    """

    def __init__(self, mp_queue: Any, max_interval: float = 60, daemon: bool = True, log: Callable[[str], Any] | None = None) -> None:
        self._queue, self._max_interval, self._daemon, self._log = mp_queue, max_interval, daemon, log
        self._due: dict[tuple[int, str], float] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._watch, name="flambeau-timer", daemon=self._daemon)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(self._max_interval + 5)

    def _watch(self) -> None:
        while not self._stop.is_set():
            left = min([each - time.time() for each in self._due.values()], default=self._max_interval)
            try:
                self._take(self._queue.get(timeout=max(0.0, min(left, self._max_interval, _POLL))))
                while True:
                    self._take(self._queue.get_nowait())
            except queue.Empty:
                self._reap()

    def _take(self, request: TimerRequest) -> None:
        key = request.worker_id, request.scope_id
        if request.expiration_time < 0:
            self._due.pop(key, None)
        else:
            self._due[key] = request.expiration_time

    def _reap(self) -> None:
        now = time.time()
        for worker in {worker for (worker, _), due in self._due.items() if due <= now}:
            scopes = [scope for each, scope in self._due if each == worker]
            self._due = {key: due for key, due in self._due.items() if key[0] != worker}
            try:
                os.kill(worker, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it has ended in the meantime
            if self._log is not None:
                self._log(f"process {worker} was killed: {', '.join(scopes)} took too long")


_POLL = 0.5
"""Seconds after which ``stop`` is noticed."""
_client: list[TimerClient] = []


def configure(timer_client: TimerClient) -> None:
    """Say which server this process tells of its blocks."""
    _client[:] = [timer_client]


@contextmanager
def expires(after: float, scope: str | None = None, client: TimerClient | None = None) -> Iterator[None]:
    """A context that has to be left in time.

    Args:
        after: seconds
        scope: a name for it; by default where it is
        client: which tells the server; by default the one of ``configure``

    Raises:
        RuntimeError: there is neither
    """
    if client is None:
        if not _client:
            raise RuntimeError("Configure timer client before using countdown timers.")
        client = _client[0]
    if scope is None:
        import inspect

        caller = inspect.stack()[2]
        scope = f"{caller.filename}#{caller.lineno}"
    client.acquire(scope, time.time() + after)
    try:
        yield
    finally:
        client.release(scope)
