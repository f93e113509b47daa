"""Second names of methods, in-place methods as functions of the package, and small methods of the object that records nothing.

``METHODS`` are set on ``Tensor`` here; ``FUNCTIONS`` become names of the package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau._ops import creation, joining, ranges, shaping
from flambeau._ops.arguments import int_tuple, whole
from flambeau._ops.copying import preserve_format
from flambeau._ops.origin import warn
from flambeau._ops.refusals import guard
from flambeau._ops.writing import check_writable
from flambeau._tape.storage import TensorBase
from flambeau._tensor import sharing
from flambeau._tensor.storages import TypedStorage, UntypedStorage
from flambeau._tensor.tensor import Tensor
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dlpack import DLDeviceType
from flambeau._types.dtype import dtype as DType
from flambeau._types.errors import DeviceNotAvailableError
from flambeau._types.promotion import get_default_dtype

# -- second names ----------------------------------------------------------------------------------------------------

_METHODS = {
    "arccos_": "acos_", "arccosh_": "acosh_", "arcsin_": "asin_", "arcsinh_": "asinh_", "arctan2": "atan2", "arctan2_": "atan2_", "arctan_": "atan_", "arctanh_": "atanh_",
    "fix_": "trunc_", "greater_": "gt_", "greater_equal_": "ge_", "less_": "lt_", "less_equal_": "le_", "not_equal_": "ne_", "swapaxes_": "transpose_", "swapdims_": "transpose_",
    "unsafe_split_with_sizes": "split_with_sizes",
}  # fmt: skip
_FUNCTIONS = (
    "abs_", "acos_", "acosh_", "addmv_", "arccos_", "arccosh_", "arcsin_", "arcsinh_", "arctan2", "arctan_", "arctanh_", "as_strided_", "asin_", "asinh_", "atan_", "atanh_", "ceil_",
    "clip_", "conj_physical_", "cos_", "cosh_", "detach", "detach_", "erf_", "erfc_", "exp2_", "exp_", "expm1_", "fill_", "fix_", "floor_", "frac_", "gcd_", "lcm_", "log10_",
    "log1p_", "log2_", "log_", "nan_to_num_", "neg_", "negative_", "reciprocal_", "round_", "rsqrt_", "sigmoid_", "sin_", "sinh_", "sqrt_", "square_", "tan_", "tanh_", "trunc_",
    "unsafe_split_with_sizes", "zero_",
)  # fmt: skip

for _new, _old in _METHODS.items():
    setattr(Tensor, _new, getattr(Tensor, _old))

# -- conversions ------------------------------------------------------------------------------------------------------


def _conversion(name: str, dtype: DType) -> Callable:
    def convert(self: Tensor, memory_format: Any = preserve_format) -> Tensor:
        if self.layout.dtype is dtype and memory_format is preserve_format:
            return self  # 0.2 us, not 1.7
        return self.to(dtype, memory_format=memory_format)

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = f"The tensor as {dtype!r}."
    return convert


for _name in ("float", "double", "half", "bfloat16", "long", "int", "short", "bool", "chalf", "cfloat", "cdouble"):
    setattr(Tensor, _name, _conversion(_name, getattr(dt, _name)))
Tensor.char = _conversion("char", dt.int8)
Tensor.byte = _conversion("byte", dt.uint8)

# -- methods of the object -------------------------------------------------------------------------------------------


def get_device(self: Tensor) -> int:
    """The number of the tensor's device: -1, the CPU."""
    return -1


