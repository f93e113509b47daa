"""``UntypedStorage``: the bytes behind tensors, as users see them."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau._tape.storage import Storage
from flambeau._types.device import CPU


class UntypedStorage:
    """The bytes that one or more tensors share; made by ``Tensor.untyped_storage()``.

    Two objects are equal if they are the same memory.
    """

    __slots__ = ("_storage",)

    device = CPU
    is_cuda = False

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def nbytes(self) -> int:
        """The number of bytes."""
        return self._storage.nbytes

    size = __len__ = nbytes

    def data_ptr(self) -> int:
        """The address of the first byte (which computes the bytes, if they are pending)."""
        return self._storage.materialize().address if self._storage.nbytes else 0

    def tolist(self) -> list[int]:
        """The bytes as numbers from 0 to 255."""
        return self._bytes().tolist()

    def _bytes(self) -> np.ndarray:
        return self._storage.materialize().view(np.dtype(np.uint8), self._storage.nbytes) if self._storage.nbytes else np.empty(0, np.uint8)

    def __getitem__(self, index: Any) -> Any:
        return self._bytes()[index].tolist()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and self._storage is other._storage

    def __hash__(self) -> int:
        return id(self._storage)

    def __repr__(self) -> str:
        return f"[torch.storage.UntypedStorage(device=cpu) of size {self._storage.nbytes}]"
