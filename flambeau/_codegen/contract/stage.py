"""What a contraction is: three affine accesses and four groups of axes.

    out[batch, m, n] = sum over k of a[batch, m, k] * b[batch, k, n]

Each of ``batch``, ``m``, ``n`` and ``k`` is a tuple of extents.  The sum is cut into chains over ``k`` in row-major order (see
``chains``).  Each is one run of fused multiply-adds that starts at 0, and the chains of an element are added up in order.  Matrix products, convolutions of any dimension, both
their gradients, and transposed convolutions are all of this form; padding is a ``Bound``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from flambeau._codegen.ir import Builder
from flambeau._codegen.scalar import registers
from flambeau._types.dtype import dtype


class Bound(NamedTuple):
    """A padded coordinate: an access reads 0 unless ``0 <= start + sum(coefficients[i] * index[i]) < extent``."""

    coefficients: tuple[int, ...]
    start: int
    extent: int


@dataclass(frozen=True)
class Operand:
    """An affine access: element ``offset + sum(strides[i] * index[i])`` of a buffer, in elements.

    ``strides`` and each bound's ``coefficients`` have one number for each axis that the operand has: ``batch + m + k``
    for a, ``batch + k + n`` for b, ``batch + m + n`` for the output and the epilogue's writes and reads.
    One that ``stays`` has the same elements in the next run, which finds it packed.
    """

    dtype: dtype
    strides: tuple[int, ...]
    offset: int = 0
    bounds: tuple[Bound, ...] = ()
    stays: bool = False


@dataclass(frozen=True)
class Epilogue:
    """What becomes of an element once its chain has ended.

    ``body(builder, value, reads)`` gets the sum in the compute dtype and one operand for each of the contraction's ``reads``
    in its own dtype, of one lane if it is the same for all lanes; it returns what to store in ``out`` and in each of the ``writes``, in their dtypes.  ``key`` names the body
    in kernel caches: bodies with equal keys are the same.  One that ``is_short`` is a few instructions, none of them a function.
    """

    key: Hashable
    body: Callable[[Builder, registers.Operand, list[registers.Operand]], list[registers.Operand]] = field(compare=False)
    is_short: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Contract:
    """A contraction.  ``writes`` and ``reads`` are further operands over ``batch + m + n``, without bounds, for the ``epilogue``.

    The numbers of both operands may be ``bundle``s, whose product is a sum of products:

    - ``a``, ``b``: *quads* (int32) of bytes, which have no sign in that operand and one in the other;
    - ``pairs`` (float32) of bfloat16, whose subnormal numbers count as zeros. A step adds the product of the second ones to the sum and then that
      of the first ones, and rounds twice.
    """

    batch: tuple[int, ...]
    m: tuple[int, ...]
    n: tuple[int, ...]
    k: tuple[int, ...]
    a: Operand
    b: Operand
    out: Operand
    writes: tuple[Operand, ...] = ()
    reads: tuple[Operand, ...] = ()
    epilogue: Epilogue | None = None
    bundle: str = ""

    @property
    def results_and_reads(self) -> dict[str, Operand]:
        """Everything over ``batch + m + n`` by name: ``out``, ``write0``, …, ``read0``, …"""
        named = [(f"write{i}", each) for i, each in enumerate(self.writes)] + [(f"read{i}", each) for i, each in enumerate(self.reads)]
        return {"out": self.out, **dict(named)}
