"""Reading at computed positions: gather, index_select, take_along_dim."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau._ops.arguments import apart, into
from flambeau._ops.operator import Operator
from flambeau._ops.positions import (
    check_index,
    check_range,
    check_room,
    compact,
    out_of_bounds,
    places_along,
    require_tensor,
    spread,
    vector_of,
)
from flambeau._ops.registry import FUNCTIONS
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


def _infer_gather(operands: tuple, statics: tuple) -> Layout:
    source, index = operands
    check_index(statics[1], source, index, statics[0], None)
    return lay.contiguous(index.shape, source.dtype)


def _lower_gather(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    source, index = operands[0].plain, operands[1]
    dim, name = statics
    shape = index.shape
    if not index.numel:
        return graph.constant(0, source.dtype, shape)
    size = source.shape[dim] if source.ndim else 1
    index = compact(index)
    if name == "index_select":
        axes = (dim,) if shape else ()
        make = out_of_bounds(f"{name}()", dim, size, index.shape[dim : dim + 1], within=index.shape, axes=axes)
    else:
        make = out_of_bounds(f"{name}()", dim, size, shape, within=index.shape, axes=range(len(shape)))
    index = check_range(graph, index, size, make).expand(shape)
    layout, stride = places_along(source.layout, shape, dim)
    return graph.gather(source, layout, [index], [stride], sizes=[size])


GATHER = Operator("gather", ("input", "index"), ("dim", "name"), infer=_infer_gather, lower=_lower_gather, keeps_origin=True)


def scattered_back(grad: Tensor, input_layout: Layout, index: Tensor, dim: int) -> Tensor:
    """Each gradient added to the place that its element was read at."""
    from flambeau._ops.scattering import scatter_add  # whose own gradient gathers

    return scatter_add(FUNCTIONS.zeros(lay.contiguous(input_layout.shape, grad.layout.dtype)), dim, index, grad)


GATHER.gradient(input=scattered_back)


def _infer_select(operands: tuple, statics: tuple) -> Layout:
    (source, index), (dim,) = operands, statics
    result = lay.contiguous((*source.shape[:dim], index.numel, *source.shape[dim + 1 :]), source.dtype)
    if result.numel:
        check_room("index_select()", source, dim, index)
    return result


def _lower_select(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    (source, index), (dim,), shape = operands, statics, layouts[0].shape
    if not layouts[0].numel:
        return graph.constant(0, source.dtype, shape)
    source = source.plain
    size, row = source.shape[dim], tuple(extent if axis == dim else 1 for axis, extent in enumerate(shape))
    index = check_range(graph, index, size, out_of_bounds("index_select()", dim, size, index.shape))
    layout, stride = places_along(source.layout, shape, dim)
    return graph.gather(source, layout, [index.reshape(row).expand(shape)], [stride], sizes=[size])


INDEX_SELECT = Operator("index_select", ("input", "index"), ("dim",), infer=_infer_select, lower=_lower_select, keeps_origin=True)
"""Of a tensor that has dimensions. (A gather needs an index as large as its result, a tensor of its own for each call.)"""
INDEX_SELECT.gradient(
    input=lambda grad, input_layout, index, dim: scattered_back(grad, input_layout, spread(index, dim, grad.layout.shape), dim)
)


def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False, out: Tensor | None = None) -> Tensor:
    """``out[i][j][k] = input[index[i][j][k]][j][k]`` for ``dim=0``, and alike for the others. Nothing is broadcast.

    Raises:
        RuntimeError: the index has another number of dimensions, is too large, or (at the flush) out of bounds.
    """
    require_tensor("gather", "index", index)
    axis = lay.wrap_axis(dim, input.layout.ndim)
    if out is not None and out.layout.dtype is not input.layout.dtype:
        raise RuntimeError(f"gather(): Expected out tensor to have dtype {input.layout.dtype!r}, but got {out.layout.dtype!r} instead")
    if input.layout.ndim == 0 and index.layout.ndim:
        input = input.reshape(1)
    apart(out, input, index, name="gather", shape=index.layout.shape)
    return into(out, GATHER(input, index, statics=(axis, "gather")))


def index_select(input: Tensor, dim: int, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The slices along ``dim`` at the positions in ``index`` (a vector)."""
    layout = input.layout
    axis = lay.wrap_axis(dim, layout.ndim)
    index = vector_of("index_select", index)
    if out is None and layout.shape:
        return INDEX_SELECT(input, index, statics=(axis,))
    places = spread(index, axis, layout.shape)
    if out is None:
        return GATHER(input, places, statics=(axis, "index_select"))
    if out.layout.dtype is not layout.dtype:
        raise RuntimeError(
            f"index_select(): self and result must have the same scalar type, but got {layout.dtype!r} and {out.layout.dtype!r}"
        )
    apart(out, input, index, name="index_select")
    return into(out, GATHER(input, places, statics=(axis, "index_select")))


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None, *, out: Tensor | None = None) -> Tensor:
    """As ``gather``, but the other dimensions are broadcast; without ``dim``, of the flattened tensor."""
    if dim is None:
        return into(out, gather(input.reshape(-1), 0, indices.reshape(-1)))
    axis = lay.wrap_axis(dim, input.layout.ndim)
    shared = lay.broadcast_shapes(
        (*input.layout.shape[:axis], 1, *input.layout.shape[axis + 1 :]),
        (*indices.layout.shape[:axis], 1, *indices.layout.shape[axis + 1 :]),
    )
    indices = FUNCTIONS.where(indices < 0, indices + input.layout.shape[axis], indices)
    source = input.expand((*shared[:axis], input.layout.shape[axis], *shared[axis + 1 :]))
    return into(out, gather(source, axis, indices.expand((*shared[:axis], indices.layout.shape[axis], *shared[axis + 1 :]))))


PUBLIC = ("gather", "index_select", "take_along_dim")
METHODS = PUBLIC
