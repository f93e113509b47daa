"""Linear algebra: norms and products for now."""

from __future__ import annotations

from flambeau._ops.statistics import vector_norm as vector_norm

__all__ = ["vector_norm"]
