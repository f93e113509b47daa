"""Views, choices and reductions of sparse tensors."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau._tensor.size import Size
from flambeau._tensor.tensor import Tensor
from flambeau._types.dtype import dtype as DType
from flambeau.sparse.creation import to_sparse_coo
from flambeau.sparse.products import transpose
from flambeau.sparse.tensor import SparseCompressed, SparseCoo, SparseTensor, added, keys_of


def t(self: SparseTensor) -> Any:
    """A matrix with rows and columns exchanged; a vector itself."""
    if self.dim() > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {self.dim()}D")
    return transpose(self, 0, 1) if self.dim() == 2 else self


def matrices_transposed(self: SparseTensor) -> Any:
    """The last two dimensions exchanged.

    Raises:
        RuntimeError: there are fewer than two
    """
    if self.dim() < 2:
        raise RuntimeError(f"a matrix is transposed, but this tensor has {self.dim()} dimensions")
    return transpose(self, -2, -1)


def adjoint(self: SparseTensor) -> Any:
    """The last two dimensions exchanged, and the values conjugated."""
    return matrices_transposed(self._with(self._elements.conj()))


def h(self: SparseTensor) -> Any:
    """The adjoint of one matrix.

    Raises:
        RuntimeError: these are several
    """
    if self.dim() != 2:
        raise RuntimeError(f"H is the adjoint of one matrix, but this tensor has {self.dim()} dimensions; mH is that of each of a batch")
    return adjoint(self)


def reversed_dims(self: SparseTensor) -> Any:
    """The dimensions in the opposite order."""
    return permute(self, list(reversed(range(self.dim()))))


def permute(self: SparseTensor, *dims: Any) -> Any:
    """The dimensions in another order."""
    order = list(dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims)
    order = [dim % self.dim() for dim in order]
    if sorted(order) != list(range(self.dim())):
        raise RuntimeError(f"permute: expected an order of the {self.dim()} dimensions, got {order}")
    result: Any = self
    current = list(range(self.dim()))
    for place, dim in enumerate(order):
        there = current.index(dim)
        if there != place:
            result = transpose(result, place, there)
            current[place], current[there] = current[there], current[place]
    return result


def unsqueeze(self: SparseTensor, dim: int) -> SparseCoo:
    """A new dimension of size 1."""
    listed = to_sparse_coo(self)
    dim = dim + self.dim() + 1 if dim < 0 else dim
    if not 0 <= dim <= self.dim():
        raise IndexError(f"Dimension out of range (expected to be in range of [{-self.dim() - 1}, {self.dim()}], but got {dim})")
    shape = (*self.shape[:dim], 1, *self.shape[dim:])
    if dim <= listed.sparse_dim():
        places = listed._places
        row = places.new_zeros(1, places.shape[1])
        return SparseCoo.of(flambeau.cat([places[:dim], row, places[dim:]]), listed._elements, shape, listed._coalesced)
    return SparseCoo.of(listed._places, listed._elements.unsqueeze(dim - listed.sparse_dim() + 1), shape, listed._coalesced)


def _dim(self: Tensor, dim: int) -> int:
    if not -self.dim() <= dim < self.dim():
        raise IndexError(f"Dimension out of range (expected to be in range of [{-self.dim()}, {self.dim() - 1}], but got {dim})")
    return dim % self.dim()


def select(self: SparseTensor, dim: int, index: int) -> Any:
    """What has a certain index in a dimension, without that dimension; dense where no sparse dimension is left."""
    listed, dim = to_sparse_coo(self), _dim(self, dim)
    size = self.shape[dim]
    if not -size <= index < size:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(self.shape)} at dimension {dim}")
    shape = (*self.shape[:dim], *self.shape[dim + 1 :])
    sparse = listed.sparse_dim()
    if dim >= sparse:
        return SparseCoo.of(listed._places, listed._elements.select(dim - sparse + 1, index), shape, listed._coalesced)
    chosen = (listed._places[dim] == index % size).nonzero().squeeze(1)
    values = listed._elements[chosen]
    if sparse == 1:
        return values.sum(0)
    places = flambeau.cat([listed._places[:dim], listed._places[dim + 1 :]])[:, chosen]
    return SparseCoo.of(places, values, shape, listed._coalesced)


def index_select(self: SparseTensor, dim: int, index: Tensor) -> SparseCoo:
    """Slices of a dimension by their numbers."""
    listed, dim = to_sparse_coo(self), _dim(self, dim)
    index = index.reshape(-1).long()
    size = self.shape[dim]
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < size:
        raise IndexError(f"index_select(): index out of range for tensor of size {list(self.shape)} at dimension {dim}")
    shape = (*self.shape[:dim], index.numel(), *self.shape[dim + 1 :])
    sparse = listed.sparse_dim()
    if dim >= sparse:
        return SparseCoo.of(listed._places, listed._elements.index_select(dim - sparse + 1, index), shape, listed._coalesced)
    order = listed._places[dim].argsort(stable=True)
    places, values = listed._places[:, order], listed._elements[order]
    starts = flambeau.searchsorted(places[dim].contiguous(), index)
    counts = flambeau.searchsorted(places[dim].contiguous(), index, right=True) - starts
    which = flambeau.repeat_interleave(flambeau.arange(index.numel()), counts)
    there = starts[which] + flambeau.arange(which.numel()) - (counts.cumsum(0) - counts)[which]
    rows = list(places[:, there])
    rows[dim] = which
    chosen = SparseCoo.of(flambeau.stack(rows), values[there], shape)
    return chosen.coalesce() if listed._coalesced else chosen


def narrow_copy(self: SparseTensor, dim: int, start: int, length: int) -> SparseCoo:
    """A piece of a dimension."""
    listed, dim = to_sparse_coo(self), _dim(self, dim)
    if not 0 <= start <= start + length <= self.shape[dim]:
        raise RuntimeError(f"Invalid range to narrow. range(start, start+length) must be a subset of range(0, {self.shape[dim]}).")
    shape = (*self.shape[:dim], length, *self.shape[dim + 1 :])
    sparse = listed.sparse_dim()
    if dim >= sparse:
        return SparseCoo.of(listed._places, listed._elements.narrow(dim - sparse + 1, start, length), shape, listed._coalesced)
    row = listed._places[dim]
    chosen = ((row >= start) & (row < start + length)).nonzero().squeeze(1)
    rows = list(listed._places[:, chosen])
    rows[dim] = rows[dim] - start
    return SparseCoo.of(flambeau.stack(rows), listed._elements[chosen], shape, listed._coalesced)


def getitem(self: SparseTensor, index: Any) -> Any:
    """``self[3]``, ``self[1:3]``, ``self[tensor]``, and several of these."""
    result: Any = self
    dim = 0
    for each in index if isinstance(index, tuple) else (index,):
        if isinstance(each, slice):
            start, stop, step = each.indices(result.shape[dim])
            if step != 1:
                raise NotImplementedError("slices of sparse tensors have a step of 1")
            if (start, stop) != (0, result.shape[dim]):
                result = narrow_copy(result, dim, start, max(stop - start, 0))
            dim += 1
        elif each is None:
            result = unsqueeze(result, dim)
            dim += 1
        elif isinstance(each, Tensor) and each.dim() == 1 and not each.dtype.is_floating_point:
            result = index_select(result, dim, each.nonzero().squeeze(1) if each.dtype == flambeau.bool else each)
            dim += 1
        elif isinstance(each, Tensor) or hasattr(each, "__index__"):
            result = select(result, dim, int(each))
        else:
            raise NotImplementedError(f"sparse tensors cannot be indexed with {each!r}")
    return result


def cat(tensors: Sequence[Tensor], dim: int = 0, *, out: Any = None) -> SparseCoo:
    """Sparse tensors one after the other along a dimension."""
    listed = [to_sparse_coo(each) if isinstance(each, SparseTensor) else None for each in tensors]
    if out is not None or any(each is None for each in listed):
        raise RuntimeError("cat of sparse tensors: expected sparse tensors only, and no out=")
    first: Any = listed[0]
    dim, sparse = _dim(first, dim), first.sparse_dim()
    sizes, places, values = 0, [], []
    for each in listed:
        assert each is not None
        others = each.shape[:dim] + each.shape[dim + 1 :]
        if each.sparse_dim() != sparse or others != first.shape[:dim] + first.shape[dim + 1 :]:
            raise RuntimeError(
                f"cat: sizes {list(first.shape)} and {list(each.shape)} must match except in dimension {dim}, and in what is sparse"
            )
        rows = list(each._places)
        if dim < sparse:
            rows[dim] = rows[dim] + sizes
            values.append(each._elements)
        else:
            before, after = list(each._elements.shape), list(each._elements.shape)
            before[dim - sparse + 1] = sizes
            after[dim - sparse + 1] = builtins.sum(other.shape[dim] for other in listed if other is not None) - sizes - each.shape[dim]
            parts = [each._elements.new_zeros(before), each._elements, each._elements.new_zeros(after)]
            values.append(flambeau.cat(parts, dim - sparse + 1))
        places.append(flambeau.stack(rows))
        sizes += each.shape[dim]
    shape = (*first.shape[:dim], sizes, *first.shape[dim + 1 :])
    joined = SparseCoo.of(flambeau.cat(places, 1), flambeau.cat(values), shape)
    return joined


def stack(tensors: Sequence[Tensor], dim: int = 0, *, out: Any = None) -> SparseCoo:
    """Sparse tensors side by side along a new dimension."""
    return cat([unsqueeze(each, dim) for each in tensors], dim, out=out)


# -- reductions ------------------------------------------------------------------------------------------------------


def sum(input: Tensor, dim: Any = None, dtype: DType | None = None) -> Any:
    """The sum of all elements, or over some dimensions.

    Returns:
        A dense tensor where no sparse dimension is left, else a sparse one.
    """
    if not isinstance(input, SparseTensor):
        return flambeau.sum(input, dim, dtype=dtype) if dim is not None else flambeau.sum(input, dtype=dtype)
    values = input._elements
    if dim is None:
        return values.sum(dtype=dtype)
    input = to_sparse_coo(input)
    dims = sorted({_dim(input, each) for each in (dim if isinstance(dim, (tuple, list)) else (dim,))})
    sparse = input.sparse_dim()
    dense = [each - sparse + 1 for each in dims if each >= sparse]
    if dense:
        values = values.sum(dense, dtype=dtype)
    elif dtype is not None:
        values = values.to(dtype)
    kept = [each for each in range(sparse) if each not in dims]
    if not kept:
        return values.sum(0)
    shape = [size for each, size in enumerate(input.shape) if each not in dims]
    summed = SparseCoo.of(input._places[kept], values, shape, input._coalesced and len(kept) == sparse)
    return summed.coalesce()


def sum_method(self: SparseTensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Any:
    """``tensor.sum(…)``; ``keepdim`` leaves the dimensions with size 1."""
    result = sum(self, dim, dtype)
    if keepdim and dim is not None:
        for each in sorted({_dim(self, one) for one in (dim if isinstance(dim, (tuple, list)) else (dim,))}):
            result = unsqueeze(result, each) if isinstance(result, SparseTensor) else result.unsqueeze(each)
    return result


def softmax(input: SparseTensor, dim: int, *, dtype: DType | None = None) -> SparseTensor:
    """Softmax over the elements that are specified; the others count as minus infinity."""
    return _softmax(input, dim, dtype, False)


def log_softmax(input: SparseTensor, dim: int, *, dtype: DType | None = None) -> SparseTensor:
    """The logarithm of ``softmax``."""
    return _softmax(input, dim, dtype, True)


def _softmax(input: SparseTensor, dim: int, dtype: DType | None, logarithm: bool) -> SparseTensor:
    tensor = to_sparse_coo(input).coalesce()
    dim, sparse = _dim(input, dim), tensor.sparse_dim()
    values = tensor._elements if dtype is None else tensor._elements.to(dtype)
    if dim >= sparse:
        function = flambeau.log_softmax if logarithm else flambeau.softmax
        return tensor._with(function(values, dim - sparse + 1))
    kept = [each for each in range(sparse) if each != dim]
    keys = keys_of(tensor._places[kept], [tensor.shape[each] for each in kept])
    unique, group = flambeau.unique(keys, return_inverse=True)
    index = group.reshape(-1, *(1,) * (values.dim() - 1)).expand_as(values)
    largest = flambeau.full((unique.numel(), *values.shape[1:]), float("-inf"), dtype=values.dtype)
    largest = largest.scatter_reduce(0, index, values.detach(), "amax")
    shifted = values - largest[group]
    sums = added(group, shifted.exp(), unique.numel())[group]
    return tensor._with(shifted - sums.log() if logarithm else shifted.exp() / sums)


def norm(self: SparseTensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """The Euclidean norm of all elements."""
    if dim is not None or p not in ("fro", None, 2, 2.0):
        raise NotImplementedError("norm of a sparse tensor: the Euclidean norm of all elements is implemented")
    tensor = self if isinstance(self, SparseCompressed) else to_sparse_coo(self).coalesce()
    return flambeau.linalg.vector_norm(tensor._elements, dtype=dtype)


def any_element(self: SparseTensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether an element is not zero."""
    if dim is not None:
        raise NotImplementedError("any of a sparse tensor over a dimension is not implemented")
    return self._elements.any()


