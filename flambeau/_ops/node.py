"""Gradient nodes: the graph that ``backward`` walks."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flambeau._ops.gradient_names import name_of
from flambeau._tape.storage import TensorBase

if TYPE_CHECKING:
    from flambeau._ops.operator import Operator
    from flambeau._types.layout import Layout


class GradNode:
    """A recorded operator call as autograd sees it.

    Attributes:
        op: the operator, whose gradient formulas are used
        inputs: for each operand the node and output number that made it, or ``None`` if no gradient goes there
        saved: tensors (with the version that they had) and numbers that the formulas need, by their names
        record: the record of the call, which knows its statics and the layouts of operands and results
        hooks: called on the gradients before or after this node computes; ``None`` if there are none
    """

    __slots__ = ("__dict__", "__weakref__", "inputs", "op", "record", "saved")

    op: Operator
    inputs: tuple[tuple[Any, int] | None, ...]
    saved: tuple | None
    record: Any
    hooks: NodeHooks | None = None
    origin: Any = None

    def __init__(self, op: Any, inputs: tuple, saved: tuple | None, record: Any) -> None:
        self.op = op
        self.inputs = inputs
        self.saved = saved
        self.record = record

    @property
    def statics(self) -> tuple:
        """The static attributes of the call."""
        return self.record.statics

    @property
    def operands(self) -> tuple:
        """The layout of each operand, or the class of a number."""
        return tuple([operand[1] for operand in self.record.operands])

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The layouts of the results."""
        return self.record.layouts

    def name(self) -> str:
        """The name that PyTorch would print, for example ``AddBackward0``."""
        return name_of(self)

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        return tuple((None, 0) if edge is None else edge for edge in self.inputs)

    @property
    def metadata(self) -> dict:
        return self.__dict__.setdefault("_metadata", {})

    def apply(self, grads: tuple[TensorBase | None, ...]) -> tuple[TensorBase | None, ...]:
        """The gradients of the operands, given those of the results (``None`` counts as zeros).

        Raises:
            RuntimeError: what the formulas need was freed, or was changed in place since it was saved.
        """
        return self.op.backward(self, grads)

    def release(self) -> None:
        """Let go of what was saved (after a backward pass that does not retain the graph); where nothing was, another pass may follow."""
        if self.saved:
            self.saved = None

    def register_hook(self, hook: Callable) -> HookHandle:
        """Call ``hook(grad_inputs, grad_outputs)`` after this node has computed; it may return other grad_inputs."""
        return hooks_of(self).add(hooks_of(self).after, hook)

    def register_prehook(self, hook: Callable) -> HookHandle:
        """Call ``hook(grad_outputs)`` before this node computes; it may return other grad_outputs."""
        return hooks_of(self).add(hooks_of(self).before, hook)

    def __getattr__(self, name: str) -> Any:
        """``_saved_X``: what was saved of operand, result or attribute X; the first operand is ``self`` there."""
        if name.startswith("_saved_") and self.saved is not None:
            wanted = name.removeprefix("_saved_")
            for known, value in self.op.saved(self) if hasattr(self.op, "saved") else ():
                if known == wanted:
                    return value
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


UNSEEN: Any = GradNode(None, (), None, None)
"""The history of the hidden tensor that ``x.data`` is a view of: writes through it leave the version as it is."""


class ViewRecord:
    """What a ``GradNode`` knows of a view, which the tape does not record."""

    __slots__ = ("layouts", "operands", "statics")

    def __init__(self, source: Layout, view: Layout, statics: tuple = ()) -> None:
        self.operands = ((-1, source),)
        self.layouts = (view,)
        self.statics = statics


class NodeHooks:
    """The hooks of one node, each in the order of registration.

    Attributes:
        before, after: on the node's gradients as a whole
        outputs: on the gradient of one result: ``{output number: {key: hook}}`` (a tensor's own hooks)
        retain: weak references to the non-leaf tensors whose ``grad`` is to be kept, by output number
        accumulated: after a leaf's gradient has been accumulated
    """

    __slots__ = ("accumulated", "after", "before", "outputs", "retain")

    def __init__(self) -> None:
        self.before: dict[int, Callable] = {}
        self.after: dict[int, Callable] = {}
        self.accumulated: dict[int, Callable] = {}
        self.outputs: dict[int, dict[int, Callable]] = {}
        self.retain: dict[int, weakref.ref] = {}

    def add(self, where: dict[int, Callable], hook: Callable) -> HookHandle:
        handle = HookHandle(where)
        where[handle.id] = hook
        return handle


def hooks_of(node: Any) -> NodeHooks:
    if node.hooks is None:
        node.hooks = NodeHooks()
    return node.hooks


class HookHandle:
    """Removes a hook: ``handle.remove()``, or leave the ``with`` block."""

    _next = 0

    def __init__(self, hooks: dict) -> None:
        self.id = HookHandle._next
        HookHandle._next += 1
        self._hooks = hooks

    def remove(self) -> None:
        self._hooks.pop(self.id, None)

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def set_history(tensor: TensorBase, node: Any, number: int = 0) -> None:
    """Give a tensor that was overwritten another history; a gradient that is kept for it is from then on that of what it is now."""
    before, old = tensor.node, tensor.output_nr
    tensor.node, tensor.output_nr = node, number
    if "_retains" in tensor.__dict__ and before is not None and before.hooks is not None:
        reference = before.hooks.retain.pop(old, None)
        if reference is not None and node is not None:
            hooks_of(node).retain[number] = reference


class AccumulateGrad:
    """The node of a leaf: gradients that arrive here are added to ``tensor.grad``."""

    __slots__ = ("__dict__", "__weakref__", "reference")

    hooks: NodeHooks | None = None
    inputs: tuple = ()
    next_functions: tuple = ()
    origin = None

    def __init__(self, tensor: TensorBase) -> None:
        self.reference = weakref.ref(tensor)

    @property
    def variable(self) -> TensorBase | None:
        return self.reference()

    def name(self) -> str:
        return "torch::autograd::AccumulateGrad"

    def release(self) -> None:
        """A leaf saves nothing."""

    register_hook = GradNode.register_hook
    register_prehook = GradNode.register_prehook

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self):#x}>"
