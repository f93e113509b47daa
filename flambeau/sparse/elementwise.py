"""Functions of each element that keep zero, and arithmetic between sparse and other tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.sparse.creation import to_sparse
from flambeau.sparse.tensor import SparseCompressed, SparseCoo, SparseTensor, keys_of

KEEP_ZERO = (
    "abs", "absolute", "angle", "arcsin", "arcsinh", "arctan", "arctanh", "asin", "asinh", "atan", "atanh", "ceil", "conj", "conj_physical", "deg2rad", "erf", "erfinv",
    "expm1", "floor", "frac", "isinf", "isnan", "isneginf", "isposinf", "log1p", "nan_to_num", "neg", "negative", "positive", "rad2deg", "relu", "round", "sgn", "sign",
    "signbit", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc",
)  # fmt: skip
"""Functions with f(0) = 0."""
LINEAR = frozenset({"neg", "negative", "positive", "conj", "conj_physical", "deg2rad", "rad2deg"})
"""Those for which values of one position need not be added up before."""


def each(name: str) -> Callable:
    """The function of that name of each value."""
    function = getattr(flambeau, name, None) or getattr(flambeau.Tensor, name)

    def of_values(self: SparseTensor, *args: Any, **options: Any) -> Any:
        tensor = self if name in LINEAR or isinstance(self, SparseCompressed) else self.coalesce()
        return tensor._with(function(tensor._elements, *args, **options))

    of_values.__name__ = name
    return of_values


def is_number(value: Any) -> bool:
    """Whether a value is a number, or a tensor of one."""
    return not isinstance(value, Tensor) or (value.dim() == 0 and not isinstance(value, SparseTensor))


def add(self: Any, other: Any, *, alpha: Any = 1) -> Any:
    """``self + alpha * other``: of two sparse tensors a sparse one, of a dense and a sparse one (in this order) a dense one."""
    if isinstance(self, SparseTensor) and isinstance(other, SparseTensor):
        return _sum(self, other if alpha == 1 else mul(other, alpha))
    if isinstance(self, SparseTensor):
        raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
    if not isinstance(self, Tensor):
        raise RuntimeError("a number cannot be added to a sparse tensor, whose other elements are zero; use to_dense()")
    _same_shape("add", self, other)
    return self + (other.to_dense() if alpha == 1 else other.to_dense() * alpha)


def sub(self: Any, other: Any, *, alpha: Any = 1) -> Any:
    """``self - alpha * other``."""
    return add(self, other, alpha=-alpha)


def rsub(self: Any, other: Any, *, alpha: Any = 1) -> Any:
    """``other - alpha * self``."""
    return add(other, self, alpha=-alpha)


def _sum(a: SparseTensor, b: SparseTensor) -> Any:
    _same_shape("add", a, b)
    if isinstance(a, SparseCompressed) and isinstance(b, SparseCompressed):
        return to_sparse(_sum(a.coordinates(), b.coordinates()).coalesce(), layout=a.layout.kind)
    if not isinstance(a, SparseCoo) or not isinstance(b, SparseCoo) or a.sparse_dim() != b.sparse_dim():
        raise RuntimeError(f"add: expected two tensors of the same layout, got {a.layout!r} and {b.layout!r}")
    dtype = flambeau.promote_types(a.dtype, b.dtype)
    values = flambeau.cat([a._elements.to(dtype), b._elements.to(dtype)])
    both = SparseCoo.of(flambeau.cat([a._places, b._places], 1), values, a.shape)
    return both.coalesce() if a._coalesced and b._coalesced else both


def _same_shape(name: str, a: Tensor, b: Tensor) -> None:
    if tuple(a.shape) != tuple(b.shape):
        raise RuntimeError(
            f"{name}: expected tensors of the same size, got {list(a.shape)} and {list(b.shape)}; sparse tensors are not broadcast"
        )


def mul(self: Any, other: Any) -> Any:
    """The products of the elements, which are zero wherever a sparse factor is."""
    if not isinstance(self, SparseTensor):
        self, other = other, self
    if is_number(other):
        return self._with(self._elements * other)
    if not isinstance(other, SparseTensor):
        if other.dim() > self.dim():
            raise RuntimeError(
                f"mul: a dense factor of size {list(other.shape)} would make the sparse one of size {list(self.shape)} larger"
            )
        listed = self.coordinates() if isinstance(self, SparseCompressed) else self
        there = other.expand(self.shape)[tuple(listed._places)] if listed.sparse_dim() else other
        return self._with(self._elements * there)
    _same_shape("mul", self, other)
    if isinstance(self, SparseCompressed):
        return to_sparse(mul(self.coordinates(), to_sparse(other)).coalesce(), layout=self.layout.kind)
    return _product(self.coalesce(), to_sparse(other).coalesce())


def _product(a: SparseCoo, b: SparseCoo) -> SparseCoo:
    """At the positions that both have: those of ``a`` are looked for among those of ``b``, which are sorted."""
    sizes = a.shape[: a.sparse_dim()]
    ours, theirs = keys_of(a._places, sizes), keys_of(b._places, sizes)
    if not ours.numel() or not theirs.numel():
        return SparseCoo.of(a._places[:, :0], a._elements[:0] * b._elements[:0], a.shape, True)
    found = flambeau.searchsorted(theirs, ours).clamp(max=theirs.numel() - 1)
    common = (theirs[found] == ours).nonzero().squeeze(1)
    return SparseCoo.of(a._places[:, common], a._elements[common] * b._elements[found[common]], a.shape, True)


def div(self: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    """A sparse tensor over a number."""
    if not isinstance(self, SparseTensor) or not is_number(other):
        raise RuntimeError("Sparse division requires a divisor that is a number, or a dense tensor with no dimensions")
    tensor = self if rounding_mode is None or isinstance(self, SparseCompressed) else self.coalesce()
    return tensor._with(flambeau.div(tensor._elements, other, rounding_mode=rounding_mode))


def floor_divide(self: Any, other: Any) -> Any:
    """A sparse tensor over a number, rounded down."""
    return div(self, other, rounding_mode="floor")


def power(self: Any, exponent: Any) -> Any:
    """Each element to a power above zero."""
    if not isinstance(self, SparseTensor) or not is_number(exponent):
        raise RuntimeError("pow of sparse tensors: expected a sparse base and a number as exponent")
    if not isinstance(exponent, Tensor) and exponent <= 0:
        raise RuntimeError("cannot raise zero to a power of zero or less at the positions that a sparse tensor leaves out; use to_dense()")
    tensor = self if isinstance(self, SparseCompressed) else self.coalesce()
    return tensor._with(tensor._elements**exponent)


def in_place(function: Callable) -> Callable:
    """``function_`` of a sparse tensor: it takes over what the function returns."""

    def changed(self: Any, *args: Any, **options: Any) -> Any:
        result = function(self, *args, **options)
        if not isinstance(self, SparseTensor):  # dense.add_(sparse)
            return self.copy_(result)
        if self.requires_grad and self.is_leaf and flambeau.is_grad_enabled():
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
        if result.layout != self.layout or result.dtype is not self.dtype:
            raise RuntimeError(f"result of type {result.dtype} can't be cast to {self.dtype}, or has another layout")
        self.__dict__.update(result.__dict__)
        return self

    return changed
