"""``Variable``: what a tensor that requires grad was called before it was simply a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau._tape.storage import TensorBase

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


class _VariableMeta(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, TensorBase)


class Variable(metaclass=_VariableMeta):
    """``Variable(data, requires_grad=False)`` is ``data`` as a leaf of the graph; every tensor is one."""

    def __new__(cls, data: Tensor, requires_grad: bool = False, volatile: bool = False) -> Tensor:
        return data.detach().requires_grad_(requires_grad)
