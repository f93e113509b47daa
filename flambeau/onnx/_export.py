"""`export`: from a module and an example to a file."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import flambeau
from flambeau import Tensor
from flambeau._serialization.files import writing
from flambeau.fx._names import qualified_name
from flambeau.fx.node import Node, map_aggregate
from flambeau.nn import Module
from flambeau.onnx import _shapes  # noqa: F401 - its handlers register themselves
from flambeau.onnx._graph import Builder, Value
from flambeau.onnx._layers import MODULES
from flambeau.onnx._operators import HANDLERS
from flambeau.onnx._trace import RunningTracer
from flambeau.utils._pytree import tree_leaves
from flambeau.version import __version__

__all__ = ["OnnxExporterError", "export", "is_in_onnx_export"]

OPSET = 18
OPSETS = range(18, 23)
IR_VERSION = 9
_exporting = False


class OnnxExporterError(RuntimeError):
    """Something in a network has no counterpart in ONNX."""


def is_in_onnx_export() -> bool:
    """Whether a network is being exported."""
    return _exporting


def export(
    model: Module, args: Any = (), f: str | os.PathLike | BinaryIO | None = None, *, kwargs: Mapping[str, Any] | None = None,
    export_params: bool = True, verbose: bool | None = None, input_names: Sequence[str] | None = None, output_names: Sequence[str] | None = None,
    opset_version: int | None = None, dynamic_axes: Mapping[str, Any] | None = None, dynamo: bool = True, keep_initializers_as_inputs: bool = False,
    do_constant_folding: bool = True, **others: Any,
) -> Any:  # fmt: skip
    """Run a module with an example, and write what it computed as an ONNX model.

    The module runs in evaluation mode and without gradients. The file says what happened in this run: control flow goes as it went, and
    sizes are those of the example, but for the first dimension of tensors that are reshaped, which follows the input's.

    Args:
        model: the module
        args: an example of its arguments: a tuple, or one tensor
        f: a path or a binary stream; without it the model is only returned
        kwargs: an example of its keyword arguments
        input_names, output_names: of the tensors; `forward`'s own names and `output`, `output_1`, … by default
        opset_version: from 18 to 22; 18 by default
        dynamic_axes: for inputs and outputs by name, the dimensions that another size may have: `{"x": {0: "batch"}}`, or a list of them
        export_params, verbose, dynamo, keep_initializers_as_inputs, do_constant_folding, others: for PyTorch's sake

    Returns:
        An `onnx.ModelProto`, checked.

    Raises:
        OnnxExporterError: an operator has no counterpart; it names it
        ImportError: `onnx` is not installed
        ValueError: a name or a version is none that is possible
    """
    global _exporting
    version = OPSET if opset_version is None else opset_version
    if version not in OPSETS:
        raise ValueError(f"opset_version is from {OPSETS.start} to {OPSETS.stop - 1}, not {version}")
    builder = Builder()
    positional = tuple(args) if isinstance(args, (tuple, list)) else (args,)
    examples = _bound(model, positional, dict(kwargs or {}))
    training = model.training
    tracer = RunningTracer(examples, tuple(MODULES), _is_composed)
    _exporting = True
    try:
        model.eval()
        with flambeau.no_grad():
            graph = tracer.trace(model)
            inputs, outputs = _translate(builder, graph, tracer, list(input_names or ()), list(output_names or ()))
    except NotImplementedError as error:
        raise OnnxExporterError(str(error)) from error
    finally:
        _exporting = False
        model.train(training)
    proto = _model(builder, inputs, outputs, type(model).__name__, version, dynamic_axes or {})
    if f is not None:
        with writing(f) as file:
            file.write(proto.SerializeToString())
    return proto


def _bound(model: Module, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The example arguments by the names of `forward`'s parameters.

    Raises:
        TypeError: `forward` does not take them
    """
    signature = inspect.signature(type(model).forward)
    bound = signature.bind(model, *args, **kwargs)
    bound.apply_defaults()
    examples = dict(list(bound.arguments.items())[1:])
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) and not examples.get(name):
            examples.pop(name, None)
    return examples


