"""Whether a nest of rows repeats what channels have one of (a weight, a bias) for each position (``_codegen/loops/row.py``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau._codegen.loops import VECTOR
from flambeau._compiler.walk import Walk

if TYPE_CHECKING:
    from flambeau._compiler.nest import Nest

SHORT = 128
"""Positions of a channel up to which sums are worth it: vectors with masks take several times as long."""
MOST = 1 << 13
"""Positions of a row up to which what is repeated stays in a near cache."""


def repeats(nest: Nest, walk: Walk) -> str:
    """What rows are to repeat (``LoopSpec.repeat``), so that they can be walked as one digit.

    What only stores need is not repeated unless it is the same for less than a vector: a row of 16 channels of 7² took 0.58 µs instead of 0.41.
    """
    if len(walk.run) < 2 or walk.reduced or nest.cluster.closed or walk.inner > MOST or any(instr.dtype.is_complex for instr in nest.body):
        return ""
    bent = [number for number, each in enumerate(nest.accesses) if not walk.is_flat(each)]
    size = walk.sizes[walk.run[-1]]
    if not bent or size > SHORT or not all(_is_level(nest, number, walk) for number in bent):
        return ""
    return "everything" if size < VECTOR else "sums"


def _is_level(nest: Nest, number: int, walk: Walk) -> bool:
    """Whether an access only loads, and what is the same along the last digit."""
    each = nest.accesses[number]
    return each.dtype is not None and walk.run[-1] not in each.strides and nest.is_only_loaded(number, bounded=False)
