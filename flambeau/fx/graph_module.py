"""A module that runs a graph."""

from __future__ import annotations

import copy
import linecache
from itertools import count
from typing import Any

import flambeau
from flambeau.fx._code import GLOBALS
from flambeau.fx.graph import Graph, PythonCode, fetch
from flambeau.nn import Module

__all__ = ["GraphModule"]

_numbers = count()


class GraphModule(Module):
    """A module whose `forward` is the code of its `graph`; set `graph`, or change it and call `recompile()`.

    Args:
        root: a module, or a dictionary from paths to attributes, that has what the graph refers to
        graph: the program
        class_name: of the module's class
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> GraphModule:
        # A class of its own for each instance, since each has a `forward` of its own.
        base = next(each for each in cls.__mro__ if "_of_instance" not in each.__dict__)
        return object.__new__(type(base.__name__, (base,), {"_of_instance": True}))

    def __init__(self, root: Module | dict[str, Any], graph: Graph, class_name: str = "GraphModule") -> None:
        super().__init__()
        type(self).__name__ = class_name
        if isinstance(root, Module):
            self.training = root.training
        for node in graph.nodes:
            if node.op in ("get_attr", "call_module"):
                self._adopt(node.target, root[node.target] if isinstance(root, dict) else fetch(root, node.target, node))
        self.meta: dict[str, Any] = {}
        self.graph = graph

    def _adopt(self, target: str, value: Any) -> None:
        """Put an attribute at its path, with empty modules above it where there are none."""
        *above, name = target.split(".")
        owner: Module = self
        for part in above:
            if part not in owner._modules:
                owner.add_module(part, Module())
            owner = owner._modules[part]
        if isinstance(value, flambeau.Tensor) and not isinstance(value, flambeau.nn.Parameter):
            if name not in owner._buffers:
                owner.register_buffer(name, value)
        else:
            setattr(owner, name, value)

    @property
    def graph(self) -> Graph:
        """The program."""
        return self.__dict__["_graph"]

    @graph.setter
    def graph(self, graph: Graph) -> None:
        if not isinstance(graph, Graph):
            raise AssertionError(f"the graph of a GraphModule is a fx.Graph, not a {type(graph).__name__}")
        self.__dict__["_graph"] = graph
        graph.owning_module = self
        self.recompile()

    @property
    def code(self) -> str:
        """The Python code of `forward`."""
        return self.__dict__["_code"]

    def recompile(self) -> PythonCode:
        """Make `forward` of the graph as it is now."""
        code = self.graph.python_code("self")
        self.__dict__["_code"] = code.src
        name = f"<flambeau.fx.{next(_numbers)}>"
        linecache.cache[name] = (len(code.src), None, code.src.splitlines(True), name)  # so that a traceback can show its lines
        namespace = dict(code.globals)
        exec(compile(code.src, name, "exec"), namespace)
        type(self).forward = namespace["forward"]
        return code

    # -- submodules ------------------------------------------------------------------------------------------------------

    def add_submodule(self, target: str, m: Module) -> bool:
        """Put a module at a path; whether that was possible."""
        *above, name = target.split(".")
        owner: Module = self
        for part in above:
            if not hasattr(owner, part):
                setattr(owner, part, Module())
            owner = getattr(owner, part)
            if not isinstance(owner, Module):
                return False
        owner.add_module(name, m)
        return True

    def delete_submodule(self, target: str) -> bool:
        """Take the module at a path away; whether there was one."""
        above, _, name = target.rpartition(".")
        try:
            owner = self.get_submodule(above)
        except AttributeError:
            return False
        if name not in owner._modules:
            return False
        delattr(owner, name)
        return True

    def delete_all_unused_submodules(self) -> None:
        """Take away the modules that no node refers to."""
        used = {""}
        for node in self.graph.nodes:
            if node.op in ("call_module", "get_attr"):
                parts = node.target.split(".")
                used.update(".".join(parts[: depth + 1]) for depth in range(len(parts)))
                if node.op == "call_module":
                    used.update(f"{node.target}.{name}" for name, _ in self.get_submodule(node.target).named_modules() if name)
        for name in [name for name, _ in self.named_modules() if name not in used]:
            self.delete_submodule(name)

    # -- text and copies -------------------------------------------------------------------------------------------------

    def print_readable(self, print_output: bool = True, **others: Any) -> str:
        """The code, as part of a class; printed too, unless `print_output` is off."""
        lines = self.code.strip().splitlines()
        text = f"class {type(self).__name__}(torch.nn.Module):\n" + "\n".join(f"    {line}" for line in lines)
        if print_output:
            print(text)
        return text

    def __str__(self) -> str:
        return f"{super().__str__()}\n\n{self.code}\n\n# To see more debug info, please use `graph_module.print_readable()`"

    def __copy__(self) -> GraphModule:
        made = GraphModule(self, copy.deepcopy(self.graph), type(self).__name__)
        made.meta = dict(self.meta)
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> GraphModule:
        root = Module()
        memo[id(self)] = root
        root.__dict__.update(copy.deepcopy({name: value for name, value in self.__dict__.items() if name not in ("_graph", "_code")}, memo))
        for kind in ("_parameters", "_buffers", "_modules"):
            for name, value in self.__dict__[kind].items():
                root.__dict__[kind][name] = copy.deepcopy(value, memo)
        made = GraphModule(root, copy.deepcopy(self.graph), type(self).__name__)
        made.meta = copy.deepcopy(self.meta, memo)
        return made

    def __reduce__(self) -> tuple:
        targets = {node.target: fetch(self, node.target) for node in self.graph.nodes if node.op in ("get_attr", "call_module")}
        names = {name: value for name, value in self.graph.python_code("self").globals.items() if name not in GLOBALS}
        return _rebuild, (targets, self.code, names, type(self).__name__, self.training)


_USER_PRESERVED_ATTRIBUTES_KEY = "_user_preserved_attributes"
"""The key in a graph module's `meta` of attributes that copies keep."""


class _CodeOnlyModule(Module):
    """A module with these attributes."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__()
        self.__setstate__(body)


def _copy_attr(from_module: Module, to_module: Module, target: str) -> None:
    """Put what a module has at a path at the same path of another."""
    GraphModule._adopt(to_module, target, fetch(from_module, target))


def _rebuild(targets: dict[str, Any], code: str, names: dict[str, Any], class_name: str, training: bool) -> GraphModule:
    """A module from its code, which is traced again with every submodule as a leaf."""
    from flambeau.fx._symbolic_trace import Tracer

    class Whole(Tracer):
        def is_leaf_module(self, m: Module, module_qualified_name: str) -> bool:
            return True

    namespace = {**GLOBALS, **names}
    exec(compile(code, "<flambeau.fx>", "exec"), namespace)
    holder = GraphModule.__new__(GraphModule)
    Module.__init__(holder)
    for target, value in targets.items():
        holder._adopt(target, value)
    type(holder).forward = namespace["forward"]
    made = GraphModule(holder, Whole().trace(holder), class_name)
    made.training = training
    return made
