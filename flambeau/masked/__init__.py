"""Reductions and normalisations over the elements that a mask selects.

``mask`` is a bool tensor that broadcasts to the input; elements where it is False count as the operation's neutral element, and
without a mask everything counts. Where a whole slice is masked out, the result is that of an empty slice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau import dtype as DType

__all__ = [
    "MaskedTensor", "amax", "amin", "argmax", "argmin", "as_masked_tensor", "cumprod", "cumsum", "is_masked_tensor", "log_softmax", "logaddexp", "logsumexp", "masked_tensor",
    "mean", "median", "norm", "normalize", "prod", "softmax", "softmin", "std", "sum", "var",
]  # fmt: skip

Axes = int | Sequence[int] | None

# -- the mask --------------------------------------------------------------------------------------------------------


def _mask(input: Tensor, mask: Tensor | None) -> Tensor | None:
    """The mask, as large as the input.

    Raises:
        IndexError: it has more dimensions than the input.
    """
    if mask is None or mask.shape == input.shape:
        return None if mask is None else mask.to(flambeau.bool)
    if mask.ndim > input.ndim:
        raise IndexError(f"expected a mask that broadcasts to the input: the mask has {mask.ndim} dimensions, the input {input.ndim}")
    return mask.broadcast_to(input.shape).to(flambeau.bool)


def _filled(input: Tensor, mask: Tensor | None, neutral: Any) -> Tensor:
    """The input with the neutral element where it is masked out."""
    mask = _mask(input, mask)
    if mask is None:
        return input
    return flambeau.where(mask, input, flambeau.scalar_tensor(neutral, dtype=input.dtype))


def _lowest(dtype: DType) -> Any:
    if dtype.is_floating_point or dtype.is_complex:
        return -math.inf
    return False if dtype is flambeau.bool else flambeau.iinfo(dtype).min


def _highest(dtype: DType) -> Any:
    if dtype.is_floating_point:
        return math.inf
    return True if dtype is flambeau.bool else flambeau.iinfo(dtype).max


def _axes(input: Tensor, dim: Axes) -> tuple[int, ...]:
    """The dimensions to reduce; none given means all."""
    if dim is None or (isinstance(dim, Sequence) and len(dim) == 0):
        return tuple(range(input.ndim))
    axes = []
    for each in (dim,) if isinstance(dim, int) else dim:
        limit = max(input.ndim, 1)
        if not -limit <= each < limit:
            raise IndexError(f"Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got {each})")
        axes.append(each % limit)
    if len(set(axes)) != len(axes):
        raise RuntimeError(f"dim appears multiple times in the list of dims: {tuple(axes)}")
    return tuple(axes)


def _summed(dtype: DType) -> DType:
    """The dtype in which elements are added up: int64 for integers and bool."""
    return dtype if dtype.is_floating_point or dtype.is_complex else flambeau.int64


def _floating(name: str, dtype: DType) -> None:
    if not (dtype.is_floating_point or dtype.is_complex):
        raise ValueError(f"{name} expects dtype to be Floating point or Complex, but got {dtype}")


# -- sums ------------------------------------------------------------------------------------------------------------


def sum(input: Tensor, dim: Axes = None, *, keepdim: bool | None = False, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """The sum of the selected elements.

    Example::

        >>> flambeau.masked.sum(flambeau.tensor([1, 2, 4]), mask=flambeau.tensor([True, False, True]))
        tensor(5)
    """
    dtype = dtype or _summed(input.dtype)
    return flambeau.sum(_filled(input.to(dtype), mask, 0), _axes(input, dim), bool(keepdim), dtype=dtype)


def prod(
    input: Tensor, dim: Axes = None, *, keepdim: bool | None = False, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """The product of the selected elements."""
    dtype = dtype or _summed(input.dtype)
    result = _filled(input.to(dtype), mask, 1)
    for axis in sorted(_axes(input, dim), reverse=True):
        result = result.prod(axis, keepdim=bool(keepdim))
    return result


def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """The running sum of the selected elements along ``dim``."""
    dtype = dtype or _summed(input.dtype)
    return flambeau.cumsum(_filled(input.to(dtype), mask, 0), _axes(input, dim)[0], dtype=dtype)


def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """The running product of the selected elements along ``dim``."""
    dtype = dtype or _summed(input.dtype)
    return flambeau.cumprod(_filled(input.to(dtype), mask, 1), _axes(input, dim)[0], dtype=dtype)


def logsumexp(input: Tensor, dim: Axes = None, *, keepdim: bool = False, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """``log(sum(exp(x)))`` of the selected elements."""
    dtype = dtype or input.dtype
    return flambeau.logsumexp(_filled(input.to(dtype), mask, _lowest(dtype)), _axes(input, dim), keepdim).to(dtype)


def logaddexp(
    input: Tensor, other: Tensor, *, dtype: DType | None = None, input_mask: Tensor | None = None, other_mask: Tensor | None = None
) -> Tensor:
    """``log(exp(input) + exp(other))``; a masked element adds nothing."""
    dtype = dtype or input.dtype
    return flambeau.logaddexp(_filled(input.to(dtype), input_mask, -math.inf), _filled(other.to(dtype), other_mask, -math.inf)).to(dtype)


# -- extrema ---------------------------------------------------------------------------------------------------------


def amax(
    input: Tensor, dim: Axes = None, *, keepdim: bool | None = False, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """The largest of the selected elements."""
    dtype = dtype or input.dtype
    return flambeau.amax(_filled(input, mask, _lowest(input.dtype)), _axes(input, dim), bool(keepdim)).to(dtype)


def amin(
    input: Tensor, dim: Axes = None, *, keepdim: bool | None = False, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """The smallest of the selected elements."""
    dtype = dtype or input.dtype
    return flambeau.amin(_filled(input, mask, _highest(input.dtype)), _axes(input, dim), bool(keepdim)).to(dtype)


def argmax(
    input: Tensor, dim: int | None = None, *, keepdim: bool | None = False, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """The position of the largest of the selected elements, of all or along ``dim``, in the input's dtype unless another is given."""
    return flambeau.argmax(_filled(input, mask, _lowest(input.dtype)), dim, bool(keepdim)).to(dtype or input.dtype)


