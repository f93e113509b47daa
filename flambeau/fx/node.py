"""A node of a graph: one value, what computes it, and who uses it."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from flambeau.fx._names import qualified_name

if TYPE_CHECKING:
    from flambeau.fx.graph import Graph

__all__ = ["Argument", "Node", "Target", "has_side_effect", "map_aggregate", "map_arg"]

Argument = Any
Target = Any
OPS = ("placeholder", "get_attr", "call_function", "call_module", "call_method", "output", "root")


class Node:
    """One value of a graph.

    Attributes:
        graph: the graph that it is part of
        name: unique in the graph, and the variable's name in its code
        op: `placeholder` (an argument), `get_attr` (a parameter, a buffer), `call_function`, `call_method`, `call_module`, or `output`
        target: the argument's name, the attribute's path, the function, the method's name, or the submodule's path
        args, kwargs: what it is called with; nodes among it are values of the graph
        users: the nodes that use it, in order
        meta: whatever passes note about it
        type: an annotation, or nothing
    """

    def __init__(
        self, graph: Graph, name: str, op: str, target: Target, args: tuple, kwargs: dict[str, Any], return_type: Any = None
    ) -> None:
        if op not in OPS:
            raise AssertionError(f"a node is one of {', '.join(OPS)}, not {op!r}")
        self.graph = graph
        self.name = name
        self.op = op
        self.target = target
        self.type = return_type
        self.users: dict[Node, None] = {}
        self.meta: dict[str, Any] = {}
        self._prev = self._next = self
        self._erased = False
        self._inputs: dict[Node, None] = {}
        self._args: tuple = ()
        self._kwargs: dict[str, Any] = {}
        self._set_arguments(args, kwargs)

    # -- arguments and users ---------------------------------------------------------------------------------------------

    @property
    def args(self) -> tuple:
        return self._args

    @args.setter
    def args(self, args: tuple) -> None:
        self._set_arguments(args, self._kwargs)

    @property
    def kwargs(self) -> dict[str, Any]:
        return self._kwargs

    @kwargs.setter
    def kwargs(self, kwargs: dict[str, Any]) -> None:
        self._set_arguments(self._args, kwargs)

    @property
    def all_input_nodes(self) -> list[Node]:
        """The nodes that it uses, each once."""
        return list(self._inputs)

    def _set_arguments(self, args: tuple, kwargs: dict[str, Any]) -> None:
        for used in self._inputs:
            used.users.pop(self, None)
        self._inputs = {}

        def use(node: Node) -> Node:
            self._inputs[node] = None
            node.users[self] = None
            return node

        self._args = map_arg(tuple(args), use)
        self._kwargs = map_arg(dict(kwargs), use)

    def update_arg(self, idx: int, arg: Argument) -> None:
        """Set one positional argument."""
        args = list(self._args)
        args[idx] = arg
        self.args = tuple(args)

    def insert_arg(self, idx: int, arg: Argument) -> None:
        """Insert a positional argument before the one at `idx`."""
        self.args = (*self._args[:idx], arg, *self._args[idx:])

    def update_kwarg(self, key: str, arg: Argument) -> None:
        """Set one keyword argument."""
        self.kwargs = {**self._kwargs, key: arg}

    def replace_input_with(self, old_input: Node, new_input: Node) -> None:
        """Use another node in the place of one."""
        swap = lambda node: new_input if node is old_input else node
        self._set_arguments(map_arg(self._args, swap), map_arg(self._kwargs, swap))

    def replace_all_uses_with(
        self, replace_with: Node, delete_user_cb: Callable[[Node], bool] = lambda user: True, *, propagate_meta: bool = False
    ) -> list[Node]:
        """Let all users (those that `delete_user_cb` holds for) use another node.

        Returns:
            The users that were changed.
        """
        if propagate_meta:
            replace_with.meta.update(self.meta)
        changed = [user for user in list(self.users) if delete_user_cb(user)]
        for user in changed:
            user.replace_input_with(self, replace_with)
        return changed

    def is_impure(self, impure_random: bool = True) -> bool:
        """Whether it does something besides computing its value, or is part of the graph's interface."""
        if self.op in ("placeholder", "output"):
            return True
        if self.op == "call_method":
            return self.target.endswith("_") and not self.target.endswith("__")
        if self.op == "call_module":
            return False
        if self.op == "call_function":
            name = getattr(self.target, "__name__", "").partition(".")[0]  # of an operator without its overload
            return (
                self.target in _SIDE_EFFECTS
                or (name.endswith("_") and not name.endswith("__"))
                or name in ("setitem", "_assert", "setattr")
                or bool(self._kwargs.get("inplace"))
            )
        return False

    @property
    def stack_trace(self) -> str | None:
        """Where it comes from, if a pass has noted it."""
        return self.meta.get("stack_trace")

    @stack_trace.setter
    def stack_trace(self, trace: str | None) -> None:
        self.meta["stack_trace"] = trace

    # -- places ----------------------------------------------------------------------------------------------------------

    @property
    def next(self) -> Node:
        """The node after it; the last one's next is the graph's root."""
        return self._next

    @property
    def prev(self) -> Node:
        """The node before it."""
        return self._prev

    def prepend(self, x: Node) -> None:
        """Move another node of the graph before this one."""
        if x is self:
            return
        if x.graph is not self.graph:
            raise AssertionError(f"{x} is a node of another graph: copy it by node_copy")
        x._unlink()
        before = self._prev
        before._next, x._prev, x._next, self._prev = x, before, self, x

    def append(self, x: Node) -> None:
        """Move another node of the graph behind this one."""
        if x is not self._next:
            self._next.prepend(x)

    def _unlink(self) -> None:
        self._prev._next, self._next._prev = self._next, self._prev

    # -- text ------------------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return self.name

    def format_node(self, placeholder_names: list[str] | None = None, maybe_return_typename: list[str] | None = None) -> str | None:
        """The node as a line of `print(graph)`; placeholders and the result are added to the lists, if there are any."""
        if self.op == "placeholder":
            if placeholder_names is not None:
                placeholder_names.append(self.target)
            default = f"(default={self.args[0]!r})" if self.args else ""
            return f"%{self.name} : [num_users={len(self.users)}] = placeholder[target={self.target}]{default}"
        if self.op == "get_attr":
            return f"%{self.name} : [num_users={len(self.users)}] = get_attr[target={self.target}]"
        if self.op == "output":
            return f"return {self.args[0]}"
        target = qualified_name(self.target) if self.op == "call_function" else self.target
        return f"%{self.name} : [num_users={len(self.users)}] = {self.op}[target={target}](args = {_text(self.args)}, kwargs = {_text(self.kwargs)})"


