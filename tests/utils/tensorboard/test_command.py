"""``python -m flambeau.utils.tensorboard``."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from pathlib import Path

import pytest

from flambeau.utils.tensorboard import SummaryWriter
from flambeau.utils.tensorboard.__main__ import main


@pytest.fixture
def runs(tmp_path):
    with SummaryWriter(str(tmp_path / "a")) as writer:
        for step in range(100):
            writer.add_scalar("loss", 100 - step, step, walltime=0.5 + step)
            writer.add_scalar("lr", 0.5, step)
    with SummaryWriter(str(tmp_path / "b" / "c")) as writer:
        writer.add_scalar("gone", math.nan, 1)
        writer.add_text("text", "text")
    return str(tmp_path)


def test_show(runs, capsys):
    main(["show", runs, "--width", "50", "--height", "4"])
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert "a: 2 series" in lines
    assert "b/c: 1 series" in lines
    assert any(line.startswith("  loss: 100 values, the last one 1 at step 99, ") for line in lines)
    assert "  0.5 throughout" in lines
    assert "  no finite value" in lines
    top, second, third, bottom, axis, labels = lines[lines.index(next(line for line in lines if "loss" in line)) + 1 :][:6]
    assert max(map(len, lines)) <= 50 + len(" at step 99, 0000-00-00 00:00:00")
    assert top.startswith("  100 │⠉")
    assert top.endswith("\u2800")
    assert bottom.startswith("    1 │\u2800")
    assert bottom.rstrip("\u2800") == bottom
    assert all(any(cell > "\u2800" for cell in line.partition("│")[2]) for line in (top, second, third, bottom))
    assert axis.strip("─ └") == ""
    assert labels.split() == ["0", "99"]


def test_show_selects(runs, capsys):
    main(["show", runs, "--run", "^a$", "--tag", "^lr$"])
    out = capsys.readouterr().out
    assert "lr" in out
    assert "loss" not in out
    assert "gone" not in out


def test_export(runs, tmp_path, capsys):
    main(["export", runs, "--output", str(tmp_path / "out.csv")])
    main(["export", runs])
    text = (tmp_path / "out.csv").read_bytes().decode()
    assert capsys.readouterr().out == text
    rows = list(csv.reader(text.splitlines()))
    assert rows[0] == ["run", "tag", "step", "wall_time", "value"]
    assert rows[1] == ["a", "loss", "0", "0.5", "100.0"]
    assert len(rows) == 202
    assert rows[-1][:3] + rows[-1][4:] == ["b/c", "gone", "1", "nan"]


def test_nothing_there(tmp_path):
    for command in ("show", "export"):
        with pytest.raises(SystemExit, match="no event files in"):
            main([command, str(tmp_path)])


def test_pipe_that_closes_early(runs):
    command = [sys.executable, "-m", "flambeau.utils.tensorboard", "export", runs]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[3])
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 0
