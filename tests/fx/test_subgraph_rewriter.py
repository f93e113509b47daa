"""Replacing patterns under conditions."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import fx
from flambeau.fx.subgraph_rewriter import replace_pattern_with_filters


def program():
    return fx.symbolic_trace(lambda x: torch.relu(x + 1) * torch.relu(x + 2))


def test_filters():
    gm = program()
    done = replace_pattern_with_filters(
        gm, lambda x: torch.relu(x), lambda x: torch.sigmoid(x), [lambda match, graph, pattern: match.placeholder_nodes[0].args[1] == 2]
    )
    assert len(done) == 1 and [node.name for node in done[0].replacements] == ["sigmoid"]
    x = torch.tensor([1.0, -5.0])
    assert torch.equal(gm(x), torch.relu(x + 1) * torch.sigmoid(x + 2))
    gm = program()
    assert (
        len(replace_pattern_with_filters(gm, lambda x: torch.relu(x), lambda x: x, node_name_match="relu_1")) == 1
        and gm.code.count("relu(") == 1
    )


def test_literals_and_callbacks():
    gm = program()
    assert len(replace_pattern_with_filters(gm, lambda x: x + 7, lambda x: x - 1)) == 0
    assert (
        len(replace_pattern_with_filters(gm, lambda x: x + 7, lambda x: x - 1, ignore_literals=True)) == 2
        and gm(torch.tensor(3.0)).item() == 4
    )
    gm = program()

    def replacement(match, graph, pattern):
        number = match.anchors[0].args[1]
        return fx.symbolic_trace(lambda x: x * number).graph

    replace_pattern_with_filters(gm, lambda x: x + 7, ignore_literals=True, replacement_callback=replacement)
    assert gm(torch.tensor(3.0)).item() == 18
    with pytest.raises(ValueError, match="either"):
        replace_pattern_with_filters(gm, lambda x: x)


def test_functions_with_side_effects_stay():
    def traced(x):
        torch.sin(x)
        return x + 1

    assert fx.symbolic_trace(traced).graph.eliminate_dead_code()
    fx.has_side_effect(torch.sin)
    try:
        assert not fx.symbolic_trace(traced).graph.eliminate_dead_code()
    finally:
        fx.node._SIDE_EFFECTS.discard(torch.sin)
