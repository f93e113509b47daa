"""Views and choices of nested tensors of layout ``torch.strided``: the sizes of the pieces change, or the order of their dimensions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.nested.strided import StridedNestedTensor
from flambeau.nested.tensor import wrapped


def _inner(name: str, self: Any, dim: int) -> int:
    """The dimension of each piece that a dimension of the whole is.

    Raises:
        RuntimeError: it is that of the pieces.
    """
    dim = wrapped(self, dim)
    if dim == 0:
        raise RuntimeError(f"{name}(): nested tensors of layout torch.strided have their pieces along dim=0, which stays")
    return dim - 1


def transpose(self: Any, dim0: int, dim1: int) -> Any:
    """Two dimensions of each piece exchanged."""
    if wrapped(self, dim0) == wrapped(self, dim1):
        return self
    first, second = _inner("transpose", self, dim0), _inner("transpose", self, dim1)
    order = list(self._order)
    order[first], order[second] = order[second], order[first]
    return StridedNestedTensor.of(self._elements, self._sizes, tuple(order))


def matrix_transpose(self: Any) -> Any:
    """``mT``: the last two dimensions exchanged."""
    return transpose(self, -2, -1)


def permute(self: Any, *dims: Any) -> Any:
    """The dimensions in another order, that of the pieces first."""
    order = [wrapped(self, dim) for dim in (dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims)]
    if sorted(order) != list(range(self.dim())) or order[0] != 0:
        raise RuntimeError(f"permute: expected an order of the {self.dim()} dimensions that begins with 0, the pieces, got {order}")
    return StridedNestedTensor.of(self._elements, self._sizes, tuple([self._order[dim - 1] for dim in order[1:]]))


def _resized(self: Any, sizes: Sequence[Sequence[int]]) -> Any:
    """The elements in pieces of other sizes, each with as many as before."""
    return StridedNestedTensor.of(self.contiguous()._elements, sizes)


def unsqueeze(self: Any, dim: int) -> Any:
    """A new dimension of size 1 in each piece."""
    dims = self.dim() + 1
    if not -dims <= dim < dims:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-dims}, {dims - 1}], but got {dim})")
    place = dim % dims - 1
    if place < 0:
        raise RuntimeError("unsqueeze(): For nested tensors, unsqueezing dimension 0 is not supported, before the pieces")
    return _resized(self, [(*size[:place], 1, *size[place:]) for size in self.sizes])


def squeeze(self: Any, dim: int | None = None) -> Any:
    """A dimension of size 1 less in each piece."""
    if dim is None:
        raise RuntimeError("squeeze(): nested tensors need the dimension")
    place = _inner("squeeze", self, dim)
    if self.layout.shape[place + 1] != 1:
        return self
    return _resized(self, [(*size[:place], *size[place + 1 :]) for size in self.sizes])


def reshape(self: Any, *shape: Any) -> Any:
    """Other sizes for each piece; -1 is what is missing of its elements, or several -1 the sizes that it has there."""
    wanted = list(shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)
    if not wanted or wanted[0] != len(self._sizes):
        raise RuntimeError(f"reshape: nested reshape cannot change or infer the batch dimension, {len(self._sizes)}, got {wanted}")
    return _resized(self, [_inferred(size, wanted) for size in self.sizes])


def _inferred(size: tuple[int, ...], wanted: list[int]) -> tuple[int, ...]:
    sizes = wanted[1:]
    if sizes.count(-1) > 1:
        sizes = [size[place] if each == -1 and place < len(size) else each for place, each in enumerate(sizes)]
    known = prod(each for each in sizes if each != -1)
    if -1 in sizes and known and prod(size) % known == 0:
        sizes[sizes.index(-1)] = prod(size) // known
    if prod(sizes) != prod(size) or min(sizes, default=0) < 0:
        raise RuntimeError(f"shape '{wanted}' is invalid for a piece of size {size}")
    return tuple(sizes)


def flatten(self: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Some dimensions of each piece as one."""
    start, end = _inner("flatten", self, start_dim), _inner("flatten", self, end_dim)
    return _resized(self, [(*size[:start], prod(size[start : end + 1]), *size[end + 1 :]) for size in self.sizes])


def unflatten(self: Any, dim: int, sizes: Sequence[int]) -> Any:
    """A dimension of each piece as several."""
    place = _inner("unflatten", self, dim)
    resized = []
    for size in self.sizes:
        inner = _inferred((size[place],), [0, *sizes])
        resized.append((*size[:place], *inner, *size[place + 1 :]))
    return _resized(self, resized)


# -- choices ---------------------------------------------------------------------------------------------------------


def of_each(function: Callable[..., Tensor], *tensors: Any) -> Any:
    """What a function makes of the pieces of one nested tensor, or of those of several side by side."""
    return StridedNestedTensor.of_pieces([function(*pieces) for pieces in zip(*[each.unbind() for each in tensors])])


def _blocks(self: Any, place: int) -> Tensor | None:
    """The elements as (blocks, size, elements of a slice), if the pieces agree from a dimension on: then all are sliced at once."""
    shape = self.layout.shape[place + 1 :]
    return None if None in shape else self.contiguous()._elements.reshape(-1, shape[0], prod(shape[1:]))


def _with_size(self: Any, place: int, *size: int) -> list[tuple[int, ...]]:
    """The sizes of the pieces with another one in the place of one."""
    return [(*each[:place], *size, *each[place + 1 :]) for each in self.sizes]


