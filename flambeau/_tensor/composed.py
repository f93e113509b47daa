"""Tensors that are Python objects around ordinary ones: sparse tensors, and nested ones.

Whatever is computed with one is recorded as work on the tensors that it is made of. One of these holds its values, and its history: the
gradient of the whole is that of the values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau._ops.node import HookHandle
from flambeau._tensor import overriding
from flambeau._tensor.tensor import Tensor


class ComposedTensor(Tensor):
    """A tensor whose elements are those of another one, ``_elements``. Functions find it by the ``__torch_function__`` of its class."""

    _elements: Tensor

    @classmethod
    def _compose(cls, layout: Any, values: Tensor) -> Any:
        """One of these values; ``layout`` stands in the place of a ``Layout``."""
        overriding.activate()
        made = object.__new__(cls)
        made.layout = layout
        made.base = None
        made._elements = values
        return made

    def _with(self, values: Tensor) -> Any:
        """The same tensor with other values."""
        raise NotImplementedError

    def _values_of(self, other: Any) -> Tensor:
        """The values of another tensor, a gradient, that is made as this one is."""
        return other._elements

    @property
    def memory(self) -> Any:
        raise self._refusal("what was called")

    @property
    def device(self) -> Any:
        """The device of the values."""
        return self._elements.device

    def _refusal(self, what: str) -> NotImplementedError:
        kind = "nested" if self.is_nested else "sparse"
        return NotImplementedError(
            f"{what} is not implemented for {kind} tensors, which have no memory of their own; call it with values()"
        )

    # -- autograd --------------------------------------------------------------------------------------------------

    @property
    def node(self) -> Any:
        """The gradient node of the values, which is that of the tensor."""
        return self._elements.node

    @node.setter
    def node(self, value: Any) -> None:
        raise self._refusal("autograd.Function")

    @property
    def output_nr(self) -> int:
        return self._elements.output_nr

    @property
    def grad(self) -> Any:
        """The gradient of the values, in a tensor like this one."""
        return None if self._elements.grad is None else self._with(self._elements.grad)

    @grad.setter
    def grad(self, value: Any) -> None:
        self._elements.grad = None if value is None else self._values_of(value)

    @grad.deleter
    def grad(self) -> None:
        self._elements.grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        self._elements.requires_grad_(requires_grad)
        return self

    def retain_grad(self) -> None:
        self._elements.retain_grad()

    def register_hook(self, hook: Callable) -> HookHandle:
        """Call ``hook`` with the gradient, a tensor like this one; it may return another."""

        def of_values(grad: Tensor) -> Any:
            with overriding.Enabled():
                result = hook(self._with(grad))
            return None if result is None else self._values_of(result)

        return self._elements.register_hook(of_values)

    def detach(self) -> Any:
        return self._with(self._elements.detach())

    def detach_(self) -> Any:
        self._elements.detach_()
        return self

    @property
    def data(self) -> Any:
        return self.detach()

    # -- conversion ------------------------------------------------------------------------------------------------

    def to(self, *args: Any, **options: Any) -> Any:
        values = self._elements.to(*[each._elements if isinstance(each, ComposedTensor) else each for each in args], **options)
        return self if values is self._elements and not options.get("copy", False) else self._with(values)

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        return self.numpy()

    def __hash__(self) -> int:
        return id(self)

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)
