"""Dtypes that NumPy lacks: an array holds their bits, as integers; here is the way to numbers and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType


@dataclass(frozen=True)
class Byte:
    """How eight bits are a floating-point number: a sign, an exponent, a significand (Micikevicius et al., "FP8 formats for deep learning").

    Attributes:
        digits: bits of the significand
        bias: of the exponent
        largest: the greatest finite number
        nan: the bits of NaN
        beyond: what is greater becomes: ``largest`` itself, infinity or NaN
        has_sign_of_zero: whether -0 is a number of its own (in the ``uz`` formats, its bits are NaN's)
    """

    digits: int
    bias: int
    largest: float
    nan: int
    beyond: float
    has_sign_of_zero: bool

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)

    @property
    def smallest(self) -> float:
        """The smallest positive number, which is also the distance between numbers below ``smallest_normal``."""
        return 2.0 ** (1 - self.bias - self.digits)

    @cached_property
    def numbers(self) -> np.ndarray:
        """What each of the 256 bytes means, as float32."""
        codes = np.arange(256)
        exponent, significand = (codes & 0x7F) >> self.digits, codes & ((1 << self.digits) - 1)
        scale = 2.0 ** (np.maximum(exponent, 1) - self.bias - self.digits)
        size = ((exponent > 0) * (1 << self.digits) + significand) * scale
        size = np.where(size > self.largest, np.nan, size)
        if np.isinf(self.beyond):
            size[(exponent == 31) & (significand == 0)] = np.inf
        numbers = np.where(codes < 128, size, -size).astype(np.float32)
        numbers[self.nan] = np.nan
        return numbers


BYTES = {
    dt.float8_e4m3fn: Byte(3, 7, 448.0, 0x7F, 448.0, True),
    dt.float8_e4m3fnuz: Byte(3, 8, 240.0, 0x80, np.nan, False),
    dt.float8_e5m2: Byte(2, 15, 57344.0, 0x7F, np.inf, True),
    dt.float8_e5m2fnuz: Byte(2, 16, 57344.0, 0x80, np.nan, False),
}


def numbers_in(array: np.ndarray, of: DType) -> np.ndarray:
    """The numbers that an array of ``of.numpy`` holds, in a dtype of NumPy's that has all of them: the array itself if it is one."""
    if of is dt.bfloat16:
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if of is dt.complex32:
        halves = np.ascontiguousarray(array).reshape(-1).view(np.float16)
        return halves.astype(np.float32).view(np.complex64).reshape(array.shape)
    return BYTES[of].numbers[array] if of in BYTES else array


def stored_as(numbers: np.ndarray, of: DType) -> np.ndarray:
    """Numbers rounded to a dtype, to the nearest, ties to even, as an array of ``of.numpy``."""
    with np.errstate(all="ignore"):
        if of is dt.bfloat16:
            single = numbers.astype(np.float32)
            bits = single.view(np.uint32)
            rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
            return np.where(np.isnan(single), np.uint16(0x7FC0), rounded).astype(np.uint16)
        if of is dt.complex32:
            parts = np.ascontiguousarray(numbers, np.complex64).reshape(-1).view(np.float32)
            return parts.astype(np.float16).view(np.uint32).reshape(numbers.shape)
        return _bytes(numbers.astype(np.float32), BYTES[of]) if of in BYTES else numbers.astype(of.numpy)


def _bytes(numbers: np.ndarray, form: Byte) -> np.ndarray:
    size = np.abs(numbers).astype(np.float64)
    exponent = np.maximum(np.frexp(size)[1] - 1, 1 - form.bias)
    unit = 2.0 ** (exponent - form.digits)
    rounded = np.rint(size / unit) * unit
    rounded = np.where(rounded > form.largest, form.beyond, rounded)
    codes = np.searchsorted(form.numbers[: np.count_nonzero(form.numbers[:128] <= form.largest)], rounded)
    if np.isinf(form.beyond):
        codes = np.where(np.isinf(rounded), 0x7C, codes)
    negative = np.signbit(numbers) & (form.has_sign_of_zero | (rounded > 0))
    return np.where(np.isnan(rounded), form.nan, codes | (negative << 7)).astype(np.uint8)
