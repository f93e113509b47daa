"""Scatter kernels: ``target[place + sum(index_k * stride_k)] = combine(target[…], value)``, in row-major order of the value.

Order matters where places repeat: the last one wins, or sums are added one after another. Yet it matters for the elements of the
target apart, and that is what makes scatters parallel. The dimensions of the value are its *digits*:

- along an *outer* digit the target's place moves whatever the indices are, so that different values of it never meet. Tiles are
  spread over them. One of them may be the *vector digit*, which lies across the lanes;
- along a *step* only the indices say where to go. A tile takes its steps one after another.

Where tiles are too few, each is shared by *owners*: every owner walks all steps and handles the places that are its own. Which these are a
hash says, since places that are often written tend to be neighbours (frequent words have small numbers).

A thread that has several neighbouring tiles takes some of them *together*, as one that is wider or has more owners: long rows are read faster
than pieces of them (a million rows of 64 numbers in 17 ms, in two halves in 46).

Long rows are taken in the order of the places that they write, by a sort that counts, so that a row of the target stays in cache while it is written.

A kernel checks every index before it uses it. What fails is reported and skipped; a *dry* kernel does nothing else, for targets that must
be left as they are if anything fails.
"""

from __future__ import annotations

from functools import lru_cache

from flambeau._codegen.ir import Module
from flambeau._codegen.loops import finish
from flambeau._codegen.scatter.rows import Rows
from flambeau._codegen.scatter.spec import LANES as LANES
from flambeau._codegen.scatter.spec import ScatterParameters as ScatterParameters
from flambeau._codegen.scatter.spec import ScatterSpec as ScatterSpec
from flambeau._codegen.scatter.steps import Steps


@lru_cache(maxsize=1024)
def scatter_kernel(spec: ScatterSpec) -> tuple[str, str]:
    """The name and the IR of the kernel of a spec; a tile is an owner, a place of the outer digits, and a block of the vector digit."""
    module = Module(spec.features)
    (Rows if spec.vector else Steps)(module, spec).emit()
    return finish(module)
