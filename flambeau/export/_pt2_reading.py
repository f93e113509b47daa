"""Reading PyTorch's `.pt2` files: JSON and bytes, of which nothing is run. A program can only call operators on tensors (`_allowed.py`)."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import operator
import pickle
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

import flambeau
from flambeau import Tensor, ops
from flambeau._serialization.archive import ArchiveReader
from flambeau._serialization.tensors import LoadedStorage, tensor_over
from flambeau.export._allowed import operator_named
from flambeau.export._expressions import linear, shown
from flambeau.export._inputs import InputCheck, Size
from flambeau.export._names import checked_name
from flambeau.export._pt2 import ARITHMETIC, CONSTANTS, DTYPES, FORMAT, MEMORY_FORMATS, MODEL, SAMPLE_INPUTS, STRIDED, WEIGHTS, Records
from flambeau.export._tracing import Described
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
from flambeau.fx.graph import Graph
from flambeau.fx.node import Node
from flambeau.nn import Parameter
from flambeau.utils._pytree import tree_structure

__all__ = ["is_pt2", "load_pt2"]

_ABSENT: dict[str, Any] = {}
_NUMBERS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}
_FUNCTIONS: dict[str, Callable] = {
    "math.ceil": math.ceil, "math.floor": math.floor, "math.trunc": math.trunc, "torch.sym_float": float, "torch.sym_int": int, "torch.sym_max": max,
    "torch.sym_min": min, "torch.sym_not": operator.not_,
}  # fmt: skip
"""Functions of sizes, besides operators."""
_GRADIENTS = "torch.ops.higher_order.wrap_with_set_grad_enabled"
_KEYWORD = 2


def is_pt2(stream: BinaryIO) -> bool:
    """Whether a file is one of PyTorch's exported programs; its position stays."""
    start = stream.tell()
    magic = stream.read(4)
    try:
        return magic == b"PK\x03\x04" and ArchiveReader(stream, FORMAT).read(FORMAT) == b"pt2"
    except RuntimeError:
        return False
    finally:
        stream.seek(start)


def load_pt2(stream: BinaryIO, extra_files: dict[str, Any] | None = None) -> ExportedProgram:
    """The program in a file.

    Raises:
        RuntimeError: the file is damaged
        NotImplementedError: the program calls what is not available here
    """
    archive = ArchiveReader(stream, FORMAT)
    try:
        saved = json.loads(archive.read(MODEL))
        state = _tensors(archive, WEIGHTS)
        constants = _tensors(archive, CONSTANTS)
        program = _Reader(saved, state, constants, _sample_inputs(archive)).program()
    except NotImplementedError:
        raise
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        MemoryError,
        RecursionError,
        SyntaxError,
        TypeError,
        UnicodeDecodeError,
        ValueError,
    ) as error:
        raise RuntimeError(f"the exported program in this file is damaged: {error!r}") from error
    for name in extra_files or ():
        if extra_files is not None and f"extra/{name}" in archive:
            extra_files[name] = archive.read(f"extra/{name}").decode()
    return program


# -- tensors -----------------------------------------------------------------------------------------------------------


def _tensors(archive: ArchiveReader, records: Records) -> dict[str, Tensor]:
    """The tensors of a group by their names; those that share memory share it here."""
    if records.config not in archive:
        return {}
    swap = "byteorder" in archive and archive.read("byteorder").decode() != sys.byteorder
    storages: dict[str, LoadedStorage] = {}
    made: dict[str, Tensor] = {}
    found: dict[str, Tensor] = {}
    for name, entry in json.loads(archive.read(records.config))["config"].items():
        meta = entry["tensor_meta"]
        if entry["use_pickle"] or meta["layout"] != STRIDED:
            raise NotImplementedError(f"the tensor {name} of this program is no dense tensor, and only dense ones are read")
        record, dtype = f"{records.folder}/{entry['path_name']}", DTYPES[meta["dtype"]]
        if record not in storages:
            storages[record] = LoadedStorage.empty(archive.size(record), dtype)
            archive.read_into(record, storages[record].data().data)
            if swap:
                storages[record].swap_bytes()
        key = json.dumps(entry, sort_keys=True)
        if key not in made:
            sizes, strides = ([each["as_int"] for each in meta[kind]] for kind in ("sizes", "strides"))
            tensor = tensor_over(storages[record], meta["storage_offset"]["as_int"], sizes, strides, dtype)
            wanted = bool(meta["requires_grad"])
            made[key] = Parameter(tensor, wanted) if entry["is_param"] else tensor.requires_grad_(wanted)
        found[name] = made[key]
    return found


