"""The memory behind tensors, as users see it: ``UntypedStorage``, its bytes, and ``TypedStorage``, the elements that they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from flambeau._ops.creation import adopt_array
from flambeau._ops.registry import new_tensor
from flambeau._tape.storage import Storage
from flambeau._types import layout as lay
from flambeau._types.device import CPU, device
from flambeau._types.dtype import dtype as DType


class UntypedStorage:
    """The bytes that one or more tensors share; made by ``Tensor.untyped_storage()``.

    Two objects are equal if they are the same memory.
    """

    __slots__ = ("_storage",)

    is_cuda = False

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

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

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._bytes(), dtype=dtype, copy=copy)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and self._storage is other._storage

    def __hash__(self) -> int:
        return id(self._storage)

    def __repr__(self) -> str:
        return f"[torch.storage.UntypedStorage(device={self.device}) of size {self._storage.nbytes}]"


class TypedStorage:
    """The elements that one or more tensors share, in the order of memory; made by ``Tensor.storage()``.

    Two objects are equal if they are the same memory and dtype. https://docs.pytorch.org/docs/stable/storage.html
    """

    __slots__ = ("_elements", "_storage")

    is_cuda = is_sparse = False

    def __init__(self, storage: Storage, dtype: DType) -> None:
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
        return TypedStorage(self._elements.clone().memory, self.dtype)

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
    return TypedStorage(self.memory, self.layout.dtype)
