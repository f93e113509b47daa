"""Backward passes through several processes.

In a *context* each process remembers which tensors it has sent in calls and results (a *departure*), and what it received gets a gradient node
(an *arrival*) that knows by which departure of which process it came. A backward pass goes the same way back: an arrival sends the gradients to
the process of the departure, which goes on from there.

```
process 0   x ── departure 7 ──▶  ◀── departure 3 ── y      process 1
            loss ◀─ arrival (1: 3)    arrival (0: 7) ─▶ y
```

A node may run when all its users have. So a pass first asks which departures belong to it, from arrival to departure through all processes,
and each counts the users within its part of the graph; a departure whose result was not used does not keep anybody waiting.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._ops.node import AccumulateGrad, GradNode, NodeHooks
from flambeau.autograd import OBSERVERS, engine
from flambeau.distributed.errors import DistBackendError
from flambeau.distributed.rpc.functions import async_execution
from flambeau.futures import Future, collect_all

__all__ = ["Context", "arrive", "backward", "depart", "find", "make", "release", "within"]

Edge = tuple[Any, int]


class Context:
    """What this process remembers for the backward passes of one ``torch.distributed.autograd.context()``.

    Attributes:
        id: the same in all processes
        departures: the edges of the tensors that were sent, by the number of the sending; ``None`` for one without gradient
        peers: the processes that know the context from us, or we from them
        gradients: what passes have found for the leaves of this process
        parts: the passes that go on
    """

    def __init__(self, number: int) -> None:
        self.id = number
        self.departures: dict[int, list[Edge | None]] = {}
        self.peers: set[int] = set()
        self.gradients: dict[Tensor, Tensor] = {}
        self.parts: dict[int, Part] = {}
        self.lock = threading.RLock()

    def _context_id(self) -> int:
        """The context's number."""
        return self.id


class _Contexts:
    """The contexts that this process knows, and the numbers of those that are over: what still comes for them makes them no anew."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.known: dict[int, Context] = {}
        self.over: deque[int] = deque(maxlen=1000)
        self.numbers = itertools.count()


_CONTEXTS = _Contexts()


class _Own(threading.local):
    context: Context | None = None


_OWN = _Own()


def current() -> Context | None:
    """The context that this thread is in."""
    return _OWN.context


def enter(context: Context | None) -> None:
    """Let this thread be in a context from now on, or in none."""
    _OWN.context = context


@contextmanager
def within(context: Context | None) -> Iterator[None]:
    """Let this thread be in a context."""
    before, _OWN.context = _OWN.context, context
    try:
        yield
    finally:
        _OWN.context = before


def number(rank: int) -> int:
    """A number that no other process makes."""
    return rank << 48 | next(_CONTEXTS.numbers)


def make(rank: int) -> Context:
    """A new context."""
    context = Context(number(rank))
    with _CONTEXTS.lock:
        _CONTEXTS.known[context.id] = context
    return context


def find(number: int) -> Context:
    """The context with a number.

    Raises:
        RuntimeError: this process does not know it
    """
    with _CONTEXTS.lock:
        if number not in _CONTEXTS.known:
            raise RuntimeError(f"Could not find autograd context with id: {number}: it is over, or this process had no part in it")
        return _CONTEXTS.known[number]


def release(number: int) -> None:
    """Forget a context, here and in the processes that know it from here."""
    from flambeau.distributed.rpc.agent import CURRENT

    with _CONTEXTS.lock:
        context = _CONTEXTS.known.pop(number, None)
        _CONTEXTS.over.append(number)
    agent = CURRENT.agent
    if context is None or agent is None or agent.closed:
        return
    for peer in context.peers - {agent.me.id} - agent.gone.keys():
        with suppress(DistBackendError):  # it is gone, and so is what it knew
            agent.call(peer, release, (number,), {}, tracked=False, counted=False)


def forget_all() -> None:
    """Forget all contexts: the group is over."""
    with _CONTEXTS.lock:
        _CONTEXTS.known.clear()
        _CONTEXTS.over.clear()


def after_fork_in_child() -> None:
    """A forked child has no part in its parent's contexts; the lock may have been held by a thread that it does not have."""
    global _CONTEXTS
    _CONTEXTS, _OWN.context = _Contexts(), None


# -- tensors that are sent and received ------------------------------------------------------------------------------------


def depart(tensors: Sequence[Tensor], peer: int) -> tuple | None:
    """Remember tensors that are sent, and return what the receiver has to know: context, departure, which have gradients."""
    context = _OWN.context
    if context is None:
        return None
    context.peers.add(peer)
    needed = [flambeau.is_grad_enabled() and each.requires_grad for each in tensors]
    if not any(needed):
        return context.id, None, needed
    departure = next(_CONTEXTS.numbers)
    with context.lock:
        context.departures[departure] = [(each.node, each.output_nr) if need else None for each, need in zip(tensors, needed)]
    return context.id, departure, needed


