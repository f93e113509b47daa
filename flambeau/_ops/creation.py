"""Creation: tensors from shapes, numbers and Python data."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops.arguments import int_tuple, into, named_sizes, number, number_for, sizes, with_names
from flambeau._ops.copying import infer_given
from flambeau._ops.meta import HERE, nowhere
from flambeau._ops.node import AccumulateGrad
from flambeau._ops.operator import PLAIN_NUMBERS, Operator
from flambeau._ops.origin import warn
from flambeau._ops.registry import FUNCTIONS, new_tensor
from flambeau._ops.sequences import flatten, promoted
from flambeau._runtime.allocator import Buffer, allocate
from flambeau._tape.storage import Storage, TensorBase
from flambeau._tape.tape import LOCAL, warm
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.device import CPU, META, is_meta, require_cpu
from flambeau._types.device import device as Device
from flambeau._types.dtype import dtype as DType
from flambeau._types.encoding import stored_as
from flambeau._types.layout import Layout
from flambeau._types.promotion import get_default_dtype, number_dtype
from flambeau._types.strided import require_strided, strided

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

Place = str | Device | None


def with_options(tensor: Tensor, requires_grad: bool, device: Place = None, layout: Any = None) -> Tensor:
    if layout is not None:
        require_strided(layout)
    if device is not None and is_meta(device) and tensor.memory.device is CPU:
        tensor = nowhere(tensor.layout)
    if requires_grad:
        if not isinstance(requires_grad, (bool, int)):
            raise TypeError(f"argument 'requires_grad' must be bool, not {type(requires_grad).__name__} ({requires_grad!r})")
        if tensor.layout.dtype.category < dt.FLOAT:
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        tensor.node = AccumulateGrad(tensor)
    if LOCAL.tape.fresh:
        tensor.memory.version = LOCAL.tape.fresh
    return tensor


def _check_sizes(shape: tuple[int, ...]) -> tuple[int, ...]:
    if shape and min(shape) < 0:
        size = next(size for size in shape if size < 0)
        raise RuntimeError(f"Trying to create tensor with negative dimension {size}: {list(shape)}")
    return shape


def layout_in_python(size: tuple, dtype: DType) -> Layout:
    """The layout of a new tensor whose sizes are given as ``f(2, 3)`` or ``f((2, 3))``."""
    return lay.contiguous(_check_sizes(sizes(size)), dtype)


layout_of: Callable[[tuple, DType], Layout] = layout_in_python
"""``layout_in_python``, until native code does it (``_tape/native/``; 1.0 and 0.2 µs)."""


# -- memory ----------------------------------------------------------------------------------------------------------


def new_empty(layout: Layout, device: Place = None, by_name: bool = False) -> Tensor:
    """A tensor with memory of its own and unspecified contents; the layout is dense and starts at 0.

    If somebody is asked about calls (``_dispatch/``), it is what they say, where the user has asked for one ``by_name``.
    """
    if device is not None and device is not CPU and is_meta(device):
        return nowhere(layout)
    tape = LOCAL.tape
    return tape.new(layout, fresh, by_name) if tape.batched else fresh(layout)


def fresh(layout: Layout) -> Tensor:
    """What ``new_empty`` does until native code does it (``_tape/native/``; 0.9 and 0.4 µs)."""
    warm(1 / 16)  # a network's parameters are not worth loading it (``rand(10)``, looked at, takes 7.5 µs without, and 2.4 with)
    nbytes = layout.numel * layout.dtype.itemsize
    return new_tensor(Storage(allocate(nbytes), nbytes), layout)


def empty(*size: Any, dtype: DType | None = None, device: Place = None, requires_grad: bool = False, memory_format: Any = None,
          out: Tensor | None = None, layout: Any = None, pin_memory: bool = False, **named: Any) -> Tensor:  # fmt: skip
    """A tensor of the given size with unspecified contents."""
    if named:
        size = named_sizes("empty", "size", size, named, "names")
    result = new_empty(layout_of(size, dtype or get_default_dtype()), device, True)
    if memory_format is not None:
        result = result.to(memory_format=memory_format)
    made = into(out, with_options(result, requires_grad, device, layout))
    return with_names(made, named) if named else made


def empty_strided(size: Sequence[int], stride: Sequence[int], *, dtype: DType | None = None, device: Place = None,
                  requires_grad: bool = False, layout: Any = None, pin_memory: bool = False) -> Tensor:  # fmt: skip
    """A tensor with the given sizes and strides and unspecified contents."""
    window = lay.layout(_check_sizes(int_tuple(size)), int_tuple(stride, "stride"), 0, dtype or get_default_dtype())
    if is_meta(device):
        return with_options(nowhere(window), requires_grad, None, layout)
    nbytes = window.extent * window.dtype.itemsize
    return with_options(new_tensor(Storage(allocate(nbytes), nbytes), window), requires_grad, None, layout)


def from_array(array: np.ndarray, dtype: DType | None = None) -> Tensor:
    """A tensor with a copy of a NumPy array; ``dtype`` names the elements where NumPy has no such dtype (bfloat16)."""
    dtype = dtype or dt.from_numpy(array.dtype)
    result = new_empty(lay.contiguous(array.shape, dtype))
    if array.size:
        buffer = result.memory.buffer
        assert buffer is not None
        buffer.view(dtype.numpy, array.size).reshape(array.shape)[...] = array
    return result


def adopt_array(array: np.ndarray) -> Tensor:
    """A tensor that shares the memory of a NumPy array (whose strides are not negative)."""
    layout, nbytes = _as_numpy_says(array.shape, array.strides, array.dtype)
    storage = Storage(Buffer.foreign(array.__array_interface__["data"][0], nbytes, array), nbytes)
    storage.exported = True
    return new_tensor(storage, layout)


@lru_cache(maxsize=1024)
def _as_numpy_says(shape: tuple[int, ...], strides: tuple[int, ...], of: np.dtype) -> tuple[Layout, int]:
    """The layout of a NumPy array, and how many bytes it spans."""
    dtype = dt.from_numpy(of)
    if not of.isnative:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Conversion between byte orders is currently not supported."
        )
    if any(step < 0 for step in strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative strides are not currently supported. (You can probably work around this by making a copy of your array with array.copy().)"
        )
    if any(step % of.itemsize for step in strides):
        raise ValueError("given numpy array strides not a multiple of the element byte size. Copy the numpy array to a new array.")
    layout = lay.layout(shape, tuple(step // of.itemsize for step in strides), 0, dtype)
    return layout, layout.extent * of.itemsize


# -- numbers ---------------------------------------------------------------------------------------------------------


def _lower_full(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    layout = layouts[0]
    return graph.cast(operands[0], layout.dtype).expand(layout.shape)


def _lower_zeros(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    layout = layouts[0]
    return graph.constant(statics[1], layout.dtype, layout.shape)


FULL = Operator("full", ("value",), ("layout",), infer=infer_given, lower=_lower_full)
CONSTANT = Operator("_constant", (), ("layout", "number"), infer=infer_given, lower=_lower_zeros)


def constant(layout: Layout, value: int, device: Place = None) -> Tensor:
    """A tensor filled with 0 or 1."""
    if device is not None and device is not CPU and is_meta(device):
        return nowhere(layout)
    statics = layout.memo.get(("constant", value))
    if statics is None:
        statics = layout.memo["constant", value] = (layout, _element(layout.dtype, value))
    return CONSTANT(statics=statics)


def _element(dtype: DType, value: int) -> complex:
    """0 or 1 as a number of the class that elements of ``dtype`` have."""
    kind = complex if dtype.is_complex else float if dtype.is_floating_point else bool if dtype is dt.bool else int
    return kind(value)


def _full(layout: Layout, value: Any, device: Place = None) -> Tensor:
    """A tensor filled with a number."""
    return nowhere(layout) if device is not None and is_meta(device) else FULL(value, statics=(layout,))


def _of_gradient() -> Place:
    """Where what a gradient's formula makes lies, which knows no device."""
    return META if HERE.backward else None


