"""What packages take from PyTorch's extension module, although its name begins with an underscore."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, BinaryIO

from flambeau._serialization.archive import ArchiveReader
from flambeau.nn.modules._conversion import _parse_to

_TensorMeta = type
"""The class of `Tensor` as a class."""


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


def _disabled_torch_function_impl(
    func: Callable, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> Any:
    """What a class sets as its `__torch_function__` to have functions called as they are."""
    return func(*args, **(kwargs or {}))


_nn = SimpleNamespace(_parse_to=_parse_to)


def _get_tracing_state() -> None:
    """What TorchScript's tracer is doing: nothing."""
    return None


def _log_api_usage_once(event: str) -> None:
    """Note that a package is used: PyTorch counts for its makers, nothing is counted here."""