def _sample_inputs(archive: ArchiveReader) -> Any:
    """What the program was exported with, as far as a file of weights holds it."""
    if SAMPLE_INPUTS not in archive:
        return None
    try:
        return flambeau.load(io.BytesIO(archive.read(SAMPLE_INPUTS)), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError):
        return None


# -- the program ---------------------------------------------------------------------------------------------------------


class _Reader:
    """Makes a program of what the JSON says."""

    def __init__(self, saved: dict[str, Any], state: dict[str, Tensor], constants: dict[str, Tensor], examples: Any) -> None:
        self.saved = saved
        self.module = saved["graph_module"]
        self.values = self.module["graph"]["tensor_values"]
        self.state, self.constants, self.examples = state, constants, examples
        self.graph = Graph()
        self.nodes: dict[str, Node] = {}
        self.ranges = {
            name: (limits["min_val"] or 0, math.inf if limits["max_val"] is None else limits["max_val"])
            for name, limits in saved["range_constraints"].items()
            if name.isidentifier()
        }

    def program(self) -> ExportedProgram:
        inputs = [self._input(spec) for spec in self.module["signature"]["input_specs"]]
        missing = [spec.target for spec in inputs if spec.target is not None and spec.target not in {**self.state, **self.constants}]
        if missing:
            raise RuntimeError(f"this file has no tensor {missing[0]}, which its program takes; it is damaged")
        for node in self.module["graph"]["nodes"]:
            self._node(node)
        outputs = [self._output(spec) for spec in self.module["signature"]["output_specs"]]
        self.graph.output(tuple([self._argument(each) for each in self.module["graph"]["outputs"]]))
        call = self.module["module_call_graph"][0]["signature"]
        parameters, in_spec = self._parameters(call)
        checks = [self._check(spec.arg) for spec in inputs if spec.kind is InputKind.USER_INPUT]
        program = ExportedProgram(
            self.graph, ExportGraphSignature(inputs, outputs), self.state, self.constants, self.ranges, parameters, checks, in_spec,
            _spec(_tree(call["out_spec"])), self.examples,
        )  # fmt: skip
        program.validate()
        return program

    # -- inputs and outputs --------------------------------------------------------------------------------------------------

    def _input(self, saved: dict[str, Any]) -> InputSpec:
        kind, content = _only(saved)
        if kind == "constant_input":
            value = self._argument(content["value"])
            return InputSpec(InputKind.USER_INPUT, ConstantArgument(self._placeholder(content["name"]).name, value))
        if kind == "user_input":
            what, arg = _only(content["arg"])
            if what != "as_tensor":
                raise NotImplementedError(f"an argument of this program is no tensor and no constant, but {what.removeprefix('as_')}")
            return InputSpec(InputKind.USER_INPUT, TensorArgument(self._placeholder(arg["name"]).name))
        if kind not in ("parameter", "buffer", "tensor_constant"):
            raise NotImplementedError(f"this program has an input of the kind {kind}, which is not available here")
        arg = TensorArgument(self._placeholder(content["arg"]["name"]).name)
        if kind == "parameter":
            return InputSpec(InputKind.PARAMETER, arg, content["parameter_name"])
        if kind == "buffer":
            return InputSpec(InputKind.BUFFER, arg, content["buffer_name"], bool(content["persistent"]))
        return InputSpec(InputKind.CONSTANT_TENSOR, arg, content["tensor_constant_name"])

    def _placeholder(self, name: str) -> Node:
        node = self.graph.create_node("placeholder", checked_name(name), (), {}, name)
        return self._known(name, node)

    def _known(self, name: str, node: Node) -> Node:
        self.nodes[name] = node
        if name in self.values:
            meta = self.values[name]
            shape = tuple([each["as_int"] if "as_int" in each else shown(each["as_expr"]["expr_str"]) for each in meta["sizes"]])
            node.meta["val"] = Described(shape, DTYPES[meta["dtype"]], bool(meta["requires_grad"]))
        return node

    def _output(self, saved: dict[str, Any]) -> OutputSpec:
        kind, content = _only(saved)
        if kind in ("buffer_mutation", "user_input_mutation"):
            of_buffer = kind == "buffer_mutation"
            target = content["buffer_name"] if of_buffer else self.nodes[content["user_input_name"]].name
            return OutputSpec(OutputKind[kind.upper()], TensorArgument(self.nodes[content["arg"]["name"]].name), target)
        if kind != "user_output":
            raise NotImplementedError(f"this program has an output of the kind {kind}, which is not available here")
        what, _ = _only(content["arg"])
        value = self._argument(content["arg"])
        if not isinstance(value, Node):
            return OutputSpec(OutputKind.USER_OUTPUT, ConstantArgument("", value))
        arg: Any = TensorArgument(value.name) if what in ("as_tensor", "as_optional_tensor") else SymIntArgument(value.name)
        return OutputSpec(OutputKind.USER_OUTPUT, arg)

    def _parameters(self, call: dict[str, Any]) -> tuple[list[tuple[str, int]], Any]:
        """The names and kinds of the arguments, and the form of the dictionary of them."""
        args, kwargs = _tree(call["in_spec"])
        names = call["forward_arg_names"] or [f"arg_{number}" for number in range(len(args) + len(kwargs))]
        positional = names[: len(args)]
        parameters = [(checked_name(name), 1) for name in positional] + [(checked_name(name), 3) for name in kwargs]
        return parameters, _spec({**dict(zip(positional, args, strict=True)), **kwargs})

    def _check(self, arg: Any) -> InputCheck:
        if isinstance(arg, ConstantArgument):
            return InputCheck(arg.name, value=arg.value)
        meta = self.values[arg.name]
        return InputCheck(arg.name, tuple([self._size(each) for each in meta["sizes"]]), DTYPES[meta["dtype"]])

    def _size(self, saved: dict[str, Any]) -> Size:
        """A size of an argument: one that is no symbol, times a number plus a number, may be anything."""
        if "as_int" in saved:
            return saved["as_int"]
        text = saved["as_expr"]["expr_str"]
        try:
            name, factor, offset = linear(text)
        except ValueError:
            name, factor, offset = text, 1, 0
        self.ranges.setdefault(name, (0, math.inf))
        return name, factor, offset

    # -- nodes -------------------------------------------------------------------------------------------------------------

    def _node(self, saved: dict[str, Any]) -> None:
        if saved["target"] == _GRADIENTS:
            return self._block(saved)
        target, args, kwargs = _target(saved["target"]), [], {}
        for each in saved["inputs"]:
            if each.get("kind") == _KEYWORD:
                kwargs[checked_name(each["name"])] = self._argument(each["arg"])
            else:
                args.append(self._argument(each["arg"]))
        kwargs = {name: value for name, value in kwargs.items() if name not in ("layout", "pin_memory")}
        outputs = [_only(each) for each in saved["outputs"]]
        single = len(outputs) == 1 and outputs[0][0] not in ("as_tensors", "as_optional_tensors")
        name = self._name(saved, outputs if single else [])
        node = self.graph.create_node("call_function", target, tuple(args), kwargs, name)
        self._known(name, node)
        if single:
            self.nodes[name] = node
            return
        for index, (kind, content) in enumerate(_parts(outputs)):
            if kind != "as_none":
                part = content.get("name") or content["as_name"]
                self._known(part, self.graph.create_node("call_function", operator.getitem, (node, index), {}, checked_name(part)))

    def _block(self, saved: dict[str, Any]) -> None:
        """The nodes of a block of ``no_grad`` or ``enable_grad``; without gradients, it works on detached tensors."""
        enabled, block, *args = [each["arg"] for each in saved["inputs"]]
        graph, given = block["as_graph"]["graph"], [self._argument(each) for each in args]
        if not enabled["as_bool"]:
            given = [self._detached(each) for each in given]
        outer = self.nodes, self.values
        self.nodes = {_only(each)[1]["name"]: value for each, value in zip(graph["inputs"], given, strict=True)}
        self.values = graph["tensor_values"]
        for node in graph["nodes"]:
            self._node(node)
        results = [self._argument(each) for each in graph["outputs"]]
        self.nodes, self.values = outer
        for (_, content), result in zip(_parts([_only(each) for each in saved["outputs"]]), results, strict=True):
            self.nodes[content.get("name") or content["as_name"]] = result

    def _detached(self, value: Any) -> Any:
        if not (isinstance(value, Node) and isinstance(value.meta.get("val"), Described)):
            return value
        node = self.graph.call_function(ops.aten.detach.default, (value,))
        node.meta["val"] = dataclasses.replace(value.meta["val"], requires_grad=False)
        return node

    def _name(self, saved: dict[str, Any], outputs: list[tuple[str, Any]]) -> str:
        """A node's name: that of its only output, or its own."""
        for kind, content in outputs:
            if kind != "as_none":
                return checked_name(content.get("name") or content["as_name"])
        return checked_name(saved.get("name") or f"{saved['target'].split('.')[-2]}_{len(self.nodes)}")

    def _argument(self, saved: dict[str, Any]) -> Any:
        """What a saved argument says: a node, a list of nodes, or a value."""
        kind, content = _only(saved)
        if kind == "as_none":
            return None
        if kind in ("as_tensor", "as_custom_obj"):
            return self.nodes[content["name"]]
        if kind in ("as_tensors", "as_optional_tensors"):
            return [self._part(each) for each in content]
        if kind == "as_optional_tensor":
            return self._argument(content)
        if kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
            return self._symbolic(content)
        if kind in ("as_sym_ints", "as_sym_floats", "as_sym_bools"):
            return [self._symbolic(each) for each in content]
        if kind == "as_nested_tensors":
            return [[self.nodes[each["name"]] for each in inner] for inner in content]
        if kind == "as_string_to_argument":
            return {str(name): self._argument(each) for name, each in content.items()}
        return _value(kind, content)

    def _part(self, saved: dict[str, Any]) -> Any:
        return self.nodes[saved["name"]] if "name" in saved else self._argument(saved)

    def _symbolic(self, saved: dict[str, Any]) -> Any:
        kind, content = _only(saved)
        return self.nodes[content] if kind == "as_name" else _value(kind, content)


