"""Numbers that a job tells of itself, in groups, each of which goes where it was configured to go.

Example:
    >>> configure(ConsoleMetricHandler(), group="training")
    >>> put_metric("loss", 0.25, "training")
    [...][training]: loss=0.25
"""

from __future__ import annotations

import functools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = [
    "ConsoleMetricHandler", "MetricData", "MetricHandler", "MetricStream", "NullMetricHandler", "configure", "getStream", "get_elapsed_time_ms", "prof",
    "put_metric",
]  # fmt: skip


class MetricData(NamedTuple):
    """A number: when it was told, of which group, its name, and itself."""

    timestamp: float
    group_name: str
    name: str
    value: float


class MetricHandler(ABC):
    """Takes numbers."""

    @abstractmethod
    def emit(self, metric_data: MetricData) -> None:
        """Take a number."""


class ConsoleMetricHandler(MetricHandler):
    """Prints them."""

    def emit(self, metric_data: MetricData) -> None:
        print(f"[{metric_data.timestamp}][{metric_data.group_name}]: {metric_data.name}={metric_data.value}")


class NullMetricHandler(MetricHandler):
    """Drops them."""

    def emit(self, metric_data: MetricData) -> None:
        pass


_handlers: dict[str, MetricHandler] = {}
_default: list[MetricHandler] = [NullMetricHandler()]


def configure(handler: MetricHandler, group: str | None = None) -> None:
    """Say where the numbers of a group go, or those of all groups for which that was not said."""
    if group is None:
        _default[0] = handler
    else:
        _handlers[group] = handler


class MetricStream:
    """A group of numbers."""

    def __init__(self, group_name: str) -> None:
        self.group_name = group_name

    def add_value(self, metric_name: str, metric_value: float) -> None:
        """Tell a number."""
        _handlers.get(self.group_name, _default[0]).emit(MetricData(time.time(), self.group_name, metric_name, metric_value))


def getStream(group: str) -> MetricStream:
    """A group by its name."""
    return MetricStream(group)


def put_metric(metric_name: str, metric_value: float, metric_group: str = "torchelastic") -> None:
    """Tell a number of a group."""
    getStream(metric_group).add_value(metric_name, metric_value)


def prof(fn: Callable | None = None, group: str = "torchelastic") -> Any:
    """A function that tells how long it takes, in milliseconds, and whether it succeeds: ``@prof``, or ``@prof(group="training")``."""
    if fn is None:
        return functools.partial(prof, group=group)
    name = ".".join(fn.__qualname__.split(".")[-2:])

    @functools.wraps(fn)
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.time()
        try:
            result = fn(*args, **kwargs)
        except Exception:
            put_metric(f"{name}.failure", 1, group)
            raise
        else:
            put_metric(f"{name}.success", 1, group)
            return result
        finally:
            put_metric(f"{name}.duration.ms", get_elapsed_time_ms(start), group)

    return timed


def get_elapsed_time_ms(start_time_in_seconds: float) -> int:
    """Milliseconds since a time of ``time.time()``."""
    return int((time.time() - start_time_in_seconds) * 1000)
