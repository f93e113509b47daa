"""Several processes that run one function, of which one that fails ends the others."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

__all__ = [
    "ProcessContext", "ProcessException", "ProcessExitedException", "ProcessRaisedException", "SpawnContext", "spawn", "start_processes",
]  # fmt: skip

_PATIENCE = 30.0
"""Seconds that processes have to end when they are asked to."""


class ProcessException(Exception):
    """A process failed.

    Attributes:
        msg: how
        error_index: which it was
        error_pid: its process id
    """

    def __init__(self, msg: str, error_index: int, pid: int) -> None:
        super().__init__(msg)
        self.msg, self.error_index, self.error_pid, self.pid = msg, error_index, pid, pid

    def __reduce__(self) -> tuple:
        return type(self), (self.msg, self.error_index, self.pid)


class ProcessRaisedException(ProcessException):
    """A process raised an exception, whose traceback is in the message."""


class ProcessExitedException(ProcessException):
    """A process ended with another exit code than 0, or was killed.

    Attributes:
        exit_code: with what
        signal_name: by which signal, if it was killed
    """

    def __init__(self, msg: str, error_index: int, error_pid: int, exit_code: int, signal_name: str | None = None) -> None:
        super().__init__(msg, error_index, error_pid)
        self.exit_code, self.signal_name = exit_code, signal_name

    def __reduce__(self) -> tuple:
        return type(self), (self.msg, self.error_index, self.pid, self.exit_code, self.signal_name)


def _end_with_parent() -> None:
    """End this process when its parent is gone, which cannot end it any more then."""
    parent = os.getppid()  # with "forkserver" that is a process that ends with the one that started us

    def watch() -> None:
        # Either may fail to show it: the parent was gone before we asked, or another child of its holds the pipe that tells.
        while os.getppid() == parent and multiprocessing.parent_process().is_alive():
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="flambeau-parent", daemon=True).start()


def _run(function: Callable, number: int, arguments: tuple, error_file: str) -> None:
    _end_with_parent()
    try:
        function(number, *arguments)
    except KeyboardInterrupt:
        pass  # the parent got it, too
    except Exception:
        with open(error_file, "w", encoding="utf-8") as file:
            file.write(traceback.format_exc())
        sys.exit(1)


class ProcessContext:
    """Processes that were started together.

    Attributes:
        processes: they themselves
    """

    def __init__(self, processes: list, error_files: list[str]) -> None:
        self.processes, self.error_files = processes, error_files
        self.sentinels = {process.sentinel: number for number, process in enumerate(processes)}

    def _start(self, context: Any, function: Callable, number: int, arguments: tuple, daemon: bool) -> None:
        descriptor, path = tempfile.mkstemp(prefix="flambeau-error-")
        os.close(descriptor)
        self.error_files.append(path)
        process = context.Process(target=_run, args=(function, number, arguments, path), daemon=daemon)
        with warnings.catch_warnings():
            # Python 3.12 warns of forks while there are other threads; Flambeau's own are made anew in the child.
            warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)
            process.start()
        self.processes.append(process)
        self.sentinels[process.sentinel] = number

    def pids(self) -> list[int]:
        """Their process ids."""
        return [process.pid for process in self.processes]

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        """Wait until all have ended (True), or for some time (False, if some still run).

        Args:
            timeout: seconds
            grace_period: seconds that the others have to end by themselves when one has failed

        Raises:
            ProcessRaisedException: one raised an exception; the others have been ended
            ProcessExitedException: one has ended otherwise
        """
        if not self.sentinels:
            return True
        ready = multiprocessing.connection.wait(list(self.sentinels), timeout)
        failed = None
        for sentinel in ready:
            number = self.sentinels.pop(sentinel)
            self.processes[number].join()
            if self.processes[number].exitcode and failed is None:
                failed = number
        if failed is None:
            done = not self.sentinels
            if done:
                self._forget()
            return done
        self.stop(grace_period)
        self._raise(failed)
        return False

    def stop(self, grace_period: float | None = None) -> None:
        """End those that still run."""
        deadline = time.monotonic() + (grace_period or 0)
        for process in self.processes if grace_period else ():
            process.join(max(0, deadline - time.monotonic()))
        for end in ("terminate", "kill"):
            for process in self.processes:
                if process.is_alive():
                    getattr(process, end)()
            deadline = time.monotonic() + _PATIENCE
            for process in self.processes:
                process.join(max(0, deadline - time.monotonic()))

    def _raise(self, number: int) -> None:
        process, path = self.processes[number], self.error_files[number]
        pid, code = process.pid, process.exitcode
        with open(path, encoding="utf-8") as file:
            told = file.read()
        self._forget()
        if told:
            message = f"\n\n-- Process {number} terminated with the following error:\n{told}"
            raise ProcessRaisedException(message, number, pid)
        if code < 0:
            with suppress(ValueError):
                name = signal.Signals(-code).name
                raise ProcessExitedException(f"process {number} terminated with signal {name}", number, pid, code, name)
        raise ProcessExitedException(f"process {number} terminated with exit code {code}", number, pid, code)

    def _forget(self) -> None:
        for path in self.error_files:
            with suppress(OSError):
                os.unlink(path)


class SpawnContext(ProcessContext):
    """Processes that were started by ``spawn``."""


def start_processes(
    fn: Callable, args: tuple = (), nprocs: int = 1, join: bool = True, daemon: bool = False, start_method: str = "spawn",
    numa_options: Any = None,
) -> ProcessContext | None:  # fmt: skip
    """Run ``fn(number, *args)`` in each of ``nprocs`` processes.

    Args:
        join: wait for them
        daemon: whether they end with this process
        start_method: ``"spawn"``, ``"fork"`` or ``"forkserver"``

    Returns:
        What to wait for, unless ``join``.

    Raises:
        ProcessRaisedException: a process raised an exception, whose traceback is told; the others have been ended
        ProcessExitedException: a process has ended otherwise
    """
    context = multiprocessing.get_context(start_method)
    made = (SpawnContext if start_method == "spawn" else ProcessContext)([], [])
    try:
        for number in range(nprocs):
            made._start(context, fn, number, args, daemon)
        if not join:
            return made
        while not made.join():
            pass
    except BaseException:
        made.stop()
        made._forget()
        raise
    return None


def spawn(
    fn: Callable, args: tuple = (), nprocs: int = 1, join: bool = True, daemon: bool = False, start_method: str = "spawn"
) -> ProcessContext | None:
    """``start_processes`` with fresh processes, which import what they need."""
    if start_method != "spawn":
        warnings.warn(
            f"spawn starts processes by 'spawn'; start_processes(..., start_method={start_method!r}) does otherwise", stacklevel=2
        )
    return start_processes(fn, args, nprocs, join, daemon, "spawn")
