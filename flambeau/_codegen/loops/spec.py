"""What a loop kernel computes, with every extent and stride left to run time."""

from __future__ import annotations

from typing import NamedTuple

from flambeau._types.dtype import dtype as DType

VECTOR = 16
"""Elements that one instruction computes together, where nothing asks for more."""
LANES = 32
"""Running sums that a chunk has (``docs/design/0003-reductions.md``)."""
CHUNK = 1024
"""Positions that are added in lanes before these are folded."""
BLOCK = 4096
"""Positions of the vector digit in a tile of a map."""
LIGHT = 14
"""Instructions up to which two vectors at once are better than one, unless they are of 64 bits."""
STRIDED, ACROSS, REVERSED = -1, -2, -3
"""See ``Access.vector``."""

EFFECTS = ("store", "check")
"""Instructions that give no value."""

COMBINE = {
    "sum": "add", "squares": "add", "prod": "mul", "max": "maximum", "min": "minimum", "any": "logical_or", "all": "logical_and",
}  # fmt: skip
"""How lanes and chunks of a reduction are combined; elements are, too, but ``squares`` adds that of each by a fused multiply-add."""

COSTLY = frozenset((
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan", "atan2",
    "asinh", "acosh", "atanh", "erf", "erfc", "erfinv", "gelu", "ndtr", "sigmoid", "silu", "pow", "lgamma", "digamma", "fmod", "remainder",
))  # fmt: skip
"""Scalar operators that are dearer than keeping their result in the second-level cache."""


class Access(NamedTuple):
    """An affine function of the digits: a place in memory (``dtype`` is set) or a number (an index, a coordinate).

    Attributes:
        digits: on which digits it depends
        vector: how the vector digit moves it: 0 not at all, 1, 2, 3 or 4 by so many elements, ``STRIDED`` by a stride that is known at
            run time, ``ACROSS`` likewise, while the row digit of a ``tiled`` nest moves it by one element, ``REVERSED`` by one element back
        flat: whether it moves along all digits of the run as along one
        stream: whether vectors may be stored past the caches: a parameter says whether they are, so that one kernel serves small results and large
            ones; their places are multiples of their size then
    """

    dtype: DType | None
    digits: tuple[bool, ...]
    vector: int
    flat: bool = True
    stream: bool = False


class Instr(NamedTuple):
    """One step for one element.

    ``op`` is ``load`` (attrs: access, coordinates that must be in bounds, or else 0 is read), ``inside`` (such coordinates), ``index`` (access), ``number`` (class of the number), ``constant`` (number as text),
    ``map`` (name), ``cast``, ``gather`` (access, number of indices, whether each moves by one element), ``reduce`` (kind), ``store`` (access), ``check`` (access of the
    position, number of the check; its arguments are the condition and the detail).
    ``args`` are earlier instructions.
    """

    op: str
    dtype: DType
    args: tuple[int, ...]
    attrs: tuple = ()


def bounds_of(instr: Instr) -> tuple[int, ...]:
    """The coordinates that must be in range for an instruction to read."""
    return instr.attrs[1] if instr.op == "load" else instr.attrs[0] if instr.op == "inside" else ()


def accesses_of(instr: Instr) -> tuple[int, ...]:
    """The accesses that an instruction makes."""
    if instr.op == "load":
        return (instr.attrs[0], *instr.attrs[1])
    if instr.op == "inside":
        return instr.attrs[0]
    return (instr.attrs[0],) if instr.op in ("index", "gather", *EFFECTS) else ()


