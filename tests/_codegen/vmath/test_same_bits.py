"""A result depends on neither the width of vectors nor the instruction set."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flambeau._codegen import vmath
from tests._codegen.elementwise import run_lanes

UNARY = [
    *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sigmoid", "silu", "tanh", "sinh", "cosh", "asinh", "acosh", "atanh"),
    *("sin", "cos", "tan", "sinpi", "asin", "acos", "atan", "erf", "erfc", "erfinv", "lgamma", "digamma", "i0", "i0e"),
    *("i1", "i1e", "gelu", "ndtr"),
]
BINARY = ["pow", "atan2", "hypot"]


def _arguments(precision: type) -> np.ndarray:
    random = np.random.default_rng(3)
    bits = random.integers(0, 1 << 64, 200, dtype=np.uint64).view(np.float64 if precision is np.float64 else np.float32)
    return np.concatenate([bits, random.normal(size=200) * 5, random.uniform(-1, 1, 112)]).astype(precision)[:512]


def _bits(name: str, precision: type, width: int) -> bytes:
    x = _arguments(precision)
    arrays = [x] if name in UNARY else [x, x[::-1].copy()]
    result = run_lanes(getattr(vmath, name), *arrays, width=width)
    return np.where(np.isnan(result), np.nan, result).astype(precision).tobytes()  # one NaN is as good as another


def digest() -> str:
    """Of all functions' results; what a process with another instruction set prints."""
    state = hashlib.sha256()
    for name in [*UNARY, *BINARY]:
        for precision in (np.float32, np.float64):
            state.update(_bits(name, precision, 8))
    return state.hexdigest()


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_widths_agree(name, precision):
    first, *others = [_bits(name, precision, width) for width in (1, 4, 8, 16)]
    assert all(other == first for other in others)


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="levels of x86-64")
@pytest.mark.parametrize("level", ["x86-64-v2", "x86-64-v3"])
def test_instruction_sets_agree(level):
    root = Path(__file__).parents[3]
    environment = {**os.environ, "FLAMBEAU_CPU": level, "PYTHONPATH": str(root)}
    program = "from tests._codegen.vmath.test_same_bits import digest; print(digest())"
    other = subprocess.run([sys.executable, "-W", "ignore", "-c", program], env=environment, cwd=root, capture_output=True, text=True)
    assert other.stdout.strip() == digest(), other.stderr
