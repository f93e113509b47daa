"""Views: tensors that show another tensor's memory. They record nothing; only autograd knows of them.

Each public function computes the view's layout (``_types/layout.py``) and says what its gradient is.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from flambeau._ops.arguments import int_tuple, sizes, whole
from flambeau._ops.node import UNSEEN, GradNode, ViewRecord, set_history
from flambeau._ops.operator import Operator
from flambeau._ops.origin import user_line
from flambeau._ops.registry import ANOMALY, FUNCTIONS, OPERATORS, new_tensor
from flambeau._ops.writing import is_unseen
from flambeau._tape.storage import TensorBase
from flambeau._tape.tape import LOCAL
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


class ViewOperator:
    """What autograd knows of a view function: its name and its gradient, ``formula(grad, source layout, statics)``, and whether it returns several views at once, none
    of which autograd lets anybody write into."""

    differentiable = True

    def __init__(self, name: str, formula: Callable[[Any, Layout, tuple], Any], several: bool = False) -> None:
        self.name = name
        self.formula = formula
        self.several = several
        self.grad_name = "".join(part.capitalize() for part in name.split("_")) + "Backward0"

    def backward(self, node: GradNode, grads: tuple) -> tuple:
        if grads[0] is None:
            return (None,)
        return (self.formula(grads[0], node.operands[0], node.statics),)


def make_view(source: Tensor, layout: Layout, operator: ViewOperator, *statics: Any) -> Tensor:
    """The tensor that shows ``source``'s memory through ``layout``."""
    return view_of(source, layout, operator, statics)


def view_of(source: Tensor, layout: Layout, operator: ViewOperator, statics: tuple) -> Tensor:
    """What ``make_view`` does until native code does it (``_tape/native/``; 0.9 and 0.4 µs)."""
    tape = LOCAL.tape
    if tape.dispatches:
        return tape.view(source, layout, operator, statics)
    view = new_tensor(source.memory, layout)
    if tape.grad or is_unseen(source):
        relate(view, source, operator, statics)
    return view


def relate(view: TensorBase, source: TensorBase, operator: ViewOperator, statics: tuple) -> None:
    """Let autograd know that a tensor is a view of another."""
    base = source if source.base is None else source.base
    view.base = base
    views = base.__dict__.get("_views")
    if views is None:
        views = base.__dict__["_views"] = []
    elif len(views) >= 64 and not len(views) & (len(views) - 1):  # each time that there are twice as many
        views[:] = [reference for reference in views if reference() is not None]
    views.append(weakref.ref(view))
    if source.node is not None and view.layout.dtype.category >= dt.FLOAT:
        view.node = _view_node(source, view.layout, operator, statics)


def _view_node(source: TensorBase, layout: Layout, operator: ViewOperator, statics: tuple) -> GradNode:
    node = GradNode(operator, ((source.node, source.output_nr),), (), ViewRecord(source.layout, layout, statics))
    if ANOMALY.enabled:
        node.origin = user_line()
    return node


# -- as_strided, and writes through views ----------------------------------------------------------------------------


def as_strided_gradient(grad: Tensor, source: Layout, statics: tuple) -> Tensor:
    """Add up the gradients at each place of memory, then read them as the source reads it."""
    size, stride, offset = statics
    lowest = min(offset, source.offset)
    extent = max(lay.layout(size, stride, offset, source.dtype).extent, source.extent) - lowest
    flat = FUNCTIONS.zeros(lay.contiguous((extent,), grad.layout.dtype))
    shown = lay.layout(size, stride, offset - lowest, grad.layout.dtype)
    if lay.may_overlap(shown):
        flat = OPERATORS["_add_at"](flat, grad, statics=(shown,))
    else:
        flat = OPERATORS["_replace"](flat, grad, statics=(shown,))
    return as_strided(flat, source.shape, source.strides, source.offset - lowest)


AS_STRIDED = ViewOperator("as_strided", as_strided_gradient)


