"""Which gathers of a nest read from a copy in scratch memory, and how much of it (``_codegen/loops/staging.py``)."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from flambeau._codegen.loops import VECTOR
from flambeau._codegen.loops.spec import accesses_of
from flambeau._runtime import targets

if TYPE_CHECKING:
    from flambeau._compiler.nest import Nest

_LARGE = 4
"""Columns of what is so many times larger than the second-level cache are copied for a gather (of what is twice as large, that is no faster)."""


def staged(nest: Nest, outer: list[int], vector: int | None, sizes: dict[int, int]) -> tuple[int, ...]:
    """The gathers that are worth a copy of what they read: from columns of what is larger than the cache, if the result has not fewer rows than half
    of the source's."""
    if vector is None or not outer:
        return ()
    row, cache = outer[-1], targets.cache_sizes()[1]
    found = []
    for number, reach in nest.reaches.items():
        instr = nest.body[number]
        strides = nest.accesses[instr.attrs[0]].strides
        is_column = len(reach) == 1 and strides.get(vector) == 1 and row not in strides and _moves(nest, instr.args[0], vector)
        if is_column and 2 * sizes[row] >= reach[0] and reach[0] * sizes[vector] * instr.dtype.itemsize > _LARGE * cache:
            found.append(number)
    return tuple(found) if found and piece(nest, found, 1, sizes[vector]) >= VECTOR else ()


def piece(nest: Nest, gathers: Collection[int], places: int, most: int) -> int:
    """How wide the pieces of staged gathers are: all of them fill half of a cache, and every core gets some."""
    column = sum(nest.reaches[number][0] * nest.body[number].dtype.itemsize for number in gathers)
    shared = -(-most * places // targets.available_cores())
    return min(targets.cache_sizes()[1] // 2 // column // VECTOR, -(-shared // VECTOR)) * VECTOR


def _moves(nest: Nest, number: int, digit: int) -> bool:
    """Whether an instruction depends on a digit."""
    instr = nest.body[number]
    if any(digit in nest.accesses[access].strides for access in accesses_of(instr)):
        return True
    return any(_moves(nest, argument, digit) for argument in instr.args)
