"""Pipes that change the order of samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flambeau.utils.data.datapipes._decorator import functional_datapipe
from flambeau.utils.data.datapipes._shuffling import Shuffled
from flambeau.utils.data.datapipes.datapipe import IterDataPipe
from flambeau.utils.data.datapipes.iter.utils import length_of
from flambeau.utils.data.sampler import Sampler, SequentialSampler

__all__ = ["SamplerIterDataPipe", "ShufflerIterDataPipe"]


class SamplerIterDataPipe(IterDataPipe):
    """What a sampler yields that is made of the pipe: its indices.

    Args:
        sampler: the class of samplers
        sampler_args, sampler_kwargs: what it is made with besides the pipe
    """

    def __init__(
        self,
        datapipe: IterDataPipe,
        sampler: type[Sampler] = SequentialSampler,
        sampler_args: tuple | None = None,
        sampler_kwargs: dict | None = None,
    ) -> None:
        self.datapipe = datapipe
        self.sampler_args = sampler_args or ()
        self.sampler_kwargs = {**(sampler_kwargs or {}), "data_source": datapipe}
        self.sampler = sampler(*self.sampler_args, **self.sampler_kwargs)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.sampler)

    def __len__(self) -> int:
        return length_of(self, self.sampler)


@functional_datapipe("shuffle")
class ShufflerIterDataPipe(Shuffled, IterDataPipe):
    """Samples in random order, as far as a buffer of them reaches.

    The buffer is filled first. Each further sample takes the place of one drawn from it, which is yielded; at the end the
    rest comes in random order. A buffer that holds all samples makes all orders equally likely.

    Args:
        buffer_size: how many samples the buffer holds
        unbatch_level: first take batches apart, so many levels of them

    The seed of a pass is drawn from Flambeau's generator when the pass begins, unless :meth:`set_seed` has been called.
    A :class:`DataLoader` of the pipe calls it, with the same seed in all workers.
    """

    def __init__(self, datapipe: IterDataPipe, *, buffer_size: int = 10000, unbatch_level: int = 0) -> None:
        super().__init__()
        if buffer_size <= 0:
            raise AssertionError(f"buffer_size should be larger than 0, but got {buffer_size}")
        self.datapipe = datapipe if unbatch_level == 0 else datapipe.unbatch(unbatch_level=unbatch_level)
        self.buffer_size = buffer_size

    def __iter__(self) -> Iterator[Any]:
        if not self._enabled:
            yield from self.datapipe
            return
        buffer: list = []
        for sample in self.datapipe:
            if len(buffer) < self.buffer_size:
                buffer.append(sample)
            else:
                place = self._rng.randint(0, len(buffer) - 1)
                chosen, buffer[place] = buffer[place], sample
                yield chosen
        while buffer:
            yield buffer.pop(self._rng.randint(0, len(buffer) - 1))

    def __len__(self) -> int:
        return length_of(self, self.datapipe)
