"""The order of a sum (``docs/design/0003-reductions.md``) in NumPy, for any axes, and arrays that lie in memory in any order."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

import flambeau


def ordered_sum(x: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """The sum over ``axes`` of a float32 array, to the last bit."""
    long = [axis for axis in range(x.ndim) if x.shape[axis] != 1]
    places = [place for place, axis in enumerate(long) if axis in axes]
    first = len(places) - 1
    while first > 0 and places[first - 1] == places[first] - 1:
        first -= 1
    outer, run = ([long[place] for place in part] for part in (places[: max(first, 0)], places[max(first, 0) :]))
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    ones = [axis for axis in axes if x.shape[axis] == 1]
    count, length = (prod(x.shape[axis] for axis in part) for part in (outer, run))
    lines = x.transpose([*kept, *ones, *outer, *run]).reshape([x.shape[axis] for axis in kept] + [count, length])
    together = max(1, 1024 // max(length, 1)) if outer else 1
    total = np.zeros(lines.shape[:-2])
    for line in range(0, count, together):
        for start in range(0, length, 1024):
            total += _folded(lines[..., line : line + together, start : start + 1024])
    return total.astype(np.float32)


def _folded(chunk: np.ndarray) -> np.ndarray:
    lanes = np.zeros((*chunk.shape[:-2], 32), np.float32)
    for line in range(chunk.shape[-2]):
        for start in range(0, chunk.shape[-1], 32):
            block = chunk[..., line, start : start + 32]
            lanes[..., : block.shape[-1]] += block
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = lanes[..., :half] + lanes[..., half:]
    return lanes[..., 0]


def lying(x: np.ndarray, order: Sequence[int]) -> flambeau.Tensor:
    """A tensor with these elements, whose dimensions lie in memory in ``order``, outermost first."""
    memory = flambeau.tensor(np.ascontiguousarray(x.transpose(order)))
    return memory.permute(*[int(place) for place in np.argsort(order)])
