"""Processes with files of their own, and what they leave when they fail."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from flambeau.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std, start_processes, to_map
from flambeau.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure, record


def _job(number):
    print("out", number, os.environ["NAME"])
    print("err", number, file=sys.stderr)
    if number == 13:
        raise ValueError("thirteen")
    return {"number": number, "big": b"x" * 200_000}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_functions(method, tmp_path, capfd):
    specs = DefaultLogsSpecs(str(tmp_path), redirects=Std.OUT, tee={1: Std.ERR})
    context = start_processes("trainer", _job, {0: (4,), 1: (5,)}, {0: {"NAME": "a"}, 1: {"NAME": "b"}}, specs, start_method=method)
    result = context.wait(period=0.02)
    assert not result.is_failed() and [result.return_values[each]["number"] for each in range(2)] == [4, 5]
    assert [Path(result.stdouts[each]).read_text() for each in range(2)] == ["out 4 a\n", "out 5 b\n"]
    captured = capfd.readouterr()
    assert captured.out == "" and sorted(captured.err.splitlines()) == ["[trainer1]:err 5", "err 4"]
    assert Path(result.stderrs[1]).read_text() == "err 5\n"


def test_a_function_that_fails():
    context = start_processes(
        "t", _job, {0: (13,), 1: (1,)}, {0: {"NAME": "a"}, 1: {"NAME": "b"}}, DefaultLogsSpecs(redirects=Std.ALL), start_method="fork"
    )
    result = context.wait(period=0.02)
    failure = result.failures[0]
    assert (failure.exitcode, failure.local_rank, failure.message) == (1, 0, "ValueError: thirteen") and failure.pid == context.pids()[0]
    assert "ValueError: thirteen" in Path(result.stderrs[0]).read_text() and result.return_values == {}
    error = ChildFailedError("job", {3: failure})
    assert (
        error.get_first_failure() == (3, failure) and "rank 3 (local rank 0" in str(error) and "ValueError: thirteen" in error.format_msg()
    )


def test_programs(tmp_path):
    context = start_processes(
        "t", "sh", {0: ("-c", "echo $NAME"), 1: ("-c", "sleep 60")}, {0: {"NAME": "a"}, 1: {}}, DefaultLogsSpecs(str(tmp_path), Std.ALL)
    )
    start = time.monotonic()
    while Path(context.logs.stdouts[0]).read_text() != "a\n" and time.monotonic() - start < 30:
        assert context.wait(0.02, period=0.02) is None
    start = time.monotonic()
    context.close(signal.SIGKILL)
    result = context.wait()
    assert (
        result.failures[1].signal_name() == "SIGKILL" and result.failures[1].message == "signal SIGKILL" and time.monotonic() - start < 10
    )
    assert Path(result.stdouts[0]).read_text() == "a\n"


def test_settings():
    assert Std.from_str("3") is Std.ALL and Std.from_str("0:1,2:3") == {0: Std.OUT, 2: Std.ALL}
    assert to_map({1: Std.ERR}, 3) == {0: Std.NONE, 1: Std.ERR, 2: Std.NONE} and to_map(Std.OUT, 2) == {0: Std.OUT, 1: Std.OUT}
    with pytest.raises(ValueError, match="'7' is neither a number from 0 to 3"):
        Std.from_str("7")
    with pytest.raises(RuntimeError, match=r"envs are for processes \[1\], not for 0 to 0"):
        start_processes("t", _job, {0: (1,)}, {1: {}}, DefaultLogsSpecs())
    with pytest.raises(AssertionError, match="no failure"):
        ChildFailedError("job", {})
    assert ProcessFailure(0, 1, 3, "nowhere").message == "exit code 3"


def test_record(tmp_path, monkeypatch):
    path = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(path))

    @record
    def main(value):
        if value:
            raise KeyError("key")
        return "fine"

    assert main(0) == "fine" and not path.exists()
    with pytest.raises(KeyError):
        main(1)
    told = json.loads(path.read_text())["message"]
    assert told["message"] == "KeyError: 'key'" and "raise KeyError" in told["extraInfo"]["py_callstack"]
