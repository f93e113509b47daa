"""What PyTorch's functions and tensors' methods do when one of their arguments is quantized."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau._tensor.overriding import Disabled, property_of
from flambeau.ao.tensors import moving, pointwise
from flambeau.ao.tensors.tensor import QuantizedTensor

_AS_EVER = frozenset({
    "__len__", "data_ptr", "dim", "element_size", "get_device", "is_complex", "is_conj", "is_contiguous", "is_floating_point", "is_inference", "is_neg", "is_pinned",
    "is_same_size", "is_shared", "is_signed", "is_tensor", "ndimension", "nelement", "numel", "resolve_conj", "resolve_neg", "size", "storage_offset", "stride",
    "untyped_storage", "_is_view",
})  # fmt: skip
"""What asks for no elements."""


def _unconvertible(name: str) -> Callable:
    def refuse(self: QuantizedTensor, *args: Any, **options: Any) -> Any:
        raise RuntimeError(f"{name}() of a quantized tensor: use dequantize() for its numbers, or int_repr() for its integers")

    return refuse


def _iterated(self: QuantizedTensor) -> Any:
    return iter(self.unbind(0))


def _in_place(function: Callable) -> Callable:
    """``function_``: it takes over what the function returns."""

    def changed(self: QuantizedTensor, *args: Any, **options: Any) -> QuantizedTensor:
        self._integers.copy_(function(self, *args, **options)._integers)
        return self

    return changed


def _like(fill: float | None) -> Callable:
    def made(self: QuantizedTensor, **options: Any) -> QuantizedTensor:
        integers = flambeau.empty_like(self._integers)
        made = self._with(integers)
        return made if fill is None else pointwise.fill_(made, fill)

    return made


TABLE: dict[str, Callable] = {
    **{name: moving.moving(name) for name in moving.MOVING},
    **{name: pointwise.compared(name) for name in pointwise.COMPARISONS},
    **{name: pointwise.averaged(name) for name in pointwise.AVERAGES},
    "__getitem__": moving.getitem, "__setitem__": pointwise.setitem, "__iter__": _iterated, "cat": moving.cat, "concat": moving.cat, "concatenate": moving.cat,
    "stack": moving.stack, "relu": pointwise.relu, "relu_": lambda self: pointwise.relu(self, True), "relu6": pointwise.relu6, "clamp": pointwise.clamp,
    "clip": pointwise.clamp, "clamp_min": lambda self, min: pointwise.clamp(self, min), "clamp_max": lambda self, max: pointwise.clamp(self, None, max),
    "clamp_": _in_place(pointwise.clamp), "hardtanh": pointwise.hardtanh, "sigmoid": pointwise.sigmoid, "tanh": pointwise.tanh, "hardsigmoid": pointwise.hardsigmoid,
    "leaky_relu": pointwise.leaky_relu, "gelu": pointwise.gelu, "threshold": pointwise.threshold, "dropout": pointwise.dropout, "pad": pointwise.pad,
    "copy_": pointwise.copy_, "fill_": pointwise.fill_, "masked_fill_": pointwise.masked_fill_, "masked_fill": pointwise.masked_fill,
    "empty_like": _like(None), "ones_like": _like(1.0), "zeros_like": _like(0.0), "argsort": lambda self, *args, **options: self._integers.argsort(*args, **options),
    "argmax": lambda self, *args, **options: self._integers.argmax(*args, **options), "argmin": lambda self, *args, **options: self._integers.argmin(*args, **options),
    "__bool__": lambda self: bool(self.item()), "__float__": lambda self: float(self.item()), "__int__": lambda self: int(self.item()),
    **{name: _unconvertible(name) for name in ("float", "double", "half", "bfloat16", "int", "long", "short", "bool", "char", "byte", "allclose", "isclose")},
    "type_as": lambda self, other: self.to(other.dtype), "is_nonzero": lambda self: bool(self.item()),
}  # fmt: skip

_PROPERTIES: dict[str, Callable] = {
    "T": lambda self: self.permute(*range(self.dim() - 1, -1, -1)),
    "mT": lambda self: self.transpose(-2, -1),
}


def call(func: Callable, args: tuple, kwargs: dict) -> Any:
    """What a function does.

    Raises:
        NotImplementedError: nothing: it needs numbers; or ``out`` is given.
    """
    name = getattr(func, "__name__", "")
    if kwargs.pop("out", None) is not None:
        raise NotImplementedError(f"{name}: out= is not implemented for quantized tensors; copy_() the result into it")
    if name == "__get__":
        return property_of(func, _PROPERTIES, args[0])
    handler = TABLE.get(name)
    if handler is not None:
        return handler(*args, **kwargs)
    if name in _AS_EVER:
        with Disabled():
            return func(*args, **kwargs)
    raise NotImplementedError(
        f"Could not run '{name}' with a quantized tensor: it is not implemented for integers that stand for numbers. Use dequantize() first; in a "
        f"network that is converted, put torch.ao.quantization.DeQuantStub before it, or torch.ao.nn.quantized.FloatFunctional in its place"
    )
