"""One call of an operator in a mapped function, as the rules see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau._ops.batching.samples import repeated
from flambeau._ops.operator import Operator
from flambeau._ops.registry import new_tensor
from flambeau._ops.views import reshape
from flambeau._tape.storage import TensorBase
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


class Call:
    """What an operator was called with.

    Attributes:
        op, statics: the operator and its static attributes
        operands: the tensors of one sample, and numbers
        values: for each operand all samples, ``(B, *shape)``, where it differs from sample to sample; else the operand
        held: for each operand whether it differs
        layouts: those of the results, of one sample
        size: the number B of samples
        forwarded: the operands, static attributes and results of the last call that a rule has made of it
    """

    __slots__ = ("forwarded", "held", "layouts", "op", "operands", "size", "statics", "values")

    def __init__(
        self, op: Operator, statics: tuple, operands: tuple, values: list[Any], held: list[bool], layouts: tuple[Layout, ...], size: int
    ) -> None:
        self.op = op
        self.statics = statics
        self.operands = operands
        self.values = values
        self.held = held
        self.layouts = layouts
        self.size = size
        self.forwarded: tuple = ((), (), None)

    def __call__(self, *operands: Any, statics: tuple = ()) -> Any:
        """Call the operator with operands of all samples."""
        result = self.op(*operands, statics=statics)
        self.forwarded = operands, statics, result
        return result

    def __getattr__(self, name: str) -> Any:
        """A static attribute by its name."""
        if name in self.op.statics:
            return self.statics[self.op.statics.index(name)]
        raise AttributeError(name)

    def ndim(self, position: int) -> int:
        """How many dimensions an operand has in one sample."""
        return self.operands[position].layout.ndim

    def all(self, position: int) -> Any:
        """An operand with the dimension of samples, also if it is the same for all; a number as it is."""
        value = self.values[position]
        return value if self.held[position] or not isinstance(value, TensorBase) else repeated(value, self.size)

    def aligned(self, position: int, ndim: int) -> Any:
        """An operand that is to be broadcast with others, which have ``ndim`` dimensions in one sample."""
        value = self.values[position]
        return with_ones(value, ndim) if self.held[position] else value

    def changed(self, **statics: Any) -> tuple:
        """The static attributes, some of them exchanged."""
        return tuple([statics.get(name, value) for name, value in zip(self.op.statics, self.statics, strict=True)])


def with_ones(samples: Tensor, ndim: int) -> Tensor:
    """``(B, 1, …, 1, *shape)`` with ``ndim`` dimensions after the first."""
    layout = samples.layout
    missing = ndim + 1 - layout.ndim
    if missing <= 0:
        return samples
    if samples.node is not None:
        return reshape(samples, layout.shape[0], *(1,) * missing, *layout.shape[1:])
    strides = (layout.strides[0], *(0,) * missing, *layout.strides[1:])
    shape = (layout.shape[0], *(1,) * missing, *layout.shape[1:])
    return new_tensor(samples.memory, lay.layout(shape, strides, layout.offset, layout.dtype))
