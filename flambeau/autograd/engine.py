"""The backward pass: walk the graph of gradient nodes from the outputs to the leaves.

Nodes are visited in an order in which every node comes after all that use its results. The gradients are recorded like any other
operators, so a pass costs no computation until somebody looks.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from sys import getrefcount
from typing import Any

from flambeau._ops import meta
from flambeau._ops.copying import TO
from flambeau._ops.elementwise import ADD
from flambeau._ops.node import AccumulateGrad, GradNode, NodeHooks
from flambeau._ops.registry import ANOMALY, OPERATORS, shown
from flambeau._tape.storage import TensorBase
from flambeau._tape.tape import LOCAL, recording_lock
from flambeau._types import layout as lay
from flambeau._types.device import CPU
from flambeau._types.layout import Layout

Edge = tuple[Any, int]


class _Pass(threading.local):
    """The nodes of the pass that this thread is in; hooks tell passes apart by it."""

    nodes: Sequence[Any] = ()


PASS = _Pass()


def order(roots: Sequence[Any]) -> list[Any]:
    """The nodes reachable from the roots, users before the used."""
    done: set[int] = set()
    finished: list[Any] = []
    for root in roots:
        if id(root) in done:
            continue
        done.add(id(root))
        stack = [(root, iter(root.inputs))]
        while stack:
            node, edges = stack[-1]
            for edge in edges:
                if edge is not None and id(edge[0]) not in done:
                    done.add(id(edge[0]))
                    stack.append((edge[0], iter(edge[0].inputs)))
                    break
            else:
                finished.append(node)
                stack.pop()
    finished.reverse()
    return finished


def run(
    roots: Sequence[Edge], grads: Sequence[TensorBase | None], *, retain: bool, create: bool, wanted: dict[Edge, int] | None = None
) -> list[TensorBase | None]:
    """Propagate ``grads`` from ``roots``.

    Args:
        retain: keep what the nodes saved, for another pass
        create: record the graph of the gradients themselves
        wanted: if given, gradients are returned for these edges (by their position) and not accumulated into leaves

    Raises:
        RuntimeError: saved values are gone or were changed in place.
    """
    on_meta = len(grads) > 0 and grads[0] is not None and grads[0].device is not CPU
    if on_meta is not meta.HERE.backward:
        with meta.backward(on_meta):
            return run(roots, grads, retain=retain, create=create, wanted=wanted)
    tape = LOCAL.tape
    mode = tape.grad
    outer_pass, tape.passing = tape.passing, True
    tape.grad = create
    found: list[TensorBase | None] = [None] * (len(wanted) if wanted is not None else 0)
    pending: dict[int, list[TensorBase | None]] = {}
    nodes = order([node for node, _ in roots])
    needed = _needed(nodes, wanted) if wanted is not None else None
    outer, PASS.nodes = PASS.nodes, nodes
    try:
        for (node, number), grad in zip(roots, grads, strict=True):
            _accumulate(pending, node, number, grad)
        for node in nodes:
            incoming = pending.pop(id(node), None)
            if incoming is None:
                continue
            hooks: NodeHooks | None = node.hooks
            if hooks is not None:
                _before(hooks, incoming)
            if wanted is not None:
                for number, grad in enumerate(incoming):
                    position = wanted.get((node, number))
                    if position is not None:
                        found[position] = grad
                if id(node) not in needed:
                    continue
            if isinstance(node, AccumulateGrad):
                if wanted is None:
                    _leaf(node, incoming, create)
                continue
            missing = len(node.layouts) - len(incoming)
            if incoming[0] is None and isinstance(node, GradNode) and all(each is None for each in incoming):
                outgoing = (None,) * len(node.inputs)
            else:
                outgoing = _apply(node, (*incoming, *[None] * missing) if missing else tuple(incoming))
            if hooks is not None and hooks.after:
                outgoing = _after(hooks, outgoing, tuple(incoming))
            if not retain:
                node.release()
            for edge, grad in zip(node.inputs, outgoing, strict=True):
                if edge is not None:  # also where there is no gradient: a Function further on may be given zeros
                    _accumulate(pending, edge[0], edge[1], grad)
            outgoing = grad = None  # so that ``_own`` can tell who else holds a gradient
    finally:
        tape.grad = mode
        tape.passing = outer_pass
        PASS.nodes = outer
    return found


def _apply(node: Any, incoming: tuple) -> tuple:
    if not ANOMALY.enabled:
        return node.apply(incoming)
    from flambeau.autograd import anomaly

    return anomaly.apply(node, incoming)


def _needed(nodes: list[Any], wanted: dict[Edge, int]) -> set[int]:
    """The nodes that must compute for the wanted gradients: those with a wanted edge somewhere below them."""
    targets = {id(node) for node, _ in wanted}
    needed: set[int] = set()
    for node in reversed(nodes):
        for edge in node.inputs:
            if edge is not None and (id(edge[0]) in needed or id(edge[0]) in targets):
                needed.add(id(node))
                break
    return needed


def _accumulate(pending: dict[int, list], node: Any, number: int, grad: TensorBase | None) -> None:
    slots = pending.get(id(node))
    if slots is None:
        slots = pending[id(node)] = []
    while len(slots) <= number:
        slots.append(None)
    if grad is not None:
        slots[number] = grad if slots[number] is None else _sum(slots[number], grad)


def _sum(first: TensorBase, second: TensorBase) -> TensorBase:
    """The sum of two gradients; one of them, or both, may be sparse."""
    if first.layout.__class__ is Layout and second.layout.__class__ is Layout:
        return ADD(first, second)
    from flambeau.sparse.elementwise import add

    return add(second, first) if first.layout.__class__ is not Layout and second.layout.__class__ is Layout else add(first, second)


def _before(hooks: NodeHooks, incoming: list) -> None:
    """Run the hooks on the incoming gradients; each may replace them."""
    for number, registered in hooks.outputs.items():
        if number < len(incoming) and incoming[number] is not None:
            for hook in list(registered.values()):
                replacement = hook(incoming[number])
                if replacement is not None:
                    incoming[number] = _checked(replacement, incoming[number], hook)
    for hook in list(hooks.before.values()):
        replacement = hook(tuple(incoming))
        if replacement is not None:
            incoming[:] = replacement if isinstance(replacement, tuple) else (replacement,)
    for number, reference in hooks.retain.items():
        tensor = reference()
        if tensor is not None and number < len(incoming) and incoming[number] is not None:
            tensor.grad = incoming[number] if tensor.grad is None else _sum(tensor.grad, incoming[number])


def _checked(replacement: Any, grad: TensorBase, hook: Any) -> TensorBase:
    """What a tensor's hook returned in place of its gradient, if it can stand there."""
    name = getattr(hook, "__name__", type(hook).__name__)
    if not isinstance(replacement, TensorBase):
        raise TypeError(f"hook {name!r} must return None or a tensor in place of the gradient, not {type(replacement).__name__}")
    new, old = replacement.layout, grad.layout
    if new.shape != old.shape:
        raise RuntimeError(f"hook {name!r} has changed the size of the gradient from {list(old.shape)} to {list(new.shape)}")
    if new.dtype is not old.dtype:
        raise RuntimeError(f"hook {name!r} has changed the type of the gradient from {old.dtype!r} to {new.dtype!r}")
    return replacement


