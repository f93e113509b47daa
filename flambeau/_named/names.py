"""What may be a name, and how the names of several tensors go together. ``None`` is the name of a dimension without one, and matches any other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Names = tuple[str | None, ...]


def checked(names: Any, ndim: int) -> Names:
    """Names that somebody has given to the dimensions of a tensor; one that stands alone is that of the only dimension.

    Raises:
        TypeError: one is neither text nor ``None``
        RuntimeError: one is no identifier or comes twice, or there are more or fewer than dimensions
    """
    found = (names,) if isinstance(names, str) or names is None else tuple(names)
    for name in found:
        if name is None:
            continue
        if not isinstance(name, str):
            raise TypeError(f"names: expected str or None for each dimension, but got {name!r}")
        if not name.isidentifier():
            raise RuntimeError(f"Invalid name: {name!r} is no identifier: letters, digits and underscores, and no digit first")
    if len(found) != ndim:
        raise RuntimeError(
            f"Number of names ({len(found)}) and number of dimensions in tensor ({ndim}) do not match. Attempted to create a tensor with names {shown(found)}"
        )
    return distinct(found, "Cannot construct a tensor with duplicate names")


def distinct(names: Iterable[str | None], problem: str) -> Names:
    """The names, if none of them comes twice.

    Raises:
        RuntimeError: ``problem``
    """
    found = tuple(names)
    given = [name for name in found if name is not None]
    if len(set(given)) < len(given):
        raise RuntimeError(f"{problem}. Got names: {shown(found)}.")
    return found


def shown(names: Sequence[str | None]) -> str:
    """The names as messages write them."""
    return f"[{', '.join('None' if name is None else repr(name) for name in names)}]"


def is_rest(name: Any) -> bool:
    """Whether something stands for all names that are not mentioned: ``...`` or ``'...'``."""
    return name is ... or (isinstance(name, str) and name == "...")


def position(names: Names, name: str) -> int:
    """Which dimension has a name.

    Raises:
        RuntimeError: none has
    """
    if name not in names:
        raise RuntimeError(f"Name '{name}' not found in Tensor{shown(names)}.")
    return names.index(name)


def unified(names: Names, other: Names) -> Names:
    """The names of what two tensors make together, whose dimensions match from the right.

    Raises:
        RuntimeError: two that meet differ, or one meets ``None`` and is elsewhere in the other tensor
    """
    both = f"Error when attempting to broadcast dims {shown(names)} and dims {shown(other)}"
    count = max(len(names), len(other))
    left, right = ((None,) * (count - len(each)) + each for each in (names, other))
    found = []
    for number in reversed(range(count)):
        one, two = left[number], right[number]
        if one is not None and two is not None and one != two:
            raise RuntimeError(f"{both}: dim '{one}' and dim '{two}' are at the same position from the right but do not match.")
        for name, elsewhere in ((one, right), (two, left)):
            if name is not None and name in elsewhere and elsewhere.index(name) != number:
                raise RuntimeError(
                    f"Misaligned dims when attempting to broadcast dims {shown(names)} and dims {shown(other)}: dim '{name}' appears in a different "
                    "position from the right across both lists."
                )
        found.append(two if one is None else one)
    return tuple(reversed(found))
