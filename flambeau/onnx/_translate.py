"""From an exported program to an ONNX graph, node by node.

Values of ONNX are written once. Where the program writes to a tensor, its node stands for the new value from then on, and so do the tensors that it is
a view of, and their other views:

```
v = aten.select(x, 0, 1)          v = Gather(x, 1)
aten.add_(v, y)                   v' = Add(v, y);  x' = select_scatter(x, v', 0, 1)
aten.mul(x, 2)                    Mul(x', 2)
```
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.export._tracing import check
from flambeau.export.exported_program import ExportedProgram
from flambeau.export.graph_signature import OutputKind
from flambeau.fx.node import Node, map_aggregate
from flambeau.onnx import _composites, _creation, _elementwise, _images, _losses, _matrices, _recurrent  # noqa: F401 - they register their operators
from flambeau.onnx._graph import Builder, Number, Value
from flambeau.onnx._indexing import diagonal_scatter, select_scatter, slice_scatter
from flambeau.onnx._registry import HANDLERS, MADE_OF
from flambeau.overrides import resolve_name

__all__ = ["Translation", "operator_name"]

_ARITHMETIC = {"add": "Add", "sub": "Sub", "mul": "Mul", "floordiv": "Div", "truediv": "Div", "mod": "Mod", "neg": "Neg", "pow": "Pow"}
"""Python's operators on sizes. (Sizes are not negative, so that ONNX's division rounds as Python's does.)"""
_CONDITIONS = frozenset(["eq", "ge", "gt", "le", "lt", "ne", "not_"])


def operator_name(node: Node) -> str:
    """What a node calls, as the tables of operators say it: `add`, `linalg_svd`, `nn.functional.lp_pool2d`."""
    target = node.target
    if isinstance(target, str):
        return target
    packet = getattr(target, "overloadpacket", None)
    if packet is not None:
        return packet.__name__ if packet._namespace == "aten" else f"{packet._namespace}::{packet.__name__}"
    if target is getattr:
        return node.args[1]
    name = (resolve_name(target) or getattr(target, "__name__", str(target))).removeprefix("torch.").removeprefix("Tensor.")
    home, _, own = name.rpartition(".")
    return f"{home}_{own}" if home in ("linalg", "special", "fft") else name


def base_name(name: str) -> str:
    """A name without the underscore that says that an operator works in place."""
    return name.rstrip("_") if name.endswith("_") and not name.endswith("__") else name


def found(name: str, table: dict[str, Callable]) -> Callable | None:
    """An operator's entry in a table; a function of `nn.functional` may be there as the operator."""
    base = base_name(name)
    return table.get(base) or table.get(base.rpartition(".")[2])


