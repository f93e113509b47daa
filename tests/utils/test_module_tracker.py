"""Which modules are running."""

from __future__ import annotations

import flambeau as torch
from flambeau import nn
from flambeau.utils.module_tracker import ModuleTracker


def test_forward_and_backward():
    network = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 1)))
    seen = []
    with ModuleTracker() as tracker:
        network[0].register_forward_hook(lambda *call: seen.append(("f0", tracker.parents, tracker.is_bw)))
        network[1][0].register_forward_pre_hook(lambda *call: seen.append(("f1", tracker.parents, tracker.is_bw)))
        network[0].weight.register_hook(lambda grad: seen.append(("b0", tracker.parents, tracker.is_bw)))
        network[1][0].weight.register_hook(lambda grad: seen.append(("b1", tracker.parents, tracker.is_bw)))
        y = network(torch.ones(1, 2))
        assert tracker.parents == {"Global"}
        y.sum().backward()
        assert tracker.parents == {"Global"} and not tracker.is_bw
    outer = {"Global", "Sequential"}
    by_name = {name: (parents, backward) for name, parents, backward in seen}
    assert by_name["f1"] == (outer | {"Sequential.1", "Sequential.1.0"}, False)
    assert by_name["f0"][0] >= outer and by_name["f0"][1] is False
    assert {"Sequential", "Sequential.1", "Sequential.1.0"} <= by_name["b1"][0] and by_name["b1"][1]
    assert {"Sequential", "Sequential.0"} <= by_name["b0"][0] and "Sequential.1.0" not in by_name["b0"][0]
    count = len(seen)
    network[0]._forward_hooks.clear()
    network(torch.ones(1, 2))
    assert len(seen) == count + 1 and tracker.parents == {"Global"}  # nothing is watched any more
