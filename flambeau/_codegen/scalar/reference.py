"""What scalar operators mean, in NumPy: the definition that generated code is tested against.

A definition takes arrays in a wide dtype and may be as slow as it likes.  Floats are computed in float64 and rounded to
float32, then for float16 and bfloat16 once more, as generated code does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flambeau._types import dtype as types
from flambeau._types.dtype import BOOL, COMPLEX, FLOAT, dtype
from flambeau._types.encoding import numbers_in, stored_as


def decode(array: np.ndarray, of: dtype) -> np.ndarray:
    """The numbers that an array of ``of.numpy`` holds, floats widened to float64 and complex to complex128."""
    array = numbers_in(array, of)
    if of.category == FLOAT:
        return array.astype(np.float64)
    return array.astype(np.complex128) if of.category == COMPLEX else array


def encode(array: np.ndarray, of: dtype) -> np.ndarray:
    """Numbers rounded to ``of``, as an array of ``of.numpy``."""
    with np.errstate(all="ignore"):
        return stored_as(array.astype(of.compute.numpy) if of.compute is not of else array, of)


def evaluate(define: Callable[..., np.ndarray], of: dtype, result: dtype, arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    """Apply a definition to arrays of dtype ``of`` (bool arrays are conditions)."""
    with np.errstate(all="ignore"):
        if define in _OF_STORED:
            return define(of, *arrays)
        wide = [array if array.dtype == np.bool_ else decode(array, of) for array in arrays]
        return encode(np.asarray(define(*wide)), result)


def _truncated(x: np.ndarray, bits: int) -> np.ndarray:
    fits = np.abs(x) < 2.0 ** (bits - 1)
    return np.where(fits, np.where(fits, x, 0).astype(np.int64), -(1 << (bits - 1)))


def convert(array: np.ndarray, source: dtype, target: dtype) -> np.ndarray:
    """What ``cast`` means: elements of dtype ``source`` as elements of dtype ``target``."""
    if source is target:
        return array
    with np.errstate(all="ignore"):
        if target.category == BOOL:
            return decode(array, source) != 0
        if source.category < FLOAT:
            wide = array.astype(target.compute.numpy) if target.category >= FLOAT else array
            return encode(wide, target) if target.compute is not target else wide.astype(target.numpy)
        x = decode(array, source)
        if target.category >= FLOAT:
            return encode(x if target.category == COMPLEX else x.real, target)
        x = x.real
        if target is types.uint64:
            return np.where(x >= 2.0**63, _truncated(x - 2.0**63, 64) ^ -(1 << 63), _truncated(x, 64)).astype(np.uint64)
        return _truncated(x, 32 if target.itemsize < 4 or target is types.int32 else 64).astype(target.numpy)


# -- definitions that NumPy has no function for ------------------------------------------------------------------------


def floor_divide(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where(y == 0, x / y, np.floor_divide(x, y)) if x.dtype.kind == "f" else np.floor_divide(x, y)


def trunc_divide(of: dtype, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The quotient is rounded to the dtype first: half precision may round up to the next integer."""
    if of.category == FLOAT:
        return encode(np.trunc(decode(encode(decode(x, of) / decode(y, of), of), of)), of)
    quotient = np.floor_divide(x, y)
    inexact = (y != 0) & (quotient * y != x)
    return quotient + (inexact & ((x < 0) != (y < 0)))


