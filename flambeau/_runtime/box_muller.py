"""Box and Muller's transform in float32, bit for bit as PyTorch's AVX2 kernel computes it.

That kernel uses the single-precision ``log``, ``sin`` and ``cos`` of the Cephes library (S. Moshier, netlib.org/cephes), whose
multiplications and additions the compiler has fused wherever one feeds the other. NumPy has no fused multiply-add: here the
product and the sum are taken in float64, where the product of two float32 numbers is exact, and rounded to float32. The sum
may thus be rounded twice, which shows about once in 2**29 times.
"""

from __future__ import annotations

import math

import numpy as np

_LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
"""``log(1 + x) = x - x**2/2 + x**3 P(x)`` for sqrt(1/2) <= 1 + x < sqrt(2)."""
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
_SQRT_HALF = np.float32(0.707106781186547524)

_SIN = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
"""``sin x = x + x**3 P(x**2)`` for |x| <= pi/4."""
_COS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
"""``cos x = 1 - x**2/2 + x**4 P(x**2)`` for |x| <= pi/4."""
_QUARTER_PI = (0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8)
"""pi/4 in three parts."""
_FOUR_OVER_PI = np.float32(1.27323954473516)
_TWO_PI = np.float32(2 * math.pi)

_EXPONENT = np.int32(0x7F800000)
_HALF_BITS = np.int32(0x3F000000)


def box_muller(uniforms: np.ndarray, mean: float = 0.0, std: float = 1.0) -> np.ndarray:
    """Normal samples of blocks of 16 uniform ones in [0, 1): the first 8 of a block make radii, the others angles.

    ``sqrt(-2 log(1 - u)) cos(2 pi v)`` takes the place of u, and the same with ``sin`` that of v.

    Args:
        uniforms: float32, flat, a multiple of 16 long
    """
    halves = uniforms.view("V32")  # 8 numbers
    radius = np.sqrt(np.float32(-2.0) * _log(np.float32(1.0) - halves[0::2].copy().view(np.float32)))
    cosine, sine = _cos_sin(_TWO_PI * halves[1::2].copy().view(np.float32))
    normals = np.empty_like(uniforms)
    halves = normals.view("V32")
    halves[0::2] = _scaled(cosine * radius, mean, std).view("V32")
    halves[1::2] = _scaled(sine * radius, mean, std).view("V32")
    return normals


def _scaled(sample: np.ndarray, mean: float, std: float) -> np.ndarray:
    if mean == 0 and std == 1:
        return sample + np.float32(0.0)  # a negative zero becomes positive
    return _fma(sample.astype(np.float64), std, mean)


def _fma(x: np.ndarray, y: np.ndarray | float, z: np.ndarray | float) -> np.ndarray:
    """``x y + z`` of float32 numbers held in float64 (``x`` is overwritten)."""
    x *= y if isinstance(y, np.ndarray) else float(np.float32(y))
    x += z if isinstance(z, np.ndarray) else float(np.float32(z))
    return x.astype(np.float32)


def _polynomial(x: np.ndarray, coefficients: tuple[float, ...]) -> np.ndarray:
    """Horner's scheme in fused steps, highest power first; ``x`` is held in float64."""
    value = x * float(np.float32(coefficients[0]))
    for index, coefficient in enumerate(coefficients[1:]):
        if index:
            value *= x
        value += float(np.float32(coefficient))
        value = value.astype(np.float32).astype(np.float64)
    return value


def _log(u: np.ndarray) -> np.ndarray:
    """The logarithm of float32 numbers in (0, 1]."""
    bits = u.view(np.int32)
    exponent = ((bits >> np.int32(23)) - np.int32(126)).astype(np.float32)
    x = (bits & ~_EXPONENT | _HALF_BITS).view(np.float32)  # in [1/2, 1)
    small = x < _SQRT_HALF
    exponent -= small
    x = x - np.float32(1.0) + np.where(small, x, np.float32(0.0))
    square = x * x
    wide = x.astype(np.float64)
    cube = _polynomial(wide, _LOG).astype(np.float32) * x
    exponent64 = exponent.astype(np.float64)
    low = _fma(cube.astype(np.float64), square, exponent * np.float32(_LN2_LOW))
    low = _fma(square.astype(np.float64), -0.5, low)
    return _fma(exponent64, _LN2_HIGH, x + low)


def _cos_sin(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of float32 numbers in [0, 2 pi]."""
    octant = (angle * _FOUR_OVER_PI).astype(np.int32)
    octant += octant & np.int32(1)  # to the next even one
    wide_octant = octant.astype(np.float64)
    x = angle
    for part in _QUARTER_PI:
        x = _fma(x.astype(np.float64), 1.0, wide_octant * -float(np.float32(part)))
    square = x * x
    wide = square.astype(np.float64)
    cosine = _polynomial(wide, _COS).astype(np.float32) * square
    cosine = _fma(cosine.astype(np.float64), wide, square * np.float32(-0.5)) + np.float32(1.0)
    sine = _polynomial(wide, _SIN).astype(np.float32) * square
    sine = _fma(sine.astype(np.float64), x, x)
    swapped = (octant & np.int32(2)).astype(np.bool_)
    sign_bit = octant << np.int32(29)
    negative_sine = sign_bit & np.int32(-0x80000000)
    negative_cosine = (sign_bit + (octant << np.int32(30))) & np.int32(-0x80000000)
    results = np.where(swapped, sine, cosine), np.where(swapped, cosine, sine)
    for result, sign in zip(results, (negative_cosine, negative_sine), strict=True):
        bits = result.view(np.int32)
        bits ^= sign
    return results
