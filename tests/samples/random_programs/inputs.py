"""The tensors that programs begin with, and the indices that they read and write at."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

FLOATS = ["float32", "float64", "float16", "bfloat16"]
COMPLEX = ["complex64", "complex128"]
INTEGERS = ["int64", "int32", "int16", "int8", "uint8"]
DTYPES = [*FLOATS, *COMPLEX, *INTEGERS, "bool"]


def given(package: Any, seed: int, shape: tuple[int, ...], dtype: str, special: bool = False) -> Any:
    """A tensor of numbers drawn from a seed: normal ones, small integers, or (``special``) also zeros of both signs, NaN, infinities and extreme numbers."""
    draw = np.random.default_rng(seed)
    if dtype == "bool":
        return package.tensor(draw.random(shape) < 0.5)
    if dtype in INTEGERS:
        values = draw.integers(0 if dtype == "uint8" else -9, 10, shape)
        if special:
            info = np.iinfo(dtype)
            values = np.where(draw.random(shape) < 0.2, draw.choice([info.max, info.max - 1, 0, 1], shape), values)
        return package.tensor(np.asarray(values, dtype))
    values = draw.standard_normal(shape)
    if dtype in COMPLEX:
        return package.tensor(np.asarray(values + 1j * draw.standard_normal(shape), dtype))
    if special:
        values = np.where(
            draw.random(shape) < 0.3, draw.choice([0.0, -0.0, math.nan, math.inf, -math.inf, 1e-42, 6e4, -3.0, 0.5], shape), values
        )
    return package.tensor(np.asarray(values)).to(getattr(package, dtype))


def places(package: Any, seed: int, shape: tuple[int, ...], bound: int, low: int = 0) -> Any:
    """Indices below a bound."""
    return package.tensor(np.asarray(np.random.default_rng(seed).integers(low, max(bound, low + 1), shape)))


def order(package: Any, seed: int, count: int, bound: int) -> Any:
    """Indices below a bound, none of them twice."""
    return package.tensor(np.random.default_rng(seed).permutation(bound)[:count])


def broadcasts(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    return all(a == b or 1 in (a, b) for a, b in zip(first[::-1], second[::-1]))
