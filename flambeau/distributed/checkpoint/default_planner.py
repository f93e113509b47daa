"""Settings of saving and loading, and nested dictionaries as flat ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flambeau import Tensor

__all__ = ["DefaultLoadPlanner", "DefaultSavePlanner"]

Path = tuple[Any, ...]


class DefaultSavePlanner:
    """Settings of ``save``.

    Args:
        flatten_state_dict: whether the values of nested dictionaries are saved one by one; only so can a part be loaded
        flatten_sharded_tensors, dedup_replicated_tensors, enable_plan_caching: for PyTorch's sake
        dedup_save_to_lowest_rank: whether what several processes have is saved by the first of them; else they share the work
    """

    def __init__(
        self, flatten_state_dict: bool = True, flatten_sharded_tensors: bool = True, dedup_replicated_tensors: bool | None = None,
        dedup_save_to_lowest_rank: bool = False, enable_plan_caching: bool = False,
    ) -> None:  # fmt: skip
        self.flatten_state_dict, self.dedup_save_to_lowest_rank = flatten_state_dict, dedup_save_to_lowest_rank


class DefaultLoadPlanner:
    """Settings of ``load``.

    Args:
        flatten_state_dict: whether the values of nested dictionaries are loaded one by one
        flatten_sharded_tensors: for PyTorch's sake
        allow_partial_load: whether what the checkpoint does not have stays as it is
    """

    def __init__(self, flatten_state_dict: bool = True, flatten_sharded_tensors: bool = True, allow_partial_load: bool = False) -> None:
        self.flatten_state_dict, self.allow_partial_load = flatten_state_dict, allow_partial_load


def visit(tree: Mapping, found: Callable[[Path, Any], None], path: Path = ()) -> None:
    """Call ``found(path, value)`` for each value within nested dictionaries, and lists that hold tensors or dictionaries."""
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
    for key, value in items:
        if isinstance(value, Mapping) or (isinstance(value, list) and _holds_tensors(value)):
            visit(value, found, (*path, key))
        else:
            found((*path, key), value)


def _holds_tensors(values: list) -> bool:
    return any(isinstance(each, (Tensor, Mapping)) or (isinstance(each, list) and _holds_tensors(each)) for each in values)


def flattened(tree: Mapping, flattens: bool = True) -> tuple[dict[str, Any], dict[str, Path]]:
    """The values by flat names, the keys joined by dots, and for each name the keys.

    Raises:
        ValueError: two values get one name
    """
    values: dict[str, Any] = {}
    paths: dict[str, Path] = {}

    def found(path: Path, value: Any) -> None:
        name = ".".join(map(str, path))
        if name in values:
            raise ValueError(f"the state holds two values with the flat name {name!r}: {paths[name]} and {path}")
        values[name], paths[name] = value, path

    if flattens:
        visit(tree, found)
    else:
        for key, value in tree.items():
            found((key,), value)
    return values, paths


def put(tree: Any, path: Path, value: Any) -> None:
    """Set a value within nested dictionaries and lists, which are made if they are not there.

    Raises:
        ValueError: there is something else on the way, or a list would be too long
    """
    whole = path
    for key, following in zip(path, path[1:]):
        made: Any = [] if type(following) is int else {}
        if isinstance(tree, list):
            _lengthen(tree, key)
            if tree[key] is None:
                tree[key] = made
            tree = tree[key]
        else:
            tree = tree.setdefault(key, made)
        if not isinstance(tree, (dict, list)):
            raise ValueError(f"the checkpoint names a value {whole}, but what is at {key!r} is a {type(tree).__name__}")
    if isinstance(tree, list):
        _lengthen(tree, path[-1])
    tree[path[-1]] = value


_LONGEST = 1 << 20
"""Numbers of items of lists are not believed beyond: a damaged file could ask for any memory."""


def _lengthen(values: list, index: int) -> None:
    if not 0 <= index < _LONGEST:
        raise ValueError(f"the checkpoint names item {index} of a list")
    values.extend([None] * (index + 1 - len(values)))
