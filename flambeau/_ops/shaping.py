"""Shapes by other names: flatten, movedim, diagonal, tril, unfold, meshgrid and their kin."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

from flambeau._ops import creation, ranges, views
from flambeau._ops.arguments import int_tuple, into, whole
from flambeau._ops.arguments import sizes as as_sizes
from flambeau._ops.gathering import index_select
from flambeau._ops.joining import cat, flip
from flambeau._ops.operator import Operator
from flambeau._ops.origin import warn
from flambeau._ops.registry import FUNCTIONS, new_tensor
from flambeau._ops.views import ViewOperator, as_strided_gradient, make_view
from flambeau._tape.storage import TensorBase
from flambeau._tape.tape import adopt
from flambeau._types import layout as lay
from flambeau._types.device import CPU, META
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions from ``start_dim`` to ``end_dim`` as one."""
    shape = input.layout.shape
    found = _flattened(shape, whole(start_dim, "start_dim"), whole(end_dim, "end_dim"))
    return input if found == shape else input.reshape(found)


@lru_cache(maxsize=512)
def _flattened(shape: tuple[int, ...], start_dim: int, end_dim: int) -> tuple[int, ...]:
    ndim = max(len(shape), 1)
    first, last = lay.wrap_axis(start_dim, ndim), lay.wrap_axis(end_dim, ndim)
    if first > last:
        raise RuntimeError(f"flatten() has invalid args: start_dim (={start_dim}) cannot come after end_dim (={end_dim})")
    return (*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :])


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One dimension as several; one of their sizes may be -1."""
    axis = lay.wrap_axis(dim, input.layout.ndim)
    shape = input.layout.shape
    try:
        parts = lay.infer_size(int_tuple(sizes, "sizes"), shape[axis])
    except RuntimeError:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {axis} ({shape[axis]}) in the input tensor"
        ) from None
    return input.reshape((*shape[:axis], *parts, *shape[axis + 1 :]))


def ravel(input: Tensor) -> Tensor:
    """The elements as a vector."""
    return input.contiguous().reshape(-1)


def view_as(self: Tensor, other: Tensor) -> Tensor:
    """``view`` with the shape of another tensor."""
    return views.view(self, other.layout.shape)


def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """``reshape`` with the shape of another tensor."""
    return views.reshape(self, other.layout.shape)


def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """``expand`` to the shape of another tensor."""
    return views.expand(self, other.layout.shape)


def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """The view with dimensions moved to other places, the others keeping their order."""
    return views.permute(input, _moved(input.layout.ndim, int_tuple(source, "source"), int_tuple(destination, "destination")))


@lru_cache(maxsize=512)
def _moved(ndim: int, source: tuple[int, ...], destination: tuple[int, ...]) -> tuple[int, ...]:
    """The order of the dimensions."""
    froms, tos = ([lay.wrap_axis(axis, ndim) for axis in axes] for axes in (source, destination))
    if len(froms) != len(tos):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({froms} dims) should contain the same number of dims as destination ({tos} dims)"
        )
    if len(set(froms)) != len(froms) or len(set(tos)) != len(tos):
        raise RuntimeError(f"movedim: repeated dim in `source` ({froms}) or `destination` ({tos})")
    if not ndim:
        return ()
    places = dict(zip(tos, froms, strict=True))
    rest = iter([axis for axis in range(ndim) if axis not in froms])
    return tuple([places[axis] if axis in places else next(rest) for axis in range(ndim)])


def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """``transpose`` by NumPy's name."""
    return views.transpose(input, axis0, axis1)


moveaxis = movedim
swapdims = swapaxes


