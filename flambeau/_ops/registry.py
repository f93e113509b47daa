"""What all operators share: their table, what makes tensors of results, and functions of other families."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flambeau._ops.node import GradNode
from flambeau._tape.storage import Storage, TensorBase
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._ops.operator import Operator
    from flambeau._tensor.tensor import Tensor

OPERATORS: dict[str, Operator] = {}
"""Every operator by name."""

_new = object.__new__
_tensor_class: type[Tensor] = TensorBase


def set_tensor_class(cls: type) -> None:
    """Set the class of results (``flambeau.Tensor``, which imports this module)."""
    global _tensor_class
    _tensor_class = cls


def tensor_class() -> Any:
    """The class of results."""
    return _tensor_class


def new_tensor(storage: Storage, layout: Layout) -> Tensor:
    """A tensor without history over a storage."""
    tensor = _new(_tensor_class)
    tensor.memory = storage
    tensor.layout = layout
    tensor.node = None
    tensor.output_nr = 0
    tensor.base = None
    return tensor


def shown(storage: Storage, layout: Layout) -> Tensor:
    """A tensor without history over a storage, of the class that says what operators do with it, if there is one."""
    tensor = new_tensor(storage, layout)
    return FUNCTIONS.restored(tensor) if storage.wrapped else tensor


class Functions:
    """Functions of other families that the machinery here needs; the families set them when they are imported."""

    zeros: Callable[..., Tensor]  # of a layout, on a device
    ones: Callable[[Layout], Tensor]
    full: Callable[[Layout, Any], Tensor]
    arange: Callable[[int], Tensor]
    where: Callable[..., Tensor]
    sum_to: Callable[[Tensor, tuple[int, ...]], Tensor]
    cast: Callable[[Tensor, DType], Tensor]
    polygamma: Callable[[int, Tensor], Tensor]
    real: Callable[[Tensor], Tensor]
    regenerate: Callable[[TensorBase, TensorBase], None]
    copy_slices: Callable[[TensorBase, TensorBase, GradNode | None], None]
    one_of_several: Callable[[TensorBase], str | None]
    backward: Callable[..., None]
    gradients: Callable[..., tuple]
    wrapper: Callable[..., Tensor]  # a tensor whose class says what operators do with it
    exchange: Callable[[Any, Any], None]  # gives such a one what another of its class has
    restored: Callable[[Tensor], Tensor]  # such a one, of a plain tensor over its storage
    wrapper_around: Callable[..., Tensor | None]  # one that shows another tensor
    named: Callable[[], Any]  # the module of tensors with names, likewise
    sparse: Callable[[], Any]  # the module that makes sparse tensors, which is built on all of this and loaded when it is first needed


FUNCTIONS = Functions()


class Anomaly:
    """Whether anomaly mode is on."""

    __slots__ = ("enabled",)

    def __init__(self) -> None:
        self.enabled = False


ANOMALY = Anomaly()
