"""What packages take from PyTorch's extension module, although its name begins with an underscore."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any, BinaryIO

from flambeau._serialization.archive import ArchiveReader
from flambeau._tensor import overriding
from flambeau.nn.modules._conversion import _parse_to

DisableTorchFunction = overriding.AllDisabled
DisableTorchFunctionSubclass = overriding.Disabled
_disabled_torch_function_impl = overriding.disabled_torch_function
_disabled_torch_dispatch_impl = overriding.disabled_torch_dispatch

_TensorMeta = type
"""The class of `Tensor` as a class."""


class Value:
    """A value in a graph of TorchScript, of which there are none here: for annotations and ``isinstance``; it cannot be made."""

    def __init__(self) -> None:
        raise TypeError("torch._C.Value: there are no graphs of TorchScript here; torch.fx traces modules to graphs")


class PyTorchFileReader:
    """The records of a file that `save` wrote.

    Args:
        file: a path or a binary stream

    Raises:
        RuntimeError: it is damaged, or no such file
    """

    def __init__(self, file: str | os.PathLike | BinaryIO) -> None:
        self._reader = ArchiveReader(open(file, "rb") if isinstance(file, (str, os.PathLike)) else file)  # noqa: SIM115 - the file stays open as long as its reader

    def get_record(self, name: str) -> bytes:
        """The bytes of a record, such as `data.pkl` or `data/0`."""
        return self._reader.read(name)

    def has_record(self, name: str) -> bool:
        """Whether there is a record."""
        return name in self._reader

    def get_record_offset(self, name: str) -> int:
        """Where in the file a record's bytes start."""
        return self._reader.offset(name)


class DispatchKeySet:
    """Some of the keys that PyTorch's dispatcher goes by, of which there is none here: for those that name some beforehand."""

    def __init__(self, key: str) -> None:
        self.keys = frozenset({key})

    def __or__(self, other: DispatchKeySet) -> DispatchKeySet:
        both = DispatchKeySet("")
        both.keys = self.keys | other.keys
        return both

    def has(self, key: str) -> bool:
        """Whether a key is among them."""
        return key in self.keys


class _Names:
    """Any attribute is its own name."""

    def __getattr__(self, name: str) -> str:
        if name.startswith("_"):
            raise AttributeError(name)
        return name


DispatchKey = _Names()
"""The keys, by their names."""


def __getattr__(name: str) -> Any:
    if name == "_DisableTorchDispatch":
        from flambeau.utils._mode_utils import no_dispatch

        return no_dispatch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_nn = SimpleNamespace(_parse_to=_parse_to)


def _get_tracing_state() -> None:
    """What TorchScript's tracer is doing: nothing."""
    return None


def _log_api_usage_once(event: str) -> None:
    """Note that a package is used: PyTorch counts for its makers, nothing is counted here."""
