"""What PyTorch's functions and tensors' methods do when one of their arguments is sparse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau._tensor.overriding import Disabled, first_of, property_of
from flambeau._tensor.sparse import PARTS
from flambeau._tensor.tensor import Tensor
from flambeau._types.strided import described
from flambeau.sparse import creation, elementwise, products, shaping
from flambeau.sparse.tensor import SparseCoo, SparseTensor

_AS_EVER = frozenset({
    "dim", "element_size", "get_device", "is_complex", "is_conj", "is_floating_point", "is_inference", "is_neg", "is_pinned", "is_same_size", "is_signed", "is_tensor", "ndimension",
    "nelement", "numel", "resolve_conj", "resolve_neg", "size", "stride", "storage_offset", "as_subclass",
})  # fmt: skip
"""What asks for no elements."""


def _converted(dtype: Any) -> Callable:
    return lambda self, *args, **options: self.to(dtype)


def _empty_like(self: SparseTensor, *, dtype: Any = None, layout: Any = None, **options: Any) -> Any:
    return (
        creation.sparse_coo_tensor(self.shape, dtype=dtype or self.dtype) if isinstance(self, SparseCoo) else self._with(self._elements * 0)
    )


def _zero_(self: SparseTensor) -> Any:
    empty = creation.sparse_coo_tensor(self.shape, dtype=self.dtype)
    self.__dict__.update((empty if isinstance(self, SparseCoo) else self._with(flambeau.zeros_like(self._elements))).__dict__)
    return self


def _copy_(self: Any, source: Any, non_blocking: bool = False) -> Any:
    if not isinstance(self, SparseTensor):
        return self.copy_(source.to_dense())
    if not isinstance(source, SparseTensor) or source.layout != self.layout:
        raise RuntimeError("copy_() between dense and sparse Tensors is not implemented!")
    self.__dict__.update(source.to(self.dtype).clone().__dict__)
    return self


def _add_(self: Any, other: Any, *, alpha: Any = 1) -> Any:
    """``add_``; of a dense tensor only the rows (elements) change that a sparse one names."""
    if isinstance(self, SparseTensor) or not isinstance(other, SparseCoo):
        return _add_to_sparse_(self, other, alpha=alpha)
    if tuple(self.shape) != tuple(other.shape):
        raise RuntimeError(f"add_: expected tensors of the same size, got {list(self.shape)} and {list(other.shape)}")
    values = other._elements.to(self.dtype)
    if other.sparse_dim() == 1:
        return self.index_add_(0, other._places[0], values, alpha=alpha)
    return self.index_put_(tuple(other._places), values if alpha == 1 else values * alpha, accumulate=True)


_add_to_sparse_ = elementwise.in_place(elementwise.add)


def _sub_(self: Any, other: Any, *, alpha: Any = 1) -> Any:
    return _add_(self, other, alpha=-alpha)


def _type_as(self: Tensor, other: Tensor) -> Any:
    return self.to(other.dtype)


def _equal(self: Tensor, other: Tensor) -> bool:
    if tuple(self.shape) != tuple(other.shape):
        return False
    return flambeau.equal(self.to_dense(), other.to_dense())


def _allclose(self: Tensor, other: Tensor, *args: Any, **options: Any) -> bool:
    return flambeau.allclose(self.to_dense(), other.to_dense(), *args, **options)


def _addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    return beta * input + alpha * products.mv(mat, vec)


def _backward(
    self: Tensor, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
) -> None:
    flambeau.autograd.backward(self, gradient, retain_graph, create_graph, inputs=inputs)


def _rmatmul(self: Tensor, other: Tensor) -> Any:
    return products.matmul(other, self)


TABLE: dict[str, Callable] = {
    **{name: elementwise.each(name) for name in elementwise.KEEP_ZERO},
    "add": elementwise.add, "sub": elementwise.sub, "subtract": elementwise.sub, "rsub": elementwise.rsub, "__rsub__": elementwise.rsub, "mul": elementwise.mul,
    "multiply": elementwise.mul, "div": elementwise.div, "divide": elementwise.div, "true_divide": elementwise.div, "floor_divide": elementwise.floor_divide,
    "pow": elementwise.power, "__pow__": elementwise.power, "mm": products.mm, "matmul": products.matmul, "__rmatmul__": _rmatmul, "mv": products.mv, "bmm": products.bmm,
    "addmm": products.addmm, "addmv": _addmv, "hspmm": products.hspmm, "smm": products.smm, "sspaddmm": products.sspaddmm, "t": shaping.t, "adjoint": shaping.adjoint, "transpose": products.transpose,
    "swapaxes": products.transpose, "swapdims": products.transpose, "permute": shaping.permute, "unsqueeze": shaping.unsqueeze, "select": shaping.select,
    "index_select": shaping.index_select, "narrow_copy": shaping.narrow_copy, "narrow": shaping.narrow_copy, "__getitem__": shaping.getitem, "cat": shaping.cat, "concat": shaping.cat,
    "concatenate": shaping.cat, "stack": shaping.stack, "sum": shaping.sum_method, "softmax": shaping.softmax, "log_softmax": shaping.log_softmax, "norm": shaping.norm,
    "any": shaping.any_element, "to_sparse": creation.to_sparse, "to_sparse_coo": creation.to_sparse_coo, "to_sparse_csr": creation.to_sparse_csr,
    "to_sparse_csc": creation.to_sparse_csc, "sparse_mask": creation.sparse_mask, "zeros_like": _empty_like, "empty_like": _empty_like, "zero_": _zero_, "copy_": _copy_,
    "type_as": _type_as, "equal": _equal, "allclose": _allclose,
    "backward": _backward,
    "clone": lambda self, **options: self.clone(), "detach": lambda self: self.detach(), "cpu": lambda self, **options: self,
    **{name: _converted(getattr(flambeau, name)) for name in ("float", "double", "half", "bfloat16", "int", "long", "short", "bool", "cfloat", "cdouble")},
}  # fmt: skip
TABLE.update({
    name + "_": elementwise.in_place(TABLE[name])
    for name in ("abs", "mul", "div", "neg", "pow", "relu", "sqrt", "sin", "tanh", "square", "sign", "round", "floor", "ceil", "trunc", "log1p", "expm1")
} | {"add_": _add_, "sub_": _sub_})  # fmt: skip

_PROPERTIES: dict[str, Callable] = {"T": shaping.reversed_dims, "mT": shaping.matrices_transposed, "mH": shaping.adjoint, "H": shaping.h}


def call(func: Callable, args: tuple, kwargs: dict) -> Any:
    """What a function does.

    Raises:
        NotImplementedError: nothing: it needs dense tensors.
    """
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return property_of(func, _PROPERTIES, args[0])
    handler = TABLE.get(name)
    if handler is not None:
        return handler(*args, **kwargs)
    if name in _AS_EVER or any(name in names for names in PARTS.values()):
        with Disabled():
            return func(*args, **kwargs)
    sparse = first_of(SparseTensor, (*args, *kwargs.values()))
    raise NotImplementedError(
        f"Could not run '{name}' with a sparse tensor ({described(sparse.layout)}): it is not implemented for this layout; use to_dense() first"
    )
