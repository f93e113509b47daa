"""Writing PyTorch's `.pt2` files.

PyTorch calls operators by the names of their arguments (`_schemas.py`). A program that calls anything else, or has sizes that cannot be written as
an expression of those of its arguments, is not written (`NotWritable` says why).
"""

from __future__ import annotations

import io
import json
import math
import operator
import sys
from typing import Any, BinaryIO

import flambeau
from flambeau import Tensor, ops
from flambeau._serialization.archive import ArchiveWriter
from flambeau._serialization.tensors import storage_bytes
from flambeau._types.layout import Layout
from flambeau.export._expressions import Expression, added, divided, multiplied, of_text, symbol
from flambeau.export._inputs import arguments_of
from flambeau.export._pt2 import CONSTANTS, DTYPES, FORMAT, MEMORY_FORMATS, MODEL, SAMPLE_INPUTS, STRIDED, WEIGHTS, Records
from flambeau.export._schemas import NotWritable, Overload, overload_of
from flambeau.export._tracing import Described, check
from flambeau.export.exported_program import ExportedProgram
from flambeau.export.graph_signature import ConstantArgument, InputKind, InputSpec, OutputKind, OutputSpec
from flambeau.fx.node import Node
from flambeau.nn import Parameter
from flambeau.utils._pytree import TreeSpec, tree_leaves

__all__ = ["pt2_records", "write_pt2"]

_SCHEMA_VERSION = {"major": 8, "minor": 20}
_OPSET = {"aten": 10}
_POSITIONAL, _KEYWORD = 1, 2
_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
_FORMATS = {memory_format: number for number, memory_format in MEMORY_FORMATS.items()}
_TYPES = {tuple: "builtins.tuple", list: "builtins.list", dict: "builtins.dict"}
_ARITHMETIC = {operator.add: added, operator.mul: multiplied, operator.floordiv: divided}
_COMPARISONS = frozenset([operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge])


def pt2_records(program: ExportedProgram, extra_files: dict[str, str]) -> dict[str, bytes | memoryview]:
    """The records of a file.

    Raises:
        NotWritable: the program has something that PyTorch's files do not hold
    """
    records: dict[str, bytes | memoryview] = {}
    persistent = {name: tensor for name, tensor in program.state_dict.items() if isinstance(tensor, Tensor)}
    _put_tensors(records, WEIGHTS, persistent)
    _put_tensors(records, CONSTANTS, program.constants)
    records[MODEL] = json.dumps(_Writer(program).saved()).encode()
    if program.example_inputs is not None:
        inputs = io.BytesIO()
        flambeau.save(program.example_inputs, inputs)
        records[SAMPLE_INPUTS] = inputs.getvalue()
    for name, text in extra_files.items():
        records[f"extra/{name}"] = text.encode()
    return {**records, FORMAT: b"pt2", "archive_version": b"0", ".data/version": b"6\n", "byteorder": sys.byteorder.encode()}


def write_pt2(records: dict[str, bytes | memoryview], stream: BinaryIO, folder: str) -> None:
    """Write the records of a file."""
    archive = ArchiveWriter(stream, folder)
    for name, data in records.items():
        archive.write(name, data)
    archive.close(version=False)


def _put_tensors(records: dict[str, bytes | memoryview], kind: Records, tensors: dict[str, Tensor]) -> None:
    """The bytes of storages, each once, and what of them each tensor is."""
    config: dict[str, Any] = {}
    paths: dict[int, str] = {}
    for name, tensor in tensors.items():
        layout = tensor.layout
        if not isinstance(layout, Layout) or tensor.is_meta or tensor.dtype not in _NUMBERS:
            raise NotWritable(f"the tensor {name} is no dense tensor with elements")
        if id(tensor.memory) not in paths:
            paths[id(tensor.memory)] = f"{kind.prefix}_{len(paths)}"
            records[f"{kind.folder}/{paths[id(tensor.memory)]}"] = storage_bytes(tensor)
        meta = _tensor_meta(tensor.dtype, layout.shape, layout.strides, layout.offset, tensor.requires_grad)
        is_parameter = isinstance(tensor, Parameter)
        config[name] = {"path_name": paths[id(tensor.memory)], "is_param": is_parameter, "use_pickle": False, "tensor_meta": meta}
    records[kind.config] = json.dumps({"config": config}).encode()


