"""What PyTorch's functions and tensors' methods do when one of their arguments is nested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau._tensor.overriding import Disabled, first_of, property_of
from flambeau._tensor.tensor import Tensor
from flambeau.nested import attention, elementwise, pieces, products, reductions, shaping
from flambeau.nested.jagged import JaggedTensor
from flambeau.nested.strided import StridedNestedTensor
from flambeau.nested.tensor import NestedTensor

_AS_EVER = frozenset({
    "as_subclass", "data_ptr", "dim", "element_size", "get_device", "is_complex", "is_conj", "is_contiguous", "is_floating_point", "is_inference", "is_neg", "is_pinned", "is_signed",
    "is_tensor", "ndimension", "nelement", "numel",
})  # fmt: skip
"""What asks for no elements."""

_METHODS = frozenset({
    "__bool__", "__iter__", "__len__", "clone", "contiguous", "cpu", "detach", "detach_", "is_same_size", "item", "lengths", "offsets", "register_hook", "requires_grad_", "retain_grad",
    "size", "stride", "storage_offset", "to", "to_padded_tensor", "tolist", "type", "type_as", "unbind", "values",
})  # fmt: skip
"""Functions that are methods of nested tensors."""


def _plainly(function: Callable) -> Callable:
    """A handler of a function that is not told which name it was called by."""
    return lambda func, *args, **kwargs: function(*args, **kwargs)


def _copy_(func: Callable, self: Any, source: Any, non_blocking: bool = False) -> Any:
    if not isinstance(self, NestedTensor) or not isinstance(source, NestedTensor):
        raise RuntimeError("copy_: the elements of a nested tensor are copied to one with pieces of the same sizes only")
    if not _lie_alike(self, source):
        raise RuntimeError("copy_: expected two nested tensors with pieces of the same sizes, at the same places of values()")
    self._elements.copy_(source._elements)
    return self


def _lie_alike(first: NestedTensor, second: NestedTensor) -> bool:
    """Whether both have pieces of the same sizes, at the same places of their values."""
    if isinstance(first, JaggedTensor) and isinstance(second, JaggedTensor):
        return first._dim == second._dim and first._elements.shape == second._elements.shape and first._ragged.divides_like(second._ragged)
    if isinstance(first, StridedNestedTensor) and isinstance(second, StridedNestedTensor):
        return first._sizes == second._sizes and first._order == second._order
    return False


def _setitem(func: Callable, self: Any, index: Any, value: Any) -> None:
    """``self[3] = …``, ``self[3, 1:] = …``: a piece is written to."""
    first, *rest = index if isinstance(index, tuple) else (index,)
    if not isinstance(self, NestedTensor) or not isinstance(first, int) or isinstance(first, bool):
        raise NotImplementedError(
            f"a nested tensor is written to piece by piece, x[3] = …, x[3, 1:] = …, not at {index!r}; or through values()"
        )
    self[first][tuple(rest) if rest else ...] = value


def _same_pieces(first: Any, second: Any) -> bool:
    if type(first) is not type(second) or first.dim() != second.dim():
        return False
    if isinstance(first, JaggedTensor):
        return first._ragged is second._ragged and tuple(first.shape) == tuple(second.shape)
    return first.sizes == second.sizes


def _compared(func: Callable, first: Any, second: Any, *args: Any, **options: Any) -> bool:
    """``equal`` and ``allclose``."""
    if not _same_pieces(first, second):
        if func.__name__ == "equal" and isinstance(first, NestedTensor) != isinstance(second, NestedTensor):
            return False
        raise elementwise.refusal(func.__name__, first, second)
    first, second = first.contiguous(), second.contiguous()
    if isinstance(first, JaggedTensor):
        return func(first._packed(), second._packed(), *args, **options)
    return func(first._elements, second._elements, *args, **options)


def _new(func: Callable, self: Any, *args: Any, **options: Any) -> Tensor:
    """``new_zeros`` and the like make dense tensors."""
    return func(self._elements, *args, **options)


def _backward(
    func: Callable, self: Tensor, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
) -> None:
    if gradient is None and isinstance(self, NestedTensor):
        raise RuntimeError("grad can be implicitly created only for scalar outputs, not for a nested tensor: backward(gradient)")
    with Disabled():
        func(self, gradient, retain_graph, create_graph, inputs)


def _one_hot(func: Callable, tensor: Any, num_classes: int = -1) -> Any:
    return products.embedding(func, tensor, num_classes)


_SHARED: dict[str, Callable] = {
    **dict.fromkeys(elementwise.ELEMENTWISE, elementwise.elementwise), **dict.fromkeys(elementwise.IN_PLACE, elementwise.in_place),
    **dict.fromkeys(elementwise.LOSSES, elementwise.loss), **dict.fromkeys(reductions.NEUTRAL, reductions.reduce), **dict.fromkeys(reductions.ALONG, reductions.along),
    "max": reductions.extremum, "min": reductions.extremum, "softmax": reductions.softmax, "log_softmax": reductions.softmax, "softmin": reductions.softmax,
    "layer_norm": reductions.layer_norm, "rms_norm": reductions.layer_norm, "linear": products.linear, "embedding": products.embedding, "one_hot": _one_hot,
    "matmul": products.matmul, "bmm": products.matmul, "__rmatmul__": lambda func, self, other: products.matmul(func, other, self),
    "scaled_dot_product_attention": attention.attention, "copy_": _copy_, "__setitem__": _setitem, "equal": _compared, "allclose": _compared, "backward": _backward,
    **dict.fromkeys(("new_zeros", "new_ones", "new_full", "new_empty", "new_tensor"), _new),
}  # fmt: skip

JAGGED: dict[str, Callable] = _SHARED | {
    name: _plainly(function)
    for name, function in {
        "permute": shaping.permute, "transpose": shaping.transpose, "swapaxes": shaping.transpose, "unsqueeze": shaping.unsqueeze, "squeeze": shaping.squeeze,
        "view": shaping.view, "reshape": shaping.reshape, "view_as": shaping.view_as, "reshape_as": shaping.view_as, "flatten": shaping.flatten, "unflatten": shaping.unflatten,
        "expand": shaping.expand, "broadcast_to": shaping.expand, "expand_as": shaping.expand_as, "select": shaping.select, "narrow": shaping.narrow,
        "__getitem__": shaping.getitem, "chunk": shaping.chunk, "split": shaping.split, "split_with_sizes": shaping.split, "cat": shaping.cat, "stack": shaping.stack,
    }.items()
} | {"pad": shaping.pad}  # fmt: skip

STRIDED: dict[str, Callable] = _SHARED | {
    name: _plainly(function)
    for name, function in {
        "permute": pieces.permute, "transpose": pieces.transpose, "swapaxes": pieces.transpose, "unsqueeze": pieces.unsqueeze, "squeeze": pieces.squeeze,
        "view": pieces.reshape, "reshape": pieces.reshape, "flatten": pieces.flatten, "unflatten": pieces.unflatten, "select": pieces.select, "narrow": pieces.narrow,
        "__getitem__": pieces.getitem, "chunk": pieces.chunk, "split": pieces.split, "split_with_sizes": pieces.split, "cat": pieces.cat,
    }.items()
}  # fmt: skip


def _refused(self: Any) -> Any:
    raise NotImplementedError("'T', 'H' and 'mH' are not implemented for nested tensors; use transpose(), or mT")


_REFUSED = dict.fromkeys(("T", "H", "mH"), _refused)
_OF_JAGGED: dict[str, Callable] = {"mT": shaping.matrix_transpose, **_REFUSED}
_OF_STRIDED: dict[str, Callable] = {"mT": pieces.matrix_transpose, **_REFUSED}


def call(func: Callable, args: tuple, kwargs: dict) -> Any:
    """What a function does.

    Raises:
        NotImplementedError: nothing: it needs dense tensors.
    """
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return property_of(func, _OF_JAGGED if isinstance(args[0], JaggedTensor) else _OF_STRIDED, args[0])
    if not args and "input" in kwargs:
        args, kwargs = (kwargs["input"],), {key: value for key, value in kwargs.items() if key != "input"}
    nested = first_of(NestedTensor, (*args, *kwargs.values()))
    handler = (JAGGED if isinstance(nested, JaggedTensor) else STRIDED).get(name)
    if handler is not None:
        return handler(func, *args, **kwargs)
    if name in _METHODS and args and args[0] is nested:
        return getattr(nested, name)(*args[1:], **kwargs)
    if name in _AS_EVER:
        with Disabled():
            return func(*args, **kwargs)
    raise NotImplementedError(
        f"'{name}' is not implemented for nested tensors (layout {nested.layout}); use values(), the pieces (unbind()), or to_padded_tensor()"
    )
