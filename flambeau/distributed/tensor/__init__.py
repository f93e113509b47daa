"""Tensors that lie in several processes: there are none here, only the names that packages ask for."""

from __future__ import annotations

from typing import Any

from flambeau import Tensor

__all__ = ["DTensor", "Partial", "Placement", "Replicate", "Shard"]


class DTensor(Tensor):
    """A tensor of several processes, to ask whether a tensor is one: none is.

    Raises:
        RuntimeError: when called
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> DTensor:
        raise RuntimeError("Flambeau has no tensors that lie in several processes; torch.distributed's collectives exchange ordinary ones")


class Placement:
    """How a tensor would lie in the processes of a mesh. Packages make some when they are imported; nothing here takes them."""


class Replicate(Placement):
    """Whole in each."""


class Partial(Placement):
    """As parts of a sum."""

    def __init__(self, reduce_op: str = "sum") -> None:
        self.reduce_op = reduce_op


class Shard(Placement):
    """Cut along a dimension."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
