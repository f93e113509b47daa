"""Samples of gamma, Poisson and binomial distributions, each as PyTorch's CPU generator gives them.

Each sample takes as many numbers from the stream as its rejections need, so that they are made one after another.

Sources: G. Marsaglia and W. W. Tsang, "A simple method for generating gamma variables", 2000; W. Hörmann, "The transformed rejection
method for generating Poisson random variables", 1993, and "The generation of binomial random variates", 1993.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, cos, floor, lgamma, log, log1p, pi, sin, sqrt
from math import exp as exponential

import numpy as np

from flambeau._runtime.engine import Engine

_BLOCK = 1024
_SCALE = 2.0**-53
_STIRLING = (
    0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509, 0.0166446911898211,
    0.0138761288230707, 0.0118967099458917, 0.0104112652619720, 0.00925546218271273, 0.00833056343336287,
)  # fmt: skip
"""``log(k!)`` less Stirling's formula for it, for k below 10."""


class Stream:
    """Reads an engine's numbers ahead in blocks, and takes from the engine exactly those that were used."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.ahead = engine.clone()
        self.block: list[float] = []
        self.place = 0
        self.used = 0
        self.spare = engine.next_normal

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.engine.words32(2 * self.used)
        self.engine.next_normal = self.spare

    def uniform(self) -> float:
        """A number in [0, 1), of 53 bits."""
        if self.place == len(self.block):
            self.block = ((self.ahead.words64(_BLOCK) & np.uint64((1 << 53) - 1)) * _SCALE).tolist()
            self.place = 0
        self.place += 1
        self.used += 1
        return self.block[self.place - 1]

    def normal(self) -> float:
        """A sample of the standard normal distribution, by Box and Muller's transform; every second one was kept from the one before."""
        if self.spare is not None:
            spare, self.spare = self.spare, None
            return spare
        angle, radius = 2 * pi * self.uniform(), sqrt(-2 * log1p(-self.uniform()))
        self.spare = radius * sin(angle)
        return radius * cos(angle)


def gamma(stream: Stream, alpha: float) -> float:
    """A sample of the gamma distribution of shape ``alpha`` and scale 1."""
    scale = 1.0
    if alpha < 1:
        if alpha == 0:
            return 0.0
        scale = (1 - stream.uniform()) ** (1 / alpha)
        alpha += 1
    d = alpha - 1 / 3
    c = 1 / sqrt(9 * d)
    while True:
        y = 0.0
        while y <= 0:
            x = stream.normal()
            y = 1 + c * x
        v = y * y * y
        u = 1 - stream.uniform()
        square = x * x
        if u < 1 - 0.0331 * square * square or log(u) < 0.5 * square + d * (1 - v + log(v)):
            return scale * d * v


def poisson(stream: Stream, rate: float) -> float:
    """A sample of the Poisson distribution."""
    if rate == 0:
        return 0.0
    if rate < 10:
        limit, product, count = exponential(-rate), stream.uniform(), 0
        while product > limit:
            product *= stream.uniform()
            count += 1
        return float(count)
    root, logarithm = sqrt(rate), log(rate)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    ratio = 0.9277 - 3.6224 / (b - 2)
    while True:
        u = stream.uniform() - 0.5
        v = stream.uniform()
        us = 0.5 - abs(u)
        k = floor((2 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= ratio:
            return float(k)
        if k < 0 or (us < 0.013 and v > us):
            continue
        if log(v) + log(inverse_alpha) - log(a / (us * us) + b) <= -rate + k * logarithm - lgamma(k + 1):
            return float(k)


def binomial(stream: Stream, count: float, probability: float) -> float:
    """A sample of the binomial distribution of ``count`` trials."""
    if count <= 0 or probability <= 0:
        return 0.0
    if probability >= 1:
        return count
    if probability > 0.5:
        return count - binomial(stream, count, 1 - probability)
    return _transformed(stream, count, probability) if count * probability >= 10 else _inverted(stream, count, probability)


def _inverted(stream: Stream, count: float, probability: float) -> float:
    """Count how many waiting times fit in."""
    logarithm = log1p(-probability)
    total, found = 0, 0
    while True:
        u = stream.uniform()
        total += ceil(log(u) / logarithm) if u > 0 else count + 1
        if total > count:
            return float(found)
        found += 1


def _stirling(k: float) -> float:
    if k < len(_STIRLING):
        return _STIRLING[int(k)]
    square = (k + 1) * (k + 1)
    return (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (k + 1)


def _transformed(stream: Stream, count: float, probability: float) -> float:
    deviation = sqrt(count * probability * (1 - probability))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * probability
    c = count * probability + 0.5
    ratio = 0.92 - 4.2 / b
    odds = probability / (1 - probability)
    alpha = (2.83 + 5.1 / b) * deviation
    m = floor((count + 1) * probability)
    while True:
        u = stream.uniform() - 0.5
        v = stream.uniform()
        us = 0.5 - abs(u)
        k = floor((2 * a / us + b) * u + c)
        if us >= 0.07 and v <= ratio:
            return float(k)
        if k < 0 or k > count:
            continue
        v = log(v * alpha / (a / (us * us) + b))
        bound = (
            (m + 0.5) * log((m + 1) / (odds * (count - m + 1))) + (count + 1) * log((count - m + 1) / (count - k + 1))
            + (k + 0.5) * log(odds * (count - k + 1) / (k + 1)) + _stirling(m) + _stirling(count - m) - _stirling(k) - _stirling(count - k)
        )  # fmt: skip
        if v <= bound:
            return float(k)


def draw(engine: Engine, sample: Callable[..., float], *parameters: np.ndarray) -> np.ndarray:
    """A sample for each element of the parameters, in order, in float64."""
    with Stream(engine) as stream:
        return np.array(
            [sample(stream, *each) for each in zip(*(array.astype(np.float64).ravel().tolist() for array in parameters), strict=True)]
        )
