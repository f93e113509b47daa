"""The structure of a scatter kernel, and where its parameters are."""

from __future__ import annotations

from typing import NamedTuple

from flambeau._types.dtype import dtype as DType

LANES = 16


class ScatterSpec(NamedTuple):
    """The structure of a scatter kernel.

    Attributes:
        indices: the dtype of each index
        wraps: indices below 0 count from the end
        outer, steps: how many digits there are of each kind, the vector digit apart
        vector: whether there is a vector digit; otherwise the lanes are neighbouring steps
        lanes: how the lanes move the target, the value and each index (0: not at all, 1: by one element, 2: by a stride)
        named: 1 if the value is rows of memory that are named by places (int64), 2 if each is times a factor, too; then there is a vector digit
        owned: tiles are shared by owners (then there is a vector digit, and no ``start``)
        start: what a tile does first with the rows that it may write: ``copy`` them from elsewhere, set them to ``zero``, or nothing
        gathers: a tile works on the rows that it may write in scratch memory, where they lie side by side, and puts them in their places at the
            end. (Rows of a power of two lie in few sets of a cache, where the 512 of such a matrix do not stay.)
        ordered: a tile takes its steps (along one digit, by one index) in the order of the places that they write, so that a row of the target stays in
            the first-level cache (a maximum of 4096 rows of 4 KiB into 512: a quarter less time); of one place in the order that they have
    """

    combine: str
    dtype: DType
    indices: tuple[DType, ...]
    wraps: bool
    outer: int
    steps: int
    vector: bool
    lanes: tuple[int, ...]
    named: int = 0
    owned: bool = False
    start: str = ""
    gathers: bool = False
    ordered: bool = False
    dry: bool = False
    features: tuple[str, ...] = ()


class ScatterParameters:
    """Where the parameters of a kernel are.

    ``[slot and bytes of the target, of the value, for each index: slot, bytes, size, stride in the target, slot and bytes of places and what a
    place moves the value by, slot and bytes of factors, vector blocks, vector positions in a block, places that indices reach, owners, tiles
    that may be taken together, slot and bytes of what to copy, for each digit: extent, weight in row-major order, stride of the target, of
    the value, of each index, of places and factors]``, with the digits in the order outer, vector, steps.
    """

    def __init__(self, spec: ScatterSpec) -> None:
        self.index = [4 + 4 * each for each in range(len(spec.indices))]
        self.named = 4 + 4 * len(spec.indices)
        first = self.named + (0, 3, 5)[spec.named]
        self.blocks, self.block, self.span, self.owners, self.together, self.origin = range(first, first + 6)
        self.words = 4 + len(spec.indices) + spec.named
        self.digits = spec.outer + spec.vector + spec.steps
        self.digit = self.origin + 2

    @property
    def count(self) -> int:
        return self.digit + self.words * self.digits
