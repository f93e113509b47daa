"""A line search that satisfies the strong Wolfe conditions (Nocedal and Wright, Numerical Optimization, chapter 3.5)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from flambeau._tensor.tensor import Tensor

Evaluate = Callable[[float], tuple[float, Tensor]]


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


class _Search:
    """A line search: what is asked of a step, and how often the loss was evaluated."""

    def __init__(self, evaluate: Evaluate, direction: Tensor, start: _Point, max_calls: int, c1: float, c2: float) -> None:
        self.evaluate = evaluate
        self.direction = direction
        self.start = start
        self.max_calls = max_calls
        self.c1 = c1
        self.c2 = c2
        self.calls = 0

    @property
    def exhausted(self) -> bool:
        return self.calls > self.max_calls  # the first step comes on top

    def at(self, length: float) -> _Point:
        self.calls += 1
        loss, gradient = self.evaluate(length)
        return _Point(length, loss, gradient, float(gradient.dot(self.direction)))

    def too_high(self, point: _Point) -> bool:
        """Whether the loss has fallen too little (the Armijo condition)."""
        return point.loss > self.start.loss + self.c1 * point.step * self.start.slope

    def flat(self, point: _Point) -> bool:
        """Whether the slope is small enough (the curvature condition)."""
        return abs(point.slope) <= -self.c2 * self.start.slope

    def bracket(self, step: float) -> tuple[_Point, _Point]:
        """Widens the step until a minimum lies between two points; the same point twice is the answer already."""
        previous, current = self.start, self.at(step)
        while not self.exhausted:
            if self.too_high(current) or (self.calls > 2 and current.loss >= previous.loss):
                return previous, current
            if self.flat(current):
                return current, current
            if current.slope >= 0:
                return previous, current
            bounds = current.step + 0.01 * (current.step - previous.step), current.step * 10
            previous, current = current, self.at(_cubic_minimum(previous, current, bounds))
        return self.start, current

    def narrow(self, low: _Point, high: _Point, width: float, tolerance: float) -> _Point:
        """The best point between two, the first of which has the lower loss; ``width`` is that of a step of length 1."""
        stalled = False
        while not self.exhausted and abs(high.step - low.step) * width >= tolerance:
            length, stalled = _between(low, high, stalled)
            point = self.at(length)
            if self.too_high(point) or point.loss >= low.loss:
                low, high = (point, low) if point.loss < low.loss else (low, point)
                continue
            if self.flat(point):
                return point
            if point.slope * (high.step - low.step) >= 0:
                high = low
            low = point
        return low


def _between(low: _Point, high: _Point, stalled: bool) -> tuple[float, bool]:
    """The next step to try, and whether it lies close to an end; twice in a row is stepped away from."""
    left, right = min(low.step, high.step), max(low.step, high.step)
    length = _cubic_minimum(low, high)
    margin = 0.1 * (right - left)
    if min(right - length, length - left) >= margin:
        return length, False
    if not stalled and left < length < right:
        return length, True
    return (right - margin if abs(length - right) < abs(length - left) else left + margin), False


def strong_wolfe(
    evaluate: Evaluate,
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
    search = _Search(evaluate, direction, _Point(0.0, loss, gradient.clone(), slope), max_calls, c1, c2)
    low, high = search.bracket(step)
    if low is not high:
        if high.loss < low.loss:
            low, high = high, low
        low = search.narrow(low, high, float(direction.abs().max()), tolerance_change)
    return low.loss, low.gradient, low.step, search.calls
