"""The loops behind random numbers, against their definitions in Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from flambeau._runtime import random_kernels as kernels
from flambeau._runtime.random_kernels import WORDS


def some_words(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 1 << 32, n, np.uint32)


def some_stream(n: int) -> tuple[np.ndarray, np.ndarray]:
    """A state of the twister, and the next words of its stream, of which the first two are zeros."""
    state = np.append(some_words(WORDS), np.uint32(0))
    state[:2] = 0
    words = np.empty(n, np.uint32)
    kernels.run("words", state.copy(), words, end=n)
    return state, words


def some_numbers(n: int) -> np.ndarray:
    """In (0, 1)."""
    return np.random.default_rng(n).random(n) * (1 - 1e-9) + 1e-10


def low53(words: np.ndarray) -> list[int]:
    return [(high << 32 | low) & (1 << 53) - 1 for high, low in words.reshape(-1, 2).tolist()]


def test_the_twister_is_numpys() -> None:
    for seed in (0, 1, 2**32 - 1):
        state = np.empty(WORDS + 1, np.uint32)
        state[0], state[WORDS] = seed, WORDS
        kernels.run("seed", state, end=WORDS - 1)
        expected = np.random.RandomState(seed)
        assert (state[:WORDS] == expected.get_state()[1]).all()
        for n in (1, 16, 623, 1, 624, 40, 5000, 7):
            words = np.empty(n, np.uint32)
            kernels.run("words", state, words, end=n)
            assert (words == np.frombuffer(expected.bytes(4 * n), np.uint32)).all()


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 100, 3000])
def test_words_to_float32(n: int) -> None:
    state, words = some_stream(n)
    samples = np.empty(n, np.float32)
    kernels.run("uniform32", state, samples, a=0.7, b=-0.3, end=n)
    scale, offset = np.float32(0.7), np.float32(-0.3)
    exact = [Fraction(int(word) & 0xFFFFFF, 1 << 24) * Fraction(float(scale)) + Fraction(float(offset)) for word in words]
    nearest = np.array([float(value) for value in exact]).astype(np.float32)
    assert (samples == nearest).all()


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 100, 3000])
def test_words_to_float64(n: int) -> None:
    state, words = some_stream(2 * n)
    samples = np.empty(n, np.float64)
    kernels.run("uniform64", state, samples, a=0.7, b=-0.3, end=n)
    exact = [Fraction(value, 1 << 53) * Fraction(0.7) + Fraction(-0.3) for value in low53(words)]
    assert samples.tolist() == [float(value) for value in exact]


@pytest.mark.parametrize("n", [1, 8, 13, 1000, 3000])
@pytest.mark.parametrize("threshold", [0, 1, 2**52, 2**53])
def test_words_below_a_threshold(n: int, threshold: int) -> None:
    state, words = some_stream(2 * n)
    assert not words[:2].any()
    below = np.empty(n, np.bool_)
    kernels.run("below", state, below, a=threshold, end=n)
    assert below.tolist() == [value < threshold for value in low53(words)]


def test_multiply_add_rounds_once() -> None:
    x = some_numbers(101)
    result = x.copy()
    kernels.run("fma", result, a=1 / 3, b=0.1)
    exact = [float(Fraction(value) * Fraction(1 / 3) + Fraction(0.1)) for value in x.tolist()]
    assert result.tolist() == exact
    assert (x * (1 / 3) + 0.1 != exact).any()


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("log", math.log),
        ("exp", math.exp),
        ("exponential", lambda x: math.log1p(-x) * 0.7),
        ("cauchy", lambda x: float(Fraction(math.tan(math.pi * (x - 0.5))) * Fraction(0.7) + Fraction(0.3))),
    ],
)
def test_functions_are_the_c_librarys(name: str, formula: Callable[[float], float]) -> None:
    x = some_numbers(500)
    result = x.copy()
    kernels.run(name, result, a=0.7, b=0.3)
    assert result.tolist() == [formula(value) for value in x.tolist()]


def test_normal_samples_pair_by_pair() -> None:
    x = some_numbers(200)
    result = x.copy()
    kernels.run("pairs64", result, end=100)
    for u, v, first, second in zip(x[::2].tolist(), x[1::2].tolist(), result[::2].tolist(), result[1::2].tolist(), strict=True):
        radius, angle = math.sqrt(-2 * math.log1p(-v)), 2 * math.pi * u
        assert (first, second) == (radius * math.cos(angle), radius * math.sin(angle))


def test_normal_samples_in_blocks() -> None:
    x = some_numbers(48)
    result = x.copy()
    kernels.run("normal64", result, a=2.0, b=0.0, end=24)
    for block, samples in zip(x.reshape(3, 2, 8).tolist(), result.reshape(3, 2, 8).tolist(), strict=True):
        for u, v, first, second in zip(*block, *samples, strict=True):
            radius, angle = math.sqrt(-2 * math.log(1 - u)), 2 * math.pi * v
            assert (first, second) == (2 * radius * math.cos(angle), 2 * radius * math.sin(angle))


@pytest.mark.parametrize("blocks", [0, 1, 2, 3, 1001])
def test_normal_samples_in_float32(blocks: int) -> None:
    words = some_words(16 * blocks)
    if blocks:
        words[:3], words[8:11] = [0, 0xFFFFFF, 1], [0, 0x400000, 0xFFFFFF]
    result = words.copy()
    kernels.run("normal32", result, a=2.0, b=0.5, end=blocks)
    u, v = ((words & 0xFFFFFF) / 2**24).reshape(-1, 2, 8).transpose(1, 0, 2)
    radius, angle = np.sqrt(-2 * np.log(1 - u)), 2 * np.pi * v
    expected = 2 * np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1) + 0.5
    np.testing.assert_allclose(result.view(np.float32), expected.ravel(), rtol=5e-7, atol=5e-6)


def test_rounding_to_bfloat16() -> None:
    bits = np.concatenate([some_words(1000), np.arange(0x3F7F0000, 0x3F830000, 0x1111, dtype=np.uint32)])
    special = np.array([0x3F808000, 0x3F818000, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x7F800001, 0xFFFFFFFF, 0x80000000, 1], np.uint32)
    result = np.empty(special.size, np.uint16)
    kernels.run("bfloat16", special, result)
    assert result.tolist() == [0x3F80, 0x3F82, 0x7F80, 0x7F80, 0xFF80, 0x7FC0, 0x7FC0, 0x8000, 0]
    bits = bits[(bits & 0x7F800000) != 0x7F800000]
    result = np.empty(bits.size, np.uint16)
    kernels.run("bfloat16", bits, result)
    for given, rounded in zip(bits.tolist(), result.tolist(), strict=True):
        distance = abs((rounded << 16) - given)
        assert distance < 0x8000 or (distance == 0x8000 and rounded % 2 == 0)


def test_narrowing() -> None:
    x = np.concatenate([some_numbers(100), [1e300, -1e300, 1e-300, np.inf]])
    result = np.empty(x.size, np.float32)
    kernels.run("narrow", x, result)
    with np.errstate(over="ignore"):
        assert (result == x.astype(np.float32)).all()


DRAWS = """
import hashlib
from flambeau._runtime import random
from flambeau._types import dtype as dt
engine = random.Engine(3)
draws = [
    random.normal(engine, 333),
    random.uniform(engine, 99, 0.1, 0.9),
    random.bernoulli(engine, 99, 0.3),
    random.normal(engine, 99, 0.1, 0.2, dt.float64),
]
digest = hashlib.sha256(b"".join(draw.tobytes() for draw in draws)).hexdigest()
"""


@pytest.mark.parametrize("cpu", ["x86-64-v2", "x86-64-v3"])
def test_all_processors_draw_the_same(cpu: str, python: Callable[..., str]) -> None:
    here: dict[str, str] = {}
    exec(DRAWS, here)
    assert python(DRAWS + "print(digest)", FLAMBEAU_CPU=cpu).strip() == here["digest"]
