"""The memory behind tensors, as users see it: ``UntypedStorage``, its bytes, and ``TypedStorage``, the elements that they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops.creation import adopt_array, empty, tensor
from flambeau._ops.registry import new_tensor
from flambeau._tape.storage import Storage
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.device import CPU, device
from flambeau._types.dtype import dtype as DType
from flambeau._types.promotion import get_default_dtype

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


class UntypedStorage:
    """The bytes that one or more tensors share: those of a tensor (``Tensor.untyped_storage()``), so many, or those of a sequence of numbers.

    Two objects are equal if they are the same memory.
    """

    __slots__ = ("_storage",)

    is_cuda = is_sparse = is_hpu = False
    filename = None

    def __init__(self, data: Any = 0, *, device: Any = None) -> None:
        if not isinstance(data, Storage):
            made = (
                empty(data, dtype=dt.uint8, device=device) if isinstance(data, int) else tensor(list(data), dtype=dt.uint8, device=device)
            )
            data = made.memory
        self._storage: Storage = data

    @classmethod
    def from_file(cls, filename: str | os.PathLike, shared: bool = False, nbytes: int = 0) -> UntypedStorage:
        """The bytes of a file, read when they are used.

        Args:
            shared: writes reach the file (which is made, or lengthened, if need be); otherwise they stay here
            nbytes: how many bytes; all by default
        """
        if shared:
            with open(filename, "ab") as file:
                file.truncate(max(nbytes, os.path.getsize(filename)))
        memory = np.memmap(filename, np.uint8, "r+" if shared else "c", shape=(nbytes or os.path.getsize(filename),))
        return cls(adopt_array(memory).memory)

    @property
    def device(self) -> device:
        """Where the bytes are."""
        return self._storage.device

    def untyped(self) -> UntypedStorage:
        """The storage itself."""
        return self

    def nbytes(self) -> int:
        """The number of bytes."""
        return self._storage.nbytes

    size = __len__ = nbytes

    def data_ptr(self) -> int:
        """The address of the first byte (which computes the bytes, if they are pending)."""
        return self._storage.pin() if self._storage.nbytes and self._storage.device is CPU else 0

    def tolist(self) -> list[int]:
        """The bytes as numbers from 0 to 255."""
        return self._bytes().tolist()

    def element_size(self) -> int:
        """The bytes of one element: 1."""
        return 1

    def type(self) -> str:
        """The name of the class, with its module."""
        return "torch.storage.UntypedStorage"

    def get_device(self) -> int:
        """The number of the device: -1 on the CPU."""
        return -1

    def _tensor(self) -> Tensor:
        return new_tensor(self._storage, lay.contiguous((self._storage.nbytes,), dt.uint8))

    def fill_(self, value: int) -> UntypedStorage:
        """Set all bytes."""
        self._tensor().fill_(value)
        return self

    def copy_(self, source: UntypedStorage, non_blocking: bool = False) -> UntypedStorage:
        """Take the bytes of another storage of the same size."""
        self._tensor().copy_(source._tensor())
        return self

    def clone(self) -> UntypedStorage:
        """The same bytes in memory of their own."""
        return UntypedStorage(self._tensor().clone().memory)

    def resize_(self, size: int) -> UntypedStorage:
        """Give the storage another number of bytes; it keeps as many of them as fit, and its memory if it becomes no larger."""
        if size > self._storage.nbytes:
            self._tensor().resize_(size)
        elif size < self._storage.nbytes:
            self.data_ptr()  # what is yet to be computed is computed for the old size
            self._storage.nbytes = size
        return self

    def cpu(self) -> UntypedStorage:
        """The storage itself."""
        return self

    def is_shared(self) -> bool:
        """Whether other processes see the memory."""
        return self._tensor().is_shared()

    def share_memory_(self) -> UntypedStorage:
        """Move the bytes to memory that other processes can see."""
        self._tensor().share_memory_()
        return self

    def is_pinned(self) -> bool:
        """Always False: no device reads the memory by itself."""
        return False

    def _bytes(self) -> np.ndarray:
        """The bytes, on the storage's own memory: whoever gets the array may write there."""
        if not self._storage.nbytes:
            return np.empty(0, np.uint8)
        array = self._storage.materialize().view(np.dtype(np.uint8), self._storage.nbytes)
        self._storage.export(array)
        return array

    def __getitem__(self, index: Any) -> Any:
        """A byte, or the storage of a run of bytes in the same memory."""
        found = self._bytes()[index]
        return UntypedStorage(adopt_array(found).memory) if isinstance(index, slice) else found.item()

    def __setitem__(self, index: Any, value: Any) -> None:
        self._tensor()[index] = value._tensor() if isinstance(value, UntypedStorage) else value

    def __iter__(self) -> Iterator[int]:
        return iter(self.tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._bytes(), dtype=dtype, copy=copy)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and self._storage is other._storage

    def __hash__(self) -> int:
        return id(self._storage)

    def __repr__(self) -> str:
        elements = "".join(f" {element}\n" for element in self) if self._storage.device is CPU else ""
        return f"{elements}[torch.storage.UntypedStorage(device={self.device}) of size {self._storage.nbytes}]"


