"""What a program of one native segment needs to be run by native code: see ``_tape/native/``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from flambeau._runtime.allocator import size_class

WORDS = ("table", "task", "number", "error", "inputs", "numbers", "buffers", "fresh", "results", "short", "left")
"""Addresses (of the table, the runner's task, the numbers and the error block) and counts; the arena is the last of the buffers. The last words say
whether the program has proved to be short, and for how many runs more the recipe is good."""
ALWAYS = 1 << 62


class Launch:
    """A program's recipe for running it.

    Attributes:
        words: the address of ``WORDS``
        inputs: the slots that the program reads, in the order of the table
        kinds: for each number, whether it is a float
        sizes, classes: of the new buffers, with the arena at the end if there is one
        slots: the slots of the results
        sources: for each result, which of the new buffers it is, or ``~slot`` of the input that it is written over
    """

    __slots__ = ("classes", "inputs", "kept", "kinds", "sizes", "slots", "sources", "words")

    def __init__(
        self, addresses: Sequence[int], inputs: tuple, kinds: str, sizes: tuple, arena: int, results: tuple, kept: Any, left: int = ALWAYS
    ) -> None:
        slots, sources = results
        self.inputs, self.slots, self.sources = inputs, slots, sources
        self.kinds = tuple([int(kind == "d") for kind in kinds])
        self.sizes = (*sizes, arena) if arena else sizes
        self.classes = tuple(map(size_class, self.sizes))
        block = (ctypes.c_int64 * len(WORDS))(*addresses, len(inputs), len(kinds), len(self.sizes), len(sizes), len(slots), 0, left)
        self.words = ctypes.addressof(block)
        self.kept = block, kept

    def passes(self) -> bool:
        """Count a run that native code could have begun; returns whether there are any left."""
        block, place = self.kept[0], WORDS.index("left")
        block[place] -= block[place] > 0
        return block[place] > 0
