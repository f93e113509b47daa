"""Products of sparse matrices: with dense matrices, with each other, and a dense product at given positions.

A matrix of n values times a dense one with k columns takes n·k multiplications: the rows of the dense one that its columns name are gathered,
scaled by the values, and added into the rows of the result. Both gradients follow from these operators.
"""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.sparse.creation import to_sparse_coo, to_sparse_csr, transposed
from flambeau.sparse.tensor import SparseCompressed, SparseCoo, SparseTensor, added


def matmul(a: Tensor, b: Tensor) -> Any:
    """``a @ b``, at least one of them sparse: matrices, batches of matrices, or a matrix and a vector."""
    if a.dim() == 2 and b.dim() == 2:
        return mm(a, b)
    if a.dim() == 2 and b.dim() == 1:
        return mv(a, b)
    if a.dim() == 1 and b.dim() == 2:
        return mv(b.t(), a)
    if a.dim() == 3 and b.dim() == 3:
        return bmm(a, b)
    raise RuntimeError(f"matmul of a sparse tensor: expected matrices, got {a.dim()} and {b.dim()} dimensions")


def mm(a: Tensor, b: Tensor, reduce: str = "sum") -> Any:
    """The product of two matrices, at least one of them sparse; of two sparse ones it is sparse.

    Args:
        a: (n, m), sparse or dense
        b: (m, k), sparse or dense
        reduce: what becomes of the products of one element of the result: ``"sum"``, or of a sparse a by rows also ``"mean"``, ``"amax"``,
            ``"amin"`` (over the elements that are specified)

    Raises:
        RuntimeError: sizes or dtypes do not fit.
    """
    _check(a, b)
    if isinstance(a, SparseTensor) and isinstance(b, SparseTensor):
        product = _sparse_by_sparse(to_sparse_coo(a), b)
        return to_sparse_csr(product) if isinstance(a, SparseCompressed) and isinstance(b, SparseCompressed) else product
    if not isinstance(a, SparseTensor):
        return mm(b.t(), a.t()).t() if isinstance(b, SparseTensor) else flambeau.mm(a, b)
    listed = to_sparse_coo(a)
    rows, columns = listed._places
    products = listed._elements.unsqueeze(1) * b.index_select(0, columns)
    if reduce == "sum":
        return added(rows, products, a.shape[0])
    if reduce not in ("mean", "amax", "amin"):
        raise RuntimeError(f"reduce argument must be sum, mean, amax or amin, got {reduce}")
    zeros = flambeau.zeros(a.shape[0], b.shape[1], dtype=products.dtype)
    return zeros.scatter_reduce(0, rows.unsqueeze(1).expand_as(products), products, reduce, include_self=False)


spmm = dsmm = mm  # PyTorch's older names


def mv(a: Tensor, b: Tensor) -> Tensor:
    """A sparse matrix times a dense vector."""
    if a.dim() != 2 or b.dim() != 1 or a.shape[1] != b.shape[0]:
        raise RuntimeError(f"mv: expected a matrix and a vector that fit, got sizes {list(a.shape)} and {list(b.shape)}")
    return mm(a, b.unsqueeze(1)).squeeze(1)


def bmm(a: Tensor, b: Tensor) -> Tensor:
    """The products of a sparse batch of matrices with a dense one."""
    if not isinstance(a, SparseCoo) or isinstance(b, SparseTensor):
        raise NotImplementedError("bmm of sparse tensors: the first batch must be sparse (torch.sparse_coo) and the second dense")
    if a.dim() != 3 or b.dim() != 3 or a.shape[0] != b.shape[0] or a.shape[2] != b.shape[1]:
        raise RuntimeError(f"bmm: expected batches of matrices that fit, got sizes {list(a.shape)} and {list(b.shape)}")
    batch, row, column = a._places
    (count, n, m), k = a.shape, b.shape[2]
    products = a._elements.unsqueeze(1) * b.reshape(count * m, k).index_select(0, batch * m + column)
    return added(batch * n + row, products, count * n).reshape(count, n, k)


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """``beta * input + alpha * (mat1 @ mat2)``."""
    product = mm(mat1, mat2)
    return (product if alpha == 1 else product * alpha) + (input if beta == 1 else input * beta)


def hspmm(mat1: Tensor, mat2: Tensor) -> SparseCoo:
    """``mat1 @ mat2`` of a sparse and a dense matrix, as a tensor with sparse rows."""
    return to_sparse_coo(mm(mat1, mat2), 1)


