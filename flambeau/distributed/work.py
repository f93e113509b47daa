"""``Work``: a collective that goes on while the caller does something else."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from flambeau.distributed.errors import DistBackendError
from flambeau.futures import Future

__all__ = ["Work"]


class Work:
    """What a collective with ``async_op`` returns. Its tensors may be used after ``wait()``.

    Args:
        future: is done when the collective is
        result: its tensors
        timeout: seconds that ``wait()`` waits if it is not told
        name: what was called
        on_timeout: called if somebody has waited in vain
    """

    def __init__(self, future: Future, result: Any, timeout: float, name: str, on_timeout: Callable[[], None] | None = None) -> None:
        self._future, self._result, self._timeout, self._name, self._on_timeout = future, result, timeout, name, on_timeout

    def wait(self, timeout: timedelta | None = None) -> bool:
        """Wait until it is done.

        Raises:
            RuntimeError: it failed, or is not done in time
        """
        seconds = self._timeout if timeout is None or timeout.total_seconds() <= 0 else timeout.total_seconds()
        try:
            self._future._future.result(seconds)
        except concurrent.futures.TimeoutError:
            if self._future.done():
                raise
            if self._on_timeout is not None:
                self._on_timeout()
            raise DistBackendError(f"{self._name}: timed out after {seconds:g} seconds") from None
        return True

    synchronize = wait

    def is_completed(self) -> bool:
        """Whether it is done, or has failed."""
        return self._future.done()

    def is_success(self) -> bool:
        """Whether it is done and has not failed."""
        return self._future.done() and self.exception() is None

    def exception(self) -> BaseException | None:
        """What it failed with."""
        return self._future._future.exception() if self._future.done() else None

    def result(self) -> Any:
        """Its tensors."""
        return self._result

    def source_rank(self) -> int:
        """Who sent what was received."""
        return self._future.wait()

    def get_future(self) -> Future:
        """The future of the list of its tensors."""
        return self._future.then(lambda done: (done.wait(), self._result)[1])
