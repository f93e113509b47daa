"""Errors of the processes of a job."""

from __future__ import annotations

import functools
import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

__all__ = ["ChildFailedError", "ErrorHandler", "ProcessFailure", "get_error_handler", "record"]

_VARIABLE = "TORCHELASTIC_ERROR_FILE"


class ErrorHandler:
    """Writes the exception of a process to the file that the environment variable ``TORCHELASTIC_ERROR_FILE`` names, if it is set."""

    def initialize(self) -> None:
        """Called before the process's main function."""

    def record_exception(self, e: BaseException) -> None:
        """Write down an exception."""
        path = os.environ.get(_VARIABLE)
        if not path:
            return
        text = "".join(traceback.format_exception(type(e), e, e.__traceback__))
        told = {"py_callstack": text, "timestamp": str(int(time.time()))}
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"message": {"message": f"{type(e).__name__}: {e}", "extraInfo": told}}, file)


def get_error_handler() -> ErrorHandler:
    """What writes down exceptions."""
    return ErrorHandler()


class ProcessFailure:
    """How a process of a job ended.

    Args:
        local_rank: its number on its machine
        pid: its process id
        exitcode: its exit code, negative for a signal
        error_file: where ``record`` has written its exception

    Attributes:
        message: what the exception says, or how the process ended
        timestamp: when, in seconds since 1970
    """

    def __init__(self, local_rank: int, pid: int, exitcode: int, error_file: str) -> None:
        self.local_rank, self.pid, self.exitcode, self.error_file = local_rank, pid, exitcode, error_file
        self.error_file_data: dict[str, Any] = {}
        with suppress(OSError, ValueError), open(error_file, encoding="utf-8") as file:
            self.error_file_data = json.load(file)
        told = self.error_file_data.get("message", {})
        self.timestamp = int(told.get("extraInfo", {}).get("timestamp", time.time())) if isinstance(told, dict) else int(time.time())
        self.message = told.get("message", "") if isinstance(told, dict) else str(told)
        if not self.message:
            name = self.signal_name()
            self.message = f"exit code {exitcode}" if name == "<N/A>" else f"signal {name}"

    def signal_name(self) -> str:
        """The signal that ended it, if one did."""
        if self.exitcode < 0:
            with suppress(ValueError):
                return signal.Signals(-self.exitcode).name
        return "<N/A>"

    def timestamp_isoformat(self) -> str:
        """When it ended."""
        return datetime.fromtimestamp(self.timestamp, timezone.utc).isoformat(sep="_")


class ChildFailedError(Exception):
    """Processes of a job failed.

    Args:
        name: the program
        failures: how, by rank

    Attributes:
        exit_code: that of the first that failed, negative for a signal
    """

    def __init__(self, name: str, failures: dict[int, ProcessFailure]) -> None:
        if not failures:
            raise AssertionError(f"{name}: there is no failure to tell of")
        self.name, self.failures = name, failures
        rank, first = self.get_first_failure()
        self.exit_code = first.exitcode
        super().__init__(f"{name} FAILED: rank {rank} (local rank {first.local_rank}, pid {first.pid}) ended with {_how(first)}")

    def get_first_failure(self) -> tuple[int, ProcessFailure]:
        """The rank of the process that failed first, and how it did."""
        rank = min(self.failures, key=lambda each: (self.failures[each].timestamp, each))
        return rank, self.failures[rank]

    def format_msg(self) -> str:
        """All failures, one a line."""
        return "\n".join(
            f"{self.name} rank {rank} (local rank {each.local_rank}, pid {each.pid}) {each.timestamp_isoformat()}: {_how(each)}"
            for rank, each in sorted(self.failures.items())
        )


def _how(failure: ProcessFailure) -> str:
    how = f"exit code {failure.exitcode}" if failure.signal_name() == "<N/A>" else f"signal {failure.signal_name()}"
    return how if failure.message in ("", how) else f"{how}: {failure.message}"


def record(fn: Callable, error_handler: ErrorHandler | None = None) -> Callable:
    """A main function whose exception is written down for the launcher, which tells it with the exit code.

    Example::

        @record
        def main():
            ...
    """
    handler = error_handler or get_error_handler()

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        handler.initialize()
        try:
            return fn(*args, **kwargs)
        except SystemExit as exit:
            if exit.code:
                handler.record_exception(exit)
            raise
        except Exception as error:
            handler.record_exception(error)
            raise

    return wrapped
