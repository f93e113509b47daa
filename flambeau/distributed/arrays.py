"""Tensors as the flat arrays that collectives work on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy

from flambeau import Tensor
from flambeau._tape.tape import flush_readers

__all__ = ["Targets", "check_tensor", "check_tensors", "describe", "readable"]


def check_tensor(value: Any, name: str) -> None:
    """Raise a ``TypeError`` if something is no tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"Invalid function argument. Expected parameter `{name}` of type torch.Tensor but got {type(value)} instead.")


def check_tensors(values: Any, name: str) -> None:
    """Raise a ``TypeError`` if something is no list of tensors."""
    if not isinstance(values, (list, tuple)) or not all(isinstance(value, Tensor) for value in values):
        found = [type(value) for value in values] if isinstance(values, (list, tuple)) else type(values)
        raise TypeError(f"Invalid function argument. Expected parameter `{name}` of type List[torch.Tensor] but got {found} instead.")


def describe(tensor: Tensor) -> str:
    """A tensor's dtype and shape, on which processes have to agree."""
    return f"{tensor.layout.dtype.name}{list(tensor.layout.shape)}"


def readable(tensor: Tensor) -> numpy.ndarray:
    """The elements in a flat array, a copy if they do not lie in order."""
    return numpy.ascontiguousarray(tensor._array()).reshape(-1)


class Targets:
    """Flat arrays that are written in the place of tensors.

    What was recorded and is still to read the old bytes is computed first. ``finish`` copies what cannot be written in place.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.arrays: list[numpy.ndarray] = []
        self._copies: list[tuple[numpy.ndarray, numpy.ndarray]] = []
        self._buffers = [tensor.memory.materialize() for tensor in tensors if tensor.layout.numel]
        for tensor in tensors:
            flush_readers(tensor.memory)
            array = tensor._array()
            tensor.memory.version += 1
            flat = array.reshape(-1)
            self.arrays.append(flat)
            if not array.flags.c_contiguous:
                self._copies.append((array, flat))

    def finish(self) -> None:
        """Write what could not be written in place, and say that all of it has changed."""
        for array, flat in self._copies:
            array[...] = flat.reshape(array.shape)
        for buffer in self._buffers:
            buffer.changes()

    def job(self, function: Callable[[], Any]) -> Callable[[], None]:
        """A function that calls another, and finishes."""

        def run() -> None:
            function()
            self.finish()

        return run