def smm(input: Tensor, mat: Tensor) -> SparseCoo:
    """``input @ mat`` of a sparse and a dense matrix, as a sparse matrix."""
    _require_sparse("smm", input)
    return to_sparse_coo(mm(input, mat), 2)


def sspaddmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """``beta * input + alpha * (mat1 @ mat2)`` of a sparse ``input`` and ``mat1`` and a dense ``mat2``, as a sparse matrix."""
    _require_sparse("sspaddmm", input, mat1)
    return input * beta + smm(mat1, mat2) * alpha


def sampled_addmm(input: SparseTensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1.0, alpha: Any = 1.0, out: Any = None) -> Any:
    """``beta * input + alpha * (mat1 @ mat2)`` at the positions of the sparse ``input`` only.

    Raises:
        RuntimeError: sizes do not fit, or ``input`` is not sparse by rows.
    """
    if not isinstance(input, SparseCompressed) or not input.is_sparse_csr:
        raise RuntimeError(f"sampled_addmm: Expected self to be a sparse_csr tensor, got {input.layout!r}")
    if mat1.dim() != 2 or mat2.dim() != 2 or mat1.shape[1] != mat2.shape[0] or (mat1.shape[0], mat2.shape[1]) != tuple(input.shape):
        raise RuntimeError(
            f"sampled_addmm: {list(mat1.shape)} and {list(mat2.shape)} cannot be multiplied for a result of size {list(input.shape)}"
        )
    rows, columns = input.coordinates()._places
    products = (mat1.index_select(0, rows) * mat2.t().index_select(0, columns)).sum(1)
    result = input._with(beta * input._elements + alpha * products)
    if out is None:
        return result
    if not isinstance(out, SparseCompressed) or out.dtype is not result.dtype:
        raise RuntimeError(
            f"sampled_addmm: Expected out to be a sparse_csr tensor of dtype {result.dtype}, got {out.layout!r} of {out.dtype}"
        )
    out.__dict__.update(result.__dict__)
    return out


def _require_sparse(name: str, *matrices: Tensor) -> None:
    for each in matrices:
        if not isinstance(each, SparseTensor):
            raise RuntimeError(
                f"{name}(...) can only be called on sparse tensors, and got one of shape {list(each.shape)} that is {each.layout!r}"
            )


def _check(a: Tensor, b: Tensor) -> None:
    if a.dim() != 2 or b.dim() != 2:
        raise RuntimeError(f"mm: expected two matrices, got {a.dim()} and {b.dim()} dimensions")
    if a.shape[1] != b.shape[0]:
        raise RuntimeError(
            f"mm: sizes {list(a.shape)} and {list(b.shape)} cannot be multiplied: Expected dim 0 size {a.shape[1]}, got {b.shape[0]}"
        )
    if a.dtype is not b.dtype:
        raise RuntimeError(f"mm: expected both matrices to have the same dtype, got {a.dtype} and {b.dtype}")
    for each in (a, b):
        if isinstance(each, SparseCoo) and each.dense_dim():
            raise RuntimeError("mm: a sparse matrix must have two sparse dimensions")


def _sparse_by_sparse(a: SparseCoo, b: Tensor) -> SparseCoo:
    """Each value of ``a`` meets the values of one row of ``b``: all pairs are written down, and those of one position added up."""
    by_rows = to_sparse_csr(b)
    rows, middle = a._places
    starts = by_rows._starts.long()
    counts = (starts[1:] - starts[:-1])[middle]
    pair = flambeau.repeat_interleave(flambeau.arange(counts.numel()), counts)
    before = counts.cumsum(0) - counts
    there = starts[middle][pair] + flambeau.arange(pair.numel()) - before[pair]
    places = flambeau.stack([rows[pair], by_rows._plain.long()[there]])
    return SparseCoo.of(places, a._elements[pair] * by_rows._elements[there], (a.shape[0], b.shape[1])).coalesce()


def transpose(self: Tensor, dim0: int, dim1: int) -> Any:
    """Two dimensions exchanged; a matrix by rows becomes one by columns, with the same parts."""
    if isinstance(self, SparseCompressed):
        if {dim0 % 2, dim1 % 2} != {0, 1}:
            return self
        kind = flambeau.sparse_csc if self.is_sparse_csr else flambeau.sparse_csr
        return SparseCompressed.of(kind, self._starts, self._plain, self._elements, self.shape[::-1])
    assert isinstance(self, SparseCoo)
    return transposed(self, dim0, dim1)
