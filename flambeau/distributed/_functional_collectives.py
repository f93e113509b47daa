"""Collectives that return new tensors, through which gradients flow, under the names that libraries of tensor-parallel networks import.

They are done when they return, so that there is nothing to wait for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau import Tensor, distributed
from flambeau.distributed.device_mesh import DeviceMesh
from flambeau.distributed.nn import functional
from flambeau.distributed.reduction import ReduceOp

__all__ = [
    "all_gather_tensor", "all_gather_tensor_autograd", "all_reduce", "all_to_all_single", "all_to_all_single_autograd", "broadcast",
    "reduce_scatter_tensor", "reduce_scatter_tensor_autograd", "wait_tensor",
]  # fmt: skip

_OPS = {"sum": ReduceOp.SUM, "avg": ReduceOp.AVG, "max": ReduceOp.MAX, "min": ReduceOp.MIN, "product": ReduceOp.PRODUCT}


def _group(group: Any) -> Any:
    """The group that a mesh of one dimension, or a mesh and one of its dimensions, stands for; a group is itself."""
    if isinstance(group, DeviceMesh):
        return group.get_group()
    if isinstance(group, tuple) and isinstance(group[0], DeviceMesh):
        return group[0].get_group(group[1])
    return group


def _op(name: str) -> ReduceOp:
    if name.lower() not in _OPS:
        raise ValueError(f"reduceOp ({name!r}) is none of {', '.join(_OPS)}")
    return _OPS[name.lower()]


def wait_tensor(tensor: Tensor) -> Tensor:
    """The tensor, when it is there: at once."""
    return tensor


def all_reduce(self: Tensor, reduceOp: str, group: Any, tag: str = "") -> Tensor:
    """The reduction of all processes' tensors; ``reduceOp`` is ``"sum"``, ``"avg"``, ``"max"``, ``"min"`` or ``"product"``."""
    return functional.all_reduce(self, _op(reduceOp), _group(group))


def broadcast(self: Tensor, src: int, group: Any, tag: str = "") -> Tensor:
    """The tensor of process ``src``."""
    return functional.broadcast(self, src, _group(group))


def all_gather_tensor(self: Tensor, gather_dim: int, group: Any, tag: str = "") -> Tensor:
    """The tensors of all processes, joined along a dimension."""
    return flambeau.cat(functional.all_gather(self.contiguous(), _group(group)), gather_dim)


def reduce_scatter_tensor(self: Tensor, reduceOp: str, scatter_dim: int, group: Any, tag: str = "") -> Tensor:
    """This process's part, along a dimension, of the reduction of all processes' tensors.

    Raises:
        ValueError: the dimension cannot be cut in equal parts
    """
    group = _group(group)
    count = distributed.get_world_size(group)
    if self.size(scatter_dim) % count:
        raise ValueError(f"dimension {scatter_dim} of {tuple(self.shape)} cannot be cut in {count} equal parts")
    parts = [part.contiguous() for part in self.chunk(count, scatter_dim)]
    return functional.reduce_scatter(parts[0], parts, _op(reduceOp), group)


def all_to_all_single(
    self: Tensor, output_split_sizes: Sequence[int] | None, input_split_sizes: Sequence[int] | None, group: Any, tag: str = ""
) -> Tensor:
    """What each process has for this one, joined: so many rows from each, where each of them gets so many of this one's (equal parts by default)."""
    rows = self.size(0) if output_split_sizes is None else sum(output_split_sizes)
    output = self.new_empty((rows, *self.shape[1:]))
    return functional.all_to_all_single(output, self.contiguous(), output_split_sizes, input_split_sizes, _group(group))


all_gather_tensor_autograd = all_gather_tensor
reduce_scatter_tensor_autograd = reduce_scatter_tensor
all_to_all_single_autograd = all_to_all_single
