"""How the rows of a jagged tensor are divided among its pieces, and the size that stands for their lengths.

A batch of ``B`` pieces keeps the rows of all of them in one tensor, ``values``. ``offsets`` says where each piece begins:

```
pieces   a a | b b b | c          values   a a b b b c          offsets   0 2 5 6
```

With ``lengths`` a piece has only the first of the rows up to the next one; the others belong to none.

What is recorded has the positions that follow from offsets and lengths as data: a program is made for the number of rows, of pieces, and (where
pieces are padded) of rows in the longest, not for each composition of a batch.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau._types.symbolic import SymInt
from flambeau.nested.moving import Places

_numbers = itertools.count(1)

Groups = tuple[tuple[tuple[int, ...], int], ...]
"""Some pieces, and the number of rows that they are padded to; some others, and theirs."""


class NestedInt(SymInt):
    """The size of a dimension in which pieces differ, printed as ``j1``.

    It equals itself (and the size of every tensor with the same offsets) and no number.
    """

    __slots__ = ("number", "times")

    def __init__(self, number: int, times: int = 1) -> None:
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
        return NestedInt(self.number, self.times * other)

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
        self.size = NestedInt(next(_numbers))
        self._sizes = sizes
        self._starts: list[int] | None = None
        self._fits: int | None = None
        self._version = (offsets if lengths is None else lengths).memory.version
        self._made: dict[Any, tuple[Tensor, ...]] = {}
        _KNOWN[id(offsets if lengths is None else lengths)] = self

    @staticmethod
    def of(offsets: Tensor, lengths: Tensor | None = None) -> Ragged:
        """The structure of these offsets (and lengths): the one there is, or a new one."""
        source = offsets if lengths is None else lengths
        known = _KNOWN.get(id(source))
        if known is not None and known.offsets is offsets and known.lengths is lengths and known._version == source.memory.version:
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
        return self.offsets.layout.shape[0] - 1

    @property
    def sizes(self) -> list[int]:
        """The number of rows of each piece. Reading them computes what they depend on."""
        if self._sizes is None:
            bounds = self.offsets.tolist()
            self._sizes = [end - start for start, end in zip(bounds, bounds[1:])] if self.lengths is None else self.lengths.tolist()
            if any(size < 0 for size in self._sizes):
                raise RuntimeError(f"offsets must not fall and lengths must not be negative, got pieces of {self._sizes} rows")
        return self._sizes

    @property
    def starts(self) -> list[int]:
        """The first row of each piece. Reading them computes what they depend on."""
        if self._starts is None:
            self._starts = self.offsets.tolist()[:-1]
        return self._starts

    def divides_like(self, other: Ragged) -> bool:
        """Whether the pieces of the other structure are the same rows. Looking computes what they depend on."""
        return self is other or (self.starts == other.starts and self.sizes == other.sizes)

    def check(self, rows: int) -> None:
        """Check that the pieces lie within so many rows, and not in one another.

        Raises:
            RuntimeError: one does not.
        """
        if self._fits == rows:
            return
        for number, (start, size, bound) in enumerate(zip(self.starts, self.sizes, [*self.starts[1:], rows])):
            if start < 0 or start + size > rows:
                raise RuntimeError(f"piece {number} has the rows {start} to {start + size}, but values has {rows} rows")
            if start + size > bound:
                raise RuntimeError(f"piece {number} has the rows {start} to {start + size}, but piece {number + 1} begins at {bound}")
        self._fits = rows

    @property
    def longest(self) -> int:
        """The number of rows of the longest piece, 0 if there is no piece."""
        return max(self.sizes, default=0)

    @property
    def shortest(self) -> int:
        """The number of rows of the shortest piece, 0 if there is no piece."""
        return min(self.sizes, default=0)

    # -- tensors of positions ------------------------------------------------------------------------------------

    def _kept(self, key: Any, make: Callable[[], tuple[np.ndarray, ...]]) -> tuple[Tensor, ...]:
        """What ``make`` returns as tensors, made once."""
        if key not in self._made:
            self._made[key] = tuple([flambeau.from_numpy(each) for each in make()])
        return self._made[key]

    @property
    def counts(self) -> Tensor:
        """The number of rows of each piece, (B)."""
        return self._kept("counts", lambda: (np.array(self.sizes, np.int64),))[0]

    def pieces(self, rows: int) -> Tensor:
        """The number of the piece that each row belongs to, (rows); 0 for those that belong to none."""
        return self._kept(("pieces", rows), lambda: (self._pieces_and_places(rows)[0],))[0]

    def inside(self, rows: int) -> Tensor:
        """Whether each row belongs to a piece, (rows)."""
        return self._kept(("inside", rows), lambda: (self._pieces_and_places(rows)[1] >= 0,))[0]

    def padding(self, rows: int, length: int) -> tuple[Places, Places]:
        """For each place of a padded batch, (B · length), the row that goes there, and whether there is one; and the way back."""
        return self.padding_in_groups(rows, ((tuple(range(len(self))), length),))

    def padding_in_groups(self, rows: int, groups: Groups) -> tuple[Places, Places]:
        """As ``padding``, for one padded batch after the other, each with some of the pieces."""

        def make() -> tuple[np.ndarray, ...]:
            piece, within = self._pieces_and_places(rows)
            starts, sizes = np.array(self.starts, np.int64), np.array(self.sizes, np.int64)
            begins, room = np.zeros(len(self), np.int64), np.zeros(len(self), np.int64)  # of each piece in the batches
            index, present, total = [np.zeros(0, np.int64)], [np.zeros(0, bool)], 0
            for numbers, length in groups:
                chosen, place = np.array(numbers, np.int64), np.arange(length)
                there = place < sizes[chosen][:, None]
                index.append(np.where(there, starts[chosen][:, None] + place, 0).reshape(-1))
                present.append(there.reshape(-1))
                begins[chosen], room[chosen] = total + np.arange(len(chosen)) * length, length
                total += len(chosen) * length
            inside = within >= 0
            inside[inside] &= within[inside] < room[piece[inside]]
            back = np.zeros(rows, np.int64)
            back[inside] = begins[piece[inside]] + within[inside]
            return np.concatenate(index), np.concatenate(present), back, inside

        index, present, back, inside = self._kept(("padding", rows, groups), make)
        return (index, present), (back, inside)

    def widened(self, rows: int, before: int, after: int) -> tuple[Ragged, Places, Places]:
        """The structure with so many rows more at both ends of each piece, the place of each of its rows in this one, and the way back."""
        sizes = np.array(self.sizes, np.int64) + before + after
        if (sizes < 0).any():
            raise RuntimeError(f"pad: a piece of {self.shortest} rows cannot lose {-before - after}")
        wider = Ragged.of_sizes(sizes.tolist())
        piece, within = wider._pieces_and_places(int(sizes.sum()))
        source, own = within - before, np.array(self.sizes, np.int64)
        present = (source >= 0) & (source < own[piece])
        index = np.where(present, np.array(self.starts, np.int64)[piece] + source, 0)
        piece, within = self._pieces_and_places(rows)
        target = within + before
        there = (within >= 0) & (target >= 0) & (target < sizes[piece])
        back = np.where(there, np.array(wider.starts, np.int64)[piece] + target, 0)
        index, present, back, there = (flambeau.from_numpy(each) for each in (index, present, back, there))
        return wider, (index, present), (back, there)

    def _pieces_and_places(self, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """For each row the number of its piece, and its place there; 0 and -1 for those that belong to none."""
        self.check(rows)
        sizes, starts = np.array(self.sizes, np.int64), np.array(self.starts, np.int64)
        piece, place = np.zeros(rows, np.int64), np.full(rows, -1, np.int64)
        number = np.repeat(np.arange(len(sizes)), sizes)
        within = np.arange(len(number)) - np.repeat(sizes.cumsum() - sizes, sizes)
        piece[starts[number] + within], place[starts[number] + within] = number, within
        return piece, place


_KNOWN: weakref.WeakValueDictionary[int, Ragged] = weakref.WeakValueDictionary()
"""Structures by the ``id`` of the tensor that sets them apart: offsets, or lengths where there are any. A structure keeps its tensors."""
