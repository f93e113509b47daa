"""Anomaly detection: which forward call made a gradient NaN, or made backward fail."""

from __future__ import annotations

import warnings
from typing import Any

from flambeau._ops.inspecting import holds_everywhere
from flambeau._ops.origin import warn
from flambeau._ops.registry import ANOMALY
from flambeau._types import dtype as dt
from flambeau.autograd import saving

_check_nan = True


def _place(node: Any) -> str:
    if node.origin is None:
        return f"{node.name()} was made before anomaly detection was switched on"
    file, line = node.origin
    return f"{node.name()} was recorded by the forward call at {file}:{line}"


def apply(node: Any, incoming: tuple) -> tuple:
    """Compute a node's gradients; name the forward call if that fails or gives NaN.

    Raises:
        RuntimeError: a gradient contains NaN.
    """
    try:
        outgoing = node.apply(incoming)
    except Exception:
        warnings.warn(f"Error detected in {node.name()}. {_place(node)}.", stacklevel=2)
        raise
    if _check_nan:
        for number, grad in enumerate(outgoing):
            if grad is not None and grad.layout.dtype.category >= dt.FLOAT and not holds_everywhere(grad == grad):
                raise RuntimeError(f"Function '{node.name()}' returned nan values in its {number}th output. {_place(node)}.")
    return outgoing


class set_detect_anomaly:
    """Switch anomaly detection on or off, at once or for a ``with`` block.

    While it is on, a backward pass that fails or computes NaN names the line of the forward call. It computes every gradient at once, so it is slow.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = (ANOMALY.enabled, _check_nan)
        _set(mode, check_nan)

    def __enter__(self) -> None:
        """The mode is set already."""

    def __exit__(self, *exception: object) -> None:
        _set(*self._before)


class detect_anomaly(set_detect_anomaly):
    """Anomaly detection for a ``with`` block."""

    def __init__(self, check_nan: bool = True) -> None:
        warn("Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for debugging.")
        super().__init__(True, check_nan)


def _set(mode: bool, check_nan: bool) -> None:
    global _check_nan
    ANOMALY.enabled = mode or saving.off()
    _check_nan = check_nan


def is_anomaly_enabled() -> bool:
    """Whether anomaly detection is on."""
    return ANOMALY.enabled


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly detection looks for NaN, too."""
    return _check_nan


def set_anomaly_enabled(mode: bool, check_nan: bool = True) -> None:
    """``set_detect_anomaly`` that is not undone."""
    _set(mode, check_nan)
