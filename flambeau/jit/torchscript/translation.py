"""The TorchScript of a trace: a module whose source PyTorch reads.

Each node of the graph is a line of `forward`, in PyTorch's operators, and each module of the tree a class that says what it holds. What has no
counterpart in TorchScript is not written (`NotWritable` says what it is).
"""

from __future__ import annotations

import json
import keyword
import math
import operator
from collections.abc import Iterator
from typing import Any

import flambeau
from flambeau import Tensor, ops
from flambeau.export._inputs import arguments_of
from flambeau.export._schemas import Argument, NotWritable, overload_of
from flambeau.export._tracing import Described, check
from flambeau.export.exported_program import ExportedProgram
from flambeau.fx.node import Node
from flambeau.jit.torchscript.codes import DTYPES, number_of, number_of_memory_format
from flambeau.jit.torchscript.interpreter import Interpreter
from flambeau.jit.torchscript.module import RecursiveScriptModule
from flambeau.jit.torchscript.source import Class, read_source
from flambeau.nn import Module
from flambeau.utils._pytree import TreeSpec

__all__ = ["as_torchscript"]

_FILE = "code/__torch__.py"
_VERSION = b"10\n"
"""The version of PyTorch's operators that the source is for."""
_ON_SIZES = {
    operator.add: "add", operator.sub: "sub", operator.mul: "mul", operator.floordiv: "floordiv", operator.truediv: "div", operator.mod: "remainder",
    operator.neg: "neg", operator.pow: "pow",
}  # fmt: skip
_ON_TRUTHS = {
    operator.eq: "eq", operator.ne: "ne", operator.lt: "lt", operator.le: "le", operator.gt: "gt", operator.ge: "ge", operator.not_: "__not__",
}  # fmt: skip
_SIZES_OF = {"aten.sym_size.int": "size", "aten.sym_numel.default": "numel", "aten.sym_stride.int": "stride"}
_CONTAINERS = {tuple: "Tuple", list: "List", dict: "Dict"}


def as_torchscript(trace: Module, program: ExportedProgram, name: str) -> RecursiveScriptModule:
    """The module of a TorchScript program that does what a trace does, with the same tensors.

    Args:
        trace: the module, which holds the tensors
        program: what it was traced to
        name: the name of its class

    Raises:
        NotWritable: the trace has something that TorchScript has not
    """
    classes = _class_names(name, [path for path, _ in trace.named_modules()])
    forward = _Forward(trace, program, f"__torch__.{classes['']}").lines()
    source: list[str] = []
    for path, module in trace.named_modules():
        source += [f"class {classes[path]}(Module):", *_fields(module, path, classes)]
        source += [f"  {line}" for line in forward] if path == "" else []
    text = "\n".join([*source, ""])
    definitions = read_source(text, "__torch__", _FILE)
    interpreter = Interpreter(definitions, (), {_FILE: text.encode(), "version": _VERSION})
    return _filled(trace, classes, interpreter)


def _class_names(root: str, paths: list[str]) -> dict[str, str]:
    """A class's name for each path, no two of them the same: those of ``a.b`` and ``a_b`` begin alike."""
    found: dict[str, str] = {}
    for path in paths:
        name = "_".join([root if _is_identifier(root) else "PlaceholderModule", *path.split(".")]).rstrip("_")
        while name in found.values():
            name += "_"
        found[path] = name
    return found


def _held(module: Module) -> Iterator[tuple[str, Tensor]]:
    yield from module._parameters.items()
    yield from module._buffers.items()


def _fields(module: Module, path: str, classes: dict[str, str]) -> Iterator[str]:
    """What a class says of its objects: which of their tensors are parameters and buffers, and the types of all they hold."""
    saved = [name for name in module._buffers if name not in module._non_persistent_buffers_set]
    yield f"  __parameters__ = {_names(module._parameters)}"
    yield f"  __buffers__ = {_names(saved)}"
    types = {name: "Tensor" if tensor is not None else "NoneType" for name, tensor in _held(module)}
    types["training"] = "bool"
    types.update({name: f"__torch__.{classes[f'{path}.{name}' if path else name]}" for name in module._modules})
    for name, kind in types.items():
        yield f"  {name} : {kind}" if _is_identifier(name) else f'  __annotations__["{name}"] = {kind}'


def _names(names: Any) -> str:
    return "[" + "".join([f'"{name}", ' for name in names]) + "]"


def _is_identifier(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)


