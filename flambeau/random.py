"""The default stream of random numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from flambeau._ops.generators import default_generator as default_generator
from flambeau._ops.generators import get_rng_state as get_rng_state
from flambeau._ops.generators import initial_seed as initial_seed
from flambeau._ops.generators import manual_seed as manual_seed
from flambeau._ops.generators import seed as seed
from flambeau._ops.generators import set_rng_state as set_rng_state

__all__ = [
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
    "thread_safe_generator",
]


@contextmanager
def fork_rng(devices: Iterable[Any] | None = None, enabled: bool = True, device_type: str | None = None) -> Iterator[None]:
    """A block after which the stream goes on as if nothing had been drawn in it.

    Example::

        >>> with flambeau.random.fork_rng():
        ...     noise = flambeau.randn(3)
    """
    if not enabled:
        yield
        return
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


def thread_safe_generator() -> None:
    """The generator of the thread that loads data, or nothing where there is none: then functions use the default stream.

    Data are loaded by processes here, each with a default stream of its own, so that there is never one.
    """
    return None
