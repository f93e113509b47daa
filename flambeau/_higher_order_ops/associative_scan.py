"""Prefixes of any associative function, in logarithmically many steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._higher_order_ops.scan import length_of
from flambeau.utils._pytree import tree_flatten, tree_unflatten

__all__ = ["associative_scan"]


def associative_scan(
    combine_fn: Callable[[Any, Any], Any], xs: Any, dim: int, reverse: bool = False, combine_mode: str = "pointwise"
) -> Any:
    """What ``combine_fn`` makes of the first slice, the first two, the first three, … along a dimension.

    Pairs of neighbours are combined, then their prefixes are found in the same way, and those of an odd number of slices follow from them: twice as
    many calls as the length has binary digits, each for many slices at once (Blelloch 1990, "Prefix sums and their applications").

    Args:
        combine_fn: associative; takes and gives what has the structure of ``xs``
        xs: tensors, in any structure, equally long along ``dim``
        reverse: of the last slice, the last two, …
        combine_mode: ``"pointwise"`` if the function computes element by element; ``"generic"`` for any function of single slices

    Raises:
        ValueError: there are no tensors, they are not equally long, or there is no such mode

    Example:
        >>> import flambeau
        >>> from flambeau._higher_order_ops import associative_scan
        >>> associative_scan(flambeau.maximum, flambeau.tensor([3, 1, 4, 1, 5]), 0)
        tensor([3, 3, 4, 4, 5])
    """
    if combine_mode not in ("pointwise", "generic"):
        raise ValueError(f"combine_mode must be 'pointwise' or 'generic', not {combine_mode!r}")
    leaves, structure = tree_flatten(xs)
    length_of("associative_scan()", leaves, dim)

    def combine(left: list[Tensor], right: list[Tensor]) -> list[Tensor]:
        found = function(tree_unflatten(left, structure), tree_unflatten(right, structure))
        return tree_flatten(found)[0]

    function = combine_fn if combine_mode == "pointwise" else flambeau.vmap(combine_fn)
    rows = [leaf.movedim(dim, 0) for leaf in leaves]
    if reverse:
        rows = [leaf.flip(0) for leaf in rows]
    rows = _prefixes(combine, rows)
    if reverse:
        rows = [leaf.flip(0) for leaf in rows]
    return tree_unflatten([leaf.movedim(0, dim) for leaf in rows], structure)


def _prefixes(combine: Callable[[list[Tensor], list[Tensor]], list[Tensor]], rows: list[Tensor]) -> list[Tensor]:
    """The prefixes of rows, as many as there are rows."""
    length = rows[0].shape[0]
    if length < 2:
        return rows
    pairs = combine([leaf[0 : length - 1 : 2] for leaf in rows], [leaf[1::2] for leaf in rows])
    even = _prefixes(combine, pairs)  # of 2, 4, 6, … rows
    odd = [leaf[:1] for leaf in rows]
    if length > 2:
        more = combine([leaf[: (length - 1) // 2] for leaf in even], [leaf[2::2] for leaf in rows])
        odd = [flambeau.cat(parts) for parts in zip(odd, more, strict=True)]
    return [_interleaved(first, second) for first, second in zip(odd, even, strict=True)]


def _interleaved(first: Tensor, second: Tensor) -> Tensor:
    """Rows of two tensors by turns; the first may have one more."""
    count = second.shape[0]
    both = flambeau.stack([first[:count], second], 1).flatten(0, 1)
    return both if first.shape[0] == count else flambeau.cat([both, first[count:]])
