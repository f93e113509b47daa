"""What a network does, read from the tape.

While the network runs, its thread has a tape that keeps every path through the trie which it leaves behind at a flush; hooks
note between which records each module was entered and left. Nothing is computed unless the network itself looks at a number.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import flambeau
from flambeau._tape.storage import Storage
from flambeau._tape.tape import LOCAL, Tape
from flambeau._tape.trie import TrieNode
from flambeau._types.layout import Layout
from flambeau.utils.tensorboard._graph import GraphNode, graph_def, run_metadata
from flambeau.utils.tensorboard._messages import Message


class _Segment(NamedTuple):
    """What was recorded between two flushes."""

    root: TrieNode
    path: list[TrieNode]
    numbers: list
    """The run-time scalars."""
    sources: dict[int, Storage]
    """The storages of slots that came from elsewhere."""
    values: list[Storage | None]
    """The storage of each slot, as far as it was still there at the end."""


class _KeepingTape(Tape):
    """A tape that keeps what it has recorded.

    Attributes:
        segments: what was recorded before each flush
        moves: ``(segment, record, scope)``: after which record of which segment a scope was entered, or, if None, left
    """

    __slots__ = ("moves", "segments", "sources")

    def __init__(self, outer: Tape) -> None:
        super().__init__()
        self.grad, self.fresh = outer.grad, outer.fresh
        self.segments: list[_Segment] = []
        self.moves: list[tuple[int, TrieNode, str | None]] = []
        self.sources: dict[int, Storage] = {}

    def enter(self, storage: Storage) -> int:
        slot = super().enter(storage)
        self.sources[slot] = storage
        return slot

    def move(self, scope: str | None) -> None:
        self.moves.append((len(self.segments), self.cursor, scope))

    def keep(self) -> None:
        path = self.cursor.path()
        root = path[0].parent if path else self.cursor
        assert root is not None
        self.segments.append(_Segment(root, path, list(self.numbers), self.sources, list(self.values)))
        self.sources = {}

    def flush(self) -> None:
        if self.cursor.parent is not None and not self.flushing:
            self.keep()
        super().flush()


def graph(model: Callable, inputs: Any, verbose: bool) -> tuple[Message, Message]:
    """The ``GraphDef`` and ``RunMetadata`` of ``model``; ``inputs`` is its argument, a tuple or list of them, or None for none."""
    arguments = () if inputs is None else tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    nodes = trace(model, arguments)
    if verbose:
        print(*nodes, sep="\n")
    return graph_def(node.encode() for node in nodes), run_metadata()


def trace(model: Callable, arguments: tuple) -> list[GraphNode]:
    """The nodes of ``model(*arguments)``: its inputs, operators by module, the parameters they use, and its outputs."""
    graph = _Graph(model, arguments)
    with ExitStack() as stack:
        stack.enter_context(flambeau.no_grad())
        stack.enter_context(_evaluating(model))
        tape = stack.enter_context(_keeping())
        for module, scope in graph.scopes.items():
            stack.enter_context(module.register_forward_pre_hook(lambda *_, scope=scope: tape.move(scope), prepend=True))
            stack.enter_context(module.register_forward_hook(lambda *_: tape.move(None), always_call=True))
        result = model(*arguments)
        tape.keep()
        graph.read(tape, list(_leaves(result, "output")))
        del result
        tape.segments.clear()
    return graph.nodes


@contextmanager
def _keeping() -> Iterator[_KeepingTape]:
    outer = LOCAL.tape
    tape = LOCAL.tape = _KeepingTape(outer)
    try:
        yield tape
    finally:
        try:
            Tape.flush(tape)  # what outlives the call, such as a buffer that it changed
        finally:
            LOCAL.tape = outer


@contextmanager
def _evaluating(model: Callable) -> Iterator[None]:
    if not isinstance(model, flambeau.nn.Module):
        yield
        return
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        model.train(modes[model])
        for module, mode in modes.items():  # which may differ from the network's
            module.training = mode


def _leaves(value: Any, name: str) -> Iterator[tuple[str, flambeau.Tensor]]:
    """The tensors in nested tuples, lists and dictionaries, with names that say where."""
    if isinstance(value, flambeau.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}")
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value, 1):
            yield from _leaves(item, f"{name}.{index}")


class _Graph:
    """Makes nodes of records."""

    def __init__(self, model: Callable, arguments: tuple) -> None:
        self.nodes: list[GraphNode] = []
        self.scopes: dict[Any, str] = {}  # module -> path of its node
        self.root = getattr(model, "__name__", type(model).__name__)
        self._names: dict[str, int] = {}
        self._producers: dict[Storage, str] = {}
        self._owners: dict[Storage, tuple[str, str, tuple[int, ...]]] = {}  # parameters: name, kind, shape
        if isinstance(model, flambeau.nn.Module):
            self._find_modules(model)
        for name, tensor in self._named(model, arguments):
            if tensor.memory not in self._producers:
                self._producers[tensor.memory] = self._add(f"input/{name}", "IO Node", [], [tuple(tensor.shape)])

    def _find_modules(self, model: flambeau.nn.Module) -> None:
        paths = {"": self.root}
        for name, module in model.named_modules():
            if name:
                parent, _, attribute = name.rpartition(".")
                paths[name] = f"{paths[parent]}/{type(module).__name__}[{attribute}]"
            self.scopes[module] = paths[name]
            for kind, tensors in (("Parameter", module.named_parameters(recurse=False)), ("Buffer", module.named_buffers(recurse=False))):
                for attribute, tensor in tensors:
                    self._owners.setdefault(tensor.memory, (f"{paths[name]}/{attribute}", kind, tuple(tensor.shape)))

    @staticmethod
    def _named(model: Callable, arguments: tuple) -> Iterator[tuple[str, flambeau.Tensor]]:
        """The tensors of the arguments, by the names of the parameters."""
        function = model.forward if isinstance(model, flambeau.nn.Module) else model
        bound = inspect.signature(function).bind(*arguments)
        for name, argument in bound.arguments.items():
            yield from _leaves(argument, name)

    def _add(self, name: str, op: str, inputs: list[str], shapes: list, attributes: str = "") -> str:
        count = self._names[name] = self._names.get(name, 0) + 1
        if count > 1:
            name = f"{name}_{count - 1}"
        self.nodes.append(GraphNode(name, op, inputs, shapes, attributes))
        return name

    def read(self, tape: _KeepingTape, outputs: list[tuple[str, flambeau.Tensor]]) -> None:
        stack = [self.root]
        moves = iter([*tape.moves, (len(tape.segments), None, None)])
        segment, record, scope = next(moves)
        for number, part in enumerate(tape.segments):
            names: dict[int, str] = {}  # of what the slots hold
            for node in [part.root, *part.path]:
                if node is not part.root:
                    self._operator(node, part, names, stack[-1])
                while segment == number and record is node:
                    stack = [*stack, scope] if scope is not None else stack[:-1]
                    segment, record, scope = next(moves)
            for slot, storage in enumerate(part.values):
                if storage is not None and slot in names:
                    self._producers[storage] = names[slot]
        for name, tensor in outputs:
            producer = self._producers.get(tensor.memory) or self._source(tensor.memory, tensor.layout, self.root)
            self._add(f"output/{'output.1' if name == 'output' else name}", "IO Node", [producer], [tuple(tensor.shape)])

    def _operator(self, record: TrieNode, part: _Segment, names: dict[int, str], scope: str) -> None:
        op = record.op
        inputs: list[str] = []
        attributes = [f"{name} = {value}" for name, value in zip(op.statics, record.statics, strict=False)]
        for place, (slot, kind) in enumerate(record.operands):
            if not isinstance(kind, Layout):
                attributes.append(f"{op.operands[min(place, len(op.operands) - 1)]} = {part.numbers[slot]}")
                continue
            if slot not in names:
                storage = part.sources.get(slot)
                known = None if storage is None else self._producers.get(storage)
                names[slot] = known or self._source(storage, kind, scope)
            inputs.append(names[slot])
        name = self._add(f"{scope}/{op.name}", op.name, inputs, [layout.shape for layout in record.layouts], ", ".join(attributes))
        for index in range(len(record.layouts)):
            names[record.first + index] = name if index == 0 else f"{name}:{index}"

    def _source(self, storage: Storage | None, layout: Layout, scope: str) -> str:
        """The node of a tensor that no operator has made: a parameter, or else a constant."""
        constant = (f"{scope}/constant", "Constant", layout.shape)
        name, kind, shape = constant if storage is None else self._owners.get(storage, constant)
        made = self._add(name, kind, [], [shape])
        if storage is not None:
            self._producers[storage] = made
        return made
