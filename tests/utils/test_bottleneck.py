"""The report of where a script's time goes."""

from __future__ import annotations

import sys

from flambeau.utils import bottleneck

SCRIPT = """
import sys
import torch

def work(count):
    total = 0
    for number in range(1000000):
        total += number * number
    return sum((torch.ones(16, 16) @ torch.ones(16, 16)).sum() for _ in range(count))

if __name__ == "__main__":
    with torch.profiler.record_function("my range"):
        print("result", work(int(sys.argv[1])).item())
    sys.exit(0)
"""


def run(arguments, tmp_path):
    """In a process of its own, since it makes `torch` mean Flambeau."""
    import subprocess

    return subprocess.run(
        [sys.executable, "-m", "flambeau", "-m", "torch.utils.bottleneck", *arguments], capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False
    )  # fmt: skip


def test_report(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = run(["script.py", "3"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("result 12288.0") == 2  # it is run twice
    for part in ("PyTorch version", "(work)", "my range", "contract"):
        assert part in done.stdout, part


def test_usage(tmp_path, capsys):
    assert bottleneck.main([]) == 2 and "usage" in capsys.readouterr().err
    assert bottleneck.main([str(tmp_path / "missing.py")]) == 2 and "missing.py" in capsys.readouterr().err
