"""TorchScript's operators by name: `torch.conv2d`, `ops.prim.dtype`, `ops.torchvision.nms`.

A program can call what is listed here and in `plain.py`, PyTorch's operators on tensors (`export/_allowed.py`), and those that the user has
defined by `torch.library`. There is no way from a name in a file to any other function.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import flambeau
from flambeau import Tensor, ops
from flambeau._tensor.size import Size
from flambeau.export._allowed import operator_named
from flambeau.jit.torchscript.codes import DTYPES, dtype_of, layout_of, memory_format_of, number_of
from flambeau.jit.torchscript.plain import CONTAINERS, PLAIN

__all__ = ["operator_at"]


def operator_at(path: str) -> Callable:
    """What computes an operator, by the name in a program's source.

    Raises:
        NotImplementedError: there is no such operator here
    """
    namespace, _, name = path.removeprefix("ops.").rpartition(".")
    found: Callable | None = None
    if namespace in ("torch", "aten"):
        found = _aten(name)
    elif namespace == "prim":
        found = _PRIMITIVE.get(name)
    elif "." not in namespace:
        found = _users(namespace, name)
    if found is None:
        raise NotImplementedError(
            f"the TorchScript program calls the operator {'aten' if namespace == 'torch' else namespace}::{name}, which is not available here"
        )
    return found


@cache
def _aten(name: str) -> Callable | None:
    """An operator of PyTorch's, whose arguments say whether it is that on tensors."""
    plain = PLAIN.get(name)
    computed = _SPECIAL.get(name) or _on_tensors(name)
    if plain is None or computed is None:
        return plain or computed

    def call(*args: Any, **kwargs: Any) -> Any:
        chosen = computed if _is_on_tensors(args) else plain
        return chosen(*args, **kwargs)

    return call


def _is_on_tensors(args: tuple) -> bool:
    if args and isinstance(args[0], CONTAINERS):
        return False
    return any(isinstance(each, Tensor) for each in args)


def _on_tensors(name: str) -> Callable | None:
    function = operator_named(name)
    if function is None:
        return None
    dtype_position = _DTYPE_POSITIONS.get(name)

    def call(*args: Any, **kwargs: Any) -> Any:
        if dtype_position is not None and len(args) > dtype_position:
            args = (*args[:dtype_position], dtype_of(args[dtype_position]), *args[dtype_position + 1 :])
        return _result(function(*args, **_options(kwargs)))

    return call


_DTYPE_POSITIONS = {
    "softmax": 2,
    "log_softmax": 2,
    "special_softmax": 2,
    "special_log_softmax": 2,
    "_safe_softmax": 2,
    "quantize_per_tensor": 3,
}
"""Which argument without a name is a dtype."""

_DROPPED = frozenset(["pin_memory", "non_blocking", "implicit"])


