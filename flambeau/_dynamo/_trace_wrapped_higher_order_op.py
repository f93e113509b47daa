"""A context in which tensors may be indexed by tensors that `vmap` maps over: they may be so in any case."""

from __future__ import annotations

from contextlib import nullcontext

__all__ = ["TransformGetItemToIndex"]

TransformGetItemToIndex = nullcontext
