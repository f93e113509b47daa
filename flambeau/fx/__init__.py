"""Programs as graphs: trace a module, look at its graph or change it, and get a module back.

https://docs.pytorch.org/docs/stable/fx.html
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from flambeau.fx._symbolic_trace import Tracer as Tracer
from flambeau.fx._symbolic_trace import symbolic_trace as symbolic_trace
from flambeau.fx._symbolic_trace import wrap as wrap
from flambeau.fx.graph import Graph as Graph
from flambeau.fx.graph_module import GraphModule as GraphModule
from flambeau.fx.interpreter import Interpreter as Interpreter
from flambeau.fx.interpreter import Transformer as Transformer
from flambeau.fx.node import Node as Node
from flambeau.fx.node import has_side_effect as has_side_effect
from flambeau.fx.node import map_arg as map_arg
from flambeau.fx.proxy import Proxy as Proxy
from flambeau.fx.subgraph_rewriter import replace_pattern as replace_pattern

__all__ = [
    "Graph",
    "GraphModule",
    "Interpreter",
    "Node",
    "Proxy",
    "Tracer",
    "Transformer",
    "has_side_effect",
    "map_arg",
    "replace_pattern",
    "symbolic_trace",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name in ("experimental", "operator_schemas", "passes", "traceback"):  # few need them
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
