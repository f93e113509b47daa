"""Programs as pictures."""

from __future__ import annotations

import shutil

import pytest

import flambeau as torch
from flambeau import fx, nn
from flambeau.fx.passes.graph_drawer import FxGraphDrawer
from flambeau.fx.passes.shape_prop import ShapeProp
from flambeau.fx.passes.split_module import split_module


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return torch.clamp(self.layer(x), min=0.5) * self.scale


def test_boxes_and_arrows(tmp_path):
    traced = fx.symbolic_trace(Net())
    ShapeProp(traced).propagate(torch.ones(2, 4))
    text = FxGraphDrawer(traced, 'a "net"').get_dot_graph().to_string()
    assert text.startswith('digraph "a \\"net\\"" {') and '"layer" -> "clamp";' in text and '"scale" -> "mul";' in text
    assert "target = torch.clamp\\nargs = 0.5\\ntorch.float32[2, 3]" in text
    hidden = FxGraphDrawer(traced, "net", ignore_getattr=True).get_main_dot_graph()
    assert "scale" not in hidden.to_string()
    hidden.write(tmp_path / "net.dot")
    assert (tmp_path / "net.dot").read_text() == hidden.to_string()


def test_submodules_and_pictures(tmp_path, monkeypatch):
    split = split_module(fx.symbolic_trace(Net()), Net(), lambda node: int(node.op != "call_module"))
    drawer = FxGraphDrawer(split, "net")
    assert set(drawer.get_all_dot_graphs()) == {"net", "submod_0", "submod_1"} and "clamp" in str(drawer.get_submod_dot_graph("submod_1"))
    if shutil.which("dot"):
        assert b"<svg" in drawer.get_dot_graph().create_svg()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="Graphviz"):
        drawer.get_dot_graph().write_svg(tmp_path / "net.svg")
