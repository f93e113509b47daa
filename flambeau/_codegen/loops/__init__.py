"""Loop kernels: elementwise work and reductions over an index space, as explicit vector IR.

A ``LoopSpec`` says what is computed. Its index space is a list of *digits*: outer digits, then reduced digits (outer ones and the *run*), one
of them being the *vector digit*, which lies across the lanes. Six shapes of loop nest cover everything:

- ``map`` (``maps.py``): no reduction. A tile is a block of the vector digit at one place of the outer digits.
  Gathers from columns begin with a copy of them (``staging.py``). What is interleaved is done group by group (``weaving.py``).
- ``window`` (``window.py``): the same, each result from a few positions that are written out. Short rows are transposed for it (``turned.py``).
- ``copy`` (``copies.py``): the same, short rows that are copied as they are.
- ``tiled`` (``tiled.py``): no reduction, and some loads lie across: blocks are transposed in registers.
- ``row`` (``row.py``): the vector digit is the run's last one. A tile is one place of the outer digits; each phase walks the row once.
  Short rows take each phase in turn, sixteen to a tile (``short_rows.py``).
- ``column`` (``column.py``): the vector digit is an outer one. A tile is a block of neighbouring results.

A *phase* is what is known after the reductions of the phases before. The order in which a reduction adds is that of
``docs/design/0003-reductions.md`` in all shapes. A *split* spec leaves one partial result for each chunk, which a ``combine`` kernel adds up.
"""

from __future__ import annotations

from functools import lru_cache, partial, reduce
from typing import NamedTuple

from flambeau._codegen.ir import Module
from flambeau._codegen.loops.body import Body
from flambeau._codegen.loops.column import Column
from flambeau._codegen.loops.column import most_vectors as most_vectors
from flambeau._codegen.loops.combining import combine_kernel as combine_kernel
from flambeau._codegen.loops.maps import emit_map, shared
from flambeau._codegen.loops.naming import finish as finish
from flambeau._codegen.loops.row import Row
from flambeau._codegen.loops.short_rows import ShortRows
from flambeau._codegen.loops.spec import ACROSS as ACROSS
from flambeau._codegen.loops.spec import BLOCK as BLOCK
from flambeau._codegen.loops.spec import CHUNK as CHUNK
from flambeau._codegen.loops.spec import COMBINE as COMBINE
from flambeau._codegen.loops.spec import EFFECTS as EFFECTS
from flambeau._codegen.loops.spec import LANES as LANES
from flambeau._codegen.loops.spec import REVERSED as REVERSED
from flambeau._codegen.loops.spec import STRIDED as STRIDED
from flambeau._codegen.loops.spec import VECTOR as VECTOR
from flambeau._codegen.loops.spec import Access as Access
from flambeau._codegen.loops.spec import Instr as Instr
from flambeau._codegen.loops.spec import LoopSpec as LoopSpec
from flambeau._codegen.loops.spec import Parameters as Parameters
from flambeau._codegen.loops.tiled import COLUMNS as COLUMNS
from flambeau._codegen.loops.tiled import ROWS as ROWS
from flambeau._codegen.loops.tiled import emit_tiled


class Kernel(NamedTuple):
    """A kernel's name and IR, how many rows it keeps in scratch memory, and whether a map's rows are its innermost loop."""

    name: str
    source: str
    kept: int
    rows_inside: bool


@lru_cache(maxsize=512)
def kernel(spec: LoopSpec) -> Kernel:
    """The kernel of a spec."""
    module = Module(spec.features)
    body = Body(module, spec)
    kept, rows_inside = 0, bool(shared(body))
    if spec.mode in ("map", "window", "copy"):
        emit_map(body)
    elif spec.mode == "tiled":
        emit_tiled(body)
    elif spec.mode == "row":
        row = (ShortRows if spec.together else Row)(body)
        kept = len(row.kept)
        row.emit_split() if spec.split else row.emit()
    else:
        column = Column(body)
        column.emit_split() if spec.split else column.emit()
    if body.streams:
        with body.f.when(reduce(partial(body.f.binary, "or"), body.streams.values())):
            body.f.fence()
    body.f.ret()
    return Kernel(*finish(module), kept, rows_inside)