FUNCTIONS.zeros = lambda layout, device=None: constant(lay.like(layout, layout.dtype), 0, device or _of_gradient())
FUNCTIONS.ones = lambda layout: constant(lay.like(layout, layout.dtype), 1, _of_gradient())
FUNCTIONS.full = lambda layout, value: _full(lay.like(layout, layout.dtype), value, _of_gradient())


def zeros(*size: Any, dtype: DType | None = None, device: Place = None, requires_grad: bool = False, out: Tensor | None = None,
          layout: Any = None, pin_memory: bool = False, **named: Any) -> Tensor:  # fmt: skip
    """A tensor of zeros.

    Example::

        >>> flambeau.zeros(2, 3)
        tensor([[0., 0., 0.],
                [0., 0., 0.]])
    """
    if named:
        size = named_sizes("zeros", "size", size, named, "names")
    made = layout_of(size, dtype or get_default_dtype())
    if layout is not None and layout != strided:
        if device is not None:
            require_cpu(device)
        return FUNCTIONS.sparse().empty_of(layout, made.shape, made.dtype, requires_grad)
    result = into(out, with_options(constant(made, 0, device), requires_grad))
    return with_names(result, named) if named else result


def ones(*size: Any, dtype: DType | None = None, device: Place = None, requires_grad: bool = False, out: Tensor | None = None,
         layout: Any = None, pin_memory: bool = False, **named: Any) -> Tensor:  # fmt: skip
    """A tensor of ones."""
    if named:
        size = named_sizes("ones", "size", size, named, "names")
    result = constant(layout_of(size, dtype or get_default_dtype()), 1, device)
    made = into(out, with_options(result, requires_grad, None, layout))
    return with_names(made, named) if named else made


