"""The second version of torchvision's transforms, as far as it goes here: its functions."""

from __future__ import annotations

from flambeau.vision.transforms.interpolation import InterpolationMode as InterpolationMode
from flambeau.vision.transforms.v2 import functional as functional

__all__ = ["InterpolationMode", "functional"]