def fma(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    if x.dtype.kind != "f":
        return x * y + z
    return (x.astype(np.longdouble) * y + z).astype(np.float64)


def sign(x: np.ndarray) -> np.ndarray:
    return x if x.dtype == np.bool_ else np.nan_to_num(np.sign(x))


def sign_bit(x: np.ndarray) -> np.ndarray:
    return np.signbit(x) if x.dtype.kind == "f" else x < 0


def power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "f":
        return np.power(x, y)
    if x.dtype.kind == "c":
        return np.where((x == 0) & (y.real > 0), 0, np.where(y == 0, 1, np.exp(y * np.log(x))))
    one = x.dtype.type(1)
    if x.dtype.kind == "u":
        return np.power(x, y)
    inverse = np.where(x == 1, one, np.where(x == -1, np.where(y & 1, -one, one), 0))
    return np.where(y < 0, inverse, np.power(x, np.where(y < 0, 0, y))).astype(x.dtype)


def shift_left(x: np.ndarray, count: np.ndarray) -> np.ndarray:
    bits = 8 * x.itemsize
    fits = (count >= 0) & (count < bits)
    return np.where(fits, np.left_shift(x, np.where(fits, count, 0)), 0).astype(x.dtype)


def shift_right(x: np.ndarray, count: np.ndarray) -> np.ndarray:
    bits = 8 * x.itemsize
    fits = (count >= 0) & (count < bits)
    return np.where(fits, np.right_shift(x, np.where(fits, count, 0)), np.where(x < 0, -1, 0).astype(x.dtype)).astype(x.dtype)


def sigmoid(x: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "c":
        return 1 / (1 + np.exp(-x))
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def complex_of(re: np.ndarray, im: np.ndarray) -> np.ndarray:
    result = np.empty(re.shape, np.complex128)
    result.real, result.imag = re, im
    return result


def angle(x: np.ndarray) -> np.ndarray:
    return np.angle(x) if x.dtype.kind == "c" else np.where(np.isnan(x), x, np.where(x < 0, np.pi, 0.0))


def outside(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return (x < low) | (x >= high)


def sgn(x: np.ndarray) -> np.ndarray:
    return np.where(x == 0, 0, x / np.abs(x)) if x.dtype.kind == "c" else sign(x)


def nextafter(of: dtype, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if of is not types.bfloat16:
        return np.nextafter(x, y)
    wide_x, wide_y = decode(x, of), decode(y, of)
    step = np.where((wide_x < wide_y) == (wide_x > 0), 1, -1)
    moved = np.where(wide_x == 0, np.where(np.signbit(wide_y), 0x8001, 1), x.astype(np.int64) + step).astype(np.uint16)
    moved = np.where(wide_x == wide_y, y, moved)
    return np.where(np.isnan(wide_x) | np.isnan(wide_y), np.uint16(0x7FC0), moved)


_OF_STORED = (nextafter, trunc_divide)
"""Definitions that take the dtype, and arrays as they are stored."""


def ldexp(x: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    return x * np.exp2(exponent)


def xlogy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(y), y, np.where(x == 0, 0.0, x * np.log(y)))


def special(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """SciPy's definition, which is needed only when an interpreter or a test asks for it."""

    def define(x: np.ndarray) -> np.ndarray:
        import scipy.special

        return getattr(scipy.special, name)(x)

    return define


def digamma(x: np.ndarray) -> np.ndarray:
    import scipy.special

    pole = (x < 0) & (x == np.floor(x))
    return np.where(pole, np.nan, np.where(x == 0, np.copysign(np.inf, -x), scipy.special.digamma(x)))


def trigamma(x: np.ndarray) -> np.ndarray:
    import scipy.special

    rest = np.where(x < 0.5, 1 - x, x)
    sin = np.sin(np.pi * (x - np.rint(x)))
    found = scipy.special.polygamma(1, rest)
    reflected = np.where(x == np.floor(x), np.inf, np.pi**2 / (sin * sin) - found)
    return np.where(x == -np.inf, np.nan, np.where(x < 0.5, reflected, found))


def lgamma(x: np.ndarray) -> np.ndarray:
    import scipy.special

    return np.where(np.isinf(x), np.inf, scipy.special.gammaln(x))


def i0(x: np.ndarray) -> np.ndarray:
    import scipy.special

    return np.where(np.isinf(x), np.inf, scipy.special.i0(x))


def i1(x: np.ndarray) -> np.ndarray:
    import scipy.special

    return np.where(np.isinf(x), x, scipy.special.i1(x))


def gelu(x: np.ndarray) -> np.ndarray:
    import scipy.special

    return x * scipy.special.ndtr(x)


def heaviside(x: np.ndarray, at_zero: np.ndarray) -> np.ndarray:
    return np.where(x == 0, at_zero, (x > 0).astype(x.dtype))


def rounded(x: np.ndarray) -> np.ndarray:
    return np.rint(x) if x.dtype.kind == "f" else x


def sinc(x: np.ndarray) -> np.ndarray:
    distance = x - np.rint(x)
    sign = np.where(np.rint(x) % 2 == 0, 1.0, -1.0)
    return np.where(x == 0, 1.0, sign * np.sin(np.pi * distance) / (np.pi * x))
