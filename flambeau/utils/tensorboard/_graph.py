"""Graphs as TensorBoard draws them: nodes whose names are paths, ``scope/scope/name``, and the messages that hold them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from flambeau.utils.tensorboard import _messages as messages
from flambeau.utils.tensorboard import _wire as wire

_PRODUCER = 22  # the version of GraphDef that TensorBoard expects


@dataclass
class GraphNode:
    """One box: an operator, a parameter, an input or an output.

    ``inputs`` are names of nodes, ``name:1`` and so on for results after the first. ``shapes`` are those of its results, None
    where there is no tensor. ``attributes`` is a text that TensorBoard shows beside it.
    """

    name: str
    op: str
    inputs: list[str] = field(default_factory=list)
    shapes: list[tuple[int, ...] | None] = field(default_factory=list)
    attributes: str = ""

    def encode(self, extra: dict[str, bytes] | None = None) -> bytes:
        """A ``NodeDef``; ``extra`` are further attributes, as encoded ``AttrValue`` messages."""
        attributes = {"attr": wire.text(2, self.attributes)} if extra is None else extra
        if self.shapes:
            unknown = wire.integer(3, 1)  # unknown_rank
            shapes = [unknown if shape is None else messages.tensor_shape(shape) for shape in self.shapes]
            attributes = {**attributes, "_output_shapes": wire.data(1, wire.repeated(7, shapes))}
        entries = [wire.text(1, name) + wire.data(2, attribute) for name, attribute in attributes.items()]
        inputs = b"".join(wire.text(3, name) for name in self.inputs)
        return wire.text(1, self.name) + wire.text(2, self.op) + inputs + wire.repeated(5, entries)

    def __str__(self) -> str:
        shapes = ", ".join("?" if shape is None else str(tuple(shape)) for shape in self.shapes)
        return f"{self.name} = {self.op}({', '.join(self.inputs)}) -> {shapes}"


def graph_def(nodes: Iterable[bytes]) -> messages.Message:
    """A ``GraphDef`` of encoded ``NodeDef`` messages."""
    return messages.Message(wire.repeated(1, nodes) + wire.data(4, wire.integer(1, _PRODUCER)))


def run_metadata(device: str = "/device:CPU:0") -> messages.Message:
    """A ``RunMetadata`` that names the device and has no statistics."""
    return messages.Message(wire.data(1, wire.data(1, wire.text(1, device))))


def load_onnx_graph(path) -> messages.Message:
    """The ``GraphDef`` of an ONNX file: inputs and outputs, and a node for each operator, named by its first result."""
    try:
        import onnx
    except ImportError:
        raise ImportError('add_onnx_graph needs onnx: pip install "flambeau[onnx]"') from None
    graph = onnx.load(path).graph
    nodes = []
    for variable in [*graph.input, *graph.output]:
        tensor_type = variable.type.tensor_type
        shape = messages.tensor_shape([dimension.dim_value for dimension in tensor_type.shape.dim])
        extra = {"dtype": wire.integer(6, tensor_type.elem_type), "shape": wire.data(7, shape)}
        nodes.append(GraphNode(variable.name, "Variable").encode(extra))
    for node in graph.node:
        attributes = ", ".join(" = ".join(str(value) for _, value in attribute.ListFields()) for attribute in node.attribute)
        extra = {"parameters": wire.text(2, attributes)}
        nodes.append(GraphNode(node.output[0], node.op_type, list(node.input)).encode(extra))
    return graph_def(nodes)
