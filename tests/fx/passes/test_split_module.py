"""Programs in parts."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import fx, nn
from flambeau.fx.passes.split_module import split_module


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.scale = nn.Parameter(torch.full((4,), 2.0))
        self.register_buffer("shift", torch.ones(4))

    def forward(self, x, factor=2.0):
        a = self.first(x)
        b = torch.relu(a) * self.scale
        c = self.second(b) + a
        return {"c": c * self.scale - self.shift, "parts": (b, factor)}


def test_same_results_from_parts():
    torch.manual_seed(0)
    net = Net()
    traced = fx.symbolic_trace(net)
    names = {}
    split = split_module(
        traced, net, lambda node: {"first": 0, "relu": 0, "mul": 0, "second_0": 1, "second_1": 1, "add": 1}.get(node.name, 2), names
    )
    assert [name for name, _ in split.named_children()] == ["submod_0", "submod_1", "submod_2"] and names["submod_1.second_0"] == "second.0"
    x = torch.randn(2, 4)
    got, expected = split(x), net(x)
    assert torch.equal(got["c"], expected["c"]) and torch.equal(got["parts"][0], expected["parts"][0]) and got["parts"][1] == 2.0
    assert split.submod_0.first is net.first and split.scale is net.scale
    assert list(split.state_dict()) == [
        *["scale", "shift", "submod_0.first.weight", "submod_0.first.bias", "submod_1.second_0.weight", "submod_1.second_0.bias"]
    ]
    assert torch.equal(split.double()(x.double())["c"], net(x.double())["c"])  # its layers and parameters are the network's own
    split.float()
    split.graph.lint()
    got["c"].sum().backward()
    assert net.first.weight.grad is not None and "relu" in split.submod_0.code and "relu" not in split.code


def test_options():
    traced = fx.symbolic_trace(lambda x: (x + 1) * 2)
    split = split_module(traced, traced, lambda node: node.name, partition_affix="part", tuple_return=True)
    assert [name for name, _ in split.named_children()] == ["submod_part_add", "submod_part_mul"]
    assert isinstance(split.submod_part_add(torch.ones(1)), tuple) and split(torch.ones(1)).item() == 4


@pytest.mark.parametrize(("keep", "name"), [(False, "add"), (True, "add_2")])
def test_names(keep, name):
    traced = fx.symbolic_trace(lambda x, y: torch.relu(torch.cos(x) + y) + (x + 1))
    split = split_module(traced, traced, lambda node: int(node.name == "add_2"), keep_original_node_name=keep)
    assert [node.name for node in split.submod_1.graph.nodes] == ["relu", "add_1", name, "output"]


def test_parts_that_need_each_other():
    traced = fx.symbolic_trace(lambda x: torch.sin(torch.cos(torch.sin(x))))
    with pytest.raises(RuntimeError, match="cycle"):
        split_module(traced, traced, lambda node: node.target.__name__)