def _after(hooks: NodeHooks, outgoing: tuple, incoming: tuple) -> tuple:
    for hook in list(hooks.after.values()):
        replacement = hook(outgoing, incoming)
        if replacement is not None:
            outgoing = replacement if isinstance(replacement, tuple) else (replacement,)
    return outgoing


def _leaf(node: AccumulateGrad, incoming: list[TensorBase | None], create: bool) -> None:
    """Add a gradient to a leaf's ``grad``."""
    tensor = node.variable
    grad = incoming.pop()
    if tensor is None or grad is None:
        return
    sparse = grad.layout.__class__ is not Layout
    if grad.layout is not tensor.layout and tensor.grad is None and not sparse:
        grad = _laid_out(grad, tensor.layout)
    with recording_lock():  # another thread may add to the same leaf
        old = tensor.grad
        if old is None:
            tensor.grad = grad if create or sparse else _own(grad)
        elif create or sparse or old.layout.__class__ is not Layout:
            tensor.grad = _sum(old, grad)
        else:
            ADD.inplace(old, old, grad)
    if node.hooks is not None:
        for hook in list(node.hooks.accumulated.values()):
            if hook(tensor) is not None:
                raise RuntimeError("Tensor post accumulate grad hooks should return None.")


def _laid_out(grad: TensorBase, layout: Layout) -> TensorBase:
    """A gradient that lies in memory as its leaf does (contiguous, if the leaf has gaps or overlaps), as optimizers like it."""
    strides = layout.strides if layout.dense else lay.contiguous(layout.shape, layout.dtype).strides
    if grad.layout.strides == strides or grad.layout.shape != layout.shape:
        return grad
    return TO(grad, statics=(lay.layout(layout.shape, strides, 0, grad.layout.dtype),))


def _own(grad: TensorBase) -> TensorBase:
    """A gradient that nobody else holds: ``y = a + b`` gives both operands the same one, a hook may return a tensor of the user's, and
    leaves add to theirs in place."""
    unshared = getrefcount(grad) <= _HOLDERS and getrefcount(grad.memory) <= _STORAGE_HOLDERS
    if unshared and grad.base is None and grad.layout.dense and grad.layout.offset == 0:
        return shown(grad.memory, grad.layout)
    return OPERATORS["clone"](grad.detach())


def _holders() -> int:
    """What ``getrefcount`` gives in ``_own`` for a gradient that only the pass holds; versions of Python differ."""

    def own(grad: object) -> int:
        return getrefcount(grad)

    def leaf(incoming: list) -> int:
        grad = incoming.pop()
        return own(grad)

    return leaf([object()])


_HOLDERS = _holders()
_STORAGE_HOLDERS = 3
"""References to the storage of a gradient that is nobody else's: from its tensor, the tape, and ``getrefcount``'s argument."""