def _translate(
    g: Builder, graph: Any, tracer: RunningTracer, input_names: list[str], output_names: list[str]
) -> tuple[list[Value], list[Value]]:
    """The graph's nodes as ONNX's; gives inputs and outputs."""
    known: dict[Node, Any] = {}
    inputs: list[Value] = []
    wanted = [node for node in graph.nodes if node.op == "placeholder"]
    if len(input_names) > len(wanted):
        raise ValueError(f"{len(input_names)} input_names, but the module takes {len(wanted)} tensors")
    for name in (*input_names, *output_names):
        g.names.take(name)
    for node in graph.nodes:
        if node.op == "placeholder":
            name = input_names[len(inputs)] if len(inputs) < len(input_names) else g.names.create(node.name)
            known[node] = Value(name, tracer.values[node])
            inputs.append(known[node])
        elif node.op == "get_attr":
            known[node] = g.constant(tracer.values[node], node.target)
        elif node.op == "output":
            results = [
                known[each] if isinstance(each, Node) else g.constant(flambeau.as_tensor(each))
                for each in tree_leaves(node.args[0])
                if each is not None
            ]
            return inputs, _outputs(g, results, output_names)
        elif node.args and isinstance(node.args[0], Node) and isinstance(known[node.args[0]], (tuple, list)):
            known[node] = known[node.args[0]][node.args[1]]  # one of several results
        else:
            known[node] = _node(g, node, tracer, known)
    raise AssertionError("a traced graph has an output")


def _is_composed(function: Any) -> bool:
    """Whether a public function has no counterpart, so that what it is made of is exported."""
    name = qualified_name(function)
    return name.startswith("torch.") and name.rpartition(".")[2].rstrip("_") not in HANDLERS


def _node(g: Builder, node: Node, tracer: RunningTracer, known: dict[Node, Any]) -> Any:
    args, kwargs = map_aggregate((node.args, node.kwargs), lambda leaf: known[leaf] if isinstance(leaf, Node) else _constant(g, leaf))
    like = tracer.values[node]
    try:
        if node.op == "call_module":
            layer = tracer.root.get_submodule(node.target)
            path = f"{node.target}." if node.target else ""
            weights = [None if value is None else g.constant(value, path + name) for name, value in layer._parameters.items()]
            return MODULES[type(layer)](g, like, layer, *weights, *args, **kwargs)
        name = node.target if node.op == "call_method" else qualified_name(node.target).rpartition(".")[2]
        if name == "getattr":
            name, args = args[1], args[:1]
        plain = name if name in HANDLERS else name.rstrip("_")
        if plain not in HANDLERS:
            raise NotImplementedError("it has no counterpart in ONNX that is known here")
        return HANDLERS[plain](g, like, *args, **kwargs)
    except NotImplementedError as error:
        raise OnnxExporterError(f"{node.format_node()}\ncannot be exported: {error}") from error


def _constant(g: Builder, leaf: Any) -> Any:
    return g.constant(leaf) if isinstance(leaf, Tensor) else leaf


def _outputs(g: Builder, results: list[Value], names: list[str]) -> list[Value]:
    """The results under the names of outputs: that of a node takes the name, and a copy of an input, or of a value that is an output already, gets it."""
    if len(names) > len(results):
        raise ValueError(f"{len(names)} output_names, but the module gives {len(results)} tensors")
    outputs = []
    for number, result in enumerate(results):
        made = Value(names[number] if number < len(names) else g.names.create("output"), result.example)
        if any(result.name in node.output for node in g.nodes) and all(result.name != taken.name for taken in results[:number]):
            _rename(g, result.name, made.name)
        else:
            known = next((output.name for taken, output in zip(results, outputs, strict=False) if taken.name == result.name), result.name)
            g.nodes.append(g.onnx.helper.make_node("Identity", [known], [made.name]))
        outputs.append(made)
    return outputs


def _rename(g: Builder, old: str, new: str) -> None:
    """Give a value of the graph another name, wherever it is made or used."""
    for node in g.nodes:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new


def _model(g: Builder, inputs: list[Value], outputs: list[Value], name: str, version: int, dynamic_axes: Mapping[str, Any]) -> Any:
    helper = g.onnx.helper
    unknown = set(dynamic_axes) - {each.name for each in (*inputs, *outputs)}
    if unknown:
        raise ValueError(f"dynamic_axes names {sorted(unknown)}, which are neither inputs {[each.name for each in inputs]} nor outputs")

    def described(value: Value) -> Any:
        shape: list[Any] = list(value.shape)
        axes = dynamic_axes.get(value.name, {})
        for axis, label in axes.items() if isinstance(axes, Mapping) else [(axis, f"{value.name}_{axis}") for axis in axes]:
            shape[axis] = str(label)
        return helper.make_tensor_value_info(value.name, g.element_type(value.dtype), shape)

    graph = helper.make_graph(
        g.nodes, name, [described(each) for each in inputs], [described(each) for each in outputs], list(g.initializers.values())
    )
    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", version)],
        ir_version=IR_VERSION,
        producer_name="flambeau",
        producer_version=__version__,
    )
    g.onnx.checker.check_model(made)
    return made
