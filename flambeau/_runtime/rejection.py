"""Samples of gamma, Poisson and binomial distributions, of categories and of few numbers, each as PyTorch's CPU generator gives them.

Each sample takes as many numbers from the stream as its rejections need, so that they are made one after another: by kernels in the
language of ``numbers.py``, whose functions of one sample are below.

Sources: G. Marsaglia and W. W. Tsang, "A simple method for generating gamma variables", 2000; W. Hörmann, "The transformed rejection
method for generating Poisson random variables", 1993, and "The generation of binomial random variates", 1993; M. Matsumoto and
T. Nishimura, "Mersenne Twister", 1998.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from flambeau._runtime.engine import Engine

_STREAM = '''
def twist(state: uint32, begin: int, end: int, shift: int, following: int) -> int:
    """New words from ``begin`` to ``end``, of these, the ones that follow them and those ``shift`` further on."""
    for i in range(begin, end):
        word = (state[i] & 2147483648) | (state[i + following] & 2147483647)
        state[i] = state[i + shift] ^ (word >> 1) ^ ((0 - (word & 1)) & 2567483615)
    return 0


def renew(state: uint32) -> int:
    """New words; returns the place of the first one."""
    twist(state, 0, 227, 397, 1)
    twist(state, 227, 623, -227, 1)
    twist(state, 623, 624, -227, -623)
    return 0


@inline
def tempered(word: int) -> int:
    word = word ^ (word >> 11)
    word = word ^ ((word << 7) & 2636928640)
    word = word ^ ((word << 15) & 4022730752)
    return word ^ (word >> 18)


def next_word(state: uint32) -> int:
    """The next 32 bits. The position among the words is the state's last word."""
    place = state[624]
    if place == 624:
        place = renew(state)
    state[624] = place + 1
    return tempered(state[place])


def uniform(state: uint32):
    """A number in [0, 1): 53 bits of two words, of which the first is the higher one."""
    place = state[624]
    if place == 624:
        place = renew(state)
    high = tempered(state[place])
    place += 1
    if place == 624:
        place = renew(state)
    state[624] = place + 1
    return float(((high << 32) | tempered(state[place])) & 9007199254740991) * 1.1102230246251565e-16


def normal(state: uint32, spare: float64):
    """A sample of the standard normal distribution, by Box and Muller's transform; every second one was kept from the one before."""
    kept = spare[0]
    if kept == kept:
        spare[0] = 0.0 / 0.0
        return kept
    angle = 6.283185307179586 * uniform(state)
    radius = sqrt(-2.0 * log1p(-uniform(state)))
    spare[0] = radius * sin(angle)
    return radius * cos(angle)
'''

_NORMALS = """
def draw_normals(state: uint32, spare: float64, samples: real, count: int, deviation, mean) -> int:
    for i in range(count):
        samples[i] = fma(normal(state, spare), deviation, mean)
    return 0
"""

_PERMUTATION = '''
def draw_permutation(state: uint32, spare: float64, order: int64, count: int) -> int:
    """The numbers from 0 on in random order, by Fisher and Yates's shuffle."""
    for i in range(count):
        order[i] = i
    for i in range(count - 1):
        other = i + next_word(state) % (count - i)
        here = order[i]
        order[i] = order[other]
        order[other] = here
    return 0
'''

_GAMMA = '''
def gamma(state: uint32, spare: float64, alpha):
    """A sample of the gamma distribution of shape ``alpha`` and scale 1."""
    scale = 1.0
    if alpha < 1.0:
        if alpha == 0.0:
            return 0.0
        scale = pow(1.0 - uniform(state), real(1.0 / alpha))
        alpha = real(alpha + 1.0)
    d = real(alpha - 0.3333333432674408)  # less a third in single precision, as PyTorch has it
    c = 1.0 / sqrt(9.0 * d)
    while True:
        x = normal(state, spare)
        y = 1.0 + c * x
        while y <= 0.0:
            x = normal(state, spare)
            y = 1.0 + c * x
        v = y * y * y
        u = 1.0 - uniform(state)
        square = x * x
        if u < 1.0 - 0.0331 * square * square:
            return scale * d * v
        if v != v or log(u) < 0.5 * square + d * (1.0 - v + log(v)):
            return scale * d * v


def draw_gamma(state: uint32, spare: float64, alphas: real, samples: real, count: int, tiny) -> int:
    for i in range(count):
        value = gamma(state, spare, alphas[i])
        samples[i] = tiny if value < tiny else value
    return 0
