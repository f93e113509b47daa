"""Which sizes of the inputs are free, from what the user says of axes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.export.dynamic_shapes import Dim, FlatShapes, leaf_specifications
from flambeau.nn import Module
from flambeau.utils._pytree import tree_flatten, tree_unflatten

__all__ = ["Axes", "dims_of_labels", "enlarged", "input_names_of", "labels"]

Axes = Mapping[str, Any]
"""For inputs and outputs by name, the dimensions that another size may have: `{"x": {0: "batch"}, "y": [0]}`."""


def input_names_of(model: Module, args: tuple, kwargs: dict[str, Any], wanted: Sequence[str]) -> list[str]:
    """The names of the tensors among the arguments, those that are wanted first.

    Raises:
        ValueError: more are wanted than there are
    """
    own = [name for name, value, _ in leaf_specifications(model, args, kwargs, None) if isinstance(value, Tensor)]
    if len(wanted) > len(own):
        raise ValueError(f"there are {len(wanted)} input_names, but the module takes {len(own)} tensors")
    return [*wanted, *own[len(wanted) :]]


def labels(name: str, axes: Any, ndim: int) -> dict[int, str]:
    """The names of a tensor's free sizes by dimension.

    Raises:
        ValueError: it has no such dimension
    """
    pairs = axes.items() if isinstance(axes, Mapping) else [(axis, f"{name}_dim_{axis}") for axis in axes]
    found = {}
    for axis, label in pairs:
        if not -ndim <= axis < ndim:
            raise ValueError(f"dynamic_axes names dimension {axis} of {name}, which has {ndim}")
        found[axis % ndim] = re.sub(r"\W", "_", str(label))
    return found


def dims_of_labels(model: Module, args: tuple, kwargs: dict[str, Any], names: list[str], dynamic_axes: Axes, joined: bool) -> FlatShapes:
    """Free sizes with their labels as names; `joined` lets those that are equal in the examples be one."""
    by_size: dict[int, str] = {}
    shapes: list[Any] = []
    tensors = iter(names)
    for _, value, _ in leaf_specifications(model, args, kwargs, None):
        if not isinstance(value, Tensor):
            shapes.append(None)
            continue
        name = next(tensors)
        given = labels(name, dynamic_axes.get(name, {}), value.dim())
        if joined:
            given = {axis: by_size.setdefault(value.shape[axis], label) for axis, label in given.items()}
        shapes.append({axis: Dim(label) for axis, label in given.items()} or None)
    return FlatShapes(shapes)


def enlarged(model: Module, args: tuple, kwargs: dict[str, Any], names: list[str], dynamic_axes: Axes) -> tuple[tuple, dict[str, Any]]:
    """Examples in which sizes that are to be free and are 1 are 2: a size of 1 may be broadcast, and a program that is traced with it would be its own."""
    leaves, spec = tree_flatten((args, kwargs))
    tensors = iter(names)
    made = []
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            name = next(tensors)
            for axis in labels(name, dynamic_axes.get(name, {}), leaf.dim()):
                if leaf.shape[axis] == 1:
                    leaf = flambeau.cat([leaf, leaf], axis)
        made.append(leaf)
    return tree_unflatten(made, spec)


def with_dims(dynamic_shapes: Any) -> Any:
    """`dynamic_shapes` with `Dim`s for names."""
    if isinstance(dynamic_shapes, dict):
        return {key: with_dims(value) for key, value in dynamic_shapes.items()}
    if isinstance(dynamic_shapes, (list, tuple)):
        return type(dynamic_shapes)([with_dims(value) for value in dynamic_shapes])
    return Dim(dynamic_shapes) if isinstance(dynamic_shapes, str) else dynamic_shapes