class Translation:
    """Translates a program.

    Attributes:
        inputs: of the graph, under the names of the program's arguments
        outputs: the values that it gives
        current: the node that is being translated, as a line
    """

    def __init__(self, g: Builder, program: ExportedProgram) -> None:
        self.g = g
        self.program = program
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []
        self._known: dict[Node, Any] = {}
        self._bases: dict[Node, Node] = {}
        self._seen: dict[Node, Any] = {}
        self.current = ""
        self._writes = any(_is_write(node) for node in program.graph.nodes)

    def run(self) -> None:
        """Translate all nodes.

        Raises:
            NotImplementedError: one has no counterpart
        """
        signature = self.program.graph_signature
        paths = {**signature.inputs_to_parameters, **signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}
        tensors = {**self.program.constants, **self.program.state_dict}
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                path = paths.get(node.name)
                if path is None:
                    self._known[node] = self._input(node)
                else:
                    lifted = path in self.program.constants and path.startswith("c_lifted_tensor")
                    self._known[node] = self.g.constant(tensors[path], "constant" if lifted else path)
            elif node.op == "output":
                self._output(node)
            else:
                self.current = f"{node.format_node()}\n"
                self._node(node)

    def _input(self, node: Node) -> Value | None:
        described = node.meta.get("val")
        if described is None:
            return None  # an argument that is no tensor is part of the program
        made = Value(described.shape, described.dtype, node.name)
        self.g.element_type(made.dtype)
        for dim, size in enumerate(made.shape):
            if isinstance(size, str):
                self.g.symbols.setdefault(size, (made, dim))
        self.inputs.append(made)
        return made

    def _output(self, node: Node) -> None:
        kinds = [spec.kind for spec in self.program.graph_signature.output_specs]
        for kind, result in zip(kinds, node.args[0], strict=True):
            if kind is not OutputKind.USER_OUTPUT or result is None:
                continue
            value = self._value(result) if isinstance(result, Node) else result
            if isinstance(value, (bool, int, float)):
                value = self.g.constant(flambeau.as_tensor(value))
            elif isinstance(value, Number):
                value = self.g.value(value, value.dtype)
            if isinstance(value, Value):
                self.outputs.append(value)

    # -- nodes -----------------------------------------------------------------------------------------------------------

    def _node(self, node: Node) -> None:
        name = operator_name(node)
        if node.target is check or (name in _CONDITIONS and _is_of_python(node)):
            return  # what sizes have to be
        if node.target is operator.getitem and isinstance(self._known.get(node.args[0]), (list, tuple)):
            self._part(node)
            return
        result = self._call(node, name)
        if _is_write(node):
            self._write(node.args[0], result)
        self._known[node] = result
        if self._writes and base_name(name) in _VIEWS and isinstance(result, Value):
            self._view(node, node.args[0])

    def _part(self, node: Node) -> None:
        whole, number = node.args
        self._known[node] = self._value(whole)[number]
        if self._writes and base_name(operator_name(whole)) in _PARTS:
            self._view(node, whole.args[0])

    def _call(self, node: Node, name: str) -> Any:
        args, kwargs = map_aggregate((node.args, node.kwargs), self._value)
        if name.startswith("sym_"):
            return self._size(name, args)
        if name in _ARITHMETIC and _is_of_python(node) and not any(type(arg) is Value for arg in args):
            return self._computed(name, args)
        if node.target is getattr:
            args = args[:1]
        handler = found(name, HANDLERS)
        if handler is None:
            if found(name, MADE_OF) is not None:
                raise NotImplementedError("what it is made of is made of it")
            raise NotImplementedError("it has no counterpart in ONNX that is known here")
        before = len(self.g.operations)
        result = handler(self.g, _result_of(node), *args, **kwargs)
        fresh = {output for operation in self.g.operations[before:] for output in operation.outputs}
        for part, named in _named_parts(node, result):
            if part in fresh and not part.name:
                part.name = named
        return result

    def _value(self, leaf: Any) -> Any:
        """What a leaf of arguments is now; a view of what has been written is taken again."""
        if isinstance(leaf, Tensor):
            return self.g.constant(leaf)
        if not isinstance(leaf, Node):
            return leaf
        base = self._bases.get(leaf)
        if base is not None and self._seen[leaf] is not self._value(base):
            whole = leaf.args[0]
            if leaf.target is operator.getitem and whole is not base:
                self._known[leaf] = self._call(whole, operator_name(whole))[leaf.args[1]]
            else:
                self._known[leaf] = self._call(leaf, operator_name(leaf))
            self._seen[leaf] = self._value(base)
        return self._known[leaf]

    def _size(self, name: str, args: tuple) -> Any:
        x = args[0]
        if name == "sym_size":
            return self.g.size(x, args[1])
        sizes = [self.g.size(x, dim) for dim in range(x.dim)]
        if name == "sym_stride":
            sizes = sizes[args[1] % x.dim + 1 :]
        elif name != "sym_numel":
            raise NotImplementedError("it has no counterpart in ONNX")
        result: Any = 1
        for size in sizes:
            result = size if result == 1 else self._computed("mul", (result, size))
        return result

    def _computed(self, name: str, args: tuple) -> Any:
        if not any(isinstance(arg, Number) for arg in args):
            return getattr(operator, name)(*args)
        floating = name == "truediv" or any(
            (arg.dtype if isinstance(arg, Value) else type(arg)) in (float, flambeau.float32) for arg in args
        )
        return self.g.compute(_ARITHMETIC[name], *args, dtype=flambeau.float32 if floating else flambeau.int64)

    # -- writes ------------------------------------------------------------------------------------------------------------

    def _view(self, node: Node, base: Node) -> None:
        self._bases[node] = base
        self._seen[node] = self._value(base)

    def _write(self, node: Node, value: Value) -> None:
        """Let a node, and what it is a view of, have a new value."""
        before = self._value(node)
        if value.shape != before.shape:
            value = self.g.expand(value, before)
        value = self.g.value(value, before.dtype)
        base = self._bases.get(node)
        if base is not None:
            self._write(base, self._put_back(node, self._value(base), value))
            self._seen[node] = self._value(base)
        self._known[node] = value

    def _put_back(self, node: Node, base: Value, value: Value) -> Value:
        """A tensor with another value of one of its views in it."""
        g = self.g
        if node.target is operator.getitem:
            return self._put_part(node.args[0], node.args[1], base, value)
        name = base_name(operator_name(node))
        args, kwargs = map_aggregate((node.args[1:], node.kwargs), self._value)
        if name in _PUT_BACK:
            return _PUT_BACK[name](g, base, base, value, *args, **kwargs)
        if name in _TURNS:  # where the dimensions went, they come back from
            places = HANDLERS[name](g, value, Value(tuple(range(base.dim)), base.dtype), *args, **kwargs).shape
            g.operations.pop()
            return g.transpose(value, [places.index(dim) for dim in range(base.dim)])
        if name in ("expand", "expand_as", "broadcast_to") and value.shape != base.shape:
            raise NotImplementedError("it writes to a tensor that was expanded, whose elements are the same memory")
        return g.reshape(value, base)

    def _put_part(self, whole: Node, number: int, base: Value, value: Value) -> Value:
        """A tensor with another value of one of the parts that it was split into."""
        given, _ = map_aggregate((whole.args[1:], whole.kwargs), self._value)
        dim = whole.kwargs.get("dim", given[-1] if len(given) > (0 if "unbind" in operator_name(whole) else 1) else 0)
        if "unbind" in operator_name(whole):
            return select_scatter(self.g, base, base, value, dim, number)
        sizes = [part.shape[dim] for part in self._value(whole)]
        if not all(isinstance(size, int) for size in sizes):
            raise NotImplementedError("it writes to a part whose place is not known")
        start = sum(sizes[:number])
        return slice_scatter(self.g, base, base, value, dim, start, start + sizes[number])


