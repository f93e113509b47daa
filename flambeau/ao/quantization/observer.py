"""``torch.ao.quantization.observer``: all observers, and those with arguments, under PyTorch's names."""

from __future__ import annotations

from flambeau.ao.quantization.histogram import HistogramObserver as HistogramObserver
from flambeau.ao.quantization.observer_classes import *  # noqa: F403
from flambeau.ao.quantization.observer_classes import __all__ as _classes
from flambeau.ao.quantization.observer_classes import _PartialWrapper as _PartialWrapper
from flambeau.ao.quantization.presets import *  # noqa: F403
from flambeau.ao.quantization.presets import __all__ as _presets

__all__ = sorted({*_classes, *_presets, "HistogramObserver"})
