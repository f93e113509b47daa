"""The old classes of tensors and storages, one for each dtype: ``FloatTensor``, ``LongStorage``, … make them, and say whether one has the dtype."""

from __future__ import annotations

from typing import Any

from flambeau._ops.creation import as_tensor, empty
from flambeau._tape.storage import TensorBase
from flambeau._tensor.storages import TypedStorage
from flambeau._tensor.tensor import Tensor
from flambeau._types import dtype as dt

_OLD = (dt.bfloat16, dt.bool, dt.uint8, dt.int8, dt.float64, dt.float32, dt.float16, dt.int32, dt.int64, dt.int16)
_DTYPES = {f"{dt.TITLES[each]}Tensor": each for each in _OLD}


class _OfDtype(type):
    dtype: dt.dtype

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, TensorBase) and instance.layout.dtype is cls.dtype

    def __call__(cls, *args: Any) -> Tensor:
        if len(args) == 1 and not isinstance(args[0], int):
            data = args[0]
            if isinstance(data, TensorBase) and data.layout.dtype is not cls.dtype:
                raise TypeError(f"expected {cls.dtype!r} (got {data.layout.dtype!r})")
            return empty(*data, dtype=cls.dtype) if type(data).__name__ == "Size" else as_tensor(data, dtype=cls.dtype)
        return empty(*args, dtype=cls.dtype) if args else empty(0, dtype=cls.dtype)


class _StorageOfDtype(type):
    dtype: dt.dtype

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, TypedStorage) and instance.dtype is cls.dtype

    def __call__(cls, *args: Any, **options: Any) -> TypedStorage:
        return TypedStorage(*args, dtype=cls.dtype, **options)

    def from_buffer(cls, *args: Any, **options: Any) -> TypedStorage:
        """A copy of the numbers in an object with the buffer protocol."""
        return TypedStorage.from_buffer(*args, dtype=cls.dtype, **options)


_STORAGES = {f"{dt.TITLES[each]}Storage": each for each in (*_OLD, dt.complex64, dt.complex128)}

PUBLIC = (*_DTYPES, *_STORAGES)
for _name, _dtype in _DTYPES.items():
    globals()[_name] = _OfDtype(
        _name, (), {"dtype": _dtype, "__doc__": f"``{_name}(data)`` or ``{_name}(*sizes)``: a tensor of {_dtype!r}.", "__module__": "torch"}
    )
for _name, _dtype in _STORAGES.items():
    globals()[_name] = _StorageOfDtype(
        _name, (), {"dtype": _dtype, "__doc__": f"``{_name}(data)`` or ``{_name}(size)``: a storage of {_dtype!r}.", "__module__": "torch"}
    )