def _only(saved: dict[str, Any]) -> tuple[str, Any]:
    """The name and the content of a union."""
    ((kind, content),) = saved.items()
    return kind, content


def _parts(outputs: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """The results of a node one by one; a single one may be a list of tensors."""
    if len(outputs) == 1 and outputs[0][0] in ("as_tensors", "as_optional_tensors"):
        return [_part(each) for each in outputs[0][1]]
    return outputs


def _part(saved: dict[str, Any]) -> tuple[str, Any]:
    return ("as_tensor", saved) if "name" in saved else _only(saved)


def _value(kind: str, content: Any) -> Any:
    """A value that is no tensor and no size."""
    if kind in ("as_int", "as_bool", "as_string", "as_ints", "as_bools", "as_strings", "as_int_lists"):
        return content
    if kind == "as_float":
        return float(_NUMBERS.get(content, content))
    if kind == "as_floats":
        return [float(_NUMBERS.get(each, each)) for each in content]
    if kind == "as_complex":
        return complex(*[float(_NUMBERS.get(content[part], content[part])) for part in ("real", "imag")])
    if kind == "as_scalar_type":
        return DTYPES[content]
    if kind == "as_memory_format":
        return MEMORY_FORMATS[content]
    if kind == "as_layout" and content == STRIDED:
        return flambeau.strided
    if kind == "as_device":
        return flambeau.device(content["type"])
    raise NotImplementedError(f"this program has an argument of the kind {kind.removeprefix('as_')}, which is not available here")


def _target(name: str) -> Any:
    """What a node calls.

    Raises:
        NotImplementedError: it is not available here, or may not be called by a program in a file
    """
    if name.startswith("_operator.") and name.removeprefix("_operator.") in ARITHMETIC:
        return getattr(operator, name.removeprefix("_operator."))
    if name in _FUNCTIONS:
        return _FUNCTIONS[name]
    parts = name.split(".")
    if name.startswith("torch.ops.") and len(parts) == 5:
        namespace, packet, overload = (checked_name(each) for each in parts[2:])
        if not overload.startswith("_"):
            if namespace == "aten" and operator_named(packet) is not None:
                return getattr(getattr(ops.aten, packet), overload)
            found = vars(ops.NAMESPACES.get(namespace, ops.Namespace(namespace))).get(packet)
            if isinstance(found, ops.OpOverloadPacket):
                return getattr(found, overload)
    raise NotImplementedError(f"the program in this file calls {name}, which is not available here")


# -- sizes and containers ------------------------------------------------------------------------------------------------


def _tree(saved: str) -> Any:
    """An example of the form that a text says, with zeros for leaves."""
    version, spec = json.loads(saved)
    if version != 1:
        raise ValueError(f"the form of arguments is written in version {version}, and only 1 is known here")
    return _example(spec)


def _example(spec: dict[str, Any]) -> Any:
    if spec["type"] is None:
        return 0
    kind = CONTAINERS.get(spec["type"].rpartition(".")[2])
    if kind is None:
        raise NotImplementedError(f"arguments or results of this program are in a {spec['type']}: tuples, lists and dictionaries are read")
    parts = [_example(child) for child in spec["children_spec"]]
    return kind(parts) if kind in (tuple, list) else kind(zip(json.loads(spec["context"]), parts, strict=True))


def _spec(example: Any) -> Any:
    return tree_structure(example)
