"""Proxies: what a function is called with in order to see what it does."""

from __future__ import annotations

import dis
import operator
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from flambeau.fx._code import BINARY, UNARY
from flambeau.fx.node import Node

if TYPE_CHECKING:
    from flambeau.fx._symbolic_trace import Tracer

__all__ = ["Attribute", "ParameterProxy", "Proxy", "TraceError"]


class TraceError(ValueError):
    """The function depends on values, which are not known while it is traced."""


class Proxy:
    """Stands for a value; whatever is done with it becomes a node of the graph.

    Attributes:
        node: the value's node
        tracer: what makes the graph
    """

    def __init__(self, node: Node, tracer: Tracer) -> None:
        self.node = node
        self.tracer = tracer

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
    def node(self) -> Node:  # type: ignore[override]
        if self._node is None:
            self._node = self.tracer.create_proxy("call_function", getattr, (self.root, self.attr), {}).node
        return self._node

    def __call__(self, *args: Any, **kwargs: Any) -> Proxy:
        return self.tracer.create_proxy("call_method", self.attr, (self.root, *args), kwargs)


class ParameterProxy(Proxy):
    """Stands for a parameter: its shape and dtype are known."""

    def __init__(self, tracer: Tracer, node: Node, name: str, param: Any) -> None:
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
Proxy.__hash__ = object.__hash__  # type: ignore[method-assign]
