"""The samples of an indexed pipe in random order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flambeau.utils.data.datapipes._shuffling import Shuffled
from flambeau.utils.data.datapipes.datapipe import IterDataPipe, MapDataPipe

__all__ = ["ShufflerIterDataPipe"]


class ShufflerIterDataPipe(Shuffled, IterDataPipe):
    """Iterates over an indexed pipe in random order, a new one in each pass.

    Args:
        indices: what the pipe is indexed with; ``0, 1, …`` by default
    """

    def __init__(self, datapipe: MapDataPipe, *, indices: list | None = None) -> None:
        super().__init__()
        self.datapipe = datapipe
        self.indices = list(range(len(datapipe))) if indices is None else indices

    def __iter__(self) -> Iterator[Any]:
        # Drawn as a sample of all and taken from its end, for the order that PyTorch has with the same seed.
        order = reversed(self._rng.sample(self.indices, len(self.indices))) if self._enabled else self.indices
        for index in order:
            yield self.datapipe[index]

    def __len__(self) -> int:
        return len(self.datapipe)


MapDataPipe.register_datapipe_as_function("shuffle", ShufflerIterDataPipe)
