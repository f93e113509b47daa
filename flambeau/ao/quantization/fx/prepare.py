"""Graph mode: observers after all that will be quantized.

before:  ``x → conv → add → relu``   after:  ``x → observer → conv → observer → add → relu → observer``
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from flambeau import nn
from flambeau.ao.nn import intrinsic as nni
from flambeau.ao.quantization.fx.kinds import (
    ADDING,
    FIXED_RANGES,
    MULTIPLYING,
    OWN,
    RELU,
    SHARED,
    WEIGHTED,
    kind_of,
    replace,
    scope_of,
    sizes_of,
    target_of,
)
from flambeau.ao.quantization.observer_classes import FixedQParamsObserver, PlaceholderObserver, ReuseInputObserver
from flambeau.ao.quantization.qconfig_mapping import QConfigMapping
from flambeau.ao.quantization.quantization_mappings import QAT
from flambeau.ao.quantization.quantize import check_outputs
from flambeau.fx import GraphModule
from flambeau.fx.node import Node


class Preparation:
    """Puts observers into a graph.

    Args:
        model: the traced network, with layers fused
        mapping: which configuration each part gets
        is_qat: whether layers round their weights
    """

    def __init__(self, model: GraphModule, mapping: QConfigMapping, is_qat: bool) -> None:
        self.model, self.mapping, self.is_qat = model, mapping, is_qat
        self.modules = dict(model.named_modules(remove_duplicate=False))
        self.sizes = sizes_of(model.graph)
        self.observers: dict[Node, Node] = {}
        self.dynamic: set[Node] = set()
        self.quantized: dict[Node, Any] = {}  # each node that will be quantized, and its configuration

    def run(self) -> GraphModule:
        """The graph with observers, in place."""
        self._configure()
        for node in list(self.model.graph.nodes):
            if node in self.quantized:
                self._observe(node, self.quantized[node])
        self.model.meta["quantized"] = {node.name for node in self.quantized} | {node.name for node in self.dynamic}
        self.model.recompile()
        return self.model

    def _configure(self) -> None:
        """Find the configuration of each node, and give it to the modules; exchange layers that will be trained with rounding."""
        numbers: Counter[tuple[str, Any]] = Counter()
        for node in self.model.graph.nodes:
            kind = target_of(node, self.modules)
            if kind is None or node in self.sizes:
                continue
            layer = self.modules[node.target] if node.op == "call_module" else None
            if isinstance(layer, nni._FusedModule):
                kind = type(layer[0])
            config = self._config_of(node, kind, numbers)
            node.meta["is_configured"] = config is not None
            if config is None:
                continue
            if layer is not None and isinstance(layer, WEIGHTED):
                check_outputs(layer, config)
                layer.qconfig = config
            if _is_for_weights(config):
                if layer is not None and isinstance(layer, WEIGHTED):
                    self.dynamic.add(node)
                continue
            if kind_of(node, self.modules) is None or (kind in FIXED_RANGES and not _is_fixed(config)):
                continue
            self.quantized[node] = config
            if self.is_qat and layer is not None and type(layer) in QAT:
                made = QAT[type(layer)].from_float(layer)
                made.train(layer.training)
                replace(self.model, node.target, made)
                self.modules[node.target] = made
            elif layer is not None:
                layer.qconfig = config

    def _config_of(self, node: Node, kind: Any, numbers: Counter[tuple[str, Any]]) -> Any:
        """The configuration that the mapping has for a node; ``numbers`` counts the calls in each module."""
        name, around = scope_of(node)
        place = name
        if node.op == "call_module":
            name, place = node.target, name.rpartition(".")[0]
        numbers[place, kind] += 1
        kinds = (kind,) if node.op == "call_module" else (around, kind)
        return self.mapping.of(name, kinds, (place, kind, numbers[place, kind] - 1))

    def _observe(self, node: Node, config: Any) -> None:
        inputs = [each for each in node.all_input_nodes if each.op != "get_attr" and each not in self.sizes]
        shared = kind_of(node, self.modules) is SHARED
        if _is_as_input(config) and not all(each in self.observers.values() for each in inputs):
            del self.quantized[node]  # the input is not quantized
            return
        for each in inputs:
            self._observe_input(node, each, config)
        if self._is_followed_by_relu(node):
            return
        inputs = [each for each in node.all_input_nodes if each in self.observers.values()]
        if shared and inputs and not _is_fused_relu(node):
            observer = self.modules[inputs[0].target]
            for each in inputs[1:]:  # of ``cat``: all on one grid
                self._set(each.target, observer)
            self._add(node, observer)
        elif kind_of(node, self.modules) is OWN or shared:
            self._add(node, config.activation())

    def _observe_input(self, node: Node, value: Node, config: Any) -> None:
        """Let an input that is not observed yet be."""
        if value in self.observers.values() or self._is_unobserved(value):
            return
        if value not in self.observers:
            self._insert(value, config.activation())
        node.replace_input_with(value, self.observers[value])

    def _is_unobserved(self, value: Node) -> bool:
        """Whether a value stays as it is because what follows is one with it: the sum before ``relu``."""
        return value in self.quantized and self._is_followed_by_relu(value)

    def _is_followed_by_relu(self, node: Node) -> bool:
        """Whether a sum or product has ``relu`` as its only user, with which it is one operator."""
        if node.target not in (*ADDING, *MULTIPLYING) or len(node.users) != 1:
            return False
        after = next(iter(node.users))
        is_relu = after.target in RELU or (after.op == "call_module" and type(self.modules[after.target]) is nn.ReLU)
        return is_relu and after in self.quantized

    def _insert(self, node: Node, observer: nn.Module) -> Node:
        name = f"activation_post_process_{len(self.observers)}"
        self.model.add_submodule(name, observer)
        self.modules[name] = observer
        with self.model.graph.inserting_after(node):
            made = self.model.graph.call_module(name, (node,))
        self.observers[node] = made
        return made

    def _add(self, node: Node, observer: nn.Module) -> None:
        """An observer after a node, in the place of the node wherever it is used."""
        made = self._insert(node, observer)
        node.replace_all_uses_with(made)
        made.args = (node,)

    def _set(self, name: str, observer: nn.Module) -> None:
        setattr(self.model, name, observer)
        self.modules[name] = observer


def _is_for_weights(config: Any) -> bool:
    """Whether a configuration quantizes weights alone, or inputs as they come."""
    activation = config.activation()
    return getattr(activation, "is_dynamic", False) or type(activation) is PlaceholderObserver


def _is_as_input(config: Any) -> bool:
    """Whether a configuration says that a result is as the input is."""
    return isinstance(config.activation(), ReuseInputObserver)


def _is_fixed(config: Any) -> bool:
    """Whether a configuration gives the range, which functions whose range is known need."""
    observer = config.activation()
    return isinstance(getattr(observer, "activation_post_process", observer), FixedQParamsObserver)


def _is_fused_relu(node: Node) -> bool:
    """Whether a ``relu`` is one operator with the sum or product before it."""
    before = node.args[0] if node.args else None
    return isinstance(before, Node) and before.target in (*ADDING, *MULTIPLYING)
