"""The arithmetic of a contraction: which registers hold a sum, and what one step of the chain is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

from flambeau._codegen.bundles import PAIRS
from flambeau._codegen.ir import Builder, Value, bits, vector
from flambeau._codegen.scalar import registers
from flambeau._runtime.targets import Target
from flambeau._types import dtype as types
from flambeau._types.dtype import COMPLEX, INTEGER, dtype


@dataclass(frozen=True)
class Tile:
    """The register tile: up to ``rows`` rows of ``vectors`` vectors of ``width`` elements, in the compute dtype.

    A complex element is two accumulators, so that its tile has one vector of real and one of imaginary parts a row.
    ``parts`` counts them.  In packed memory the ``pitch`` numbers of one step of k are consecutive.  ``packing`` is the tile that
    operands are copied by where they are other numbers than sums (``amx``).  ``bundle`` says what operands' numbers are (``Contract``); of quads, which
    operand has bytes without a sign: ``a``, whose elements are broadcast, or ``b``.
    """

    compute: dtype
    element: str
    width: int
    vectors: int
    parts: int
    variants: tuple[int, ...]
    packing: Tile | None = None
    bundle: str = ""

    @cached_property
    def rows(self) -> int:
        return self.variants[0]

    @cached_property
    def lanes(self) -> int:
        """Elements of a row of the tile."""
        return self.width * self.vectors

    @cached_property
    def pitch(self) -> int:
        """Numbers of a row of the tile: twice the elements for complex ones."""
        return self.width * self.vectors * self.parts

    @property
    def type(self) -> str:
        return vector(self.element, self.width)

    @cached_property
    def bytes(self) -> int:
        return bits(self.element) // 8

    @property
    def has_masks(self) -> bool:
        """Whether there are mask registers, so that loads and stores of some lanes cost what those of all cost: vectors of 512 bits."""
        return self.width * bits(self.element) >= 512


def compute_dtype(of: dtype) -> dtype:
    """The dtype that sums are kept in; narrow integers, whose sums wrap around anyway, are summed in 32 bits."""
    if of.category == INTEGER:
        return types.int64 if of.itemsize == 8 else types.int32
    return of.compute


@cache
def register_tile(of: dtype, target: Target, bundle: str = "") -> Tile:
    """The tile for operands of dtype ``of``, or for bundles."""
    compute = compute_dtype(of)
    parts = 2 if compute.category == COMPLEX else 1
    element = registers.register_types(compute, 1)[0]
    width = max(2, target.lanes(bits(element)))
    rows = target.register_tile(bits(element))[0]
    # Rows left over are done by smaller kernels; each size costs some 5 ms of compilation.
    variants = {14: (14, 8, 4, 1), 8: (8, 4, 1), 6: (6, 4, 1), 4: (4, 1)}[rows]
    return Tile(compute, element, width, 2 // parts, parts, variants, bundle=bundle)


def widen(builder: Builder, operand: registers.Operand, of: dtype, compute: dtype) -> registers.Operand:
    """An operand of dtype ``of`` in the compute dtype."""
    if of.category != INTEGER or of is compute or isinstance(operand, tuple):
        return operand
    return builder.cast("sext" if of.is_signed else "zext", operand, vector(f"i{8 * compute.itemsize}", operand.width))


def narrow(builder: Builder, operand: registers.Operand, of: dtype, compute: dtype) -> registers.Operand:
    """A sum rounded (integers: wrapped around) to the dtype ``of``."""
    if of.category == INTEGER and not isinstance(operand, tuple):
        return builder.cast("trunc", operand, vector(f"i{8 * of.itemsize}", operand.width))
    return operand if of is compute else registers.round_to(builder, operand, of)


def multiply_add(builder: Builder, tile: Tile, a: list[Value], b: list[Value], sums: list[Value]) -> list[Value]:
    """One step of the chain: ``sums + a * b``, where each is a list of parts."""
    if tile.parts == 2:
        (ar, ai), (br, bi), (re, im) = a, b, sums
        re = builder.fma(builder.neg(ai), bi, builder.fma(ar, br, re))
        im = builder.fma(ai, br, builder.fma(ar, bi, im))
        return [re, im]
    if tile.bundle == PAIRS:
        pairs = [builder.cast("bitcast", each, vector("bfloat", 2 * tile.width)) for each in (a[0], b[0])]
        return [builder.intrinsic("x86.avx512bf16.dpbf16ps.512", sums[0], *pairs, suffix="")]
    if tile.bundle:
        unsigned, signed = (a[0], b[0]) if tile.bundle == "a" else (b[0], a[0])
        return [builder.intrinsic("x86.avx512.vpdpbusd.512", sums[0], unsigned, signed, suffix="")]
    if tile.compute.category == INTEGER:
        return [builder.add(sums[0], builder.mul(a[0], b[0]))]
    return [builder.fma(a[0], b[0], sums[0])]
