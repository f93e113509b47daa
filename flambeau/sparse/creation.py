"""Making sparse tensors, and going from one format to another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import flambeau
from flambeau._tensor.size import Size
from flambeau._tensor.tensor import Tensor
from flambeau._types.dtype import dtype as DType
from flambeau._types.strided import layout as Kind
from flambeau._types.strided import sparse_coo, sparse_csc, sparse_csr
from flambeau.sparse.tensor import SparseCompressed, SparseCoo, SparseTensor, is_sorted


class check_sparse_tensor_invariants:
    """Whether new sparse tensors are checked throughout, as a context, a decorator, or by ``enable`` and ``disable``.

    What could lead an operator out of memory is checked by the operators in any case.
    """

    _enabled = False

    def __init__(self, enable: bool = True) -> None:
        self.state = enable

    @classmethod
    def is_enabled(cls) -> bool:
        return check_sparse_tensor_invariants._enabled

    @classmethod
    def enable(cls) -> None:
        check_sparse_tensor_invariants._enabled = True

    @classmethod
    def disable(cls) -> None:
        check_sparse_tensor_invariants._enabled = False

    def __enter__(self) -> None:
        self._before = self.is_enabled()
        check_sparse_tensor_invariants._enabled = self.state

    def __exit__(self, *exception: object) -> None:
        check_sparse_tensor_invariants._enabled = self._before

    def __call__(self, function: Any) -> Any:
        @contextmanager
        def checked() -> Iterator[None]:
            with type(self)(self.state):
                yield

        return checked()(function)


def sparse_coo_tensor(
    indices: Any = None,
    values: Any = None,
    size: Sequence[int] | None = None,
    *,
    dtype: DType | None = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
    is_coalesced: bool | None = None,
) -> SparseCoo:
    """A tensor that is zero but at the given positions.

    Args:
        indices: (sparse dimensions, n); a size alone makes an empty tensor
        values: (n, …): a number for each position, or a tensor each
        size: the shape; the smallest that holds all positions if left out
        is_coalesced: says that positions are sorted and none is there twice

    Raises:
        RuntimeError: the parts do not fit each other; with ``check_invariants``, also if an index is out of range.

    Example::

        >>> flambeau.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], [3.0, 4.0, 5.0], (2, 3)).to_dense()
        tensor([[0., 0., 3.],
                [4., 0., 5.]])
    """
    if values is None:
        if (indices is None) is (size is None):
            raise TypeError("sparse_coo_tensor(): expected indices and values, or a size alone")
        shape = Size(indices if size is None else size)
        empty = flambeau.zeros(len(shape), 0, dtype=flambeau.int64)
        return _coo(empty, flambeau.zeros(0, dtype=dtype or flambeau.get_default_dtype()), shape, requires_grad, True)
    indices, values = _listed(indices, _as_values(values, dtype))
    sparse = indices.shape[0]
    shape = _smallest(indices, values) if size is None else Size(size)
    if len(shape) != sparse + values.dim() - 1:
        raise RuntimeError(
            f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(shape)}, sparse_dim = {sparse}, dense_dim = {values.dim() - 1}"
        )
    if tuple(values.shape[1:]) != tuple(shape[sparse:]):
        raise RuntimeError(f"values has incorrect size, expected {[values.shape[0], *shape[sparse:]]}, got {list(values.shape)}")
    if check_invariants if check_invariants is not None else check_sparse_tensor_invariants.is_enabled():
        _check_range(indices, shape[:sparse])
    return _coo(indices, values, shape, requires_grad, bool(is_coalesced))


def _listed(indices: Any, values: Tensor) -> tuple[Tensor, Tensor]:
    """Indices (sparse dimensions, n) and values (n, …); one number stands for all of them."""
    indices = flambeau.as_tensor(indices).detach().to(flambeau.int64)
    if indices.dim() == 1 and not indices.numel():
        indices = indices.reshape(0, 0)
    if indices.dim() != 2:
        raise RuntimeError(f"indices must be sparse_dim x nnz, but got: {list(indices.shape)}")
    if values.dim() == 0:
        values = values.expand(indices.shape[1])
    if values.shape[0] != indices.shape[1]:
        raise RuntimeError(
            f"indices and values must have same nnz, but got nnz from indices: {indices.shape[1]}, nnz from values: {values.shape[0]}"
        )
    return indices, values


def _smallest(indices: Tensor, values: Tensor) -> Size:
    """The smallest shape that holds all positions."""
    if not indices.shape[1]:
        return Size((0,) * indices.shape[0] + tuple(values.shape[1:]))
    return Size([int(row.max()) + 1 for row in indices] + list(values.shape[1:]))


def _coo(indices: Tensor, values: Tensor, shape: Size, requires_grad: bool, coalesced: bool) -> SparseCoo:
    values = _own(values, requires_grad)
    return SparseCoo.of(indices, values, shape, coalesced)


def _own(values: Tensor, requires_grad: bool) -> Tensor:
    """The values of a new tensor: a leaf of its own if it requires grad, else with the history that they have."""
    if requires_grad:
        return values.detach().requires_grad_()
    return values.view(values.shape) if values.requires_grad else values


def _as_values(values: Any, dtype: DType | None) -> Tensor:
    if isinstance(values, Tensor):
        return values if dtype is None else values.to(dtype)
    return flambeau.tensor(values, dtype=dtype)


def _check_range(indices: Tensor, sizes: Sequence[int]) -> None:
    for dim, (row, size) in enumerate(zip(indices, sizes)):
        if row.numel() and int(row.min()) < 0:
            raise RuntimeError(f"found negative index {int(row.min())} for dim {dim}")
        if row.numel() and int(row.max()) >= size:
            raise RuntimeError(f"size is inconsistent with indices: for dim {dim}, size is {size} but found index {int(row.max())}")


def sparse_compressed_tensor(
    compressed_indices: Any,
    plain_indices: Any,
    values: Any,
    size: Sequence[int] | None = None,
    *,
    dtype: DType | None = None,
    layout: Kind | None = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
) -> SparseCompressed:
    """A matrix by rows or by columns.

    Args:
        compressed_indices: (rows + 1): where the values of each row begin, and where the last one's end
        plain_indices: the column of each value
        values: row by row
        size: the shape; the smallest that fits if left out
        layout: ``torch.sparse_csr``, or ``torch.sparse_csc``, in which rows and columns change places

    Raises:
        RuntimeError: the parts do not fit each other; with ``check_invariants``, also if they describe no matrix.
    """
    if layout not in (sparse_csr, sparse_csc):
        raise RuntimeError(f"expected the layout torch.sparse_csr or torch.sparse_csc, got {layout!r}: blocks are not implemented")
    starts, plain = (flambeau.as_tensor(each) for each in (compressed_indices, plain_indices))
    values = _as_values(values, dtype)
    if starts.dtype not in (flambeau.int32, flambeau.int64) or plain.dtype is not starts.dtype:
        raise RuntimeError(f"compressed and plain indices must be both int32 or both int64, got {starts.dtype} and {plain.dtype}")
    if starts.dim() != 1 or plain.dim() != 1 or values.dim() != 1:
        raise NotImplementedError(
            f"compressed sparse tensors are implemented as matrices of numbers: indices and values of one dimension, got {starts.dim()}, "
            f"{plain.dim()} and {values.dim()}"
        )
    if starts.numel() < 1 or plain.numel() != values.numel():
        raise RuntimeError(f"number of plain indices and of values must be the same, got {plain.numel()} and {values.numel()}")
    if size is None:
        inner = int(plain.max()) + 1 if plain.numel() else 0
        size = (starts.numel() - 1, inner) if layout is sparse_csr else (inner, starts.numel() - 1)
    shape = Size(size)
    if len(shape) != 2 or starts.numel() != shape[0 if layout is sparse_csr else 1] + 1:
        raise RuntimeError(
            f"compressed indices must have one more element than there are rows (columns): {starts.numel()} for size {list(shape)}"
        )
    if check_invariants if check_invariants is not None else check_sparse_tensor_invariants.is_enabled():
        _check_compressed(starts, plain, shape[1 if layout is sparse_csr else 0])
    values = _own(values, requires_grad)
    return SparseCompressed.of(layout, starts.detach(), plain.detach(), values, shape)


def _check_compressed(starts: Tensor, plain: Tensor, inner: int) -> None:
    counts = starts[1:] - starts[:-1]
    if int(starts[0]) != 0 or int(starts[-1]) != plain.numel():
        raise RuntimeError(f"compressed indices must begin with 0 and end with the number of values, {plain.numel()}")
    if counts.numel() and (int(counts.min()) < 0 or int(counts.max()) > inner):
        raise RuntimeError("compressed indices must not fall, nor rise by more than there are columns (rows)")
    if plain.numel() and (int(plain.min()) < 0 or int(plain.max()) >= inner):
        raise RuntimeError(f"plain indices must lie between 0 and {inner - 1}")
    outer = flambeau.repeat_interleave(flambeau.arange(counts.numel()), counts.long())
    keys = outer * inner + plain
    if not bool((keys[1:] > keys[:-1]).all()):
        raise RuntimeError("plain indices must be sorted and distinct within each row (column)")


def sparse_csr_tensor(
    crow_indices: Any, col_indices: Any, values: Any, size: Sequence[int] | None = None, **options: Any
) -> SparseCompressed:
    """A matrix by rows; see ``sparse_compressed_tensor``."""
    return sparse_compressed_tensor(crow_indices, col_indices, values, size, layout=sparse_csr, **options)


def sparse_csc_tensor(
    ccol_indices: Any, row_indices: Any, values: Any, size: Sequence[int] | None = None, **options: Any
) -> SparseCompressed:
    """A matrix by columns; see ``sparse_compressed_tensor``."""
    return sparse_compressed_tensor(ccol_indices, row_indices, values, size, layout=sparse_csc, **options)


def empty_of(kind: Kind, shape: Sequence[int], dtype: DType, requires_grad: bool = False) -> SparseTensor:
    """A tensor in which no position is specified."""
    empty = sparse_coo_tensor(shape, dtype=dtype)
    return (empty if kind is sparse_coo else to_sparse(empty, layout=kind)).requires_grad_(requires_grad)


def of_parts(kind: Kind, parts: tuple, checks: bool = True) -> SparseTensor:
    """A sparse tensor of what ``parts`` gave, which may have come out of a stranger's file and is checked.

    Without ``checks`` no element is looked at; ``check_positions`` does that later.

    Raises:
        RuntimeError: it describes no tensor.
    """
    made: SparseTensor
    if kind is sparse_coo:
        indices, values, shape, *coalesced = parts
        made = sparse_coo_tensor(indices, values, Size(shape), check_invariants=False)
        made._coalesced = bool(coalesced and coalesced[0])
    else:
        starts, plain, values, shape = parts
        made = sparse_compressed_tensor(starts, plain, values, Size(shape), layout=kind, check_invariants=False)
    if checks:
        check_positions(made)
    return made


def check_positions(tensor: SparseTensor) -> None:
    """Check the positions of a tensor that came out of a file, and whether they are sorted as it says.

    Raises:
        RuntimeError: one is out of range.
    """
    if isinstance(tensor, SparseCoo):
        _check_range(tensor._places, tensor.shape[: tensor.sparse_dim()])
        tensor._coalesced = tensor._coalesced and is_sorted(tensor)
    else:
        assert isinstance(tensor, SparseCompressed)
        _check_compressed(tensor._starts, tensor._plain, tensor.shape[1 if tensor.is_sparse_csr else 0])


# -- from one format to another --------------------------------------------------------------------------------------


def to_sparse(
    self: Tensor, sparse_dim: Any = None, *, layout: Kind | None = None, blocksize: Any = None, dense_dim: int | None = None
) -> Any:
    """The tensor as a sparse one: its elements that are not zero.

    Args:
        sparse_dim: how many dimensions are sparse; a value is a tensor of the others. All if left out.
        layout: of the result, ``torch.sparse_coo`` if left out
    """
    if isinstance(sparse_dim, Kind):
        layout, sparse_dim = sparse_dim, None
    if layout in (None, sparse_coo):
        return to_sparse_coo(self, sparse_dim)
    if layout in (sparse_csr, sparse_csc):
        return _compressed(self, layout)
    raise NotImplementedError(
        f"to_sparse: the layout {layout!r} is not implemented, torch.sparse_coo, torch.sparse_csr and torch.sparse_csc are"
    )


def to_sparse_coo(self: Tensor, sparse_dim: int | None = None) -> SparseCoo:
    """The tensor as a list of the positions and values that are not zero."""
    if isinstance(self, SparseCompressed):
        return self.coordinates()
    if isinstance(self, SparseCoo):
        if sparse_dim not in (None, self.sparse_dim()):
            raise RuntimeError(f"to_sparse: the tensor has {self.sparse_dim()} sparse dimensions already, not {sparse_dim}")
        return self
    dims = self.dim() if sparse_dim is None else sparse_dim
    if not 0 <= dims <= self.dim() or (dims == 0 and self.dim()):
        raise RuntimeError(f"sparse_dim must be between 1 and {self.dim()}, got {sparse_dim}")
    if self.dim() == 0:
        kept = int(bool(self.detach() != 0))
        return SparseCoo.of(flambeau.zeros(0, kept, dtype=flambeau.int64), self.reshape(1)[:kept], (), True)
    present = self.detach() != 0
    if dims < self.dim():
        present = present.flatten(dims).any(-1)
    places = present.nonzero().t().contiguous()
    return SparseCoo.of(places, self[tuple(places)], self.shape, True)


def _compressed(self: Tensor, kind: Kind) -> SparseCompressed:
    if isinstance(self, SparseCompressed) and self.layout == kind:
        return self
    listed = to_sparse_coo(self)
    if listed.dim() != 2 or listed.dense_dim():
        raise RuntimeError(f"expected a matrix of numbers, got {listed.sparse_dim()} sparse and {listed.dense_dim()} dense dimensions")
    if kind is sparse_csc:
        listed = transposed(listed, 0, 1)
    listed = listed.coalesce()
    outer, inner = listed._places
    starts = flambeau.searchsorted(outer.contiguous(), flambeau.arange(listed.shape[0] + 1))
    return SparseCompressed.of(kind, starts, inner.contiguous(), listed._elements, self.shape)


def to_sparse_csr(self: Tensor, dense_dim: int | None = None) -> SparseCompressed:
    """The matrix by rows."""
    return _compressed(self, sparse_csr)


def to_sparse_csc(self: Tensor, dense_dim: int | None = None) -> SparseCompressed:
    """The matrix by columns."""
    return _compressed(self, sparse_csc)


def sparse_mask(self: Tensor, mask: SparseTensor) -> SparseTensor:
    """The elements of a dense tensor at the positions of a sparse one.

    Raises:
        RuntimeError: the shapes differ.
    """
    if tuple(self.shape) != tuple(mask.shape):
        raise RuntimeError(
            f"sparse_mask(): operands have incompatible sizes; self has size {list(self.shape)} but mask has size {list(mask.shape)}"
        )
    if isinstance(mask, SparseCompressed):
        return mask._with(self.to_dense()[tuple(mask.coordinates()._places)])
    mask = mask.coalesce()
    return mask._with(self.to_dense()[tuple(mask._places)])


def transposed(self: SparseCoo, dim0: int, dim1: int) -> SparseCoo:
    """A list of positions with two dimensions exchanged: both sparse ones, or both dense ones."""
    sparse, dims = self.sparse_dim(), self.dim()
    dim0, dim1 = sorted(dim + dims if dim < 0 else dim for dim in (dim0, dim1))
    if dim0 == dim1:
        return self
    shape = list(self.shape)
    shape[dim0], shape[dim1] = shape[dim1], shape[dim0]
    if dim1 < sparse:
        rows = list(range(sparse))
        rows[dim0], rows[dim1] = rows[dim1], rows[dim0]
        return SparseCoo.of(self._places[rows], self._elements, shape)
    if dim0 >= sparse:
        return SparseCoo.of(self._places, self._elements.transpose(dim0 - sparse + 1, dim1 - sparse + 1), shape, self._coalesced)
    raise RuntimeError("transpose: a sparse and a dense dimension cannot be exchanged")
