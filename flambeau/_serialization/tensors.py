"""What a checkpoint knows of tensors: how they are taken apart when saved and put together when loaded.

A file names PyTorch's functions and classes (``torch._utils._rebuild_tensor_v2``, ``torch.FloatStorage``, …). ``GLOBALS`` says what
each of these names means here; everything in it is safe to build from a file that nobody vouches for.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from flambeau import _tensor
from flambeau._ops.meta import nowhere
from flambeau._ops.registry import new_tensor
from flambeau._runtime import allocator
from flambeau._serialization import nested
from flambeau._tape.storage import MetaStorage, Storage
from flambeau._tensor.size import Size
from flambeau._tensor.tensor import Tensor
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.device import device as Device
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout
from flambeau._types.quantized import QUANTIZED, SCHEMES, qscheme
from flambeau._types.strided import jagged, sparse_coo, sparse_csc, sparse_csr, strided
from flambeau._types.strided import layout as Kind

# What instances keep in their dictionary for our own use; the rest are attributes that users set.
_INTERNAL = frozenset({"_grad", "_retains", "_views"})


class StorageType:
    """The class of a storage in PyTorch's files, ``torch.FloatStorage`` for example: a dtype's other name."""

    __slots__ = ("dtype", "module", "name")

    def __init__(self, name: str, dtype: DType, module: str = "torch") -> None:
        self.name = name
        self.dtype = dtype
        self.module = module


_UNTYPED = StorageType("UntypedStorage", dt.uint8, "torch.storage")
_STORAGE_TYPES = {
    dtype: StorageType(f"{title}Storage", dtype)
    for dtype, title in dt.TITLES.items()
    if dtype not in (dt.uint16, dt.uint32, dt.uint64, dt.complex32, *dt.FLOAT8)
}
"""Dtypes that are younger than these classes are saved as untyped bytes and their name."""

_STORAGE_TYPES |= {
    dtype: StorageType(f"Q{QUANTIZED[dtype].name.replace('u', 'U').replace('int', 'Int')}Storage", dtype) for dtype in QUANTIZED
}


class StorageReference:
    """A storage on its way into a file."""

    __slots__ = ("memory", "type")

    def __init__(self, storage: Storage, type: StorageType) -> None:
        self.memory = storage
        self.type = type

    @property
    def numel(self) -> int:
        return self.memory.nbytes // self.type.dtype.itemsize

    def data(self) -> memoryview:
        """The bytes, computed if they were pending."""
        return self.memory.materialize().view(np.uint8, self.memory.nbytes).data


def storage_bytes(tensor: Tensor) -> memoryview:
    """All bytes of the storage that a tensor lies in."""
    return StorageReference(tensor.memory, _UNTYPED).data()


class LoadedStorage:
    """A storage that came out of a file: memory of a dtype, from which tensors are made.

    Attributes:
        dtype: of the elements
        start: where they start, in bytes (old files have storages that are parts of others)
    """

    __slots__ = ("_nbytes", "dtype", "memory", "start")

    def __init__(self, memory: Storage, dtype: DType, start: int = 0, nbytes: int | None = None) -> None:
        self.memory = memory
        self.dtype = dtype
        self.start = start
        self._nbytes = memory.nbytes - start if nbytes is None else nbytes

    @staticmethod
    def empty(nbytes: int, dtype: DType) -> LoadedStorage:
        """New memory, to be filled."""
        return LoadedStorage(Storage(allocator.allocate(nbytes), nbytes), dtype)

    @staticmethod
    def over(array: np.ndarray, dtype: DType) -> LoadedStorage:
        """The memory of an array of bytes."""
        buffer = allocator.Buffer.foreign(array.__array_interface__["data"][0], array.nbytes, array)
        return LoadedStorage(Storage(buffer, array.nbytes), dtype)

    @staticmethod
    def nowhere(nbytes: int, dtype: DType) -> LoadedStorage:
        """What stands for so much memory on the meta device."""
        return LoadedStorage(MetaStorage(nbytes), dtype)

    @property
    def device(self) -> Device:
        """Where the bytes are."""
        return self.memory.device

    def nbytes(self) -> int:
        """The number of bytes."""
        return self._nbytes

    def cpu(self) -> LoadedStorage:
        """The storage itself."""
        return self

    def data(self) -> np.ndarray:
        """The bytes."""
        assert self.memory.buffer is not None
        return self.memory.buffer.view(np.uint8, self._nbytes, self.start)

    def swap_bytes(self) -> None:
        """Turn numbers of the other byte order into ours, in place."""
        width = self.dtype.to_real().itemsize if self.dtype.is_complex else self.dtype.itemsize
        self.data().view(f"u{width}").byteswap(inplace=True)


# ----------------------------------------------------------------------------------------------------------- saving


def reduce_tensor(tensor: Tensor) -> tuple[Callable, tuple]:
    """The function and the arguments that make a tensor like this one again, with no more history than ``requires_grad``."""
    cls = type(tensor)
    if getattr(cls, "keeps_class_as_parameter", False):  # a distributed tensor, which says what to do instead
        return tensor.__reduce_ex__(2)
    state = {name: value for name, value in tensor.__dict__.items() if name not in _INTERNAL}
    if cls is not Tensor:
        from flambeau.nn.parameter import Buffer, Parameter

        if cls is Parameter:
            arguments = (tensor.data, tensor.requires_grad, OrderedDict())
            return (_rebuild_parameter_with_state, (*arguments, state)) if state else (_rebuild_parameter, arguments)
        if cls is Buffer:  # which in PyTorch is a plain tensor with these attributes
            cls, state = Tensor, {**state, "_is_buffer": True}
    if tensor.is_nested:
        return nested.reduce_nested(tensor)
    layout = tensor.layout
    if tensor.is_quantized:
        storage = StorageReference(tensor.memory, _STORAGE_TYPES[layout.dtype])
        return _rebuild_qtensor, (storage, layout.offset, layout.shape, layout.strides, tensor.parts()[1], False, OrderedDict())
    if not isinstance(layout, Layout):
        return _rebuild_sparse_tensor, (layout.kind, tensor.parts())
    arguments = (layout.offset, layout.shape, layout.strides, tensor.requires_grad, OrderedDict())
    storage_type = _STORAGE_TYPES.get(layout.dtype)
    if tensor.is_meta:
        function, arguments = _rebuild_meta_tensor_no_storage, (layout.dtype, layout.shape, layout.strides, tensor.requires_grad)
    elif storage_type is not None:
        function, arguments = _rebuild_tensor_v2, (StorageReference(tensor.memory, storage_type), *arguments)
    else:
        function, arguments = _rebuild_tensor_v3, (StorageReference(tensor.memory, _UNTYPED), *arguments, layout.dtype)
    if cls is Tensor and not state:
        return function, arguments
    return _rebuild_from_type_v2, (function, cls, arguments, state)


# ---------------------------------------------------------------------------------------------------------- loading


def shown(value: Any) -> str:
    """What an error says of something in a file: a container may have more parts than could be written down, as a few bytes name it many times."""
    return f"a {type(value).__name__}" if isinstance(value, (tuple, list, dict, set, frozenset)) else repr(value)


def tensor_over(storage: LoadedStorage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], dtype: DType) -> Tensor:
    """The tensor of these elements of a storage.

    Raises:
        RuntimeError: the storage does not have them all, or the numbers make no sense.
    """
    if not isinstance(storage, LoadedStorage) or not isinstance(dtype, DType):
        raise RuntimeError(f"a tensor is made of a storage and a dtype, not of a {type(storage).__name__} and {shown(dtype)}")
    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride) or not all(type(number) is int and 0 <= number < 1 << 63 for number in (offset, *size, *stride)):
        numbers = [", ".join(map(shown, each)) for each in (size, stride)]
        raise RuntimeError(
            f"invalid tensor: size ({numbers[0]}), stride ({numbers[1]}), offset {shown(offset)}; expected integers >= 0, as many strides as sizes"
        )
    layout = lay.layout(size, stride, offset + storage.start // dtype.itemsize, dtype)
    needed = (layout.extent if layout.numel else offset) * dtype.itemsize
    if layout.numel and needed > storage.start + storage.nbytes():
        raise RuntimeError(
            f"setting size {list(size)}, stride {list(stride)} and storage offset {offset} requires a storage of "
            f"{needed - storage.start} bytes, but the file has one of {storage.nbytes()} bytes"
        )
    if storage.start % dtype.itemsize:
        raise RuntimeError(f"invalid storage: it starts at byte {storage.start}, which is not a multiple of {dtype.itemsize}")
    return new_tensor(storage.memory, layout)


def _rebuild_tensor(storage: LoadedStorage, offset: int, size: tuple, stride: tuple) -> Tensor:
    return tensor_over(storage, offset, size, stride, storage.dtype)


def _rebuild_tensor_v2(
    storage: LoadedStorage, offset: int, size: tuple, stride: tuple, requires_grad: bool, hooks: Any, metadata: dict | None = None
) -> Tensor:
    return _rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, storage.dtype, metadata)


def _rebuild_tensor_v3(
    storage: LoadedStorage,
    offset: int,
    size: tuple,
    stride: tuple,
    requires_grad: bool,
    hooks: Any,
    dtype: DType,
    metadata: dict | None = None,
) -> Tensor:
    tensor = tensor_over(storage, offset, size, stride, dtype)
    if metadata:  # of lazy views, whose operation is not done yet
        if metadata.get("conj"):
            tensor = tensor.conj()
        if metadata.get("neg"):
            tensor = -tensor
    return tensor.requires_grad_() if requires_grad else tensor


def _rebuild_meta_tensor_no_storage(dtype: DType, size: tuple, stride: tuple, requires_grad: bool) -> Tensor:
    """A tensor on the meta device."""
    tensor = tensor_over(LoadedStorage.nowhere(sys.maxsize, dtype), 0, size, stride, dtype)
    return nowhere(tensor.layout).requires_grad_(bool(requires_grad))


def _rebuild_parameter(data: Tensor, requires_grad: bool, hooks: Any) -> Tensor:
    from flambeau.nn.parameter import Parameter

    return Parameter(data, bool(requires_grad))


def _rebuild_parameter_with_state(data: Tensor, requires_grad: bool, hooks: Any, state: Any) -> Tensor:
    return _with_state(_rebuild_parameter(data, requires_grad, hooks), state)


def _rebuild_from_type_v2(function: Callable, cls: type, arguments: tuple, state: Any) -> Tensor:
    if function in nested.REBUILDERS.values():
        return function(*arguments)
    if function not in _REBUILDERS:
        raise RuntimeError(f"a tensor cannot be made by {shown(function)}")
    tensor = function(*arguments)
    if type(tensor) is not cls:
        if not (isinstance(cls, type) and issubclass(cls, Tensor)):
            raise RuntimeError(f"a tensor cannot be of type {shown(cls)}")
        tensor = tensor.as_subclass(cls)
    return _with_state(tensor, state)


def _with_state(tensor: Tensor, state: Any) -> Tensor:
    """Set the attributes that a tensor had."""
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    for part in (attributes, slots):
        for name, value in (part or {}).items():
            if hasattr(Tensor, name) or name in _INTERNAL:
                raise RuntimeError(f"{name!r} is an attribute of every tensor, which a file cannot change")
            tensor.__dict__[name] = value
    return tensor


class _Unchecked(threading.local):
    """The sparse tensors that this thread has made while it reads a file in which all elements come last; ``None`` if it reads none."""

    tensors: list[Tensor] | None = None


_UNCHECKED = _Unchecked()


@contextmanager
def elements_come_last() -> Iterator[Callable[[], None]]:
    """A context in which the elements of tensors that are made are not there yet. It gives what checks them once they are.

    Raises:
        RuntimeError: a sparse tensor has positions out of range (from what it gives)
    """
    outer = _UNCHECKED.tensors
    tensors: list[Tensor] = []

    def check() -> None:
        from flambeau.sparse.creation import check_positions

        for each in tensors:
            check_positions(each)

    _UNCHECKED.tensors = tensors
    try:
        yield check
    finally:
        _UNCHECKED.tensors = outer


def _rebuild_sparse_tensor(kind: Kind, parts: tuple) -> Tensor:
    """A sparse tensor of its positions, values and shape, which are checked."""
    from flambeau.sparse.creation import of_parts

    waiting = _UNCHECKED.tensors
    made = of_parts(kind, parts, checks=waiting is None)
    if waiting is not None:
        waiting.append(made)
    return made


def _rebuild_qtensor(
    storage: LoadedStorage, offset: int, size: tuple, stride: tuple, parameters: tuple, requires_grad: bool, hooks: Any
) -> Tensor:
    """A quantized tensor of its integers, and of its scale and zero point, which are checked."""
    from flambeau.ao.tensors.tensor import of_parts

    if storage.dtype not in QUANTIZED:
        raise RuntimeError(f"a quantized tensor is not made of a storage of {storage.dtype!r}")
    return of_parts(tensor_over(storage, offset, size, stride, QUANTIZED[storage.dtype]), parameters, storage.dtype)


def get_layout(name: str) -> Kind:
    """The kind of layout of a name, ``"torch.sparse_coo"``."""
    for each in (strided, jagged, sparse_coo, sparse_csr, sparse_csc):
        if repr(each) == name:
            return each
    raise RuntimeError(f"there is no layout {shown(name)}; the file is damaged")


_tensor._rebuild_from_type_v2 = _rebuild_from_type_v2  # where PyTorch's pickles look for it

_REBUILDERS = (
    _rebuild_tensor,
    _rebuild_tensor_v2,
    _rebuild_tensor_v3,
    _rebuild_meta_tensor_no_storage,
    _rebuild_parameter,
    _rebuild_parameter_with_state,
    _rebuild_sparse_tensor,
    _rebuild_qtensor,
)


def _encode(text: str, encoding: str = "utf-8") -> bytes:
    """How bytes are written in pickles of protocol 2. Other codecs would run code that the file chooses."""
    if encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise RuntimeError(f"bytes cannot be encoded as {shown(encoding)}")
    return text.encode(encoding)


def _bytes(*arguments: Any, kind: type = bytes) -> Any:
    if arguments and isinstance(arguments[0], int):  # a size, which may be anything
        raise RuntimeError(f"{kind.__name__} are made of what they hold, not of its size")
    return kind(*arguments)


def _bytearray(*arguments: Any) -> bytearray:
    return _bytes(*arguments, kind=bytearray)


GLOBALS: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "collections.Counter": Counter,
    "_codecs.encode": _encode,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytearray,
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "builtins.complex": complex,
    "torch.Size": Size,
    "torch.Tensor": Tensor,
    "torch.device": Device,
    "torch.storage.UntypedStorage": _UNTYPED,
    "torch.serialization._get_layout": get_layout,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type_v2,
    **{f"torch._utils.{function.__name__}": function for function in _REBUILDERS},
    **nested.NAMES,
    **{f"torch.{each.name}": each for each in dt.DTYPES},
    **{f"torch.{each.name}": each for each in (*QUANTIZED, *SCHEMES)},
    **{f"torch.{each.name}": each for each in _STORAGE_TYPES.values()},
}
"""What a file may name, by PyTorch's names; ``torch.nn.parameter.Parameter`` goes with them, but takes the import of ``nn``."""

PLAIN = (DType, StorageType, qscheme)
"""The classes of those that are values, and not to be called."""

NAMES = {id(each): name.rpartition(".")[::2] for name, each in GLOBALS.items() if name.startswith("torch.")}
"""The module and the name under which each is saved, by its ``id``."""