class LoopSpec(NamedTuple):
    """The structure of a loop kernel; equal specs share a kernel.

    Attributes:
        mode: the shape of the nest: ``map``, ``window``, ``copy``, ``tiled``, ``row`` or ``column``
        outer, reduced, run: how many digits of each sort there are (the vector digit is one of the run in ``row``, else on its own)
        split: whether each chunk leaves a partial result (``combine_kernel`` adds them up)
        keep: whether a row may be kept in scratch memory between phases, and the positions of a window be a loop
        staged: the gathers of a ``map`` that read from a copy in scratch memory (``staging.py``)
        woven: the extents of digits between the outer ones and the vector digit of a ``map``, whose places are done together (``weaving.py``)
        repeat: whether what is the same along a row's last digit is repeated in scratch memory: "", what is read where "sums" are made, or "everything"
        window: the extents of the reduced digits and the run's in a nest of that name, that of the vector digit in ``copy`` (elsewhere they are not
            known before run time)
        inside: whether a tile of a ``map``, ``window`` or ``copy`` has all places of the last outer digit but one (1, or 0), since the last has few
        together: whether a tile of ``row`` is several short rows (``short_rows.py``)
        halves: whether what is left of a ``map``'s lines behind whole vectors is half of one
        overlaps: whether a place may be computed twice: nothing that is written is read
        whole: whether the vectors of a ``map``'s or a ``window``'s lines are all whole: the last one ends where the line does, for which places are computed twice
    """

    mode: str
    outer: int
    reduced: int
    run: int
    accesses: tuple[Access, ...]
    body: tuple[Instr, ...]
    split: bool = False
    features: tuple[str, ...] = ()
    keep: bool = False
    window: tuple[int, ...] = ()
    staged: tuple[int, ...] = ()
    overlaps: bool = False
    whole: bool = False
    inside: int = 0
    repeat: str = ""
    woven: tuple[int, ...] = ()
    halves: bool = False
    together: bool = False

    @property
    def digits(self) -> int:
        """Outer digits, then woven ones, then (but in ``row``) the vector digit, then outer reduced digits, then the run."""
        return self.outer + len(self.woven) + (self.mode != "row") + self.reduced + self.run

    @property
    def vector_digit(self) -> int:
        return self.digits - 1 if self.mode == "row" else self.outer + len(self.woven)

    @property
    def woven_digits(self) -> range:
        return range(self.outer, self.outer + len(self.woven))

    @property
    def reduced_digits(self) -> range:
        return range(self.digits - self.run - self.reduced, self.digits - self.run)

    @property
    def run_digits(self) -> range:
        return range(self.digits - self.run, self.digits)


class Parameters:
    """The order of a loop kernel's parameters, shared by the code that reads them and the code that writes them.

    ``[extent of each digit, lines in a tile of a map or vectors in one of a column or bytes of a kept row, for each access: slot and byte offset (or start), stride of
    each digit it depends on, whether it streams (if it may), for each bound: extent, for each number: index, for each gather: strides of indices, in a window or if any are staged: positions of the vector digit in a tile, for each staged one: rows of its source, for a split: slot, byte offset,
    results]``
    """

    def __init__(self, spec: LoopSpec) -> None:
        self.extent = spec.digits
        position = spec.digits + 1
        self.access: list[tuple[int, dict[int, int]]] = []
        self.streams: dict[int, int] = {}
        for number, access in enumerate(spec.accesses):
            start = position
            position += 2
            strides = {}
            for digit, depends in enumerate(access.digits):
                if depends:
                    strides[digit] = position
                    position += 1
            if access.stream:
                self.streams[number] = position
                position += 1
            self.access.append((start, strides))
        self.extra: dict[int, int] = {}
        for number, instr in enumerate(spec.body):
            if instr.op == "inside" or (instr.op == "load" and instr.attrs[1]):
                self.extra[number] = position
                position += len(instr.attrs[instr.op == "load"])
            elif instr.op == "number":
                self.extra[number] = position
                position += 1
            elif instr.op == "gather":
                self.extra[number] = position
                position += instr.attrs[1]
        self.piece = position
        self.staged = range(position + 1, position + 1 + len(spec.staged))
        self.partial = self.staged.stop if spec.staged or spec.window else position
        self.count = self.partial + (3 * sum(instr.op == "reduce" for instr in spec.body) if spec.split else 0)
