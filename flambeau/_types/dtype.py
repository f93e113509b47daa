"""Element types: PyTorch's dtypes, each a singleton.

Besides PyTorch's attributes a dtype carries what the other rooms ask of it in hot paths: a small integer ``code``,
the NumPy dtype that its bytes are ``numpy`` stored as, and the dtype that arithmetic on it is done in, ``compute``.
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

BOOL, INTEGER, FLOAT, COMPLEX = range(4)
"""The categories of dtypes, in the order of promotion."""


class dtype:
    """The type of a tensor's elements, for example ``float32``.

    There is one object for each type, so ``is`` and ``==`` are the same.

    Attributes:
        name: the name without ``torch.``
        code: a small integer, unique to the type and the same in every process
        category: ``BOOL``, ``INTEGER``, ``FLOAT`` or ``COMPLEX``
        itemsize: bytes of one element
        is_floating_point, is_complex, is_signed: as their names say; complex counts as signed, not as floating point
        numpy: the NumPy dtype of an array that holds the elements (an unsigned integer's for those of ``NO_NUMPY``)
        compute: the dtype that arithmetic is done in before rounding: float32 for the shorter ones, complex64 for complex32, else itself
    """

    __slots__ = (
        "_complex",
        "_real",
        "category",
        "code",
        "compute",
        "is_complex",
        "is_floating_point",
        "is_signed",
        "itemsize",
        "name",
        "numpy",
    )

    name: str
    code: int
    category: int
    itemsize: int
    is_floating_point: bool
    is_complex: bool
    is_signed: bool
    numpy: np.dtype
    compute: dtype

    def __new__(cls) -> dtype:
        raise TypeError("cannot create 'torch.dtype' instances; use an existing one, for example torch.float32")

    def to_real(self) -> dtype:
        """The type of the real part of this type: ``complex64.to_real() is float32``; other types give themselves."""
        return self._real

    def to_complex(self) -> dtype:
        """The complex type whose parts are this type: ``float32.to_complex() is complex64``.

        bfloat16 gives complex64.

        Raises:
            RuntimeError: there is none: the type is bool, an integer, or of eight bits.
        """
        if self._complex is None:
            raise RuntimeError(f"{self!r} has no complex dtype; only floating-point types of at least 16 bits have one")
        return self._complex

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


DTYPES: list[dtype] = []
"""Every dtype, in the order of ``code``."""


def _define(name: str, category: int, storage: str, *, compute: dtype | None = None) -> dtype:
    self = object.__new__(dtype)
    self.name = name
    self.code = len(DTYPES)
    self.category = category
    self.numpy = np.dtype(storage)
    self.itemsize = self.numpy.itemsize
    self.is_floating_point = category == FLOAT
    self.is_complex = category == COMPLEX
    self.is_signed = category >= FLOAT or self.numpy.kind == "i"
    self.compute = compute or self
    self._real = self
    self._complex = self if category == COMPLEX else None
    DTYPES.append(self)
    return self


def _pair(real: dtype, complex: dtype) -> None:
    real._complex = complex
    complex._real = real


# New types go at the end: codes are part of cached programs.
bool = _define("bool", BOOL, "bool")
uint8 = _define("uint8", INTEGER, "uint8")
int8 = _define("int8", INTEGER, "int8")
int16 = _define("int16", INTEGER, "int16")
int32 = _define("int32", INTEGER, "int32")
int64 = _define("int64", INTEGER, "int64")
uint16 = _define("uint16", INTEGER, "uint16")
uint32 = _define("uint32", INTEGER, "uint32")
uint64 = _define("uint64", INTEGER, "uint64")
float32 = _define("float32", FLOAT, "float32")
float64 = _define("float64", FLOAT, "float64")
float16 = _define("float16", FLOAT, "float16", compute=float32)
bfloat16 = _define("bfloat16", FLOAT, "uint16", compute=float32)
complex64 = _define("complex64", COMPLEX, "complex64")
complex128 = _define("complex128", COMPLEX, "complex128")
complex32 = _define("complex32", COMPLEX, "uint32", compute=complex64)
float8_e4m3fn = _define("float8_e4m3fn", FLOAT, "uint8", compute=float32)
float8_e4m3fnuz = _define("float8_e4m3fnuz", FLOAT, "uint8", compute=float32)
float8_e5m2 = _define("float8_e5m2", FLOAT, "uint8", compute=float32)
float8_e5m2fnuz = _define("float8_e5m2fnuz", FLOAT, "uint8", compute=float32)
_pair(float32, complex64)
_pair(float64, complex128)
_pair(float16, complex32)
bfloat16._complex = complex64

half = float16
float = float32
double = float64
chalf = complex32
cfloat = complex64
cdouble = complex128
short = int16
int = int32
long = int64

FLOAT8 = (float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz)
NO_NUMPY = (bfloat16, complex32, *FLOAT8)
"""Dtypes that NumPy lacks: ``encoding`` has the way to numbers."""

TITLES = {
    bool: "Bool", uint8: "Byte", int8: "Char", int16: "Short", int32: "Int", int64: "Long", uint16: "UInt16", uint32: "UInt32", uint64: "UInt64",
    float16: "Half", bfloat16: "BFloat16", float32: "Float", float64: "Double", **{each: each.name.capitalize() for each in FLOAT8},
    complex32: "ComplexHalf", complex64: "ComplexFloat", complex128: "ComplexDouble",
}  # fmt: skip
"""The dtypes' older names, of which those of classes are made: ``FloatTensor``, ``FloatStorage``."""

_FROM_NUMPY = {each.numpy: each for each in DTYPES if each not in NO_NUMPY}


_OF_PYTHON = {builtins.bool: bool, builtins.int: int64, builtins.float: float64, builtins.complex: complex128}


def of_python(given: Any) -> Any:
    """A dtype as it is, or the one that holds the numbers of a class of Python's: ``int64`` for ``int``."""
    return _OF_PYTHON.get(given, given) if given.__class__ is type else given


def required(given: Any) -> dtype:
    """A dtype from one, or from a class of Python's.

    Raises:
        TypeError: it is neither.
    """
    found = of_python(given)
    if not isinstance(found, dtype):
        raise TypeError(f"argument 'dtype' must be torch.dtype, not {found.__class__.__name__} ({found!r})")
    return found


def from_numpy(numpy: np.dtype) -> dtype:
    """The dtype of the elements of a NumPy array, whatever their byte order.

    Raises:
        TypeError: NumPy's dtype has no equal here (strings, objects, dates, ``longdouble``, …).
    """
    found = _FROM_NUMPY.get(numpy)
    if found is None:
        found = _FROM_NUMPY.get(np.dtype(numpy).newbyteorder("="))
    if found is None:
        supported = ", ".join(sorted(each.name for each in _FROM_NUMPY.values()))
        raise TypeError(f"can't convert np.ndarray of type {np.dtype(numpy)}. The only supported types are: {supported}")
    return found
