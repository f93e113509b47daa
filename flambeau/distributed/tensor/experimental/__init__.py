"""``implicit_replication``: ordinary tensors among distributed ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flambeau.distributed.tensor.ways import MIXING

__all__ = ["implicit_replication"]


@contextmanager
def implicit_replication() -> Iterator[None]:
    """A context in which ordinary tensors among the arguments of functions of distributed ones are taken to be the same in each process."""
    before, MIXING.allowed = MIXING.allowed, True
    try:
        yield
    finally:
        MIXING.allowed = before
