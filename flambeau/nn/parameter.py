"""Tensors that a module owns: parameters, buffers, and those whose shape is not known yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import flambeau
from flambeau._alias import is_ours
from flambeau._tensor.overriding import disabled_torch_function
from flambeau._tensor.tensor import Tensor
from flambeau._types.errors import ArgumentError

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter", "UninitializedTensorMixin", "is_lazy"]


def _leaf(cls: type, data: Tensor, requires_grad: bool) -> Any:
    """A leaf of class ``cls`` that shares the storage of ``data``."""
    data.memory.weight = True
    return data.detach().as_subclass(cls).requires_grad_(requires_grad)


class _ParameterClass(type):
    """Lets tensors of a user's class be parameters: they keep their class, and are marked."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return super().__instancecheck__(instance) or (
            cls is Parameter and isinstance(instance, Tensor) and instance.__dict__.get("_is_param", False)
        )


class Parameter(Tensor, metaclass=_ParameterClass):
    """A tensor that a module trains: assigned as an attribute of a module it appears in ``parameters()``.

    It shares the storage of ``data``, is a leaf of the graph and needs a gradient unless told otherwise.

    Args:
        data: the values; an empty tensor if left out.
        requires_grad: whether a gradient is wanted. It stays ``True`` under ``no_grad``.

    Example:
        >>> scale = flambeau.nn.Parameter(flambeau.ones(3))
        >>> scale.requires_grad, scale.is_leaf
        (True, True)
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = flambeau.empty(0)
        elif not isinstance(data, Tensor):
            raise ArgumentError(f"Parameter(data) takes a tensor, not {type(data).__name__}: wrap the values in flambeau.tensor(...)")
        if cls is Parameter and not type.__instancecheck__(Parameter, data) and _is_of_a_user(type(data)):
            marked: Any = data.detach().requires_grad_(requires_grad)
            marked._is_param = marked.memory.weight = True
            return marked
        return _leaf(cls, data, requires_grad)

    __torch_function__ = disabled_torch_function  # what is computed from a parameter is a tensor

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(memory_format=flambeau.preserve_format), self.requires_grad)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return _rebuild_parameter, (None if type(self) is Parameter else type(self), self.data, self.requires_grad)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


def _is_of_a_user(cls: type) -> bool:
    return not is_ours(cls) or getattr(cls, "keeps_class_as_parameter", False)  # which distributed tensors do as well


def _rebuild_parameter(cls: type[Parameter] | None, data: Tensor, requires_grad: bool) -> Parameter:
    return (cls or Parameter)(data, requires_grad)


class Buffer(Tensor):
    """A tensor that belongs to a module's state but is not trained, such as a running mean.

    Args:
        data: the values; an empty tensor if left out.
        persistent: whether ``state_dict()`` holds it.

    Example:
        >>> module = flambeau.nn.Module()
        >>> module.steps = flambeau.nn.Buffer(flambeau.zeros(()))
        >>> list(module.state_dict())
        ['steps']
    """

    __torch_function__ = disabled_torch_function
    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        if data is None:
            data = flambeau.empty(0)
        buffer = _leaf(cls, data, data.requires_grad)
        buffer.persistent = persistent
        return buffer

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(memory_format=flambeau.preserve_format), persistent=self.persistent)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return _rebuild_buffer, (type(self), self.data, self.persistent)


def _rebuild_buffer(cls: type[Buffer], data: Tensor, persistent: bool) -> Buffer:
    return cls(data, persistent=persistent)


class UninitializedTensorMixin:
    """What a tensor does while its shape is unknown: dtype and device are there, the shape is not."""

    cls_to_become: type

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Gives the tensor its shape (and uninitialised values); from then on it is an ordinary parameter or buffer."""
        device = self.data.device if device is None else device
        dtype = self.data.dtype if dtype is None else dtype
        self.data = flambeau.empty(shape, device=device, dtype=dtype)
        self.__class__ = self.cls_to_become

    @property
    def shape(self) -> Any:
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer: it is known once the lazy module has seen an input. "
            "Call the module with a batch first, or load a checkpoint into it before anything else."
        )

    def share_memory_(self) -> Any:
        raise RuntimeError("Can't share memory on an uninitialized parameter or buffer: call the module with a batch first.")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter whose shape is set by the first input of a lazy module; see :class:`flambeau.nn.LazyLinear`."""

    cls_to_become = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> UninitializedParameter:
        return _leaf(cls, flambeau.empty(0, device=device, dtype=dtype), requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> UninitializedParameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.data.device, self.data.dtype)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return type(self), (self.requires_grad, self.data.device, self.data.dtype)


class UninitializedBuffer(UninitializedTensorMixin, Buffer):
    """A buffer whose shape is set by the first input of a lazy module."""

    cls_to_become = Buffer

    def __new__(cls, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True) -> UninitializedBuffer:
        buffer = _leaf(cls, flambeau.empty(0, device=device, dtype=dtype), requires_grad)
        buffer.persistent = persistent
        return buffer

    def __deepcopy__(self, memo: dict[int, Any]) -> UninitializedBuffer:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.data.device, self.data.dtype, self.persistent)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return type(self), (self.requires_grad, self.data.device, self.data.dtype, self.persistent)


def is_lazy(tensor: Any) -> bool:
    """Whether ``tensor`` is a parameter or buffer that has no shape yet."""
    return isinstance(tensor, UninitializedTensorMixin)


def clear_gradients(parameters: Iterable[Tensor], set_to_none: bool) -> None:
    """Remove the gradients of parameters, or fill them with zeros that have no history."""
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        if set_to_none:
            parameter.grad = None
        else:
            if gradient.grad_fn is not None:
                gradient.detach_()
            else:
                gradient.requires_grad_(False)
            gradient.zero_()
