"""Whether tensors are equal, or close to it: isclose, allclose, equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau._ops import elementwise as basic
from flambeau._types import dtype as dt

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Whether ``|input - other| <= atol + rtol * |other|``, element by element."""
    if input.layout.dtype is not other.layout.dtype:
        raise RuntimeError(f"{input.layout.dtype!r} did not match {other.layout.dtype!r}")
    if rtol < 0 or atol < 0:
        raise RuntimeError(f"{'rtol' if rtol < 0 else 'atol'} must be greater than or equal to zero, but got {rtol if rtol < 0 else atol}")
    close = input == other
    if equal_nan:
        close = close | ((input != input) & (other != other))
    if input.layout.dtype is dt.bool:
        input, other = input.to(dt.uint8), other.to(dt.uint8)
    if input.layout.dtype.category >= dt.FLOAT:
        difference = basic.abs(input - other)
        return close | (difference.isfinite() & (difference <= atol + rtol * basic.abs(other)))
    return (
        close
        if rtol == 0 and atol == 0
        else close | (basic.abs((input - other).to(dt.float64)) <= atol + rtol * basic.abs(other.to(dt.float64)))
    )


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether all elements are close."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all().item())


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and elements."""
    if input.layout.shape != other.layout.shape:
        return False
    return not input.layout.numel or bool((input == other).all().item())


PUBLIC = ("allclose", "equal", "isclose")
METHODS = PUBLIC
