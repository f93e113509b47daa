"""Exchanging two tensors that others hold."""

from __future__ import annotations

import weakref

from flambeau import Tensor
from flambeau._ops.node import AccumulateGrad
from flambeau._tape.storage import TensorBase

__all__ = ["swap_tensors"]

_FIELDS = ("memory", "layout", "node", "output_nr", "base", "__class__", "__dict__")


def swap_tensors(t1: Tensor, t2: Tensor) -> None:
    """Exchange what two tensors are: values, shape, dtype, gradient, class and attributes. Whoever holds one of them holds the other's content.

    Raises:
        TypeError: one is no tensor
        RuntimeError: weak references to one exist, which would point to something else

    Example:
        >>> import flambeau
        >>> a, b = flambeau.ones(2), flambeau.zeros(3)
        >>> flambeau.utils.swap_tensors(a, b)
        >>> a, b
        (tensor([0., 0., 0.]), tensor([1., 1.]))
    """
    for name, tensor in (("t1", t1), ("t2", t2)):
        if not isinstance(tensor, TensorBase):
            raise TypeError(f"swap_tensors exchanges tensors, but {name} is a {type(tensor).__name__}")
        mine = isinstance(tensor.node, AccumulateGrad) and tensor.node.reference() is tensor
        if weakref.getweakrefcount(tensor) > mine:
            raise RuntimeError(
                f"{name} is not swapped: somebody holds a weak reference to it, which would then mean the other tensor's content"
            )
    for field in _FIELDS:
        first, second = getattr(t1, field), getattr(t2, field)
        setattr(t1, field, second)
        setattr(t2, field, first)
    for tensor in (t1, t2):
        if isinstance(tensor.node, AccumulateGrad):
            tensor.node.reference = weakref.ref(tensor)
