"""Which digits of a map are woven: those along which neighbours are interleaved in memory (``_codegen/loops/weaving.py``).

Before: pixels of four channels that become planes, digits (image, channel, pixel), the load of strides (4 · pixels, 1, 4), the store's (4 · pixels, pixels, 1).
After: the channel is woven; for each vector of pixels four vectors are loaded, shuffled and stored, where each channel had loaded them all.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from flambeau._codegen.loops import VECTOR
from flambeau._codegen.loops.spec import LIGHT

if TYPE_CHECKING:
    from flambeau._compiler.nest import Nest
    from flambeau._compiler.walk import Affine

MOST = 4
"""Elements of a group."""
_ENOUGH = 4096
"""Fewer elements are not worth a kernel for groups of one shape."""


def woven(nest: Nest, outer: list[int], vector: int | None, sizes: dict[int, int]) -> list[int]:
    """The digits, outermost first, whose places make up groups; none if nothing is interleaved, or not all of it alike."""
    if vector is None or sizes[vector] < VECTOR or prod(sizes.values()) < _ENOUGH or len(nest.body) > LIGHT:
        return []
    if any(instr.op in ("gather", "check") or (instr.op in ("load", "inside") and instr.attrs[-1]) for instr in nest.body):
        return []
    places = [each for each in nest.accesses if each.dtype is not None and 1 < each.strides.get(vector, 0) <= MOST]
    found = [_group(each, outer, vector, sizes) for each in places if each.dtype is not None and not each.dtype.is_complex]
    return found[0] if len(found) == len(places) and found and all(each == found[0] for each in found) else []


def _group(each: Affine, outer: list[int], vector: int, sizes: dict[int, int]) -> list[int]:
    """The digits along which an access goes through a group, if it goes through all of one and then, along the vector digit, to the next."""
    group: list[int] = []
    step, size = 1, each.strides[vector]
    while step < size:
        digit = next((digit for digit in outer if each.strides.get(digit) == step), None)
        if digit is None:
            return []
        group.insert(0, digit)
        step *= sizes[digit]
    return group if step == size else []
