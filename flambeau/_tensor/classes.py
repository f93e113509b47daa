"""The old classes of tensors, one for each dtype: ``FloatTensor``, ``LongTensor``, … make tensors, and say whether one has the dtype."""

from __future__ import annotations

from typing import Any

from flambeau._ops.creation import as_tensor, empty
from flambeau._tape.storage import TensorBase
from flambeau._tensor.tensor import Tensor
from flambeau._types import dtype as dt

_DTYPES = {
    "BFloat16Tensor": dt.bfloat16, "BoolTensor": dt.bool, "ByteTensor": dt.uint8, "CharTensor": dt.int8, "DoubleTensor": dt.float64, "FloatTensor": dt.float32,
    "HalfTensor": dt.float16, "IntTensor": dt.int32, "LongTensor": dt.int64, "ShortTensor": dt.int16,
}  # fmt: skip


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


PUBLIC = tuple(_DTYPES)
for _name, _dtype in _DTYPES.items():
    globals()[_name] = _OfDtype(
        _name, (), {"dtype": _dtype, "__doc__": f"``{_name}(data)`` or ``{_name}(*sizes)``: a tensor of {_dtype!r}.", "__module__": "torch"}
    )
