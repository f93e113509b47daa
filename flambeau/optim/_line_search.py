"""A line search that satisfies the strong Wolfe conditions (Nocedal and Wright, Numerical Optimization, chapter 3.5)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from flambeau._tensor.tensor import Tensor


@dataclass
class _Point:
    """A step length, with loss, gradient and slope along the direction there."""

    step: float
    loss: float
    gradient: Tensor
    slope: float


def _cubic_minimum(a: _Point, b: _Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through two points with their slopes is least, within ``bounds``; their middle if it has no minimum."""
    low, high = bounds if bounds is not None else (min(a.step, b.step), max(a.step, b.step))
    if a.step > b.step:
        a, b = b, a
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.step - b.step)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:  # also where a loss is not a number
        return (low + high) / 2.0
    d2 = math.sqrt(square)
    at = b.step - (b.step - a.step) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    return min(max(at, low), high)


def strong_wolfe(
    evaluate: Callable[[float], tuple[float, Tensor]],
    step: float,
    direction: Tensor,
    loss: float,
    gradient: Tensor,
    slope: float,
    max_calls: int,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance_change: float = 1e-9,
) -> tuple[float, Tensor, float, int]:
    """Finds a step whose loss falls by at least ``c1`` of the slope, and whose slope is at most ``c2`` of the first one.

    Args:
        evaluate: loss and gradient at a step length.
        step: the first step tried.
        direction: of descent.
        loss: at 0.
        gradient: at 0.
        slope: the gradient along ``direction`` at 0.
        max_calls: how many more steps are tried at most.
        c1: of the sufficient decrease.
        c2: of the curvature.
        tolerance_change: the width of the bracket, times the direction's largest element, at which it ends.

    Returns:
        Loss, gradient and length of the step, and how often ``evaluate`` was called.
    """
    calls = 0

    def at(length: float) -> _Point:
        nonlocal calls
        calls += 1
        new_loss, new_gradient = evaluate(length)
        return _Point(length, new_loss, new_gradient, float(new_gradient.dot(direction)))

    start = _Point(0.0, loss, gradient.clone(), slope)

    def too_high(point: _Point) -> bool:
        return point.loss > loss + c1 * point.step * slope

    def flat(point: _Point) -> bool:
        return abs(point.slope) <= -c2 * slope

    # Widen the step until a bracket holds a minimum.
    previous, current = start, at(step)
    bracket: list[_Point] | None = None
    tries = 0
    while tries < max_calls:
        if too_high(current) or (tries > 1 and current.loss >= previous.loss):
            bracket = [previous, current]
            break
        if flat(current):
            return current.loss, current.gradient, current.step, calls
        if current.slope >= 0:
            bracket = [previous, current]
            break
        bounds = current.step + 0.01 * (current.step - previous.step), current.step * 10
        length = _cubic_minimum(previous, current, bounds)
        previous, current = current, at(length)
        tries += 1
    if bracket is None:
        bracket = [start, current]

    # Narrow it. ``low`` is the end with the lower loss.
    width = float(direction.abs().max())
    stalled = False
    low, high = sorted(bracket, key=lambda point: point.loss)
    while tries < max_calls and abs(high.step - low.step) * width >= tolerance_change:
        left, right = min(low.step, high.step), max(low.step, high.step)
        length = _cubic_minimum(low, high)
        margin = 0.1 * (right - left)
        if min(right - length, length - left) < margin:
            # Close to an end twice in a row, or on it: step away from it.
            if stalled or length >= right or length <= left:
                length = right - margin if abs(length - right) < abs(length - left) else left + margin
                stalled = False
            else:
                stalled = True
        else:
            stalled = False
        point = at(length)
        tries += 1
        if too_high(point) or point.loss >= low.loss:
            high = point
            if high.loss < low.loss:
                low, high = high, low
            continue
        if flat(point):
            low = point
            break
        if point.slope * (high.step - low.step) >= 0:
            high = low
        low = point
    return low.loss, low.gradient, low.step, calls
