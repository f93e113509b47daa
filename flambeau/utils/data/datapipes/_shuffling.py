"""What pipes have in common that draw a random order in each pass."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from flambeau.utils.data.sampler import random_seed

if TYPE_CHECKING:
    from typing_extensions import Self


class Shuffled:
    """The generator of the orders, which a seed starts anew before each pass, and whether it is used."""

    def __init__(self) -> None:
        self._enabled = True
        self._seed: int | None = None
        self._rng = random.Random()

    def set_shuffle(self, shuffle: bool = True) -> Self:
        """Turns shuffling on, or off: samples then come in the order that they have. Returns the pipe."""
        self._enabled = shuffle
        return self

    def set_seed(self, seed: int) -> Self:
        """Chooses the seed of the next pass. Returns the pipe."""
        self._seed = seed
        return self

    def reset(self) -> None:
        """Begins a pass."""
        if self._enabled:
            self._rng.seed(random_seed() if self._seed is None else self._seed)
            self._seed = None