def spdiags(diagonals: Tensor, offsets: Tensor, shape: Sequence[int], layout: Any = None) -> Any:
    """A sparse matrix with the rows of ``diagonals`` as its diagonals.

    Args:
        diagonals: (k, n), or (n) for one; element j of a row goes to column j
        offsets: (k): which diagonal each row is, 0 the main one, above it positive
        shape: of the matrix
        layout: ``torch.sparse_coo`` if left out
    """
    rows = diagonals.reshape(1, -1) if diagonals.dim() == 1 else diagonals
    offsets = offsets.reshape(-1).long()
    if rows.shape[0] != offsets.numel():
        raise RuntimeError(f"Number of diagonals ({rows.shape[0]}) does not match the number of offsets ({offsets.numel()})")
    if offsets.unique().numel() != offsets.numel():
        raise RuntimeError("Offset tensor contains duplicate values")
    column = flambeau.arange(rows.shape[1]).expand(rows.shape)
    row = column - offsets.unsqueeze(1)
    inside = ((row >= 0) & (row < shape[0]) & (column < shape[1])).reshape(-1).nonzero().squeeze(1)
    places = flambeau.stack([row.reshape(-1)[inside], column.reshape(-1)[inside]])
    made = SparseCoo.of(places, rows.reshape(-1)[inside], Size(shape))
    return made if layout is None else flambeau.Tensor.to_sparse(made.coalesce(), layout=layout)