class TypedStorage:
    """The elements that one or more tensors share, in the order of memory: those of a tensor (``Tensor.storage()``), so many, those of a sequence,
    or what the bytes of ``wrap_storage`` are.

    Two objects are equal if they are the same memory and dtype. https://docs.pytorch.org/docs/stable/storage.html
    """

    __slots__ = ("_elements", "_storage")

    is_cuda = is_sparse = False

    def __init__(
        self, data: Any = 0, *, wrap_storage: UntypedStorage | None = None, dtype: DType | None = None, device: Any = None
    ) -> None:
        dtype = dtype or get_default_dtype()
        if wrap_storage is not None:
            storage = wrap_storage.untyped()._storage
        else:
            storage = (
                empty(data, dtype=dtype, device=device) if isinstance(data, int) else tensor(data, dtype=dtype, device=device)
            ).memory
        self._storage = storage
        self._elements = new_tensor(storage, lay.contiguous((storage.nbytes // dtype.itemsize,), dtype))

    @property
    def dtype(self) -> DType:
        """That of the elements."""
        return self._elements.layout.dtype

    @property
    def device(self) -> device:
        """Where the elements are."""
        return self._storage.device

    def untyped(self) -> UntypedStorage:
        """The bytes."""
        return UntypedStorage(self._storage)

    _untyped_storage = property(untyped)

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self.untyped().data_ptr()

    def size(self) -> int:
        """The number of elements."""
        return self._elements.layout.numel

    __len__ = size

    def nbytes(self) -> int:
        """The number of bytes."""
        return self._storage.nbytes

    def element_size(self) -> int:
        """The bytes of one element."""
        return self.dtype.itemsize

    def type(self) -> str:
        """The name that PyTorch's class for such elements has."""
        return self._elements.type().replace("Tensor", "Storage")

    def tolist(self) -> list:
        """The elements as Python numbers."""
        return self._elements.tolist()

    def fill_(self, value: Any) -> TypedStorage:
        """Set all elements."""
        self._elements.fill_(value)
        return self

    def copy_(self, source: TypedStorage) -> TypedStorage:
        """Take the elements of another storage of the same size."""
        self._elements.copy_(source._elements)
        return self

    def clone(self) -> TypedStorage:
        """The same elements in memory of their own."""
        return typed_storage(self._elements.clone())

    def resize_(self, size: int) -> TypedStorage:
        """Give the storage another number of elements; it keeps as many of them as fit."""
        self.untyped().resize_(size * self.dtype.itemsize)
        self._elements = new_tensor(self._storage, lay.contiguous((size,), self.dtype))
        return self

    def _to(self, dtype: DType) -> TypedStorage:
        return typed_storage(self._elements.to(dtype, copy=dtype is not self.dtype))

    def is_pinned(self) -> bool:
        """Always False: no device reads the memory by itself."""
        return False

    def get_device(self) -> int:
        """The number of the device: -1 on the CPU."""
        return -1

    @classmethod
    def from_buffer(cls, *args: Any, dtype: DType, **options: Any) -> TypedStorage:
        """A copy of the numbers in an object with the buffer protocol."""
        return typed_storage(tensor(np.frombuffer(args[0], dtype.numpy, *args[2:], **options).copy()))

    def cpu(self) -> TypedStorage:
        """The storage itself."""
        return self

    def is_shared(self) -> bool:
        """Whether other processes see the memory."""
        return self._elements.is_shared()

    def share_memory_(self) -> TypedStorage:
        """Move the elements to memory that other processes can see."""
        self._elements.share_memory_()
        return self

    def __getitem__(self, index: Any) -> Any:
        """An element."""
        if isinstance(index, slice):
            raise RuntimeError("a typed storage has no slices: take those of its bytes, untyped(), or of a tensor")
        return self._elements[index].item()

    def __setitem__(self, index: Any, value: Any) -> None:
        self._elements[index] = value._elements if isinstance(value, TypedStorage) else value

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypedStorage) and self._storage is other._storage and self.dtype == other.dtype

    def __hash__(self) -> int:
        return id(self._storage)

    def __repr__(self) -> str:
        elements = "".join(f" {element}\n" for element in self)
        return f"{elements}[torch.storage.TypedStorage(dtype={self.dtype}, device={self.device}) of size {self.size()}]"


def typed_storage(self: Any) -> TypedStorage:
    """The elements behind the tensor, also those that it does not show."""
    return TypedStorage(wrap_storage=UntypedStorage(self.memory), dtype=self.layout.dtype)


for _title, _dtype in (
    ("bfloat16", dt.bfloat16), ("bool", dt.bool), ("byte", dt.uint8), ("char", dt.int8), ("complex_double", dt.complex128), ("complex_float", dt.complex64), ("double", dt.float64),
    ("float", dt.float32), ("half", dt.float16), ("int", dt.int32), ("long", dt.int64), ("short", dt.int16),
):  # fmt: skip

    def _converted(self: TypedStorage, dtype: DType = _dtype) -> TypedStorage:
        return self._to(dtype)

    _converted.__name__, _converted.__doc__ = _title, f"The elements as {_dtype.name}."
    setattr(TypedStorage, _title, _converted)
