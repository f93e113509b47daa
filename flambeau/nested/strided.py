"""``torch.strided`` nested tensors: a batch of tensors with the same number of dimensions, of any sizes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau._types.strided import strided
from flambeau.nested.moving import moved
from flambeau.nested.tensor import NestedTensor, wrapped

Sizes = tuple[tuple[int, ...], ...]
"""The shape of each piece."""


class StridedNestedTensor(NestedTensor):
    """Pieces whose elements lie one piece after the other in ``values()``, a vector.

    ``_sizes`` are the shapes of the pieces as they lie in memory; ``_order`` says which of these dimensions each dimension of a piece is, so
    that a transposition moves nothing.
    """

    _sizes: Sizes
    _order: tuple[int, ...]

    @staticmethod
    def of(values: Tensor, sizes: Sequence[Sequence[int]], order: tuple[int, ...] | None = None, dims: int | None = None) -> Any:
        """One of the elements of all pieces, a vector, and the shapes that these have in memory.

        Args:
            dims: the number of dimensions of a piece, if there is none
        """
        sizes = tuple([tuple(size) for size in sizes])
        if order is None:
            order = tuple(range(len(sizes[0]) if sizes else dims or 0))
        made = StridedNestedTensor._make(strided, (len(sizes), *[_common(sizes, each) for each in order]), values)
        made._sizes, made._order = sizes, order
        return made

    @staticmethod
    def of_pieces(pieces: Sequence[Tensor]) -> Any:
        """One of these tensors, whose elements are copied."""
        values = flambeau.cat([piece.reshape(-1) for piece in pieces]) if pieces else flambeau.empty(0)
        return StridedNestedTensor.of(values, [piece.shape for piece in pieces])

    def _with(self, values: Tensor) -> Any:
        return StridedNestedTensor.of(values, self._sizes, self._order)

    @property
    def sizes(self) -> Sizes:
        """The shape of each piece."""
        return tuple([tuple([size[each] for each in self._order]) for size in self._sizes])

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Any:  # type: ignore[override]
        raise RuntimeError(
            "a nested tensor of layout torch.strided has no shape; size(dim) gives the sizes that all pieces share, and unbind() the pieces"
        )

    def size(self, dim: int | None = None) -> Any:
        """The size of a dimension.

        Raises:
            RuntimeError: the pieces differ in it, or no dimension was given.
        """
        if dim is None:
            return self.shape
        size = self.layout.shape[wrapped(self, dim)]
        if size is None:
            raise RuntimeError(f"Given dimension {dim} is irregular and does not have a size: the pieces are {text_of(self.sizes)}")
        return size

    def stride(self, dim: int | None = None) -> Any:
        raise RuntimeError("a nested tensor of layout torch.strided has no strides; its pieces have (unbind())")

    def storage_offset(self) -> int:
        return self._values.storage_offset()

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the dimensions lie in memory in their order."""
        return self._order == tuple(sorted(self._order))

    def is_same_size(self, other: Any) -> bool:
        """Whether the other tensor has pieces of the same sizes."""
        return isinstance(other, StridedNestedTensor) and other.sizes == self.sizes

    def _require_same(self, name: str, other: Any) -> None:
        if not isinstance(other, StridedNestedTensor) or other.sizes != self.sizes:
            found = text_of(other.sizes) if isinstance(other, StridedNestedTensor) else tuple(getattr(other, "shape", ()))
            raise RuntimeError(f"{name} must have pieces of the same sizes, {text_of(self.sizes)}, got {found}")

    def gradient_of_values(self, gradient: Any) -> Tensor:
        self._require_same("the gradient", gradient)
        return aligned(gradient, self)._values

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        if dim not in (0, -self.dim()):
            raise RuntimeError(f"unbind(): a nested tensor has pieces along dim=0, got dim={dim}")
        starts = [0, *itertools.accumulate(prod(size) for size in self._sizes)]
        pieces = [self._values.narrow(0, start, prod(size)).view(size) for start, size in zip(starts, self._sizes)]
        return tuple(pieces if self.is_contiguous() else [piece.permute(self._order) for piece in pieces])

    # -- other forms of it -----------------------------------------------------------------------------------------

    def contiguous(self, memory_format: Any = None) -> Any:
        """The same pieces, with the dimensions in their order in memory."""
        return self if self.is_contiguous() else of_padded(self.padded(), self.sizes)

    def padded(self, padding: Any = 0, shape: Sequence[int] | None = None) -> Tensor:
        """All pieces with the same shape, (B, …).

        Args:
            padding: what follows the elements of a piece
            shape: of the pieces of the result, at least as large as each; the smallest such if left out
        """
        order = self._order
        shape = tuple(largest(self) if shape is None else shape)
        in_memory = [0] * len(order)
        for size, place in zip(shape, order):
            in_memory[place] = size
        inside, back = _places(self._sizes, tuple(in_memory))
        result = moved(self._values, inside, back)
        if padding != 0:
            result = result.masked_fill(~inside[1], padding)
        return result.reshape(len(self._sizes), *in_memory).permute(0, *[each + 1 for each in order])

    def parts(self) -> tuple:
        """Values, the shapes of the pieces in memory, and the order of their dimensions."""
        return self._values, self._sizes, self._order


