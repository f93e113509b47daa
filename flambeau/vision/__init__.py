"""torchvision's names: datasets, transforms, models and operators for images."""

from __future__ import annotations

from flambeau.version import release, torchvision
from flambeau.vision import datasets as datasets
from flambeau.vision import io as io
from flambeau.vision import models as models
from flambeau.vision import ops as ops
from flambeau.vision import transforms as transforms
from flambeau.vision import utils as utils

__all__ = ["datasets", "io", "models", "ops", "transforms", "utils"]

__version__ = f"{torchvision}+flambeau.{release}"