def _options(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments with names, in which numbers stand for dtypes, layouts and memory formats."""
    options = {name: value for name, value in kwargs.items() if name not in _DROPPED}
    if "dtype" in options:
        options["dtype"] = dtype_of(options["dtype"])
    if "layout" in options:
        layout_of(options.pop("layout"))
    if "memory_format" in options:
        options["memory_format"] = memory_format_of(options["memory_format"])
        if options["memory_format"] is None:
            del options["memory_format"]
    return options


def _result(value: Any) -> Any:
    """A result as a value of TorchScript: sizes and sequences of tensors are lists, dtypes are numbers."""
    if isinstance(value, Size):
        return list(value)
    return number_of(value) if isinstance(value, DTYPES) else value


def _listed(name: str) -> Callable:
    function = operator_named(name)
    assert function is not None

    def call(*args: Any, **kwargs: Any) -> list:
        return list(function(*args, **kwargs))

    return call


# -- operators with rules of their own ---------------------------------------------------------------------------------


def _to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Both ways to write it: ``to(device, dtype, non_blocking, copy, memory_format)`` and ``to(dtype, …)``, or with another tensor in front."""
    options = _options(kwargs)
    given = list(args)
    if given and isinstance(given[0], Tensor):
        other = given.pop(0)
        options.update(dtype=other.dtype, device=other.device)
    else:
        if given and isinstance(given[0], (str, flambeau.device)):
            options["device"] = given.pop(0)
        elif len(given) > 1 and given[0] is None and not isinstance(given[1], bool):
            given.pop(0)
        if given and not isinstance(given[0], bool):
            options["dtype"] = dtype_of(given.pop(0))
    if len(given) > 1 and given[1]:
        options["copy"] = True
    if len(given) > 2 and given[2] is not None:
        options["memory_format"] = memory_format_of(given[2])
    return self.to(**{name: value for name, value in options.items() if value is not None})


def _tensor(data: Any, **kwargs: Any) -> Tensor:
    if isinstance(data, Tensor):
        return data.detach().clone().to(**{name: each for name, each in _options(kwargs).items() if name == "dtype" and each is not None})
    return flambeau.tensor(data, **_options(kwargs))


def _as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    return flambeau.as_tensor(data, dtype=dtype_of(dtype), device=device)


def _view(self: Tensor, shape: Any) -> Tensor:
    return self.view(dtype_of(shape))


def _where(condition: Tensor, *values: Any) -> Any:
    return flambeau.where(condition, *values) if values else list(flambeau.where(condition))


def _get_item(self: Tensor, index: int) -> Tensor:
    return self[index]


def _scalar(kind: type) -> Callable:
    return lambda value: kind(value.item() if isinstance(value, Tensor) else value)


_SPECIAL: dict[str, Callable] = {
    "to": _to,
    "tensor": _tensor,
    "as_tensor": _as_tensor,
    "view": _view,
    "where": _where,
    **{name: _listed(name) for name in (
        "broadcast_tensors", "chunk", "dsplit", "hsplit", "meshgrid", "split", "split_with_sizes", "tensor_split", "unbind", "unsafe_chunk", "unsafe_split",
        "vsplit",
    )},
    "nonzero_numpy": lambda self: list(flambeau.nonzero(self, as_tuple=True)),
    "item": lambda self: self.item(),
    "Int": _scalar(int), "Float": _scalar(float), "Bool": _scalar(bool), "Complex": _scalar(complex),
    "IntImplicit": _scalar(int), "FloatImplicit": _scalar(float), "ComplexImplicit": _scalar(complex), "ScalarImplicit": lambda self: self.item(),
    "len": lambda self: len(self),
    "dim": lambda self: self.dim(),
    "size": lambda self, *dim: self.size(*dim) if dim else list(self.shape),
    "stride": lambda self, *dim: self.stride(*dim) if dim else list(self.stride()),
    "__getitem__": _get_item,
    "__is__": lambda a, b: a is b,
    "__isnot__": lambda a, b: a is not b,
    "__not__": lambda self: not bool(self),
    "__contains__": lambda self, value: bool((self == value).any()),
    "__and__": flambeau.bitwise_and,
    "__or__": flambeau.bitwise_or,
    "__xor__": flambeau.bitwise_xor,
    "__lshift__": flambeau.bitwise_left_shift,
    "__rshift__": flambeau.bitwise_right_shift,
    "__iand__": lambda self, other: self.bitwise_and_(other),
    "__ior__": lambda self, other: self.bitwise_or_(other),
    "__ixor__": lambda self, other: self.bitwise_xor_(other),
    "str": str,
    "hash": hash,
    "can_cast": lambda a, b: flambeau.can_cast(dtype_of(a), dtype_of(b)),
    "promote_types": lambda a, b: number_of(flambeau.promote_types(dtype_of(a), dtype_of(b))),
    "device": flambeau.device,
    "is_scripting": lambda: True,
    "get_device": lambda self: self.get_device(),
    "is_grad_enabled": flambeau.is_grad_enabled,
    "set_grad_enabled": lambda enabled: flambeau.set_grad_enabled(enabled) and None,
    "is_autocast_enabled": lambda: flambeau.is_autocast_enabled(),
    "is_autocast_cpu_enabled": lambda: flambeau.is_autocast_enabled("cpu"),
    "has_torch_function": lambda *args: False,
    "manual_seed": lambda seed: flambeau.manual_seed(seed),
    "get_default_dtype": lambda: number_of(flambeau.get_default_dtype()),
    "requires_grad_": lambda self, wanted=True: self.requires_grad_(wanted),
    "grad": lambda outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False, allow_unused=False: list(
        flambeau.autograd.grad(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused)),
    "wait": lambda future: future.wait(),
    "_tensor_to_list": lambda self: self.tolist(),
    "_list_to_tensor": lambda values: flambeau.tensor(values),
}  # fmt: skip
"""Operators on tensors whose arguments or results TorchScript has in its own way; and those on none that are no public functions."""


def _number_to_tensor(number: Any) -> Tensor:
    return flambeau.tensor(number)


def _unwrapped(value: Any) -> Any:
    if value is None:
        raise ValueError("Unwrapping null optional")
    return value


_PRIMITIVE: dict[str, Callable] = {
    "dtype": lambda self: number_of(self.dtype),
    "device": lambda self: self.device,
    "layout": lambda self: 0 if self.layout is not None else None,
    "requires_grad": lambda self: self.requires_grad,
    "grad": lambda self: self.grad,
    "data": lambda self: self.data,
    "shape": lambda self: list(self.shape),
    "itemsize": lambda self: self.element_size(),
    "name": lambda self: None,
    "type": lambda device: device.type,
    "index": lambda device: device.index,
    "is_nested": lambda self: self.is_nested,
    "is_quantized": lambda self: self.is_quantized,
    "is_sparse": lambda self: self.is_sparse,
    "is_meta": lambda self: self.is_meta,
    **{f"is_{kind}": lambda self: False for kind in (
        "cuda", "hpu", "ipu", "maia", "mkldnn", "mps", "mtia", "sparse_csr", "vulkan", "xla", "xpu",
    )},
    "is_cpu": lambda self: self.device.type == "cpu",
    "NumToTensor": _number_to_tensor,
    "unchecked_unwrap_optional": _unwrapped,
    "min": PLAIN["min"],
    "max": PLAIN["max"],
    "abs": abs,
    "TupleUnpack": tuple,
    "id": id,
}  # fmt: skip
"""Operators of the language itself."""


def _users(namespace: str, name: str) -> Callable | None:
    """An operator that the user has defined, or one of torchvision's."""
    if namespace == "torchvision" and namespace not in ops.NAMESPACES:
        from flambeau.vision._library import LIBRARIES

        LIBRARIES["_C"]()
    found = vars(ops.NAMESPACES[namespace]).get(name) if namespace in ops.NAMESPACES else None
    return found if isinstance(found, ops.OpOverloadPacket) else None
