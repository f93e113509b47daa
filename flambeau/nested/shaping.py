"""Views and choices of jagged tensors: the dimensions in which pieces agree are those of ``values``, the others stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.nested.jagged import JaggedTensor
from flambeau.nested.moving import moved
from flambeau.nested.ragged import NestedInt, Ragged
from flambeau.nested.tensor import wrapped


def _regular(name: str, self: JaggedTensor, dim: int) -> int:
    """The dimension of ``values`` for one in which all pieces agree.

    Raises:
        RuntimeError: it is that of the pieces, or the one in which they differ.
    """
    dim = wrapped(self, dim)
    if dim == 0:
        raise RuntimeError(f"{name}(): not supported for NestedTensor on dim=0, the pieces; unbind() gives them")
    if dim == self._dim:
        raise RuntimeError(
            f"{name}(): not supported for NestedTensor on ragged dim {dim}, in which the pieces of size {tuple(self.layout.shape)} differ"
        )
    return dim - 1


# -- orders of dimensions --------------------------------------------------------------------------------------------


def permute(self: JaggedTensor, *dims: Any) -> JaggedTensor:
    """The dimensions in another order, that of the pieces first.

    Raises:
        ValueError: it is not, or is no order of all dimensions.
    """
    order = [wrapped(self, dim) for dim in (dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims)]
    if sorted(order) != list(range(self.dim())):
        raise ValueError(f"permute: expected an order of the {self.dim()} dimensions, got {order}")
    if order[0] != 0:
        raise ValueError(f"Permute is not supported on the batch dimension for jagged NT, which must stay the first (dims={order})")
    return JaggedTensor.of(self._elements.permute([dim - 1 for dim in order[1:]]), self._ragged, order.index(self._dim))


def transpose(self: JaggedTensor, dim0: int, dim1: int) -> JaggedTensor:
    """Two dimensions exchanged, of which none is that of the pieces.

    Raises:
        ValueError: one is.
    """
    dim0, dim1 = wrapped(self, dim0), wrapped(self, dim1)
    if dim0 == dim1:
        return self
    if 0 in (dim0, dim1):
        raise ValueError(f"Transpose is not supported on the batch dimension for jagged NT (dim0={dim0}, dim1={dim1})")
    order = list(range(self.dim()))
    order[dim0], order[dim1] = dim1, dim0
    return permute(self, order)


def matrix_transpose(self: JaggedTensor) -> JaggedTensor:
    """``mT``: the last two dimensions exchanged."""
    return transpose(self, -2, -1)


def unsqueeze(self: JaggedTensor, dim: int) -> JaggedTensor:
    """A new dimension of size 1 behind that of the pieces.

    Raises:
        RuntimeError: before it.
    """
    dims = self.dim() + 1
    if not -dims <= dim < dims:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-dims}, {dims - 1}], but got {dim})")
    dim %= dims
    if dim == 0:
        raise RuntimeError("unsqueeze(): not supported for NestedTensor on dim=0, before the pieces")
    return JaggedTensor.of(self._elements.unsqueeze(dim - 1), self._ragged, self._dim + (dim <= self._dim))


def squeeze(self: JaggedTensor, dim: Any = None) -> JaggedTensor:
    """A dimension of size 1 less."""
    if dim is None:
        raise NotImplementedError("squeeze() of a nested tensor needs the dimension")
    for each in sorted([wrapped(self, one) for one in (dim if isinstance(dim, (tuple, list)) else (dim,))], reverse=True):
        inner = _regular("squeeze", self, each)
        if self._elements.shape[inner] == 1:
            self = JaggedTensor.of(self._elements.squeeze(inner), self._ragged, self._dim - (each < self._dim))
    return self


# -- sizes -----------------------------------------------------------------------------------------------------------


def view(self: JaggedTensor, *shape: Any) -> Any:
    """Other sizes for the dimensions in which pieces agree: ``view(B, j, …)``, or -1 in the place of the ragged size."""
    if len(shape) == 1 and isinstance(shape[0], flambeau.dtype):
        return self._with(self._elements.view(shape[0]))
    return _reshaped("view", self, shape)


def reshape(self: JaggedTensor, *shape: Any) -> JaggedTensor:
    """As ``view``, with a copy where memory does not allow it."""
    return _reshaped("reshape", self, shape)


def _reshaped(name: str, self: JaggedTensor, given: tuple) -> JaggedTensor:
    sizes = list(given[0] if len(given) == 1 and not isinstance(given[0], (int, NestedInt)) else given)
    refusal = RuntimeError(f"{name}(): cannot view shape {tuple(self.layout.shape)} as {sizes}: pieces and their lengths must stay")
    if len(sizes) < 2 or sizes[0] not in (-1, len(self._ragged)):
        raise refusal
    place = _ragged_place(self, sizes)
    if place is None or prod(self._elements.shape[: self._dim - 1]) != _product(
        sizes[1:place], prod(self._elements.shape[: self._dim - 1])
    ):
        raise refusal
    inner = [*sizes[1:place], self._rows, *sizes[place + 1 :]]
    values = self._elements.view(inner) if name == "view" else self._elements.reshape(inner)
    return JaggedTensor.of(values, self._ragged, place)


def _ragged_place(self: JaggedTensor, sizes: list) -> int | None:
    """Which of the sizes is the ragged one: the one that says so, or else the -1 that has its elements before and behind it."""
    named = [place for place, size in enumerate(sizes) if isinstance(size, NestedInt)]
    if named:
        return named[0] if len(named) == 1 and sizes[named[0]] == self._ragged.size else None
    before = prod(self._elements.shape[: self._dim - 1])
    return next((place for place, size in enumerate(sizes) if place and size == -1 and prod(sizes[1:place]) == before), None)


def _product(sizes: list, wanted: int) -> int:
    """The number of elements, if a -1 among the sizes stands for what is missing."""
    known = prod(size for size in sizes if size != -1)
    return wanted if -1 in sizes and known and wanted % known == 0 else known if -1 not in sizes else -1


def view_as(self: JaggedTensor, other: Tensor) -> JaggedTensor:
    """The sizes of another tensor."""
    return _reshaped("view_as", self, tuple(other.layout.shape))


def flatten(self: JaggedTensor, start_dim: int = 0, end_dim: int = -1) -> JaggedTensor:
    """Some dimensions in which pieces agree as one."""
    start, end = wrapped(self, start_dim), wrapped(self, end_dim)
    for dim in range(start, end + 1):
        _regular("flatten", self, dim)
    values = self._elements.flatten(start - 1, end - 1)
    return JaggedTensor.of(values, self._ragged, self._dim - (end - start if end < self._dim else 0))


def unflatten(self: JaggedTensor, dim: int, sizes: Sequence[int]) -> JaggedTensor:
    """A dimension in which pieces agree as several."""
    inner = _regular("unflatten", self, dim)
    values = self._elements.unflatten(inner, sizes)
    return JaggedTensor.of(values, self._ragged, self._dim + (len(sizes) - 1 if inner + 1 < self._dim else 0))


def expand(self: JaggedTensor, *sizes: Any) -> JaggedTensor:
    """Larger sizes for dimensions of size 1."""
    wanted = list(sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], (int, NestedInt)) else sizes)
    kept = [size == -1 or size == own for size, own in zip(wanted, self.layout.shape)]
    if len(wanted) != self.dim() or not kept[0] or not kept[self._dim]:
        raise RuntimeError(
            f"expand(): {tuple(self.layout.shape)} cannot be expanded to {tuple(wanted)}: pieces and their lengths must stay"
        )
    inner = [self._rows if dim == self._dim else size for dim, size in enumerate(wanted)][1:]
    return self._with(self._elements.expand(inner))


def expand_as(self: Tensor, other: Tensor) -> JaggedTensor:
    """The sizes of another tensor, of a dense one as well."""
    if isinstance(self, JaggedTensor):
        return expand(self, tuple(other.layout.shape))
    return other._with(flambeau.zeros_like(other._elements, dtype=self.dtype)) + self


# -- choices ---------------------------------------------------------------------------------------------------------


def select(self: JaggedTensor, dim: int, index: int) -> Tensor:
    """A piece, or an index in a dimension in which pieces agree."""
    if wrapped(self, dim) == 0:
        return _piece(self, index)
    inner = _regular("select", self, dim)
    return JaggedTensor.of(self._elements.select(inner, index), self._ragged, self._dim - (inner + 1 < self._dim))


def _piece(self: JaggedTensor, index: int) -> Tensor:
    ragged = self._ragged
    if not -len(ragged) <= index < len(ragged):
        raise IndexError(f"index {index} is out of range: the nested tensor has {len(ragged)} pieces")
    ragged.check(self._rows)
    return self._elements.narrow(self._dim - 1, ragged.starts[index], ragged.sizes[index])


def narrow(self: JaggedTensor, dim: int, start: Any, length: int) -> JaggedTensor:
    """A range of indices in a dimension in which pieces agree."""
    return self._with(self._elements.narrow(_regular("narrow", self, dim), start, length))


def pieces_of(self: JaggedTensor, start: int, stop: int) -> JaggedTensor:
    """Some pieces, one after the other."""
    ragged = self._ragged
    ragged.check(self._rows)
    begins, sizes = ragged.starts[start:stop], ragged.sizes[start:stop]
    first = begins[0] if begins else 0
    last = max([begin + size for begin, size in zip(begins, sizes)], default=first)
    values = self._elements.narrow(self._dim - 1, first, last - first)
    if ragged.lengths is None:
        return JaggedTensor.of(values, Ragged.of_sizes(sizes), self._dim)
    offsets = flambeau.tensor([*[begin - first for begin in begins], last - first])
    return JaggedTensor.of(values, Ragged(offsets, flambeau.tensor(sizes)), self._dim)


def getitem(self: JaggedTensor, index: Any) -> Any:
    """``self[3]``, ``self[..., 1:3]``, ``self[:, :, 0]``, ``self[1, :, -1]``."""
    indices = list(index) if isinstance(index, tuple) else [index]
    dots = next((place for place, each in enumerate(indices) if each is Ellipsis), None)
    taken = sum(each is not None and each is not Ellipsis for each in indices)
    if taken > self.dim():
        raise IndexError(f"too many indices for tensor of dimension {self.dim()}")
    if dots is not None:
        indices[dots : dots + 1] = [slice(None)] * (self.dim() - taken)
    first = indices[0] if indices else slice(None)
    if hasattr(first, "__index__") and not isinstance(first, bool) and not (isinstance(first, Tensor) and first.dim()):
        piece = _piece(self, int(first))
        return piece[tuple(indices[1:])] if len(indices) > 1 else piece
    result, dim = self, 0
    for each in indices:
        if each is None:
            result, dim = unsqueeze(result, dim), dim + 1
        elif isinstance(each, slice):
            result, dim = _sliced(result, dim, each), dim + 1
        elif hasattr(each, "__index__") and not isinstance(each, bool) and not (isinstance(each, Tensor) and each.dim()):
            result = select(result, dim, int(each))
        else:
            raise NotImplementedError(f"a nested tensor cannot be indexed with {each!r}; index its pieces (unbind()), or values()")
    return result


def _sliced(self: JaggedTensor, dim: int, index: slice) -> JaggedTensor:
    if index == slice(None):
        return self
    if dim == 0:
        start, stop, step = index.indices(len(self._ragged))
        if step != 1:
            raise RuntimeError(f"slice(): not supported for NestedTensor on dim=0 with a step of {step}")
        return pieces_of(self, start, max(stop, start))
    inner = _regular("slice", self, dim)
    return self._with(self._elements[(slice(None),) * inner + (index,)])


def chunk(self: JaggedTensor, chunks: int, dim: int = 0) -> tuple[JaggedTensor, ...]:
    """So many parts of a dimension in which pieces agree, or of the pieces."""
    if wrapped(self, dim) == 0:
        if chunks < 1:
            raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
        each = max(-(-len(self._ragged) // chunks), 1)
        return tuple([pieces_of(self, start, start + each) for start in range(0, len(self._ragged), each)])
    return tuple([self._with(part) for part in self._elements.chunk(chunks, _regular("chunk", self, dim))])


def split(self: JaggedTensor, split_size: Any, dim: int = 0) -> tuple[JaggedTensor, ...]:
    """Parts of certain sizes of a dimension in which pieces agree."""
    return tuple([self._with(part) for part in self._elements.split(split_size, _regular("split", self, dim))])


# -- several in one --------------------------------------------------------------------------------------------------


def _together(name: str, func: Callable, tensors: Sequence[Any], dim: int) -> JaggedTensor:
    first = next(each for each in tensors if isinstance(each, JaggedTensor))
    for each in tensors:
        same = isinstance(each, JaggedTensor) and each._dim == first._dim and each.dim() == first.dim()
        if not same or not each._ragged.divides_like(first._ragged):
            raise RuntimeError(
                f"{name}(): expected nested tensors with the same pieces, got sizes {tuple(first.layout.shape)} and {tuple(each.layout.shape)}"
            )
    return JaggedTensor.of(func([each._elements for each in tensors], dim), first._ragged, first._dim)


def cat(tensors: Sequence[Any], dim: int = 0) -> JaggedTensor:
    """Tensors with the same pieces one after the other along a dimension in which pieces agree.

    Raises:
        RuntimeError: along another, or the pieces differ.
    """
    first = next(each for each in tensors if isinstance(each, JaggedTensor))
    return _together("cat", flambeau.cat, tensors, _regular("cat", first, dim))


def stack(tensors: Sequence[Any], dim: int = 0) -> JaggedTensor:
    """Tensors with the same pieces side by side along a new dimension, behind the ragged one."""
    first = next(each for each in tensors if isinstance(each, JaggedTensor))
    dims = first.dim() + 1
    if not -dims <= dim < dims:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-dims}, {dims - 1}], but got {dim})")
    place = dim % dims
    if place <= first._dim:
        raise RuntimeError(
            f"stack(): not supported for NestedTensor on dim={place}, before the ragged dimension {first._dim}; unsqueeze and cat"
        )
    return _together("stack", flambeau.stack, tensors, place - 1)


# -- padding ---------------------------------------------------------------------------------------------------------


def pad(func: Callable, input: JaggedTensor, pad: Sequence[int], mode: str = "constant", value: Any = None) -> JaggedTensor:
    """``pad`` of each piece; rows more at its ends are of one number."""
    given = [tuple(pad[place : place + 2]) for place in range(0, len(pad), 2)]
    along = input.dim() - 1 - input._dim  # the place of the ragged dimension among the pairs, which begin with the last one
    if len(pad) % 2 or len(given) > input.dim() - 1:
        raise RuntimeError(
            f"pad: expected two numbers for each of at most {input.dim() - 1} dimensions, from the last one, got {tuple(pad)}"
        )
    ragged = given[along] if along < len(given) else (0, 0)
    if any(ragged) and mode != "constant":
        raise NotImplementedError(f"pad: the rows of the pieces are padded with a number, mode={mode!r} is not implemented for them")
    if any(ragged):
        input = _with_more_rows(input, *ragged, 0 if value is None else value)
        given[along] = (0, 0)
    others = [number for pair in given for number in pair]
    return input._with(func(input._elements, others, mode, value)) if any(others) else input


def _with_more_rows(input: JaggedTensor, before: int, after: int, value: Any) -> JaggedTensor:
    wider, there, back = input._ragged.widened(input._rows, before, after)
    rows = moved(input.rows_first(), there, back)
    if value != 0 and there[1] is not None:
        rows = rows.masked_fill(~there[1].reshape(-1, *(1,) * (rows.dim() - 1)), value)
    return JaggedTensor.of(input.rows_back(rows), wider, input._dim)
