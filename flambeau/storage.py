"""The bytes behind tensors: `torch.storage`."""

from __future__ import annotations

from flambeau._tensor.storages import UntypedStorage as UntypedStorage

__all__ = ["UntypedStorage"]