def _narrow_scatter(g: Builder, like: Any, input: Value, src: Value, dim: int, start: Any, length: Any) -> Value:
    return slice_scatter(g, like, input, src, dim, start, start + length)


_TURNS = frozenset(["H", "T", "adjoint", "mH", "mT", "moveaxis", "movedim", "numpy_T", "permute", "swapaxes", "swapdims", "t", "transpose"])
_PUT_BACK: dict[str, Callable] = {
    "diagonal": diagonal_scatter, "narrow": _narrow_scatter, "select": select_scatter, "slice": slice_scatter,
}  # fmt: skip
_VIEWS = frozenset({
    *_TURNS, *_PUT_BACK, "alias", "broadcast_to", "contiguous", "data", "detach", "expand", "expand_as", "flatten", "ravel", "reshape", "reshape_as", "squeeze",
    "unflatten", "unsqueeze", "view", "view_as",
})  # fmt: skip
"""Operators whose results share the elements of their first argument. (A copy that `reshape` makes is never written back to: PyTorch's does not say which.)"""
_PARTS = frozenset(
    ["chunk", "dsplit", "hsplit", "split", "split_with_sizes", "tensor_split", "unbind", "unsafe_chunk", "unsafe_split", "vsplit"]
)


def _is_of_python(node: Node) -> bool:
    """Whether a node calls one of Python's operators."""
    return getattr(node.target, "__module__", "") == "_operator"


def _is_write(node: Node) -> bool:
    """Whether a node writes to its first argument."""
    if node.op not in ("call_function", "call_method") or not node.args or not isinstance(node.args[0], Node):
        return False
    name = operator_name(node)
    return name.endswith("_") and not name.endswith("__") and node.target is not operator.getitem and name != "requires_grad_"


def _result_of(node: Node) -> Any:
    """What has the shape and the dtype of a node's result, or a list of such."""
    if "val" in node.meta:
        return node.meta["val"]
    parts = {user.args[1]: user.meta.get("val") for user in node.users if user.target is operator.getitem}
    return [parts.get(number) for number in range(max(parts) + 1)] if parts else None


def _named_parts(node: Node, result: Any) -> list[tuple[Value, str]]:
    """Values with the names of their nodes."""
    if isinstance(result, Value):
        return [(result, node.name)]
    users = {user.args[1]: user.name for user in node.users if user.target is operator.getitem}
    named = [(part, f"{node.name}_{number}") for number, part in enumerate(result) if isinstance(part, Value)]
    return named if users else [(part, node.name) for part, _ in named]


def unknown_operators(program: ExportedProgram) -> list[Any]:
    """The targets of nodes that have to be replaced by what they are made of."""
    found_targets = {}
    for node in program.graph.nodes:
        if node.op in ("call_function", "call_method") and isinstance(node.target, (str, Callable)):
            name = operator_name(node)
            if found(name, HANDLERS) is None and found(name, MADE_OF) is not None:
                found_targets[node.target] = found(name, MADE_OF)
    return list(found_targets.items())