def as_strided(input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """A view with any sizes, strides and offset (in elements) into the tensor's storage.

    Raises:
        RuntimeError: it would reach outside the storage, or a stride or the offset is negative.
    """
    size, stride = int_tuple(size), int_tuple(stride, "stride")
    offset = input.layout.offset if storage_offset is None else storage_offset
    if len(size) != len(stride):
        raise RuntimeError(
            f"mismatch in length of strides and shape: {len(stride)} strides {list(stride)} for {len(size)} sizes {list(size)}"
        )
    if any(step < 0 for step in stride):
        raise RuntimeError(f"as_strided: Negative strides are not supported at the moment, got strides: {list(stride)}")
    if offset < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {offset}")
    if any(length < 0 for length in size):
        raise RuntimeError(f"Storage size calculation overflowed with sizes={list(size)}")
    layout = lay.layout(size, stride, offset, input.layout.dtype)
    needed = layout.extent * layout.dtype.itemsize
    if needed > input.memory.nbytes:
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset}, and itemsize {layout.dtype.itemsize} "
            f"requiring a storage size of {needed} are out of bounds for storage of size {input.memory.nbytes}"
        )
    return make_view(input, layout, AS_STRIDED, size, stride, offset)


def _regenerate(base: TensorBase, view: TensorBase) -> None:
    """Give a view the history that its base has after the base was overwritten."""
    if base.node is None or view.layout.dtype.category < dt.FLOAT:
        set_history(view, None)
    else:
        layout = view.layout
        set_history(view, _view_node(base, layout, AS_STRIDED, (layout.shape, layout.strides, layout.offset)))


class CopySlices:
    """The gradient of writing part of a base through a view: ``inner`` is the gradient node of the write itself."""

    differentiable = True
    grad_name = "CopySlices"

    def __init__(self, view: Layout, inner: GradNode | None) -> None:
        self.view = view
        self.inner = inner

    def backward(self, node: GradNode, grads: tuple) -> tuple:
        grad = grads[0]
        if grad is None:
            return (None,) * len(node.inputs)
        base, view = node.operands[0], self.view
        dtype = grad.layout.dtype
        own = lay.layout(base.shape, base.strides, 0, dtype) if base.dense else lay.contiguous(base.shape, dtype)
        grad = OPERATORS["_to_copy"](grad, statics=(own,))
        shown = lay.layout(view.shape, view.strides, view.offset - base.offset, grad.layout.dtype)
        part = as_strided(grad, shown.shape, shown.strides, shown.offset)
        inner = self.inner.apply((part,)) if self.inner is not None else ()
        first = inner[0] if inner and inner[0] is not None else FUNCTIONS.zeros(lay.contiguous(view.shape, grad.layout.dtype))
        flat = as_strided(grad, (grad.layout.numel,), (1,), 0)
        flat = OPERATORS["_replace"](flat, first, statics=(shown,))
        return (as_strided(flat, grad.layout.shape, grad.layout.strides, 0), *inner[1:])


def _copy_slices(base: TensorBase, view: TensorBase, inner: GradNode | None) -> None:
    """Set the histories after a write through ``view``: of its base, and of every other view of it."""
    edge = None if base.node is None else (base.node, base.output_nr)
    if edge is None and inner is None:
        return
    edges = (edge, *(inner.inputs[1:] if inner is not None else ()))
    node = GradNode(CopySlices(view.layout, inner), edges, (), ViewRecord(base.layout, base.layout))
    set_history(base, node)
    for reference in base.__dict__.get("_views", ()):
        other = reference()
        if other is not None:
            _regenerate(base, other)


FUNCTIONS.regenerate = _regenerate
FUNCTIONS.copy_slices = _copy_slices


def _one_of_several(view: TensorBase) -> str | None:
    """What made a view, or what it is a view of, if that was one of several views that a call returned."""
    node = view.node
    while isinstance(node, GradNode) and isinstance(node.op, ViewOperator):
        if node.op.several:
            return node.op.grad_name
        node = node.inputs[0][0]
    return None


FUNCTIONS.one_of_several = _one_of_several


def _infer_first(operands: tuple, statics: tuple) -> Layout:
    source = operands[0]
    return lay.contiguous(source.shape, source.dtype)


