"""Window functions by SciPy's names: symmetric by default, periodic with ``sym=False``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops.windows import bartlett_values, cosine_sum, kaiser_values, places
from flambeau._ops.windows import window as _window
from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType
from flambeau._types.promotion import get_default_dtype
from flambeau._types.strided import require_strided, strided

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor

__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming", "hann", "kaiser", "nuttall",
]  # fmt: skip


def _made(
    name: str,
    values: Callable[[int, bool], np.ndarray],
    M: int,
    sym: bool,
    dtype: DType | None,
    layout: Any,
    device: Any,
    requires_grad: bool,
) -> Tensor:
    dtype = dtype or get_default_dtype()
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    require_strided(layout, name, ValueError)
    if dtype not in (dt.float32, dt.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype!r}")
    return _window(lambda: values(M, not sym), M, dtype, device, requires_grad)


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: DType | None = None, layout: Any = strided,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``exp(-|n - center| / tau)``; the centre is the middle, and only a periodic window may have another."""
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")

    def values(count: int, periodic: bool) -> np.ndarray:
        n, last = places(count, periodic)
        return np.exp(-np.abs(n - (last / 2 if center is None else center)) / tau)

    return _made("exponential", values, M, sym, dtype, layout, device, requires_grad)


def cosine(
    M: int, *, sym: bool = True, dtype: DType | None = None, layout: Any = strided, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """``sin(pi (n + 1/2) / M)``: half a wave of the sine."""

    def values(count: int, periodic: bool) -> np.ndarray:
        n, last = places(count, periodic)
        return np.sin(math.pi * (n + 0.5) / (last + 1))

    return _made("cosine", values, M, sym, dtype, layout, device, requires_grad)


def gaussian(
    M: int, *, std: float = 1.0, sym: bool = True, dtype: DType | None = None, layout: Any = strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``exp(-((n - middle) / std)^2 / 2)``."""
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")

    def values(count: int, periodic: bool) -> np.ndarray:
        n, last = places(count, periodic)
        return np.exp(-(((n - last / 2) / std) ** 2) / 2)

    return _made("gaussian", values, M, sym, dtype, layout, device, requires_grad)


def kaiser(
    M: int, *, beta: float = 12.0, sym: bool = True, dtype: DType | None = None, layout: Any = strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``I0(beta sqrt(1 - (2 n / N - 1)^2)) / I0(beta)``, with the modified Bessel function of order 0."""
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    return _made("kaiser", lambda count, periodic: kaiser_values(count, periodic, beta), M, sym, dtype, layout, device, requires_grad)


def hamming(
    M: int, *, sym: bool = True, dtype: DType | None = None, layout: Any = strided, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """``0.54 - 0.46 cos(2 pi n / N)``."""
    return general_hamming(M, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def hann(
    M: int, *, sym: bool = True, dtype: DType | None = None, layout: Any = strided, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """``sin(pi n / N)^2``."""
    return general_hamming(M, alpha=0.5, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def blackman(
    M: int, *, sym: bool = True, dtype: DType | None = None, layout: Any = strided, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """``0.42 - 0.5 cos(2 pi n / N) + 0.08 cos(4 pi n / N)``."""
    return general_cosine(M, a=(0.42, 0.5, 0.08), sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def bartlett(
    M: int, *, sym: bool = True, dtype: DType | None = None, layout: Any = strided, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """``1 - |2 n / N - 1|``: a triangle."""
    return _made("bartlett", bartlett_values, M, sym, dtype, layout, device, requires_grad)


def general_cosine(
    M: int, *, a: Iterable[float], sym: bool = True, dtype: DType | None = None, layout: Any = strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``sum of (-1)^k a_k cos(2 pi k n / N)``."""
    if not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    coefficients = tuple(a)
    if not coefficients:
        raise ValueError("Coefficients cannot be empty")
    return _made(
        "general_cosine", lambda count, periodic: cosine_sum(count, periodic, coefficients), M, sym, dtype, layout, device, requires_grad
    )


def general_hamming(
    M: int, *, alpha: float = 0.54, sym: bool = True, dtype: DType | None = None, layout: Any = strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``alpha - (1 - alpha) cos(2 pi n / N)``."""
    return general_cosine(M, a=(alpha, 1.0 - alpha), sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def nuttall(
    M: int, *, sym: bool = True, dtype: DType | None = None, layout: Any = strided, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Nuttall's four cosines with the lowest side lobes (Nuttall, 1981)."""
    return general_cosine(
        M, a=(0.3635819, 0.4891775, 0.1365995, 0.0106411), sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad
    )
