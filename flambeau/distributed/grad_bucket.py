"""What a communication hook of ``DistributedDataParallel`` is given."""

from __future__ import annotations

import flambeau
from flambeau import Tensor

__all__ = ["GradBucket"]


class GradBucket:
    """Gradients that a communication hook exchanges together."""

    def __init__(self, index: int, pairs: list[tuple[Tensor, Tensor]], is_last: bool) -> None:
        self._index, self._is_last = index, is_last
        self._parameters, self._gradients = [parameter for parameter, _ in pairs], [gradient for _, gradient in pairs]
        self._buffer = flambeau.cat([each.reshape(-1) for each in self._gradients])

    def index(self) -> int:
        """Its number, from 0."""
        return self._index

    def is_last(self) -> bool:
        """Whether no other follows."""
        return self._is_last

    def buffer(self) -> Tensor:
        """All gradients in one flat tensor."""
        return self._buffer

    def set_buffer(self, buffer: Tensor) -> None:
        """Replace the flat tensor."""
        self._buffer = buffer

    def parameters(self) -> list[Tensor]:
        """The parameters."""
        return self._parameters

    def gradients(self) -> list[Tensor]:
        """The gradients, as views of the flat tensor."""
        return self._parts(self._buffer)

    def fill(self, flat: Tensor) -> None:
        """Overwrite the gradients."""
        for part, each in zip(self._parts(flat), self._gradients):
            each.copy_(part)

    def _parts(self, flat: Tensor) -> list[Tensor]:
        parts = flat.split([each.numel() for each in self._gradients])
        return [part.view(each.size()) for part, each in zip(parts, self._gradients)]
