"""The ranges of integers that quantized tensors have."""

from __future__ import annotations

import flambeau
from flambeau._types.dtype import dtype as DType
from flambeau._types.quantized import LIMITS

_RANGES = {
    **LIMITS, flambeau.int8: (-128, 127), flambeau.uint8: (0, 255), flambeau.int16: (-(2**15), 2**15 - 1), flambeau.uint16: (0, 2**16 - 1),
    flambeau.int32: (-(2**31), 2**31 - 1),
}  # fmt: skip


def check_range(low: int, high: int) -> None:
    """Check a range that a user asks for.

    Raises:
        AssertionError: it is empty, or 0 is not in it.
    """
    if not low <= 0 <= high:
        raise AssertionError(f"the range of integers must have 0 in it, so that zero has an integer of its own; got {low} to {high}")
    if low >= high:
        raise AssertionError(f"quant_min (={low}) must be less than quant_max (={high})")


def quantization_range(low: int | None, high: int | None, dtype: DType, reduce_range: bool) -> tuple[int, int]:
    """The range that a user asks for, or that of the dtype; half of it with ``reduce_range``.

    Raises:
        AssertionError: the dtype has no range, or the one that is asked for does not fit it.
    """
    if dtype not in _RANGES:
        raise AssertionError(
            f"expected the dtype of quantized tensors (torch.quint8, torch.qint8, torch.qint32) or an integer dtype, got {dtype!r}"
        )
    least, most = _RANGES[dtype]
    if low is None or high is None:
        return (least // 2, most // 2) if reduce_range and dtype.itemsize == 1 else (least, most)
    if high - low > most - least:
        raise AssertionError(f"the range from {low} to {high} has more integers than {dtype!r}")
    return (low // 2, high // 2) if reduce_range else (low, high)
