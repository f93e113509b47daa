"""A pool of forked workers that survives checks which crash or hang."""

from __future__ import annotations

import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

FORK = multiprocessing.get_context("fork")


class Crash(str):
    """Why a task came to no result: a time limit, a signal, or an exception that is the harness's own."""


class _Worker:
    def __init__(self, work: Callable[[Any], Any]) -> None:
        self.pipe, theirs = FORK.Pipe()
        self.process = FORK.Process(target=_serve, args=(theirs, work), daemon=True)
        self.process.start()
        theirs.close()
        self.task: Any = None
        self.deadline = 0.0

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(pipe: Connection, work: Callable[[Any], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while (task := pipe.recv()) is not None:
        try:
            answer = work(task)
        except Exception:
            answer = Crash(traceback.format_exc())
        pipe.send(answer)


def run_all(tasks: Sequence[Any], work: Callable[[Any], Any], jobs: int, limit: float) -> Iterator[tuple[Any, Any]]:
    """Yield (task, result) as results come in; a task that crashes its process or takes `limit` seconds yields a `Crash`."""
    pending = list(reversed(tasks))
    workers = [_Worker(work) for _ in range(min(jobs, len(pending)))]
    try:
        while True:
            for worker in workers:
                if worker.task is None and pending:
                    worker.task, worker.deadline = pending.pop(), time.monotonic() + limit
                    worker.pipe.send(worker.task)
            busy = [worker for worker in workers if worker.task is not None]
            if not busy:
                return
            timeout = max(0.0, min(worker.deadline for worker in busy) - time.monotonic())
            ready = wait([worker.pipe for worker in busy], timeout)
            for worker in busy:
                task = worker.task
                if worker.pipe in ready:
                    try:
                        answer = worker.pipe.recv()
                    except EOFError:
                        worker.process.join()
                        answer = Crash(f"the process ended with status {worker.process.exitcode}")
                        workers[workers.index(worker)] = _Worker(work)
                    worker.task = None
                    yield task, answer
                elif time.monotonic() >= worker.deadline:
                    worker.stop()
                    workers[workers.index(worker)] = _Worker(work)
                    yield task, Crash(f"took more than {limit:g} s")
    finally:
        for worker in workers:
            worker.stop()
