"""Tensors that lie in several processes: there are none here."""

from __future__ import annotations

from typing import Any

from flambeau import Tensor

__all__ = ["DTensor"]


class DTensor(Tensor):
    """A tensor of several processes, to ask whether a tensor is one: none is.

    Raises:
        RuntimeError: when called
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> DTensor:
        raise RuntimeError("Flambeau runs in one process: torch.distributed is not available, so that a tensor cannot be distributed")
