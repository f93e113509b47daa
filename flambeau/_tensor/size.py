"""``Size``: the shape of a tensor, a tuple with a few more methods."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

from flambeau._ops.arguments import whole

_INT = frozenset((int,))


class Size(tuple):
    """The sizes of a tensor's dimensions.

    Example::

        >>> flambeau.Size([2, 3]).numel()
        6
    """

    __slots__ = ()

    def __new__(cls, sizes: Iterable = ()) -> Size:
        """A size of ints, or of what counts as such: NumPy's integers, integer tensors of one element, sizes that are not known.

        Raises:
            TypeError: it holds something else
        """
        made = tuple.__new__(cls, sizes)
        return made if _INT.issuperset(map(type, made)) else tuple.__new__(cls, [whole(size, "size") for size in made])

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    def numel(self) -> int:
        """The number of elements of a tensor of this size."""
        return prod(self)

    def __getitem__(self, index: Any) -> Any:
        item = tuple.__getitem__(self, index)
        return Size(item) if isinstance(index, slice) else item

    def __add__(self, other: Any) -> Size:
        if not isinstance(other, tuple):
            return NotImplemented
        return Size(tuple.__add__(self, other))

    def __radd__(self, other: Any) -> Size:
        if not isinstance(other, tuple):
            return NotImplemented
        return Size(tuple.__add__(other, self))

    def __mul__(self, count: Any) -> Size:
        return Size(tuple.__mul__(self, count))

    __rmul__ = __mul__

    def __reduce__(self) -> tuple:
        return Size, (tuple(self),)