_KINDS = (bool, int, float, complex)
"""The class of number that an element of a dtype is, by the dtype's category."""


def full(size: Sequence[int], fill_value: Any, *, dtype: DType | None = None, device: Place = None, requires_grad: bool = False,
         out: Tensor | None = None, layout: Any = None, pin_memory: bool = False, names: Any = None) -> Tensor:  # fmt: skip
    """A tensor filled with a number; its dtype is the number's unless given."""
    if names is not None:
        made = full(size, fill_value, dtype=dtype, device=device, requires_grad=requires_grad, out=out, layout=layout)
        return FUNCTIONS.named().given(made, names)
    value = fill_value if isinstance(fill_value, TensorBase) else number(fill_value)
    if dtype is None:
        dtype = number_dtype(_KINDS[value.layout.dtype.category] if isinstance(value, TensorBase) else value.__class__)
    else:
        dtype = dt.required(dtype)
    if not isinstance(value, TensorBase):
        value = number_for(dtype, value)
    result = _full(layout_of((size,), dtype), value, device)
    return result if out is layout is None and not requires_grad else into(out, with_options(result, requires_grad, None, layout))


def place_of(input: Tensor, device: Place) -> Place:
    """The device that a tensor like another one is to be made on."""
    return input.memory.place if device is None else device


def _like(input: Tensor, dtype: DType | None, memory_format: Any) -> Layout:
    layout = lay.like(input.layout, dtype or input.layout.dtype)
    return layout if memory_format is None else memory_format.layout(layout)


def _made_like(name: str, input: Tensor, dtype: DType | None, device: Place, memory_format: Any, *more: Any) -> Tensor:
    """A tensor like another one, where somebody is asked for it."""
    given = {"dtype": dtype, "device": device, "memory_format": memory_format}
    return LOCAL.tape.make(name, input, *more, pin_memory=False, **{key: value for key, value in given.items() if value is not None})


