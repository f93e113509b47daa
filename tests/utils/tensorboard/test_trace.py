"""Graphs of networks: what the tape saw, by module, and what TensorBoard makes of it."""

from __future__ import annotations

import pytest

import flambeau
from flambeau import nn
from flambeau.utils.tensorboard import SummaryWriter
from flambeau.utils.tensorboard._trace import trace


class Affine(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(flambeau.ones(inputs, outputs))
        self.bias = nn.Parameter(flambeau.ones(outputs))

    def forward(self, x):
        return x @ self.weight + self.bias


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = Affine(4, 8)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.first(x))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = Block()
        self.last = Affine(8, 2)
        self.register_buffer("calls", flambeau.zeros(1))

    def forward(self, x, options=None, times=2):
        hidden = self.block(x)
        if options is not None:
            hidden = hidden * options["scale"]
        if hidden.sum().item() > 0:  # ends the first part of the tape
            hidden = hidden - 1
        self.calls += 1
        return {"scores": self.last(hidden) * times, "parts": (hidden, None, x)}


X = flambeau.ones(3, 4)


@pytest.fixture
def nodes():
    return {node.name: node for node in trace(Net(), (X, {"scale": flambeau.ones(1), "nothing": None}, 3))}


def test_operators_have_the_scope_of_their_module(nodes):
    scopes = {node.op: name.rpartition("/")[0] for name, node in nodes.items() if node.op in ("relu", "sum")}
    assert scopes == {"relu": "Net/Block[block]/ReLU[act]", "sum": "Net"}
    adds = [name for name in nodes if name.rpartition("/")[2].startswith("add")]
    assert adds[:1] == ["Net/Block[block]/Affine[first]/add"]
    assert "Net/Affine[last]/add" in adds


def test_edges_lead_from_inputs_through_parameters_to_outputs(nodes):
    assert nodes["Net/Block[block]/ReLU[act]/relu"].inputs == ["Net/Block[block]/Affine[first]/add"]
    assert "Net/Block[block]/Affine[first]/bias" in nodes["Net/Block[block]/Affine[first]/add"].inputs
    assert nodes["Net/Block[block]/Affine[first]/bias"].op == "Parameter"
    assert nodes["input/options.scale"].name in nodes["Net/mul"].inputs
    assert {name for name in nodes if name.startswith("output/")} == {
        "output/output.scores",
        "output/output.parts.1",
        "output/output.parts.3",
    }
    assert nodes["output/output.parts.3"].inputs == ["input/x"]
    names = set(nodes)
    assert {edge.partition(":")[0] for node in nodes.values() for edge in node.inputs} <= names


def test_edges_cross_a_flush(nodes):
    assert nodes["output/output.parts.1"].inputs == ["Net/sub"]
    assert nodes["Net/sub"].inputs == ["Net/mul"]


def test_shapes_and_numbers(nodes):
    assert nodes["Net/Block[block]/ReLU[act]/relu"].shapes == [(3, 8)]
    assert nodes["output/output.scores"].shapes == [(3, 2)]
    assert "3" in nodes["Net/mul_1"].attributes


def test_the_network_is_as_it_was():
    net = Net()
    net.block.eval()
    trace(net, (X,))
    assert net.training
    assert not net.block.act.training
    assert not net.block.first._forward_hooks
    assert net.calls.tolist() == [1.0]  # as after any call
    assert net(X)["scores"].tolist() == Net()(X)["scores"].tolist()


def test_pending_inputs_are_left_usable():
    x = flambeau.ones(2) * 3
    y = x + 1
    trace(lambda x: x * 2, (x,))
    assert (x.tolist(), y.tolist()) == ([3.0, 3.0], [4.0, 4.0])


def test_error_in_the_network_leaves_the_tape_usable():
    def broken(x):
        x * 2
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        trace(broken, (X,))
    assert (X + 1).sum().item() == 24


@pytest.mark.parametrize(
    ("model", "inputs"),
    [(lambda: flambeau.ones(2) * 2, None), (lambda x: x * 2, X), (lambda x, y: x * y, [X, X]), (lambda x: x["a"][0] * 2, {"a": [X, None]})],
    ids=["none", "tensor", "list", "dictionary"],
)
def test_kinds_of_input(model, inputs, log_dir, read_events):
    graph_pb2 = pytest.importorskip("tensorboard.compat.proto.graph_pb2")
    with SummaryWriter(log_dir) as writer:
        writer.add_graph(model, inputs)
    graph = graph_pb2.GraphDef.FromString(read_events(log_dir)[1].graph_def)
    assert [node.op for node in graph.node if node.name.startswith("output/")] == ["IO Node"]
    assert any(node.op == "mul" for node in graph.node)


def test_tensorboard_reads_it(log_dir, read_events, capsys):
    graph_pb2 = pytest.importorskip("tensorboard.compat.proto.graph_pb2")
    from tensorboard.compat.proto.config_pb2 import RunMetadata

    with SummaryWriter(log_dir) as writer:
        writer.add_graph(Net(), (X,), verbose=True)
    _, graph_event, metadata_event = read_events(log_dir)
    graph = graph_pb2.GraphDef.FromString(graph_event.graph_def)
    assert graph.versions.producer == 22
    node = next(node for node in graph.node if node.name == "Net/Block[block]/ReLU[act]/relu")
    assert node.op == "relu"
    assert list(node.input) == ["Net/Block[block]/Affine[first]/add"]
    assert [dim.size for dim in node.attr["_output_shapes"].list.shape[0].dim] == [3, 8]
    assert node.attr["attr"].HasField("s")
    assert metadata_event.tagged_run_metadata.tag == "step1"
    metadata = RunMetadata.FromString(metadata_event.tagged_run_metadata.run_metadata)
    assert [stats.device for stats in metadata.step_stats.dev_stats] == ["/device:CPU:0"]
    assert "Net/Block[block]/ReLU[act]/relu = relu(Net/Block[block]/Affine[first]/add) -> (3, 8)" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_io_nodes_are_pytorchs(tmp_path, read_events):
    """The parts that do not depend on how either decomposes operators."""
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("torch.utils.tensorboard")
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    with SummaryWriter(str(tmp_path / "ours")) as writer:
        writer.add_graph(nn.Sequential(nn.ReLU()), X)
    with theirs.SummaryWriter(str(tmp_path / "theirs")) as writer:
        writer.add_graph(torch.nn.Sequential(torch.nn.ReLU()), torch.ones(3, 4))
    found = []
    for name in ("ours", "theirs"):
        nodes = GraphDef.FromString(read_events(tmp_path / name)[1].graph_def).node
        scopes = sorted(node.name.rpartition("/")[0] for node in nodes)
        found.append((scopes, [str(node.attr["_output_shapes"]) for node in nodes], [node.op for node in nodes if "put/" in node.name]))
    assert found[0] == found[1]