def _tensor_meta(dtype: Any, sizes: Any, strides: Any, offset: int = 0, requires_grad: bool = False) -> dict[str, Any]:
    return {
        "dtype": _NUMBERS[dtype], "sizes": [{"as_int": int(size)} for size in sizes], "requires_grad": bool(requires_grad),
        "device": {"type": "cpu", "index": None}, "strides": [{"as_int": int(stride)} for stride in strides], "storage_offset": {"as_int": int(offset)},
        "layout": STRIDED,
    }  # fmt: skip


class _Writer:
    """Writes a program's graph as JSON."""

    def __init__(self, program: ExportedProgram) -> None:
        self.program = program
        self.symbols = {name: f"s{number}" for number, name in enumerate(program.ranges)}
        self.hints = self._hints()
        self.sizes: dict[Node, tuple[Expression, int]] = {}
        self.truths: set[Node] = set()
        self.tensor_values: dict[str, Any] = {}

    def saved(self) -> dict[str, Any]:
        """All that the record of the model holds."""
        program, nodes = self.program, list(self.program.graph.nodes)
        inputs = [node for node in nodes if node.op == "placeholder"]
        for node in nodes:
            if node.op not in ("placeholder", "call_function", "output"):
                raise NotWritable(f"it has the node {node.format_node()}, which calls no operator of PyTorch's")
            self._describe(node)
        calls = [self._call(node) for node in nodes if node.op == "call_function" and not self._is_part(node)]
        specs = [self._input_spec(spec) for spec in program.graph_signature.input_specs]
        outputs = [self._argument(value) for value in nodes[-1].args[0]]
        graph = {
            "inputs": [self._input(node, spec) for node, spec in zip(inputs, program.graph_signature.input_specs, strict=True)],
            "outputs": outputs, "nodes": calls, "tensor_values": self.tensor_values,
            "sym_int_values": {node.name: self._size(*size) for node, size in self.sizes.items()},
            "sym_bool_values": {node.name: {"as_expr": {"expr_str": "true", "hint": None}} for node in self.truths}, "is_single_tensor_return": False, "custom_obj_values": {}, "sym_float_values": {},
        }  # fmt: skip
        signature = {"input_specs": specs, "output_specs": list(map(self._output_spec, program.graph_signature.output_specs, outputs))}
        module = {
            "graph": graph, "signature": signature, "module_call_graph": [{"fqn": "", "signature": self._call_signature()}], "metadata": {},
            "treespec_namedtuple_fields": {},
        }  # fmt: skip
        return {
            "graph_module": module, "opset_version": _OPSET, "range_constraints": self._ranges(), "schema_version": _SCHEMA_VERSION,
            "verifiers": ["TRAINING"], "torch_version": flambeau.__version__, "guards_code": [],
        }  # fmt: skip

    # -- sizes ---------------------------------------------------------------------------------------------------------------

    def _hints(self) -> dict[str, int]:
        """What free sizes are in the example; without one, what they may be."""
        hints = {self.symbols[name]: max(2, int(low)) for name, (low, _) in self.program.ranges.items()}
        args, kwargs = self.program.example_inputs or ((), {})
        for leaf, wanted in zip(tree_leaves((args, kwargs)), self.program.input_checks):
            for size, each in zip(getattr(leaf, "shape", ()), wanted.shape or ()):
                if isinstance(each, tuple):
                    hints[self.symbols[each[0]]] = (size - each[2]) // each[1]
        return hints

    def _ranges(self) -> dict[str, Any]:
        return {
            self.symbols[name]: {"min_val": int(low), "max_val": None if math.isinf(high) else int(high)}
            for name, (low, high) in self.program.ranges.items()
        }

    def _symbol(self, name: str) -> Expression:
        if name not in self.symbols:
            raise ValueError(f"{name} is no size of the arguments")
        return symbol(self.symbols[name])

    def _size(self, expression: Expression, hint: int) -> dict[str, Any]:
        if isinstance(expression, int):
            return {"as_int": expression}
        return {"as_expr": {"expr_str": expression, "hint": {"as_int": hint}}}

    def _sized(self, size: int | str) -> tuple[Expression, int]:
        """A size of a description, and what it is in the example."""
        if isinstance(size, int):
            return size, size
        try:
            hinted = of_text(size, lambda name: self.hints[self.symbols[name]])
            return of_text(size, self._symbol), int(hinted)
        except (KeyError, ValueError):
            raise NotWritable(f"a size or a stride is not known as an expression of the arguments' sizes ({size})") from None

    def _describe(self, node: Node) -> None:
        """Note what a node gives: a tensor, a size, or an answer about sizes."""
        described = node.meta.get("val")
        if isinstance(described, Described):
            self.tensor_values[node.name] = self._meta(node, described)
        elif node.op == "call_function" and (node.target in _COMPARISONS or node.target is operator.not_):
            self.truths.add(node)
        elif node.op == "call_function":
            size = self._computed(node)
            if size is not None:
                self.sizes[node] = size

    def _meta(self, node: Node, described: Described) -> dict[str, Any]:
        sizes = [self._sized(size) for size in described.shape]
        strides = described.strides
        meta = _tensor_meta(described.dtype, (), (), 0, described.requires_grad)
        meta["sizes"] = [self._size(*size) for size in sizes]
        meta["strides"] = [self._size(*each) for each in (_contiguous(sizes) if strides is None else map(self._sized, strides))]
        return meta

    def _computed(self, node: Node) -> tuple[Expression, int] | None:
        """A size that a node gives, or nothing if it gives something else."""
        name = str(node.target)
        if name == "aten.sym_size.int":
            return self._sized(node.args[0].meta["val"].shape[node.args[1]])
        if name.startswith("aten.sym_numel"):
            expression, hint = 1, 1
            for size in node.args[0].meta["val"].shape:
                factor = self._sized(size)
                expression, hint = multiplied(expression, factor[0]), hint * factor[1]
            return expression, hint
        if node.target is operator.sub:
            left, right = (self._operand(each) for each in node.args)
            return added(left[0], multiplied(-1, right[0])), left[1] - right[1]
        if node.target in _ARITHMETIC:
            left, right = (self._operand(each) for each in node.args)
            return _ARITHMETIC[node.target](left[0], right[0]), int(node.target(left[1], right[1]))
        return None

    def _operand(self, value: Any) -> tuple[Expression, int]:
        if isinstance(value, Node) and value in self.sizes:
            return self.sizes[value]
        if isinstance(value, int):
            return value, value
        raise NotWritable(f"{value} is computed with, and is no size")

    # -- inputs and outputs ----------------------------------------------------------------------------------------------------

    def _input(self, node: Node, spec: InputSpec) -> dict[str, Any]:
        return self._argument(spec.arg.value) if isinstance(spec.arg, ConstantArgument) else self._argument(node)

    def _input_spec(self, spec: InputSpec) -> dict[str, Any]:
        arg = {"name": spec.arg.name}
        if isinstance(spec.arg, ConstantArgument):
            return {"constant_input": {"name": spec.arg.name, "value": self._argument(spec.arg.value)}}
        if spec.kind is InputKind.PARAMETER:
            return {"parameter": {"arg": arg, "parameter_name": spec.target}}
        if spec.kind is InputKind.BUFFER:
            return {"buffer": {"arg": arg, "buffer_name": spec.target, "persistent": bool(spec.persistent)}}
        if spec.kind is InputKind.CONSTANT_TENSOR:
            return {"tensor_constant": {"arg": arg, "tensor_constant_name": spec.target}}
        return {"user_input": {"arg": {"as_tensor": arg}}}

    def _output_spec(self, spec: OutputSpec, saved: dict[str, Any]) -> dict[str, Any]:
        if spec.kind is OutputKind.USER_OUTPUT:
            return {"user_output": {"arg": saved}}
        kind = spec.kind.name.lower()
        target = "buffer_name" if spec.kind is OutputKind.BUFFER_MUTATION else "user_input_name"
        return {kind: {"arg": {"name": spec.arg.name}, target: spec.target}}

    def _call_signature(self) -> dict[str, Any]:
        program = self.program
        positional, named = arguments_of(program.parameters_of_call, program.in_spec.children_specs)
        args = {"type": "builtins.tuple", "context": "null", "children_spec": list(map(_spec, positional.values()))}
        kwargs = {"type": "builtins.dict", "context": json.dumps(list(named)), "children_spec": list(map(_spec, named.values()))}
        in_spec = {"type": "builtins.tuple", "context": "null", "children_spec": [args, kwargs]}
        return {
            "inputs": [], "outputs": [], "in_spec": json.dumps([1, in_spec]), "out_spec": json.dumps([1, _spec(program.out_spec)]),
            "forward_arg_names": [*positional, *named],
        }  # fmt: skip

    # -- nodes -----------------------------------------------------------------------------------------------------------------

    @staticmethod
    def _is_part(node: Node) -> bool:
        """Whether a node takes one of several results, which in a file are the other node's."""
        return node.target is operator.getitem and isinstance(node.args[0], Node) and isinstance(node.args[1], int)

    def _call(self, node: Node) -> dict[str, Any]:
        if node.target is check:
            inputs = [self._named("self", node.args[0]), self._named("assert_msg", node.args[1])]
            return self._saved_call(node, "torch.ops.aten._assert_scalar.default", inputs, [])
        if (node in self.truths or node in self.sizes) and not isinstance(node.target, ops.OpOverload):
            name = "torch.sym_not" if node.target is operator.not_ else f"_operator.{node.target.__name__}"
            inputs = [self._named(argument, value) for argument, value in zip("ab", node.args)]
            return self._saved_call(node, name, inputs, [self._argument(node)])
        if not isinstance(node.target, ops.OpOverload):
            raise NotWritable(f"it calls {getattr(node.target, '__name__', node.target)}, which is no operator of PyTorch's")
        overload = overload_of(node)
        target = f"torch.ops.{node.target.overloadpacket}.{overload.name}"
        return self._saved_call(node, target, self._inputs(node, overload), self._outputs(node, overload))

    @staticmethod
    def _saved_call(node: Node, target: str, inputs: list, outputs: list) -> dict[str, Any]:
        return {
            "target": target, "inputs": inputs, "outputs": outputs, "metadata": {}, "is_hop_single_tensor_return": None, "name": node.name
        }  # fmt: skip

    def _named(self, name: str, value: Any, kind: int = _POSITIONAL) -> dict[str, Any]:
        return {"name": name, "arg": self._argument(value), "kind": kind}

    def _inputs(self, node: Node, overload: Overload) -> list[dict[str, Any]]:
        known = {argument.name: argument for argument in overload.arguments}
        given = [(argument, value, argument.by_name) for argument, value in zip(overload.arguments, node.args)]
        given += [(known[name], value, True) for name, value in node.kwargs.items()]
        saved = []
        for argument, value, by_name in given:
            if argument.count and isinstance(value, (int, float)):
                value = [value] * argument.count
            saved.append(self._named(argument.name, value, _KEYWORD if by_name else _POSITIONAL))
        return saved

    def _outputs(self, node: Node, overload: Overload) -> list[dict[str, Any]]:
        if overload.results == "0":
            return []
        if overload.results == "1":
            return [self._argument(node)]
        parts = {user.args[1]: user for user in node.users if self._is_part(user)}
        count = len(parts) if overload.results == "*" else int(overload.results)
        if sorted(parts) != list(range(count)):
            raise NotWritable(f"not all results of {node.name} are described")
        tensors = [self._argument(parts[number]) for number in range(count)]
        return [{"as_tensors": [each["as_tensor"] for each in tensors]}] if overload.results == "*" else tensors

    # -- values ----------------------------------------------------------------------------------------------------------------

    def _argument(self, value: Any) -> dict[str, Any]:
        """An argument as the file has it: the name of its kind, and the argument."""
        if isinstance(value, Node):
            if value in self.sizes:
                return {"as_sym_int": {"as_name": value.name}}
            if value in self.truths:
                return {"as_sym_bool": {"as_name": value.name}}
            if value.name not in self.tensor_values:
                raise NotWritable(f"what {value.name} gives is not described")
            return {"as_tensor": {"name": value.name}}
        if isinstance(value, (list, tuple)):
            return self._sequence(list(value))
        return _plain(value)

    def _sequence(self, values: list[Any]) -> dict[str, Any]:
        if any(isinstance(each, Node) and each in self.sizes for each in values):
            return {"as_sym_ints": [self._argument(each).get("as_sym_int") or self._argument(each) for each in values]}
        if any(isinstance(each, Node) for each in values):
            tensors = [self._argument(each) for each in values]
            if all("as_tensor" in each for each in tensors):
                return {"as_tensors": [each["as_tensor"] for each in tensors]}
            return {"as_optional_tensors": tensors}
        for kind, wanted in (("as_bools", bool), ("as_ints", int), ("as_floats", float), ("as_strings", str)):
            if all(type(each) is wanted for each in values):
                return {"as_ints" if not values else kind: [_number(each) if wanted is float else each for each in values]}
        if all(type(each) in (int, float) for each in values):
            return {"as_floats": [_number(float(each)) for each in values]}
        raise NotWritable(f"an operator takes the list {values}")