def empty_like(
    input: Tensor,
    *,
    dtype: DType | None = None,
    device: Place = None,
    requires_grad: bool = False,
    memory_format: Any = None,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor with the size, dtype and memory order of ``input`` and unspecified contents."""
    if LOCAL.tape.dispatches:
        return with_options(_made_like("empty_like", input, dtype, device, memory_format), requires_grad, None, layout)
    return with_options(new_empty(_like(input, dtype, memory_format), place_of(input, device)), requires_grad, None, layout)


def zeros_like(
    input: Tensor,
    *,
    dtype: DType | None = None,
    device: Place = None,
    requires_grad: bool = False,
    memory_format: Any = None,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor of zeros with the size, dtype and memory order of ``input``."""
    if LOCAL.tape.dispatches:
        return with_options(_made_like("zeros_like", input, dtype, device, memory_format), requires_grad, None, layout)
    return with_options(constant(_like(input, dtype, memory_format), 0, place_of(input, device)), requires_grad, None, layout)


def ones_like(
    input: Tensor,
    *,
    dtype: DType | None = None,
    device: Place = None,
    requires_grad: bool = False,
    memory_format: Any = None,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor of ones with the size, dtype and memory order of ``input``."""
    if LOCAL.tape.dispatches:
        return with_options(_made_like("ones_like", input, dtype, device, memory_format), requires_grad, None, layout)
    return with_options(constant(_like(input, dtype, memory_format), 1, place_of(input, device)), requires_grad, None, layout)


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    device: Place = None,
    requires_grad: bool = False,
    memory_format: Any = None,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor with the size, dtype and memory order of ``input``, filled with a number."""
    if LOCAL.tape.dispatches and not isinstance(fill_value, TensorBase):
        return with_options(_made_like("full_like", input, dtype, device, memory_format, fill_value), requires_grad, None, layout)
    like = _like(input, dtype, memory_format)
    value = fill_value if isinstance(fill_value, TensorBase) else number_for(like.dtype, fill_value)
    return with_options(_full(like, value, place_of(input, device)), requires_grad, None, layout)


def scalar_tensor(s: Any, *, dtype: DType | None = None, **options: Any) -> Tensor:
    """A tensor without dimensions."""
    return full((), s, dtype=dtype or get_default_dtype(), **options)


# What follows are methods; ``options`` are those of the function that each of them calls.


def new_zeros(self: Tensor, *size: Any, dtype: DType | None = None, device: Place = None, **options: Any) -> Tensor:
    """Zeros with the dtype of this tensor, unless another is given."""
    return zeros(*size, dtype=dtype or self.layout.dtype, device=place_of(self, device), **options)


def new_ones(self: Tensor, *size: Any, dtype: DType | None = None, device: Place = None, **options: Any) -> Tensor:
    """Ones with the dtype of this tensor, unless another is given."""
    return ones(*size, dtype=dtype or self.layout.dtype, device=place_of(self, device), **options)


def new_full(
    self: Tensor, size: Sequence[int], fill_value: Any, *, dtype: DType | None = None, device: Place = None, **options: Any
) -> Tensor:
    """A tensor filled with a number, with the dtype of this tensor, unless another is given."""
    return full(size, fill_value, dtype=dtype or self.layout.dtype, device=place_of(self, device), **options)


def new_empty_method(self: Tensor, *size: Any, dtype: DType | None = None, device: Place = None, **options: Any) -> Tensor:
    """A tensor with unspecified contents and the dtype of this tensor, unless another is given."""
    return empty(*size, dtype=dtype or self.layout.dtype, device=place_of(self, device), **options)


def new_empty_strided(
    self: Tensor, size: Sequence[int], stride: Sequence[int], *, dtype: DType | None = None, device: Place = None, **options: Any
) -> Tensor:
    """A tensor with the given strides, unspecified contents and the dtype of this tensor, unless another is given."""
    return empty_strided(size, stride, dtype=dtype or self.layout.dtype, device=place_of(self, device), **options)


def new_tensor_method(self: Tensor, data: Any, *, dtype: DType | None = None, device: Place = None, **options: Any) -> Tensor:
    """A copy of ``data`` with the dtype of this tensor, unless another is given."""
    return tensor(data, dtype=dtype or self.layout.dtype, device=place_of(self, device), **options)


# -- Python data -----------------------------------------------------------------------------------------------------


def tensor(data: Any, *, dtype: DType | None = None, device: Place = None, requires_grad: bool = False, pin_memory: bool = False,
           names: Any = None) -> Tensor:  # fmt: skip
    """A tensor with a copy of ``data``: numbers, nested sequences of numbers, NumPy arrays.

    Its dtype follows from the data (bool, int64, the default floating-point dtype, complex) unless given; ``names`` are those of its dimensions.

    Raises:
        ValueError: nested sequences have different lengths.
        TypeError: something is no number.

    Example::

        >>> flambeau.tensor([[1, 2], [3, 4]])
        tensor([[1, 2],
                [3, 4]])
    """
    if names is not None:
        return FUNCTIONS.named().given(tensor(data, dtype=dtype, device=device, requires_grad=requires_grad), names)
    if isinstance(data, TensorBase):
        result = data.detach().to(device, dtype, copy=True)
        warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor)."
        )
        return with_options(result, requires_grad)
    tape = LOCAL.tape
    if tape.dispatches:
        return with_options(tape.make("lift_fresh", tape.outside(_from_data, data, dtype)), requires_grad, device)
    return with_options(_from_data(data, dtype), requires_grad, device)


def _from_data(data: Any, dtype: DType | None) -> Tensor:
    dtype = dt.of_python(dtype)
    if isinstance(data, (np.ndarray, np.generic)):
        result = from_array(np.asarray(data))
        return result if dtype is None else FUNCTIONS.cast(result, dtype)
    if data.__class__ in (bool, int, float, complex):
        dtype = dtype or number_dtype(data.__class__)
        packed = _packed((data,), (), data.__class__, dtype)
        return from_array(_rounded(np.asarray(data), dtype), dtype) if packed is None else packed
    if data.__class__ in (list, tuple):
        classes = set(map(type, data))
        if np.ndarray in classes and data[0].__class__ is np.ndarray:
            warn(
                "Creating a tensor from a list of numpy.ndarrays is extremely slow. Please consider converting the list to a single numpy.ndarray "
                "with numpy.array() before converting to a tensor."
            )
        if len(classes) == 1:
            packed = _packed(data, (len(data),), classes.pop(), dtype)
            if packed is not None:
                return packed
    if not isinstance(data, (list, tuple)) and hasattr(data, "__array__"):  # a column or a table of pandas, say
        return from_array(np.asarray(data)) if dtype is None else from_array(_rounded(np.asarray(data), dtype), dtype)
    flat, shape, have_dtype = flatten(data)
    kinds = {value.__class__ for value in flat}
    if dtype is None and have_dtype:
        dtype = promoted(data)
    if dtype is None:
        dtype = get_default_dtype()
        for kind in (complex, float, int, bool):
            if kind in kinds:
                dtype = number_dtype(kind)
                break
    if dtype is not dt.bool and dtype.category < dt.FLOAT:
        _check_range(flat, dtype)
    array = np.array(flat, dtype=object if dtype.category < dt.FLOAT and float in kinds else None)
    if array.dtype == object:
        array = np.array([int(value) if dtype is not dt.bool else bool(value) for value in flat])
    return from_array(_rounded(array, dtype).reshape(shape), dtype)


