"""``UntypedStorage``: the bytes behind tensors, as users see them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from flambeau._ops.creation import adopt_array
from flambeau._tape.storage import Storage
from flambeau._types.device import CPU, device


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
        return cls(adopt_array(memory).storage)

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
        return UntypedStorage(adopt_array(found).storage) if isinstance(index, slice) else found.item()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._bytes(), dtype=dtype, copy=copy)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and self._storage is other._storage

    def __hash__(self) -> int:
        return id(self._storage)

    def __repr__(self) -> str:
        return f"[torch.storage.UntypedStorage(device={self.device}) of size {self._storage.nbytes}]"
