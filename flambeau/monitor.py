"""Events and counters of a running program, handed to whoever has registered: ``torch.monitor``.

An event has a name, a time and data; a ``Stat`` gathers numbers and logs a summary of them as one event per window of time. Nothing is
written anywhere unless a handler does it. https://docs.pytorch.org/docs/stable/monitor.html
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flambeau.utils.tensorboard import SummaryWriter

__all__ = [
    "COUNT", "MAX", "MEAN", "MIN", "STAT_EVENT", "SUM", "VALUE", "Aggregation", "Event", "EventHandlerHandle", "Stat", "TensorboardEventHandler", "data_value_t",
    "log_event", "register_event_handler", "unregister_event_handler",
]  # fmt: skip

STAT_EVENT = "torch.monitor.Stat"
"""The name of the events that ``Stat`` logs."""

data_value_t = str | float | int | bool
"""What an event's data may be."""


class Aggregation(Enum):
    """How a ``Stat`` sums up its numbers: the last one, their mean, how many, their sum, the largest, the smallest."""

    VALUE = 0
    MEAN = 2
    COUNT = 3
    SUM = 4
    MAX = 5
    MIN = 6

    def __index__(self) -> int:
        return self.value

    __int__ = __index__


VALUE, MEAN, COUNT, SUM, MAX, MIN = Aggregation


# -- events ----------------------------------------------------------------------------------------------------------


