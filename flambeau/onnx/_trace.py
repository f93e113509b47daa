"""Tracing by running: a module is called with real tensors, and each public function and method on them is noted."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

from flambeau import Tensor
from flambeau.fx._names import qualified_name
from flambeau.fx._symbolic_trace import Tracer
from flambeau.fx.graph import Graph
from flambeau.fx.node import Node
from flambeau.fx.proxy import Proxy
from flambeau.nn import Module
from flambeau.utils._pytree import tree_map_only

_KNOWN = frozenset(
    {
        "shape",
        "dtype",
        "device",
        "ndim",
        "layout",
        "requires_grad",
        "is_cuda",
        "is_leaf",
        "is_nested",
        "is_sparse",
        "is_quantized",
        "is_mkldnn",
        "grad_fn",
        "itemsize",
        "names",
        "is_meta",
    }
)
"""Attributes whose values are taken as they are."""
_ASKED = frozenset(
    {
        "size", "dim", "numel", "nelement", "stride", "storage_offset", "is_contiguous", "is_floating_point", "is_complex", "get_device", "element_size", "ndimension",
        "item", "tolist", "data_ptr", "is_inference",
    }
)  # fmt: skip
"""Methods whose results are taken as they are."""


class Running(Proxy):
    """A value with its node. Questions about its shape or its numbers are answered; what computes another tensor becomes a node."""

    def __init__(self, node: Node, tracer: RunningTracer, value: Any) -> None:
        super().__init__(node, tracer)
        self.value = value

    def __getattr__(self, name: str) -> Any:
        if name in _KNOWN:
            return getattr(self.value, name)
        if name in ("T", "mT", "H", "mH", "real", "imag", "data"):
            return self.tracer.create_proxy("call_function", getattr, (self, name), {})
        method = getattr(self.value, name)
        if not callable(method):
            raise AttributeError(f"{name!r} of a tensor is not known to the exporter")
        if name in _ASKED:
            return method
        return lambda *args, **kwargs: self.tracer.create_proxy("call_method", name, (self, *args), kwargs)

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        return iter([self[number] for number in range(len(self.value))])

    def __bool__(self) -> bool:
        return bool(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __index__(self) -> int:
        return self.value.__index__()

    def __contains__(self, value: Any) -> bool:
        return value in self.value

    __hash__ = Proxy.__hash__

    @property
    def __class__(self) -> type:  # so that `isinstance(x, Tensor)` holds in the network's code
        return type(self.value)


def is_running(value: Any) -> bool:
    """Whether a value is a proxy. (Its class says otherwise.)"""
    return type(value) is Running


class RunningTracer(Tracer):
    """Makes the graph of one run: control flow goes as it goes with the example.

    Args:
        examples: the arguments by name
        leaves: the classes of modules that are not entered
        entered: which public functions are: what they call becomes nodes in their place

    Attributes:
        values: of each node
    """

    homes = ("flambeau.nn.functional.",)

    def __init__(
        self, examples: dict[str, Any], leaves: tuple[type[Module], ...] = (), entered: Callable[[Any], bool] = lambda function: False
    ) -> None:
        super().__init__()
        self._entered = entered
        self._leaves = leaves
        self.values: dict[Node, Any] = {}
        self._examples = examples

    def is_leaf_module(self, m: Module, module_qualified_name: str) -> bool:
        return isinstance(m, self._leaves)

    def trace(self, root: Module, concrete_args: dict[str, Any] | None = None) -> Graph:  # type: ignore[override]
        if not isinstance(root, self._leaves):
            return super().trace(root, concrete_args)
        self.root, self.graph = root, Graph()
        result = self.create_proxy("call_module", "", tuple(self._given(name, ()) for name in self._examples), {})
        self.create_node("output", "output", (self.create_arg(result),), {})
        return self.graph

    def parameter_proxy(self, node: Node, path: str, parameter: Tensor) -> Running:
        return self._running(node, parameter)

    def _running(self, node: Node, value: Any) -> Running:
        self.values[node] = value
        return Running(node, self, value)

    def _attribute(self, tensor: Tensor) -> Node:
        node = super()._attribute(tensor)
        self.values[node] = tensor
        return node

    def create_proxy(self, kind: str, target: Any, args: tuple, kwargs: dict[str, Any], *others: Any, **options: Any) -> Any:
        """Run a call, and note it if its result is a tensor, or several; other results are taken as they are."""
        if kind == "placeholder":
            name = target.lstrip("*")
            return self._given(name, args)
        if kind == "call_function" and self._entered(target):
            try:
                return target(*args, **kwargs)
            except TypeError as error:
                if "expected a tensor or a number" in str(error):
                    raise NotImplementedError(f"{qualified_name(target)} has no counterpart in ONNX that is known here") from error
                raise
        real_args, real_kwargs = tree_map_only(is_running, lambda leaf: leaf.value, (args, kwargs))
        if kind == "call_method":
            call, real_args = getattr(real_args[0], target), real_args[1:]
        else:
            call = self.root.get_submodule(target).forward if kind == "call_module" else target
        result = call(*real_args, **real_kwargs)
        tensors = isinstance(result, Tensor) or (isinstance(result, (tuple, list)) and any(isinstance(each, Tensor) for each in result))
        if not tensors:
            return result
        node = self.create_node(kind, target, self.create_arg(tuple(args)), self.create_arg(dict(kwargs)))
        self.values[node] = result
        if isinstance(result, Tensor):
            if args and is_running(args[0]) and result is args[0].value:  # in place: the name stands for the new value
                args[0].node = node
                return args[0]
            return self._running(node, result)
        parts = [
            self._running(self.create_node("call_function", operator.getitem, (node, number), {}), each)
            for number, each in enumerate(result)
        ]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)

    def _given(self, name: str, default: tuple) -> Any:
        """A proxy for each tensor of an argument; what is no tensor is part of the program."""
        if name not in self._examples:
            return default[0] if default else None
        number = 0

        def proxy(leaf: Tensor) -> Running:
            nonlocal number
            number += 1
            return self._running(self.create_node("placeholder", name if number == 1 else f"{name}_{number}", (), {}), leaf)

        return tree_map_only(Tensor, proxy, self._examples[name])
