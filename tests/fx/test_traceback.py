from __future__ import annotations

import flambeau
from flambeau import fx
from flambeau.fx import traceback


class Network(flambeau.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = flambeau.nn.Linear(2, 2)

    def forward(self, x):
        with traceback.annotate({"part": 1, "depth": 0}):
            y = self.linear(x) + 1
            with traceback.annotate({"depth": 1}):
                y = y.relu()
        return y * 2


def noted(graph, key="custom"):
    return {node.name: node.meta[key] for node in graph.nodes if key in node.meta}


def traced():
    with traceback.preserve_node_meta():
        return fx.symbolic_trace(Network())


ANNOTATIONS = {"linear": {"part": 1, "depth": 0}, "add": {"part": 1, "depth": 0}, "relu": {"part": 1, "depth": 1}}


def test_annotations_are_in_nodes_if_meta_is_preserved():
    assert noted(traced().graph) == ANNOTATIONS
    assert noted(fx.symbolic_trace(Network()).graph) == {}
    with traceback.preserve_node_meta(), traceback.preserve_node_meta(False):
        assert not traceback.has_preserved_node_meta() and noted(fx.symbolic_trace(Network()).graph) == {}


def test_a_transformer_hands_notes_on():
    module = traced()
    for node in module.graph.nodes:
        node.meta.update(stack_trace=f"line of {node.name}", val=node.name)
    once = fx.Transformer(module).transform()
    assert noted(once.graph) == ANNOTATIONS
    assert noted(once.graph, "stack_trace") == {name: f"line of {name}" for name in ("linear", "add", "relu", "mul", "output")}
    assert noted(once.graph, "val") == {"output": "output"}  # what a node computes is for a pass to find out again
    twice = fx.Transformer(once).transform()
    (source,) = next(node for node in twice.graph.nodes if node.name == "relu").meta["from_node"]
    assert (source.name, source.target, source.pass_name, source.graph_id) == ("relu", "relu", "Interpreter_Transformer", id(once.graph))
    assert source.action == [traceback.NodeSourceAction.CREATE] and source.from_node[0].graph_id == id(module.graph)
    assert repr(source) == f"(name=relu, pass_name=Interpreter_Transformer, action=create, graph_id={id(once.graph)})"


def test_an_interpreter_notes_what_it_runs():
    seen = []

    class Watching(fx.Interpreter):
        def call_module(self, *args):
            seen.append(traceback.get_current_meta())
            return super().call_module(*args)

    with traceback.preserve_node_meta():
        Watching(traced()).run(flambeau.ones(2))
    assert seen[0]["custom"] == ANNOTATIONS["linear"] and seen[0]["from_node"][0].pass_name == "Interpreter_Watching"
    Watching(traced()).run(flambeau.ones(2))
    assert seen[1] == {} == traceback.get_current_meta()


def test_a_function_that_is_annotated():
    @traceback.annotate_fn({"a": 1})
    def function(x):
        return traceback.get_current_meta()["custom"]

    with traceback.annotate({"b": 2}):
        assert function(0) == {"b": 2, "a": 1} and traceback.get_current_meta() == {"custom": {"b": 2}}
    assert function.__name__ == "function" and traceback.get_current_meta() == {}
