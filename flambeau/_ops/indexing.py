"""Indexing: ``x[...]`` and ``x[...] = y`` with numbers, slices, None, Ellipsis, and tensors of positions or of conditions.

Numbers, slices, None and Ellipsis make one view. Tensors gather: their dimensions are broadcast together and take the place of the dimensions
they index, where these are neighbours, or come first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops import creation, views
from flambeau._ops.arguments import apart, into, number, number_for, number_range, whole
from flambeau._ops.conditions import insert_few, nonzero, select_few
from flambeau._ops.copying import FILL
from flambeau._ops.operator import Operator
from flambeau._ops.origin import warn
from flambeau._ops.positions import check_range, check_room, compact, out_of_bounds, require_tensor
from flambeau._ops.registry import FUNCTIONS
from flambeau._ops.views import REPLACE, ViewOperator, make_view
from flambeau._ops.writing import write_number
from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.device import CPU, META
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

_FULL = slice(None)
_ARRAYS = (list, tuple, np.ndarray)
_REMEMBERED = 4096
"""So many ways to look at a layout are remembered: a loop over a million rows must not keep them all."""

# -- basic indexing: one view ----------------------------------------------------------------------------------------


def _slice_gradient(grad: Tensor, source: Layout, statics: tuple) -> Tensor:
    """The gradient, at its place in zeros of the source's shape."""
    compact = lay.contiguous(source.shape, grad.layout.dtype)
    shown = _basic(compact, statics)[0]
    return REPLACE(FUNCTIONS.zeros(compact), grad, statics=(shown,))


INDEX_VIEW = ViewOperator("slice", _slice_gradient)