def _same_storage(change: Any) -> Any:
    def inplace(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        view = change(self, *args, **kwargs)
        self.layout = view.layout
        self.node, self.output_nr = (view.node, view.output_nr) if not self.is_leaf else (self.node, self.output_nr)
        return self

    inplace.__name__ = inplace.__qualname__ = f"{change.__name__}_"
    inplace.__doc__ = f"As ``{change.__name__}()``, but changes this tensor's own shape."
    return inplace


as_strided_, unsqueeze_, squeeze_, t_, transpose_ = (
    _same_storage(change) for change in (views.as_strided, views.unsqueeze, views.squeeze, views.t, views.transpose)
)


def resize_(self: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Change the tensor's own shape, keeping as much of its memory as fits; new elements have unspecified contents.

    Raises:
        RuntimeError: the tensor requires grad, or has to grow and shares its memory with a NumPy array or another process.
    """
    if self.node is not None:
        raise RuntimeError("cannot resize variables that require grad")
    shape = as_sizes(sizes)
    if any(size < 0 for size in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}")
    plain = lay.contiguous(shape, self.layout.dtype)
    plain = plain if memory_format is None else memory_format.layout(plain)
    layout = lay.layout(shape, plain.strides, self.layout.offset, plain.dtype)
    if shape != self.layout.shape:
        grow(self, layout.extent * layout.dtype.itemsize)
        self.layout = layout
    return self


def resize_as_(self: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """As ``resize_`` to the shape of another tensor."""
    return resize_(self, the_template.layout.shape, memory_format=memory_format)


def grow(self: Tensor, nbytes: int) -> None:
    """Make the storage of a tensor at least so large."""
    storage = self.memory
    if nbytes <= storage.nbytes:
        return
    if storage.wrapped:
        raise RuntimeError("resize_(): a tensor of a class with a __torch_dispatch__ has no memory of its own that could grow")
    if storage.device is not CPU:
        storage.nbytes = nbytes
        return
    if storage.is_seen:
        raise RuntimeError(
            f"Trying to resize storage that is not resizable: its {storage.nbytes} bytes are shared with a NumPy array, another process or "
            f"the like, and {nbytes} are wanted; clone() the tensor first"
        )
    itemsize = self.layout.dtype.itemsize
    larger = FUNCTIONS.zeros(lay.contiguous((nbytes // itemsize,), self.layout.dtype))
    if storage.nbytes:
        flat = new_tensor(storage, lay.contiguous((storage.nbytes // itemsize,), self.layout.dtype))
        larger[: storage.nbytes // itemsize] = flat
    adopt(storage, larger.memory)


# -- diagonals and triangles -----------------------------------------------------------------------------------------

DIAGONAL = ViewOperator(
    "diagonal",
    lambda grad, source, statics: as_strided_gradient(grad, lay.contiguous(source.shape, source.dtype), _diagonal_of(source, statics)),
)


def _diagonal_of(source: Layout, statics: tuple) -> tuple:
    shown = _diagonal(lay.contiguous(source.shape, source.dtype), *statics)
    return shown.shape, shown.strides, shown.offset


def _diagonal(source: Layout, offset: int, first: int, second: int) -> Layout:
    rows, columns = source.shape[first], source.shape[second]
    length = max(min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns), 0)
    start = (offset * source.strides[second] if offset >= 0 else -offset * source.strides[first]) if length else 0
    rest = [axis for axis in range(source.ndim) if axis not in (first, second)]
    shape = (*[source.shape[axis] for axis in rest], length)
    strides = (*[source.strides[axis] for axis in rest], source.strides[first] + source.strides[second])
    return lay.layout(shape, strides, source.offset + start, source.dtype)


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The view of a diagonal of two dimensions, as the last dimension."""
    ndim = input.layout.ndim
    first, second = lay.wrap_axis(dim1, ndim), lay.wrap_axis(dim2, ndim)
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return make_view(input, _diagonal(input.layout, offset, first, second), DIAGONAL, offset, first, second)


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices of zeros with the last dimension on a diagonal."""
    ndim = input.layout.ndim + 1
    first, second = lay.wrap_axis(dim1, ndim), lay.wrap_axis(dim2, ndim)
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    size = input.layout.shape[-1] + abs(offset)
    shape = list(input.layout.shape[:-1])
    for axis in sorted((first, second)):
        shape.insert(axis, size)
    result = FUNCTIONS.zeros(lay.contiguous(tuple(shape), input.layout.dtype), input.memory.place)
    diagonal(result, offset, first, second).copy_(input)
    return result


def diag(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
    """The diagonal of a matrix, or the matrix of a diagonal."""
    diagonal = whole(diagonal, "diagonal")
    if input.layout.ndim == 1:
        return into(out, diag_embed(input, diagonal))
    if input.layout.ndim != 2:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.layout.ndim}D")
    return into(out, globals()["diagonal"](input, diagonal).clone())


def _lower_triangle(upper: bool) -> Any:
    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
        x = operands[0]
        distance = graph.iota(x.shape, x.ndim - 1) - graph.iota(x.shape, x.ndim - 2)
        keep = distance >= statics[0] if upper else distance <= statics[0]
        return graph.where(keep, x, graph.constant(0, x.dtype))

    return lower


def _infer_triangle(operands: tuple, statics: tuple) -> Layout:
    if operands[0].ndim < 2:
        raise RuntimeError("tril: input tensor must have at least 2 dimensions")
    return lay.contiguous(operands[0].shape, operands[0].dtype)


TRIL = Operator("tril", ("input",), ("diagonal",), infer=_infer_triangle, lower=_lower_triangle(False)).gradient(
    input=lambda grad, diagonal: tril(grad, diagonal)
)
TRIU = Operator("triu", ("input",), ("diagonal",), infer=_infer_triangle, lower=_lower_triangle(True)).gradient(
    input=lambda grad, diagonal: triu(grad, diagonal)
)


def tril(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
    """The elements on and below a diagonal of each matrix, the others 0."""
    return into(out, TRIL(input, statics=(whole(diagonal, "diagonal"),)))


def triu(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
    """The elements on and above a diagonal of each matrix, the others 0."""
    return into(out, TRIU(input, statics=(whole(diagonal, "diagonal"),)))


def tril_(self: Tensor, diagonal: int = 0) -> Tensor:
    """In-place version of ``tril()``."""
    return TRIL.inplace(self, self, statics=(whole(diagonal, "diagonal"),))


def triu_(self: Tensor, diagonal: int = 0) -> Tensor:
    """In-place version of ``triu()``."""
    return TRIU.inplace(self, self, statics=(whole(diagonal, "diagonal"),))


# -- windows ---------------------------------------------------------------------------------------------------------


def _unfolded(source: Layout, axis: int, size: int, step: int) -> Layout:
    count = (source.shape[axis] - size) // step + 1 if source.ndim else 1
    shape = (*source.shape[:axis], count, *source.shape[axis + 1 :], size)
    strides = (*source.strides[:axis], source.strides[axis] * step, *source.strides[axis + 1 :], source.strides[axis])
    return lay.layout(shape, strides, source.offset, source.dtype)


def _unfold_gradient(grad: Tensor, source: Layout, statics: tuple) -> Tensor:
    compact = lay.contiguous(source.shape, source.dtype)
    shown = _unfolded(compact, *statics)
    return as_strided_gradient(grad, compact, (shown.shape, shown.strides, shown.offset))


UNFOLD = ViewOperator("unfold", _unfold_gradient)


def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """The view of all windows of ``size`` elements along a dimension, ``step`` apart, the window as the last dimension."""
    if self.layout.ndim == 0:
        return self.reshape(1)
    axis, size, step = lay.wrap_axis(dimension, self.layout.ndim), whole(size, "size"), whole(step, "step")
    if size < 0 or size > self.layout.shape[axis]:
        raise RuntimeError(f"maximum size for tensor at dimension {axis} is {self.layout.shape[axis]} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    return make_view(self, _unfolded(self.layout, axis, size, step), UNFOLD, axis, size, step)


# -- several tensors -------------------------------------------------------------------------------------------------


def broadcast_tensors(*tensors: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The tensors expanded to one shape."""
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    shape = lay.broadcast_shapes(*[tensor.layout.shape for tensor in given])
    return tuple(tensor if tensor.layout.shape == shape else views.expand(tensor, shape) for tensor in given)


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape that tensors of these shapes have together."""
    from flambeau._tensor.size import Size

    for shape in shapes:
        if not isinstance(shape, int) and not hasattr(shape, "__iter__"):
            raise RuntimeError(f"Input shapes should be of type ints, a tuple of ints, or a list of ints, got {shape}")
    return Size(lay.broadcast_shapes(*[(shape,) if isinstance(shape, int) else tuple(shape) for shape in shapes]))


def meshgrid(*tensors: Tensor | Sequence[Tensor], indexing: str | None = None) -> tuple[Tensor, ...]:
    """The coordinates of a grid from the coordinates along each of its axes; ``"xy"`` exchanges the first two, ``"ij"`` (the default) does not."""
    if indexing is None:
        warn(
            "torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument: indexing='ij' is what you get without it."
        )
        indexing = "ij"
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    swap = indexing == "xy" and len(given) >= 2
    axes = [given[1], given[0], *given[2:]] if swap else list(given)
    if any(axis.layout.ndim > 1 for axis in axes):
        raise RuntimeError(
            f"torch.meshgrid: Expected 0D or 1D tensors in the tensor list but got: {[list(axis.layout.shape) for axis in given]}"
        )
    if len({axis.layout.dtype for axis in axes}) > 1:
        raise RuntimeError("torch.meshgrid expects all tensors to have the same dtype")
    shape = tuple(axis.layout.numel for axis in axes)
    grids = [
        views.expand(axis.reshape(tuple(-1 if other == position else 1 for other in range(len(axes)))), shape)
        for position, axis in enumerate(axes)
    ]
    if swap:
        grids[:2] = grids[1], grids[0]
    return tuple(grids)


def _at_least(count: int) -> Any:
    def expanded(*tensors: Tensor | Sequence[Tensor]) -> Any:
        given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
        result = []
        for tensor in given:
            if count == 3 and tensor.layout.ndim == 2:
                tensor = tensor.unsqueeze(-1)
            elif count == 3 and tensor.layout.ndim == 1:
                tensor = tensor.reshape(1, -1, 1)
            while tensor.layout.ndim < count:
                tensor = tensor.unsqueeze(0)
            result.append(tensor)
        return result[0] if len(tensors) == 1 and given is tensors else tuple(result)

    expanded.__name__ = expanded.__qualname__ = f"atleast_{count}d"
    expanded.__doc__ = f"The tensors (or the one) with at least {count} dimensions."
    return expanded


atleast_1d, atleast_2d, atleast_3d = (_at_least(count) for count in (1, 2, 3))


def _not_empty(name: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    if not len(tensors):
        raise RuntimeError(f"{name} expects a non-empty TensorList")
    return list(tensors)


def hstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """The tensors side by side: along dimension 1, or 0 for vectors."""
    given = atleast_1d(_not_empty("hstack", tensors))
    return cat(given, 0 if given[0].layout.ndim == 1 else 1, out=out)


def vstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """The tensors (vectors as rows) one under another."""
    return cat(atleast_2d(_not_empty("vstack", tensors)), 0, out=out)


def dstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """The tensors behind one another, along dimension 2."""
    return cat(atleast_3d(_not_empty("dstack", tensors)), 2, out=out)


def column_stack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """The tensors (vectors as columns) side by side."""
    return hstack([tensor.reshape(tensor.layout.numel, 1) if tensor.layout.ndim <= 1 else tensor for tensor in tensors], out=out)


row_stack = vstack


def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None, axis: int | None = None
) -> Tensor:
    """Each element (or slice along ``dim``) repeated so many times, one after another; given ``repeats`` alone, each index."""
    dim = dim if axis is None else axis
    if repeats is None:
        input, repeats = ranges.arange(input.layout.numel), input
    if dim is None:
        input, dim = input.reshape(-1), 0
    axis = lay.wrap_axis(dim, input.layout.ndim)
    size = input.layout.shape[axis]
    if isinstance(repeats, TensorBase) and repeats.memory.device is not CPU and output_size is not None:
        return index_select(input, axis, repeats.new_empty(output_size, device=META))
    counts = repeats if isinstance(repeats, int) else repeats.tolist()
    if isinstance(counts, int) or len(counts) == 1:
        count = counts if isinstance(counts, int) else counts[0]
        if count < 0:
            raise RuntimeError("repeats can not be negative")
        places = ranges.arange(size).reshape(size, 1).expand(size, count).reshape(-1)
    else:
        if len(counts) != size:
            raise RuntimeError(
                f"repeats must have the same size as input along dim, but got repeats.size(0) = {len(counts)} and input.size({axis}) = {size}"
            )
        places = creation.tensor([place for place, count in enumerate(counts) for _ in range(count)], dtype=ranges.arange(1).dtype)
    return index_select(input, axis, places)


def fliplr(input: Tensor) -> Tensor:
    """The columns of a matrix in reverse order."""
    if input.layout.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """The rows in reverse order."""
    if input.layout.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, 0)


PUBLIC = (
    "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_shapes", "broadcast_tensors", "column_stack", "diag", "diag_embed", "diagonal", "dstack", "flatten", "fliplr", "flipud", "hstack",
    "meshgrid", "moveaxis", "movedim", "ravel", "repeat_interleave", "resize_as_", "row_stack", "swapaxes", "swapdims", "tril", "triu", "unflatten", "vstack",
)  # fmt: skip
METHODS = (
    "as_strided_", "resize_", "resize_as_", "diag", "diag_embed", "diagonal", "expand_as", "flatten", "fliplr", "flipud", "moveaxis", "movedim", "ravel", "repeat_interleave", "reshape_as", "squeeze_", "swapaxes", "swapdims",
    "t_", "transpose_", "tril", "tril_", "triu", "triu_", "unflatten", "unfold", "unsqueeze_", "view_as",
)  # fmt: skip
