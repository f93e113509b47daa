"""A batch shared out among devices, and put together again. There is one kind of device, which may be named several times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.utils._pytree import tree_flatten

__all__ = ["gather", "scatter", "scatter_kwargs"]


def scatter(inputs: Any, target_gpus: Sequence[Any], dim: int = 0) -> Any:
    """For each device the same tree as `inputs`, with that device's part of each tensor; what is no tensor is repeated."""
    leaves, form = tree_flatten(inputs)
    devices = [flambeau.device(each) for each in target_gpus]
    shares = [leaf.chunk(len(devices), dim) if isinstance(leaf, Tensor) else [leaf] * len(devices) for leaf in leaves]
    return [form.unflatten(parts) for parts in zip(*shares)] if leaves else [inputs for _ in devices]


def scatter_kwargs(inputs: Any, kwargs: Any, target_gpus: Sequence[Any], dim: int = 0) -> tuple[tuple, tuple]:
    """The arguments and the keyword arguments of each device; the shorter of both is filled up with none."""
    positional = scatter(inputs, target_gpus, dim) if inputs else []
    named = scatter(kwargs, target_gpus, dim) if kwargs else []
    positional += [()] * (len(named) - len(positional))
    named += [{}] * (len(positional) - len(named))
    return tuple(positional), tuple(named)


def gather(outputs: Sequence[Any], target_device: Any, dim: int = 0) -> Any:
    """The tree of what several devices computed, tensors joined along `dim` (numbers become vectors)."""
    flambeau.device(target_device)
    trees = [tree_flatten(output) for output in outputs]
    form = trees[0][1]
    joined = []
    for leaves in zip(*[leaves for leaves, _ in trees], strict=True):
        if not all(isinstance(leaf, Tensor) for leaf in leaves):
            raise TypeError(f"only tensors are gathered, but an output holds a {type(leaves[0]).__name__}")
        joined.append(flambeau.cat([leaf.reshape(1) if leaf.dim() == 0 else leaf for leaf in leaves], dim))
    return form.unflatten(joined)
