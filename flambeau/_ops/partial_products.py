"""Products of all elements but one, and before one, by multiplications alone: what gradients of products are where they are differentiated again.

A gradient that divides the product by the element is quick, but says nothing of zeros but the value there: its own derivative is missing what the
value does not show, such as x₂ in the derivative of x₀x₁x₂ by x₀ and x₁ where x₀ is 0. In ``log₂ n`` steps each element meets those 1, 2, 4, …
places away (Hillis and Steele 1986, "Data parallel algorithms").
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from flambeau._ops.joining import cat
from flambeau._ops.registry import FUNCTIONS
from flambeau._ops.views import narrow
from flambeau._tape.tape import LOCAL
from flambeau._types import layout as lay

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


def is_differentiated_again() -> bool:
    """Whether somebody may differentiate the gradient that is being computed."""
    tape = LOCAL.tape
    return tape.grad or (tape.batched and not tape.dispatches)


def _moved(values: Tensor, dim: int, by: int, fill: float) -> Tensor:
    """For each place what lies ``by`` places further along a dimension (before it, if negative), and a number where nothing does."""
    shape = list(values.layout.shape)
    kept = narrow(values, dim, max(by, 0), shape[dim] - abs(by))
    shape[dim] = abs(by)
    edge = (FUNCTIONS.ones if fill else FUNCTIONS.zeros)(lay.contiguous(tuple(shape), values.layout.dtype))
    return cat([kept, edge] if by > 0 else [edge, kept], dim)


def products_before(values: Tensor, dim: int) -> Tensor:
    """The product of all elements before each one along a dimension."""
    size = values.layout.shape[dim]
    found, step = _moved(values, dim, -1, 1.0), 1
    while step < size:
        found = found * _moved(found, dim, -step, 1.0)
        step *= 2
    return found


def products_of_others(values: Tensor, axes: tuple[int, ...]) -> Tensor:
    """For each element the product of the others along some dimensions."""
    shape = values.layout.shape
    order = [axis for axis in range(len(shape)) if axis not in axes] + list(axes)
    row = values.permute(order).reshape(*[shape[axis] for axis in order[: len(shape) - len(axes)]], prod(shape[axis] for axis in axes))
    last = row.layout.ndim - 1
    others = products_before(row, last) * products_before(row.flip(last), last).flip(last)
    return others.reshape([shape[axis] for axis in order]).permute([order.index(axis) for axis in range(len(shape))])


def gradient_of_running_products(grad: Tensor, values: Tensor, dim: int) -> Tensor:
    """The gradient of ``values``, of that of their running products.

    An element counts in the products at its place and behind it, as much as what is between multiplies it: ``s = grad + next value * next s``.
    """
    size = values.layout.shape[dim]
    weight, total, step = _moved(values, dim, 1, 0.0), grad, 1
    while step < size:
        total = total + weight * _moved(total, dim, step, 0.0)
        weight = weight * _moved(weight, dim, step, 0.0)
        step *= 2
    return products_before(values, dim) * total
