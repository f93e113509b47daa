"""Proxies: what a function is called with in order to see what it does."""

from __future__ import annotations

import dis
import operator
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import flambeau
from flambeau import Tensor
from flambeau._tensor import overriding
from flambeau.fx import traceback
from flambeau.fx._code import BINARY, UNARY
from flambeau.fx.node import Node, leaves

if TYPE_CHECKING:
    from flambeau.fx.graph import Graph

__all__ = ["Attribute", "GraphAppendingTracer", "ParameterProxy", "Proxy", "TraceError", "TracerBase"]


_CONSTANTS = (
    str,
    int,
    float,
    complex,
    bool,
    type(None),
    type(Ellipsis),
    flambeau.dtype,
    flambeau.device,
    flambeau.layout,
    flambeau.memory_format,
)


class TraceError(ValueError):
    """The function depends on values, which are not known while it is traced."""


class TracerBase:
    """Makes nodes of what is done with proxies.

    Attributes:
        graph: where they go
    """

    graph: Graph

    def to_bool(self, obj: Proxy) -> bool:
        """What `if` makes of a proxy."""
        raise TraceError(
            f"the program branches on the value of {obj.node}, which is not known while it is traced: use torch.where, or make the branch a function "
            "that fx.wrap or Tracer.is_leaf_module keeps whole"
        )

    def iter(self, obj: Proxy) -> Iterator[Proxy]:
        """What `for` makes of a proxy."""
        raise TraceError(
            f"the program iterates over {obj.node} (a loop, an assignment to several names, or *{obj.node} as arguments), whose length is not known while "
            "it is traced: take its parts by index"
        )

    def keys(self, obj: Proxy) -> Any:
        """What `**` makes of a proxy: a node for its keys."""
        return self.create_proxy("call_method", "keys", (obj,), {})

    def create_node(
        self, kind: str, target: Any, args: tuple, kwargs: dict[str, Any], name: str | None = None, type_expr: Any = None
    ) -> Node:
        """Add a node to the graph."""
        node = self.graph.create_node(kind, target, args, kwargs, name, type_expr)
        if kind != "placeholder":
            traceback.note(node)
        return node

    def proxy(self, node: Node) -> Proxy:
        """The proxy that stands for a node."""
        return Proxy(node, self)

    def create_proxy(
        self, kind: str, target: Any, args: tuple, kwargs: dict[str, Any], name: str | None = None, type_expr: Any = None,
        proxy_factory_fn: Callable[[Node], Proxy] | None = None,
    ) -> Proxy:  # fmt: skip
        """Add a node with arguments that may hold proxies, and return its proxy."""
        node = self.create_node(kind, target, self.create_arg(tuple(args)), self.create_arg(dict(kwargs)), name, type_expr)
        return (proxy_factory_fn or self.proxy)(node)

    def create_arg(self, a: Any) -> Any:
        """A value as the argument of a node.

        Raises:
            NotImplementedError: a graph cannot hold it
        """
        if isinstance(a, Proxy):
            return a.node
        if isinstance(a, tuple):
            parts = [self.create_arg(part) for part in a]
            return type(a)(*parts) if hasattr(a, "_fields") else tuple(parts)
        if isinstance(a, list):
            return [self.create_arg(part) for part in a]
        if isinstance(a, dict):
            return {key: self.create_arg(part) for key, part in a.items()}
        if isinstance(a, slice):
            return slice(self.create_arg(a.start), self.create_arg(a.stop), self.create_arg(a.step))
        if isinstance(a, range):
            return range(self.create_arg(a.start), self.create_arg(a.stop), self.create_arg(a.step))
        if isinstance(a, (*_CONSTANTS, Node)) or callable(a):
            return a
        raise NotImplementedError(f"a {type(a).__name__} cannot be an argument of a node: {a!r}")


class GraphAppendingTracer(TracerBase):
    """Adds what is done with its proxies to a graph, as programs do that rewrite one into another:

    >>> graph = flambeau.fx.Graph()
    >>> x = flambeau.fx.Proxy(graph.placeholder("x"), GraphAppendingTracer(graph))
    >>> _ = graph.output(((x > 0) * flambeau.sin(x)).node)
    >>> [node.name for node in graph.nodes]
    ['x', 'gt', 'sin', 'mul', 'output']
    """

    def __init__(self, graph: Graph) -> None:
        overriding.activate()  # nothing watches functions here, so they have to ask
        self.graph = graph


