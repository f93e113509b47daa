"""Processes that run one function or one program each, with environment variables and files of their own."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from flambeau.distributed.elastic.multiprocessing.errors import ProcessFailure, get_error_handler
from flambeau.distributed.elastic.multiprocessing.logs import LogsDest, LogsSpecs, Tail

__all__ = ["MultiprocessContext", "PContext", "RunProcsResult", "SignalException", "SubprocessContext", "start_processes"]


class SignalException(Exception):
    """The launcher was asked to end.

    Attributes:
        sigval: by which signal
    """

    def __init__(self, msg: str, sigval: signal.Signals) -> None:
        super().__init__(msg)
        self.sigval = sigval


def raise_signal(number: int, frame: FrameType | None = None) -> None:
    """Raises ``SignalException``; a handler of signals."""
    raise SignalException(f"Process {os.getpid()} got signal: {number}", signal.Signals(number))


@dataclass
class RunProcsResult:
    """How processes ended, by their numbers.

    Attributes:
        return_values: what their functions returned
        failures: of those that failed
        stdouts, stderrs: files with what they printed
    """

    return_values: dict[int, Any] = field(default_factory=dict)
    failures: dict[int, ProcessFailure] = field(default_factory=dict)
    stdouts: dict[int, str] = field(default_factory=dict)
    stderrs: dict[int, str] = field(default_factory=dict)

    def is_failed(self) -> bool:
        """Whether one has failed."""
        return bool(self.failures)


class PContext(ABC):
    """Processes that are started together.

    Args:
        name: what lines on the console begin with, and the process's number
        entrypoint: what each runs
        args, envs: its arguments and environment variables, by the process's number
        logs_specs: the files
        log_line_prefixes: what lines on the console begin with instead
    """

    def __init__(
        self, name: str, entrypoint: Any, args: Mapping[int, tuple], envs: Mapping[int, dict[str, str]], logs_specs: LogsSpecs,
        log_line_prefixes: Mapping[int, str] | None = None,
    ) -> None:  # fmt: skip
        for what, given in (("args", args), ("envs", envs)):
            if sorted(given) != list(range(len(args))):
                raise RuntimeError(f"{what} are for processes {sorted(given)}, not for 0 to {len(args) - 1}")
        self.name, self.entrypoint, self.args, self.nprocs = name, entrypoint, args, len(args)
        self.specs = logs_specs  # its files may go with it
        self.logs: LogsDest = logs_specs.reify(dict(envs))
        self.envs = {local: {"TORCHELASTIC_ERROR_FILE": self.logs.error_files[local], **env} for local, env in envs.items()}
        self.prefixes = log_line_prefixes or {}
        self.processes: dict[int, Any] = {}
        self._tails: list[Tail] = []

    def start(self) -> None:
        """Start them."""
        try:
            for local in range(self.nprocs):
                for path in (self.logs.stdouts.get(local), self.logs.stderrs.get(local)):
                    if path is not None:
                        open(path, "wb").close()
                self.processes[local] = self._start(local)
            for shown, stream in ((self.logs.tee_stdouts, "stdout"), (self.logs.tee_stderrs, "stderr")):
                for local, path in shown.items():
                    self._tails.append(Tail(path, _Writer(stream), self.prefixes.get(local, f"[{self.name}{local}]:")))
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def _start(self, local: int) -> Any:
        """Start a process."""

    @abstractmethod
    def _code(self, local: int) -> int | None:
        """Its exit code, once it has ended."""

    @abstractmethod
    def _signal(self, local: int, number: int) -> None:
        """Send it a signal."""

    def _value(self, local: int) -> Any:
        """What its function returned."""
        return None

    def pids(self) -> dict[int, int]:
        """Their process ids."""
        return {local: process.pid for local, process in self.processes.items()}

    def wait(self, timeout: float = -1, period: float = 1) -> RunProcsResult | None:
        """Wait until all have ended, or one has failed; the others are ended then.

        Args:
            timeout: seconds to wait; 0 to look once, negative for any time
            period: seconds between looks

        Returns:
            How they ended, or ``None`` if they still run.
        """
        deadline = time.monotonic() + timeout
        while True:
            codes = {local: self._code(local) for local in self.processes}
            failures = {
                local: ProcessFailure(local, self.processes[local].pid, code, self.logs.error_files[local])
                for local, code in codes.items()
                if code
            }
            if failures or all(code == 0 for code in codes.values()):
                values = {} if failures else {local: self._value(local) for local in self.processes}
                self.close()
                return RunProcsResult(values, failures, self.logs.stdouts, self.logs.stderrs)
            left = deadline - time.monotonic()
            if timeout >= 0 and left <= 0:
                return None
            time.sleep(min(period, left) if timeout >= 0 else period)

    def close(self, death_sig: signal.Signals | None = None, timeout: float = 30) -> None:
        """End those that still run, if it takes longer than ``timeout`` seconds by force."""
        number = signal.SIGTERM if death_sig is None else death_sig
        for local in self.processes:
            if self._code(local) is None:
                self._signal(local, number)
        deadline = time.monotonic() + timeout
        while any(self._code(local) is None for local in self.processes):
            if time.monotonic() > deadline:
                for local in self.processes:
                    if self._code(local) is None:
                        self._signal(local, signal.SIGKILL)
                deadline = float("inf")
            time.sleep(0.01)
        for tail in self._tails:
            tail.close()
        self._tails.clear()


class _Writer:
    """Writes to what is stdout or stderr at the time."""

    def __init__(self, stream: str) -> None:
        self.stream = stream

    def __call__(self, text: str) -> None:
        target = getattr(sys, self.stream)
        target.write(text)
        target.flush()


class SubprocessContext(PContext):
    """Processes that run a program; its arguments are given as texts."""

    def _start(self, local: int) -> subprocess.Popen:
        command = [self.entrypoint, *map(str, self.args[local])]
        out, error = (files.get(local) for files in (self.logs.stdouts, self.logs.stderrs))
        with open(out or os.devnull, "wb") as stdout, open(error or os.devnull, "wb") as stderr:
            streams = {"stdout": stdout if out else None, "stderr": stderr if error else None}
            return subprocess.Popen(command, env={**os.environ, **self.envs[local]}, **streams)

    def _code(self, local: int) -> int | None:
        return self.processes[local].poll()

    def _signal(self, local: int, number: int) -> None:
        self.processes[local].send_signal(number)


class MultiprocessContext(PContext):
    """Processes that run a function.

    Args:
        start_method: ``"spawn"``, ``"fork"`` or ``"forkserver"``
        others: as for ``PContext``
    """

    def __init__(self, *args: Any, start_method: str = "spawn", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context: Any = multiprocessing.get_context(start_method)
        self.ends: dict[int, Any] = {}
        self.values: dict[int, Any] = {}

    def _start(self, local: int) -> Any:
        self.ends[local], end = self.context.Pipe(duplex=False)
        files = self.logs.stdouts.get(local), self.logs.stderrs.get(local)
        sys.stdout.flush()  # or a forked process would write what is waiting here, too
        process = self.context.Process(target=_run, args=(self.entrypoint, self.args[local], self.envs[local], files, end), daemon=False)
        with warnings.catch_warnings():  # of forks while there are other threads; Flambeau's own are made anew in the child
            warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)
            process.start()
        end.close()
        return process

    def _code(self, local: int) -> int | None:
        code, end = self.processes[local].exitcode, self.ends[local]  # in this order: what it has sent is there when it has ended
        if local not in self.values and not end.closed and end.poll():
            with suppress(EOFError):
                self.values[local] = pickle.loads(end.recv_bytes())
        return code

    def _value(self, local: int) -> Any:
        return self.values.get(local)

    def _signal(self, local: int, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.processes[local].pid, number)

    def close(self, death_sig: signal.Signals | None = None, timeout: float = 30) -> None:
        super().close(death_sig, timeout)
        for end in self.ends.values():
            end.close()


def _run(function: Callable, args: tuple, env: dict[str, str], files: tuple[str | None, str | None], end: Any) -> None:
    os.environ.update(env)
    for descriptor, name, path in zip((1, 2), ("stdout", "stderr"), files, strict=True):
        if path is not None:
            with open(path, "ab") as file:
                os.dup2(file.fileno(), descriptor)
            # A forked process may have something else there that its parent has put in the stream's place.
            setattr(sys, name, open(descriptor, "w", buffering=1, closefd=False))  # noqa: SIM115
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    handler = get_error_handler()
    handler.initialize()
    try:
        end.send_bytes(pickle.dumps(function(*args)))
    except Exception as error:
        handler.record_exception(error)
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.flush()


def start_processes(
    name: str, entrypoint: Callable | str, args: Mapping[int, tuple], envs: Mapping[int, dict[str, str]], logs_specs: LogsSpecs,
    log_line_prefixes: Mapping[int, str] | None = None, start_method: str = "spawn", numa_options: Any = None,
    duplicate_stdout_filters: Any = None, duplicate_stderr_filters: Any = None,
) -> PContext:  # fmt: skip
    """Start processes, each with its own arguments and environment variables.

    Args:
        name: what lines on the console begin with
        entrypoint: a function, or a program
        args, envs: by the process's number, from 0
        logs_specs: where they print
        log_line_prefixes: what lines on the console begin with instead
        start_method: for functions: ``"spawn"``, ``"fork"`` or ``"forkserver"``

    Returns:
        What to wait for.

    Raises:
        RuntimeError: a process has no arguments or environment variables
        NotImplementedError: ``numa_options``, or filters of what is printed

    Example::

        context = start_processes("trainer", train, {0: ("a",), 1: ("b",)}, {0: {}, 1: {}}, DefaultLogsSpecs())
        context.wait().return_values
    """
    if numa_options is not None or duplicate_stdout_filters or duplicate_stderr_filters:
        raise NotImplementedError("numa_options and filters of what is printed are not there: leave them out")
    given = (name, entrypoint, args, envs, logs_specs, log_line_prefixes)
    context = SubprocessContext(*given) if isinstance(entrypoint, str) else MultiprocessContext(*given, start_method=start_method)
    context.start()
    return context
