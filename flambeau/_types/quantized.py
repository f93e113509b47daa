"""What quantized tensors are made of: their dtypes, and the schemes by which integers stand for numbers."""

from __future__ import annotations

from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype


class _Quantized(dtype):
    """The type of a quantized tensor's elements: integers that stand for real numbers, by a scale and a zero point that the tensor has."""

    __slots__ = ()

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotImplementedError(f"{self!r} is for quantized tensors, which torch.quantize_per_tensor and torch.quantize_per_channel make")


def _define(name: str, integers: dtype) -> dtype:
    self = object.__new__(_Quantized)
    self.name = name
    self.itemsize = integers.itemsize
    self.is_complex = self.is_floating_point = False
    self.is_signed = integers.is_signed
    return self


qint8 = _define("qint8", dt.int8)
quint8 = _define("quint8", dt.uint8)
qint32 = _define("qint32", dt.int32)

QUANTIZED = {qint8: dt.int8, quint8: dt.uint8, qint32: dt.int32}
"""The dtypes of quantized tensors, and the integers that they are made of."""
LIMITS = {qint8: (-128, 127), quint8: (0, 255), qint32: (-(2**31), 2**31 - 1)}
"""The range of the integers of each dtype."""


class qscheme:
    """How a quantized tensor maps integers to real numbers: ``real = (integer - zero_point) * scale``.

    *Per tensor* there is one scale and zero point, *per channel* one for each index of a dimension; *symmetric* says that the zero point is
    the middle of the integers' range, and *float_qparams* that it is a floating-point number.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


per_tensor_affine = qscheme("per_tensor_affine")
per_channel_affine = qscheme("per_channel_affine")
per_tensor_symmetric = qscheme("per_tensor_symmetric")
per_channel_symmetric = qscheme("per_channel_symmetric")
per_channel_affine_float_qparams = qscheme("per_channel_affine_float_qparams")

SCHEMES = (per_tensor_affine, per_channel_affine, per_tensor_symmetric, per_channel_symmetric, per_channel_affine_float_qparams)
