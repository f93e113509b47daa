"""Hooks on what gradient nodes save: packed when it is saved, unpacked when a backward pass needs it.

While a thread is inside ``graph.saved_tensors_hooks``, the nodes that it makes are ``PackedNode``s, which hold what ``pack`` returned
in the place of tensors. Nothing changes for other nodes: the hooks are installed when they are used first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from flambeau._ops.node import GradNode
from flambeau._ops.operator import Operator
from flambeau._ops.registry import ANOMALY, shown
from flambeau._tape.storage import TensorBase
from flambeau._tape.tape import LOCAL


class _Hooks(threading.local):
    """The hooks of this thread, innermost last, and why there may be none (``None`` if there may)."""

    def __init__(self) -> None:
        self.stack: list[tuple[Callable, Callable]] = []
        self.forbidden: str | None = None


HOOKS = _Hooks()
_users = 0
_users_lock = threading.Lock()


def off() -> Any:
    """What stands for anomaly detection that is off: ``False``, and 0 while there are hooks: native code makes nodes only where it is ``False``."""
    return 0 if _users else False


def push(pack: Callable, unpack: Callable) -> None:
    """Have tensors packed from here on in this thread.

    Raises:
        RuntimeError: hooks are disabled
    """
    global _users
    if HOOKS.forbidden is not None:
        raise RuntimeError(HOOKS.forbidden)
    with _users_lock:
        _users += 1
        ANOMALY.enabled = ANOMALY.enabled or off()
        Operator._node = _packing_node
    HOOKS.stack.append((pack, unpack))


def pop() -> None:
    """Forget the innermost hooks."""
    global _users
    HOOKS.stack.pop()
    with _users_lock:
        _users -= 1
        ANOMALY.enabled = ANOMALY.enabled or off()


class Packed:
    """What stands for a saved tensor.

    Attributes:
        handle: what ``pack`` returned
        unpack: the hook that makes a tensor of it
        edge: the node and output number of the tensor, or ``None`` if it does not require grad
    """

    __slots__ = ("edge", "handle", "unpack")

    def __init__(self, tensor: TensorBase, edge: tuple[Any, int] | None) -> None:
        pack, self.unpack = HOOKS.stack[-1]
        self.edge = edge
        self.handle = _unrecorded(pack, shown(tensor.memory, tensor.layout))

    def tensor(self) -> TensorBase:
        """The tensor, with its place in the graph.

        Raises:
            TypeError: the hook returned something else
        """
        found = _unrecorded(self.unpack, self.handle)
        if not isinstance(found, TensorBase):
            raise TypeError(f"Output of saved tensor unpack_hook expected to be a Tensor but got result of type {type(found).__name__}")
        tensor = shown(found.memory, found.layout)
        if self.edge is not None:
            tensor.node, tensor.output_nr = self.edge
        return tensor


def _unrecorded(hook: Callable, argument: Any) -> Any:
    tape = LOCAL.tape
    mode = tape.grad
    tape.grad = False
    try:
        return hook(argument)
    finally:
        tape.grad = mode


class _PackedResult:
    """As ``Packed``, for a result of the node's own call, which has no edge: it would hold the node."""

    __slots__ = ("number", "packed")

    def __init__(self, tensor: TensorBase, number: int) -> None:
        self.packed = Packed(tensor, None)
        self.number = number


class PackedNode(GradNode):
    """A gradient node whose saved tensors are packed."""

    __slots__ = ()

    def apply(self, grads: tuple) -> tuple:
        """As ``GradNode.apply``, with what was saved unpacked for as long as it takes."""
        return self._with_tensors(lambda: self.op.backward(self, grads))

    def __getattr__(self, name: str) -> Any:
        return self._with_tensors(lambda: GradNode.__getattr__(self, name))

    def _with_tensors(self, function: Callable[[], Any]) -> Any:
        packed = self.saved
        if packed is None:
            return function()
        self.saved = tuple([_unpacked(item) for item in packed])
        try:
            return function()
        finally:
            self.saved = packed


def _unpacked(item: Any) -> Any:
    if item.__class__ is Packed:
        tensor = item.tensor()
        return tensor, tensor.memory, tensor.memory.version
    if item.__class__ is _PackedResult:
        tensor = item.packed.tensor()
        return tensor.memory, tensor.layout, item.number, tensor.memory.version
    return item


_plain_node = Operator._node


def _packing_node(
    self: Operator, operands: tuple, results: Sequence[TensorBase], record: Any, *, target: TensorBase | None = None
) -> GradNode:
    node = _plain_node(self, operands, results, record, target=target)
    if HOOKS.stack and any(item.__class__ is tuple for item in node.saved or ()):
        node.__class__ = PackedNode
        node.saved = tuple([_packed(item) for item in node.saved or ()])
    return node


def _packed(item: Any) -> Any:
    if item.__class__ is not tuple:
        return item
    if len(item) == 3:
        tensor = item[0]
        return Packed(tensor, None if tensor.node is None else (tensor.node, tensor.output_nr))
    storage, layout, number, _ = item
    return _PackedResult(shown(storage, layout), number)
