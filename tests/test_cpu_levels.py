"""Narrower instruction sets: the sample programs give the same bits fused and eager on each, and nearly the numbers of this processor."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]

QUICK = (
    "chain", "chain_float16", "complex_numbers", "integers", "sums_over_every_axis", "softmaxes", "linear_layers", "convolutions", "norms",
    "indexing", "joins", "dropouts", "attention",
)  # fmt: skip

_RUN = f"""
import sys
import numpy as np
import flambeau
from flambeau._tape import tape as tapes
from tests.samples.programs import PROGRAMS

def arrays(name):
    return [np.ascontiguousarray(tensor.detach()._array()) for tensor in PROGRAMS[name](flambeau)]

fused = {{name: arrays(name) for name in {QUICK}}}
tapes.MAX_SLOTS = tapes.LOCAL.tape.limit = -1  # eager from now on
for name, expected in fused.items():
    for one, other in zip(arrays(name), expected, strict=True):
        assert one.tobytes() == other.tobytes(), name
np.savez(sys.argv[1], **{{f"{{name}} {{number}}": array for name, found in fused.items() for number, array in enumerate(found)}})
"""


def results(level: str, file: Path) -> dict[str, np.ndarray]:
    """What the programs give in a process on this level."""
    environment = {**os.environ, "FLAMBEAU_CPU": level, "PYTHONPATH": str(ROOT)}
    process = subprocess.run([sys.executable, "-c", _RUN, str(file)], env=environment, capture_output=True, text=True, timeout=400)
    assert process.returncode == 0, process.stderr
    return dict(np.load(file))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="levels are of x86-64")
def test_levels_agree(tmp_path: Path) -> None:
    native = results("native", tmp_path / "native.npz")
    for level in ("x86-64-v3", "x86-64-v2"):
        found = results(level, tmp_path / f"{level}.npz")
        assert found.keys() == native.keys()
        for name, array in found.items():
            tolerance = 2e-3 if "float16" in name or array.dtype == np.float16 else 1e-5
            scale = np.abs(native[name]).max(initial=0)
            np.testing.assert_allclose(array, native[name], rtol=tolerance, atol=tolerance * scale, err_msg=f"{name} on {level}")
