"""Devices: the CPU, which computes, and ``meta``, where tensors have everything but elements."""

from __future__ import annotations

import re
from collections.abc import Callable

from flambeau._types.errors import DeviceNotAvailableError

_FORM = re.compile(r"([a-z]+)(?::(\d+))?\Z")
_KNOWN = ("cpu", "cuda", "meta", "mps", "xpu")


class device:
    """Where a tensor lives: ``device("cpu")``, ``device("cpu", 0)`` or ``device("cpu:0")``.

    Attributes:
        type: ``"cpu"``, …
        index: the number of the device, or ``None``

    Raises:
        RuntimeError: the string names no kind of device.
    """

    __slots__ = ("index", "type")

    def __init__(self, type: str | device, index: int | None = None) -> None:
        if isinstance(type, device):
            type, index = type.type, type.index if index is None else index
        elif not isinstance(type, str):
            raise TypeError(f"device(): argument 'type' must be str, not {type.__class__.__name__}")
        match = _FORM.match(type)
        if match is None:
            raise RuntimeError(f"Invalid device string: '{type}'")
        if match[1] not in _KNOWN:
            raise RuntimeError(f"Expected one of {', '.join(_KNOWN)} device type at start of device string: {type}")
        if match[2] is not None:
            if index is not None:
                raise RuntimeError(f"type (string) must not include an index because index was passed explicitly: {type}")
            index = int(match[2])
        self.type = match[1]
        self.index = index

    def __repr__(self) -> str:
        return f"device(type='{self.type}')" if self.index is None else f"device(type='{self.type}', index={self.index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __enter__(self) -> device:
        """Let tensors be made on this device by the functions of PyTorch that are called in the ``with`` block and not told another one."""
        _contexts().enter(self)
        return self

    def __exit__(self, *exception: object) -> None:
        _contexts().leave()

    def __reduce__(self) -> tuple:
        return device, ((self.type,) if self.index is None else (self.type, self.index))


CPU = device("cpu")
META = device("meta")


class Contexts:
    """What ``with device(...)`` does, which is decided above this package; ``set_contexts`` says where."""

    def enter(self, place: device) -> None:
        """Let tensors be made on ``place`` from here on, in this thread."""

    def leave(self) -> None:
        """Let them be made where they were before."""


_contexts: Callable[[], Contexts] = Contexts


def set_contexts(find: Callable[[], Contexts]) -> None:
    """Set the function that finds it."""
    global _contexts
    _contexts = find


def is_meta(place: str | device | int | None) -> bool:
    """Whether ``place`` names the meta device, and not the CPU (or nothing).

    Raises:
        DeviceNotAvailableError: it names a device that there is none of here.
    """
    if place is None or place is CPU:
        return False
    kind = _kind(place)
    if kind not in ("cpu", "meta"):
        raise _not_available(place)
    return kind == "meta"


def require_cpu(place: str | device | int | None) -> None:
    """Check that ``place`` names the CPU (or nothing).

    Raises:
        DeviceNotAvailableError: it names a device that there is none of here.
    """
    if place is not None and place is not CPU and _kind(place) != "cpu":
        raise _not_available(place)


def _kind(place: str | device | int) -> str:
    """The type of a device; a number is one of CUDA's."""
    return "cuda" if isinstance(place, int) else place.type if isinstance(place, device) else device(place).type


def _not_available(place: str | device | int) -> DeviceNotAvailableError:
    return DeviceNotAvailableError(f"device {str(place)!r} is not available: Flambeau computes on the CPU (device='cpu')")
