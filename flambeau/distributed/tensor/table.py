"""What PyTorch's functions and tensors' methods do when one of their arguments is a distributed tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau._tensor.overriding import Disabled, property_of
from flambeau.distributed.tensor import elementwise, network, products, reductions, shaping
from flambeau.distributed.tensor.dtensor import DTensor
from flambeau.distributed.tensor.ways import Call, choose, run

_AS_EVER = frozenset({
    "dim", "element_size", "get_device", "is_complex", "is_conj", "is_floating_point", "is_inference", "is_neg", "is_pinned", "is_shared", "is_signed", "is_tensor",
    "ndimension", "resolve_conj", "resolve_neg", "storage_offset", "requires_grad_", "retain_grad", "detach_", "register_post_accumulate_grad_hook", "data_ptr", "is_sparse",
    "result_type", "can_cast", "is_nonzero",
})  # fmt: skip
"""What asks for no elements, or is about this process's piece."""

_OF_THE_CLASS = {
    "detach",
    "numel",
    "size",
    "stride",
    "is_contiguous",
    "item",
    "tolist",
    "backward",
    "register_hook",
    "untyped_storage",
    "nelement",
}
"""Methods that the class has itself; functions of these names come here."""


def _refuse_view_in_place(call: Call) -> Any:
    raise NotImplementedError("a distributed tensor does not change its shape in place: use the method without the underscore")


TABLE: dict[str, Callable[[Call], Any]] = {
    "polygamma": elementwise.elementwise, "polygamma_": elementwise.whole_in_place,
    **dict.fromkeys(("as_strided_", "squeeze_", "t_", "transpose_", "unsqueeze_"), _refuse_view_in_place),
    **dict.fromkeys(elementwise.NAMES, elementwise.elementwise), **dict.fromkeys(elementwise.IN_PLACE, elementwise.in_place),
    **dict.fromkeys(reductions.REDUCTIONS, reductions.reduction), **dict.fromkeys(reductions.LINES, reductions.along_lines),
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot", "__matmul__"), products.matmul), "__rmatmul__": products.reversed_matmul,
    **dict.fromkeys(("addmm", "addmv", "baddbmm", "addbmm"), products.addmm), "linear": products.linear,
    "scaled_dot_product_attention": products.scaled_dot_product_attention, "mean": reductions.mean, "vector_norm": reductions.vector_norm,
    "norm": reductions.vector_norm, "layer_norm": reductions.layer_norm, "rms_norm": reductions.layer_norm, **shaping.SHAPING, **network.NETWORK,
}  # fmt: skip


def _refused_property(name: str) -> Callable[[Any], Any]:
    def refuse(tensor: Any) -> Any:
        raise NotImplementedError(f"{name} of a distributed tensor is not implemented: take it of to_local() or full_tensor()")

    return refuse


_PROPERTIES = {name: _refused_property(name) for name in ("H", "mH", "real", "imag")}


def call(function: Callable, args: tuple, kwargs: dict) -> Any:
    """What a function does.

    Raises:
        RuntimeError: ordinary tensors are among the arguments, or the meshes differ
        NotImplementedError: the result would be written into a given tensor
    """
    name = getattr(function, "__name__", "")
    if name == "__get__":
        return property_of(function, _PROPERTIES, args[0])
    if name in _AS_EVER:
        with Disabled():
            return function(*args, **kwargs)
    if name in _OF_THE_CLASS and args and isinstance(args[0], DTensor):
        return getattr(args[0], name)(*args[1:], **kwargs)
    if kwargs.get("out") is not None:
        raise NotImplementedError(f"{name}: out= is not implemented for distributed tensors: use the result that is returned")
    asked = Call(function, args, kwargs)
    handler = TABLE.get(name)
    if handler is not None:
        return handler(asked)
    if name == "__setitem__" or (name.endswith("_") and not name.endswith("__")):
        return elementwise.whole_in_place(asked)
    return run(asked, choose(asked, None))