'''

_POISSON = '''
def poisson(state: uint32, rate):
    """A sample of the Poisson distribution."""
    if rate == 0.0 or rate - rate != 0.0:
        return rate
    if rate < 10.0:
        limit = exp(-rate)
        product = uniform(state)
        count = 0
        while product > limit:
            product *= uniform(state)
            count += 1
        return float(count)
    b = 0.931 + 2.53 * sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    ratio = 0.9277 - 3.6224 / (b - 2.0)
    logarithm = log(rate)
    while True:
        u = uniform(state) - 0.5
        v = uniform(state)
        us = 0.5 - fabs(u)
        k = floor((2.0 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= ratio:
            return k
        if not (k < 0.0 or us < 0.013 and v > us):
            if log(v) + log(inverse_alpha) - log(a / (us * us) + b) <= -rate + k * logarithm - lgamma(k + 1.0):
                return k


def draw_poisson(state: uint32, spare: float64, rates: real, samples: real, count: int) -> int:
    """Returns 0, or the number of the first rate that is none, before anything is drawn."""
    for i in range(count):
        if not rates[i] >= 0.0:
            return i + 1
    for i in range(count):
        samples[i] = poisson(state, rates[i])
    return 0
'''

_BINOMIAL = '''
def binomial(state: uint32, count, probability):
    """A sample of the binomial distribution of ``count`` trials."""
    if count != count or probability != probability:
        return count + probability
    if count <= 0.0 or probability <= 0.0:
        return 0.0
    if probability >= 1.0 or count - count != 0.0:
        return count
    if probability > 0.5:
        return count - binomial(state, count, 1.0 - probability)
    if real(count * probability) >= 10.0:
        return transformed(state, count, probability)
    return inverted(state, count, probability)


def inverted(state: uint32, count, probability):
    """Count how many waiting times fit in."""
    logarithm = log1p(-probability)
    total = 0.0
    found = 0
    while True:
        u = uniform(state)
        total += ceil(log(u) / logarithm) if u > 0.0 else count + 1.0
        if total > count:
            return float(found)
        found += 1


def stirling(k):
    """``log(k!)`` less Stirling's formula for it."""
    if k < 5.0:
        if k < 2.0:
            return 0.0810614667953272 if k < 1.0 else 0.0413406959554092
        if k < 3.0:
            return 0.0276779256849983
        return 0.02079067210376509 if k < 4.0 else 0.0166446911898211
    if k < 10.0:
        if k < 7.0:
            return 0.0138761288230707 if k < 6.0 else 0.0118967099458917
        if k < 8.0:
            return 0.0104112652619720
        return 0.00925546218271273 if k < 9.0 else 0.00833056343336287
    square = (k + 1.0) * (k + 1.0)
    return (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / 1260.0 / square) / square) / (k + 1.0)


def transformed(state: uint32, count, probability):
    """By rejection. What PyTorch computes in the precision of the parameters, before it goes on in float64, is ``real``."""
    mean = real(count * probability)
    other = real(1.0 - probability)
    deviation = real(sqrt(mean * other))
    b = 1.15 + 2.53 * float(deviation)
    a = -0.0873 + 0.0248 * b + 0.01 * probability
    c = mean + 0.5
    ratio = 0.92 - 4.2 / b
    odds = float(real(probability / float(other)))
    alpha = (2.83 + 5.1 / b) * deviation
    m = floor((count + 1.0) * probability)
    while True:
        u = uniform(state) - 0.5
        v = uniform(state)
        us = 0.5 - fabs(u)
        k = floor((2.0 * a / us + b) * u + c)
        if us >= 0.07 and v <= ratio:
            return k
        if not (k < 0.0 or k > count):
            v = log(v * alpha / (a / (us * us) + b))
            bound = (m + 0.5) * log((m + 1.0) / (odds * (count - m + 1.0))) + (count + 1.0) * log((count - m + 1.0) / (count - k + 1.0))
            bound = bound + (k + 0.5) * log(odds * (count - k + 1.0) / (k + 1.0)) + stirling(m) + stirling(count - m)
            if v <= bound - stirling(k) - stirling(count - k):
                return k


def draw_binomial(state: uint32, spare: float64, counts: real, probabilities: real, samples: real, count: int) -> int:
    for i in range(count):
        samples[i] = binomial(state, counts[i], probabilities[i])
    return 0
'''

_CATEGORIES = '''
def draw_categories(
    state: uint32, spare: float64, weights: real, sums: real, chosen: int64, rows: int, categories: int, samples: int
) -> int:
    """Search each row's running sums, of which ``sums`` has room for one row, for uniform samples.

    Returns 0; or 1 if a weight is negative or not finite, 2 if a row has no positive one, before anything is drawn.
    """
    for row in range(rows):
        wrong = 0
        positive = 0
        for i in range(categories):
            weight = weights[row * categories + i]
            wrong += 0 if weight >= 0.0 else 1
            wrong += 1 if weight == 1.0 / 0.0 else 0
            positive += 1 if weight > 0.0 else 0
        if wrong > 0:
            return 1
        if positive == 0:
            return 2
    for row in range(rows):
        total = real(0.0)
        for i in range(categories):
            total = total + real(weights[row * categories + i])
            sums[i] = total
        for i in range(samples):
            u = uniform(state)
            low = 0
            high = categories - 1
            while low < high:
                middle = (low + high) >> 1
                if real(sums[middle]) / total < u:
                    low = middle + 1
                else:
                    high = middle
            chosen[row * samples + i] = low
    return 0
'''

_SOURCES = {
    "normals": _NORMALS,
    "permutation": _PERMUTATION,
    "gamma": _GAMMA,
    "poisson": _POISSON,
    "binomial": _BINOMIAL,
    "categories": _CATEGORIES,
}


@cache
def _kernel(name: str, real: str) -> Callable[..., int]:
    from flambeau._runtime import numbers

    return numbers.build(re.sub(r"\breal\b(?!`)", real, _STREAM + _SOURCES[name]), f"draw_{name}")


def draw(engine: Engine, name: str, real: str, *arguments: float) -> int:
    """Run ``draw_…``: what it takes after the stream, as addresses (of ``float32`` or ``float64`` where a parameter is real) and numbers."""
    return engine.lend(_kernel(name, real), *arguments)
