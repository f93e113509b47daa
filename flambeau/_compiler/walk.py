"""How the loops of a nest go over its digits, and what they meet there."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod

from flambeau._compiler.node import Node
from flambeau._types.dtype import dtype as DType


@dataclass
class Affine:
    """An affine function of a cluster's digits: a place in a buffer, or a number."""

    dtype: DType | None
    buffer: Node | None
    strides: dict[int, int]
    offset: int
    weight: int = 1


@dataclass
class Walk:
    """How loops go over the digits of a cluster: in ``order``, each for its size; ``vector`` (if there is one) along the lanes, ``woven`` ones together."""

    order: list[int | None]
    sizes: dict[int, int]
    outer: list[int]
    vector: int | None
    reduced: list[int]
    run: list[int]
    woven: list[int]

    @property
    def places(self) -> int:
        return prod(self.sizes[digit] for digit in self.outer)

    @property
    def across(self) -> int:
        return 1 if self.vector is None else self.sizes[self.vector]

    @property
    def inner(self) -> int:
        return prod(self.sizes[digit] for digit in (*self.reduced, *self.run))

    def is_flat(self, each: Affine) -> bool:
        """Whether an access moves along the digits of the run as along one."""
        return all(each.strides.get(a, 0) == each.strides.get(b, 0) * self.sizes[b] for a, b in pairwise(self.run))
