"""Marks for NVIDIA's profilers: programs may import the module, and need a CUDA device to use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from flambeau._types.errors import DeviceNotAvailableError

__all__ = ["mark", "range", "range_end", "range_pop", "range_push", "range_start"]


def _no_device(name: str) -> NoReturn:
    raise DeviceNotAvailableError(f"torch.cuda.nvtx.{name} needs a CUDA device; torch.profiler.record_function marks what runs on the CPU")


def mark(msg: str) -> NoReturn:
    """Raises ``DeviceNotAvailableError``: there is no CUDA device."""
    _no_device("mark")


def range_push(msg: str) -> NoReturn:
    """Raises ``DeviceNotAvailableError``: there is no CUDA device."""
    _no_device("range_push")


def range_pop() -> NoReturn:
    """Raises ``DeviceNotAvailableError``: there is no CUDA device."""
    _no_device("range_pop")


def range_start(msg: str) -> NoReturn:
    """Raises ``DeviceNotAvailableError``: there is no CUDA device."""
    _no_device("range_start")


def range_end(range_id: int) -> NoReturn:
    """Raises ``DeviceNotAvailableError``: there is no CUDA device."""
    _no_device("range_end")


@contextmanager
def range(msg: str, *args: Any, **kwargs: Any) -> Iterator[None]:
    """A part of a program that is marked.

    Raises:
        DeviceNotAvailableError: it is entered
    """
    _no_device("range")
    yield
