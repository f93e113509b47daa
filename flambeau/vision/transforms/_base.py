"""What the transforms share: how they show themselves, and numbers from Flambeau's global generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau.nn import Module
from flambeau.vision.transforms import functional as F
from flambeau.vision.transforms.interpolation import InterpolationMode


def uniform(low: float, high: float) -> float:
    return flambeau.empty(1).uniform_(low, high).item()


def below(limit: int) -> int:
    return int(flambeau.randint(0, limit, size=(1,)).item())


def chance() -> float:
    return flambeau.rand(1).item()


class Transform(Module):
    """A transform whose ``repr`` lists the attributes that ``_shown`` names."""

    _shown: tuple[str, ...] = ()

    def __repr__(self) -> str:
        shown = (f"{name}={shown_value(getattr(self, name))}" for name in self._shown)
        return f"{type(self).__name__}({', '.join(shown)})"


def shown_value(value: Any) -> Any:
    return value.value if isinstance(value, InterpolationMode) else value


def checked_size(size: Any) -> Any:
    if not isinstance(size, F.NUMBER) and not (isinstance(size, Sequence) and len(size) in (1, 2)):
        raise ValueError(f"Please provide only two dimensions (h, w) for size, but got {size!r}")
    return size
