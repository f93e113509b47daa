"""What happens in a job, as records of a logger."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

__all__ = ["Event", "EventSource", "get_logging_handler", "record"]


class EventSource(str, Enum):
    """Who an event comes from: the launcher, or a process of the job."""

    AGENT = "AGENT"
    WORKER = "WORKER"


@dataclass
class Event:
    """Something that happened.

    Args:
        name: what
        source: to whom
        timestamp: when, in whatever unit
        metadata: what else is known of it
    """

    name: str
    source: EventSource
    timestamp: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.serialize()

    @staticmethod
    def deserialize(data: str | Event) -> Event:
        """An event from its text."""
        if isinstance(data, Event):
            return data
        told = json.loads(data)
        return Event(**{**told, "source": EventSource[told["source"]]})

    def serialize(self) -> str:
        """The event as a text."""
        return json.dumps({**asdict(self), "source": self.source.value})


_handlers: dict[str, logging.Handler] = {"console": logging.StreamHandler(), "null": logging.NullHandler()}


def get_logging_handler(destination: str = "null") -> logging.Handler:
    """Where events go: ``"console"`` or ``"null"``.

    Raises:
        ValueError: there is no such place
    """
    if destination not in _handlers:
        raise ValueError(f"there is no destination {destination!r} for events: there are {', '.join(_handlers)}")
    return _handlers[destination]


def record(event: Event, destination: str = "null") -> None:
    """Log an event.

    Example:
        >>> record(Event("begun", EventSource.WORKER, metadata={"rank": 0}))
    """
    logger = logging.getLogger(f"torchelastic-events-{destination}")
    if not logger.handlers:
        logger.addHandler(get_logging_handler(destination))
        logger.setLevel(logging.INFO)
        logger.propagate = False
    logger.info(event.serialize())
