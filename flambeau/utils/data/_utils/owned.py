"""Tensors on memory of NumPy's that nobody else will look at."""

from __future__ import annotations

import numpy as np

import flambeau

__all__ = ["owned"]


def owned(array: np.ndarray) -> flambeau.Tensor:
    """A tensor on the memory of an array that its caller gives away.

    Memory that `from_numpy` shares may change behind our back, so that reading it means to copy it first or to compute at
    once. An array that was made a line ago and is used by nobody else is ordinary memory.
    """
    tensor = flambeau.from_numpy(array)
    tensor.memory.exported = False
    return tensor