def _basic(source: Layout, items: Sequence[Any]) -> tuple[Layout, list[int]]:
    """The view of ``source`` through items that are ints, slices, None or (left alone) tensors; and the axes of the tensors' dimensions.

    An Ellipsis makes a dimension of size 1 for the tensor behind it.
    """
    shape, strides, offset = list(source.shape), list(source.strides), source.offset
    axis = 0
    tensors: list[int] = []
    for item in items:
        if item.__class__ is int:
            size = shape[axis]
            if not -size <= item < size:
                raise IndexError(f"index {item} is out of bounds for dimension {axis} with size {size}")
            offset += (item + size if item < 0 else item) * strides[axis]
            del shape[axis], strides[axis]
        elif item.__class__ is slice:
            if item is not _FULL:
                start, stop, step = item.indices(shape[axis]) if item.step is None or item.step > 0 else _bad_step(item)
                offset += start * strides[axis] if shape[axis] else 0
                shape[axis] = max(0, -(-(stop - start) // step))
                strides[axis] *= step
            axis += 1
        elif item is None or item is Ellipsis:
            strides.insert(axis, shape[axis] * strides[axis] if axis < len(shape) else 1)
            shape.insert(axis, 1)
            axis += item is None
        else:
            tensors.append(axis)
            axis += 1
    return lay.layout(tuple(shape), tuple(strides), offset, source.dtype), tensors


def _bad_step(item: slice) -> Any:
    raise ValueError(f"step must be greater than zero, but got {item.step} (negative steps would need a copy: use flip())")


def _normal(self: Tensor, index: Any, values: Any = None) -> list[Any]:
    """The index as a list that covers every dimension: ints, slices, None and tensors (int64, or bool made into positions).

    Args:
        values: what is to be written there
    """
    if _is_meant_as_tuple(index):
        warn(
            "Using a non-tuple sequence for multidimensional indexing is deprecated: x[[[0, 1], [1, 2]]] is taken as x[[0, 1], [1, 2]]. Write "
            "x[tuple(index)] for that, or x[torch.tensor(index)] to index the first dimension alone."
        )
        index = tuple(index)
    raw = list(index) if index.__class__ is tuple else [index]
    items: list[Any] = []
    covered = 0
    ellipsis = -1
    for item in raw:
        if item.__class__ is bool:
            item = creation.tensor(item)
        elif isinstance(item, (np.integer,)):
            item = int(item)
        elif isinstance(item, (list, tuple, np.ndarray, range)):
            item = creation.tensor(list(item) if isinstance(item, range) else item)
            kind = item.layout.dtype
            if (kind.category == dt.INTEGER and kind is not dt.uint8) or (kind.category >= dt.FLOAT and not item.layout.numel):
                item = item.to(dt.int64)
        elif isinstance(item, slice):
            item = slice(*[None if bound is None else whole(bound, "slice") for bound in (item.start, item.stop, item.step)])
        if item is Ellipsis:
            if ellipsis >= 0:
                raise IndexError("an index can only have a single ellipsis ('...')")
            ellipsis = len(items)
            continue
        if isinstance(item, TensorBase):
            if item.layout.dtype in (dt.bool, dt.uint8):
                if item.layout.dtype is dt.uint8:
                    warn("indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead.")
                covered += item.layout.ndim
                items.append(item)
                continue
            if item.layout.dtype.category > dt.INTEGER or (item.layout.ndim and item.layout.dtype not in (dt.int64, dt.int32)):
                raise IndexError(f"tensors used as indices must be long, int, byte or bool tensors, not {item.layout.dtype!r}")
            if (
                item.layout.ndim == 0 and not item.memory.pending and item.memory.device is CPU
            ):  # a pending one stays a tensor, so that the program stays in one piece
                item = int(item.item())
        elif item is not None and item.__class__ not in (int, slice):
            if not hasattr(item, "__index__"):
                raise IndexError(
                    f"only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got {item.__class__.__name__})"
                )
            item = item.__index__()
        if item is not None:
            covered += 1
        items.append(item)
    ndim = self.layout.ndim
    if covered > ndim:
        raise IndexError(f"too many indices for tensor of dimension {ndim}")
    at = len(items) if ellipsis < 0 else ellipsis
    items[at:at] = [_FULL] * (ndim - covered)
    return _expand_masks(self, items, values)


def _is_meant_as_tuple(index: Any) -> bool:
    """Whether a list is what NumPy once took for a tuple: a short one that holds sequences, slices, tensors, None or an Ellipsis."""
    if index.__class__ is not list or len(index) >= _LONGEST_OF_TUPLES:
        return False
    return any(item is None or item is Ellipsis or isinstance(item, (list, tuple, slice, TensorBase)) for item in index)


_LONGEST_OF_TUPLES = 32


def _expand_masks(self: Tensor, items: list[Any], values: Any) -> list[Any]:
    """Conditions as the positions where they hold."""
    result: list[Any] = []
    axis = 0
    for item in items:
        if isinstance(item, TensorBase) and item.layout.dtype in (dt.bool, dt.uint8):
            shape = item.layout.shape
            if not shape:
                result.append(Ellipsis)
                result.append(item.reshape(1).nonzero()[:, 0])
                continue
            here = self.layout.shape[axis : axis + len(shape)]
            for offset, (size, wanted) in enumerate(zip(shape, here, strict=True)):
                if size != wanted:
                    raise IndexError(
                        f"The shape of the mask {list(shape)} at index {offset} does not match the shape of the indexed tensor {list(self.layout.shape)} at index {axis + offset}"
                    )
            axis += len(shape)
            if item.memory.device is not CPU and values is not None:
                result.extend(_somewhere(item, values, self.layout.ndim - axis))
            else:
                result.extend(item.nonzero(as_tuple=True))
        else:
            result.append(item)
            axis += item is not None
    return result


def _somewhere(mask: Tensor, values: Any, behind: int) -> list[Tensor]:
    """Positions on the meta device where a condition holds: as many as values are to be written, with ``behind`` dimensions behind the positions."""
    shape = values.layout.shape if isinstance(values, TensorBase) else ()
    count = shape[-1 - behind] if len(shape) > behind else 1
    return [mask.new_empty(count, dtype=dt.int64, device=META) for _ in mask.layout.shape]


def _view(self: Tensor, items: list[Any]) -> tuple[Tensor, list[int]]:
    """The basic part of an index, as a view, and the axes that tensors index."""
    layout, axes = _basic(self.layout, items)
    if layout is self.layout and axes:
        return self, axes
    frozen = tuple(item if not isinstance(item, TensorBase) else _FULL for item in items)
    return make_view(self, layout, INDEX_VIEW, *frozen), axes


def _key_of(index: Any) -> tuple | None:
    """An index as something that can be remembered: if it is made of ints, slices of ints, None and Ellipsis."""
    key: list[Any] = []
    for item in index if index.__class__ is tuple else (index,):
        if item.__class__ is slice:
            bounds = (item.start, item.stop, item.step)
            for bound in bounds:
                if bound is not None and bound.__class__ is not int:
                    return None
            key.append(bounds)
        elif item.__class__ is int or item is None or item is Ellipsis:
            key.append(item)
        else:
            return None
    return tuple(key)


def _shown(self: Tensor, index: Any) -> Tensor | None:
    """``self[index]`` where that is a view and nothing in the index is out of the ordinary; how it lies is remembered in the layout."""
    key = _key_of(index)
    if key is None:
        return None
    memo = self.layout.memo
    found = memo.get(("index", key))
    if found is None:
        items = _normal(self, index)
        found = (_basic(self.layout, items)[0], tuple(items))
        if len(memo) < _REMEMBERED:
            memo["index", key] = found
    return views.view_of(self, found[0], INDEX_VIEW, found[1])


def getitem(self: Tensor, index: Any) -> Tensor:
    """``self[index]``."""
    if index.__class__ is int and not self.layout.ndim:
        raise IndexError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a 0-dim tensor to a number"
        )
    if _is_positions(self, index):
        return _gather(self, [0], [index])
    shown = _shown(self, index)
    if shown is not None:
        return shown
    if _is_mask(self, index):
        return _where(self, index)
    items = _normal(self, index)
    view, axes = _view(self, items)
    if not axes:
        return view
    return _gather(view, axes, [item for item in items if isinstance(item, TensorBase)])


def setitem(self: Tensor, index: Any, value: Any) -> None:
    """``self[index] = value``."""
    if _is_mask(self, index) and (not value.layout.ndim if isinstance(value, TensorBase) else not isinstance(value, _ARRAYS)):
        _fill_where(self, index, value)
        return
    axes: list[int] = []
    items: list[Any] = []
    if _is_positions(self, index):
        view, axes, items = self, [0], [index]
    elif (shown := _shown(self, index)) is not None:
        view = shown
    else:
        items = _normal(self, index, value)
        view, axes = _view(self, items)
    if not axes:
        _assign(view, value)
        return
    indices = [item for item in items if isinstance(item, TensorBase)]
    if isinstance(value, _ARRAYS):
        value = creation.tensor(value)
    elif not isinstance(value, TensorBase):
        value = _assigned(self.layout.dtype, value)
        if not isinstance(value, TensorBase):
            value = FUNCTIONS.full(lay.contiguous((), self.layout.dtype), value)
    _put(view, axes, indices, value, accumulate=False)


def _assign(view: Tensor, value: Any) -> None:
    """Overwrite a view by a number, a tensor or an array; leading dimensions of size 1 are left out."""
    if not isinstance(value, TensorBase):
        if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
            raise TypeError(f"can't assign a {type(value).__name__} to part of a tensor; make one of it: x[...] = torch.tensor(value)")
        value = creation.tensor(value) if isinstance(value, np.ndarray) else _assigned(view.layout.dtype, value)
        if isinstance(value, TensorBase):
            view.fill_(value)
        elif not write_number(view, value):
            FILL.inplace(view, view, value)
        return
    shape = value.layout.shape
    while len(shape) > view.layout.ndim and shape[0] == 1:
        value, shape = value.reshape(shape[1:]), shape[1:]
    view.copy_(value)


def _is_positions(self: Tensor, index: Any) -> bool:
    """Whether an index is one tensor of positions in the first dimension."""
    return isinstance(index, TensorBase) and index.layout.dtype is dt.int64 and index.layout.ndim > 0 and self.layout.ndim > 0


def _is_mask(self: Tensor, index: Any) -> bool:
    """Whether an index is one condition for each of the first dimensions' places."""
    if not isinstance(index, TensorBase) or index.layout.dtype is not dt.bool or not index.layout.ndim:
        return False
    return index.layout.shape == self.layout.shape[: index.layout.ndim]


def _where(self: Tensor, mask: Tensor) -> Tensor:
    """``self[mask]`` for a condition of the first dimensions, whose places are numbered as one dimension where the tensor lies so."""
    few = select_few(self, mask)
    if few is not None:
        return few
    count = mask.layout.ndim
    if self.layout.contiguous and self.layout.numel:
        flat = nonzero(mask.reshape(-1), as_tuple=True)[0]
        return _gather(self.reshape((-1, *self.layout.shape[count:])), [0], [flat])
    return _gather(self, list(range(count)), list(nonzero(mask, as_tuple=True)))


def _fill_where(self: Tensor, mask: Tensor, value: Any) -> None:
    """``self[mask] = value`` of one value: nobody has to know where the condition holds, so that nothing is computed yet."""
    value = value.to(self.layout.dtype) if isinstance(value, TensorBase) else _assigned(self.layout.dtype, value)
    more = self.layout.ndim - mask.layout.ndim
    MASKED_FILL.inplace(self, self, mask.reshape((*mask.layout.shape, *(1,) * more)) if more else mask, value, statics=(True,))


def _assigned(dtype: dt.dtype, value: Any) -> Any:
    """What ``x[...] = value`` writes. In half precision, what is out of range is rounded, mostly to infinity, as in PyTorch, where ``fill_`` raises."""
    value = number(value)
    if dtype in (dt.float16, dt.bfloat16) and value.__class__ is not complex and abs(value) > number_range(dtype)[1]:
        return creation.tensor(value)
    return number_for(dtype, value)


# -- tensors of positions --------------------------------------------------------------------------------------------


def _arrangement(source: tuple[int, ...], axes: tuple[int, ...], positions: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """The shape of ``x[tensors]``, and where the tensors' own dimensions stand in it."""
    neighbours = all(b == a + 1 for a, b in zip(axes, axes[1:], strict=False))
    at = axes[0] if neighbours else 0
    rest = [size for axis, size in enumerate(source) if axis not in axes]
    return (*rest[:at], *positions, *rest[at:]), at


def _infer_index(operands: tuple, statics: tuple) -> Layout:
    source, *indices = operands
    try:
        positions = lay.broadcast_shapes(*[index.shape for index in indices])
    except RuntimeError:
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {', '.join(str(list(index.shape)) for index in indices)}"
        ) from None
    if 0 not in positions:
        for axis, index in zip(statics[0], indices, strict=True):
            check_room("index", source, axis, index)
    shape, at = _arrangement(source.shape, statics[0], positions)
    rest = [stride for axis, stride in enumerate(source.strides) if axis not in statics[0]]
    moves = [(*rest[:at], *(0,) * len(positions), *rest[at:])]
    end = at + len(positions)
    for index in indices:  # each lies along its own dimensions, broadcast along the others
        own = [0 if size == 1 else stride for size, stride in zip(index.shape, index.strides, strict=True)]
        moves.append((*(0,) * (end - index.ndim), *own, *(0,) * (len(shape) - end)))
    return lay.elementwise(shape, source.dtype, tuple(lay.layout(shape, each, 0, source.dtype) for each in moves))


class _Places:
    """How elements at tensors of positions are addressed: a layout over the result's shape, and the strides of the positions."""

    def __init__(self, source: Layout, indices: list[Node], axes: tuple[int, ...]) -> None:
        self.positions = lay.broadcast_shapes(*[index.shape for index in indices])
        self.shape, self.at = _arrangement(source.shape, axes, self.positions)
        rest = [stride for axis, stride in enumerate(source.strides) if axis not in axes]
        strides = (*rest[: self.at], *(0,) * len(self.positions), *rest[self.at :])
        self.layout = lay.layout(self.shape, strides, source.offset, source.dtype)
        self.strides = [source.strides[axis] for axis in axes]
        self.sizes = [source.shape[axis] for axis in axes]

    def spread(self, index: Node) -> Node:
        """A tensor of positions as large as the result."""
        index = index.expand(self.positions)
        for _ in range(len(self.shape) - self.at - len(self.positions)):
            index = index.unsqueeze(index.ndim)
        return index.expand(self.shape)

    def axes_of(self, index: Node) -> range:
        """The axes of the result that a tensor of positions has."""
        end = self.at + len(self.positions)
        return range(end - index.ndim, end)


def _lower_index(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    source = operands[0].plain
    if not layouts[0].numel:
        return graph.constant(0, source.dtype, layouts[0].shape)
    places = _Places(source.layout, operands[1:], statics[0])
    found = []
    for index, size, axis in zip(operands[1:], places.sizes, statics[0], strict=True):
        cut = compact(index)
        make = out_of_bounds("index", axis, size, index.shape, within=cut.shape, axes=range(index.ndim))
        found.append(places.spread(check_range(graph, cut, size, make, wraps=True).expand(index.shape)))
    return graph.gather(source, places.layout, found, places.strides)


INDEX = Operator("index", ("input", "indices..."), ("axes",), infer=_infer_index, lower=_lower_index, keeps_origin=True)


def _infer_put(operands: tuple, statics: tuple) -> Layout:
    target, value, *indices = operands
    shape = _infer_index((target, *indices), (statics[0],)).shape
    if value.dtype is not target.dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {target.dtype!r} for the destination and {value.dtype!r} for the source."
        )
    try:
        if lay.broadcast_shapes(shape, value.shape) != shape:
            raise RuntimeError
    except RuntimeError:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to indexing result of shape {list(shape)}"
        ) from None
    return lay.like(target, target.dtype)