def select(self: Any, dim: int, index: int) -> Any:
    """A piece, or an index in a dimension of each."""
    if wrapped(self, dim) == 0:
        count = len(self._sizes)
        if not -count <= index < count:
            raise IndexError(f"index {index} is out of bounds for dimension 0 with size {count}")
        index %= count
        start = sum(prod(size) for size in self._sizes[:index])
        piece = self._elements.narrow(0, start, prod(self._sizes[index])).view(self._sizes[index])
        return piece if self.is_contiguous() else piece.permute(self._order)
    place = _inner("select", self, dim)
    blocks = _blocks(self, place)
    if blocks is not None and blocks.numel():
        return StridedNestedTensor.of(blocks.select(1, index).reshape(-1), _with_size(self, place))
    return of_each(lambda piece: piece.select(place, index), self)


def narrow(self: Any, dim: int, start: int, length: int) -> Any:
    """Some pieces, or a range of indices of each."""
    if wrapped(self, dim) == 0:
        if not 0 <= start <= start + length <= len(self._sizes):
            raise RuntimeError(f"narrow(): start ({start}) + length ({length}) exceeds the number of pieces ({len(self._sizes)})")
        begins = [0, *itertools.accumulate(prod(size) for size in self._sizes)]
        values = self._elements.narrow(0, begins[start], begins[start + length] - begins[start])
        return StridedNestedTensor.of(values, self._sizes[start : start + length], self._order)
    place = _inner("narrow", self, dim)
    blocks = _blocks(self, place)
    if blocks is not None and blocks.numel():
        return StridedNestedTensor.of(blocks.narrow(1, start, length).reshape(-1), _with_size(self, place, length))
    return of_each(lambda piece: piece.narrow(place, start, length), self)


def getitem(self: Any, index: Any) -> Any:
    """``self[3]``, ``self[1, :, -1]``, ``self[..., 0]``, ``self[0:2]``, ``self[:, :, 1]``."""
    indices = list(index) if isinstance(index, tuple) else [index]
    if indices and indices[0] is Ellipsis and sum(each is not None for each in indices) - 1 < self.dim():
        indices = [slice(None), *indices]
    first, rest = (indices[0], tuple(indices[1:])) if indices else (slice(None), ())
    if isinstance(first, slice):
        start, stop, step = first.indices(len(self._sizes))
        if step != 1:
            raise NotImplementedError(f"the pieces of a nested tensor are sliced with a step of 1, not of {step}")
        chosen = narrow(self, 0, start, max(stop - start, 0)) if first != slice(None) else self
        return of_each(lambda piece: piece[rest], chosen) if rest else chosen
    if hasattr(first, "__index__") and not isinstance(first, bool) and not (isinstance(first, Tensor) and first.dim()):
        piece = select(self, 0, int(first))
        return piece[rest] if rest else piece
    raise NotImplementedError(f"a nested tensor cannot be indexed with {first!r}; index its pieces (unbind())")


def chunk(self: Any, chunks: int, dim: int = 0) -> tuple:
    """So many parts of a dimension in which pieces agree."""
    if chunks < 1:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    size = self.size(dim)
    each = max(-(-size // chunks), 1)
    return tuple([narrow(self, dim, start, min(each, size - start)) for start in range(0, size, each)])


def split(self: Any, split_size: Any, dim: int = 0) -> tuple:
    """Parts of certain sizes of a dimension in which pieces agree."""
    if isinstance(split_size, int) and split_size < 1:
        raise RuntimeError(f"split expects a split_size of at least 1, got {split_size}")
    size = self.size(dim)
    sizes = [min(split_size, size - start) for start in range(0, size, split_size)] if isinstance(split_size, int) else list(split_size)
    if sum(sizes) != size:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {size} (input tensor's size at dimension {dim}), got {sizes}"
        )
    return tuple([narrow(self, dim, start, length) for start, length in zip(itertools.accumulate([0, *sizes]), sizes)])


def cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """The pieces of all, or the pieces of each one after the other along a dimension."""
    first = next(each for each in tensors if isinstance(each, StridedNestedTensor))
    for each in tensors:
        if not isinstance(each, StridedNestedTensor) or each.dim() != first.dim():
            raise RuntimeError(f"cat(): expected nested tensors of layout torch.strided with {first.dim()} dimensions, got {each.layout}")
    if wrapped(first, dim) == 0:
        together = [each.contiguous() for each in tensors]
        return StridedNestedTensor.of(
            flambeau.cat([each._elements for each in together]), [size for each in together for size in each.sizes]
        )
    place = _inner("cat", first, dim)
    if len({len(each._sizes) for each in tensors}) > 1:
        raise RuntimeError(f"cat(): expected as many pieces in each, got {[len(each._sizes) for each in tensors]}")
    blocks = [_blocks(each, place) for each in tensors]
    outer = [[(*size[:place], *size[place + 1 :]) for size in each.sizes] for each in tensors]
    if all(each is not None and each.numel() for each in blocks) and all(each == outer[0] for each in outer):
        values = flambeau.cat([each for each in blocks if each is not None], 1)
        return StridedNestedTensor.of(values.reshape(-1), _with_size(first, place, values.shape[1]))
    return of_each(lambda *pieces: flambeau.cat(pieces, place), *tensors)
