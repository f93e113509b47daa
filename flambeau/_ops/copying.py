"""Copies: clone, contiguous, conversion of dtype and memory format, fill and copy in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau._ops import meta
from flambeau._ops.arguments import number, number_for
from flambeau._ops.operator import Operator
from flambeau._ops.registry import FUNCTIONS
from flambeau._ops.views import ALIAS, make_view
from flambeau._tape.storage import NoElements, TensorBase
from flambeau._tape.tape import LOCAL
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.device import CPU, META
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


class memory_format:
    """In which order a new tensor's dimensions lie in memory."""

    def __init__(self, name: str, ndim: int | None = None) -> None:
        self.name = name
        self.ndim = ndim

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name

    def layout(self, like: Layout) -> Layout:
        """The dense layout of this format with the shape and dtype of another.

        Raises:
            RuntimeError: the format is for another number of dimensions.
        """
        if self is preserve_format:
            return lay.like(like, like.dtype)
        if self is contiguous_format:
            return lay.contiguous(like.shape, like.dtype)
        if like.ndim != self.ndim:
            raise RuntimeError(f"required rank {self.ndim} tensor to use {self.name} format, but the tensor has shape {list(like.shape)}")
        return lay.ordered(like.shape, (0, *range(2, like.ndim), 1), like.dtype)

    def matches(self, layout: Layout) -> bool:
        """Whether a layout is contiguous in this format."""
        if self is contiguous_format or self is preserve_format:
            return layout.contiguous
        if layout.ndim != self.ndim:
            return False
        wanted = self.layout(layout).strides
        return all(size == 1 or stride == want for size, stride, want in zip(layout.shape, layout.strides, wanted, strict=True))


contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last", 4)
channels_last_3d = memory_format("channels_last_3d", 5)


def suggested_format(*operands: Layout) -> memory_format:
    """channels_last if the strides of an operand say so, else contiguous: the format of what convolutions, norms and the like make of them."""
    if any(_channels_innermost(operand) for operand in operands):
        return channels_last if operands[0].ndim == 4 else channels_last_3d
    return contiguous_format


def _channels_innermost(layout: Layout) -> bool:
    """Whether strides say that the channels are meant to be innermost; where sizes of 1 leave it open, they are not."""
    if layout.ndim not in (4, 5) or layout.strides[1] == 0:
        return False
    least = 0
    for axis in (1, *reversed(range(2, layout.ndim)), 0):
        size, stride = layout.shape[axis], layout.strides[axis]
        if size == 0 or stride < least or (axis == 0 and least == layout.strides[1]):
            return False
        least = stride * size if size > 1 else stride
    return True


def infer_given(operands: tuple, statics: tuple) -> Layout:
    """The layout that the first static attribute is."""
    return statics[0]