def cuda(self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Tensor:
    """A copy on a CUDA device, of which there is none: raises ``DeviceNotAvailableError``."""
    return self.to("cuda" if device is None else device)


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """A copy in page-locked memory, from which a device copies faster: raises ``DeviceNotAvailableError``, for there is none."""
    raise DeviceNotAvailableError("pin_memory: there is no device to copy to: Flambeau computes on the CPU")


def is_pinned(self: Tensor, device: Any = None) -> bool:
    """Whether the memory is page-locked: no."""
    return False


def share_memory_(self: Tensor) -> Tensor:
    """Move the storage to memory that other processes read and write, too: those forked from now on, and those that the tensor is sent to."""
    sharing.share(self.memory)
    return self


def is_shared(self: Tensor) -> bool:
    """Whether the storage lies in memory that other processes can share."""
    return sharing.segment_of(self.memory) is not None


def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Whether both tensors are the same window of the same storage."""
    return self.memory is tensor.memory and self.layout is tensor.layout


def dim_order(self: Tensor) -> tuple[int, ...]:
    """The dimensions as they lie in memory, outermost first."""
    return tuple(lay.memory_order(self.layout))


def new(self: Tensor, *args: Any) -> Tensor:
    """A tensor of the same dtype: of data, or of sizes with unspecified contents."""
    if len(args) == 1 and not isinstance(args[0], (int, TensorBase)) and type(args[0]).__name__ != "Size":
        return creation.new_tensor_method(self, args[0])
    return self.new_empty(*(args or (0,)))


def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Overwrite the main diagonal; with ``wrap`` that of a tall matrix begins again below, after a row left out."""
    shape = self.layout.shape
    if len(shape) < 2:
        raise RuntimeError("dimensions must larger than 1")
    if len(shape) > 2 and len(set(shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    check_writable(self, "fill_diagonal_")
    strides = self.layout.strides
    if len(shape) > 2:
        self.as_strided((shape[0],), (sum(strides),), self.layout.offset).fill_(fill_value)
        return self
    rows, columns = shape
    period = columns + 1 if wrap else rows
    for start in range(0, rows, period):
        length = min(rows - start, columns)
        self.as_strided((length,), (strides[0] + strides[1],), self.layout.offset + start * strides[0]).fill_(fill_value)
    return self


def set_(self: Tensor, source: Any = None, storage_offset: int = 0, size: Any = None, stride: Any = None) -> Tensor:
    """Let the tensor be another window: on the memory of ``source``, a tensor or a storage, or on none if that is not given.

    Args:
        storage_offset: how many elements of the memory lie before the first
        size: the sizes, by default those of a tensor, or all of a storage; memory that is too small for them grows
        stride: the strides, by default those of a contiguous tensor

    Raises:
        RuntimeError: the tensor requires grad, or ``source`` has another dtype.
        TypeError: ``source`` is neither tensor nor storage.
    """
    check_writable(self, "set_")
    dtype = self.layout.dtype
    if source is None:
        source = creation.empty(0, dtype=dtype, device=self.device)
    kind = getattr(source, "dtype", dtype)
    if not isinstance(source, (TensorBase, UntypedStorage, TypedStorage)):
        raise TypeError(f"set_(): argument 'source' must be Tensor or Storage, not {type(source).__name__}")
    if kind is not dtype:
        raise RuntimeError(f"Could not set tensor of type {kind!r} to a tensor of type {dtype!r}")
    if isinstance(source, TensorBase):
        memory, layout = source.memory, source.layout
        if size is None and storage_offset:
            raise TypeError("set_(): the sizes must be given with an offset into the memory of a tensor")
    else:
        memory = source.untyped()._storage
        layout = lay.contiguous((memory.nbytes // dtype.itemsize,), dtype)
        size = (layout.numel - whole(storage_offset, "storage_offset"),) if size is None else size
    if size is not None:
        shape = int_tuple(size, "size")
        strides = lay.row_major(shape) if stride is None else int_tuple(stride, "stride")
        if len(shape) != len(strides) or min((*shape, *strides, storage_offset)) < 0:
            raise RuntimeError(
                f"set_(): sizes, strides and offset must not be negative, and as many strides as sizes, but got {list(shape)}, {list(strides)} and "
                f"{storage_offset}"
            )
        layout = lay.layout(shape, strides, whole(storage_offset, "storage_offset"), dtype)
    self.memory, self.layout, self.base = memory, layout, None
    self.__dict__.pop("_views", None)
    shaping.grow(self, layout.extent * dtype.itemsize)
    return self


def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replace each element by what a Python function makes of it; slow."""
    return _mapped(self, callable, self)


def map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replace each element by what a Python function makes of it and the other tensor's element; slow."""
    return _mapped(self, callable, self, tensor.expand(self.layout.shape))


def _mapped(target: Tensor, function: Callable, *operands: Tensor) -> Tensor:
    if target.requires_grad:
        raise TypeError("apply_() and map_() are only for tensors that do not require grad: the function has no derivative")
    if target.is_meta:
        return target
    columns = [operand.detach().reshape(-1).tolist() for operand in operands]
    values = [function(*each) for each in zip(*columns, strict=True)]
    return target.copy_(creation.tensor(values, dtype=target.layout.dtype).reshape(target.layout.shape))


for _method in (
    cuda,
    get_device,
    pin_memory,
    is_pinned,
    share_memory_,
    is_shared,
    is_set_to,
    dim_order,
    new,
    set_,
    fill_diagonal_,
    apply_,
    map_,
):
    setattr(Tensor, _method.__name__, _method)

for _part in Tensor.__mro__:
    guard(*[_method for _name, _method in vars(_part).items() if not _name.startswith("__")])

# -- functions that take foreign memory ------------------------------------------------------------------------------


def asarray(obj: Any, *, dtype: DType | None = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of anything array-like, that shares its memory where that is possible; ``copy`` says whether it must, or must not."""
    if isinstance(obj, UntypedStorage):
        obj = obj._bytes()
    if isinstance(obj, TensorBase):
        result = creation.as_tensor(obj, dtype, device)
        shares = result is obj
    elif isinstance(obj, np.ndarray):
        result = creation.as_tensor(obj, dtype, device)
        shares = dtype is None or dt.from_numpy(obj.dtype) is dtype
    else:
        result, shares = creation.tensor(obj, dtype=dtype, device=device), False
    if copy is False and not shares:
        raise ValueError("can't alias the memory of the object: it must be a tensor or an array of the dtype that is asked for")
    if copy and shares:
        result = result.clone()
    result = result.detach() if isinstance(obj, TensorBase) and not requires_grad and result.requires_grad else result
    return result.requires_grad_(requires_grad) if requires_grad else result


def frombuffer(buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A vector over the memory of an object with the buffer protocol, from byte ``offset`` on; ``count`` elements of it, or all."""
    size = memoryview(buffer).nbytes
    if size == 0:
        raise ValueError("both buffer length (0) and count (-1) must not be 0")
    if not 0 <= offset < size:
        raise ValueError(f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({size} bytes) - 1")
    if count < 0:
        if (size - offset) % dtype.itemsize:
            raise ValueError(
                f"buffer length ({size - offset} bytes) after offset ({offset} bytes) must be a multiple of element size ({dtype.itemsize})"
            )
        count = (size - offset) // dtype.itemsize
    if offset + count * dtype.itemsize > size:
        raise ValueError(
            f"requested buffer length ({count} * {dtype.itemsize} bytes) after offset ({offset} bytes) must not be greater than {size}"
        )
    if memoryview(buffer).readonly:
        warn(
            "The given buffer is not writable, and PyTorch does not support non-writable tensors. This means you can write to the underlying "
            "(supposedly non-writable) buffer using the tensor: give it bytearray(buffer), or clone the tensor before writing to it."
        )
    flat = creation.adopt_array(np.frombuffer(buffer, np.uint8, count * dtype.itemsize, offset)).view(dtype)
    return flat.requires_grad_() if requires_grad else flat


class _Capsule:
    """What has given a DLPack capsule, for those who ask the giver."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0  # the CPU

    def __dlpack__(self, **options: Any) -> Any:
        return self._capsule


def from_dlpack(ext_tensor: Any, **options: Any) -> Tensor:
    """A tensor over the memory of another library's array, or of the capsule that it gave, handed over by the DLPack protocol."""
    if type(ext_tensor).__name__ == "PyCapsule":
        ext_tensor = _Capsule(ext_tensor)
    return ext_tensor.detach() if isinstance(ext_tensor, TensorBase) else creation.adopt_array(np.from_dlpack(ext_tensor))


def _dlpack(self: Tensor, *, stream: int | None = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None) -> Any:
    """A DLPack capsule of the tensor's memory, for another library's ``from_dlpack``.

    Raises:
        BufferError: the tensor requires grad, or is elsewhere than on the CPU, or of a dtype that NumPy lacks
    """
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    options = {"max_version": max_version, "dl_device": dl_device, "copy": copy, "stream": None if stream == -1 else stream}
    try:
        return self.numpy().__dlpack__(**{name: value for name, value in options.items() if value is not None})
    except TypeError as error:
        raise BufferError(f"Can't export this tensor of {self.dtype} on the device {self.device}: {error}") from error


def _dlpack_device(self: Tensor) -> tuple[Any, int]:
    """The kind of the device that the tensor is on, and its number, as DLPack has them.

    Raises:
        ValueError: DLPack knows no such device
    """
    if self.device.type != "cpu":
        raise ValueError(f"Unknown device type {self.device.type} for Dlpack")
    return DLDeviceType.kDLCPU, 0


def _module_load(self: Tensor, other: Tensor, assign: bool = False) -> Tensor:
    """What a module's parameter or buffer becomes when ``load_state_dict`` loads another tensor, if it exchanges tensors
    (``torch.__future__.set_swap_module_params_on_conversion``): a new tensor, with the values of ``other`` in this one's memory, or ``other``'s.

    Subclasses say something else here, or in their ``__torch_function__``.
    """
    return other.detach() if assign else self.copy_(other).detach()


_module_load.__name__ = _module_load.__qualname__ = "module_load"
Tensor.module_load = _module_load
Tensor.__dlpack__ = _dlpack
Tensor.__dlpack_device__ = _dlpack_device


def range_(start: Any = 0, end: Any = None, step: Any = 1, *, dtype: DType | None = None, **options: Any) -> Tensor:
    """Numbers from ``start`` up to and including ``end``; PyTorch advises to use ``arange``."""
    if end is None:
        start, end = 0, start
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    count = int((end - start) / step) + 1
    kind = dtype or get_default_dtype()
    return (ranges.arange(count, **options).to(kind) * step + start).to(kind)


FUNCTIONS: dict[str, Any] = {name: getattr(Tensor, name) for name in _FUNCTIONS}
FUNCTIONS |= {
    "asarray": asarray,
    "concat": joining.cat,
    "concatenate": joining.cat,
    "from_dlpack": from_dlpack,
    "frombuffer": frombuffer,
    "range": range_,
}
guard(*FUNCTIONS.values())