def argmin(
    input: Tensor, dim: int | None = None, *, keepdim: bool | None = False, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """The position of the smallest of the selected elements, of all or along ``dim``, in the input's dtype unless another is given."""
    return flambeau.argmin(_filled(input, mask, _highest(input.dtype)), dim, bool(keepdim)).to(dtype or input.dtype)


# -- statistics ------------------------------------------------------------------------------------------------------


def _count(input: Tensor, axes: tuple[int, ...], keepdim: bool, mask: Tensor | None) -> Any:
    mask = _mask(input, mask)
    if mask is None:
        return math.prod(input.shape[axis] for axis in axes if input.ndim)
    return mask.sum(axes, keepdim=keepdim)


def mean(
    input: Tensor, dim: Axes = None, *, keepdim: bool | None = False, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """The mean of the selected elements; NaN where there are none."""
    dtype = dtype or input.dtype
    _floating("mean", dtype)
    axes = _axes(input, dim)
    if mask is None:
        return flambeau.mean(input, axes, bool(keepdim), dtype=dtype)
    total = sum(input, axes, keepdim=keepdim, dtype=dtype, mask=mask)
    return total / _count(input, axes, bool(keepdim), mask)


def median(input: Tensor, dim: int = -1, *, keepdim: bool = False, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """The median of the selected elements along ``dim``: of an even number, the lower of the two in the middle.

    Raises:
        ValueError: a slice of integers is masked out whole.
    """
    dtype = dtype or input.dtype
    axis = _axes(input, dim)[0] if input.ndim else 0
    if dtype.is_floating_point:
        x = input.to(dtype)
        selected = _mask(x, mask)
        if selected is None:
            return flambeau.median(x, axis, keepdim).values
        holds_nan = (x.isnan() & selected).any(axis, keepdim=keepdim)
        found = flambeau.nanmedian(_filled(x, mask, math.nan), axis, keepdim).values
        return flambeau.where(holds_nan, math.nan, found)
    if mask is None:
        return flambeau.median(input, axis, keepdim).values.to(dtype)
    if not bool(_mask(input, mask).any(axis).all()):
        raise ValueError("masked median expected no fully masked out rows if using dtype that is not floating point")
    return flambeau.nanmedian(_filled(input.to(flambeau.float64), mask, math.nan), axis, keepdim).values.to(dtype)


def norm(
    input: Tensor, ord: float | None = 2.0, dim: Axes = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The vector norm of the selected elements."""
    dtype = dtype or input.dtype
    _floating("norm", dtype)
    order = 2.0 if ord is None else ord
    neutral = math.inf if order == -math.inf else 0
    return flambeau.linalg.vector_norm(_filled(input.to(dtype), mask, neutral), order, _axes(input, dim), bool(keepdim))


def var(
    input: Tensor, dim: Axes = None, unbiased: bool | None = None, *, correction: float | None = None, keepdim: bool | None = False,
    dtype: DType | None = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The variance of the selected elements: squared distances from their mean over their number less ``correction`` (at least 0)."""
    return _variance(input, dim, unbiased, correction, bool(keepdim), dtype, mask).to(dtype or _inexact(input.dtype))


def std(
    input: Tensor, dim: Axes = None, unbiased: bool | None = None, *, correction: float | None = None, keepdim: bool | None = False,
    dtype: DType | None = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The square root of the variance of the selected elements."""
    return _variance(input, dim, unbiased, correction, bool(keepdim), dtype, mask).sqrt().to(dtype or _inexact(input.dtype))


def _inexact(dtype: DType) -> DType:
    return dtype if dtype.is_floating_point or dtype.is_complex else flambeau.get_default_dtype()


def _variance(
    input: Tensor, dim: Axes, unbiased: bool | None, correction: float | None, keepdim: bool, dtype: DType | None, mask: Tensor | None
) -> Tensor:
    if unbiased is not None and correction is not None:
        raise ValueError("Only one of unbiased and correction may be given")
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    x = input.to(dtype or _inexact(input.dtype))
    axes = _axes(input, dim)
    if mask is None:
        return flambeau.var(x, axes, keepdim=keepdim, correction=correction)
    count = _count(x, axes, True, mask)
    centred = x - sum(x, axes, keepdim=True, mask=mask) / count
    total = sum(centred * centred.conj(), axes, keepdim=True, mask=mask) / flambeau.clamp(count - correction, min=0)
    return total if keepdim else total.reshape([size for axis, size in enumerate(input.shape) if axis not in axes])


# -- normalisations --------------------------------------------------------------------------------------------------


def softmax(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """``exp(x) / sum(exp(x))`` over the selected elements along ``dim``; 0 for the others."""
    dtype = dtype or input.dtype
    return flambeau.softmax(_filled(input.to(dtype), mask, -math.inf), _axes(input, dim)[0] if input.ndim else 0, dtype=dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """The logarithm of ``softmax``; -inf for elements that are not selected."""
    dtype = dtype or input.dtype
    return flambeau.log_softmax(_filled(input.to(dtype), mask, -math.inf), _axes(input, dim)[0] if input.ndim else 0, dtype=dtype)


def softmin(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """``softmax`` of the negated elements."""
    dtype = dtype or input.dtype
    return flambeau.softmax(-_filled(input.to(dtype), mask, math.inf), _axes(input, dim)[0] if input.ndim else 0, dtype=dtype)


def normalize(input: Tensor, ord: float, dim: int, *, eps: float = 1e-12, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """The selected elements over their norm along ``dim`` (or over ``eps``, if that is larger); 0 for the others."""
    dtype = dtype or input.dtype
    _floating("normalize", dtype)
    size = norm(input, ord, dim, keepdim=True, dtype=dtype, mask=mask)
    return _filled(input.to(dtype), mask, 0) / flambeau.maximum(size, flambeau.scalar_tensor(eps, dtype=size.dtype))


_TENSORS = ("MaskedTensor", "as_masked_tensor", "is_masked_tensor", "masked_tensor")


def __getattr__(name: str) -> Any:
    if name in _TENSORS:
        from flambeau.masked import maskedtensor

        return getattr(maskedtensor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