def arrive(tensors: list[Tensor], note: tuple | None, sender: int) -> Context | None:
    """Give tensors that were received their gradient node, and return the context that they belong to."""
    if note is None:
        return None
    name, departure, needed = note
    with _CONTEXTS.lock:
        context = _CONTEXTS.known.get(name)
        if context is None:
            if name in _CONTEXTS.over:  # nobody waited for this
                return None
            context = _CONTEXTS.known[name] = Context(name)
    context.peers.add(sender)
    if departure is not None:
        node = Arrival(name, departure, sender, tuple(each.layout for each in tensors))
        for place, (each, need) in enumerate(zip(tensors, needed, strict=True)):
            if need:
                tensors[place] = received = each.detach()  # no leaf, and no parameter
                received.node, received.output_nr, received.base = node, place, None
    return context


class Arrival:
    """The gradient node of tensors that another process has sent."""

    hooks: NodeHooks | None = None
    inputs: tuple = ()
    next_functions: tuple = ()
    origin = None

    def __init__(self, context: int, departure: int, sender: int, layouts: tuple) -> None:
        self.context, self.departure, self.sender, self.layouts = context, departure, sender, layouts

    def name(self) -> str:
        """What PyTorch would print."""
        return "RecvRpcBackward"

    def apply(self, grads: tuple) -> tuple:
        """Raises ``RuntimeError``: this process alone cannot go on from here."""
        raise RuntimeError(
            "this tensor came from another process: torch.distributed.autograd.backward(context_id, [loss]) goes back to it, backward() does not"
        )

    def release(self) -> None:
        """Nothing was saved."""

    register_hook = GradNode.register_hook
    register_prehook = GradNode.register_prehook

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


# -- passes ----------------------------------------------------------------------------------------------------------------


