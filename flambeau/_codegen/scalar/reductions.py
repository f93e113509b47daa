"""The neutral elements of reductions."""

from __future__ import annotations

import math

from flambeau._types.dtype import FLOAT, INTEGER, dtype
from flambeau._types.encoding import BYTES


def _smallest(of: dtype) -> float | int:
    if of.category == FLOAT:
        return -_largest(of)
    if of.category == INTEGER:
        return -(1 << (8 * of.itemsize - 1)) if of.is_signed else 0
    return 0


def _largest(of: dtype) -> float | int:
    if of.category == FLOAT:
        return (
            BYTES[of].largest if of in BYTES and not math.isinf(BYTES[of].beyond) else math.inf
        )  # most of the formats of eight bits have no infinity
    if of.category == INTEGER:
        return (1 << (8 * of.itemsize - of.is_signed)) - 1
    return 1


def identity(reduction: str, of: dtype) -> float | int:
    """The number that ``sum``, ``squares``, ``prod``, ``max``, ``min``, ``any`` or ``all`` of no elements of a dtype would be."""
    if reduction in ("max", "min") and of.category > FLOAT:
        raise TypeError(f"{reduction} is not defined for {of}")
    if reduction == "max":
        return _smallest(of)
    if reduction == "min":
        return _largest(of)
    return {"sum": 0, "squares": 0, "any": 0, "prod": 1, "all": 1}[reduction]
