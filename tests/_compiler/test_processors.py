"""Programs are planned for processors other than this one, too: their kernels are written, and LLVM accepts them."""

from __future__ import annotations

from dataclasses import replace

import llvmlite.binding as llvm
import pytest

import flambeau
from flambeau._compiler import graph as graphs
from flambeau._compiler.plan import Plan
from flambeau._runtime import targets
from flambeau._tape.tape import LOCAL, Tape
from flambeau._tape.trie import TRIE
from tests.samples.programs import PROGRAMS

OTHERS = {}
if targets.current().triple.startswith("x86_64"):
    OTHERS = {name: targets.named(name) for name in ("x86-64-v2", "x86-64-v3", "x86-64-v4")}
    OTHERS["pairs of bfloat16"] = replace(OTHERS["x86-64-v4"], has_bf16_dot=True)
    OTHERS["matrix registers"] = replace(OTHERS["x86-64-v4"], has_bf16_dot=True, has_amx=True)


@pytest.mark.parametrize("processor", OTHERS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_are_planned(name: str, processor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flambeau.flush()
    TRIE.clear()  # what is known is run without Python
    LOCAL.tape.cursor = TRIE.root
    other, tape = OTHERS[processor], type(LOCAL.tape)
    kernels: dict[str, str] = {}
    flush = tape.flush

    def prepare(self: Tape) -> None:
        if self.cursor.parent is not None and not self.flushing:
            alive = self.alive()
            with monkeypatch.context() as patch:
                patch.setattr(targets, "current", lambda: other)
                Plan(*graphs.build(self.cursor.path(), alive), alive, kernels.__setitem__)
        flush(self)

    monkeypatch.setattr(tape, "flush", prepare)
    results = PROGRAMS[name](flambeau)
    flambeau.flush()
    assert kernels and results
    for source in kernels.values():
        llvm.parse_assembly(source).verify()
