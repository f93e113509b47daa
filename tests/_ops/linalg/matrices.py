"""Matrices for the tests of linear algebra."""

from __future__ import annotations

import numpy as np


def values(*shape: int, complex: bool = False) -> np.ndarray:
    """Numbers of the normal distribution, the same at each call."""
    random = np.random.default_rng(5)
    real = random.standard_normal(shape)
    return real + 1j * random.standard_normal(shape) if complex else real
