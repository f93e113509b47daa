"""Graph mode: a network is traced, so that nothing in it has to be written for quantization."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from flambeau import nn
from flambeau.ao.nn import intrinsic as nni
from flambeau.ao.quantization.fx import convert, fuse
from flambeau.ao.quantization.fx.prepare import Preparation
from flambeau.ao.quantization.qconfig_mapping import QConfigMapping
from flambeau.fx import GraphModule, Tracer
from flambeau.fx.node import Node

__all__ = ["convert_fx", "fuse_fx", "prepare_fx", "prepare_qat_fx"]


class _LayerTracer(Tracer):
    """Traces into everything but layers, those of quantization among them, and notes in which module each node is made (``kinds.scope_of``)."""

    def __init__(self) -> None:
        super().__init__()
        self._scope: tuple[str, type | None] = ("", None)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        is_layer = type(m).__module__.startswith(("flambeau.nn.", "flambeau.ao.nn."))
        return is_layer and not (isinstance(m, nn.Sequential) and not isinstance(m, nni._FusedModule))

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        outer, self._scope = self._scope, (self.path_of_module(m), type(m))
        try:
            return super().call_module(m, forward, args, kwargs)
        finally:
            self._scope = outer

    def create_node(self, *args: Any, **kwargs: Any) -> Node:
        node = super().create_node(*args, **kwargs)
        node.meta["scope"] = self._scope
        return node


def _traced(model: nn.Module) -> GraphModule:
    """A copy of the network as a graph."""
    model = copy.deepcopy(model)
    return GraphModule(model, _LayerTracer().trace(model))


def _refuse(**options: Any) -> None:
    for name, value in options.items():
        if value:
            raise NotImplementedError(f"{name} is not implemented in Flambeau's graph mode; leave it out")


def fuse_fx(model: nn.Module, fuse_custom_config: Any = None, backend_config: Any = None) -> GraphModule:
    """The traced network in evaluation mode with layers that belong together as one: conv, bn, relu; linear, relu; ….

    Raises:
        NotImplementedError: a configuration of one's own.
    """
    _refuse(fuse_custom_config=fuse_custom_config, backend_config=backend_config)
    return fuse.fuse(_traced(model), False)


def _prepare(model: nn.Module, mapping: Any, is_qat: bool) -> GraphModule:
    mapping = QConfigMapping.from_dict(mapping) if isinstance(mapping, dict) else mapping
    graph = fuse.fuse(_traced(model), is_qat)
    return Preparation(graph, mapping, is_qat).run()


def prepare_fx(
    model: nn.Module,
    qconfig_mapping: Any,
    example_inputs: tuple = (),
    prepare_custom_config: Any = None,
    _equalization_config: Any = None,
    backend_config: Any = None,
) -> GraphModule:
    """The traced network in evaluation mode with layers fused, and observers wherever it will be quantized; run it, then ``convert_fx`` it.

    Args:
        qconfig_mapping: which configuration each part gets, such as ``get_default_qconfig_mapping("x86")``
        example_inputs: not needed here

    Raises:
        NotImplementedError: a configuration of one's own.

    Example::

        >>> from flambeau.ao.quantization import get_default_qconfig_mapping
        >>> from flambeau.ao.quantization.quantize_fx import convert_fx, prepare_fx
        >>> model = flambeau.nn.Sequential(flambeau.nn.Linear(4, 8), flambeau.nn.ReLU()).eval()
        >>> x = flambeau.randn(16, 4)
        >>> prepared = prepare_fx(model, get_default_qconfig_mapping("x86"), (x,))
        >>> y = prepared(x)
        >>> print(convert_fx(prepared).graph.find_nodes(op="call_module", target="0"))
        [_0]
    """
    _refuse(prepare_custom_config=prepare_custom_config, _equalization_config=_equalization_config, backend_config=backend_config)
    return _prepare(model, qconfig_mapping, False)


def prepare_qat_fx(
    model: nn.Module, qconfig_mapping: Any, example_inputs: tuple = (), prepare_custom_config: Any = None, backend_config: Any = None
) -> GraphModule:
    """``prepare_fx`` for a network in training mode, whose weights and results are rounded; train it, then ``convert_fx`` it."""
    _refuse(prepare_custom_config=prepare_custom_config, backend_config=backend_config)
    return _prepare(model, qconfig_mapping, True)


def convert_fx(
    graph_module: GraphModule,
    convert_custom_config: Any = None,
    _remove_qconfig: bool = True,
    qconfig_mapping: Any = None,
    backend_config: Any = None,
    keep_original_weights: bool = False,
) -> GraphModule:
    """The network of ``prepare_fx`` or ``prepare_qat_fx`` with quantized layers, and a copy of nothing but what it needs.

    Raises:
        RuntimeError: the network is another.
        NotImplementedError: a configuration of one's own.
    """
    _refuse(
        convert_custom_config=convert_custom_config,
        qconfig_mapping=qconfig_mapping,
        backend_config=backend_config,
        keep_original_weights=keep_original_weights,
    )
    made = convert.convert(copy.deepcopy(graph_module))
    if _remove_qconfig:
        for module in made.modules():
            module.__dict__.pop("qconfig", None)
    return made
