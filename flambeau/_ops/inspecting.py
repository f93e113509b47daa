"""Questions about tensors that need none of their elements (but for ``is_nonzero`` and ``holds_everywhere``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau._ops.arguments import number
from flambeau._ops.positions import require_tensor
from flambeau._tape.storage import TensorBase
from flambeau._tape.tape import LOCAL
from flambeau._types import promotion
from flambeau._types.device import CPU
from flambeau._types.dtype import dtype as DType

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


def is_tensor(obj: Any) -> bool:
    """Whether an object is a tensor."""
    return isinstance(obj, TensorBase)


def is_storage(obj: Any) -> bool:
    """Whether an object is a storage."""
    from flambeau._tensor.storages import TypedStorage, UntypedStorage

    return isinstance(obj, (TypedStorage, UntypedStorage))


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.layout.numel


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a floating-point type."""
    return input.layout.dtype.is_floating_point


def is_complex(input: Tensor) -> bool:
    """Whether the dtype is complex."""
    return input.layout.dtype.is_complex


def is_conj(input: Tensor) -> bool:
    """Always False: conjugation is computed, not deferred."""
    return False


def is_neg(input: Tensor) -> bool:
    """Always False: negation is computed, not deferred."""
    return False


def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself: conjugation is never deferred."""
    require_tensor("resolve_conj", "input", input)
    return input


def resolve_neg(input: Tensor) -> Tensor:
    """The tensor itself: negation is never deferred."""
    require_tensor("resolve_neg", "input", input)
    return input


def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers."""
    return input.layout.dtype.is_signed


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape."""
    return input.layout.shape == other.layout.shape


def is_nonzero(input: Tensor) -> bool:
    """Whether the one element is not 0.

    Raises:
        RuntimeError: there are more elements, or none.
    """
    return bool(input)


def holds_everywhere(condition: Tensor) -> bool:
    """Whether a condition holds for all elements, in all samples where it is one of a function that ``vmap`` maps: what checks of arguments ask.

    It does on the meta device, where there are no elements that it could not hold for.
    """
    if condition.memory.device is not CPU:
        return True
    tape = LOCAL.tape
    return tape.everywhere(condition, holds_everywhere) if tape.batched else bool(condition.all())


def is_inference(input: Tensor) -> bool:
    """Whether the tensor was made in inference mode."""
    return input.is_inference()


def result_type(tensor1: Any, tensor2: Any) -> DType:
    """The dtype in which two operands, tensors or numbers, meet in arithmetic."""
    operands = [number(operand) for operand in (tensor1, tensor2)]
    described = [(each.layout.dtype, each.layout.ndim > 0) if isinstance(each, TensorBase) else type(each) for each in operands]
    return promotion.result_type(*described)


def typename(obj: Any) -> str:
    """The name of a tensor's type, or of an object's class with its module."""
    if isinstance(obj, TensorBase):
        return obj.type()
    cls = obj if isinstance(obj, type) else type(obj)
    return cls.__qualname__ if cls.__module__ in ("builtins", "") else f"{cls.__module__}.{cls.__qualname__}"


PUBLIC = (
    "is_complex", "is_conj", "is_floating_point", "is_inference", "is_neg", "is_nonzero", "is_same_size", "is_signed", "is_storage", "is_tensor", "numel", "resolve_conj",
    "resolve_neg", "result_type", "typename",
)  # fmt: skip
METHODS = ("is_conj", "is_neg", "is_nonzero", "resolve_conj", "resolve_neg")
