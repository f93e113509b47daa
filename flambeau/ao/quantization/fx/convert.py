"""Graph mode: quantized layers and operators in the places of those that were observed.

before:  ``x → observer → conv → observer → exp``   after:  ``quantize_per_tensor(x) → conv → dequantize → exp``
"""

from __future__ import annotations

import flambeau
from flambeau import nn
from flambeau._types.quantized import QUANTIZED
from flambeau.ao.nn import intrinsic as nni
from flambeau.ao.nn import quantized as nnq
from flambeau.ao.quantization.fake_quantize import FakeQuantizeBase
from flambeau.ao.quantization.fx import calls
from flambeau.ao.quantization.fx.kinds import ADDING, MULTIPLYING, RELU, kind_of, replace, scope_of, sizes_of
from flambeau.ao.quantization.observer_classes import ObserverBase
from flambeau.ao.quantization.quantization_mappings import DYNAMIC, STATIC
from flambeau.fx import Graph, GraphModule
from flambeau.fx.node import Node, map_arg

_LAYERS = {**STATIC, nn.Softmax: nnq.Softmax}


class Conversion:
    """Writes a graph anew, in which a value is there as integers, as numbers, or both.

    Args:
        model: the observed graph
    """

    def __init__(self, model: GraphModule) -> None:
        self.model = model
        self.modules = dict(model.named_modules(remove_duplicate=False))
        self.chosen: set[str] = model.meta["quantized"]
        self.sizes = sizes_of(model.graph)
        self.graph = Graph()
        self.numbers: dict[Node, Node] = {}
        self.integers: dict[Node, Node] = {}
        self.counts: dict[str, int] = {}
        self.made: dict[str, nn.Module] = {}

    def run(self) -> GraphModule:
        """The converted network."""
        for node in self.model.graph.nodes:
            if node.op == "call_module" and isinstance(self.modules[node.target], (ObserverBase, FakeQuantizeBase)):
                self._observed(node)
            elif node.name in self.chosen and self._is_sum_before_relu(node):
                continue
            elif node.name in self.chosen and self._computes_with_integers(node):
                self.integers[node] = self._integer_call(node)
            else:
                self._copy(node)
        for name, module in self.made.items():
            replace(self.model, name, module)
        result = GraphModule(self.model, self.graph)
        result.delete_all_unused_submodules()
        return result

    # -- values --------------------------------------------------------------------------------------------------------

    def _observed(self, node: Node) -> None:
        """An observer becomes a rounding, or nothing if what it observed is integers already."""
        source = node.args[0]
        observer = self.modules[node.target]
        if source in self.integers:
            self.integers[node] = self.integers[source]
        elif observer.dtype not in QUANTIZED:
            self.numbers[node] = self._number(source)
        else:
            consumer = next(iter(node.users))
            prefix = scope_of(source)[0] if source.meta.get("is_configured") else scope_of(consumer)[0] + "_input"
            scale, zero_point = self._parameters(prefix, observer)
            arguments = (self._number(source), scale, zero_point, observer.dtype)
            self.integers[node] = self.graph.call_function(flambeau.quantize_per_tensor, arguments)

    def _parameters(self, prefix: str, observer: nn.Module) -> tuple[Node, Node]:
        """Nodes with the scale and the zero point that an observer has chosen, which become buffers with names that begin like this."""
        prefix = prefix.replace(".", "_")
        number = self.counts.get(prefix, 0)
        self.counts[prefix] = number + 1
        nodes = []
        for kind, value in zip(("scale", "zero_point"), observer.calculate_qparams()):
            name = f"{prefix}_{kind}_{number}"
            self.model.register_buffer(name, value.detach().reshape(-1)[0].clone())
            nodes.append(self.graph.get_attr(name))
        return nodes[0], nodes[1]

    def _number(self, node: Node) -> Node:
        """A value as numbers."""
        if node not in self.numbers:
            self.numbers[node] = self.graph.call_method("dequantize", (self.integers[node],))
        return self.numbers[node]

    def _as_it_is(self, node: Node) -> Node:
        """A value as integers, if there are any; else as numbers, or the size that it is."""
        return self.integers[node] if node in self.integers else self._number(node)

    def _copy(self, node: Node) -> None:
        """A node that computes with numbers, or asks for a shape."""
        if node.op == "call_module" and node.name in self.chosen:
            self._weights_only(node)
        self.numbers[node] = self.graph.node_copy(node, self._as_it_is if node in self.sizes else self._number)

    def _weights_only(self, node: Node) -> None:
        module = self.modules[node.target]
        cls = DYNAMIC.get(type(module))
        if cls is not None and node.target not in self.made:
            self.made[node.target] = cls.from_float(module)

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _observer_after(self, node: Node) -> nn.Module | None:
        """The observer of a node's result."""
        for user in node.users:
            if (
                user.op == "call_module"
                and isinstance(self.modules[user.target], (ObserverBase, FakeQuantizeBase))
                and user.args[0] is node
            ):
                return self.modules[user.target]
        return None

    def _is_sum_before_relu(self, node: Node) -> bool:
        """Whether a sum or product is computed by the ``relu`` after it."""
        if node.target not in (*ADDING, *MULTIPLYING) or len(node.users) != 1:
            return False
        after = next(iter(node.users))
        return after.name in self.chosen and self._computes_with_integers(after) and self._sum_of(after) is node

    def _sum_of(self, node: Node) -> Node | None:
        """The sum or product that a ``relu`` is one operator with."""
        is_relu = node.target in RELU or (node.op == "call_module" and type(self.modules[node.target]) is nn.ReLU)
        before = node.args[0] if node.args else None
        return (
            before
            if is_relu and isinstance(before, Node) and before.target in (*ADDING, *MULTIPLYING) and before.name in self.chosen
            else None
        )

    def _computes_with_integers(self, node: Node) -> bool:
        """Whether a chosen node's inputs are there as integers, and what it needs is known."""
        before = self._sum_of(node)
        sources = [each for each in (before or node).all_input_nodes if each not in self.sizes]
        if not sources or not all(each in self.integers for each in sources):
            return False
        if kind_of(node, self.modules) is None:
            return False
        if node.op == "call_module":
            return type(self.modules[node.target]) not in _LAYERS or self._observer_after(node) is not None
        return True

    def _integer_call(self, node: Node) -> Node:
        """The node as a call of what computes with integers."""
        before = self._sum_of(node)
        if before is not None or node.target in calls.WITH_GRID:
            return self._on_grid(before or node, node)
        if node.op == "call_module":
            self._convert_module(node)
        return self.graph.node_copy(node, self._as_it_is)

    def _on_grid(self, node: Node, last: Node) -> Node:
        """A call that gets the scale and the zero point of its result."""
        name = calls.WITH_GRID[node.target]
        arguments = map_arg(node.args, self._as_it_is)
        relu = last is not node
        if name in ("add", "mul") and not all(each in self.integers for each in node.args[:2]):
            value, number = arguments[:2] if node.args[0] in self.integers else arguments[1::-1]
            made = self.graph.call_function(getattr(calls, f"{name}_scalar"), (value, number))
            return self.graph.call_function(nn.functional.relu, (made,)) if relu else made
        observer = self._observer_after(last)
        if observer is None:
            raise RuntimeError(f"{last.name}: its result was not observed; prepare the network with prepare_fx")
        scale, zero_point = self._parameters(scope_of(last)[0], observer)
        keywords = map_arg(node.kwargs, self._as_it_is)
        function = getattr(calls, f"{name}_relu" if relu else name)
        return self.graph.call_function(
            function,
            (*arguments, scale, zero_point) if name in calls.TWO else (*arguments[:1], scale, zero_point, *arguments[1:]),
            keywords,
        )

    def _convert_module(self, node: Node) -> None:
        """Make the quantized layer. One that is called several times has the scale of the last call, as in PyTorch."""
        module = self.modules[node.target]
        cls = _LAYERS.get(type(module))
        if cls is None:
            return
        module.activation_post_process = self._observer_after(node)
        if not hasattr(module, "qconfig") and isinstance(module, nni._FusedModule):
            module.qconfig = module[0].qconfig
        self.made[node.target] = cls.from_float(module)


def convert(model: GraphModule) -> GraphModule:
    """The network with integers."""
    if "quantized" not in model.meta:
        raise RuntimeError(
            "convert_fx expects a network that prepare_fx or prepare_qat_fx made, and that was not pickled since, which forgets what is to be quantized: "
            "save the state_dict() of a prepared network, and load it into one that is prepared anew"
        )
    return Conversion(model).run()
