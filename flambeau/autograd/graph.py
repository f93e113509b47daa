"""The graph that autograd records: hooks on what it saves, hooks on several gradients, and its nodes and edges."""

from __future__ import annotations

import threading
from abc import ABC
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from flambeau._ops.node import AccumulateGrad, GradNode, HookHandle
from flambeau._tape.storage import TensorBase
from flambeau.autograd import engine, saving
from flambeau.autograd.function import FunctionNode

__all__ = [
    "GradientEdge", "Node", "allow_mutation_on_saved_tensors", "disable_saved_tensors_hooks", "get_gradient_edge", "increment_version", "register_multi_grad_hook",
    "save_on_cpu", "saved_tensors_hooks",
]  # fmt: skip

# -- hooks on what is saved ------------------------------------------------------------------------------------------


class saved_tensors_hooks:
    """A context in which tensors that are saved for backward are packed, to be unpacked when they are needed.

    Args:
        pack_hook: takes the tensor and returns anything
        unpack_hook: takes what ``pack_hook`` returned and returns the tensor

    Example::

        >>> x = flambeau.tensor(3.0, requires_grad=True)
        >>> with flambeau.autograd.graph.saved_tensors_hooks(lambda x: x.item(), flambeau.tensor):
        ...     y = x * x
        >>> y.backward()
        >>> x.grad
        tensor(6.)
    """

    def __init__(self, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        saving.push(self.pack_hook, self.unpack_hook)

    def __exit__(self, *exception: object) -> None:
        saving.pop()


class save_on_cpu(saved_tensors_hooks):
    """A context in which saved tensors are kept on the CPU, which is where they are."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda tensor: tensor, lambda tensor: tensor)


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """A context in which ``saved_tensors_hooks`` raise an error with this message."""
    if saving.HOOKS.stack:
        raise RuntimeError(error_message)
    before, saving.HOOKS.forbidden = saving.HOOKS.forbidden, error_message
    try:
        yield
    finally:
        saving.HOOKS.forbidden = before


@contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[None]:
    """A context in which tensors that are saved for backward may be changed in place afterwards: backward sees a copy."""
    with saved_tensors_hooks(lambda tensor: tensor.clone(), lambda tensor: tensor):
        yield


# -- nodes and edges -------------------------------------------------------------------------------------------------


class Node(ABC):  # noqa: B024 - the nodes' classes are registered below
    """The class of gradient nodes, to ask whether something is one."""


for _node in (GradNode, FunctionNode, AccumulateGrad):
    Node.register(_node)


class GradientEdge(NamedTuple):
    """One result of a gradient node; ``autograd.grad`` takes it in the place of a tensor."""

    node: Any
    output_nr: int
    ownership_token: Any = None

    @property
    def layout(self) -> Any:
        """The layout of the gradient that flows along the edge."""
        return self.node.variable.layout if isinstance(self.node, AccumulateGrad) else self.node.layouts[self.output_nr]


def get_gradient_edge(tensor: Any) -> GradientEdge:
    """The edge along which the gradient of a tensor flows.

    Raises:
        RuntimeError: the tensor does not require grad
    """
    if tensor.node is None:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    return GradientEdge(tensor.node, tensor.output_nr)


def increment_version(tensor: Any) -> None:
    """Count a write of a tensor (or of several) that autograd has not seen."""
    for each in (tensor,) if isinstance(tensor, TensorBase) else tensor:
        each.memory.version += 1


# -- hooks on several gradients --------------------------------------------------------------------------------------


class _Together:
    """Collects the gradients of one pass after the other, and calls a function when those of a pass are complete."""

    def __init__(self, tensors: Sequence[Any], function: Callable, every: bool) -> None:
        self.nodes = [tensor.node for tensor in tensors]
        self.function = function
        self.every = every
        self.lock = threading.Lock()
        self.current: Any = None
        self.found: list[Any] = []
        self.missing = 0

    def hook(self, position: int) -> Callable[[Any], None]:
        def hook(grad: Any) -> None:
            with self.lock:
                nodes = engine.PASS.nodes
                first = self.current is not nodes
                if first:
                    self.current = nodes
                    self.found = [None] * len(self.nodes)
                    passed = {id(node) for node in nodes}
                    self.missing = sum(id(node) in passed for node in self.nodes)
                found = self.found
                found[position] = grad
                self.missing -= 1
                complete = self.missing == 0
                if complete:  # the pass has no more to say, and its graph and gradients are not to be held until the next one
                    self.current, self.found = None, []
            if self.every and complete:
                self.function(found)
            elif not self.every and first:
                self.function(grad)

        return hook


class _Handles(HookHandle):
    """Removes several hooks."""

    def __init__(self, handles: Iterable[HookHandle]) -> None:
        super().__init__({})
        self.handles = tuple(handles)

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()


def register_multi_grad_hook(tensors: Sequence[Any], fn: Callable, *, mode: str = "all") -> HookHandle:
    """Call ``fn`` in each backward pass when the gradients of tensors have been computed.

    Args:
        fn: is called with the list of gradients (``None`` for a tensor that the pass does not reach), or in mode "any" with the first one
        mode: "all" waits for every tensor that the pass reaches, "any" for one

    Raises:
        ValueError: the mode is unknown
        RuntimeError: a tensor does not require grad
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    together = _Together(tensors, fn, mode == "all")
    return _Handles([tensor.register_hook(together.hook(position)) for position, tensor in enumerate(tensors)])
