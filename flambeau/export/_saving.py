"""Exported programs in files: PyTorch's format (`_pt2_writing.py`, `_pt2_reading.py`), and here Flambeau's own, which holds any program.

Both are plain values and tensors, so that loading one runs nothing of it: a program may only name operators on tensors (`_allowed.py`), and a
file that names anything else is refused.
"""

from __future__ import annotations

import operator
import os
import pickle
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO

import flambeau
from flambeau import Tensor, ops, overrides
from flambeau._serialization.files import reading, writing
from flambeau.export._allowed import REFUSED, operator_named
from flambeau.export._inputs import InputCheck
from flambeau.export._names import checked_name, is_name
from flambeau.export._pt2_reading import is_pt2, load_pt2
from flambeau.export._pt2_writing import pt2_records, write_pt2
from flambeau.export._schemas import NotWritable
from flambeau.export._tracing import Described, check
from flambeau.export._trees import CONTAINERS
from flambeau.export.exported_program import ExportedProgram
from flambeau.export.graph_signature import (
    ConstantArgument,
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    SymIntArgument,
    TensorArgument,
)
from flambeau.fx._names import public_names
from flambeau.fx.graph import Graph
from flambeau.fx.node import Node
from flambeau.utils._pytree import TreeSpec, tree_structure

__all__ = ["load", "save"]

_FORMAT = "flambeau.export"
_VERSION = 1
_PLAIN = (type(None), bool, int, float, complex, str)
_VALUES = (flambeau.dtype, flambeau.device, flambeau.layout, flambeau.memory_format)
_ARITHMETIC = frozenset({
    "add", "and_", "eq", "floordiv", "ge", "getitem", "gt", "invert", "le", "lshift", "lt", "matmul", "mod", "mul", "ne", "neg", "not_", "or_", "pos", "pow", "rshift",
    "setitem", "sub", "truediv", "xor",
})  # fmt: skip
_ATTRIBUTES = frozenset(["H", "T", "data", "imag", "mH", "mT", "real"])
_ARGUMENTS: dict[str, Callable] = {"tensor": TensorArgument, "size": SymIntArgument}


def save(
    ep: ExportedProgram, f: str | os.PathLike | BinaryIO, *, extra_files: dict[str, Any] | None = None, opset_version: Any = None, pickle_protocol: int = 2
) -> None:  # fmt: skip
    """Save an exported program in PyTorch's format, so that PyTorch reads the file as well; one that calls what is no operator of PyTorch's, or
    holds else what these files do not, in Flambeau's own, with a warning that says what it is.

    Args:
        ep: the program
        f: a path, conventionally with the extension `.pt2`, or a stream of bytes
        extra_files: texts by name, to be saved with it
        opset_version, pickle_protocol: for PyTorch's sake

    Raises:
        NotImplementedError: the program holds something that is no plain value: a container of another class, an operator of the user's
    """
    if not isinstance(ep, ExportedProgram):
        raise TypeError(f"torch.export.save saves what torch.export.export returns, not a {type(ep).__name__}: use torch.save")
    texts = {str(name): str(text) for name, text in (extra_files or {}).items()}
    try:
        records = pt2_records(ep, texts)
    except NotWritable as reason:
        save_own(ep, f, texts)
        warnings.warn(f"the program was saved in Flambeau's own format, which PyTorch does not read: {reason}", UserWarning, stacklevel=2)
        return
    with writing(f) as stream:
        write_pt2(records, stream, "archive")


def save_own(ep: ExportedProgram, f: Any, texts: dict[str, str]) -> None:
    """Save a program in Flambeau's own format, which holds any."""
    flambeau.save({
        "format": _FORMAT, "version": _VERSION, "extra_files": texts,
        "nodes": [_node(node) for node in ep.graph.nodes], "state_dict": dict(ep.state_dict), "constants": dict(ep.constants),
        "inputs": [(spec.kind.name, _argument(spec.arg), spec.target, spec.persistent) for spec in ep.graph_signature.input_specs],
        "outputs": [_argument(spec.arg) for spec in ep.graph_signature.output_specs], "ranges": {name: tuple(limits) for name, limits in ep.ranges.items()},
        "parameters": list(ep.parameters_of_call), "in_spec": _spec(ep.in_spec), "out_spec": _spec(ep.out_spec),
        "checks": [(each.name, each.shape, each.dtype, _value(each.value)) for each in ep.input_checks],
    }, f)  # fmt: skip


