"""Tracing below autograd: a function is called, and every operator that runs becomes a node (``docs/dispatch.md``)."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from flambeau import Tensor
from flambeau._dispatch.table import OWN
from flambeau._ops.registry import OPERATORS
from flambeau._subclasses.fake_tensor import FakeTensorMode
from flambeau.fx.graph import Graph
from flambeau.fx.graph_module import GraphModule
from flambeau.fx.node import Node, map_aggregate
from flambeau.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack
from flambeau.utils._pytree import tree_leaves, tree_map

__all__ = ["ProxyTorchDispatchMode", "get_proxy_mode", "make_fx"]


class ProxyTorchDispatchMode(TorchDispatchMode):
    """Makes the graph of what runs within the context.

    Args:
        table: functions that take the places of operators

    Attributes:
        graph: the nodes so far
        constants: tensors that neither arguments nor operators gave, by the names of their nodes
    """

    def __init__(self, table: dict[Any, Callable] | None = None) -> None:
        super().__init__()
        self.graph = Graph()
        self.constants: dict[str, Tensor] = {}
        self._table = table or {}
        self._tensors: dict[int, Node] = {}
        self._shown: dict[tuple, Node] = {}
        self._kept: list[Tensor] = []

    def know(self, tensor: Tensor, node: Node, is_written: bool = False) -> None:
        """Note the node of a tensor, and of others that show the same: what was saved for a gradient is another object."""
        self._kept.append(tensor)  # so that nothing else gets its identity
        self._tensors[id(tensor)] = node
        key = (id(tensor.memory), tensor.layout)
        if is_written or key not in self._shown:
            self._shown[key] = node
        node.meta["val"] = tensor.detach() if tensor.requires_grad else tensor

    def node_of(self, value: Any) -> Any:
        """A value as an argument of a node; a tensor that is not known is a constant."""
        if not isinstance(value, Tensor):
            return value
        node = self._tensors.get(id(value)) or self._shown.get((id(value.memory), value.layout))
        if node is None:
            name = f"_tensor_constant{len(self.constants)}"
            self.constants[name] = value
            node = self.graph.create_node("get_attr", name)
            self.know(value, node)
        return node

    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in self._table:
            with self:
                found = self._table[func](*args, **kwargs)
            if found is not NotImplemented:
                return found
        if func.namespace == OWN._name and func.overloadpacket.__name__ not in OPERATORS:
            raise NotImplementedError(
                "make_fx: what draws numbers by a rule of its own (randperm, multinomial, poisson) cannot be part of a graph"
            )
        given, named = map_aggregate((tuple(args), dict(kwargs)), self.node_of)
        result = func(*args, **kwargs)
        node = self.graph.call_function(func, given, named)
        if isinstance(result, Tensor):
            self.know(result, node, func._schema.is_mutable)
        elif isinstance(result, (tuple, list)):
            node.meta["val"] = result
            for number, each in enumerate(result):
                if isinstance(each, Tensor):
                    self.know(each, self.graph.call_function(operator.getitem, (node, number)))
        return result


def get_proxy_mode() -> ProxyTorchDispatchMode | None:
    """What traces at the moment."""
    return next((mode for mode in reversed(_get_current_dispatch_mode_stack()) if isinstance(mode, ProxyTorchDispatchMode)), None)


def make_fx(f: Callable, decomposition_table: dict[Any, Callable] | None = None, tracing_mode: str = "real") -> Callable[..., GraphModule]:
    """A function that calls ``f`` with its arguments and returns the graph of the operators that ran, those of gradients included.

    The graph takes and returns what ``f`` does. It holds for the shapes, the numbers and the branches of these arguments.

    Args:
        decomposition_table: functions that are traced in the places of operators
        tracing_mode: ``"real"``, or ``"fake"`` to compute nothing

    Raises:
        ValueError: another mode: sizes cannot be symbols here

    Example::

        >>> def f(x, y):
        ...     return (x * y).sum()
        >>> print(make_fx(f)(flambeau.ones(3), flambeau.ones(3)).graph)
        graph():
            %x_1 : [num_users=1] = placeholder[target=x_1]
            %y_1 : [num_users=1] = placeholder[target=y_1]
            %mul : [num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%x_1, %y_1), kwargs = {})
            %sum_1 : [num_users=1] = call_function[target=torch.ops.aten.sum.default](args = (%mul,), kwargs = {})
            return sum_1
    """
    if tracing_mode not in ("real", "fake"):
        raise ValueError(f"make_fx(): tracing_mode={tracing_mode!r}, but sizes cannot be symbols here: use 'real' or 'fake'")

    def traced(*args: Any) -> GraphModule:
        return _trace(f, args, decomposition_table, tracing_mode == "fake")

    return traced


def _trace(f: Callable, args: tuple, table: dict[Any, Callable] | None, is_fake: bool) -> GraphModule:
    mode = ProxyTorchDispatchMode(table)
    fake = FakeTensorMode(allow_non_fake_inputs=True) if is_fake else nullcontext()
    with fake:
        given = tree_map(lambda leaf: fake.from_tensor(leaf) if isinstance(leaf, Tensor) else leaf, args) if is_fake else args
        for name, arg in zip(_names(f, len(args)), given, strict=True):
            _enter(mode, arg, mode.graph.placeholder(f"{name}_1"))
        with mode:
            result = f(*given)
    mode.graph.output(map_aggregate(result, mode.node_of))
    return GraphModule(mode.constants, mode.graph, getattr(f, "__name__", type(f).__name__))


def _names(f: Callable, count: int) -> list[str]:
    """The names of a function's arguments."""
    names: list[str] = []
    for parameter in inspect.signature(f).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}_{number}" for number in range(count - len(names))]
        names.append(parameter.name)
    return names[:count]


def _enter(mode: ProxyTorchDispatchMode, value: Any, node: Node) -> None:
    """Note the nodes of all tensors in an argument, which may be nested."""
    if isinstance(value, Tensor):
        mode.know(value, node)
    elif isinstance(value, (dict, list, tuple)):
        for key in value if isinstance(value, dict) else range(len(value)):
            if tree_leaves(value[key]):
                _enter(mode, value[key], mode.graph.call_function(operator.getitem, (node, key)))
