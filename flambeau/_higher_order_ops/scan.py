"""A loop along a dimension that hands a value on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.utils._pytree import tree_flatten, tree_unflatten

__all__ = ["length_of", "scan", "stacked"]


def length_of(what: str, leaves: list[Any], dim: int) -> int:
    """How many slices along a dimension tensors have.

    Raises:
        ValueError: there are none, or not as many in each
        TypeError: something is no tensor
    """
    if not leaves:
        raise ValueError(f"{what} expects at least one tensor to go along")
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise TypeError(f"{what} goes along tensors, not a {type(leaf).__name__}")
    lengths = {leaf.shape[dim] for leaf in leaves}
    if len(lengths) > 1:
        raise ValueError(f"{what} expects tensors that are equally long along dimension {dim}, but they have {sorted(lengths)} slices")
    return lengths.pop()


def stacked(results: list[Any]) -> Any:
    """Results of the same structure, stacked leaf by leaf; ``None`` stays."""
    columns = zip(*[tree_flatten(each)[0] for each in results], strict=True)
    leaves = [None if column[0] is None else flambeau.stack(column) for column in columns]
    return tree_unflatten(leaves, tree_flatten(results[0])[1])


def scan(combine_fn: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any, *, dim: int = 0, reverse: bool = False) -> tuple[Any, Any]:
    """Call ``carry, y = combine_fn(carry, x)`` for each slice of ``xs`` along a dimension, and stack what it gives.

    Args:
        combine_fn: takes what the call before handed on, and a slice without the dimension
        init: what is handed to the first call
        xs: tensors, in any structure, equally long along ``dim``
        reverse: begin with the last slice; results stay in the places of their slices

    Returns:
        What the last call handed on, and the second results, stacked along a new first dimension.

    Raises:
        ValueError: ``xs`` has no slices, or not as many in each tensor

    Example:
        >>> import flambeau
        >>> from flambeau._higher_order_ops import scan
        >>> scan(lambda total, x: (total + x, total * x), flambeau.tensor(0), flambeau.arange(1, 5))
        (tensor(10), tensor([ 0,  2,  9, 24]))
    """
    leaves, structure = tree_flatten(xs)
    length = length_of("scan()", leaves, dim)
    if not length:
        raise ValueError("scan() expects at least one slice")
    carry, results = init, []
    for number in reversed(range(length)) if reverse else range(length):
        slices = tree_unflatten([leaf.select(dim, number) for leaf in leaves], structure)
        carry, result = combine_fn(carry, slices)
        results.append(result)
    return carry, stacked(results[::-1] if reverse else results)
