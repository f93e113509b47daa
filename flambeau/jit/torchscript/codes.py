"""The numbers that stand for dtypes, layouts and memory formats in TorchScript.

They are public: `torch.jit.script` shows them in the `code` of every function that has a dtype.
"""

from __future__ import annotations

from typing import Any

import flambeau

__all__ = ["DTYPES", "dtype_of", "layout_of", "memory_format_of", "number_of", "number_of_memory_format"]

_DTYPES = (
    "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "complex32", "complex64", "complex128", "bool", "qint8", "quint8", "qint32",
    "bfloat16",
)  # fmt: skip
_LATER = {23: "float8_e5m2", 24: "float8_e4m3fn", 27: "uint16", 28: "uint32", 29: "uint64"}
_BY_NUMBER = {number: getattr(flambeau, name) for number, name in [*enumerate(_DTYPES), *_LATER.items()]}
_NUMBERS = {dtype: number for number, dtype in _BY_NUMBER.items()}
_MEMORY_FORMATS = (flambeau.contiguous_format, flambeau.preserve_format, flambeau.channels_last, flambeau.channels_last_3d)

DTYPES = tuple({type(dtype) for dtype in _BY_NUMBER.values()})
"""The classes of dtypes."""


def dtype_of(number: Any) -> Any:
    """The dtype of a number; anything else as it is."""
    if isinstance(number, int) and not isinstance(number, bool):
        if number not in _BY_NUMBER:
            raise ValueError(f"{number} is the number of no dtype that is known here")
        return _BY_NUMBER[number]
    return number


def number_of(dtype: Any) -> int:
    """The number of a dtype."""
    return _NUMBERS[dtype]


def layout_of(number: Any) -> Any:
    """The layout of a number: dense tensors only."""
    if number in (0, None):
        return flambeau.strided
    raise NotImplementedError(f"layout {number} in a TorchScript program: only dense tensors (0) are made by programs")


def memory_format_of(number: Any) -> Any:
    """The memory format of a number; anything else as it is."""
    return _MEMORY_FORMATS[number] if isinstance(number, int) else number


def number_of_memory_format(memory_format: flambeau.memory_format) -> int:
    """The number of a memory format."""
    return _MEMORY_FORMATS.index(memory_format)
