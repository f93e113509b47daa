"""Which results are written past the caches: those that are so large that they would push everything else out."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

from flambeau._codegen.loops import VECTOR
from flambeau._runtime import targets

if TYPE_CHECKING:
    from flambeau._compiler.nest import Nest
    from flambeau._compiler.walk import Affine, Walk

_CACHED = 10 << 20


@lru_cache(maxsize=1)
def _large() -> int:
    """A result of so many bytes is written past the caches: who reads it next finds little of it there. On a core with a third-level cache of
    260 MB, ``x + 1`` and then ``y * 2`` took 8 % longer for 16 MB, as long for 32 MB, and 33 % less for 64 MB."""
    return targets.cache_sizes()[2] // 8


def stays_cached(written: int) -> bool:
    """Whether the caches hold all that a program writes, so many bytes, and nothing is to be gained by writing past them: a third of the third level, of
    which 10 MB count. On a Zen 3 with 32 MB a border of 8.9 MB takes two threads 190 µs through the caches and 500 past them. (Where other
    programs use the same cache it is the other way round: a copy of 8 MB took a thread 850 to 1140 µs through them, and 400 to 450 past them.)"""
    return written <= min(targets.cache_sizes()[2] // 3, _CACHED)


def is_possible(each: Affine, vector: int | None) -> bool:
    """Whether an access writes vectors that could be stored past the caches."""
    if each.weight == 1 or each.dtype is None or each.buffer is None or each.dtype.is_complex or each.dtype.itemsize < 2:
        return False
    return vector is not None and each.strides.get(vector) == 1


def is_worthwhile(nest: Nest, each: Affine, walk: Walk) -> bool:
    """Whether an access for which that is possible writes so much, and vectors in their places."""
    assert each.dtype is not None and each.buffer is not None
    if nest.stays_cached or not nest.is_fresh(each.buffer):
        return False
    volume = prod(size for digit, size in walk.sizes.items() if digit in each.strides)
    steps = [stride for digit, stride in each.strides.items() if digit != walk.vector and digit in walk.sizes] + [each.offset]
    if len(walk.run) > 1:
        steps.append(walk.sizes[walk.run[-1]])
    return volume * each.dtype.itemsize >= _large() and all(step % (2 * VECTOR) == 0 for step in steps)
