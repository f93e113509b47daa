"""Tensors without elements of their own: what their class holds, and does, instead is its own affair.

Such a tensor has a layout over a ``WrapperStorage``, which no tape takes as an input: like one on the meta device it leads a call away from being
recorded, to the class. Internal code makes plain tensors over the storages of others (to save a result, say); the storage knows whose it
is, so that such a one is ``restored`` before it is shown to anybody.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from flambeau._ops.node import AccumulateGrad
from flambeau._tape.storage import NoElements, Storage, TensorBase
from flambeau._types.device import CPU, META
from flambeau._types.layout import Layout


class NoOwnElements(NoElements):
    """Somebody looks at the elements of a tensor that has none of its own."""

    def __init__(self, message: str = "") -> None:
        super().__init__(
            message
            or "a tensor of a class with a __torch_dispatch__ has no elements of its own that could be looked at: "
            ".item(), .numpy(), .tolist() or an `if` on it must be asked of what it holds"
        )


class WrapperStorage(Storage):
    """What stands in for the bytes of such tensors.

    Attributes:
        cls, fields: the class and the attributes of the tensor
        layout: how it lies in the memory that it has not
        place: the device that it says it is on
        held: the tensor whose elements it shows while its class is not asked, if it was made by ``_make_subclass``
    """

    __slots__ = ("cls", "fields", "held", "layout", "place")

    device = META
    wrapped = True

    def __init__(self, cls: type, layout: Layout, place: Any) -> None:
        super().__init__(None, layout.extent * layout.dtype.itemsize)
        self.error = NoOwnElements
        self.cls, self.layout, self.place = cls, layout, place
        self.held: TensorBase | None = None
        self.fields: dict[str, Any] = {}
        ALIVE.add(self)

    def contents(self, tensor: TensorBase) -> Any:
        """The plain tensor that one of the class shows.

        Raises:
            RuntimeError: there is none
        """
        if self.held is None:
            raise RuntimeError(
                f"{self.cls.__name__}: a tensor that _make_wrapper_subclass made has no elements that an operator could be run on without its "
                "__torch_dispatch__: unwrap it first"
            )
        return self.held


ALIVE: WeakSet[WrapperStorage] = WeakSet()
"""Those that there are: while there is one, a thread that has met one asks about every call."""


def made(cls: type, layout: Layout, place: Any = CPU, requires_grad: bool = False, held: TensorBase | None = None) -> Any:
    """A tensor of a class with a ``__torch_dispatch__``."""
    tensor = object.__new__(cls)
    tensor.memory = storage = WrapperStorage(cls, layout, place)
    storage.fields = tensor.__dict__
    storage.held = held
    _fill(tensor, layout)
    if requires_grad:
        tensor.node = AccumulateGrad(tensor)
    return tensor


def _fill(tensor: Any, layout: Layout) -> None:
    tensor.layout, tensor.node, tensor.output_nr, tensor.base = layout, None, 0, None


def is_changed(tensor: Any) -> bool:
    """Whether a tensor has the storage of a tensor of such a class, and is another one."""
    storage = tensor.memory
    return storage.wrapped and (tensor.__class__ is not storage.cls or tensor.layout is not storage.layout)


def restored(tensor: Any) -> Any:
    """The tensor as one of its class, if it is a plain one over the storage of such a one, or lies in memory otherwise by now (``t_``)."""
    if not is_changed(tensor):
        return tensor
    storage = tensor.memory
    twin = object.__new__(storage.cls)
    twin.memory = storage
    twin.__dict__ = storage.fields
    _fill(twin, storage.layout)
    if tensor.layout is not storage.layout:
        twin = twin.as_strided(tensor.layout.shape, tensor.layout.strides, tensor.layout.offset)
    twin.node, twin.output_nr = tensor.node, tensor.output_nr
    return twin


_OF_THE_OBJECT = frozenset({"_grad", "_is_param", "_retains", "_views"})
"""Attributes that a tensor keeps when it is given another's data."""


def exchange(tensor: Any, value: Any) -> None:
    """What ``tensor.data = value`` does with tensors of such classes.

    Raises:
        RuntimeError: they are of different classes
    """
    if tensor.__class__ is not value.__class__:
        raise RuntimeError(
            f"tensor.data = value: a {tensor.__class__.__name__} and a {value.__class__.__name__} have incompatible tensor types: put another "
            "parameter in its place"
        )
    tensor.__dict__.update({name: each for name, each in value.__dict__.items() if name not in _OF_THE_OBJECT})
    tensor.memory, tensor.layout = value.memory, value.layout
    tensor.memory.fields = tensor.__dict__
