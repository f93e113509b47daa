"""Tensors that keep only some of their elements: the positions that are specified, and the values there.

A ``SparseTensor`` is a Python object around ordinary tensors, one or two of positions and one of values. Whatever is computed with it is
recorded as work on these, so that it is fused, and differentiated, as all else is: the gradient of a sparse tensor is the gradient of its
values, with the same positions.

Functions that are given one find it by ``__torch_function__`` (``_tensor/overriding.py``), and ``table.py`` says what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flambeau
from flambeau._tensor.composed import ComposedTensor
from flambeau._tensor.size import Size
from flambeau._tensor.tensor import Tensor
from flambeau._types.dtype import dtype as DType
from flambeau._types.strided import ComposedLayout, described, sparse_coo, sparse_csc, sparse_csr
from flambeau._types.strided import layout as Kind


class SparseLayout(ComposedLayout):
    """The layout of a sparse tensor, whose elements are counted with the zeros."""

    __slots__ = ("numel",)

    def __init__(self, kind: Kind, shape: Sequence[int], dtype: DType) -> None:
        super().__init__(kind, tuple(shape), dtype, (0,) * len(shape))
        self.numel = Size(self.shape).numel()


class SparseTensor(ComposedTensor):
    """A tensor of which only some elements are kept; the others are zero.

    ``SparseCoo`` lists the position of each, ``SparseCompressed`` goes by rows or by columns.
    """

    is_sparse = False
    is_sparse_csr = False

    @classmethod
    def _make(cls, kind: Kind, shape: Sequence[int], values: Tensor) -> Any:
        return cls._compose(SparseLayout(kind, shape, values.dtype), values)

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from flambeau.sparse.table import call

        return call(func, args, kwargs or {})

    # -- what it is ------------------------------------------------------------------------------------------------

    def _nnz(self) -> int:
        """How many positions are specified."""
        return self._elements.shape[0]

    def dense_dim(self) -> int:
        """How many of the last dimensions each value has itself."""
        return self._elements.dim() - 1

    def sparse_dim(self) -> int:
        """How many of the first dimensions are sparse."""
        return self.dim() - self.dense_dim()

    def untyped_storage(self) -> Any:
        raise NotImplementedError("Cannot access storage of a sparse tensor; its values() and indices() have storages")

    def data_ptr(self) -> int:
        raise RuntimeError("Cannot access data pointer of Tensor that doesn't have storage")

    def is_contiguous(self, memory_format: Any = None) -> bool:
        raise RuntimeError("Tensors of layout " + repr(self.layout).removeprefix("torch.") + " do not have is_contiguous")

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError("can't convert Sparse layout tensor to numpy. Use Tensor.to_dense() first.")

    def tolist(self) -> Any:
        raise NotImplementedError("a sparse tensor has no list of elements; use to_dense() first")

    def __len__(self) -> int:
        return self.shape[0]

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        return bool(self.to_dense())

    # -- autograd --------------------------------------------------------------------------------------------------

    def places(self) -> Tensor:
        """The position of each value, (sparse dimensions, n)."""
        raise NotImplementedError

    def gradient_of_values(self, gradient: Tensor) -> Tensor:
        """The gradient of the values, of that of the tensor."""
        return gradient.to_dense()[tuple(self.places())]

    # -- copies and dtypes -----------------------------------------------------------------------------------------

    def to_dense(self, dtype: DType | None = None, *, masked_grad: bool | None = None) -> Tensor:
        """All elements."""
        raise NotImplementedError

    def type(self, dtype: Any = None, non_blocking: bool = False, **options: Any) -> Any:
        if dtype is None:
            return self._elements.type().replace("torch.", "torch.sparse.")
        return self.to(dtype)

    def parts(self) -> tuple:
        """What the tensor is made of."""
        raise NotImplementedError

    def __reduce_ex__(self, protocol: Any) -> tuple:
        from flambeau.sparse.creation import of_parts

        return of_parts, (self.layout.kind, self.parts())

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        from flambeau.sparse.printing import text

        return text(self)


class SparseCoo(SparseTensor):
    """A tensor as a list of positions and values (coordinate format).

    Positions may stand there more than once, until ``coalesce`` adds their values up and sorts them.
    """

    is_sparse = True
    _places: Tensor
    _coalesced: bool

    @staticmethod
    def of(indices: Tensor, values: Tensor, shape: Sequence[int], coalesced: bool = False) -> SparseCoo:
        """One with (sparse dimensions, n) indices and (n, …) values, which are taken as they are."""
        made = SparseCoo._make(sparse_coo, shape, values)
        made._places = indices
        made._coalesced = coalesced
        return made

    def _with(self, values: Tensor) -> SparseCoo:
        shape = (*self.shape[: self.sparse_dim()], *values.shape[1:])
        return SparseCoo.of(self._places, values, shape, self._coalesced)

    def is_coalesced(self) -> bool:
        """Whether each position stands there once, in row-major order."""
        return self._coalesced

    def coalesce(self) -> SparseCoo:
        """The same tensor, with the values of equal positions added up, in row-major order of the positions."""
        if self._coalesced:
            return self
        sizes = self.shape[: self.sparse_dim()]
        keys = keys_of(self._places, sizes)
        if bool((keys[1:] > keys[:-1]).all()):
            return SparseCoo.of(self._places, self._elements, self.shape, True)
        order = keys.argsort(stable=True)
        unique, group = flambeau.unique_consecutive(keys[order], return_inverse=True)
        values = self._elements[order]
        if unique.numel() == keys.numel():
            return SparseCoo.of(self._places[:, order], values, self.shape, True)
        if values.dtype == flambeau.bool:
            sums = added(group, values.to(flambeau.uint8), unique.numel()).bool()
        else:
            sums = added(group, values, unique.numel())
        return SparseCoo.of(places_of(unique, sizes), sums, self.shape, True)

    def indices(self) -> Tensor:
        """The positions, (sparse dimensions, n).

        Raises:
            RuntimeError: the tensor is not coalesced.
        """
        self._require_coalesced("indices")
        return self._places

    def values(self) -> Tensor:
        """The values, (n, …).

        Raises:
            RuntimeError: the tensor is not coalesced.
        """
        self._require_coalesced("values")
        return self._elements

    def _indices(self) -> Tensor:
        return self._places

    def _values(self) -> Tensor:
        return self._elements

    places = _indices

    def _require_coalesced(self, name: str) -> None:
        if not self._coalesced:
            raise RuntimeError(f"Cannot get {name} on an uncoalesced tensor, please call .coalesce() first")

    def sparse_resize_(self, size: Sequence[int], sparse_dim: int, dense_dim: int) -> SparseCoo:
        """Change the shape in place. What is specified stays where it is, and new elements of the dense dimensions are zero.

        Raises:
            RuntimeError: the sizes are not those of so many dimensions; or elements are specified, and a size would shrink, or sparse
                and dense dimensions become more or fewer.
        """
        shape, old = Size(size), self.shape
        if len(shape) != sparse_dim + dense_dim:
            raise RuntimeError(
                f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(shape)}, sparse_dim = {sparse_dim}, dense_dim = {dense_dim}"
            )
        if not self._nnz():
            return self.sparse_resize_and_clear_(shape, sparse_dim, dense_dim)
        if (sparse_dim, dense_dim) != (self.sparse_dim(), self.dense_dim()):
            raise RuntimeError(
                f"sparse_resize_: a tensor of which elements are specified keeps its {self.sparse_dim()} sparse and {self.dense_dim()} dense dimensions, "
                f"and cannot have {sparse_dim} and {dense_dim}; see sparse_resize_and_clear_"
            )
        if any(new < before for new, before in zip(shape, old, strict=True)):
            raise RuntimeError(
                f"sparse_resize_: a tensor of which elements are specified cannot shrink from {list(old)} to {list(shape)}; see sparse_resize_and_clear_"
            )
        grown = [each for dim in range(self.dim() - 1, sparse_dim - 1, -1) for each in (0, shape[dim] - old[dim])]
        values = flambeau.nn.functional.pad(self._elements, grown) if any(grown) else self._elements
        return self._become(SparseCoo.of(self._places, values, shape, self._coalesced))

    def sparse_resize_and_clear_(self, size: Sequence[int], sparse_dim: int, dense_dim: int) -> SparseCoo:
        """Change the shape in place, and let no element be specified.

        Raises:
            RuntimeError: the sizes are not those of so many dimensions.
        """
        shape = Size(size)
        if len(shape) != sparse_dim + dense_dim:
            raise RuntimeError(
                f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(shape)}, sparse_dim = {sparse_dim}, dense_dim = {dense_dim}"
            )
        places, values = self._places.new_zeros(sparse_dim, 0), self._elements.detach().new_zeros(0, *shape[sparse_dim:])
        return self._become(SparseCoo.of(places, values, shape, self._coalesced))

    def _become(self, other: SparseCoo) -> SparseCoo:
        self.layout = other.layout
        self.__dict__.update(other.__dict__)
        return self

    def to_dense(self, dtype: DType | None = None, *, masked_grad: bool | None = None) -> Tensor:
        values = self._elements if dtype is None else self._elements.to(dtype)
        sizes = self.shape[: self.sparse_dim()]
        if not sizes:
            return values.sum(0)
        if values.dtype == flambeau.bool:
            return self._with(values.to(flambeau.uint8)).to_dense().bool()
        flat = added(keys_of(self._places, sizes), values, Size(sizes).numel())
        return flat.reshape(self.shape)

    def clone(self, *, memory_format: Any = None) -> SparseCoo:
        return SparseCoo.of(self._places.clone(), self._elements.clone(), self.shape, self._coalesced)

    def parts(self) -> tuple:
        """What the tensor is made of."""
        return self._places, self._elements, self.shape, self._coalesced

    def __deepcopy__(self, memo: dict) -> SparseCoo:
        copied = SparseCoo.of(self._places.clone(), self._elements.__deepcopy__(memo), self.shape, self._coalesced)
        return memo.setdefault(id(self), copied)


class SparseCompressed(SparseTensor):
    """A matrix by rows (``sparse_csr``) or by columns (``sparse_csc``).

    ``_starts`` says where the values of each row begin, ``_plain`` in which column each value is; columns and rows change places in
    ``sparse_csc``. A batch of matrices has the batch's dimensions first in all three, and the same number of values in each.
    """

    is_sparse_csr = True
    _starts: Tensor
    _plain: Tensor
    _places: Tensor | None = None

    @staticmethod
    def of(kind: Kind, starts: Tensor, plain: Tensor, values: Tensor, shape: Sequence[int]) -> SparseCompressed:
        """One with these parts, which are taken as they are."""
        made = SparseCompressed._make(kind, shape, values)
        made._starts, made._plain = starts, plain
        made.is_sparse_csr = kind is sparse_csr
        return made

    @property
    def _kind(self) -> Kind:
        return self.layout.kind

    def _with(self, values: Tensor) -> SparseCompressed:
        made = SparseCompressed.of(self._kind, self._starts, self._plain, values, self.shape)
        made._places = self._places
        return made

    def _part(self, name: str, kind: Kind, part: Tensor) -> Tensor:
        if self._kind is not kind:
            wanted = "row" if kind is sparse_csr else "column"
            raise RuntimeError(f"{name} expected sparse {wanted} compressed tensor layout but got {described(self.layout)}")
        return part

    def crow_indices(self) -> Tensor:
        """Where each row's values begin, and where the last one's end."""
        return self._part("crow_indices", sparse_csr, self._starts)

    def col_indices(self) -> Tensor:
        """The column of each value."""
        return self._part("col_indices", sparse_csr, self._plain)

    def ccol_indices(self) -> Tensor:
        """Where each column's values begin, and where the last one's end."""
        return self._part("ccol_indices", sparse_csc, self._starts)

    def row_indices(self) -> Tensor:
        """The row of each value."""
        return self._part("row_indices", sparse_csc, self._plain)

    def values(self) -> Tensor:
        """The values, row by row (column by column)."""
        return self._elements

    def sparse_dim(self) -> int:
        return 2

    def dense_dim(self) -> int:
        return 0

    def coordinates(self) -> SparseCoo:
        """The same matrix as a list of positions."""
        if self._places is None:  # which takes longer than a product with a few columns
            counts = self._starts[1:] - self._starts[:-1]
            outer = flambeau.repeat_interleave(flambeau.arange(counts.numel()), counts.long(), output_size=self._nnz())
            inner = self._plain.long()
            self._places = flambeau.stack([outer, inner] if self._kind is sparse_csr else [inner, outer])
        return SparseCoo.of(self._places, self._elements, self.shape, self._kind is sparse_csr)

    def places(self) -> Tensor:
        return self.coordinates()._places

    def to_dense(self, dtype: DType | None = None, *, masked_grad: bool | None = None) -> Tensor:
        return self.coordinates().to_dense(dtype)

    def clone(self, *, memory_format: Any = None) -> SparseCompressed:
        return SparseCompressed.of(self._kind, self._starts.clone(), self._plain.clone(), self._elements.clone(), self.shape)

    def parts(self) -> tuple:
        """What the tensor is made of."""
        return self._starts, self._plain, self._elements, self.shape

    def __deepcopy__(self, memo: dict) -> SparseCompressed:
        copied = SparseCompressed.of(self._kind, self._starts.clone(), self._plain.clone(), self._elements.__deepcopy__(memo), self.shape)
        return memo.setdefault(id(self), copied)


# -- positions as numbers --------------------------------------------------------------------------------------------


def keys_of(places: Tensor, sizes: Sequence[int]) -> Tensor:
    """The row-major number of each position."""
    keys = flambeau.zeros(places.shape[1], dtype=flambeau.int64)
    for row, size in zip(places, sizes):
        keys = keys * size + row
    return keys


def places_of(keys: Tensor, sizes: Sequence[int]) -> Tensor:
    """The positions that have these numbers."""
    rows = []
    for size in reversed(sizes):
        rows.append(keys % size if size else keys)
        keys = keys // size if size else keys
    return flambeau.stack(rows[::-1]) if rows else keys.new_zeros(0, keys.numel())


def is_sorted(tensor: SparseCoo) -> bool:
    """Whether each position comes after the one before."""
    keys = keys_of(tensor._places, tensor.shape[: tensor.sparse_dim()])
    return bool((keys[1:] > keys[:-1]).all())


def added(groups: Tensor, values: Tensor, count: int) -> Tensor:
    """The sums of the values of each group."""
    return flambeau.zeros(count, *values.shape[1:], dtype=values.dtype).index_add(0, groups, values)
