"""``finfo`` and ``iinfo``: the limits of number types."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType
from flambeau._types.encoding import BYTES


def _dtype(name: str, given: Any) -> DType:
    if not isinstance(given, DType):
        raise TypeError(f"{name}(): argument 'type' (position 1) must be torch.dtype, not {given.__class__.__name__}")
    return given


class finfo:
    """The limits of a floating-point dtype (of the parts, for complex ones).

    Attributes:
        bits, eps, max, min, tiny, smallest_normal, resolution, dtype: as NumPy's ``finfo``

    Raises:
        TypeError: the dtype is not floating point or complex.
    """

    def __init__(self, type: DType | None = None) -> None:
        from flambeau._types.promotion import get_default_dtype

        of = (get_default_dtype() if type is None else _dtype("finfo", type)).to_real()
        if of.category != dt.FLOAT:
            raise TypeError(f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle '{of!r}'")
        self.dtype = of.name
        self.bits = 8 * of.itemsize
        if of is dt.bfloat16:
            self.eps, self.max, self.tiny, self.resolution = 2.0**-7, (2 - 2.0**-7) * 2.0**127, 2.0**-126, 0.01
        elif of in BYTES:
            form = BYTES[of]
            self.eps, self.max, self.tiny, self.resolution = 2.0**-form.digits, form.largest, form.smallest_normal, 1.0
        else:
            self.eps, self.max, self.tiny, self.resolution = _limits(of)
        self.min = -self.max
        self.smallest_normal = self.tiny

    def __repr__(self) -> str:
        return f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, smallest_normal={self.tiny:g}, tiny={self.tiny:g}, dtype={self.dtype})"


@cache
def _limits(of: DType) -> tuple[float, float, float, float]:
    """What NumPy knows, of which it takes 2 us to ask."""
    limits = np.finfo(of.numpy)
    return float(limits.eps), float(limits.max), float(limits.tiny), 10.0**-limits.precision


class iinfo:
    """The limits of an integer dtype.

    Raises:
        TypeError: the dtype is no integer type.
    """

    def __init__(self, type: DType) -> None:
        if _dtype("iinfo", type).category != dt.INTEGER:
            raise TypeError(
                f"torch.iinfo() requires an integer input type. Use torch.finfo to handle '{type!r}'"
                if type is not dt.bool
                else "torch.bool is not supported by torch.iinfo"
            )
        limits = np.iinfo(type.numpy)
        self.dtype, self.bits, self.min, self.max = type.name, limits.bits, int(limits.min), int(limits.max)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
