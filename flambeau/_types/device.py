"""Devices: for now there is one, the CPU."""

from __future__ import annotations

import re

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
        """Let tensors be made on this device, which must be the CPU, by the functions that are called in the ``with`` block."""
        require_cpu(self)
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def __reduce__(self) -> tuple:
        return device, ((self.type,) if self.index is None else (self.type, self.index))


CPU = device("cpu")


def require_cpu(place: str | device | int | None) -> None:
    """Check that ``place`` names the CPU (or nothing).

    Raises:
        DeviceNotAvailableError: it names a device that there is none of here.
    """
    if place is None or place is CPU:
        return
    if isinstance(place, int) or device(place).type != "cpu":
        raise DeviceNotAvailableError(f"device {str(place)!r} is not available: Flambeau computes on the CPU (device='cpu')")
