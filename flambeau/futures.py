"""Results that are not there yet, and what follows on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future as _Future
from concurrent.futures import InvalidStateError
from threading import Lock
from typing import Any, Generic, TypeVar

__all__ = ["Future", "collect_all", "wait_all"]

T = TypeVar("T")
S = TypeVar("S")


class Future(Generic[T]):
    """A result that some thread will set; any number may wait for it, or have functions called on it.

    Args:
        devices: for PyTorch's sake; results are on the CPU
    """

    def __init__(self, *, devices: Iterable[Any] | None = None) -> None:
        self._future: _Future[T] = _Future()

    def done(self) -> bool:
        """Whether there is a result or an error."""
        return self._future.done()

    def wait(self) -> T:
        """Wait for the result and return it, or raise the error that stands in its place."""
        return self._future.result()

    def value(self) -> T:
        """The result, without waiting.

        Raises:
            RuntimeError: it is not there yet
        """
        if not self.done():
            raise RuntimeError("the future has no value yet: wait() waits for it")
        return self.wait()

    def set_result(self, result: T) -> None:
        """Set the result, and call what follows on it.

        Raises:
            RuntimeError: it has been set before
        """
        self._settle(self._future.set_result, result)

    def set_exception(self, result: BaseException) -> None:
        """Set an error, which every waiter will see raised."""
        if not isinstance(result, BaseException):
            raise AssertionError(f"{result!r} is of type {type(result).__name__}, not an exception")
        self._settle(self._future.set_exception, result)

    def _settle(self, settle: Callable[[Any], None], result: Any) -> None:
        try:
            settle(result)
        except InvalidStateError:
            raise RuntimeError("the future's result was set before: it can be set once") from None

    def then(self, callback: Callable[[Future[T]], S]) -> Future[S]:
        """The future of what a function makes of this one, once it is done."""
        follower: Future[S] = Future()

        def follow(_: Any) -> None:
            try:
                result = callback(self)
            except BaseException as error:
                follower.set_exception(error)
            else:
                follower.set_result(result)

        self._future.add_done_callback(follow)
        return follower

    def add_done_callback(self, callback: Callable[[Future[T]], None]) -> None:
        """Call a function with this future once it is done; what it raises is logged."""
        self._future.add_done_callback(lambda _: callback(self))


def collect_all(futures: list[Future]) -> Future[list[Future]]:
    """The future of a list of futures that are all done."""
    every: Future[list[Future]] = Future()
    left = _Countdown(len(futures), lambda: every.set_result(futures))
    for each in futures:
        each.add_done_callback(left)
    return every


def wait_all(futures: list[Future]) -> list[Any]:
    """Wait for all, and return their results; the first error is raised when all are done."""
    return [each.wait() for each in collect_all(futures).wait()]


class _Countdown:
    """Called once for each of `count` events, from any thread, it calls `last` at the last (at once, if there are none)."""

    def __init__(self, count: int, last: Callable[[], None]) -> None:
        self.count, self.last, self.lock = count, last, Lock()
        if not count:
            last()

    def __call__(self, _: Any) -> None:
        with self.lock:
            self.count -= 1
            done = not self.count
        if done:
            self.last()
