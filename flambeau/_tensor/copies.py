"""Copies of tensors as Python makes them: deep copies, and pickles."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

from flambeau._ops import views
from flambeau._ops.creation import from_array
from flambeau._ops.registry import new_tensor
from flambeau._tape.storage import MetaStorage
from flambeau._tape.tape import LOCAL
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.device import CPU

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


def deep_copy(tensor: Tensor, memo: dict) -> Tensor:
    """A leaf with memory of its own, which copies of tensors over the same memory share.

    Raises:
        RuntimeError: the tensor is no leaf.
    """
    if not tensor.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment. "
            "If you were attempting to deepcopy a module, this may be because of a torch.nn.utils.weight_norm usage."
        )
    if id(tensor) in memo:
        return memo[id(tensor)]
    alone = tensor.device is not CPU or tensor.memory.wrapped or LOCAL.tape.batched
    made = views.detach(tensor).clone() if alone else _over_copied_memory(tensor, memo)
    if type(made) is not type(tensor):
        made = made.as_subclass(type(tensor))
    made.requires_grad_(tensor.requires_grad)
    memo[id(tensor)] = made
    for name, value in tensor.__dict__.items():
        if name == "_grad":
            made.__dict__["_grad"] = None if value is None else copy.deepcopy(value, memo)
        elif name == "_is_param":
            made.__dict__[name] = value
        elif not name.startswith("_") and not (tensor.memory.wrapped and name in made.__dict__):
            made.__dict__[name] = copy.deepcopy(value, memo)
    return made


def _over_copied_memory(tensor: Tensor, memo: dict) -> Tensor:
    """A tensor that lies as another does in a copy of all its memory."""
    memory = tensor.memory
    if id(memory) not in memo:
        memo[id(memory)] = new_tensor(memory, lay.contiguous((memory.nbytes,), dt.uint8)).clone().memory
    return new_tensor(memo[id(memory)], tensor.layout)


def reduced(tensor: Tensor, cls: type | None) -> tuple:
    """What ``pickle`` keeps of a tensor: how to make it again as one of a class (a plain one if there is none), and the attributes that the user has given it."""
    layout = tensor.layout
    if tensor.device is not CPU:
        return _rebuild_meta, (cls, tensor.memory.nbytes, layout, tensor.requires_grad)
    buffer = tensor.memory.materialize() if tensor.memory.nbytes else None
    raw = b"" if buffer is None else buffer.view(np.dtype(np.uint8), tensor.memory.nbytes).tobytes()
    state = {name: value for name, value in tensor.__dict__.items() if not name.startswith("_")}
    return _rebuild, (cls, raw, layout, tensor.requires_grad), state or None


def _rebuild(cls: type | None, raw: bytes, layout: lay.Layout, requires_grad: bool) -> Tensor:
    """A tensor from its pickle."""
    made = from_array(np.frombuffer(raw, np.uint8))
    made.layout = layout
    return (made.as_subclass(cls) if cls else made).requires_grad_(requires_grad)


def _rebuild_meta(cls: type | None, nbytes: int, layout: lay.Layout, requires_grad: bool) -> Tensor:
    """A tensor on the meta device from its pickle."""
    made = new_tensor(MetaStorage(nbytes), layout)
    return (made.as_subclass(cls) if cls else made).requires_grad_(requires_grad)
