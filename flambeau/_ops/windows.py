"""Window functions: how much each sample of a frame counts before a Fourier transform.

They are computed in float64 and rounded once. See Harris, "On the use of windows for harmonic analysis with the discrete Fourier
transform", 1978.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops.creation import from_array, with_options
from flambeau._ops.meta import nowhere
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.device import is_meta
from flambeau._types.dtype import dtype as DType
from flambeau._types.promotion import get_default_dtype
from flambeau._types.strided import require_strided, strided

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor

# -- the functions ---------------------------------------------------------------------------------------------------


def places(count: int, periodic: bool) -> tuple[np.ndarray, int]:
    """The positions 0, 1, … and the number of the last one; a periodic window leaves out the last sample, which equals the first."""
    return np.arange(count, dtype=np.float64), count if periodic else count - 1


def cosine_sum(count: int, periodic: bool, coefficients: Sequence[float]) -> np.ndarray:
    """``sum of (-1)^k a_k cos(2 pi k n / N)``."""
    n, last = places(count, periodic)
    terms = [(-1) ** k * a * np.cos(2 * math.pi * k * n / max(last, 1)) for k, a in enumerate(coefficients)]
    return np.sum(terms, 0)


def bartlett_values(count: int, periodic: bool) -> np.ndarray:
    n, last = places(count, periodic)
    return 1 - np.abs(2 * n / max(last, 1) - 1)


def kaiser_values(count: int, periodic: bool, beta: float) -> np.ndarray:
    n, last = places(count, periodic)
    return np.i0(beta * np.sqrt(np.maximum(1 - (2 * n / max(last, 1) - 1) ** 2, 0))) / np.i0(beta)


def window(values: Callable[[], np.ndarray], count: int, dtype: DType | None, device: Any, requires_grad: bool) -> Tensor:
    """The window as a tensor; one of a single sample is 1."""
    dtype = dt.of_python(dtype) or get_default_dtype()
    if is_meta(device):
        return with_options(nowhere(lay.contiguous((count,), dtype)), requires_grad)
    found = np.ones(count) if count < 2 else values()
    result = from_array(np.ascontiguousarray(found)).to(dtype)
    return result.requires_grad_() if requires_grad else result


# -- by the names that are the package's -----------------------------------------------------------------------------


def _check(name: str, count: int, dtype: DType | None, layout: Any) -> None:
    if count < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={count}")
    dtype = dt.of_python(dtype)
    if dtype is not None and dtype.category != dt.FLOAT:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {dtype!r}")
    require_strided(layout, name)


def hann_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: DType | None = None,
    layout: Any = strided,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """``sin(pi n / N)^2``: a raised cosine that ends in zeros, with N the length if periodic, else one less.

    Example::

        >>> flambeau.hann_window(4)
        tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    _check("hann_window", window_length, dtype, layout)
    return window(lambda: cosine_sum(window_length, periodic, (0.5, 0.5)), window_length, dtype, device, requires_grad)


def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: DType | None = None,
    layout: Any = strided,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """``alpha - beta cos(2 pi n / N)``: a raised cosine that does not end in zeros."""
    _check("hamming_window", window_length, dtype, layout)
    return window(lambda: cosine_sum(window_length, periodic, (alpha, beta)), window_length, dtype, device, requires_grad)


def blackman_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: DType | None = None,
    layout: Any = strided,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """``0.42 - 0.5 cos(2 pi n / N) + 0.08 cos(4 pi n / N)``."""
    _check("blackman_window", window_length, dtype, layout)
    return window(lambda: cosine_sum(window_length, periodic, (0.42, 0.5, 0.08)), window_length, dtype, device, requires_grad)


def bartlett_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: DType | None = None,
    layout: Any = strided,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """``1 - |2 n / N - 1|``: a triangle that ends in zeros."""
    _check("bartlett_window", window_length, dtype, layout)
    return window(lambda: bartlett_values(window_length, periodic), window_length, dtype, device, requires_grad)


def kaiser_window(
    window_length: int,
    periodic: bool = True,
    beta: float = 12.0,
    *,
    dtype: DType | None = None,
    layout: Any = strided,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """``I0(beta sqrt(1 - (2 n / N - 1)^2)) / I0(beta)``, with the modified Bessel function of order 0."""
    _check("kaiser_window", window_length, dtype, layout)
    return window(lambda: kaiser_values(window_length, periodic, beta), window_length, dtype, device, requires_grad)


PUBLIC = ("bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window")
METHODS = ()
