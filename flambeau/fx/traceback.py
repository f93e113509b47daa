"""Notes on nodes that outlive the graph: annotations of a part of a program, and where a pass's nodes come from.

While :func:`preserve_node_meta` is on, a node that a tracer makes takes over what is noted at that moment: the annotations of
:func:`annotate`, and, if a graph is being run to make another, the notes of the node that is run.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from enum import Enum
from typing import Any

__all__ = [
    "NodeSource",
    "NodeSourceAction",
    "annotate",
    "annotate_fn",
    "get_current_meta",
    "has_preserved_node_meta",
    "preserve_node_meta",
    "set_current_meta",
]

TAKEN_OVER = (
    "ac_graph_id", "custom", "from_node", "nn_module_stack", "original_aten", "partitioner_tag", "quantization_tag", "recompute",
    "source_fn_stack", "stack_trace", "torch_fn",
)  # fmt: skip
"""The notes that a node's successor has as well. Others, such as shapes, are true of the node alone."""

_current: ContextVar[dict[str, Any] | None] = ContextVar("current", default=None)
_preserved: ContextVar[bool] = ContextVar("preserved", default=False)


class NodeSourceAction(Enum):
    """What a pass did to get a node: made it, or put it in another's place."""

    CREATE = "create"
    REPLACE = "replace"


class NodeSource:
    """Where a node comes from: the node that was run, in which pass, and in turn where that node came from."""

    def __init__(self, node: Any, pass_name: str = "", action: NodeSourceAction | list[NodeSourceAction] | None = None) -> None:
        self.name = "" if node is None else node.name
        self.target = "" if node is None else str(node.target)
        self.graph_id = -1 if node is None else id(node.graph)
        self.from_node: list[NodeSource] = [] if node is None else copy.copy(node.meta.get("from_node", []))
        self.pass_name = pass_name
        self.action = action if isinstance(action, list) else [] if action is None else [action]

    def __repr__(self) -> str:
        actions = "+".join(action.name.lower() for action in self.action)
        return f"(name={self.name}, pass_name={self.pass_name}, action={actions}, graph_id={self.graph_id})"


@contextlib.contextmanager
def _noted(notes: dict[str, Any]) -> Iterator[None]:
    token = _current.set(notes)
    try:
        yield
    finally:
        _current.reset(token)


@contextlib.contextmanager
def annotate(annotation_dict: dict[str, Any]) -> Iterator[None]:
    """Notes something, within a context, for the nodes that are made there: it becomes part of ``node.meta["custom"]``.

    An inner annotation adds to the outer one, and prevails where both say something.

    Example:
        >>> from flambeau.fx import traceback
        >>> def function(x):
        ...     with traceback.annotate({"stage": 0}):
        ...         x = x + 1
        ...     return x * 2
        >>> with traceback.preserve_node_meta():
        ...     graph = flambeau.fx.symbolic_trace(function).graph
        >>> [(node.name, node.meta.get("custom")) for node in graph.nodes]
        [('x', None), ('add', {'stage': 0}), ('mul', None), ('output', None)]
    """
    notes = get_current_meta()
    with _noted({**notes, "custom": {**notes.get("custom", {}), **annotation_dict}}):
        yield


def annotate_fn(annotation_dict: dict[str, Any]) -> Callable[[Callable], Callable]:
    """:func:`annotate` as a decorator, for all that a function does."""

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def annotated(*args: Any, **kwargs: Any) -> Any:
            with annotate(annotation_dict):
                return function(*args, **kwargs)

        return annotated

    return decorate


@contextlib.contextmanager
def preserve_node_meta(enable: bool = True) -> Iterator[None]:
    """Lets the nodes that are made in this context take over what is noted; ``enable=False`` turns that off again."""
    token = _preserved.set(enable)
    try:
        yield
    finally:
        _preserved.reset(token)


def has_preserved_node_meta() -> bool:
    """Whether nodes take over what is noted."""
    return _preserved.get()


def get_current_meta() -> dict[str, Any]:
    """What is noted at this moment."""
    return dict(_current.get() or {})


@contextlib.contextmanager
def set_current_meta(node: Any, pass_name: str = "") -> Iterator[None]:
    """Notes what a node has in its ``meta``, and that what is made in this context comes from it, while meta is preserved."""
    if not has_preserved_node_meta():
        yield
        return
    source = NodeSource(node, pass_name, NodeSourceAction.CREATE)
    with _noted({**node.meta, "from_node": [source]}):
        yield


def note(node: Any) -> None:
    """Gives a new node what is noted, if meta is preserved."""
    if _preserved.get():
        notes = _current.get() or {}
        node.meta.update({key: copy.copy(notes[key]) for key in TAKEN_OVER if key in notes})
