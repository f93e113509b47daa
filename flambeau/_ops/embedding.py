"""Rows of a table: embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau._ops.gathering import index_select
from flambeau._ops.operator import Operator
from flambeau._ops.positions import check_range, unravel
from flambeau._ops.registry import FUNCTIONS
from flambeau._ops.slice_writing import index_add
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.errors import IndexOutOfBoundsError
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


def _infer_embedding(operands: tuple, statics: tuple) -> Layout:
    weight, indices = operands
    if weight.ndim != 2:
        raise RuntimeError(f"'weight' must be 2-D, but it has shape {list(weight.shape)}")
    if indices.dtype not in (dt.int64, dt.int32):
        raise RuntimeError(
            f"Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got {indices.dtype!r} instead (while checking arguments for embedding)"
        )
    if weight.shape[0] == 0 and indices.numel:
        raise IndexOutOfBoundsError(
            f"embedding: indices of shape {list(indices.shape)} are out of range for a table of 0 rows (num_embeddings), whatever their values "
            "(index out of range in self)"
        )
    return lay.contiguous((*indices.shape, weight.shape[1]), weight.dtype)


def _lower_embedding(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    weight, indices = operands[0].plain, operands[1]
    rows = weight.shape[0]

    def make(position: int, value: int) -> Exception:
        return IndexOutOfBoundsError(
            f"embedding: index {value} is out of range for a table of {rows} rows (num_embeddings), at position {unravel(position, indices.shape)} (index out of range in self)"
        )

    indices = check_range(graph, indices, rows, make)
    shape = layouts[0].shape
    layout = lay.layout(shape, (*(0,) * (len(shape) - 1), weight.layout.strides[1]), weight.layout.offset, weight.dtype)
    return graph.gather(weight, layout, [indices.unsqueeze(indices.ndim).expand(shape)], [weight.layout.strides[0]])


EMBEDDING = Operator(
    "embedding",
    ("weight", "indices"),
    ("padding_idx", "scale_grad_by_freq"),
    infer=_infer_embedding,
    lower=_lower_embedding,
    keeps_origin=True,
)


def _embedding_gradient(grad: Tensor, weight_layout: Layout, indices: Tensor, padding_idx: int, scale_grad_by_freq: bool) -> Tensor:
    flat = indices.reshape(-1)
    rows = grad.reshape(flat.layout.numel, grad.layout.shape[-1])
    zeros = FUNCTIONS.zeros(lay.contiguous(weight_layout.shape, grad.layout.dtype))
    if scale_grad_by_freq:
        counts = index_add(
            FUNCTIONS.zeros(lay.contiguous((weight_layout.shape[0],), grad.layout.dtype)),
            0,
            flat,
            FUNCTIONS.ones(lay.contiguous(flat.layout.shape, grad.layout.dtype)),
        )
        rows = rows / index_select(counts, 0, flat).unsqueeze(1)
    if padding_idx >= 0:
        rows = FUNCTIONS.where((flat == padding_idx).unsqueeze(1), 0.0, rows)
    return index_add(zeros, 0, flat, rows)


EMBEDDING.gradient(weight=_embedding_gradient)


class _SparseEmbedding(Operator):
    """An embedding whose gradient is a sparse tensor, which no recorded pass can give again."""


SPARSE_EMBEDDING = _SparseEmbedding(
    "sparse_embedding",
    ("weight", "indices"),
    ("padding_idx", "scale_grad_by_freq"),
    infer=_infer_embedding,
    lower=_lower_embedding,
    keeps_origin=True,
    grad_name="EmbeddingBackward0",
)


def _sparse_gradient(grad: Tensor, weight_layout: Layout, indices: Tensor, padding_idx: int) -> Tensor:
    flat = indices.reshape(-1)
    rows = grad.reshape(flat.layout.numel, grad.layout.shape[-1])
    if padding_idx >= 0:
        kept = (flat != padding_idx).nonzero().squeeze(1)
        flat, rows = index_select(flat, 0, kept), index_select(rows, 0, kept)
    return FUNCTIONS.sparse().SparseCoo.of(flat.to(dt.int64).unsqueeze(0), rows, weight_layout.shape)


SPARSE_EMBEDDING.gradient(weight=_sparse_gradient)


def embedding(weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    """The rows of ``weight`` at ``indices``; rows at ``padding_idx`` get no gradient, and with ``sparse`` it is a sparse tensor.

    Shapes: weight ``(V, D)``, indices ``(*)``, result ``(*, D)``.

    Raises:
        IndexError: an index is out of range (at the flush).
    """
    if sparse and scale_grad_by_freq:
        raise RuntimeError("embedding: a sparse gradient cannot be scaled by the frequency of the indices (scale_grad_by_freq)")
    return (SPARSE_EMBEDDING if sparse else EMBEDDING)(weight, indices, statics=(padding_idx, scale_grad_by_freq))


PUBLIC = ("embedding",)
METHODS: tuple[str, ...] = ()
