"""Pairs of axes that slide along each other: what makes a contraction one over windows."""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

from flambeau._codegen.contract.normal import Axis, Normal
from flambeau._codegen.contract.sliding_kernel import Slide

_MOST_PACE, _MOST_SPREAD = 4, 64
RUN = 256
"""Bytes of a pixel that a tile reads, at most, if several groups have them: one line of each pixel is the latency of a cache for each."""


class Pair(NamedTuple):
    """An axis of the output, the axis of k that slides along it, and what a unit of their coordinate adds to address and bounds."""

    slide: Slide
    axis: Axis
    tap: Axis
    unit: int
    bounds: tuple[int, ...]


class Pairing:
    """Finds pairs in ``n`` and ``k``, and takes them out; ``batch`` are the other axes."""

    def __init__(self, normal: Normal) -> None:
        self.normal = normal
        self.unit_axis: Axis = (1,) + (0,) * (len(normal.names) - 1)
        self.of_b = (normal.b.index, *normal.b.bounds)
        self.batch, self.n, self.k = ([axis for axis in group if axis[0] > 1] for group in (normal.batch, normal.n, normal.k))

    def take(self) -> Pair | None:
        """The last axis of k with the axis of n that it slides along, both taken out."""
        pairs = [pair for axis in self.n if self.k and (pair := self.pair(axis, self.k[-1]))]
        best = min(pairs, key=lambda pair: pair.slide.pace + abs(pair.slide.spread), default=None)
        if best is not None:
            self.n.remove(best.axis)
            self.k.pop()
        return best

    def pair(self, axis: Axis, tap: Axis, unit: int = 0) -> Pair | None:
        move, step = axis[self.normal.b.index], tap[self.normal.b.index]
        if move <= 0 or not step:
            return None
        unit = unit or gcd(move, step)
        slide = Slide(tap[0], move // unit, step // unit)
        if slide.pace > _MOST_PACE or abs(slide.spread) > _MOST_SPREAD:
            return None
        bounds = []
        for i in self.normal.b.bounds:
            each, rest = divmod(axis[i], slide.pace)
            if rest or tap[i] != each * slide.spread:
                return None
            bounds.append(each)
        return Pair(slide, axis, tap, unit, tuple(bounds))

    def neighbours(self, channels: int, most: int) -> Axis:
        """Take groups whose channels lie side by side in the right operand out of the batch, a few with at ``most`` so many in all."""
        b = self.normal.b.index
        place = next((i for i, axis in enumerate(self.batch) if axis[b] == channels), None)
        if place is None:
            return self.unit_axis
        extent, *strides = self.batch[place]
        count = next(count for count in range(max(1, min(most // channels, extent)), 0, -1) if extent % count == 0)
        self.batch[place] = (extent // count, *[stride * count for stride in strides])
        if count == extent:
            self.batch.pop(place)
        return (count, *strides)
