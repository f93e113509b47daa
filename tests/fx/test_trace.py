"""Tracing a module, what the graph says, and that its module computes the same."""

from __future__ import annotations

import copy
import operator
import pickle

import pytest

import flambeau as torch
from flambeau import fx, nn
from flambeau.fx.passes.shape_prop import ShapeProp
from flambeau.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.tail = nn.Sequential(nn.ReLU(), nn.Linear(8, 8))
        self.scale = nn.Parameter(torch.randn(8))
        self.register_buffer("shift", torch.arange(8.0))
        self.plain = torch.ones(8)

    def forward(self, x, factor=2.0):
        y = F.relu(self.conv(x))
        first, second = y.chunk(2, 1)
        y = torch.cat([second, first], dim=1)
        y = self.shift + self.tail(y) * self.scale - self.plain
        return {"out": y[:, 0:2, ..., 1].mean(dim=(1, 2)) / factor, "n": y.shape[0]}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def x():
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def same(module, net, x):
    got, expected = module(x), net(x)
    assert got["n"] == expected["n"] == 2 and torch.equal(got["out"], expected["out"])


def test_operators_are_written_as_users_know_them(net):
    traced = fx.symbolic_trace(net)
    assert "call_function[target=operator.getitem]" in str(traced.graph) and "_operator" not in str(traced.graph)
    assert traced.code.startswith("\n\n\ndef forward(self, x") and traced.code.endswith("\n    ")


def test_graph_and_code(net, x):
    traced = fx.symbolic_trace(net)
    same(traced, net, x)
    assert [node.op for node in traced.graph.nodes].count("call_module") == 3
    assert [node.target for node in traced.graph.nodes if node.op == "get_attr"] == ["scale", "shift", "plain"]
    assert 'getattr(self.tail, "1")(' in traced.code and "torch.cat([getitem_1, getitem], dim = 1)" in traced.code
    assert "[:, 0:2, Ellipsis, 1]" in traced.code and traced(x, 4.0)["out"].equal(net(x, 4.0)["out"])
    assert traced.conv is net.conv and {name for name, _ in traced.named_parameters()} == {name for name, _ in net.named_parameters()}
    traced.graph.lint()


def test_the_module_is_left_as_it_was(net, x):
    before = net(x)["out"]
    add, relu = torch.add, F.relu
    fx.symbolic_trace(net)
    assert isinstance(net.scale, nn.Parameter) and net(x)["out"].equal(before) and torch.add is add and F.relu is relu
    with pytest.raises(fx.proxy.TraceError):
        fx.symbolic_trace(lambda x: x if x.sum() > 0 else -x)
    assert torch.add is add and net(x)["out"].equal(before)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: fx.Transformer(m).transform()],
    ids=["deepcopy", "copy", "pickle", "transform"],
)
def test_copies(net, x, copied):
    made = copied(fx.symbolic_trace(net))
    same(made, net, x)
    assert isinstance(made, fx.GraphModule)
    made.graph.lint()


def test_gradients_flow_to_the_parameters(net, x):
    traced = fx.symbolic_trace(net)
    traced(x)["out"].sum().backward()
    got = net.scale.grad.clone()
    net.zero_grad()
    net(x)["out"].sum().backward()
    assert got.equal(net.scale.grad) and net.conv.weight.grad is not None


def test_interpreter_and_shapes(net, x):
    traced = fx.symbolic_trace(net)
    assert fx.Interpreter(traced).run(x)["out"].equal(net(x)["out"])
    ShapeProp(traced).propagate(x)
    shapes = {
        node.name: tuple(node.meta["tensor_meta"].shape) for node in traced.graph.nodes if hasattr(node.meta.get("tensor_meta"), "shape")
    }
    assert shapes["conv"] == (2, 4, 8, 8) and shapes["mean"] == (2,)
    with pytest.raises(RuntimeError, match="parameter x"):
        fx.Interpreter(traced).run()


def test_arguments_in_the_text_of_a_graph():
    graph = fx.symbolic_trace(lambda x: torch.clamp(torch.cat([x, x], dim=0), min=0.5)).graph
    assert "(args = ([%x, %x],), kwargs = {dim: 0})" in str(graph) and "(args = (%cat,), kwargs = {min: 0.5})" in str(graph)


def test_changing_a_graph():
    traced = fx.symbolic_trace(lambda x, y: torch.relu(torch.add(x, y)))
    for node in traced.graph.nodes:
        if node.target is torch.add:
            node.target = torch.mul
    traced.recompile()
    assert traced(torch.tensor(2.0), torch.tensor(-3.0)).item() == 0 and traced(torch.tensor(2.0), torch.tensor(3.0)).item() == 6
    (relu,) = traced.graph.find_nodes(op="call_function", target=torch.relu)
    with traced.graph.inserting_after(relu):
        negative = traced.graph.call_function(operator.neg, (relu,))
    relu.replace_all_uses_with(negative, lambda user: user is not negative)
    traced.recompile()
    assert traced(torch.tensor(2.0), torch.tensor(3.0)).item() == -6
    with pytest.raises(RuntimeError, match="while others use it"):
        traced.graph.erase_node(relu)