def _lower_put(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    target, value, *indices = operands
    dtype = target.dtype.compute if statics[1] else target.dtype  # half precision is rounded once, at the end
    base = graph.copy(graph.cast(target, dtype), layouts[0].strides)
    shape = _infer_index((target.layout, *[index.layout for index in indices]), (statics[0],)).shape
    if 0 in shape:
        return graph.cast(base, target.dtype)
    places = _Places(base.layout, indices, statics[0])
    errors = [
        out_of_bounds("index_put_", axis, size, index.shape, within=shape, axes=places.axes_of(index))
        for index, size, axis in zip(indices, places.sizes, statics[0], strict=True)
    ]
    found = [places.spread(index if index.dtype is dt.int32 else graph.cast(index, dt.int64)) for index in indices]
    result = graph.scatter(
        base, places.layout, found, places.strides, graph.cast(value, dtype).expand(shape), "sum" if statics[1] else "set",
        sizes=places.sizes, wraps=True, errors=errors,
    )  # fmt: skip
    return graph.cast(result, target.dtype)


INDEX_PUT = Operator(
    "index_put", ("input", "values", "indices..."), ("axes", "accumulate"), infer=_infer_put, lower=_lower_put, keeps_origin=True
)


def _index_gradient(grad: Tensor, input_layout: Layout, indices: list[Tensor], axes: tuple[int, ...]) -> Tensor:
    return INDEX_PUT(FUNCTIONS.zeros(lay.contiguous(input_layout.shape, grad.layout.dtype)), grad, *indices, statics=(axes, True))


INDEX.gradient(input=_index_gradient)


def _put_input(grad: Tensor, values_layout: Layout, indices: list[Tensor], axes: tuple[int, ...], accumulate: bool) -> Tensor:
    if accumulate:
        return grad
    return INDEX_PUT(grad, FUNCTIONS.zeros(lay.contiguous((), grad.layout.dtype)), *indices, statics=(axes, False))


INDEX_PUT.gradient(input=_put_input, values=lambda grad, indices, axes: INDEX(grad, *indices, statics=(axes,)))


def _gather(view: Tensor, axes: list[int], indices: list[Tensor]) -> Tensor:
    return INDEX(view, *indices, statics=(tuple(axes),))


def _put(view: Tensor, axes: list[int], indices: list[Tensor], value: Tensor, *, accumulate: bool) -> None:
    shape = value.layout.shape
    while len(shape) > 1 and shape[0] == 1 and len(shape) > view.layout.ndim:
        value, shape = value.reshape(shape[1:]), shape[1:]
    INDEX_PUT.inplace(view, view, value.to(view.layout.dtype), *indices, statics=(tuple(axes), accumulate))


def index_put_(self: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Tensor:
    """``self[indices] = values``, or with ``accumulate`` the sum where positions repeat."""
    if not isinstance(indices, (tuple, list)):
        raise TypeError(f"index_put(): argument 'indices' must be tuple of Tensors, not {type(indices).__name__}")
    if not indices:
        raise RuntimeError("index_put(): indices must have an element, but it is empty")
    for index in indices:
        if index is not None:
            require_tensor("index_put", "indices", index)
    require_tensor("index_put", "values", values)
    items = _normal(self, tuple(_FULL if index is None else index for index in indices), values)
    view, axes = _view(self, items)
    if values.layout.dtype is not self.layout.dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {self.layout.dtype!r} for the destination and {values.layout.dtype!r} for the source."
        )
    _put(view, axes, [item for item in items if isinstance(item, TensorBase)], values, accumulate=accumulate)
    return self


def index_put(input: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of ``input`` with ``values`` written (or added) at ``indices``."""
    return index_put_(input.clone(), indices, values, accumulate)


# -- conditions ------------------------------------------------------------------------------------------------------


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """A copy with a number (or a tensor without dimensions) where the mask holds."""
    _check_mask("masked_fill", mask)
    return MASKED_FILL(input, mask, _fill_value(input, value), statics=(False,))


def _fill_value(input: Tensor, value: Any) -> Any:
    """A number, or a tensor without dimensions, that elements of ``input`` can be."""
    if not isinstance(value, TensorBase):
        return number_for(input.layout.dtype, value)
    if value.layout.ndim:
        raise RuntimeError(f"masked_fill only supports a 0-dimensional value tensor, but got tensor with {value.layout.ndim} dimension(s).")
    if value.layout.dtype.is_complex and not input.layout.dtype.is_complex:
        return number_for(input.layout.dtype, value.item())  # if it has no imaginary part
    return value


def _check_mask(name: str, mask: Tensor) -> None:
    require_tensor(name, "mask", mask)
    if mask.layout.dtype is not dt.bool:
        raise RuntimeError(f"{name} only supports boolean masks, but got mask with dtype {mask.layout.dtype!r}")


def _infer_fill(operands: tuple, statics: tuple) -> Layout:
    input, mask = operands[:2]
    shape = lay.broadcast_shapes(input.shape, mask.shape)
    return lay.elementwise(shape, input.dtype, (input, mask)) if statics[0] else lay.contiguous(shape, input.dtype)


def _lower_fill(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    input, mask, value = operands
    return graph.map("where", mask, graph.cast(value, input.dtype), input)


MASKED_FILL = Operator("masked_fill", ("input", "mask", "value"), ("inplace",), infer=_infer_fill, lower=_lower_fill)
MASKED_FILL.gradient(input=lambda grad, mask: masked_fill(grad, mask, 0), value=lambda grad, mask: FUNCTIONS.where(mask, grad, 0.0).sum())


def masked_fill_(self: Tensor, mask: Tensor, value: Any) -> Tensor:
    """In-place version of ``masked_fill()``."""
    _check_mask("masked_fill_", mask)
    return MASKED_FILL.inplace(self, self, mask, _fill_value(self, value), statics=(True,))


def masked_select(input: Tensor, mask: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The elements where the mask holds, as a vector. Computes the mask."""
    _check_mask("masked_select", mask)
    shape = lay.broadcast_shapes(input.layout.shape, mask.layout.shape)
    apart(out, input, mask, name="masked_select")
    if shape and input.layout.shape == shape == mask.layout.shape:
        return into(out, _where(input, mask))
    return into(out, getitem(input.expand(shape), mask.expand(shape)) if shape else getitem(input.reshape(1), mask.reshape(1)))


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy with the elements of ``source``, in order, where the mask holds."""
    _check_mask("masked_scatter", mask)
    shape = lay.broadcast_shapes(input.layout.shape, mask.layout.shape)
    require_tensor("masked_scatter", "source", source)
    if source.layout.dtype is not input.layout.dtype:
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same dtypes but got {input.layout.dtype!r} and {source.layout.dtype!r}"
        )
    few = insert_few(input, mask, source)
    if few is not None:
        return few
    if mask.memory.device is CPU:
        flat = mask.expand(shape).reshape(-1).nonzero(as_tuple=True)[0]
    else:  # as many as there may be
        flat = mask.new_empty(min(math.prod(shape), source.layout.numel), dtype=dt.int64)
    count = flat.layout.numel
    if count > source.layout.numel:
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same dtypes and source at least {count} elements, but it has {source.layout.numel}"
        )
    whole = input.expand(shape).reshape(-1)
    return index_put(whole, (flat,), source.reshape(-1)[:count]).reshape(shape)


def masked_scatter_(self: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """In-place version of ``masked_scatter()``."""
    return self.copy_(masked_scatter(self, mask, source))


def take(input: Tensor, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The elements at positions of the flattened tensor."""
    require_tensor("take", "index", index)
    if index.layout.dtype is not dt.int64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {index.layout.dtype!r}")
    apart(out, input, index, name="take")
    return into(out, getitem(input.reshape(-1), index))


PUBLIC = ("index_put", "index_put_", "masked_fill", "masked_scatter", "masked_select", "nonzero", "take")
METHODS = (*PUBLIC, "masked_fill_", "masked_scatter_")
