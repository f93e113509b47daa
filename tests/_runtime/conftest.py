from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty disk cache of this test's own; returns what will be the cache's directory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("FLAMBEAU_CACHE", raising=False)
    monkeypatch.delenv("FLAMBEAU_CACHE_MB", raising=False)
    return tmp_path / "flambeau"


def run_python(source: str, **environment: str) -> str:
    """Run Python source in a process of its own; returns what it printed, and fails if it fails."""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout + process.stderr


@pytest.fixture
def python(cache_home: Path) -> Callable[..., str]:
    """``run_python`` with that cache."""
    return run_python
