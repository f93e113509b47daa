"""Tracing: a module is called with proxies, and public functions and modules are watched meanwhile."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from types import ModuleType
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._tensor.overriding import spread
from flambeau.fx._names import NAMESPACES, functions_of, public_names, snake_case
from flambeau.fx.graph import Graph
from flambeau.fx.graph_module import GraphModule
from flambeau.fx.node import Node, leaves
from flambeau.fx.proxy import ParameterProxy, Proxy, TraceError, TracerBase
from flambeau.nn import Module, Parameter, Sequential

__all__ = ["Tracer", "is_fx_tracing", "symbolic_trace", "wrap"]

_wrapped: list[tuple[dict[str, Any], str]] = []
"""The globals in which functions are to be watched, and the functions' names."""
_tracing = 0


def is_fx_tracing() -> bool:
    """Whether something is being traced."""
    return _tracing > 0


def wrap(fn_or_name: str | Callable) -> str | Callable:
    """Let calls of a function in the calling module become nodes, instead of what happens in it.

    Args:
        fn_or_name: the function (as a decorator), or the name by which the module calls it

    Raises:
        RuntimeError: it is neither
        NotImplementedError: not called at the top level of a module
    """
    name = fn_or_name if isinstance(fn_or_name, str) else getattr(fn_or_name, "__name__", None)
    if not isinstance(name, str) or not (isinstance(fn_or_name, str) or callable(fn_or_name)):
        raise RuntimeError(f"fx.wrap takes a function, or the name of one as a string, not {fn_or_name!r}")
    frame = inspect.currentframe()
    caller = frame.f_back if frame is not None else None
    if caller is None or caller.f_code.co_name != "<module>":
        raise NotImplementedError(
            f"fx.wrap({name!r}) has to stand at the top level of a module, not in a function: it changes the module's globals"
        )
    _wrapped.append((caller.f_globals, name))
    return fn_or_name


