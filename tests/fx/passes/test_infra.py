"""Passes, and what runs them."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import fx
from flambeau.fx.passes.infra.pass_base import PassBase, PassResult
from flambeau.fx.passes.infra.pass_manager import PassManager


class Doubling(PassBase):
    """Replaces one addition by a multiplication at a time."""

    def requires(self, graph_module):
        if len(graph_module.graph.nodes) > 20:
            raise ValueError("too long")

    def call(self, graph_module):
        for node in graph_module.graph.nodes:
            if node.target is torch.add:
                node.target = torch.mul
                return PassResult(graph_module, True)
        return PassResult(graph_module, False)


def program():
    return fx.symbolic_trace(lambda x: torch.add(torch.add(x, 3), 4))


def test_passes_run_until_nothing_changes():
    once, often = program(), program()
    assert PassManager([Doubling()])(once).modified and once(torch.tensor(2.0)).item() == 10
    assert PassManager([Doubling()], steps=9, run_checks_after_each_pass=True)(often).modified and often(torch.tensor(2.0)).item() == 24
    assert not PassManager([Doubling()])(often).modified
    with pytest.raises(ValueError, match="too long"):
        PassManager([Doubling()])(fx.symbolic_trace(lambda x: sum(x + i for i in range(20))))
    with pytest.raises(TypeError, match="PassResult"):
        PassManager([lambda module: None])(program())


def test_order():
    def first(module):
        return PassResult(module, False)

    def second(module):
        return PassResult(module, False)

    manager = PassManager([second])
    manager.add_pass(first)
    with pytest.raises(RuntimeError, match="second may not come before first"):
        manager.add_constraint(lambda before, after: not (before is second and after is first))
