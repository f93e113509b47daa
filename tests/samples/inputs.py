"""Inputs for samples of operators: the same numbers in every dtype, layout and run."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np


class Inputs:
    """Makes the inputs of a sample, one after another, and remembers those that have gradients.

    The numbers of an input are distinct, at least 0.01 from zero and from one another (no ties, no kinks), and the same for every dtype as
    far as it can hold them. ``leaves`` given: these are handed out instead, in order, where gradients are wanted.

    Args:
        package: flambeau
        dtype: of the inputs that are asked for without one
        strided: inputs that are views with gaps and dimensions swapped, of the same values
        grad: whether inputs of floating point require gradients
        leaves: what to hand out
    """

    def __init__(self, package: Any, dtype: Any, *, strided: bool = False, grad: bool = False, leaves: tuple = ()) -> None:
        self.package = package
        self.dtype = dtype
        self.strided = strided
        self.grad = grad
        self.given = list(leaves)
        self.leaves: list = []
        self.calls = 0
        self.random = np.random.default_rng(7)

    def __call__(self, *shape: int, low: float = -2.0, high: float = 2.0) -> Any:
        """Numbers between ``low`` and ``high``."""
        count = prod(shape)
        if self.dtype == self.package.bool:
            return self.tensor(self.random.integers(0, 2, shape).astype(bool))
        if not self.dtype.is_floating_point and not self.dtype.is_complex:
            integers = self.random.integers(round(low * 3), round(high * 3) + 1, shape)
            return self.tensor(np.where(integers == 0, 1, integers), self.dtype)
        values = self.spread(count, low, high).reshape(shape)
        if self.dtype.is_complex:
            values = values + 1j * self.spread(count, low, high).reshape(shape)
        return self.leaf(values)

    def spread(self, count: int, low: float, high: float) -> np.ndarray:
        """Numbers with gaps between them, in random order, none near an integer or a half, and none that another call gave, or its opposite."""
        self.calls += 1
        steps = np.linspace(low, high, count + 2)[1:-1] + 0.0017 * self.calls
        near = np.abs(steps * 2 - np.round(steps * 2)) < 0.02
        return self.random.permutation(steps + near * 0.0137)

    def positive(self, *shape: int) -> Any:
        return self(*shape, low=0.2, high=3.0)

    def above_one(self, *shape: int) -> Any:
        return self(*shape, low=1.1, high=3.0)

    def unit(self, *shape: int) -> Any:
        return self(*shape, low=-0.9, high=0.9)

    def probability(self, *shape: int) -> Any:
        return self(*shape, low=0.05, high=0.95)

    def constant(self, *shape: int) -> Any:
        """Positive numbers of the dtype, without a gradient."""
        return self.tensor(self.spread(prod(shape), 0.2, 3.0).reshape(shape), self.dtype)

    def index(self, size: int, *shape: int) -> Any:
        """Places in a dimension of ``size``, with duplicates."""
        return self.tensor(self.random.integers(0, size, shape))

    def mask(self, *shape: int) -> Any:
        return self.tensor(self.random.integers(0, 2, shape).astype(bool))

    def count(self, *shape: int) -> Any:
        """Small positive integers of the default integer dtype."""
        return self.tensor(self.random.integers(1, 5, shape))

    def leaf(self, values: np.ndarray) -> Any:
        if self.given:
            return self.given.pop(0)
        tensor = self.tensor(values, self.dtype)
        if self.grad:
            tensor = tensor.detach().requires_grad_()
            self.leaves.append(tensor)
        return tensor

    def tensor(self, values: Any, dtype: Any = None) -> Any:
        values = np.asarray(values)
        if not self.strided or values.ndim == 0:
            return self.package.tensor(values, dtype=dtype)
        wide = np.zeros(
            (*values.shape[:-1][::-1], 2 * values.shape[-1] + 1) if values.ndim > 1 else (2 * values.shape[0] + 1,), values.dtype
        )
        order = (*range(values.ndim - 2, -1, -1), values.ndim - 1)
        view = wide.transpose(order)[..., 1::2]
        view[...] = values
        return self.package.tensor(wide, dtype=dtype).permute(order)[..., 1::2]
