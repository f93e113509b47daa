from __future__ import annotations

import re
from dataclasses import replace

import pytest

from flambeau._runtime import runner, targets
from flambeau._runtime.llvm import Compiler


@pytest.mark.parametrize(
    ("system", "machine", "triple", "calls"),
    [
        ("linux", "x86_64", "x86_64-unknown-linux-gnu", ["pause", "syscall", "lock"]),
        ("linux", "aarch64", "aarch64-unknown-linux-gnu", ["yield", "syscall"]),
        ("darwin", "arm64", "arm64-apple-darwin", ["yield", "usleep"]),
    ],
)
def test_compiles_for_every_system(monkeypatch: pytest.MonkeyPatch, system: str, machine: str, triple: str, calls: list[str]) -> None:
    monkeypatch.setattr(runner.sys, "platform", system)
    monkeypatch.setattr(runner.platform, "machine", lambda: machine)
    target = replace(targets.current(), triple=triple, cpu="generic", features="")
    assembly = Compiler(target).assembly(runner.source("pool"))
    for call in calls:
        assert re.search(rf"\b_?{call}\b", assembly), call
    assert ("usleep" in assembly) == (system == "darwin")


def test_state_keeps_what_different_threads_write_apart() -> None:
    writers = {
        "bell": [runner.BELL],
        "finished": [runner.DONE, runner.CALLER_SLEEPS],
        "sleepers": [runner.SLEEPERS],
        "lock": [runner.BUSY],
        "job": [runner.JOB_CALL, runner.JOB_TABLE, runner.SCRATCH, runner.SCRATCH_STRIDE],
        "staff": [runner.LIMIT, runner.WORKERS],
        "spare": [runner.SPARE],
        "tickets": [runner.TICKETS],
    }
    lines = [{offset // 128 for offset in offsets} for offsets in writers.values()]
    assert all(len(line) == 1 for line in lines)
    assert len(set.union(*lines)) == len(lines)
    assert runner.TICKET_STRIDE >= 128
    assert runner.MAX_CHUNKS < 1 << 16
