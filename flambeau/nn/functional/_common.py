"""What the functions of several families share: tuples from numbers, names of axes, reductions."""

from __future__ import annotations

from collections.abc import Iterable
from operator import index
from typing import Any

from flambeau._tensor.tensor import Tensor

AXES = {1: ("L",), 2: ("H", "W"), 3: ("D", "H", "W")}


def all_ints(values: tuple) -> bool:
    """Whether all are Python's own ints: no booleans, no NumPy integers."""
    for value in values:  # noqa: SIM110 (a generator takes six times as long, and every call of a convolution comes here)
        if value.__class__ is not int:
            return False
    return True


def integer(value: Any, name: str) -> int:
    """An int from what can be an index: a NumPy integer, a tensor of one integer. Raises TypeError for all else, booleans too."""
    if value.__class__ is int:
        return value
    try:
        if value.__class__ is bool:
            raise TypeError
        return int(index(value))
    except TypeError:
        raise TypeError(f"{name} must be an int, not {value!r}") from None


def ntuple(value: Any, n: int, name: str) -> tuple[int, ...]:
    """``value`` as a tuple of ``n`` ints: one int counts for every dimension. What can be an index counts as an int, see :func:`integer`.

    Raises:
        TypeError: it is neither an int nor a sequence of ints.
        RuntimeError: it is a sequence of another length.
    """
    if value.__class__ is int:
        return (value,) * n
    if value.__class__ is tuple and len(value) == n and all_ints(value):
        return value
    items = value if isinstance(value, Iterable) and getattr(value, "ndim", 1) else (value,)
    try:
        if value.__class__ is bool:
            raise TypeError
        result = tuple(item if item is None else int(index(item)) for item in items)
    except TypeError:
        raise TypeError(f"{name} must be an int or a tuple of {n} ints, not {value!r}") from None
    if len(result) == 1 and n > 1:
        return result * n
    if len(result) != n:
        raise RuntimeError(f"{name} must be an int or a tuple of {n} ints, but {name} (={result}) has {len(result)}")
    return result


def reduce(loss: Tensor, reduction: str) -> Tensor:
    """Applies ``reduction`` (``"none"``, ``"mean"`` or ``"sum"``) to element-wise losses."""
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"{reduction} is not a valid value for reduction: use 'none', 'mean' or 'sum'")


def reduction_code(reduction: str) -> int:
    """The number that operators use for ``reduction``: 0 for none, 1 for mean, 2 for sum."""
    codes = {"none": 0, "mean": 1, "sum": 2}
    if reduction not in codes:
        raise ValueError(f"{reduction} is not a valid value for reduction: use 'none', 'mean' or 'sum'")
    return codes[reduction]


def legacy_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """``reduction``, or what the two arguments say that it replaced."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        return "none"
    return "sum" if size_average is False else "mean"


def probability(p: float) -> None:
    """Checks a dropout probability."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def shape_text(tensor: Tensor) -> str:
    """The shape of ``tensor`` as messages write it: ``(1, 3, 8, 8)``."""
    return str(tuple(tensor.shape))
