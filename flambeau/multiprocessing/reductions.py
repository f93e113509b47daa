"""How tensors reach another process: by the descriptor of the shared memory that they are moved to, not by their bytes.

Queues, pipes and the arguments of processes pickle with ``multiprocessing``'s own pickler, which is told here what to do with tensors. What one
process writes the other sees. As anywhere, a sender must live until the other has received.
"""

from __future__ import annotations

import os
from multiprocessing import reduction
from multiprocessing.reduction import ForkingPickler
from typing import Any

import flambeau
from flambeau._ops.registry import new_tensor
from flambeau._tensor import sharing
from flambeau._types.layout import Layout

__all__ = ["init_reductions", "reduce_parameter", "reduce_tensor"]


def _rebuild(descriptor: Any, nbytes: int, layout: Layout, requires_grad: bool) -> flambeau.Tensor:
    return new_tensor(sharing.attach(descriptor.detach(), nbytes), layout).requires_grad_(requires_grad)


def _rebuild_parameter(tensor: flambeau.Tensor, requires_grad: bool) -> flambeau.nn.Parameter:
    return flambeau.nn.Parameter(tensor, requires_grad)


def reduce_tensor(tensor: flambeau.Tensor) -> tuple:
    """What is sent of a tensor, whose storage is moved to shared memory.

    Raises:
        RuntimeError: it has a history, which the other process could not go back through.
    """
    if tensor.requires_grad and not tensor.is_leaf:
        raise RuntimeError(
            "a tensor that requires grad and is the result of an operator cannot be sent to another process, since autograd does not cross processes: "
            "send tensor.detach()"
        )
    storage = tensor.memory
    sharing.share(storage)
    segment = sharing.segment_of(storage)
    if segment is None:  # nothing to share: no elements
        return tensor.__reduce_ex__(2)
    return _rebuild, (reduction.DupFd(segment.descriptor), storage.nbytes, tensor.layout, tensor.requires_grad)


def reduce_parameter(parameter: flambeau.nn.Parameter) -> tuple:
    """What is sent of a parameter."""
    return _rebuild_parameter, (parameter.data, parameter.requires_grad)


def init_reductions() -> None:
    """Tell ``multiprocessing``'s pickler what to do with tensors and parameters."""
    if os.name == "nt":
        return  # there are no descriptors to send: tensors are sent by value
    ForkingPickler.register(flambeau.Tensor, reduce_tensor)
    ForkingPickler.register(flambeau.nn.Parameter, reduce_parameter)