def _plain(value: Any) -> dict[str, Any]:
    if value is None:
        return {"as_none": True}
    for kind, wanted in (("as_bool", bool), ("as_int", int), ("as_string", str)):
        if type(value) is wanted:
            return {kind: value}
    if type(value) is float:
        return {"as_float": _number(value)}
    if type(value) is complex:
        return {"as_complex": {"real": _number(value.real), "imag": _number(value.imag)}}
    if isinstance(value, flambeau.dtype) and value in _NUMBERS:
        return {"as_scalar_type": _NUMBERS[value]}
    if isinstance(value, flambeau.device):
        return {"as_device": {"type": value.type, "index": value.index}}
    if value is flambeau.strided:
        return {"as_layout": STRIDED}
    if isinstance(value, flambeau.memory_format):
        return {"as_memory_format": _FORMATS[value]}
    raise NotWritable(f"an operator takes {value!r}")


def _number(value: float) -> float | str:
    """A number as JSON has it."""
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def _contiguous(sizes: list[tuple[Expression, int]]) -> list[tuple[Expression, int]]:
    """The strides of a contiguous tensor."""
    strides: list[tuple[Expression, int]] = []
    expression, hint = 1, 1
    for size, example in reversed(sizes):
        strides.append((expression, hint))
        if size != 0:
            expression, hint = multiplied(size, expression), example * hint
    return strides[::-1]


def _spec(spec: TreeSpec) -> dict[str, Any]:
    """The form of a tree, as PyTorch writes it."""
    if spec.is_leaf():
        return {"type": None, "context": None, "children_spec": []}
    if spec.type not in _TYPES or (spec.type is dict and not all(isinstance(key, (str, int)) for key in spec.context)):
        raise NotWritable(f"arguments or results are in a {getattr(spec.type, '__name__', spec.type)}")
    context = json.dumps(list(spec.context)) if spec.type is dict else "null"
    return {"type": _TYPES[spec.type], "context": context, "children_spec": [_spec(child) for child in spec.children_specs]}