def load(
    f: str | os.PathLike | BinaryIO, *, extra_files: dict[str, Any] | None = None, expected_opset_version: Any = None
) -> ExportedProgram:
    """Load a program that `save` has saved, or PyTorch's. Nothing in the file is run; the program itself can only call operators on tensors.

    Args:
        f: a path, or a stream that can seek
        extra_files: texts that were saved with it are put in for the names in this dictionary

    Raises:
        RuntimeError: the file is damaged, or is no exported program
        NotImplementedError: a program that PyTorch has written calls an operator that is not available here
    """
    with reading(f) as stream:
        if is_pt2(stream):
            return load_pt2(stream, extra_files)
        try:
            saved = flambeau.load(stream, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
            raise RuntimeError(f"this is no program that torch.export.save has written: {error}") from error
    if not is_program(saved):
        raise RuntimeError("this file holds no exported program: it is one of torch.save, which torch.load reads")
    return loaded_program(saved, extra_files)


def is_program(saved: Any) -> bool:
    """Whether what `torch.load` gave is what `save` has written."""
    return isinstance(saved, dict) and saved.get("format") == _FORMAT


def loaded_program(saved: dict[str, Any], extra_files: dict[str, Any] | None = None) -> ExportedProgram:
    """The program that `save` has written, as `torch.load` gave it with `weights_only=True`.

    Raises:
        RuntimeError: it is damaged, or calls what is no operator
    """
    if saved.get("version") != _VERSION:
        raise RuntimeError(f"the program was saved in version {saved.get('version')!r} of the format, and only {_VERSION} is known here")
    try:
        program = _program(saved)
        texts = {str(name): str(text) for name, text in saved["extra_files"].items()}
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        MemoryError,
        NameError,
        RecursionError,
        SyntaxError,
        TypeError,
        ValueError,
    ) as error:
        raise RuntimeError(f"the exported program in this file is damaged: {error!r}") from error
    if extra_files is not None:
        extra_files.update({name: texts[name] for name in extra_files if name in texts})
    return program


def _program(saved: dict[str, Any]) -> ExportedProgram:
    tensors = {**saved["state_dict"], **saved["constants"]}
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in tensors.items()):
        raise TypeError("a parameter, buffer or constant is no tensor")
    signature = ExportGraphSignature(
        [InputSpec(InputKind[kind], _loaded_argument(arg), target, persistent) for kind, arg, target, persistent in saved["inputs"]],
        [OutputSpec(OutputKind.USER_OUTPUT, _loaded_argument(arg)) for arg in saved["outputs"]],
    )
    graph = Graph()
    known: dict[str, Node] = {}
    for op, name, target, args, kwargs, val in saved["nodes"]:
        _check_names(op, name, target, kwargs)
        node = graph.create_node(op, _loaded_target(op, target), _loaded(args, known), _loaded(kwargs, known), name)
        if op == "call_function" and node.target is getattr and node.args[1] not in _ATTRIBUTES:
            raise RuntimeError(f"the program in this file asks for the attribute {node.args[1]!r} of a tensor, which is not allowed")
        known[name] = node
        if val is not None:
            node.meta["val"] = Described(*val)
    checks = [InputCheck(name, shape, dtype, _loaded(value, known)) for name, shape, dtype, value in saved["checks"]]
    program = ExportedProgram(
        graph, signature, saved["state_dict"], saved["constants"], saved["ranges"], saved["parameters"], checks, _loaded_spec(saved["in_spec"]),
        _loaded_spec(saved["out_spec"]),
    )  # fmt: skip
    program.validate()
    return program


def _check_names(op: str, name: Any, target: Any, kwargs: Any) -> None:
    """Check what becomes a name in generated code.

    Raises:
        RuntimeError: it is none
    """
    written = [name, *[key for key, _ in kwargs[1]], *([target] if op == "placeholder" else [])]
    for each in written:
        checked_name(each)


# -- nodes -----------------------------------------------------------------------------------------------------------


def _node(node: Node) -> tuple:
    val = node.meta.get("val")
    described = (val.shape, val.dtype, val.requires_grad, val.strides) if isinstance(val, Described) else None
    return node.op, node.name, _target(node), _value(node.args), _value(dict(node.kwargs)), described


def _target(node: Node) -> str:
    target = node.target
    if node.op != "call_function":
        return target
    if hasattr(target, "overloadpacket"):
        name = f"{target.overloadpacket._namespace}.{target.__name__}"
    elif target is check or target is getattr:
        name = target.__name__
    elif getattr(operator, getattr(target, "__name__", ""), None) is target:
        name = f"operator.{target.__name__}"
    else:
        name = public_names().get(id(target), "")
    try:
        _loaded_target("call_function", name)
    except RuntimeError:
        raise NotImplementedError(f"{target!r} cannot be saved: a program in a file calls operators on tensors only") from None
    return name