def _lower_replace(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    return graph.update(graph.copy(operands[0]), statics[0], graph.cast(operands[1], layouts[0].dtype).expand(statics[0].shape))


def _lower_add_at(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    value = graph.cast(operands[1], layouts[0].dtype).expand(statics[0].shape)
    return graph.scatter(graph.copy(operands[0]), statics[0], (), (), value, "sum")


REPLACE = Operator("_replace", ("input", "value"), ("layout",), infer=_infer_first, lower=_lower_replace)
ADD_AT = Operator("_add_at", ("input", "value"), ("layout",), infer=_infer_first, lower=_lower_add_at)


def _shown(x: Tensor, layout: Layout) -> Tensor:
    whole = x.contiguous()  # which may be part of a larger storage
    return as_strided(whole, layout.shape, layout.strides, whole.layout.offset + layout.offset)


REPLACE.gradient(
    input=lambda grad, layout: REPLACE(
        grad.contiguous(), FUNCTIONS.zeros(lay.contiguous(layout.shape, grad.layout.dtype)), statics=(layout,)
    ),
    value=lambda grad, layout: _shown(grad, layout),
)
ADD_AT.gradient(input=lambda grad: grad, value=lambda grad, layout: _shown(grad, layout))


# -- shapes ----------------------------------------------------------------------------------------------------------

VIEW = ViewOperator("view", lambda grad, source, statics: reshape(grad, source.shape))
EXPAND = ViewOperator("expand", lambda grad, source, statics: FUNCTIONS.sum_to(grad, source.shape))
PERMUTE = ViewOperator("permute", lambda grad, source, axes: permute(grad, tuple(axes.index(axis) for axis in range(len(axes)))))
TRANSPOSE = ViewOperator("transpose", lambda grad, source, axes: transpose(grad, *axes))
T = ViewOperator("t", lambda grad, source, axes: transpose(grad, *axes))
UNSQUEEZE = ViewOperator("unsqueeze", lambda grad, source, statics: squeeze(grad, statics[0]))
SQUEEZE = ViewOperator("squeeze", lambda grad, source, statics: reshape(grad, source.shape))
ALIAS = ViewOperator("alias", lambda grad, source, statics: grad)


def slice_gradient(grad: Tensor, source: Layout, statics: tuple) -> Tensor:
    axis, start, step = statics
    shown = lay.slice_axis(lay.contiguous(source.shape, grad.layout.dtype), axis, start, grad.layout.shape[axis], step)
    return REPLACE(FUNCTIONS.zeros(lay.contiguous(source.shape, grad.layout.dtype)), grad, statics=(shown,))


def select_gradient(grad: Tensor, source: Layout, statics: tuple) -> Tensor:
    shown = lay.select(lay.contiguous(source.shape, grad.layout.dtype), *statics)
    return REPLACE(FUNCTIONS.zeros(lay.contiguous(source.shape, grad.layout.dtype)), grad, statics=(shown,))


SLICE = ViewOperator("slice", slice_gradient)
SELECT = ViewOperator("select", select_gradient)
SPLIT = ViewOperator(
    "split",
    lambda grad, source, statics: grad if grad.layout.shape == source.shape else slice_gradient(grad, source, statics),
    several=True,
)
UNBIND = ViewOperator("unbind", select_gradient, several=True)


def view(self: Tensor, *shape: Any, size: Any = None, dtype: dt.dtype | None = None) -> Tensor:
    """The same elements with another shape (or, given a dtype, the same bytes as another dtype), without copying.

    Raises:
        RuntimeError: strides cannot express it; ``reshape`` copies then.
    """
    if not shape:
        shape = (dtype if size is None else size,)
    if len(shape) == 1 and isinstance(as_type := dt.of_python(shape[0]), dt.dtype):
        return view_as_dtype(self, as_type)
    wanted = sizes(shape, "size")
    layout = lay.reshaped(self.layout, wanted)
    if layout is None:
        wanted = lay.infer_size(wanted, self.layout.numel)
        raise RuntimeError(
            f"view size is not compatible with input tensor's size and stride (at least one dimension spans across two contiguous subspaces): "
            f"shape {list(self.layout.shape)} with strides {list(self.layout.strides)} as {list(wanted)}. Use .reshape(...) instead."
        )
    return make_view(self, layout, VIEW)


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements, in row-major order, with another shape: a view where possible, else a copy. One size may be -1.

    Example::

        >>> flambeau.arange(6).reshape(2, -1)
        tensor([[0, 1, 2],
                [3, 4, 5]])
    """
    wanted = sizes(shape, "shape")
    layout = lay.reshaped(input.layout, wanted)
    if layout is None:
        input = input.contiguous()
        layout = lay.contiguous(lay.infer_size(wanted, input.layout.numel), input.layout.dtype)
    return make_view(input, layout, VIEW)


def expand(self: Tensor, *size: Any) -> Tensor:
    """A view in which dimensions of size 1 (and new leading ones) are repeated; -1 keeps a size."""
    return _remembered(self, EXPAND, (_expanded, *sizes(size)), _expanded)


def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """``input`` expanded to ``size``."""
    return expand(input, size)


def permute(input: Tensor, *dims: Any) -> Tensor:
    """The view with its dimensions in another order.

    Example::

        >>> flambeau.zeros(2, 3, 5).permute(2, 0, 1).shape
        torch.Size([5, 2, 3])
    """
    return _remembered(input, PERMUTE, (_permuted, *sizes(dims, "dims")), _permuted)


def _remembered(input: Tensor, operator: ViewOperator, key: tuple, make: Callable[..., tuple[Layout, tuple]]) -> Tensor:
    """The view that ``make(layout, *arguments)`` says, which the layout remembers by ``(make, *arguments)``; all arguments are ints."""
    memo = input.layout.memo
    found = memo.get(key)
    if found is None:
        found = memo[key] = make(input.layout, *key[1:])
    return view_of(input, found[0], operator, found[1])


def _expanded(layout: Layout, *size: int) -> tuple[Layout, tuple]:
    return lay.expand(layout, size), ()


def _permuted(layout: Layout, *dims: int) -> tuple[Layout, tuple]:
    ndim = layout.ndim
    if len(dims) != ndim:
        raise RuntimeError(
            f"permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired ordering of dimensions "
            f"i.e. input.dim() = {ndim} is not equal to len(dims) = {len(dims)}"
        )
    axes = tuple([lay.wrap_axis(axis, ndim) for axis in dims])
    if len(set(axes)) != ndim:
        raise RuntimeError(f"permute(): duplicate dims are not allowed: {list(axes)}.")
    return lay.permute(layout, axes), axes


def _transposed(layout: Layout, dim0: int, dim1: int) -> tuple[Layout, tuple]:
    first, second = lay.wrap_axis(dim0, layout.ndim), lay.wrap_axis(dim1, layout.ndim)
    axes = list(range(layout.ndim))
    if axes:
        axes[first], axes[second] = axes[second], axes[first]
    return lay.permute(layout, axes), (first, second)


def _unsqueezed(layout: Layout, dim: int) -> tuple[Layout, tuple]:
    axis = lay.wrap_axis(dim, layout.ndim + 1)
    return lay.unsqueeze(layout, axis), (axis,)


def _squeezed(layout: Layout, *dims: int) -> tuple[Layout, tuple]:
    return lay.squeeze(layout, [lay.wrap_axis(axis, layout.ndim) for axis in dims]), ()


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """The view with two dimensions exchanged."""
    if dim0.__class__ is int and dim1.__class__ is int:
        return _remembered(input, TRANSPOSE, (_transposed, dim0, dim1), _transposed)
    layout, statics = _transposed(input.layout, dim0, dim1)
    return make_view(input, layout, TRANSPOSE, *statics)


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; tensors of fewer dimensions are returned as they are.

    Raises:
        RuntimeError: the tensor has more than two dimensions.
    """
    ndim = input.layout.ndim
    if ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {ndim}D")
    if ndim < 2:
        return make_view(input, input.layout, ALIAS)
    return _remembered(input, T, (_transposed, 0, 1), _transposed)


def unsqueeze(input: Tensor, dim: Any = None, *, axis: int | None = None) -> Tensor:
    """The view with a dimension of size 1 at ``dim``."""
    dim = dim if axis is None else axis
    if dim.__class__ is int:
        return _remembered(input, UNSQUEEZE, (_unsqueezed, dim), _unsqueezed)
    layout, statics = _unsqueezed(input.layout, dim)
    return make_view(input, layout, UNSQUEEZE, *statics)


def squeeze(input: Tensor, dim: int | Sequence[int] | None = None, *, axis: int | Sequence[int] | None = None) -> Tensor:
    """The view without the dimensions of size 1 (all of them, or those named)."""
    dim = dim if axis is None else axis
    if dim.__class__ is int:
        return _remembered(input, SQUEEZE, (_squeezed, dim), _squeezed)
    dims = range(input.layout.ndim) if dim is None else int_tuple(dim, "dim")
    return make_view(input, _squeezed(input.layout, *dims)[0], SQUEEZE)


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice at ``index`` of ``dim``, without that dimension.

    Raises:
        IndexError: the index is out of range.
    """
    layout = input.layout
    if layout.ndim == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    axis = lay.wrap_axis(dim, layout.ndim)
    size = layout.shape[axis]
    if not -size <= index < size:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(layout.shape)} at dimension {axis}")
    index = index + size if index < 0 else index
    return make_view(input, lay.select(layout, axis, index), SELECT, axis, index)


def slice(input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    """The view of ``input[start:end:step]`` along ``dim``; bounds are clamped as Python clamps them."""
    axis = lay.wrap_axis(dim, input.layout.ndim)
    if step <= 0:
        raise RuntimeError(f"slice step must be positive, not {step}")
    size = input.layout.shape[axis]
    first = 0 if start is None else min(max(start + size if start < 0 else start, 0), size)
    last = size if end is None else min(max(end + size if end < 0 else end, first), size)
    length = max(0, -(-(last - first) // step))
    if length == size and step == 1:
        return make_view(input, input.layout, ALIAS)
    return make_view(input, lay.slice_axis(input.layout, axis, first, length, step), SLICE, axis, first, step)


def narrow(input: Tensor, dim: int, start: int | Tensor, length: int | Tensor) -> Tensor:
    """``length`` elements along ``dim`` from ``start``."""
    if not input.layout.shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    axis = lay.wrap_axis(dim, input.layout.ndim)
    size = input.layout.shape[axis]
    if isinstance(start, TensorBase) and (start.layout.ndim or start.layout.dtype.category != dt.INTEGER):
        raise RuntimeError(
            f"start must be an 0-dim integral Tensor, but got one of {start.layout.ndim} dimensions and {start.layout.dtype!r}"
        )
    start, length = whole(start, "start"), whole(length, "length")
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -size <= start <= size:
        raise IndexError(f"start out of range (expected to be in range of [{-size}, {size}], but got {start})")
    start = start + size if start < 0 else start
    if start + length > size:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({size}).")
    return slice(input, axis, start, start + length)


def pieces(input: Tensor, axis: int, lengths: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Views of pieces along an axis, of these lengths, one after another."""
    layout = input.layout
    found = layout.memo.get(("pieces", axis, lengths))
    if found is None:
        starts = accumulate(lengths, initial=0)
        found = layout.memo["pieces", axis, lengths] = [
            (layout if length == layout.shape[axis] else lay.slice_axis(layout, axis, start, length), SPLIT, (axis, start, 1))
            for start, length in zip(starts, lengths, strict=False)
        ]
    return tuple([view_of(input, *piece) for piece in found])


def slices(input: Tensor, axis: int) -> tuple[Tensor, ...]:
    """Views at each place of an axis, without it."""
    layout = input.layout
    if not layout.ndim:
        raise IndexError("a tensor without dimensions has no slices: unsqueeze(0) gives it one")
    found = layout.memo.get(("slices", axis))
    if found is None:
        found = layout.memo["slices", axis] = [
            (lay.select(layout, axis, index), UNBIND, (axis, index)) for index in range(layout.shape[axis])
        ]
    return tuple([view_of(input, *each) for each in found])


def detach(self: Tensor) -> Tensor:
    """A tensor that shares the memory but has no history and does not require grad."""
    if LOCAL.tape.batched:
        return LOCAL.tape.detached(self)
    return new_tensor(self.memory, self.layout)


def data(self: Tensor) -> Tensor:
    """What ``detach`` gives, except that autograd does not see what is written through it."""
    shown = detach(self)
    if not LOCAL.tape.batched:
        shown.base = new_tensor(self.memory, self.layout)
        shown.base.node = UNSEEN
    return shown


def view_as_dtype(self: Tensor, dtype: dt.dtype) -> Tensor:
    """The same bytes read as another dtype; the last dimension grows or shrinks with the item size."""
    layout = self.layout
    old, new = layout.dtype.itemsize, dtype.itemsize
    if dtype is layout.dtype:
        return make_view(self, layout, ALIAS)
    shape, strides, offset = layout.shape, layout.strides, layout.offset
    if old != new:
        if not shape:
            raise RuntimeError(f"self.dim() cannot be 0 to view {layout.dtype!r} as {dtype!r} (different element sizes)")
        if strides[-1] != 1:
            raise RuntimeError(
                f"self.stride(-1) must be 1 to view {layout.dtype!r} as {dtype!r} (different element sizes), but got {strides[-1]}"
            )
        amounts = [shape[-1] * old, offset * old, *[stride * old for stride in strides[:-1]]]
        if any(amount % new for amount in amounts):
            raise RuntimeError(
                f"self.size(-1), self.storage_offset() and the other strides must be divisible by {new // old} to view {layout.dtype!r} as {dtype!r} "
                f"(different element sizes): shape {list(shape)}, strides {list(strides)}, offset {offset}"
            )
        shape = (*shape[:-1], shape[-1] * old // new)
        strides = (*[stride * old // new for stride in strides[:-1]], 1)
        offset = offset * old // new
    return new_tensor(self.memory, lay.layout(shape, strides, offset, dtype))


PUBLIC = ("as_strided", "reshape", "permute", "transpose", "t", "unsqueeze", "squeeze", "select", "narrow", "broadcast_to")
METHODS = (*PUBLIC, "view", "expand", "detach")
