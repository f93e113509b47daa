"""Making one batch out of many samples."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

import flambeau
from flambeau.utils.data._utils.owned import owned

__all__ = ["collate", "default_collate", "default_collate_fn_map", "default_convert"]

_NOT_NUMERIC = "SUaOmM"
"""Kinds of NumPy dtypes that no tensor can hold: strings, bytes, objects, dates."""


def default_convert(data: Any) -> Any:
    """Turns NumPy arrays and scalars anywhere inside of ``data`` into tensors; everything else stays as it is.

    What a :class:`DataLoader` does with each sample when it does not batch (``batch_size=None``).

    Example:
        >>> default_convert({"x": np.array([1, 2]), "name": "a"})
        {'x': tensor([1, 2]), 'name': 'a'}
    """
    if isinstance(data, flambeau.Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        return data if data.dtype.kind in _NOT_NUMERIC else flambeau.as_tensor(data)
    if isinstance(data, (str, bytes)):
        return data
    if isinstance(data, Mapping):
        return _rebuild_mapping(data, {key: default_convert(data[key]) for key in data})
    if _is_namedtuple(data):
        return type(data)(*(default_convert(item) for item in data))
    if isinstance(data, Sequence):
        return _rebuild_sequence(data, [default_convert(item) for item in data])
    return data


def collate(batch: Sequence[Any], *, collate_fn_map: dict[Any, Callable] | None = None) -> Any:
    """Joins samples of one structure into one value of that structure, with the leaves joined by ``collate_fn_map``.

    Args:
        batch: the samples; the type of the first decides what is done.
        collate_fn_map: from a type (or tuple of types) to a function ``(batch, *, collate_fn_map)`` that joins leaves of
            that type. An exact match is preferred to ``isinstance``, then the first that matches wins. Mappings,
            sequences and named tuples that it does not mention are gone into.

    Raises:
        TypeError: samples of a type that nothing here can join.
        RuntimeError: samples that are sequences of unequal length.
    """
    first = batch[0]
    kind = type(first)
    if collate_fn_map is not None:
        join = collate_fn_map.get(kind)
        if join is None:
            join = next((function for types, function in collate_fn_map.items() if isinstance(first, types)), None)
        if join is not None:
            return join(batch, collate_fn_map=collate_fn_map)
    if isinstance(first, Mapping):
        joined = {key: collate([sample[key] for sample in batch], collate_fn_map=collate_fn_map) for key in first}
        return _rebuild_mapping(first, joined)
    if _is_namedtuple(first):
        return kind(*(collate(column, collate_fn_map=collate_fn_map) for column in zip(*batch, strict=True)))
    if isinstance(first, Sequence):
        lengths = {len(sample) for sample in batch}
        if len(lengths) > 1:
            raise RuntimeError(f"each element in list of batch should be of equal size, but samples have lengths {sorted(lengths)}")
        columns = [collate(column, collate_fn_map=collate_fn_map) for column in zip(*batch, strict=True)]
        return columns if isinstance(first, tuple) else _rebuild_sequence(first, columns)
    raise TypeError(f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {kind}")


def default_collate(batch: Sequence[Any]) -> Any:
    """Joins samples into a batch with a new first dimension.

    Tensors, NumPy arrays and numbers become one tensor, strings a list, and mappings, sequences and named tuples are gone
    into: a batch of pairs becomes a pair of batches. A float becomes float64, an int int64.

    Example:
        >>> default_collate([(flambeau.zeros(2), 3), (flambeau.ones(2), 4)])
        [tensor([[0., 0.],
                [1., 1.]]), tensor([3, 4])]
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)


def _collate_tensors(batch: Sequence[Any], *, collate_fn_map: Any = None) -> flambeau.Tensor:
    return flambeau.stack(list(batch), 0)


def _collate_arrays(batch: Sequence[Any], *, collate_fn_map: Any = None) -> flambeau.Tensor:
    kind = batch[0].dtype
    if kind.kind in _NOT_NUMERIC:
        raise TypeError(f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {kind}")
    return owned(np.stack(batch))


def _collate_scalars(batch: Sequence[Any], *, collate_fn_map: Any = None) -> flambeau.Tensor:
    return owned(np.array(batch))


def _collate_floats(batch: Sequence[Any], *, collate_fn_map: Any = None) -> flambeau.Tensor:
    return flambeau.tensor(batch, dtype=flambeau.float64)


def _collate_ints(batch: Sequence[Any], *, collate_fn_map: Any = None) -> flambeau.Tensor:
    return flambeau.tensor(batch)


def _collate_strings(batch: Sequence[Any], *, collate_fn_map: Any = None) -> Any:
    return batch


default_collate_fn_map: dict[Any, Callable] = {
    flambeau.Tensor: _collate_tensors,
    np.ndarray: _collate_arrays,
    (np.bool_, np.number): _collate_scalars,
    float: _collate_floats,
    int: _collate_ints,
    str: _collate_strings,
    bytes: _collate_strings,
}
"""How :func:`default_collate` joins leaves. Add a type of your own here to have it collated everywhere."""


def _is_namedtuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _rebuild_mapping(like: Mapping, items: dict) -> Any:
    """``items`` as a mapping of ``like``'s type, extra attributes included, or a plain dict where that type cannot be filled."""
    try:
        if isinstance(like, MutableMapping):
            rebuilt = copy.copy(like)
            rebuilt.update(items)
            return rebuilt
        return type(like)(items)
    except TypeError:
        return items


def _rebuild_sequence(like: Sequence, items: list) -> Any:
    """``items`` as a sequence of ``like``'s type, or a plain list where that type cannot be filled."""
    if type(like) is list or isinstance(like, (tuple, range)):
        return items
    try:
        if isinstance(like, MutableSequence):
            rebuilt = copy.copy(like)
            for position, item in enumerate(items):
                rebuilt[position] = item
            return rebuilt
        return type(like)(items)
    except TypeError:
        return items