def _filled(module: Module, classes: dict[str, str], interpreter: Interpreter, path: str = "") -> RecursiveScriptModule:
    """A module of the program with what the trace's holds."""
    definition = interpreter.definitions[f"__torch__.{classes[path]}"]
    assert isinstance(definition, Class)
    made = RecursiveScriptModule(definition, interpreter)
    for name, tensor in _held(module):
        made._set_slot(name, tensor)
    for name, inner in module._modules.items():
        made._set_slot(name, _filled(inner, classes, interpreter, f"{path}.{name}" if path else name))
    made._set_slot("training", module.training)
    return made


class _Forward:
    """Writes a trace's graph as the method `forward`.

    Args:
        trace: its module
        program: what it was traced to
        owner: the full name of its class
    """

    def __init__(self, trace: Module, program: ExportedProgram, owner: str) -> None:
        self.graph, self.program, self.owner = trace.graph, program, owner
        self.types: dict[Node, str] = {}

    def lines(self) -> list[str]:
        """The lines of the method."""
        parameters, unpacked = self._parameters()
        body: list[str] = []
        returned = "NoneType"
        for node in self.graph.nodes:
            if node.op == "get_attr":
                self.types[node] = "Tensor"
                body.append(f"{_name(node)} = {_attribute(node.target)}")
            elif node.op == "call_function":
                body += self._call(node)
            elif node.op == "output":
                result, returned = self._result(self.program.out_spec, iter(node.args[0]))
                body.append(f"return {result}")
            elif node.op != "placeholder":
                raise NotWritable(f"it calls the method {node.target}")
        head = ", ".join([f"self: {self.owner}", *[f"{name}: {kind}" for name, kind in parameters]])
        return [f"def forward({head}) -> {returned}:", *[f"  {line}" for line in [*unpacked, *body]]]

    # -- what goes in and comes out ----------------------------------------------------------------------------------------

    def _parameters(self) -> tuple[list[tuple[str, str]], list[str]]:
        """The parameters with their types, and the lines that take them apart."""
        leaves = iter([node for node in self.graph.nodes if node.op == "placeholder"])
        values = iter(self.program.input_checks)
        parameters: list[tuple[str, str]] = []
        unpacked: list[str] = []
        positional, named = arguments_of(self.program.parameters_of_call, self.program.in_spec.children_specs)
        for name, spec in {**positional, **named}.items():
            parameters.append((_safe(name), self._taken(spec, _safe(name), leaves, values, unpacked)))
        return parameters, unpacked

    def _taken(self, spec: TreeSpec, source: str, leaves: Iterator[Node], values: Iterator[Any], unpacked: list[str]) -> str:
        """The type of an argument; adds the lines that give its leaves their names."""
        if spec.is_leaf():
            node, kind = next(leaves), _type_of(next(values))
            self.types[node] = kind
            if _name(node) != source:
                unpacked.append(f"{_name(node)} = {source}")
            return kind
        keys = [json.dumps(key) for key in spec.context] if spec.type is dict else range(len(spec.children_specs))
        kinds = [self._taken(child, f"({source})[{key}]", leaves, values, unpacked) for key, child in zip(keys, spec.children_specs)]
        return _container(spec, kinds)

    def _result(self, spec: TreeSpec, values: Iterator[Any]) -> tuple[str, str]:
        """The expression of a result, and its type."""
        if spec.is_leaf():
            value = next(values)
            if not isinstance(value, Node):
                raise NotWritable(f"it returns {value!r}")
            return _name(value), self.types[value]
        parts = [self._result(child, values) for child in spec.children_specs]
        kind = _container(spec, [kind for _, kind in parts])
        texts = [text for text, _ in parts]
        if spec.type is dict:
            return "{" + ", ".join([f"{json.dumps(key)}: {text}" for key, text in zip(spec.context, texts)]) + "}", kind
        inside = ", ".join(texts)
        return (f"[{inside}]" if spec.type is list else f"({inside},)" if len(texts) == 1 else f"({inside})"), kind

    # -- nodes ---------------------------------------------------------------------------------------------------------------

    def _call(self, node: Node) -> list[str]:
        """The lines of a call."""
        target = node.target
        if target is check:
            return [f"if {self._value(node.args[0])}:", "  pass", "else:", f"  ops.prim.RaiseException({json.dumps(str(node.args[1]))})"]
        if target in _ON_SIZES or target in _ON_TRUTHS:
            self._check_on_sizes(node)
            self.types[node] = "bool" if target in _ON_TRUTHS else "float" if target is operator.truediv else "int"
            name = _ON_TRUTHS.get(target) or _ON_SIZES[target]
            return [f"{_name(node)} = torch.{name}({', '.join(map(self._value, node.args))})"]
        if target is operator.getitem and isinstance(node.args[0], Node) and type(node.args[1]) is int:
            self.types[node] = "Tensor"
            return [f"{_name(node)} = ({_name(node.args[0])})[{node.args[1]}]"]
        if str(target) in _SIZES_OF:
            self.types[node] = "int"
            return [f"{_name(node)} = torch.{_SIZES_OF[str(target)]}({', '.join(map(self._value, node.args))})"]
        if not isinstance(target, ops.OpOverload):
            raise NotWritable(f"it calls {getattr(target, '__name__', target)}, which is no operator of PyTorch's")
        return [self._operator(node)]

    def _check_on_sizes(self, node: Node) -> None:
        for each in node.args:
            if isinstance(each, Node) and self.types[each] == "Tensor":
                raise NotWritable(f"it calls {node.target} with tensors")

    def _operator(self, node: Node) -> str:
        overload = overload_of(node)
        known = {argument.name: argument for argument in overload.arguments}
        given = [(argument, value, argument.by_name) for argument, value in zip(overload.arguments, node.args)]
        given += [(known[name], value, True) for name, value in node.kwargs.items()]
        arguments = [
            f"{argument.name}={text}" if by_name else text
            for argument, value, by_name in given
            for text in [self._argument(value, argument)]
        ]
        call = f"torch.{node.target.overloadpacket.__name__}({', '.join(arguments)})"
        if overload.results == "0":
            return call
        self.types[node] = "Tensor" if isinstance(node.meta.get("val"), Described) or overload.results == "1" else "results"
        return f"{_name(node)} = {call}"

    # -- values --------------------------------------------------------------------------------------------------------------

    def _argument(self, value: Any, argument: Argument) -> str:
        """An argument of an operator as text: of the type that the operator takes, as nothing is converted in TorchScript."""
        if argument.count and isinstance(value, (int, float)) and argument.kind in "IF":
            value = [value] * argument.count
        if argument.kind in "fF" and not isinstance(value, Node):
            value = [float(each) for each in value] if isinstance(value, (list, tuple)) else None if value is None else float(value)
        return self._value(value)

    def _value(self, value: Any) -> str:
        if isinstance(value, Node):
            return _name(value)
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(map(self._value, value))}]"
        return _plain(value)


