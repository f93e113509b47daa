"""The bytes behind tensors: `torch.storage`."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from flambeau._tensor.storages import TypedStorage as TypedStorage
from flambeau._tensor.storages import UntypedStorage as UntypedStorage

__all__ = ["TypedStorage", "UntypedStorage"]


def _load_from_bytes(data: bytes) -> Any:
    """The storage of a tensor that PyTorch wrote with ``pickle``. It holds numbers: nothing in it is run."""
    from flambeau.serialization import load

    return load(BytesIO(data))
