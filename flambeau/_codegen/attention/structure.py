"""What the code of an attention kernel depends on, and the numbers that are part of the definition of its result."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from flambeau._codegen.contract.arithmetic import Tile, register_tile
from flambeau._runtime.targets import Target
from flambeau._types.dtype import dtype

ROWS = 84
"""Queries of a block: whole register tiles of 14, 6 and 4 rows."""
KEYS = 256
"""Keys of a block of the forward pass: after each the sums so far are scaled to the new maximum. 128 was slower by 3 %, 512 by 5 %."""
BACKWARD_KEYS = 128
"""Keys of a block of the backward pass. 64 is as fast, and adds to the gradients of queries twice as often."""
LANES = 32
"""A row's weights are added in so many lanes, as every sum (``docs/design/0003-reductions.md``)."""


def round_up(number: int, step: int) -> int:
    return -(-number // step) * step


class Mask(NamedTuple):
    """What is added to the scores (or, if bool, says which count); ``adjacent`` if keys are neighbours in memory."""

    dtype: dtype
    adjacent: bool


@dataclass(frozen=True)
class Structure:
    """Everything but extents and strides, which are run-time parameters; ``batch`` counts axes, ``out`` is the dtype of results."""

    target: Target
    dtype: dtype
    batch: int
    is_causal: bool
    mask: Mask | None
    out: dtype

    @cached_property
    def tile(self) -> Tile:
        """The register tile, in the compute dtype (float32 for half precision)."""
        return register_tile(self.dtype.compute, self.target)

    def pitch(self, size: int) -> int:
        """How far rows of so many numbers are apart in scratch memory: whole register tiles, and an odd number of cache lines.

        A product reads a line of each of many rows. At a distance of a power of two these would be in a few sets of the first-level cache.
        """
        line = 64 // self.tile.bytes
        return line * (-(-round_up(size, self.tile.lanes) // line) | 1)
