"""A function for each row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau._higher_order_ops.scan import length_of, stacked
from flambeau.utils._pytree import tree_flatten, tree_unflatten

__all__ = ["map"]


def map(f: Callable, xs: Any, *args: Any) -> Any:
    """``f(row, *args)`` for each row (slice along the first dimension) of tensors in any structure; results are stacked.

    Raises:
        ValueError: there are no rows, or not as many in each tensor
    """
    leaves, structure = tree_flatten(xs)
    length = length_of("map()", leaves, 0)
    if not length:
        raise ValueError("map() expects at least one row")
    return stacked([f(tree_unflatten([leaf[number] for leaf in leaves], structure), *args) for number in range(length)])
