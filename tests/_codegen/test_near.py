"""Gathers along a row by a table: whatever it holds, in every dtype, whether its lanes lie near each other or not."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import flambeau
from flambeau._ops.resampling import PICK, Rule

ROOT = Path(__file__).resolve().parents[2]
RANDOM = np.random.default_rng(0)
SIZE = 50
TABLES = {
    "side by side": np.arange(37),
    "twice each": np.arange(70) // 2,
    "every other": np.arange(25) * 2,
    "backwards": np.arange(49, -1, -1),
    "mirrored at both ends": np.pad(np.arange(50), 17, mode="reflect"),
    "in a zigzag": np.arange(40) ^ 5,
    "anywhere": RANDOM.integers(0, SIZE, 90),
    "one place": np.full(33, 49),
    "from the ends": np.array([0, 49] * 20),
}
DTYPES = ["bool", "uint8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64"]


def check(name: str, dtypes: list[str]) -> None:
    table = TABLES[name].astype(np.int64)
    for dtype in dtypes:
        x = flambeau.tensor(RANDOM.integers(-100, 100, (3, SIZE))).to(getattr(flambeau, dtype))
        for width in {1, 15, 16, 17, len(table)}:
            places = flambeau.tensor(table[:width])
            result = PICK(x, places, statics=(((1, Rule("nearest", SIZE, len(table[:width]))),),))
            assert flambeau.equal(result, flambeau.stack([x[:, place] for place in table[:width].tolist()], 1)), (dtype, width)


@pytest.mark.parametrize("name", TABLES)
def test_a_row_by_a_table(name: str) -> None:
    check(name, DTYPES)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="levels are of x86-64")
@pytest.mark.parametrize("level", ["x86-64-v2", "x86-64-v3"])
def test_narrower_instruction_sets(level: str) -> None:
    environment = {**os.environ, "FLAMBEAU_CPU": level, "PYTHONPATH": str(ROOT)}
    code = "from tests._codegen.test_near import check\ncheck('mirrored at both ends', ['uint8', 'float32', 'float64'])"
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr


def test_elements_behind_the_last_one_are_not_read() -> None:
    """A row at the end of a page after which there is none that may be read."""
    code = """
import ctypes, mmap
import numpy as np
import flambeau
from flambeau._ops.resampling import PICK, Rule

pages = mmap.mmap(-1, 3 * mmap.PAGESIZE)
start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
assert ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(start + 2 * mmap.PAGESIZE), mmap.PAGESIZE, 0) == 0
for size in (1, 3, 16, 20):
    row = np.frombuffer(pages, np.float32, size, 2 * mmap.PAGESIZE - 4 * size)
    row[:] = np.arange(size)
    for table in (np.arange(size), np.arange(size)[::-1].copy(), np.arange(3 * size) // 3, np.full(16, size - 1)):
        found = PICK(flambeau.from_numpy(row), flambeau.tensor(table), statics=(((0, Rule("nearest", size, len(table))),),))
        assert found.tolist() == table.tolist()
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
