"""``torch.strided`` nested tensors: a batch of tensors with the same number of dimensions, of any sizes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

import flambeau
from flambeau._ops.creation import adopt_array
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
        made = StridedNestedTensor._make(strided, (len(sizes), *[_common(sizes, each) for each in order]), values, values.layout.numel)
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
    def shape(self) -> Any:
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
        return self._elements.storage_offset()

    def _nested_tensor_size(self) -> Tensor:
        """The shape of each piece, (B, dimensions)."""
        return flambeau.tensor(self.sizes, dtype=flambeau.int64).reshape(len(self._sizes), self.layout.ndim - 1)

    def _nested_tensor_storage_offsets(self) -> Tensor:
        """Where each piece begins in ``values()``, (B)."""
        return flambeau.tensor(list(itertools.accumulate([0, *map(prod, self._sizes)]))[:-1], dtype=flambeau.int64)

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
        return aligned(gradient, self)._elements

    _values_of = gradient_of_values

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        if dim not in (0, -self.dim()):
            raise RuntimeError(f"unbind(): a nested tensor has pieces along dim=0, got dim={dim}")
        starts = [0, *itertools.accumulate(prod(size) for size in self._sizes)]
        pieces = [self._elements.narrow(0, start, prod(size)).view(size) for start, size in zip(starts, self._sizes)]
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
        outer, block = _whole(self._sizes, tuple(in_memory))
        there, back = _places(*outer)
        result = moved(self._elements.reshape(-1, block), there, back)
        if padding != 0:
            result = result.masked_fill(~there[1].unsqueeze(1), padding)
        return result.reshape(len(self._sizes), *in_memory).permute(0, *[each + 1 for each in order])

    def parts(self) -> tuple:
        """Values, the shapes of the pieces in memory, and the order of their dimensions."""
        return self._elements, self._sizes, self._order


def largest(tensor: StridedNestedTensor) -> list[int]:
    """The smallest shape in which each piece has room."""
    return [max(sizes) for sizes in zip(*tensor.sizes)] if tensor._sizes else [0] * len(tensor._order)


def of_padded(padded: Tensor, sizes: Sizes) -> Any:
    """What of a padded batch, (B, …), belongs to pieces of these sizes."""
    outer, block = _whole(sizes, tuple(padded.shape[1:]))
    there, back = _places(*outer)
    return StridedNestedTensor.of(moved(padded.reshape(-1, block), back, there).reshape(-1), sizes, dims=padded.dim() - 1)


def aligned(tensor: StridedNestedTensor, like: StridedNestedTensor) -> StridedNestedTensor:
    """The tensor with its elements in memory in the order of another one of the same sizes."""
    if tensor._order == like._order:
        return tensor
    inverse = tuple(sorted(range(len(like._order)), key=like._order.__getitem__))
    there = StridedNestedTensor.of(tensor._elements, tensor._sizes, tuple([tensor._order[each] for each in inverse])).contiguous()
    return StridedNestedTensor.of(there._elements, there._sizes, like._order)


# -- where elements go -----------------------------------------------------------------------------------------------


def _whole(sizes: Sizes, shape: tuple[int, ...]) -> tuple[tuple[Sizes, tuple[int, ...]], int]:
    """Sizes and shape without the last dimensions that need no padding, and the number of elements of these, which move together."""
    dims, block = len(shape), 1
    while dims and shape[dims - 1] and all(size[dims - 1] == shape[dims - 1] for size in sizes):
        dims, block = dims - 1, block * shape[dims - 1]
    return (tuple([size[:dims] for size in sizes]), shape[:dims]), block


_SMALL, _LARGE = 1 << 17, 1 << 22
"""Positions in small padded batches are kept for the next time, of the last 32, in large ones of the last 2 (70 MB and 140 MB at most)."""


def _places(sizes: Sizes, shape: tuple[int, ...]) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, None]]:
    """For each element of a padded batch, (B, *shape), which element of the pieces it is, and whether it is one; and the way back.

    They are data of what is recorded: one program serves all batches of as many elements that are padded to this shape.
    """
    elements = len(sizes) * prod(shape)
    return (_kept_places if elements <= _SMALL else _kept_large_places if elements <= _LARGE else _new_places)(sizes, shape)


def _new_places(sizes: Sizes, shape: tuple[int, ...]) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, None]]:
    table = np.array(sizes, np.int64).reshape(len(sizes), len(shape))
    present = np.ones((len(sizes), *shape), bool)
    for dim, size in enumerate(shape):
        along = np.arange(size).reshape(-1, *(1,) * (len(shape) - dim - 1))
        present &= along < table[:, dim].reshape(-1, *(1,) * len(shape))
    place = np.flatnonzero(present)  # elements have the same order in the pieces and in the padded batch
    index = np.zeros(present.size, np.int64)
    index[place] = np.arange(len(place))
    return (adopt_array(index), adopt_array(present.reshape(-1))), (adopt_array(place), None)


_kept_places, _kept_large_places = lru_cache(maxsize=32)(_new_places), lru_cache(maxsize=2)(_new_places)


def _common(sizes: Sizes, dim: int) -> int | None:
    """The size that all pieces have in a dimension, or ``None``."""
    found = {size[dim] for size in sizes}
    return found.pop() if len(found) == 1 else None


def text_of(sizes: Sizes) -> str:
    """The sizes of the pieces for messages, cut short."""
    shown = ", ".join(map(str, sizes[:4]))
    return f"{shown}, …" if len(sizes) > 4 else shown