def test_dead_code_goes():
    def function(x):
        torch.sin(x)
        return x + 1

    traced = fx.symbolic_trace(function)
    assert len(traced.graph.nodes) == 4 and traced.graph.eliminate_dead_code() and len(traced.graph.nodes) == 3


def test_replace_pattern():
    traced = fx.symbolic_trace(lambda x: torch.relu(x + 1) + torch.relu(x))
    found = fx.replace_pattern(traced, lambda x: torch.relu(x), lambda x: torch.sigmoid(x) * 2)
    x = torch.tensor([-1.0, 3.0])
    assert len(found) == 2 and torch.equal(traced(x), torch.sigmoid(x + 1) * 2 + torch.sigmoid(x) * 2) and "relu" not in traced.code
    traced.graph.lint()


def test_a_value_in_between_that_is_used_elsewhere_stays():
    traced = fx.symbolic_trace(lambda x: (torch.relu(x).exp(), torch.relu(x).exp() + 1))
    shared = fx.symbolic_trace(lambda x: [y := torch.relu(x), y.exp()])
    assert len(fx.replace_pattern(shared, lambda x: torch.relu(x).exp(), lambda x: x)) == 0
    assert len(fx.replace_pattern(traced, lambda x: torch.relu(x).exp(), lambda x: x)) == 2


def inner(x):
    return x if x.sum() > 0 else -x


fx.wrap("inner")


def test_wrapped_function_is_a_node():
    traced = fx.symbolic_trace(lambda x: inner(x) + 1)
    assert any(node.target is inner for node in traced.graph.nodes) and traced(torch.tensor([-2.0])).item() == 3
    with pytest.raises(NotImplementedError, match="top level"):
        fx.wrap("len")


def test_concrete_arguments_and_leaves(net, x):
    def branch(x, positive):
        return x + 1 if positive else x - 1

    assert "x - 1" in fx.symbolic_trace(branch, {"positive": False}).code

    class Whole(fx.Tracer):
        def is_leaf_module(self, m, module_qualified_name):
            return True

    graph = Whole().trace(net)
    assert [node.target for node in graph.nodes if node.op == "call_module"] == ["conv", "tail"]


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (lambda x: len(x), "wrap"),
        (lambda x: list(reversed(list(x))), "iterates over x"),
        (lambda x: x if x.sum() > 0 else -x, "branches on the value of gt"),
        (lambda x: x.__setitem__(0, 1), "item assignment"),
        (lambda *args: args[0], "any number"),
        (lambda x: 1 in x, "not known"),
    ],
)
def test_what_cannot_be_traced_says_so(function, error):
    with pytest.raises((TypeError, RuntimeError, ValueError), match=error):
        fx.symbolic_trace(function)


def test_vision_network():
    from flambeau.vision.models import resnet18

    torch.manual_seed(0)
    network = resnet18(num_classes=10).eval()
    traced = fx.symbolic_trace(network)
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(traced(x), network(x))
    assert 'getattr(self.layer1, "0").conv1(' in traced.code


def test_methods_are_put_back_as_they_were():
    """Also those that native code has replaced, which it does in a process that computes much."""
    x = torch.ones(2)
    for number in range(300):
        (x * number).sum().item()
    before = dict(vars(torch.Tensor))
    fx.symbolic_trace(lambda x: x * 2)
    assert {name for name, value in vars(torch.Tensor).items() if value is not before.get(name)} == set()
    assert torch.equal(x * x, x)


def test_a_graph_is_written_with_proxies_alone():
    graph = fx.Graph()
    x = fx.Proxy(graph.placeholder("x"))
    y = torch.sin(x) + x.view(-1).sum(dim=0)
    graph.output(torch.cat([y, y]).node)
    written = fx.GraphModule({}, graph)
    assert [node.name for node in graph.nodes] == ["x", "sin", "view", "sum_1", "add", "cat", "output"]
    x = torch.arange(3.0)
    assert torch.equal(written(x), torch.cat([torch.sin(x) + 3, torch.sin(x) + 3]))


def test_calls_are_replaced_by_what_they_are_made_of(net, x):
    old, new = fx.symbolic_trace(net).graph, fx.Graph()
    tracer, made = fx.proxy.GraphAppendingTracer(new), {}
    for node in old.nodes:
        if node.target in (torch.relu, F.relu):
            value = fx.Proxy(made[node.args[0]], tracer)
            made[node] = ((value > 0) * value).node
        else:
            made[node] = new.node_copy(node, lambda each: made[each])
    same(fx.GraphModule(net, new), net, x)
    assert not any(node.target in (torch.relu, F.relu) for node in new.nodes)


def test_a_graph_without_a_module_holds_no_tensors():
    x = fx.Proxy(fx.Graph().placeholder("x"))
    with pytest.raises(NotImplementedError, match="Tensor"):
        x + torch.ones(2)


def test_operands_of_einsum_are_arguments_however_they_are_given():
    graph = fx.symbolic_trace(lambda x, y: torch.einsum("ij,jk->ik", [x, y]) + torch.einsum("ij,jk->ik", x, y)).graph
    x, y, first, second, *_ = graph.nodes
    assert first.args == second.args == ("ij,jk->ik", x, y) and first.target is torch.einsum