def _lower_copy(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    (source,) = operands
    return graph.copy(source) if source.dtype is layouts[0].dtype else graph.cast(source, layouts[0].dtype)


CLONE = Operator("clone", ("input",), infer=lambda operands, statics: lay.like(operands[0], operands[0].dtype), lower=_lower_copy)
CLONE.gradient(input=lambda grad: grad)
TO = Operator("_to_copy", ("input",), ("layout",), infer=infer_given, lower=_lower_copy, grad_name="ToCopyBackward0")
TO.gradient(input=lambda grad: grad)


def clone(input: Tensor, *, memory_format: memory_format = preserve_format) -> Tensor:
    """A copy of the tensor with memory of its own; gradients flow through."""
    if memory_format is preserve_format:
        return CLONE(input)
    return TO(input, statics=(memory_format.layout(input.layout),))


def contiguous(self: Tensor, memory_format: memory_format = contiguous_format) -> Tensor:
    """The tensor itself if it is contiguous in the format, else a copy that is."""
    if self.layout.contiguous if memory_format is contiguous_format else memory_format.matches(self.layout):
        return self
    return TO(self, statics=(memory_format.layout(self.layout),))


def cast(input: Tensor, dtype: DType, *, copy: bool = False, memory_format: memory_format = preserve_format) -> Tensor:
    """The tensor as another dtype (itself, if it has the dtype and format already)."""
    if dtype is input.layout.dtype and not copy:
        # Strides have to say channels last: sizes of 1 leave it open whether a tensor is contiguous in one format or in both.
        named = memory_format is channels_last or memory_format is channels_last_3d
        if memory_format is preserve_format or (suggested_format(input.layout) is memory_format if named else input.layout.contiguous):
            return input
    memo = input.layout.memo
    statics = memo.get(("cast", dtype, memory_format))
    if statics is None:
        layout = memory_format.layout(input.layout)
        statics = memo["cast", dtype, memory_format] = (lay.layout(layout.shape, layout.strides, 0, dtype),)
    return TO(input, statics=statics)


FUNCTIONS.cast = cast


def to_other_device(input: Tensor, dtype: DType, memory_format: memory_format = preserve_format) -> Tensor:
    """A tensor of the CPU as one on the meta device.

    Raises:
        NoElements: it is one on the meta device, from which nothing can be copied
    """
    if input.memory.wrapped:
        return LOCAL.tape.make("_to_copy", input, dtype=dtype, device=META if input.memory.place is CPU else CPU)
    if input.memory.device is not CPU:
        raise NoElements()
    layout = memory_format.layout(input.layout)
    return meta.moved(TO, (input,), (lay.layout(layout.shape, layout.strides, 0, dtype),))


def _infer_into_first(operands: tuple, statics: tuple) -> Layout:
    target, source = operands
    if not isinstance(source, type) and lay.broadcast_shapes(target.shape, source.shape) != target.shape:
        raise RuntimeError(
            f"output with shape {list(target.shape)} doesn't match the broadcast shape {list(lay.broadcast_shapes(target.shape, source.shape))}"
        )
    return lay.like(target, target.dtype)


def _lower_into_first(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    return graph.copy(graph.cast(operands[1], layouts[0].dtype).expand(layouts[0].shape))


COPY = Operator("copy", ("input", "src"), infer=_infer_into_first, lower=_lower_into_first, grad_name="CopyBackwards")
COPY.gradient(input=lambda grad: grad.new_zeros(grad.layout.shape), src=lambda grad: grad)
FILL = Operator("fill", ("input", "value"), infer=_infer_into_first, lower=_lower_into_first)
FILL.gradient(input=lambda grad: grad.new_zeros(grad.layout.shape), value=lambda grad: grad.sum())


def copy_(self: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """Overwrite the tensor by ``src``, broadcast and converted."""
    if not isinstance(src, TensorBase):
        return FILL.inplace(self, self, number(src))
    return COPY.inplace(self, self, src)


def fill_(self: Tensor, value: Any) -> Tensor:
    """Overwrite every element by a number (or a tensor without dimensions)."""
    if isinstance(value, TensorBase) and value.layout.ndim:
        raise RuntimeError(f"fill_ only supports 0-dimension value tensor but got tensor with {value.layout.ndim} dimensions.")
    return FILL.inplace(self, self, value if isinstance(value, TensorBase) else number_for(self.layout.dtype, value))


def zero_(self: Tensor) -> Tensor:
    """Overwrite every element by 0."""
    return FILL.inplace(self, self, 0)


# -- parts of complex numbers, and choice ----------------------------------------------------------------------------


def real(input: Tensor) -> Tensor:
    """The real parts of a complex tensor, as a view; a real tensor itself."""
    return input if not input.layout.dtype.is_complex else _part(input, 0)


def imag(input: Tensor) -> Tensor:
    """The imaginary parts of a complex tensor, as a view.

    Raises:
        RuntimeError: the tensor is not complex.
    """
    if not input.layout.dtype.is_complex:
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return _part(input, 1)


def _part(input: Tensor, which: int) -> Tensor:
    return view_as_real(input).select(-1, which)


def _as_real_gradient(grad: Tensor, source: Layout, statics: tuple) -> Tensor:
    return view_as_complex(grad.contiguous())


def _as_complex_gradient(grad: Tensor, source: Layout, statics: tuple) -> Tensor:
    return view_as_real(grad.resolve_conj() if hasattr(grad, "resolve_conj") else grad)


def view_as_real(input: Tensor) -> Tensor:
    """A complex tensor as a real one with a last dimension of 2, as a view."""
    layout = input.layout
    if not layout.dtype.is_complex:
        raise RuntimeError(f"view_as_real is only supported for complex tensors, not {layout.dtype!r}")
    shown = lay.layout((*layout.shape, 2), (*[2 * stride for stride in layout.strides], 1), 2 * layout.offset, layout.dtype.to_real())
    return make_view(input, shown, _VIEW_AS_REAL)


def view_as_complex(input: Tensor) -> Tensor:
    """A real tensor whose last dimension is 2 as a complex one, as a view."""
    layout = input.layout
    if layout.dtype not in (dt.float16, dt.float32, dt.float64):
        raise RuntimeError(
            f"view_as_complex is only supported for half, float and double tensors, but got a tensor of scalar type: {layout.dtype!r}"
        )
    if not layout.ndim or layout.shape[-1] != 2:
        raise RuntimeError(f"Tensor must have a last dimension of size 2, not shape {list(layout.shape)}")
    if layout.strides[-1] != 1:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    if layout.offset % 2 or any(stride % 2 for stride in layout.strides[:-1]):
        raise RuntimeError("Tensor must have a stride divisible by 2 for all but last dimension")
    shown = lay.layout(
        layout.shape[:-1], tuple(stride // 2 for stride in layout.strides[:-1]), layout.offset // 2, layout.dtype.to_complex()
    )
    return make_view(input, shown, _VIEW_AS_COMPLEX)


_VIEW_AS_REAL = type(ALIAS)("view_as_real", _as_real_gradient)
_VIEW_AS_COMPLEX = type(ALIAS)("view_as_complex", _as_complex_gradient)
FUNCTIONS.real = real


# -- what a write records (see `writing.py`) -----------------------------------------------------------------------------


def _lower_write_all(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    return graph.copy(graph.cast(operands[0].expand(statics[0].shape), statics[0].dtype))


def _infer_write_part(operands: tuple, statics: tuple) -> Layout:
    return operands[0]


def _lower_write_part(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    layout = statics[0]
    base = operands[0]
    if base.kind == "view":
        base = graph.bitcast(base.args[0], base.dtype, base.numel)
    return graph.update(base, layout, graph.cast(operands[1].expand(layout.shape), layout.dtype))


Operator("_write_all", ("value",), ("layout",), infer=infer_given, lower=_lower_write_all)
Operator("_write_part", ("base", "value"), ("layout",), infer=_infer_write_part, lower=_lower_write_part)

PUBLIC = ("clone", "real", "imag", "view_as_real", "view_as_complex")
METHODS = ("clone", "contiguous", "copy_", "fill_", "zero_")
