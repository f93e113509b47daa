"""Types for annotations, under the names that programs import them by."""

from __future__ import annotations

import builtins
import os
from collections.abc import Sequence
from typing import Any

from flambeau import Size, SymBool, SymFloat, SymInt, Tensor, device, dtype, layout, memory_format
from flambeau._tensor.storages import TypedStorage, UntypedStorage

__all__ = ["BoolLikeType", "Device", "FileLike", "FloatLikeType", "IntLikeType", "Number", "PySymType", "Storage", "Tensor"]

Number = int | float | bool
PySymType = SymInt | SymFloat | SymBool
IntLikeType = int | SymInt
FloatLikeType = float | SymFloat
BoolLikeType = bool | SymBool
Device = device | str | int | None
FileLike = Any
Storage = UntypedStorage | TypedStorage
_int, _float, _bool, _complex = builtins.int, builtins.float, builtins.bool, builtins.complex
_dtype, _device, _layout, _size = dtype, device, layout, Size | Sequence[int]
_qscheme = Any
_memory_format = memory_format
_TensorOrTensors = Tensor | Sequence[Tensor]
_PathLike = str | os.PathLike