class Part:
    """One backward pass, within one process.

    Attributes:
        starts: where it begins: at the roots (``None``), and at departures
        order: the nodes, users before the used; ``None`` until it is known that all starts are
        missing: for each node, from how many edges its gradients are to come still
        leaves: the gradients of leaves
        found: for each node the gradients that have come, with the places of the edges in the order, by which they are summed
    """

    def __init__(self, context: Context, number: int, retain: bool) -> None:
        self.context, self.number, self.retain = context, number, retain
        self.starts: dict[int | None, list[Edge | None]] = {}
        self.arrivals: set[int] = set()
        self.order: list[Any] | None = None
        self.missing: dict[int, int] = {}
        self.found: dict[int, list[tuple]] = {}
        self.leaves: dict[Tensor, Tensor] = {}

    # -- which departures belong to it -------------------------------------------------------------------------------------

    def explore(self, start: int | None, edges: list[Edge | None]) -> Future:
        """Add a start; the future is done when all that can be reached from it, in whatever process, knows that it belongs to the pass."""
        with self.context.lock:
            asked = []
            if start not in self.starts:
                self.starts[start] = edges
                for node in engine.order([edge[0] for edge in edges if edge is not None]):
                    if isinstance(node, Arrival) and id(node) not in self.arrivals:
                        self.arrivals.add(id(node))
                        asked.append(node)
            return _all([self._ask(node.sender, explore, (node.departure, self.retain)) for node in asked])

    def _ask(self, peer: int, function: Any, arguments: tuple) -> Future:
        from flambeau.distributed.rpc.agent import current_agent

        given = (self.context.id, self.number, *arguments)
        return current_agent().call(peer, function, given, {}, 0, tracked=False, counted=False)

    # -- gradients ---------------------------------------------------------------------------------------------------------

    def feed(self, start: int | None, grads: Sequence[Tensor | None]) -> Future:
        """Go on from a start; the future is done when all that this leads to is."""
        with self.context.lock, flambeau.no_grad():
            if self.order is None:
                self._arrange()
            place = list(self.starts).index(start) - len(self.starts)  # before all nodes
            ready: list[Any] = []
            for position, (edge, grad) in enumerate(zip(self.starts[start], grads, strict=True)):
                self._give(edge, grad, (place, position), ready)
            outer, engine.PASS.nodes = engine.PASS.nodes, self.order
            try:
                sent = self._run(ready)
            finally:
                engine.PASS.nodes = outer
            if not self.missing:
                self.context.parts.pop(self.number, None)
                self._complete()
            return _all(sent)

    def _arrange(self) -> None:
        self.starts = dict(sorted(self.starts.items(), key=lambda each: -1 if each[0] is None else each[0]))
        edges = [edge for start in self.starts.values() for edge in start if edge is not None]
        self.order = engine.order([node for node, _ in edges])
        self.places = {id(node): place for place, node in enumerate(self.order)}
        edges += [edge for node in self.order for edge in node.inputs if edge is not None]
        for node, _ in edges:
            self.missing[id(node)] = self.missing.get(id(node), 0) + 1

    def _give(self, edge: Edge | None, grad: Tensor | None, place: tuple[int, int], ready: list[Any]) -> None:
        if edge is None:
            return
        node, number = edge
        if grad is not None:
            self.found.setdefault(id(node), []).append((place, number, grad))
        self.missing[id(node)] -= 1
        if not self.missing[id(node)]:
            del self.missing[id(node)]
            ready.append(node)

    def _run(self, ready: list[Any]) -> list[Future]:
        """Run the nodes that can, and those that can then."""
        sent = []
        while ready:
            node = ready.pop()
            slots: dict[int, list] = {}
            for _, number, grad in sorted(self.found.pop(id(node), ()), key=lambda each: each[0]):
                engine._accumulate(slots, node, number, grad)
            incoming = slots.get(id(node), [])
            if incoming and node.hooks is not None:
                engine._before(node.hooks, incoming)
            if isinstance(node, Arrival):
                grads = (*incoming, *[None] * (len(node.layouts) - len(incoming)))
                sent.append(self._ask(node.sender, feed, (node.departure, grads)))
            elif isinstance(node, AccumulateGrad):
                self._keep(node, incoming)
            else:
                outgoing = self._through(node, incoming) if incoming else [None] * len(node.inputs)
                for position, (edge, grad) in enumerate(zip(node.inputs, outgoing, strict=True)):
                    self._give(edge, grad, (self.places[id(node)], position), ready)
        return sent

    def _through(self, node: Any, incoming: list) -> Any:
        outgoing = engine._apply(node, (*incoming, *[None] * (len(node.layouts) - len(incoming))))
        if node.hooks is not None and node.hooks.after:
            outgoing = engine._after(node.hooks, outgoing, tuple(incoming))
        if not self.retain:
            node.release()
        return outgoing

    def _keep(self, node: AccumulateGrad, incoming: list) -> None:
        leaf = node.variable
        if leaf is None or not incoming or incoming[0] is None:
            return
        self.leaves[leaf] = incoming[0]
        for hook in list(node.hooks.accumulated.values()) if node.hooks is not None else ():
            hook(leaf)

    def _complete(self) -> None:
        """Add the gradients that were found in this process to those of the context."""
        if OBSERVERS:
            self._observe()
        gradients = self.context.gradients
        for leaf, grad in self.leaves.items():
            gradients[leaf] = engine._sum(gradients[leaf], grad) if leaf in gradients else grad

    def _observe(self) -> None:
        """Let those that exchange gradients after a pass, such as ``DistributedDataParallel``, do so, as if they were the leaves' ``grad``."""
        before = {leaf: leaf.grad for leaf in self.leaves}
        after = [observer(self.leaves) for observer in OBSERVERS]
        try:
            for leaf, grad in self.leaves.items():
                leaf.grad = grad.clone()  # which may be changed in place, and may be another leaf's, too
            for each in after:
                each()
            self.leaves = {leaf: leaf.grad for leaf in self.leaves}
        finally:
            for leaf, grad in before.items():
                leaf.grad = grad


def _all(futures: list[Future]) -> Future:
    """The future that is done when all are; it fails as one of them does."""
    return collect_all(futures).then(lambda done: [each.wait() for each in done.wait()] and None)


@async_execution
def explore(context: int, number: int, departure: int, retain: bool) -> Future:
    """A departure of this process belongs to a pass."""
    known = find(context)
    with known.lock:
        part = known.parts.setdefault(number, Part(known, number, retain))
        return part.explore(departure, known.departures[departure])


@async_execution
def feed(context: int, number: int, departure: int, grads: Sequence[Tensor | None]) -> Future:
    """The gradients of what this process has sent have been computed."""
    return find(context).parts[number].feed(departure, grads)


def backward(context: int, roots: Sequence[Tensor], retain_graph: bool = False) -> None:
    """Add the gradients of the sum of scalars to those of a context, in all processes that had a part in computing them.

    Raises:
        RuntimeError: there is no root, a root is no scalar or does not require grad; this process does not know the context; another one
            fails
    """
    from flambeau.distributed.rpc.agent import current_agent

    known = find(context)
    if not roots:
        raise RuntimeError("No tensors provided for gradient computation: roots is empty")
    for place, root in enumerate(roots):
        if not root.requires_grad:
            raise RuntimeError(f"requires_grad not set on root {place}")
        if root.numel() != 1:
            raise RuntimeError(f"root {place} has shape {list(root.shape)}: every root must be a scalar (sum() makes one)")
    part = Part(known, number(current_agent().me.id), retain_graph)
    known.parts[part.number] = part
    try:
        part.explore(None, [(root.node, root.output_nr) for root in roots]).wait()
        part.feed(None, [flambeau.ones_like(root.detach()) for root in roots]).wait()
    finally:
        known.parts.pop(part.number, None)