def _rounded(numbers: np.ndarray, dtype: DType) -> np.ndarray:
    """Numbers of Python's as elements of a dtype.

    Raises:
        TypeError: they are complex, and the dtype is not.
        RuntimeError, ValueError: one is out of the range of a dtype of integers.
    """
    if numbers.dtype.kind == "c" and not dtype.is_complex and dtype is not dt.bool:
        raise TypeError(f"must be real number, not complex: {dtype!r} has no imaginary part")
    if not numbers.ndim and dtype is not dt.bool and dtype.category < dt.FLOAT:
        _check_range([numbers.item()], dtype)
    return stored_as(numbers, dtype)


def _check_range(numbers: Sequence, dtype: DType) -> None:
    """Check that numbers can be those of a dtype of integers, of which those without a sign take negative ones, as C does."""
    limits = np.iinfo(dtype.numpy)
    lowest, highest = int(limits.min) or -int(limits.max), int(limits.max)
    for value in numbers:
        if not lowest <= value <= highest:  # not a number, too
            if dtype is dt.int64 and value.__class__ is int:
                raise ValueError(f"Overflow when unpacking long long: {value} does not fit into 64 bits")
            raise RuntimeError(
                f"value cannot be converted to type {dtype.name} without overflow: {value} is not within {lowest} to {highest}"
            )


_CODES = {(float, dt.float32): "f", (float, dt.float64): "d", (int, dt.int64): "q", (int, dt.int32): "i", (bool, dt.bool): "?"}
"""How ``struct`` writes numbers of a class as a dtype, where that needs no rule of its own: 4 µs for 128 integers, NumPy needs 40."""


def _packed(numbers: Sequence, shape: tuple[int, ...], kind: type, dtype: DType | None) -> Tensor | None:
    """A tensor of numbers that are all of one class; ``None`` if ``struct`` cannot write them."""
    if kind not in PLAIN_NUMBERS:
        return None
    dtype = dtype or number_dtype(kind)
    code = _CODES.get((kind, dtype))
    if code is None:
        return None
    try:
        raw = struct.pack(f"={len(numbers)}{code}", *numbers)
    except (struct.error, OverflowError):  # out of the dtype's range
        return None
    buffer = allocate(len(raw))
    ctypes.memmove(buffer.address, raw, len(raw))
    return new_tensor(Storage(buffer, len(raw)), lay.contiguous(shape, dtype))


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor that shares the memory of a NumPy array: writing one changes the other.

    Raises:
        TypeError: it is no array, or NumPy's dtype has no equal here.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {ndarray.__class__.__name__})")
    if not ndarray.flags.writeable:
        warn(
            "The given NumPy array is not writable, and PyTorch does not support non-writable tensors. This means writing to this tensor will result in "
            "undefined behavior: copy the array before, or make the tensor by torch.tensor(array), which copies it."
        )
    return with_options(adopt_array(ndarray), False)


def as_tensor(data: Any, dtype: DType | None = None, device: Place = None) -> Tensor:
    """``data`` as a tensor, sharing memory (and history) where possible."""
    if isinstance(data, np.ndarray):
        data = from_numpy(data)
    if isinstance(data, TensorBase):
        return data if device is None and (dtype is None or dtype is data.layout.dtype) else data.to(device, dtype)
    return tensor(data, dtype=dtype, device=device)


PUBLIC = (
    "empty", "empty_strided", "zeros", "ones", "full", "empty_like", "zeros_like", "ones_like", "full_like", "tensor", "from_numpy", "as_tensor",
    "scalar_tensor",
)  # fmt: skip
METHODS = ("new_full", "new_ones", "new_zeros")
