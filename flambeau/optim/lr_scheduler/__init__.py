"""Schedulers of the learning rate."""

from __future__ import annotations

from flambeau.optim.lr_scheduler._base import LRScheduler as LRScheduler
from flambeau.optim.lr_scheduler._combined import ChainedScheduler as ChainedScheduler
from flambeau.optim.lr_scheduler._combined import SequentialLR as SequentialLR
from flambeau.optim.lr_scheduler._cyclic import CyclicLR as CyclicLR
from flambeau.optim.lr_scheduler._cyclic import OneCycleLR as OneCycleLR
from flambeau.optim.lr_scheduler._decay import ConstantLR as ConstantLR
from flambeau.optim.lr_scheduler._decay import CosineAnnealingLR as CosineAnnealingLR
from flambeau.optim.lr_scheduler._decay import CosineAnnealingWarmRestarts as CosineAnnealingWarmRestarts
from flambeau.optim.lr_scheduler._decay import ExponentialLR as ExponentialLR
from flambeau.optim.lr_scheduler._decay import LambdaLR as LambdaLR
from flambeau.optim.lr_scheduler._decay import LinearLR as LinearLR
from flambeau.optim.lr_scheduler._decay import MultiplicativeLR as MultiplicativeLR
from flambeau.optim.lr_scheduler._decay import MultiStepLR as MultiStepLR
from flambeau.optim.lr_scheduler._decay import PolynomialLR as PolynomialLR
from flambeau.optim.lr_scheduler._decay import StepLR as StepLR
from flambeau.optim.lr_scheduler._plateau import ReduceLROnPlateau as ReduceLROnPlateau

_LRScheduler = LRScheduler  # its name before PyTorch 2.0, by which code still derives from it

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