def _loaded_target(op: str, name: str) -> Any:
    """What a name in a file stands for.

    Raises:
        RuntimeError: nothing that is allowed
    """
    if op in ("placeholder", "output"):
        return name
    if op == "call_method":
        method = getattr(Tensor, name, None)
        if name not in REFUSED and not name.startswith("_") and any(value is method for _, value in overrides._methods()):
            return name
    if op == "call_function":
        family, _, rest = name.partition(".")
        found: Any = None
        if name in ("check", "getattr"):
            found = check if name == "check" else getattr
        elif family == "operator" and rest in _ARITHMETIC:
            found = getattr(operator, rest)
        elif family == "aten" and rest.count(".") == 1:
            found = _loaded_overload(*rest.split("."))
        elif family == "torch" and name.rpartition(".")[2] not in REFUSED:
            found = next((function for _, _, function in overrides._functions() if public_names().get(id(function)) == name), None)
        if found is not None:
            return found
    raise RuntimeError(f"the program in this file calls {name!r}, which is no operator on tensors that is known here")


def _loaded_overload(packet: str, overload: str) -> ops.OpOverload | None:
    """An overload of an operator, or nothing if there is none that is allowed.

    Both names become part of generated code, and what begins with an underscore belongs to the packet itself, not to its overloads.
    """
    if not is_name(overload) or overload.startswith("_"):
        return None
    if operator_named(packet) is None:
        return None
    found = getattr(getattr(ops.aten, packet), overload)
    return found if isinstance(found, ops.OpOverload) else None


# -- values ----------------------------------------------------------------------------------------------------------


def _value(value: Any) -> Any:
    """A value as plain ones: what is not plain is a tuple that begins with its kind."""
    if isinstance(value, _PLAIN) and type(value) in _PLAIN:
        return value
    if isinstance(value, Node):
        return ("node", value.name)
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return ("list" if isinstance(value, list) else "tuple", [_value(each) for each in value])
    if type(value) is dict:
        return ("dict", [(_value(key), _value(each)) for key, each in value.items()])
    if isinstance(value, slice):
        return ("slice", [_value(each) for each in (value.start, value.stop, value.step)])
    if value is Ellipsis:
        return ("ellipsis", [])
    if isinstance(value, _VALUES):
        return ("value", value)
    raise NotImplementedError(f"a {type(value).__name__} cannot be saved as a part of a program: {value!r}")


def _loaded(value: Any, known: dict[str, Node]) -> Any:
    if isinstance(value, _PLAIN):
        return value
    kind, inside = value
    if kind == "node":
        return known[inside]
    if kind in ("list", "tuple"):
        return CONTAINERS[kind](_loaded(each, known) for each in inside)
    if kind == "dict":
        return {_loaded(key, known): _loaded(each, known) for key, each in inside}
    if kind == "slice":
        return slice(*[_loaded(each, known) for each in inside])
    if kind == "ellipsis":
        return Ellipsis
    if kind == "value" and isinstance(inside, _VALUES):
        return inside
    raise ValueError(f"unknown kind of value {kind!r}")


def _argument(arg: Any) -> tuple:
    if isinstance(arg, ConstantArgument):
        return ("constant", arg.name, _value(arg.value))
    return ("size" if isinstance(arg, SymIntArgument) else "tensor", arg.name)


def _loaded_argument(arg: tuple) -> Any:
    return ConstantArgument(arg[1], _loaded(arg[2], {})) if arg[0] == "constant" else _ARGUMENTS[arg[0]](arg[1])


def _spec(spec: TreeSpec) -> Any:
    """The form of a tree: a string for a leaf, or the name of a container, its keys, and its children."""
    if spec.is_leaf():
        return "leaf"
    name = getattr(spec.type, "__name__", "")
    if CONTAINERS.get(name) is not spec.type:
        raise NotImplementedError(f"a program whose arguments or results hold a {name} cannot be saved: use tuples, lists and dictionaries")
    keys = _value(list(spec.context)) if name in ("dict", "OrderedDict") else None
    return (name, keys, [_spec(child) for child in spec.children_specs])


def _loaded_spec(saved: Any) -> TreeSpec:
    """The specification of an example of that form."""
    return tree_structure(_example(saved))


def _example(saved: Any) -> Any:
    if saved == "leaf":
        return 0
    name, keys, children = saved
    parts = [_example(child) for child in children]
    return CONTAINERS[name](parts) if keys is None else CONTAINERS[name](zip(_loaded(keys, {}), parts, strict=True))
