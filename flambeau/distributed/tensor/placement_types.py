"""Placements: how a tensor lies in the processes along one dimension of a mesh."""

from __future__ import annotations

__all__ = ["Partial", "Placement", "Replicate", "Shard", "_StridedShard"]

REDUCE_OPS = ("sum", "avg", "max", "min", "product")


class Placement:
    """How a tensor lies in the processes of one dimension of a mesh: whole, in pieces, or as parts of a sum."""

    def is_shard(self, dim: int | None = None) -> bool:
        """Whether it is cut, along ``dim`` if that is given."""
        return isinstance(self, Shard) and (dim is None or self.dim == dim)

    def is_replicate(self) -> bool:
        """Whether each process has all of it."""
        return isinstance(self, Replicate)

    def is_partial(self, reduce_op: str | None = None) -> bool:
        """Whether what it is has to be reduced from what each process has, by ``reduce_op`` if that is given."""
        return isinstance(self, Partial) and (reduce_op is None or self.reduce_op == reduce_op)


class Replicate(Placement):
    """Whole in each process."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Replicate)

    def __hash__(self) -> int:
        return -1

    def __repr__(self) -> str:
        return "Replicate()"

    def __str__(self) -> str:
        return "R"


class Shard(Placement):
    """Cut along a dimension, as ``chunk`` cuts: the last pieces may be smaller, or empty.

    Args:
        dim: the dimension; from the end, if it is negative

    Example:
        >>> from flambeau.distributed.tensor import Shard
        >>> Shard(0).bounds(5, 3)
        [(0, 2), (2, 4), (4, 5)]
    """

    def __init__(self, dim: int) -> None:
        if not isinstance(dim, int) or isinstance(dim, bool):
            raise TypeError(f"Shard(dim) takes the number of a dimension, not {dim!r}")
        self.dim = dim

    def bounds(self, size: int, count: int) -> list[tuple[int, int]]:
        """Where each of ``count`` pieces of a dimension begins and ends."""
        step = -(-size // count)
        return [(min(number * step, size), min((number + 1) * step, size)) for number in range(count)]

    def pieces(self, size: int, count: int) -> list[list[tuple[int, int]]]:
        """What each of ``count`` processes has of a dimension, in order: here one piece."""
        return [[each] for each in self.bounds(size, count)]

    @staticmethod
    def local_shard_size_and_offset(curr_local_size: int, num_chunks: int, rank: int) -> tuple[int, int]:
        """How long the piece of process ``rank`` is, and where it begins."""
        start, end = Shard(0).bounds(curr_local_size, num_chunks)[rank]
        return end - start, start

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shard) and self.dim == other.dim

    def __hash__(self) -> int:
        return hash(("shard", self.dim))

    def __repr__(self) -> str:
        return f"Shard(dim={self.dim})"

    def __str__(self) -> str:
        return f"S({self.dim})"


class _StridedShard(Placement):
    """Cut along a dimension in ``split_factor`` times as many pieces as there are processes, which take one in turn until none is left.

    Rows that two processes are to cut again after others did (``[_StridedShard(0, split_factor=2), Shard(0)]``), and matrices that hold
    several (two gates, one below the other), of each of which a process has a part.

    Args:
        dim: the dimension; from the end, if it is negative
        split_factor, sf: how many pieces each process has

    Example:
        >>> from flambeau.distributed.tensor.placement_types import _StridedShard
        >>> _StridedShard(0, split_factor=2).pieces(8, 2)
        [[(0, 2), (4, 6)], [(2, 4), (6, 8)]]
    """

    def __init__(self, dim: int, *, split_factor: int = 1, sf: int | None = None) -> None:
        if sf is not None and split_factor != 1:
            raise TypeError(f"split_factor ({split_factor}) and sf ({sf}) are the same thing: give one")
        self.dim = Shard(dim).dim
        self.split_factor = split_factor if sf is None else sf

    def pieces(self, size: int, count: int) -> list[list[tuple[int, int]]]:
        """What each of ``count`` processes has of a dimension, in order."""
        return [Shard(self.dim).bounds(size, count * self.split_factor)[first::count] for first in range(count)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _StridedShard) and (self.dim, self.split_factor) == (other.dim, other.split_factor)

    def __hash__(self) -> int:
        return hash(("strided shard", self.dim, self.split_factor))

    def __repr__(self) -> str:
        return f"_StridedShard(dim={self.dim}, sf={self.split_factor})"

    def __str__(self) -> str:
        return f"_S({self.dim}, {self.split_factor})"


class Partial(Placement):
    """As parts: the tensor is the reduction of what the processes have.

    Args:
        reduce_op: ``"sum"``, ``"avg"``, ``"max"``, ``"min"`` or ``"product"``
    """

    def __init__(self, reduce_op: str = "sum") -> None:
        if reduce_op not in REDUCE_OPS:
            raise ValueError(f"reduce_op ({reduce_op!r}) is none of {', '.join(REDUCE_OPS)}")
        self.reduce_op = reduce_op

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Partial) and self.reduce_op == other.reduce_op

    def __hash__(self) -> int:
        return hash(("partial", self.reduce_op))

    def __repr__(self) -> str:
        return f"Partial({self.reduce_op})"

    def __str__(self) -> str:
        return f"P({self.reduce_op})"
