"""How the rows of a jagged tensor are divided among its pieces, and the size that stands for their lengths.

A batch of ``B`` pieces keeps the rows of all of them in one tensor, ``values``. ``offsets`` says where each piece begins:

```
pieces   a a | b b b | c          values   a a b b b c          offsets   0 2 5 6
```

With ``lengths`` a piece has only the first of the rows up to the next one; the others belong to none.

Offsets and lengths are data: what is computed with them is recorded on the tape like all else, and a program is compiled for the number of
rows, of pieces, and (where pieces are padded) of rows in the longest, never for each composition of a batch.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import flambeau
from flambeau._symbolic import SymInt
from flambeau._tensor.tensor import Tensor

_numbers = itertools.count(1)


class NestedInt(SymInt):
    """The size of a dimension in which pieces differ, printed as ``j1``.

    It equals itself (and the size of every tensor with the same offsets) and no number.
    """

    __slots__ = ("number", "ragged", "times")

    def __init__(self, ragged: Any, number: int, times: int = 1) -> None:
        self.ragged = ragged
        self.number = number
        self.times = times

    def __repr__(self) -> str:
        return f"j{self.number}" if self.times == 1 else f"{self.times}*j{self.number}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NestedInt) and self.number == other.number and self.times == other.times

    def __hash__(self) -> int:
        return hash((self.number, self.times))

    def __mul__(self, other: Any) -> NestedInt:
        if not isinstance(other, int):
            return NotImplemented
        return NestedInt(self.ragged, self.number, self.times * other)

    __rmul__ = __mul__

    def __ge__(self, other: Any) -> bool:
        return self == other or (isinstance(other, int) and other <= 2) or self > other

    def __gt__(self, other: Any) -> bool:
        """A ragged size counts as more than 1, so that no dimension of it is broadcast; whether it is more than that differs by piece."""
        if isinstance(other, int) and other < 2:
            return True
        raise _undecided(self, other)

    def __le__(self, other: Any) -> bool:
        return self == other or self < other

    def __lt__(self, other: Any) -> bool:
        return not self >= other

    def __int__(self) -> int:
        raise TypeError(f"the ragged size {self!r} is another number for each piece; offsets().diff() or lengths() has them")

    __index__ = __int__


def _undecided(size: NestedInt, other: Any) -> Exception:
    return ValueError(f"the ragged size {size!r} is another number for each piece, and cannot be compared with {other!r}")


class Ragged:
    """The division of rows among pieces, which tensors share that have come from one another.

    Attributes:
        offsets: (B + 1), where each piece begins, and where the last one ends
        lengths: (B), how many rows each piece has, or ``None`` where they have all up to the next one
        size: what stands for the number of rows in the shapes of tensors
    """

    def __init__(self, offsets: Tensor, lengths: Tensor | None = None, sizes: list[int] | None = None) -> None:
        self.offsets = offsets
        self.lengths = lengths
        self.size = NestedInt(self, next(_numbers))
        self._sizes = sizes
        self._starts: list[int] | None = None
        self._made: dict[Any, Any] = {}
        _KNOWN[id(offsets if lengths is None else lengths)] = self

    @staticmethod
    def of(offsets: Tensor, lengths: Tensor | None = None) -> Ragged:
        """The structure of these offsets (and lengths): the one there is, or a new one."""
        known = _KNOWN.get(id(offsets if lengths is None else lengths))
        if known is not None and known.offsets is offsets and known.lengths is lengths:
            return known
        return Ragged(offsets, lengths)

    @staticmethod
    def of_sizes(sizes: list[int]) -> Ragged:
        """Pieces of these lengths, one after the other."""
        return Ragged(flambeau.tensor([0, *itertools.accumulate(sizes)], dtype=flambeau.int64), None, sizes)

    def __deepcopy__(self, memo: dict) -> Ragged:
        """A structure of its own, which the copies of tensors that shared this one share."""
        if id(self) not in memo:
            lengths = None if self.lengths is None else self.lengths.clone()
            memo[id(self)] = Ragged(self.offsets.clone(), lengths, self._sizes)
        return memo[id(self)]

    # -- numbers, which are read ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        """The number of pieces."""
        return self.offsets.shape[0] - 1

    @property
    def sizes(self) -> list[int]:
        """The number of rows of each piece. Reading them computes what they depend on."""
        if self._sizes is None:
            if self.lengths is not None:
                self._sizes = self.lengths.tolist()
            else:
                starts = self.starts
                self._sizes = [end - start for start, end in zip(starts, [*starts[1:], int(self.offsets[-1])])]
            if any(size < 0 for size in self._sizes):
                raise RuntimeError(f"offsets must not fall and lengths must not be negative, got pieces of {self._sizes} rows")
        return self._sizes

    @property
    def starts(self) -> list[int]:
        """The first row of each piece. Reading them computes what they depend on."""
        if self._starts is None:
            self._starts = self.offsets.tolist()[:-1]
        return self._starts

    def check(self, rows: int) -> None:
        """Check that every piece lies within so many rows.

        Raises:
            RuntimeError: one does not.
        """
        for number, (start, size) in enumerate(zip(self.starts, self.sizes)):
            if start < 0 or start + size > rows:
                raise RuntimeError(f"piece {number} has the rows {start} to {start + size}, but values has {rows} rows")

    @property
    def longest(self) -> int:
        """The number of rows of the longest piece, 0 if there is no piece."""
        return max(self.sizes, default=0)

    @property
    def shortest(self) -> int:
        """The number of rows of the shortest piece, 0 if there is no piece."""
        return min(self.sizes, default=0)

    # -- tensors of positions, which are recorded ----------------------------------------------------------------

    def kept(self, key: Any, make: Any) -> Any:
        """What ``make`` returns, made once."""
        if key not in self._made:
            with flambeau.no_grad():
                self._made[key] = make()
        return self._made[key]

    @property
    def counts(self) -> Tensor:
        """The number of rows of each piece, (B)."""
        return self.kept("counts", lambda: (self.offsets.diff() if self.lengths is None else self.lengths).long())

    def pieces(self, rows: int) -> Tensor:
        """The number of the piece that each row belongs to, (rows)."""

        def make() -> Tensor:
            found = flambeau.searchsorted(self.offsets[1:].contiguous(), flambeau.arange(rows, dtype=self.offsets.dtype), right=True)
            return found.clamp(max=max(len(self) - 1, 0))

        return self.kept(("pieces", rows), make)

    def within(self, rows: int) -> tuple[Tensor, Tensor]:
        """For each row its place in its piece, and whether it is one of the piece's, both (rows)."""

        def make() -> tuple[Tensor, Tensor]:
            piece = self.pieces(rows)
            place = flambeau.arange(rows) - self.offsets.long()[piece]
            return place, (place >= 0) & (place < self.counts[piece])

        return self.kept(("within", rows), make)

    def padded(self, rows: int, length: int) -> tuple[Tensor, Tensor]:
        """For each place of a padded batch the row that goes there, and whether there is one, both (B, length)."""

        def make() -> tuple[Tensor, Tensor]:
            place = flambeau.arange(length)
            row = self.offsets[:-1].long().unsqueeze(1) + place
            return row.clamp(0, max(rows - 1, 0)), place < self.counts.unsqueeze(1)

        return self.kept(("padded", rows, length), make)


_KNOWN: weakref.WeakValueDictionary[int, Ragged] = weakref.WeakValueDictionary()
"""Structures by the ``id`` of the tensor that sets them apart: offsets, or lengths where there are any. A structure keeps its tensors."""
