"""How Fourier transforms of a length are divided, and the tables of factors that their kernels read.

Small prime factors become passes; a transform that does not stay in the second-level cache is two shorter ones over a matrix; and a length with a
large prime factor is a convolution of another length (Bluestein, "A linear filtering approach to the computation of the discrete Fourier
transform", 1970). All of this follows from the length alone, so that results have the same bits on every machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

LONG = 1 << 15
"""Longer transforms are two shorter ones: the planes of a longer one would leave little of a second-level cache."""
LARGEST_PRIME = 31
_RADICES = (*range(2, 17), 17, 19, 23, 29, 31)
_LANES = 16
"""What is counted as a vector here, however long one is: the bits of results shall not depend on that."""
FINE = 16
_SHORT = 16


@dataclass(frozen=True)
class Division:
    """How a transform of n complex numbers is divided: exactly one of these.

    Attributes:
        radices: of the passes of one kernel
        halves: the lengths of two transforms over a matrix
        convolution: the length of a convolution
    """

    radices: tuple[int, ...] = ()
    halves: tuple[int, int] = (0, 0)
    convolution: int = 0

    @property
    def is_direct(self) -> bool:
        return not self.convolution and not any(self.halves)


@lru_cache(maxsize=4096)
def division(n: int) -> Division:
    if _largest_prime(n) > LARGEST_PRIME:
        return Division(convolution=_smooth(2 * n - 1))
    if n > LONG:
        first = _middle(n)
        if first:
            return Division(halves=(first, n // first))
        return Division(convolution=_smooth(2 * n - 1))
    return Division(radices=_best(n))


def folds(n: int) -> bool:
    """Whether a transform of n real numbers is one of ``n / 2`` complex numbers, which takes one rounding more than one of n: short ones have it of n."""
    return n % 2 == 0 and n > _SHORT and division(n // 2).is_direct


def fills_rows(n: int, radices: tuple[int, ...]) -> bool:
    """Whether numbers of one row can be the lanes of its passes."""
    return n >= _LANES * _LANES and n // radices[0] >= _LANES and n // radices[-1] >= _LANES


def is_short(radices: tuple[int, ...]) -> bool:
    """Whether a row is done in two passes whose lanes, of it and of its neighbours, are three quarters full at least."""
    return len(radices) == 2 and max(radices) <= _LANES and all(_shared(radix) >= 0.75 for radix in radices) and prod(radices) >= 2 * _LANES


def _shared(count: int) -> float:
    """The part of vectors that so many neighbours of each of several rows fill."""
    return 1.0 if _LANES % count == 0 else _filled(count)


def _largest_prime(n: int) -> int:
    largest, p = 1, 2
    while p * p <= n:
        while n % p == 0:
            largest, n = p, n // p
        p += 1
    return max(largest, n) if n > 1 else largest


def _smooth(least: int) -> int:
    """The least length of at least so many, and so long that numbers of a row fill vectors, that is ``2 ** k`` times a small odd number."""
    least = max(least, _LANES * _LANES)
    return min(odd << (-(-least // odd) - 1).bit_length() for odd in (1, 3, 5, 7, 9, 15))


def _middle(n: int) -> int:
    """The divisor next to the root of n of which both it and the quotient are short, or 0."""
    for first in range(math.isqrt(n), 0, -1):
        if n % first == 0:
            return first if n // first <= LONG else 0
    return 0


# -- radices -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _operations(radix: int) -> float:
    """About how many additions and multiplications of reals a number takes in a butterfly."""
    if radix in (1, 2, 4):
        return (0.0, 2.0, 0.0, 4.0)[radix - 1]
    prime = next((p for p in range(2, math.isqrt(radix) + 1) if radix % p == 0), radix)
    if prime == radix:
        return 2.0 * radix + 2
    first = 4 if radix % 4 == 0 else prime
    return _operations(first) + _operations(radix // first) + (1.5 if math.gcd(first, radix // first) > 1 else 0.0)


def _filled(count: int) -> float:
    """The part of vectors that so many neighbours fill."""
    return count / (-(-count // _LANES) * _LANES)


@lru_cache(maxsize=4096)
def _best(n: int) -> tuple[int, ...]:
    """The radices whose passes are expected to take the least time, with those of a row in mind if it is long."""
    pairs = [(a, n // a) for a in range(2, _LANES + 1) if n % a == 0 and is_short((a, n // a))]
    if pairs:
        # Alike, for a butterfly of 16 takes more registers than there are: 512 rows of 64 in 4 and 16 took 20 us, in 8 and 8 they take 15.
        return min(pairs, key=lambda pair: (max(pair), sum(_operations(radix) / _shared(n // radix) for radix in pair)))
    rows = n >= _LANES * _LANES
    known: dict[int, tuple[float, tuple[int, ...]]] = {n: (0.0, ())}

    def follow(done: int) -> tuple[float, tuple[int, ...]]:
        if done not in known:
            left = n // done
            choices = []
            for radix in _RADICES:
                if left % radix == 0:
                    cost = 0.3 + (_operations(radix) + (4.0 if radix < left else 0.0)) / 32
                    if rows and done == 1:
                        cost = (cost + 8 / radix) / _filled(left // radix)
                    elif rows:
                        cost /= _filled(done)
                    rest, radices = follow(done * radix)
                    choices.append((cost + rest, (radix, *radices)))
            known[done] = min(choices)
        return known[done]

    return follow(1)[1]


# -- tables --------------------------------------------------------------------------------------------------------------


def roots(n: int, powers: np.ndarray) -> np.ndarray:
    """``exp(-2 pi i powers / n)`` in complex128, from angles of at most an eighth of a turn."""
    quarters, rest = np.divmod(4 * (powers % n), n)
    late = 2 * rest > n
    angle = np.where(late, n - rest, rest) * (np.pi / 2 / n)
    c, s = np.cos(angle), np.sin(angle)
    c, s = np.where(late, s, c), np.where(late, c, s)
    return (c - 1j * s) * np.array([1, -1j, -1, 1j])[quarters]


@lru_cache(maxsize=1024)
def sections(n: int, real: bool) -> tuple[dict[str, int], int]:
    """Where what stands in the table of a length: real numbers before each section, and in all.

    The table of a ``real`` transform is that of ``n / 2`` complex numbers, with factors for what is real; n is even then.
    """
    places: dict[str, int] = {}
    total = 0
    for name, count in _sizes(n // 2 if real else n):
        places[name] = total
        total += count
    if real:
        places["fold"] = total
        total += 2 * (n // 4 + 1)
    return places, total


def _sizes(n: int) -> list[tuple[str, int]]:
    """The sections of a length's table, and how many real numbers each has (an even number)."""
    how = division(n)
    if how.convolution:
        inner = [("inner." + name, count) for name, count in _sizes(how.convolution)]
        return [("chirp", 2 * n), ("spectrum", 2 * how.convolution), *inner]
    if any(how.halves):
        first, second = how.halves
        parts = [(f"{label}.{name}", count) for label, size in (("one", first), ("two", second)) for name, count in _sizes(size)]
        return [*parts, ("coarse", 2 * -(-second // FINE) * first), ("fine", 2 * FINE * first)]
    found, left = [], n
    if fills_rows(n, how.radices) or is_short(how.radices):
        found.append(("first", 2 * (n - n // how.radices[0])))
    for number, radix in enumerate(how.radices[:-1]):
        found.append((f"pass{number}", 2 * (left - left // radix)))
        left //= radix
    return found


def table(n: int, real: bool) -> np.ndarray:
    """The numbers of a length's table, complex128."""
    parts = _numbers(n // 2 if real else n)
    if real:
        fold = roots(n, np.arange(n // 4 + 1))
        parts.append(np.concatenate([fold.real, fold.imag]).view(np.complex128))
    return np.concatenate(parts) if parts else np.zeros(0, np.complex128)


def _numbers(n: int) -> list[np.ndarray]:
    how = division(n)
    if how.convolution:
        return [*_chirp(n, how.convolution), *_numbers(how.convolution)]
    if any(how.halves):
        first, second = how.halves
        k = np.arange(first)
        coarse = roots(n, np.arange(0, second, FINE)[:, None] * k)
        fine = roots(n, k[:, None] * np.arange(FINE))
        planes = np.stack([fine.real, fine.imag], 1)
        return [*_numbers(first), *_numbers(second), coarse.reshape(-1), planes.reshape(-1).view(np.complex128)]
    found, left = [], n
    for number, radix in enumerate(how.radices[:-1]):
        factors = roots(left, np.arange(left // radix)[:, None] * np.arange(1, radix))
        if not number and (fills_rows(n, how.radices) or is_short(how.radices)):
            planes = np.stack([factors.real.T, factors.imag.T], 1)
            found.append(np.ascontiguousarray(planes).reshape(-1).view(np.complex128))
        found.append(factors.reshape(-1))
        left //= radix
    return found


def _chirp(n: int, length: int) -> list[np.ndarray]:
    """``exp(-pi i j² / n)``, and the transform of its conjugate, laid around 0, over ``length``."""
    j = np.arange(n)
    chirp = roots(2 * n, j * j % (2 * n))
    around = np.zeros(length, np.complex128)
    around[:n] = chirp.conj()
    around[length - n + 1 :] = chirp[1:][::-1].conj()
    return [chirp, np.fft.fft(around) / length]
