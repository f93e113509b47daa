"""One pass at a time: what is done around each ``__iter__`` of a pipe that is iterated."""

from __future__ import annotations

import functools
import inspect
import reprlib
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["FEEDBACK", "counted", "described"]

FEEDBACK = "\nFor feedback regarding this single iterator per IterDataPipe constraint, feel free to comment on this issue: https://github.com/pytorch/data/issues/45."
"""The last line of the error about an iterator that is no longer valid; programs match it."""


def counted(iterate: Callable[[Any], Any]) -> Callable[[Any], Iterator]:
    """An ``__iter__`` whose iterators end, with an error, the iterators that were made of the same pipe before.

    A pass begins with :meth:`IterDataPipe.reset`. If ``iterate`` is a generator function, it begins when the first sample is
    asked for, and otherwise at the call: a pipe's random numbers are drawn then.
    """

    def begin(pipe: Any) -> Iterator:
        iterator = iterate(pipe)
        return _samples(pipe, iterator, pipe._begin_pass())

    def begin_later(pipe: Any) -> Iterator:
        yield from begin(pipe)

    return functools.wraps(iterate)(begin_later if inspect.isgeneratorfunction(iterate) else begin)


def _samples(pipe: Any, iterator: Iterator, number: int) -> Iterator:
    while True:
        pipe._check_pass(number)
        try:
            sample = next(iterator)
        except StopIteration:
            return
        except Exception as error:
            _say_where(error, pipe)
            raise
        yield sample


def _say_where(error: Exception, pipe: Any) -> None:
    """Adds to an exception's message which pipe it comes from, unless a pipe further up has done so."""
    where = "\nThis exception is thrown by __iter__ of "
    first, *others = error.args or ("",)
    if isinstance(first, str) and where not in first and FEEDBACK not in first:
        error.args = (f"{first}{where}{described(pipe)}", *others)


def described(pipe: Any) -> str:
    """A pipe's class with what it was made of, for messages."""
    names = sorted(name for name in inspect.signature(type(pipe).__init__).parameters if name in vars(pipe))
    return f"{type(pipe).__name__}({', '.join(f'{name}={_shown(vars(pipe)[name])}' for name in names)})"


def _shown(value: Any) -> str:
    return value.__name__ if inspect.isfunction(value) else reprlib.repr(value)
