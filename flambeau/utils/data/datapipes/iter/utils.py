"""Anything that can be iterated, as a pipe."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from flambeau.utils.data.datapipes.datapipe import IterDataPipe

__all__ = ["IterableWrapperIterDataPipe"]


class IterableWrapperIterDataPipe(IterDataPipe):
    """The elements of an iterable.

    Args:
        iterable: what is iterated
        deepcopy: iterate over a deep copy in each pass, so that pipes which change samples leave the iterable as it is. What
            cannot be copied, as a generator, is iterated itself, once.

    Example:
        >>> list(IterableWrapperIterDataPipe(range(3)))
        [0, 1, 2]
    """

    def __init__(self, iterable: Iterable, deepcopy: bool = True) -> None:
        self.iterable = iterable
        self.deepcopy = deepcopy

    def __iter__(self) -> Iterator[Any]:
        source = self.iterable
        if self.deepcopy:
            try:
                source = copy.deepcopy(source)
            except TypeError:
                warnings.warn(
                    "The input iterable can not be deepcopied, please be aware of in-place modification would affect source data.",
                    stacklevel=2,
                )
        yield from source

    def __len__(self) -> int:
        return length_of(self, self.iterable)


def length_of(pipe: Any, source: Any) -> int:
    """``len(source)``, or a TypeError that names ``pipe``."""
    if not hasattr(source, "__len__"):
        raise TypeError(f"{type(pipe).__name__} instance doesn't have valid length")
    return len(source)