class Proxy:
    """Stands for a value; whatever is done with it becomes a node of the graph.

    Attributes:
        node: the value's node
        tracer: what makes the graph; one that adds to the node's, if left out
    """

    def __init__(self, node: Node, tracer: TracerBase | None = None) -> None:
        self.node = node
        self.tracer = GraphAppendingTracer(node.graph) if tracer is None else tracer

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        """A function that is not watched, as outside of a trace, becomes a node all the same."""
        kwargs = kwargs or {}
        tracer = next(leaf.tracer for leaf in leaves([args, kwargs]) if isinstance(leaf, Proxy))
        if vars(Tensor).get(func.__name__) is func and vars(flambeau).get(func.__name__) is not func:
            return tracer.create_proxy("call_method", func.__name__, args, kwargs)
        return tracer.create_proxy("call_function", func, args, kwargs)

    def __repr__(self) -> str:
        return f"Proxy({self.node.name})"

    def __getattr__(self, name: str) -> Attribute:
        return Attribute(self, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Proxy:
        return self.tracer.create_proxy("call_method", "__call__", (self, *args), kwargs)

    def __iter__(self) -> Iterator[Proxy]:
        frame = sys._getframe(1)
        for instruction in dis.get_instructions(frame.f_code):
            if instruction.offset == frame.f_lasti and instruction.opname == "UNPACK_SEQUENCE":
                return (self[number] for number in range(instruction.argval))
        return self.tracer.iter(self)

    def __bool__(self) -> bool:
        return self.tracer.to_bool(self)

    def __len__(self) -> int:
        raise RuntimeError(
            f"the length of {self.node} is not known while a program is traced: write fx.wrap('len') at the top of the module to have len() be a node"
        )

    def __contains__(self, value: Any) -> bool:
        raise TraceError("whether a value is in a proxy is not known while a function is traced")

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError("'Proxy' object does not support item assignment: use index_put_, or scatter, in a traced function")

    def keys(self) -> Any:
        """What `**` asks of it."""
        return self.tracer.keys(self)


class Attribute(Proxy):
    """An attribute of a proxy: a method, if it is called, and a value of its own otherwise."""

    def __init__(self, root: Proxy, attr: str) -> None:
        self.root = root
        self.attr = attr
        self.tracer = root.tracer
        self._node: Node | None = None

    @property
    def node(self) -> Node:
        if self._node is None:
            self._node = self.tracer.create_proxy("call_function", getattr, (self.root, self.attr), {}).node
        return self._node

    def __call__(self, *args: Any, **kwargs: Any) -> Proxy:
        return self.tracer.create_proxy("call_method", self.attr, (self.root, *args), kwargs)


class ParameterProxy(Proxy):
    """Stands for a parameter: its shape and dtype are known."""

    def __init__(self, tracer: TracerBase, node: Node, name: str, param: Any) -> None:
        super().__init__(node, tracer)
        self.name = name
        self.param = param

    def __repr__(self) -> str:
        return f"ParameterProxy({self.name})"

    @property
    def shape(self) -> Any:
        return self.param.shape

    @property
    def dtype(self) -> Any:
        return self.param.dtype

    @property
    def ndim(self) -> int:
        return self.param.ndim

    def size(self, *dim: int) -> Any:
        return self.param.size(*dim)

    def dim(self) -> int:
        return self.param.dim()

    def numel(self) -> int:
        return self.param.numel()


def _method(name: str) -> Callable:
    function = getattr(operator, name)
    return lambda *args: args[0].tracer.create_proxy("call_function", function, args, {})


def _reflected(name: str) -> Callable:
    function = getattr(operator, name)
    return lambda self, other: self.tracer.create_proxy("call_function", function, (other, self), {})


for _name in (*BINARY, "getitem"):
    setattr(Proxy, f"__{_name.strip('_')}__", _method(_name))
    if _name not in (*UNARY, "getitem", "eq", "ne", "lt", "gt", "le", "ge"):
        setattr(Proxy, f"__r{_name.strip('_')}__", _reflected(_name))
Proxy.__hash__ = object.__hash__