def _name(node: Node) -> str:
    return _safe(node.name)


def _safe(name: str) -> str:
    """A name that means nothing else in TorchScript."""
    return f"{name}_" if name in ("self", "torch", "ops", "CONSTANTS", "inf", "nan") or keyword.iskeyword(name) else name


def _attribute(path: str) -> str:
    """The expression of a tensor of the trace."""
    text = "self"
    for name in path.split("."):
        text = f"{text}.{name}" if _is_identifier(name) else f'getattr({text}, "{name}")'
    return text


def _type_of(checked: Any) -> str:
    """The type of an argument, which the trace's check of it knows."""
    if checked.shape is not None:
        return "Tensor"
    kind = type(checked.value)
    if kind in (int, float, bool, str):
        return kind.__name__
    raise NotWritable(f"its argument {checked.name} is {checked.value!r}")


def _container(spec: TreeSpec, kinds: list[str]) -> str:
    """The type of a container.

    Raises:
        NotWritable: TorchScript has no such containers
    """
    name = _CONTAINERS.get(spec.type)
    if name is None or (spec.type is dict and not all(isinstance(key, str) for key in spec.context)):
        raise NotWritable(f"arguments or results are in a {getattr(spec.type, '__name__', spec.type)}")
    if spec.type is tuple:
        return f"Tuple[{', '.join(kinds) or '()'}]"
    if len(set(kinds)) != 1:
        raise NotWritable(f"a {spec.type.__name__} of arguments or results is empty or holds values of several types")
    return f"List[{kinds[0]}]" if spec.type is list else f"Dict[str, {kinds[0]}]"


def _plain(value: Any) -> str:
    """A value that is part of the program."""
    if value is None or isinstance(value, (bool, int)):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, complex):
        return f"complex({_plain(value.real)}, {_plain(value.imag)})"
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, DTYPES):
        return str(number_of(value))
    if isinstance(value, flambeau.device):
        return f'torch.device("{value}")'
    if value is flambeau.strided:
        return "0"
    if isinstance(value, flambeau.memory_format):
        return str(number_of_memory_format(value))
    raise NotWritable(f"an operator takes {value!r}")
