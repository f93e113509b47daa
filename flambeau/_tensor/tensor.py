"""The ``Tensor`` class: what PyTorch's users hold in their hands.

Most methods are the functions of the operator families (``_ops/``), attached at the end; what stands here is what belongs to the
object itself: its fields, its conversions, and Python's protocols.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from numbers import Number
from typing import Any

import numpy as np

import flambeau._ops as ops
from flambeau._ops import choice, copying, elementwise, indexing, views
from flambeau._ops.copying import contiguous_format, memory_format, preserve_format
from flambeau._ops.node import AccumulateGrad, HookHandle, hooks_of
from flambeau._ops.operator import set_tensor_class
from flambeau._ops.origin import is_inside, warn
from flambeau._ops.registry import FUNCTIONS
from flambeau._ops.writing import is_unseen
from flambeau._tape.storage import NoElements, TensorBase
from flambeau._tape.tape import LOCAL
from flambeau._tensor import copies, overriding
from flambeau._tensor.arithmetic import Arithmetic
from flambeau._tensor.items import item as item_of
from flambeau._tensor.named import NamedMethods
from flambeau._tensor.quantized import QuantizedMethods
from flambeau._tensor.size import Size
from flambeau._tensor.sparse import SparseMethods
from flambeau._tensor.storages import UntypedStorage, typed_storage
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.device import CPU, is_meta
from flambeau._types.device import device as Device
from flambeau._types.dtype import dtype as DType
from flambeau._types.encoding import numbers_in


class Tensor(Arithmetic, NamedMethods, SparseMethods, QuantizedMethods):
    """An array of elements of one dtype, on which operators are recorded and whose gradient is tracked.

    Make one with ``flambeau.tensor(data)`` and the other creation functions.
    """

    __slots__ = ()

    # Defaults of what most tensors never have; set in the instance's dictionary.
    _grad: Tensor | None = None
    _retains: bool = False

    def __new__(cls, *args: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
        is_data = bool(args) and not isinstance(args[0], (Size, TensorBase, np.generic))
        if is_data and (isinstance(args[0], (list, tuple)) or hasattr(args[0], "__array__")):
            made = ops.creation.tensor(args[0], dtype=dtype or dt.float32, device=CPU)
        elif args and isinstance(args[0], TensorBase):
            made = views.detach(args[0])
        else:
            made = ops.creation.empty(*(args or (0,)), dtype=dtype or dt.float32, device=CPU)
        return made if cls is Tensor else made.as_subclass(cls)

    def as_subclass(self, cls: type) -> Any:
        """The tensor as an instance of a subclass of ``Tensor``, sharing memory and history."""
        if overriding.is_asked(cls):
            overriding.activate()
        made = object.__new__(cls)
        made.memory, made.layout, made.node, made.output_nr, made.base = self.memory, self.layout, self.node, self.output_nr, self.base
        return made

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What functions do with instances of a subclass: they run, and their results are instances of it, too."""
        return overriding.default(cls, func, types, args, kwargs)

    __torch_dispatch__ = staticmethod(overriding.disabled_torch_dispatch)

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The sizes of the dimensions."""
        return tuple.__new__(Size, self.layout.shape)

    def size(self, dim: int | None = None) -> Any:
        """The sizes of all dimensions, or of one."""
        if dim is None:
            return tuple.__new__(Size, self.layout.shape)
        return self.layout.shape[lay.wrap_axis(dim, self.layout.ndim)]

    def stride(self, dim: int | None = None) -> Any:
        """How many elements of memory lie from one index to the next: of all dimensions, or of one."""
        return self.layout.strides if dim is None else self.layout.strides[lay.wrap_axis(dim, self.layout.ndim)]

    def storage_offset(self) -> int:
        """How many elements of the storage lie before the first of the tensor."""
        return self.layout.offset

    @property
    def dtype(self) -> DType:
        """The type of the elements."""
        return self.layout.dtype

    @property
    def device(self) -> Device:
        """Where the tensor lives."""
        return self.memory.place

    @property
    def is_cpu(self) -> bool:
        """Whether the tensor lives on the CPU."""
        return self.device is CPU

    @property
    def is_meta(self) -> bool:
        """Whether the tensor lives nowhere: it is on the meta device, and has no elements."""
        return self.device is not CPU

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self.layout.ndim

    def dim(self) -> int:
        """The number of dimensions."""
        return self.layout.ndim

    ndimension = dim

    def untyped_storage(self) -> UntypedStorage:
        """The bytes behind the tensor."""
        return UntypedStorage(self.memory)

    def numel(self) -> int:
        """The number of elements."""
        return self.layout.numel

    nelement = numel

    def element_size(self) -> int:
        """The bytes of one element."""
        return self.layout.dtype.itemsize

    @property
    def itemsize(self) -> int:
        """The bytes of one element."""
        return self.layout.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes of all elements."""
        return self.layout.numel * self.layout.dtype.itemsize

    def is_contiguous(self, memory_format: memory_format = contiguous_format) -> bool:
        """Whether the elements lie in memory in the order of the format, without gaps."""
        return memory_format.matches(self.layout)

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating-point type."""
        return self.layout.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the dtype is complex."""
        return self.layout.dtype.is_complex

    def is_signed(self) -> bool:
        """Whether the dtype has negative numbers."""
        return self.layout.dtype.is_signed

    is_cuda = is_sparse = is_sparse_csr = is_quantized = is_mkldnn = is_mps = is_xpu = is_nested = False
    is_ipu = is_maia = is_mtia = is_vulkan = is_xla = False

    real = property(copying.real, doc="The real parts, as a view.")
    imag = property(copying.imag, doc="The imaginary parts, as a view.")

    def is_inference(self) -> bool:
        """Whether inference mode made the tensor, or what it is a view of: outside it cannot be written, nor be saved for backward."""
        return self.memory.version < 0

    def is_same_size(self, other: Tensor) -> bool:
        """Whether the other tensor has the same shape."""
        return self.layout.shape == other.layout.shape

    def data_ptr(self) -> int:
        """The address of the first element (which computes it, if it is pending); 0 if there is none, or on the meta device."""
        if self.layout.numel == 0 or (self.memory.device is not CPU and not _asks_for_us(sys._getframe(1))):
            return 0
        return self.memory.pin() + self.layout.offset * self.layout.dtype.itemsize

    # -- autograd --------------------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to or through the tensor."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask that ``backward`` computes the gradient of this leaf.

        Raises:
            RuntimeError: the dtype has no gradients, or the tensor is the result of an operator and must keep its history.
        """
        if requires_grad and self.layout.dtype.category < dt.FLOAT:
            raise RuntimeError("only Tensors of floating point and complex dtype can require gradients")
        if requires_grad and self.memory.version < 0 and not LOCAL.tape.fresh:
            raise RuntimeError(
                "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed: x.clone().requires_grad_() is an ordinary leaf."
            )
        if self.is_leaf:
            if not requires_grad:
                self.node = None
            elif self.node is None:
                if is_unseen(self):
                    self.base = None
                self.node = AccumulateGrad(self)
                if LOCAL.tape.batched:
                    LOCAL.tape.own(self.node)
        elif not requires_grad:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a subgraph that doesn't "
                "require differentiation use var_no_grad = var.detach()."
            )
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor is no result of a differentiable operator."""
        return self.node is None or isinstance(self.node, AccumulateGrad)

    @property
    def grad_fn(self) -> Any:
        """The gradient node that made the tensor, or ``None``."""
        return None if isinstance(self.node, AccumulateGrad) else self.node

    @property
    def grad(self) -> Tensor | None:
        """The gradient that ``backward`` has added up for this leaf."""
        if self._grad is None and not self.is_leaf and not self._retains:
            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed: backward() fills in only leaves. "
                "Call .retain_grad() on it before, or read that of the leaf.", stacklevel=2,
            )  # fmt: skip
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, TensorBase):
                raise TypeError(f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}")
            if value.layout.shape != self.layout.shape:
                raise RuntimeError(
                    f"assigned grad has data of a different size: it has shape {list(value.layout.shape)}, the tensor {list(self.layout.shape)}"
                )
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if value.layout.dtype is not self.layout.dtype:
                raise RuntimeError(f"assigned grad has data of a different type: {value.layout.dtype!r}, not {self.layout.dtype!r}")
            if value.device is not self.device:
                raise RuntimeError(f"assigned grad is on the device {value.device}, the tensor on {self.device}")
        self.__dict__["_grad"] = value

    def backward(
        self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        """Add the gradient of this tensor to the ``grad`` of every leaf that it depends on; see ``autograd.backward``."""
        FUNCTIONS.backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def detach_(self) -> Tensor:
        """Forget the history; the tensor becomes a leaf."""
        if self._is_view():
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self.node = None
        return self

    @property
    def data(self) -> Tensor:
        """The same memory without history; changes through it are not seen by autograd."""
        return views.data(self)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, TensorBase):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if value.memory.wrapped or self.memory.wrapped:
            FUNCTIONS.exchange(self, value)
            return
        if value.memory.device is not self.memory.device:
            raise RuntimeError(
                f"the data of a tensor on the device {self.device} cannot become those on {value.device}: make a new tensor or parameter of them "
                "(for a whole module: module.to_empty(device=...), or load_state_dict(..., assign=True))"
            )
        if self.node is not None and value.layout.dtype.category < dt.FLOAT:
            raise RuntimeError(
                f"data set to a tensor that requires gradients must be floating point or complex dtype, but it is {value.layout.dtype!r}"
            )
        value.memory.weight = getattr(self.memory, "weight", False)
        self.memory = value.memory
        self.layout = value.layout

    def register_hook(self, hook: Callable) -> HookHandle:
        """Call ``hook(grad)`` whenever the gradient of this tensor is computed; it may return another gradient."""
        if self.node is None:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        hooks = hooks_of(self.node)
        return hooks.add(hooks.outputs.setdefault(self.output_nr, {}), hook)

    def register_post_accumulate_grad_hook(self, hook: Callable) -> HookHandle:
        """Call ``hook(tensor)`` after a gradient has been added to this leaf's ``grad``."""
        if not isinstance(self.node, AccumulateGrad):
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        hooks = hooks_of(self.node)
        return hooks.add(hooks.accumulated, hook)

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf tensor in its ``grad``, too."""
        if self.node is None:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if not self.is_leaf:
            import weakref

            hooks_of(self.node).retain[self.output_nr] = weakref.ref(self)
            self.__dict__["_retains"] = True

    @property
    def retains_grad(self) -> bool:
        """Whether ``retain_grad`` was called on this non-leaf tensor."""
        return self._retains

    @property
    def _version(self) -> int:
        if self.memory.version < 0:
            raise RuntimeError("Inference tensors do not track version counter.")
        return self.memory.version

    @property
    def _base(self) -> Any:
        return self.base if self._is_view() else None

    def _is_view(self) -> bool:
        return self.base is not None and not is_unseen(self)

    # -- conversion ------------------------------------------------------------------------------------------------

    def _array(self) -> np.ndarray:
        """The elements as a NumPy array on the tensor's own memory (what NumPy lacks as its bits)."""
        layout = self.layout
        dtype = layout.dtype
        if layout.numel == 0 and self.memory.device is CPU:
            return np.empty(layout.shape, dtype.numpy)
        return self.memory.materialize().array(layout.shape, dtype.numpy, layout.offset * dtype.itemsize, layout.byte_strides)

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The tensor as a NumPy array that shares its memory.

        Raises:
            RuntimeError: the tensor requires grad (``detach()`` first, or ``force=True``).
            TypeError: NumPy has no such dtype (bfloat16, complex32), or the tensor is on the meta device.
        """
        return array_of(views.detach(self) if force else self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        return array if dtype is None else array.astype(dtype, copy=bool(copy))

    __array_priority__ = 1000

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Tensor:
        """What NumPy's functions return for a tensor: a tensor."""
        return ops.creation.from_numpy(array.astype(np.uint8) if array.dtype == bool else array)

    def item(self) -> Any:
        """The one element as a Python number.

        Raises:
            RuntimeError: there are more elements, or none.
        """
        return item_of(self)

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers (one number for a tensor without dimensions)."""
        return numbers_in(self._array(), self.layout.dtype).tolist()

    def to(self, *args: Any, dtype: DType | None = None, device: Any = None, non_blocking: bool = False, copy: bool = False,
           memory_format: memory_format = preserve_format) -> Tensor:  # fmt: skip
        """The tensor with another dtype, device or memory format: itself if nothing changes.

        Called as ``to(dtype)``, ``to(device, dtype)`` or ``to(other)``.
        """
        flagged = False
        for argument in args:
            if isinstance(argument, (DType, type)):
                dtype = argument
            elif isinstance(argument, TensorBase):
                dtype, device = argument.layout.dtype, argument.device
            elif isinstance(argument, (str, Device)):
                device = argument
            elif isinstance(argument, bool):  # the second one
                copy = copy or (argument and flagged)
                flagged = True
            elif argument is not None:
                raise TypeError(f"to() received an invalid combination of arguments: {argument.__class__.__name__}")
        dtype = dt.of_python(dtype)
        if device is not None and is_meta(device) is (self.memory.place is CPU):
            return copying.to_other_device(self, dtype or self.layout.dtype, memory_format)
        return copying.cast(self, dtype or self.layout.dtype, copy=copy, memory_format=memory_format)

    def cpu(self, memory_format: memory_format = preserve_format) -> Tensor:
        """The tensor itself, if it is on the CPU."""
        return self.to(CPU, memory_format=memory_format)

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """PyTorch's name of the tensor's type, or the tensor as another dtype."""
        if dtype is None:
            return f"torch.{'meta.' if self.is_meta else ''}{dt.TITLES[self.layout.dtype]}Tensor"
        if isinstance(dtype, str):
            wanted = {f"torch.{title}Tensor": each for each, title in dt.TITLES.items()}.get(dtype)
            if wanted is None:
                raise ValueError(f"invalid type: '{dtype}'")
            dtype = wanted
        elif isinstance(dtype, type):  # an old class of tensors, such as ``torch.FloatTensor``
            dtype = dtype.dtype
        return self.to(dtype)

    def type_as(self, other: Tensor) -> Tensor:
        """The tensor with the dtype, and on the device, of another."""
        return self.to(other)

    # -- copying and pickling --------------------------------------------------------------------------------------

    @staticmethod
    def _make_subclass(cls: type, data: Tensor, requires_grad: bool = False) -> Any:
        """A leaf of a subclass that shares the memory of ``data``."""
        if overriding.is_asked(cls):
            overriding.activate()
        if cls.__torch_dispatch__ is not overriding.disabled_torch_dispatch:
            made = FUNCTIONS.wrapper_around(cls, data, requires_grad)
            if made is not None:
                return made
        made = object.__new__(cls)
        made.memory, made.layout, made.output_nr, made.base = data.memory, data.layout, 0, None
        made.node = AccumulateGrad(made) if requires_grad else None
        return made

    @staticmethod
    def _make_wrapper_subclass(
        cls: type, size: Any, strides: Any = None, storage_offset: int | None = None, memory_format: Any = None, dtype: DType | None = None,
        layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
        dispatch_sizes_strides_policy: str | None = None, dispatch_device: bool = False, dispatch_layout: bool = False,
    ) -> Any:  # fmt: skip
        """A tensor without elements, of a class whose ``__torch_dispatch__`` says what operators do with it.

        Raises:
            RuntimeError: the class has none
        """
        if overriding.is_asked(cls):
            overriding.activate()
        return FUNCTIONS.wrapper(cls, size, strides, storage_offset, memory_format, dtype, device, requires_grad)

    def __deepcopy__(self, memo: dict) -> Tensor:
        return copies.deep_copy(self, memo)

    def __reduce_ex__(self, protocol: Any) -> tuple:
        cls = None if type(self) is Tensor else type(self)  # the name of a plain one's class depends on who asks (``_alias.py``)
        return copies.reduced(self, cls)

    # -- Python's protocols ----------------------------------------------------------------------------------------

    def __len__(self) -> int:
        if not self.layout.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.layout.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.layout.shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter(views.slices(self, 0))

    def __bool__(self) -> bool:
        if self.layout.numel > 1:
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        if self.layout.numel == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        return bool(self.item())

    def __float__(self) -> float:
        return float(self._one())

    def __int__(self) -> int:
        return int(self._one())

    def __complex__(self) -> complex:
        return complex(self._one())

    def _one(self) -> Any:
        if self.layout.numel != 1:
            raise ValueError(f"only one element tensors can be converted to Python scalars, not one with {self.layout.numel} elements")
        return self.item()

    def __index__(self) -> int:
        if self.layout.dtype.category > dt.INTEGER or self.layout.numel != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        from flambeau._tensor.printing import tensor_repr

        return tensor_repr(self, tensor_contents)

    def __format__(self, spec: str) -> str:
        if self.layout.ndim == 0 and type(self) is Tensor and self.device is CPU:
            return format(self.item(), spec)
        return object.__format__(self, spec)

    def __dir__(self) -> list[str]:
        return sorted(set(object.__dir__(self)))

    def __contains__(self, element: Any) -> bool:
        if not isinstance(element, (TensorBase, Number, np.generic)):
            raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}.")
        return bool((self == element).any().item())

    def __reversed__(self) -> Tensor:
        """The rows in reverse order."""
        return self.flip(0) if self.layout.ndim else self

    @property
    def T(self) -> Tensor:
        """The view with the dimensions reversed."""
        if self.layout.ndim not in (0, 2):
            warn(
                "The use of `x.T` on tensors of dimension other than 2 to reverse their shape is deprecated and it will throw an error in a future "
                "release. Consider `x.mT` to transpose batches of matrices or `x.permute(*torch.arange(x.ndim - 1, -1, -1))` to reverse the dimensions."
            )
        return views.permute(self, *range(self.layout.ndim - 1, -1, -1)) if self.layout.ndim != 2 else views.t(self)

    @property
    def mT(self) -> Tensor:
        """The view with the last two dimensions exchanged; of a tensor without dimensions itself."""
        if self.layout.ndim == 1:
            raise RuntimeError("tensor.mT is only supported on matrices or batches of matrices. Got 1-D tensor.")
        return views.transpose(self, -2, -1) if self.layout.ndim else self.view(())

    @property
    def H(self) -> Tensor:
        """The conjugate transpose of a matrix."""
        if self.layout.ndim not in (0, 2):
            raise RuntimeError(f"tensor.H is only supported on matrices (2-D tensors). Got {self.layout.ndim}-D tensor.")
        return elementwise.conj(self.T)

    @property
    def mH(self) -> Tensor:
        """The conjugate of the view with the last two dimensions exchanged."""
        return elementwise.conj(self.mT)


_ON_BEHALF = (__name__, overriding.__name__, f"{__name__.partition('.')[0]}.utils._device")
"""Modules that call functions because somebody else does."""


def _asks_for_us(frame: Any) -> bool:
    """Whether the address of a meta tensor is asked for by this package, which is about to let native code read or write there: there is none."""
    while frame.f_globals.get("__name__") in _ON_BEHALF:
        frame = frame.f_back
    return is_inside(frame.f_globals.get("__name__", ""))


def array_of(tensor: Tensor) -> np.ndarray:
    """What ``numpy`` does until native code does it (``_tape/native/``; 2.9 and 0.9 µs)."""
    if tensor.device is not CPU:
        raise TypeError(f"can't make a NumPy array of a meta tensor of shape {list(tensor.layout.shape)}: {NoElements()}")
    if tensor.node is not None and LOCAL.tape.grad:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
    if tensor.layout.dtype in dt.NO_NUMPY:
        raise TypeError(f"NumPy has no {tensor.layout.dtype!r}: convert the tensor to {tensor.layout.dtype.compute!r} first")
    array = tensor._array()
    tensor.memory.export(array)
    return array


Tensor.storage = typed_storage
Tensor.new_empty_strided = ops.creation.new_empty_strided
Tensor.__getitem__ = indexing.getitem
Tensor.__setitem__ = indexing.setitem

_NAMESAKES = {
    "new_empty": ops.creation.new_empty_method,
    "new_tensor": ops.creation.new_tensor_method,
    "polygamma": ops.special.polygamma_method,
    "polygamma_": ops.special.polygamma_inplace,
    "where": choice.where_method,
}
"""Methods that are no functions with the method's name: those are others."""

for _name, _method in _NAMESAKES.items():
    _method.__name__ = _method.__qualname__ = _name  # by which classes that are asked about calls know them
    setattr(Tensor, _name, _method)
for _family in ops.FAMILIES:
    for _name in _family.METHODS:
        setattr(Tensor, _name, getattr(_family, _name))

set_tensor_class(Tensor)
overriding.set_plain(Tensor)
overriding.watch_classes()