class Tracer(TracerBase):
    """Makes a graph of a module or a function; subclasses decide which modules are entered.

    Attributes:
        graph: what has been traced so far
        root: the module
        homes: how the names of Python modules begin whose functions are watched, besides those of the root's modules
    """

    homes: tuple[str, ...] = ()

    def __init__(
        self,
        autowrap_modules: tuple[ModuleType, ...] = (),
        autowrap_functions: tuple[Callable, ...] = (),
        param_shapes_constant: bool = False,
    ) -> None:
        self._more = [*autowrap_functions]
        for module in autowrap_modules:
            self._more += [
                each for name, each in vars(module).items() if callable(each) and not isinstance(each, type) and not name.startswith("_")
            ]
        self.graph: Graph = Graph()
        self.root: Module = Module()
        self._attributes: dict[int, str] = {}
        self._paths: dict[int, str] = {}

    # -- decisions -------------------------------------------------------------------------------------------------------

    def is_leaf_module(self, m: Module, module_qualified_name: str) -> bool:
        """Whether a call of a module is one node: for the modules of `torch.nn`, but for `Sequential`."""
        return type(m).__module__.startswith(("torch.nn", "flambeau.nn")) and not isinstance(m, Sequential)

    def path_of_module(self, mod: Module) -> str:
        """The path of a submodule below the root.

        Raises:
            NameError: it is none
        """
        if id(mod) not in self._paths:
            raise NameError(
                f"a {type(mod).__name__} is called that is no submodule of the traced {type(self.root).__name__}: assign it to an attribute"
            )
        return self._paths[id(mod)]

    def call_module(self, m: Module, forward: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        """What becomes of a call of a module: a node, or whatever `forward` leads to."""
        path = self.path_of_module(m)
        if self.is_leaf_module(m, path):
            return self.create_proxy("call_module", path, args, kwargs)
        return forward(*args, **kwargs)

    # -- making nodes ----------------------------------------------------------------------------------------------------

    def create_node(
        self, kind: str, target: Any, args: tuple, kwargs: dict[str, Any], name: str | None = None, type_expr: Any = None
    ) -> Node:
        """Add a node to the graph; a module's call is named after its path."""
        if name is None and kind == "call_module":
            name = snake_case(target.replace(".", "_") or type(self.root).__name__)
        return super().create_node(kind, target, args, kwargs, name, type_expr)

    def parameter_proxy(self, node: Node, path: str, parameter: Parameter) -> Proxy:
        """The proxy that stands for a parameter's node."""
        return ParameterProxy(self, node, path, parameter)

    def create_arg(self, a: Any) -> Any:
        """A value as the argument of a node; tensors become attributes of the root."""
        return self._attribute(a) if isinstance(a, Tensor) and not isinstance(a, Proxy) else super().create_arg(a)

    def _attribute(self, tensor: Tensor) -> Node:
        """The node of a tensor that is no argument: an attribute of the root, which it becomes if it is none yet."""
        path = self._attributes.get(id(tensor))
        if path is None:
            number = 0
            while hasattr(self.root, f"_tensor_constant{number}"):
                number += 1
            path = self._attributes[id(tensor)] = f"_tensor_constant{number}"
            setattr(self.root, path, tensor)
        return self.create_node("get_attr", path, (), {})

    # -- tracing ---------------------------------------------------------------------------------------------------------

    def trace(self, root: Module | Callable, concrete_args: dict[str, Any] | None = None) -> Graph:
        """The graph of a module's `forward`, or of a function.

        Args:
            concrete_args: values for some arguments, by name, which the graph is made for

        Raises:
            TraceError: what it does depends on values
        """
        global _tracing
        if isinstance(root, Module):
            self.root, function = root, type(root).forward
            positional: list[Any] = [root]
        else:
            self.root, function, positional = Module(), root, []
        self.graph = Graph(tracer_cls=type(self))
        self._paths = {id(module): path for path, module in self.root.named_modules()}
        self._attributes = {id(value): path for path, value in self._tensors()}
        args, kwargs = self._arguments(function, len(positional), concrete_args or {})
        with ExitStack() as stack:
            stack.enter_context(_parameters_shown(self))
            stack.enter_context(_calls_watched(self, function))
            _tracing += 1
            stack.callback(_stop_tracing)
            result = function(*positional, *args, **kwargs)
            self.create_node("output", "output", (self.create_arg(result),), {})
        return self.graph

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        """The tensors among the attributes of all modules, parameters first."""
        yield from self.root.named_parameters()
        yield from self.root.named_buffers()
        for path, module in self.root.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Tensor):
                    yield (f"{path}.{name}" if path else name), value

    def _arguments(self, function: Callable, skipped: int, concrete: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """What to call the function with: a proxy for each parameter, or the value that is given."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for parameter in list(inspect.signature(inspect.unwrap(function)).parameters.values())[skipped:]:
            star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
            default = () if parameter.default is parameter.empty else (parameter.default,)
            if parameter.name in concrete:
                default = (concrete[parameter.name],)
            proxy = self.create_proxy("placeholder", star + parameter.name, default, {})
            value = concrete.get(parameter.name, proxy)
            if parameter.kind is parameter.KEYWORD_ONLY:
                kwargs[parameter.name] = value
            elif star:
                raise TraceError(f"a function of any number of arguments ({star}{parameter.name}) cannot be traced: give it names")
            else:
                args.append(value)
        return args, kwargs


def _stop_tracing() -> None:
    global _tracing
    _tracing -= 1


# -- watching ----------------------------------------------------------------------------------------------------------


@contextmanager
def _parameters_shown(tracer: Tracer) -> Iterator[None]:
    """Let modules that are entered show proxies in the place of their parameters."""
    shown: list[tuple[Module, str, Parameter]] = []
    proxies: dict[int, Proxy] = {}

    class Shown:
        """A parameter, which becomes a node when it is first asked for."""

        def __init__(self, path: str, parameter: Parameter) -> None:
            self.path, self.parameter = path, parameter

        def proxy(self) -> Proxy:
            if id(self.parameter) not in proxies:
                node = tracer.create_node("get_attr", self.path, (), {})
                proxies[id(self.parameter)] = tracer.parameter_proxy(node, self.path, self.parameter)
            return proxies[id(self.parameter)]

    held = {
        id(module): {
            name: Shown(f"{path}.{name}" if path else name, value) for name, value in module._parameters.items() if value is not None
        }
        for path, module in tracer.root.named_modules()
        if not path or not tracer.is_leaf_module(module, path)
    }
    found = Module.__getattr__

    def getattr_of_module(self: Module, name: str) -> Any:
        mine = held.get(id(self))
        return mine[name].proxy() if mine and name in mine else found(self, name)

    for module in tracer.root.modules():
        for name in held.get(id(module), ()):
            if module.__dict__.pop(name, None) is not None:  # so that `__getattr__` is asked
                shown.append((module, name, module._parameters[name]))
    Module.__getattr__ = getattr_of_module
    try:
        yield
    finally:
        Module.__getattr__ = found
        for module, name, value in shown:
            module.__dict__[name] = value


@contextmanager
def _calls_watched(tracer: Tracer, function: Callable) -> Iterator[None]:
    """Let calls of modules, of public functions and of tensors' methods become nodes where they are given proxies."""
    undo: list[Callable[[], None]] = []

    def replace(owner: Any, name: str, value: Any) -> None:
        if isinstance(owner, dict):
            missing = name not in owner
            old = owner.get(name)
            owner[name] = value
            undo.append(lambda: owner.pop(name) if missing else owner.__setitem__(name, old))
        else:
            old = vars(owner)[name]  # and not what a descriptor gives: methods in native code do not bind themselves
            setattr(owner, name, value)
            undo.append(lambda: setattr(owner, name, old))

    call = Module.__call__

    def call_of_module(self: Module, *args: Any, **kwargs: Any) -> Any:
        return tracer.call_module(self, lambda *a, **k: call(self, *a, **k), args, kwargs)

    public_names()  # before they are replaced
    watched: dict[int, Callable] = {}
    spaces: list[dict[str, Any]] = []
    for path in NAMESPACES.values():
        module: Any = flambeau
        for part in filter(None, path.split(".")):
            module = getattr(module, part)
        spaces.append(vars(module))
        for each in functions_of(path).values():
            watched.setdefault(id(each), _watched_function(each))
    for each in tracer._more:
        watched[id(each)] = _watched_function(each)
    homes = _homes(tracer.root, function)
    spaces += [vars(module) for name, module in list(sys.modules.items()) if name in homes or name.startswith(tracer.homes)]
    try:
        replace(Module, "__call__", call_of_module)
        for space in spaces:
            for name, value in list(space.items()):
                if id(value) in watched and callable(value):
                    replace(space, name, watched[id(value)])
        for space, name in _wrapped:
            value = space.get(name, __builtins__.get(name) if isinstance(__builtins__, dict) else getattr(__builtins__, name, None))
            if callable(value):
                replace(space, name, _watched_function(value))
        for name, value in list(vars(Tensor).items()):
            if (
                callable(value)
                and not isinstance(value, (type, staticmethod, classmethod))
                and (name in _OPERATORS or not name.startswith("_"))
            ):
                replace(Tensor, name, _watched_method(name, value))
        yield
    finally:
        for step in reversed(undo):
            step()


_OPERATORS = frozenset(
    f"__{prefix}{name}__" for prefix in ("", "r") for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")
) | {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__getitem__"}  # fmt: skip


def _homes(root: Module, function: Callable) -> set[str]:
    """The names of the modules of Python in which the code to trace lies."""
    return {type(module).__module__ for module in root.modules()} | {getattr(function, "__module__", "") or ""}


def _tracer_of(args: tuple, kwargs: dict[str, Any]) -> Tracer | None:
    """The tracer of a proxy among some arguments."""
    return next((leaf.tracer for leaf in leaves([args, kwargs]) if isinstance(leaf, Proxy)), None)


def _watched_function(function: Callable) -> Callable:
    @wraps(function)
    def watched(*args: Any, **kwargs: Any) -> Any:
        tracer = _tracer_of(args, kwargs)
        return (
            function(*args, **kwargs) if tracer is None else tracer.create_proxy("call_function", function, spread(function, args), kwargs)
        )

    return watched


def _watched_method(name: str, method: Callable) -> Callable:
    @wraps(method)
    def watched(*args: Any, **kwargs: Any) -> Any:
        tracer = _tracer_of(args, kwargs)
        return method(*args, **kwargs) if tracer is None else tracer.create_proxy("call_method", name, args, kwargs)

    return watched


def symbolic_trace(root: Module | Callable, concrete_args: dict[str, Any] | None = None) -> GraphModule:
    """A module whose code is what `root` does, as a graph that can be looked at and changed.

    Args:
        root: a module, or a function
        concrete_args: values for some arguments, which the graph is made for

    Raises:
        TraceError: what it does depends on values

    Example:
        >>> import flambeau
        >>> traced = flambeau.fx.symbolic_trace(lambda x: flambeau.relu(x) + 1)
        >>> print(traced.code.strip())
        def forward(self, x):
            relu = torch.relu(x);  x = None
            add = relu + 1;  relu = None
            return add
    """
    tracer = Tracer()
    graph = tracer.trace(root, concrete_args)
    return GraphModule(tracer.root, graph, type(root).__name__ if isinstance(root, Module) else getattr(root, "__name__", "GraphModule"))