class Event:
    """Something that happened; events of one kind have one name, so that handlers know what to expect.

    Args:
        name: the kind of event
        timestamp: when it happened
        data: strings, numbers and truth values by name

    Raises:
        TypeError: an argument, or a value in ``data``, is of another type
    """

    def __init__(self, name: str, timestamp: datetime, data: Mapping[str, data_value_t]) -> None:
        self.name, self.timestamp, self.data = name, timestamp, data

    @property
    def name(self) -> str:
        """The kind of event."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = _checked("name", name, str)

    @property
    def timestamp(self) -> datetime:
        """When it happened."""
        return self._timestamp

    @timestamp.setter
    def timestamp(self, timestamp: datetime) -> None:
        self._timestamp = _checked("timestamp", timestamp, datetime)

    @property
    def data(self) -> dict[str, data_value_t]:
        """The values by name."""
        return self._data

    @data.setter
    def data(self, data: Mapping[str, data_value_t]) -> None:
        for key, value in _checked("data", data, Mapping).items():
            _checked("a name in data", key, str)
            _checked(f"data[{key!r}]", value, (str, int, float))
        self._data = dict(data)


def _checked(what: str, value: object, kind: type | tuple[type, ...]) -> object:  # the setters' types say more
    if not isinstance(value, kind):
        wanted = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
        raise TypeError(f"{what} of an event has to be {wanted}, not {type(value).__name__}")
    return value


class EventHandlerHandle:
    """What ``register_event_handler`` returns, to unregister the handler with."""

    def __init__(self, handler: Callable[[Event], None]) -> None:
        self._handler = handler


_lock = threading.Lock()
_handles: tuple[EventHandlerHandle, ...] = ()


def register_event_handler(callback: Callable[[Event], None]) -> EventHandlerHandle:
    """Have a function called with each event that is logged from here on, in the thread that logs it.

    Raises:
        TypeError: ``callback`` cannot be called
    """
    global _handles
    if not callable(callback):
        raise TypeError(f"a handler of events is a function of one event, not a {type(callback).__name__}")
    handle = EventHandlerHandle(callback)
    with _lock:
        _handles = (*_handles, handle)
    return handle


def unregister_event_handler(handler: EventHandlerHandle) -> None:
    """Call a handler no more; does nothing if it is not registered.

    Raises:
        TypeError: ``handler`` is not what ``register_event_handler`` returned
    """
    global _handles
    if not isinstance(handler, EventHandlerHandle):
        raise TypeError(f"expected what register_event_handler returned, not a {type(handler).__name__}")
    with _lock:
        _handles = tuple([each for each in _handles if each is not handler])


def log_event(event: Event) -> None:
    """Give an event to all handlers, in the order in which they were registered; an error of one is raised here.

    Example:
        >>> from datetime import datetime
        >>> from flambeau import monitor
        >>> handle = monitor.register_event_handler(lambda event: print(event.name, event.data))
        >>> monitor.log_event(monitor.Event("epoch", datetime.now(), {"loss": 0.25}))
        epoch {'loss': 0.25}
        >>> monitor.unregister_event_handler(handle)
    """
    if not isinstance(event, Event):
        raise TypeError(f"expected an Event, not a {type(event).__name__}")
    for handle in _handles:
        handle._handler(event)


# -- statistics ------------------------------------------------------------------------------------------------------


class _Summary:
    """Numbers, as far as aggregations need to know them."""

    __slots__ = ("count", "largest", "last", "smallest", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = self.largest = self.smallest = self.last = 0.0

    def add(self, value: float) -> None:
        self.largest = max(self.largest, value) if self.count else value
        self.smallest = min(self.smallest, value) if self.count else value
        self.count += 1
        self.total += value
        self.last = value

    def get(self, aggregation: Aggregation) -> float:
        if aggregation is MEAN:
            return self.total / self.count if self.count else 0.0
        return float({VALUE: self.last, COUNT: self.count, SUM: self.total, MAX: self.largest, MIN: self.smallest}[aggregation])


class Stat:
    """Gathers numbers and logs one event for each window of time in which there were any: ``name.sum``, ``name.mean``, …

    A window ends with the first number that comes after it, or when the ``Stat`` goes out of use. Any thread may add numbers.

    Args:
        name: what the event's data are named after
        aggregations: which summaries the event has
        window_size: how long a window is; choose it long, so that there are few events
        max_samples: numbers that count in a window; when they are there the event is logged at once, and further ones are dropped

    Raises:
        TypeError: an argument is of another type
        ValueError: ``window_size`` is less than a millisecond

    Example:
        >>> from datetime import timedelta
        >>> from flambeau import monitor
        >>> handle = monitor.register_event_handler(lambda event: print(event.data))
        >>> requests = monitor.Stat("requests", [monitor.SUM, monitor.MEAN], timedelta(minutes=1), max_samples=2)
        >>> requests.add(1.0)
        >>> requests.add(4.0)
        {'requests.sum': 5.0, 'requests.mean': 2.5}
        >>> monitor.unregister_event_handler(handle)
    """

    def __init__(self, name: str, aggregations: Iterable[Aggregation], window_size: timedelta, max_samples: int = (1 << 63) - 1) -> None:
        self._current, self._previous = _Summary(), _Summary()
        self._name = str(_checked("the name", name, str))
        self._aggregations = tuple(dict.fromkeys(aggregations))
        for each in self._aggregations:
            if not isinstance(each, Aggregation):
                raise TypeError(f"aggregations of {name!r} are of monitor.Aggregation, such as monitor.SUM, not {each!r}")
        if not isinstance(window_size, timedelta):
            raise TypeError(f"window_size of {name!r} is a datetime.timedelta, not a {type(window_size).__name__}")
        if window_size < timedelta(milliseconds=1):
            raise ValueError(f"window_size of {name!r} has to be a millisecond or more, not {window_size}")
        self._window_size = window_size.total_seconds()
        self._max_samples = int(max_samples)
        self._window = self._clock()
        self._full = False
        self._lock = threading.RLock()  # a handler may add to the Stat whose event it is given

    def _clock(self) -> int:
        """The number of the window that it is."""
        return int(time.monotonic() // self._window_size)

    @property
    def name(self) -> str:
        """What the event's data are named after."""
        return self._name

    @property
    def count(self) -> int:
        """How many numbers there are that no event has told of yet."""
        return self._current.count

    def add(self, v: float) -> None:
        """Count a number in."""
        try:
            value = float(v)
        except (TypeError, ValueError):
            raise TypeError(f"a number is added to a Stat, not {v!r}") from None
        with self._lock:
            now = self._clock()
            if now != self._window:
                self._window, self._full = now, False
                self._close()
            if self._full:
                return
            self._current.add(value)
            if self._current.count >= self._max_samples:
                self._full = True
                self._close()

    def get(self) -> dict[Aggregation, float]:
        """The summaries of the last window that has ended; zeros if there was none, or nothing in it."""
        return {each: self._previous.get(each) for each in self._aggregations}

    def _close(self) -> None:
        """End the numbers of a window: log what there is."""
        self._previous, self._current = self._current, _Summary()
        if self._previous.count:
            data = {f"{self._name}.{each.name.lower()}": self._previous.get(each) for each in self._aggregations}
            log_event(Event(STAT_EVENT, datetime.now(), data))

    def __del__(self) -> None:
        if self._current.count:
            self._close()


class TensorboardEventHandler:
    """A handler that writes each ``Stat`` event to TensorBoard, a scalar for each summary. Other events are left alone.

    Args:
        writer: where to write

    Example:
        >>> from flambeau.monitor import TensorboardEventHandler, register_event_handler
        >>> from flambeau.utils.tensorboard import SummaryWriter
        >>> writer = SummaryWriter("runs/monitor")  # doctest: +SKIP
        >>> handle = register_event_handler(TensorboardEventHandler(writer))  # doctest: +SKIP
    """

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def __call__(self, event: Event) -> None:
        if event.name == STAT_EVENT:
            for name, value in event.data.items():
                self._writer.add_scalar(name, value, walltime=event.timestamp.timestamp())
