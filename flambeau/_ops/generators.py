"""Generators: the streams that random numbers are drawn from, and the default one."""

from __future__ import annotations

import os
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops.creation import from_array
from flambeau._runtime.engine import Engine
from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau._types.device import CPU, require_cpu

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


class Generator:
    """A stream of random numbers: PyTorch's mt19937 on the CPU.

    Example::

        >>> generator = flambeau.Generator().manual_seed(0)
        >>> flambeau.rand(1, generator=generator)
        tensor([0.4963])
    """

    device = CPU

    def __init__(self, device: Any = "cpu") -> None:
        require_cpu(device)
        self.engine = Engine()

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream that belongs to a seed; returns the generator."""
        try:
            number = index(seed)
        except TypeError:
            raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}") from None
        self.engine.manual_seed(number)
        return self

    def seed(self) -> int:
        """Start a stream from a seed that the system chooses; returns the seed."""
        return self.engine.seed()

    def initial_seed(self) -> int:
        """The seed that the stream was started from."""
        return self.engine.initial_seed()

    def get_state(self) -> Tensor:
        """The state of the stream, as bytes."""
        return from_array(self.engine.get_state())

    def set_state(self, new_state: Tensor) -> Generator:
        """Go to a state that ``get_state`` returned."""
        if not isinstance(new_state, TensorBase) or new_state.layout.dtype is not dt.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        self.engine.set_state(np.asarray(new_state._array()))
        return self

    def clone_state(self) -> Generator:
        """Another generator in the same state."""
        other = Generator()
        other.engine = self.engine.clone()
        return other

    def __reduce__(self) -> tuple:
        return _restored, (self.engine.get_state(),)


def _restored(state: np.ndarray) -> Generator:
    generator = Generator()
    generator.engine.set_state(state)
    return generator


default_generator = Generator()
if hasattr(os, "register_at_fork"):
    # Registered after what kernels are compiled by, and so locked before that: who draws may have to compile.
    os.register_at_fork(
        before=default_generator.engine.before_fork,
        after_in_parent=default_generator.engine.after_fork,
        after_in_child=default_generator.engine.after_fork,
    )


def manual_seed(seed: int) -> Generator:
    """Start the default stream that belongs to a seed; returns the default generator."""
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Start the default stream from a seed that the system chooses; returns it."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default stream was started from."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default stream, as bytes."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Go to a state of the default stream that ``get_rng_state`` returned."""
    default_generator.set_state(new_state)


def engine_of(generator: Generator | None) -> Engine:
    """The engine of a generator, or of the default one."""
    return (generator or default_generator).engine


PUBLIC = ("Generator", "default_generator", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state")
METHODS = ()