def _text(arguments: Argument) -> str:
    """Arguments as PyTorch prints them: a percent sign before each node, and keys as they are."""
    return repr(_named(map_arg(arguments, lambda node: _Named(f"%{node.name}"))))


def _named(arguments: Argument) -> Argument:
    """Arguments whose dictionaries have keys that print without quotes."""
    if isinstance(arguments, dict):
        return {_Named(key): _named(value) for key, value in arguments.items()}
    return type(arguments)(map(_named, arguments)) if type(arguments) in (tuple, list) else arguments


class _Named(str):
    __repr__ = builtins.str.__str__


_SIDE_EFFECTS: set[Any] = set()
"""Functions that do something besides computing a value."""


def has_side_effect(fn: Callable) -> Callable:
    """Say that calls of a function are never taken out of a graph, also if nobody uses their results; returns the function."""
    _SIDE_EFFECTS.add(fn)
    return fn


def map_arg(a: Argument, fn: Callable[[Node], Argument]) -> Argument:
    """Arguments with what a function gives for each node in them."""
    return map_aggregate(a, lambda leaf: fn(leaf) if isinstance(leaf, Node) else leaf)


def map_aggregate(a: Argument, fn: Callable[[Argument], Argument]) -> Argument:
    """Tuples, lists, dictionaries and slices with what a function gives for each of their leaves."""
    if isinstance(a, tuple):
        parts = [map_aggregate(part, fn) for part in a]
        return type(a)(*parts) if hasattr(a, "_fields") else tuple(parts)
    if isinstance(a, list):
        return [map_aggregate(part, fn) for part in a]
    if isinstance(a, dict):
        return {key: map_aggregate(part, fn) for key, part in a.items()}
    if isinstance(a, slice):
        return slice(map_aggregate(a.start, fn), map_aggregate(a.stop, fn), map_aggregate(a.step, fn))
    return fn(a)


def leaves(a: Argument) -> Iterator[Any]:
    """What is in tuples, lists, dictionaries and slices."""
    if isinstance(a, (tuple, list)):
        for part in a:
            yield from leaves(part)
    elif isinstance(a, dict):
        yield from leaves(list(a.values()))
    elif isinstance(a, slice):
        yield from leaves([a.start, a.stop, a.step])
    else:
        yield a
