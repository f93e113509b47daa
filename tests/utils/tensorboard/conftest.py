"""What the tests of event files share."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def log_dir(tmp_path):
    return str(tmp_path / "run")


@pytest.fixture
def run_script():
    """Run a script in a process of its own; returns what it printed, after a check of its exit status (None: any)."""

    def run(script: str, *arguments: str, status: int | None = 0) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, env=None)
        assert status is None or result.returncode == status, result.stderr
        return result

    return run


@pytest.fixture
def read_events():
    """All events of a directory (not of those below), as TensorBoard's own reader decodes them."""
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")

    def read(directory) -> list:
        paths = sorted(path for path in Path(directory).iterdir() if "tfevents" in path.name)
        return [event for path in paths for event in loader.LegacyEventFileLoader(str(path)).Load()]

    return read
