"""How ``nn.functional.linear_cross_entropy`` may split its work: options of PyTorch's that are known, checked, and change nothing here."""

from __future__ import annotations

import dataclasses

import flambeau
from flambeau._types.dtype import dtype as DType

__all__ = ["LinearCrossEntropyOptions"]

_POLICIES = ("accurate", "balanced", "compact", "auto")
_ACCUMULATED = ("float16", "bfloat16", "float32", "float64")


@dataclasses.dataclass(slots=True, frozen=True)
class LinearCrossEntropyOptions:
    """Options of :func:`~flambeau.nn.functional.linear_cross_entropy`. The result is the same with all of them.

    Attributes:
        allow_retain_graph: a graph may always be retained.
        batch_chunk_size: how many samples PyTorch computes the logits of at a time.
        chunking_method: how it finds that number: ``"auto"``, ``"aspect_ratio"``, ``"aspect_ratio:N"`` or ``None``.
        acc_policy: what it adds up in ``acc_dtype``: ``"accurate"``, ``"balanced"``, ``"compact"`` or ``"auto"``.
        acc_dtype: the dtype of its sums.

    Raises:
        ValueError: an attribute has none of its values.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: DType | None = None

    def __post_init__(self) -> None:
        if self.acc_policy not in _POLICIES:
            raise ValueError(f"acc_policy must be one of {', '.join(_POLICIES)}, but got {self.acc_policy!r}")
        if self.chunking_method not in (None, "auto"):
            name, _, factor = str(self.chunking_method).partition(":")
            if name != "aspect_ratio" or (factor or "1").strip("0123456789") or int(factor or 1) < 1:
                raise ValueError(
                    f"chunking_method must be 'auto', 'aspect_ratio', 'aspect_ratio:N' with N from 1, or None, but got {self.chunking_method!r}"
                )
        size = self.batch_chunk_size
        if size is not None and not (isinstance(size, int) and size > 0):
            raise ValueError(f"batch_chunk_size must be a positive int or None, but got {size!r}")
        if self.acc_dtype is not None and self.acc_dtype not in [getattr(flambeau, name) for name in _ACCUMULATED]:
            raise ValueError(f"acc_dtype must be None or one of {', '.join(_ACCUMULATED)}, but got {self.acc_dtype!r}")