def largest(tensor: StridedNestedTensor) -> list[int]:
    """The smallest shape in which each piece has room."""
    return [max(sizes) for sizes in zip(*tensor.sizes)] if tensor._sizes else [0] * len(tensor._order)


def of_padded(padded: Tensor, sizes: Sizes) -> Any:
    """What of a padded batch, (B, …), belongs to pieces of these sizes."""
    to, back = _places(sizes, tuple(padded.shape[1:]))
    return StridedNestedTensor.of(moved(padded.reshape(-1), back, to), sizes, dims=padded.dim() - 1)


def aligned(tensor: StridedNestedTensor, like: StridedNestedTensor) -> StridedNestedTensor:
    """The tensor with its elements in memory in the order of another one of the same sizes."""
    if tensor._order == like._order:
        return tensor
    inverse = tuple(sorted(range(len(like._order)), key=like._order.__getitem__))
    there = StridedNestedTensor.of(tensor._values, tensor._sizes, tuple([tensor._order[each] for each in inverse])).contiguous()
    return StridedNestedTensor.of(there._values, there._sizes, like._order)


@lru_cache(maxsize=32)
def _places(sizes: Sizes, shape: tuple[int, ...]) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, None]]:
    """For each element of a padded batch, (B, *shape), which element of the pieces it is, and whether it is one; and the way back.

    The sizes are data of what is recorded: one program serves all batches of as many elements that are padded to this shape.
    """
    with flambeau.no_grad():
        table = flambeau.tensor(sizes, dtype=flambeau.int64).reshape(len(sizes), len(shape))
        total = sum(prod(size) for size in sizes)
        starts = flambeau.tensor([0, *itertools.accumulate(prod(size) for size in sizes)], dtype=flambeau.int64)
        element = flambeau.arange(total)
        piece = flambeau.searchsorted(starts[1:], element, right=True)
        rest = element - starts[piece]
        index, present = starts[:-1], flambeau.ones(len(sizes), dtype=flambeau.bool)
        place, step = piece * prod(shape), 1
        stride = flambeau.ones(len(sizes), dtype=flambeau.int64)
        coordinates = flambeau.arange(prod(shape))
        index, present = index.unsqueeze(1), present.unsqueeze(1)
        for dim in reversed(range(len(shape))):
            size = table[:, dim]
            here = size[piece].clamp(min=1)
            place, rest = place + rest % here * step, rest // here
            coordinate = coordinates // step % max(shape[dim], 1)
            index, present = index + coordinate * stride.unsqueeze(1), present & (coordinate < size.unsqueeze(1))
            stride, step = stride * size, step * shape[dim]
        present = present.expand(len(sizes), prod(shape)).reshape(-1)
        index = index.expand(len(sizes), prod(shape)).reshape(-1)
        return (flambeau.where(present, index, 0), present), (place, None)


def _common(sizes: Sizes, dim: int) -> int | None:
    """The size that all pieces have in a dimension, or ``None``."""
    found = {size[dim] for size in sizes}
    return found.pop() if len(found) == 1 else None


def text_of(sizes: Sizes) -> str:
    """The sizes of the pieces for messages, cut short."""
    shown = ", ".join(map(str, sizes[:4]))
    return f"{shown}, …" if len(sizes) > 4 else shown
