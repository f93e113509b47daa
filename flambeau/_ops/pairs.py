"""What pairs of rows have to do with each other: covariances, correlations and distances."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau._ops.autocast import in_float32
from flambeau._ops.elementwise import conj
from flambeau._ops.functions import complex
from flambeau._ops.linalg.norms import EUCLIDEAN, vector_norm
from flambeau._ops.positions import require_tensor
from flambeau._types import dtype as dt
from flambeau._types import layout as lay

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


def cov(input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None) -> Tensor:
    """The covariances of variables (rows) over observations (columns): ``(x - mean) W (x - mean)^H / norm``.

    ``fweights`` says how often each observation counts (integers), ``aweights`` how much.
    """
    require_tensor("cov", "input", input)
    if input.layout.ndim > 2:
        raise RuntimeError(f"cov(): expected input to have two or fewer dimensions but got an input with {input.layout.ndim} dimensions")
    if input.layout.dtype is dt.bool:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    x = input.reshape(1, -1) if input.layout.ndim < 2 else input
    observations = x.layout.shape[1]
    if aweights is not None and x.layout.dtype.to_real() is dt.float64 and aweights.layout.dtype.is_floating_point:
        aweights = aweights.to(dt.float64)
    weights = None
    for name, each, integers in (("fweights", fweights, True), ("aweights", aweights, False)):
        if each is None:
            continue
        if each.layout.ndim > 1:
            raise RuntimeError(f"cov(): expected {name} to have one or fewer dimensions but got {name} with {each.layout.ndim} dimensions")
        if (each.layout.dtype.category == dt.INTEGER) is not integers or each.layout.dtype is dt.bool or each.is_complex():
            raise RuntimeError(
                f"cov(): expected {name} to have {'integral' if integers else 'floating point'} dtype but got {name} with {each.layout.dtype!r} dtype"
            )
        if each.layout.numel != observations:
            raise RuntimeError(
                f"cov(): expected {name} to have the same numel as there are observations in the input but got {each.layout.numel} != {observations}"
            )
        if observations and bool((each < 0).any()):
            raise RuntimeError(f"cov(): {name} cannot be negative")
        weights = each if weights is None else weights * each
    if weights is None:
        total, mean = observations, x.sum(1, keepdim=True) / observations if observations else x.sum(1, keepdim=True) * math.nan
    else:
        total = weights.sum()
        if float(total) == 0:
            raise ZeroDivisionError("cov(): weights sum to zero, can't be normalized")
        mean = (x * weights).sum(1, keepdim=True) / total
    if weights is not None and aweights is not None and correction != 0:
        norm = total - correction * (weights * aweights).sum() / total
    else:
        norm = total - correction
    norm = max(norm, 0) if isinstance(norm, int) else norm.clamp(min=0)
    centred = x - mean
    product = (centred if weights is None else centred * weights) @ conj(centred).mT
    return (product / norm).squeeze() if input.layout.ndim < 2 or x.layout.shape[0] == 1 else product / norm


def corrcoef(input: Tensor) -> Tensor:
    """The correlations of variables (rows): covariances divided by both standard deviations, at most 1 in absolute value."""
    require_tensor("corrcoef", "input", input)
    if input.layout.ndim > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input.layout.ndim} dimensions"
        )
    c = cov(input)
    if c.layout.ndim == 0:
        return c / c
    deviation = (c.diagonal().real if c.is_complex() else c.diagonal()).sqrt()
    c = c / deviation.unsqueeze(1) / deviation.unsqueeze(0)
    if c.is_complex():
        return complex(c.real.clamp(-1, 1), c.imag.clamp(-1, 1))
    return c.clamp(-1, 1)


_COMPUTE_MODES = ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")


_SHORT = 256
"""Sums of so few terms cost less to add up than to fold."""


@in_float32
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """The p-norm of the difference of each row of ``x1`` and each row of ``x2``.

    The differences are added up as they are computed, never stored; ``compute_mode`` is accepted, and changes nothing.

    Shapes: x1 ``(*, P, M)``, x2 ``(*, R, M)``, result ``(*, P, R)``.
    """
    require_tensor("cdist", "x1", x1)
    if compute_mode is not None and compute_mode not in _COMPUTE_MODES:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    for name, each in (("X1", x1), ("X2", x2)):
        if not each.layout.dtype.is_floating_point:
            raise RuntimeError(f"cdist only supports floating-point dtypes, {name} got: {each.layout.dtype!r}")
        if each.layout.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {each.layout.ndim}D")
    if x1.layout.dtype is not x2.layout.dtype:
        raise RuntimeError(
            f"cdist expects X1 and X2 of one dtype, but got X1: {x1.layout.dtype!r}, X2: {x2.layout.dtype!r}; convert one of them"
        )
    if x1.layout.shape[-1] != x2.layout.shape[-1]:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {x1.layout.shape[-1]} X2: {x2.layout.shape[-1]}")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    lay.broadcast_shapes(x1.layout.shape[:-2], x2.layout.shape[:-2])
    if x2.layout.shape[-1] <= _SHORT:
        x2 = x2.transpose(-1, -2).contiguous().transpose(-1, -2)  # so that neighbouring results lie across the lanes, not the terms of one
    difference = x1.unsqueeze(-2) - x2.unsqueeze(-3)
    if not x1.layout.shape[-1]:
        return difference.sum(-1)
    if p == 0:
        return (difference * 0 + (difference != 0)).sum(-1)
    if p == 2:  # in double precision it would take twice as long
        dtype = difference.layout.dtype
        return EUCLIDEAN(difference, statics=((difference.layout.ndim - 1,), False, dtype, dtype.compute))
    return vector_norm(difference, p, -1)


PUBLIC = ("cdist", "corrcoef", "cov")
METHODS = ("corrcoef", "cov")
