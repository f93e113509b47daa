"""The old classes of tensors, one for each dtype: ``FloatTensor``, ``LongTensor``, … make tensors, and say whether one has the dtype."""

from __future__ import annotations

from typing import Any

from flambeau._ops.creation import as_tensor, empty
from flambeau._tape.storage import TensorBase
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


PUBLIC = tuple(_DTYPES)
for _name, _dtype in _DTYPES.items():
    globals()[_name] = _OfDtype(
        _name, (), {"dtype": _dtype, "__doc__": f"``{_name}(data)`` or ``{_name}(*sizes)``: a tensor of {_dtype!r}.", "__module__": "torch"}
    )
