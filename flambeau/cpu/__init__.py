"""The CPU as a device. It has one stream: what is called is recorded, and computed when somebody looks or at ``synchronize``."""

from __future__ import annotations

from typing import Any

from flambeau.cpu import amp as amp

__all__ = [
    "Event",
    "Stream",
    "StreamContext",
    "amp",
    "current_device",
    "current_stream",
    "device_count",
    "is_available",
    "is_initialized",
    "set_device",
    "stream",
    "synchronize",
]


def is_available() -> bool:
    """Whether there is a CPU: yes."""
    return True


def is_initialized() -> bool:
    """Whether the device is ready: yes."""
    return True


def device_count() -> int:
    """The number of devices that the CPU counts as: 1."""
    return 1


def current_device() -> str:
    """The current device: ``"cpu"``."""
    return "cpu"


def set_device(device: Any) -> None:
    """Choose the device, of which there is one."""


def synchronize(device: Any = None) -> None:
    """Wait until what was called is computed, also what nobody has kept."""
    from flambeau._tape.tape import settle

    settle()


class Stream:
    """A stream of the CPU: all are the same one, in which everything comes in the order of the program, so that there is nothing to wait for."""

    def __init__(self, priority: int = -1) -> None:
        pass

    def wait_stream(self, stream: Any) -> None:
        """What comes after waits for the other stream, as it does anyway."""

    def record_event(self) -> Event:
        """An event at this point of the stream."""
        return Event()

    def wait_event(self, event: Any) -> None:
        """What comes after waits for the event, as it does anyway."""


class Event:
    """A point of a stream."""

    def query(self) -> bool:
        """Whether what comes before has been called: yes."""
        return True

    def record(self, stream: Any = None) -> None:
        """Move the event to this point of the stream."""

    def synchronize(self) -> None:
        """Wait until what was called is computed."""
        synchronize()

    def wait(self, stream: Any = None) -> None:
        """What comes after waits for the event, as it does anyway."""


_STREAM = Stream()


def current_stream(device: Any = None) -> Stream:
    """The stream that operators are recorded on."""
    return _STREAM


class StreamContext:
    """A block whose operators go to a stream; ``None`` leaves the stream as it is."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def stream(stream: Stream | None) -> StreamContext:
    """``StreamContext(stream)``."""
    return StreamContext(stream)
