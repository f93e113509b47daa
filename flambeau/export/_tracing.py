"""Tracing by running: a module is called with examples, and every public function and method on tensors becomes a node.

Nothing is put in the place of tensors: a mode (`overrides.TorchFunctionMode`) is told of every call, and knows the node of each tensor. Which
sizes are free is found out by running with several *variants* of the examples at once, which differ in these sizes: a size that differs
is computed by the graph, and a program for which another size is an error depends on it. Python runs once, with the first variant.

```
x.view(x.shape[0], -1)      variants (3, 4, 5), (7, 4, 5)
    x.shape                 → Size([free (3 | 7), 4, 5])
    view(x, free, -1)       → node aten.view(x, [sym_size(x, 0), -1]); run as view(x, 3, -1) and as view(x', 7, -1)
```

A call is noted as the operator of PyTorch's that it is, run in that form, so that the graph is what has run. Functions that are no operators
are entered; where they do what no public function does, they are a node themselves.
"""

from __future__ import annotations

import builtins
import keyword
import operator
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._dynamo.exc import UserError
from flambeau._tensor import overriding
from flambeau._types.errors import DeviceNotAvailableError
from flambeau._types.layout import Layout
from flambeau.export._aten import aten_call, name_of, overload_of
from flambeau.export._indexing import index_steps
from flambeau.export._sizes import FreeInt, Recorder, _Free, plain
from flambeau.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from flambeau.fx.graph import Graph
from flambeau.fx.node import Node, leaves, map_aggregate
from flambeau.overrides import TorchFunctionMode

__all__ = ["Described", "Tracing", "check"]

_VALUES = frozenset({
    "__array__", "__bool__", "__complex__", "__contains__", "__float__", "__index__", "__int__", "allclose", "equal", "is_nonzero", "item", "numpy", "tolist",
})  # fmt: skip
"""Functions that tell of a tensor's numbers."""
_MADE = frozenset(["as_tensor", "asarray", "from_dlpack", "from_numpy", "frombuffer", "new_tensor", "scalar_tensor", "tensor"])
"""Functions whose results are constants: they make tensors of what is no tensor."""
_SIZES = {"nelement": "sym_numel", "numel": "sym_numel", "shape": "sym_size", "size": "sym_size", "stride": "sym_stride"}
"""Functions that tell of a tensor's sizes, and their operators."""


class TracerWarning(Warning):
    """A trace holds what another call would find otherwise."""


class _Opaque(Exception):
    """A function that was entered does something that no public function is told of."""


@dataclass(frozen=True)
class Described:
    """What is known of a tensor when a graph is made; sizes that are free are the names of symbols."""

    shape: tuple[int | str, ...]
    dtype: flambeau.dtype
    requires_grad: bool = False
    strides: tuple[int | str, ...] | None = None
    """Those of a tensor that is not contiguous: numbers, products of sizes, or "?" where they are something else."""

    def __repr__(self) -> str:
        return f"{str(self.dtype).removeprefix('torch.')}[{', '.join(map(str, self.shape))}]"


@dataclass
class Traced:
    """A tensor that has a node: itself (so that nothing else gets its identity), and what it is in the other variants."""

    tensor: Tensor
    node: Node
    others: tuple
    fixed: bool = False


class _Recorded(Graph):
    """A graph that knows in which order its nodes were made.

    Attributes:
        made: the nodes
        within: the calls of modules that are under way, by their names: the path and the class of each module
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.made: list[Node] = []
        self.within: dict[str, tuple[str, str]] = {}

    def create_node(self, *args: Any, **options: Any) -> Node:
        node = super().create_node(*args, **options)
        if self.within:
            node.meta["nn_module_stack"] = dict(self.within)
        self.made.append(node)
        return node


def check(condition: Any, message: str) -> None:
    """A node that stops a program whose sizes lead it another way than its examples did.

    Raises:
        AssertionError: the condition does not hold
    """
    if not condition:
        raise AssertionError(message)


check.__module__ = "torch.export"  # where generated code finds it


class Tracing(TorchFunctionMode, Recorder):
    """Makes the graph of what is called within the context.

    Args:
        variants: how many there are
        symbols: the names of free sizes, by what they are in all variants
        answers: tell the program of its tensors' numbers, with a warning, instead of an error

    Attributes:
        graph: the nodes so far
        constants: tensors that neither arguments nor operators gave, by the names of their nodes
        lifted: how many such tensors the module has already, which is a program itself
    """

    def __init__(self, variants: int, symbols: dict[tuple[int, ...], str], answers: bool = False) -> None:
        self._active = overriding.Active()
        self.graph = _Recorded()
        self.variants = variants
        self.symbols = symbols
        self._answers = answers
        self.constants: dict[str, Tensor] = {}
        self.lifted = 0
        self._known: dict[int, Traced] = {}
        self._sizes: dict[tuple, Any] = {}
        self._inputs: set[str] = set()
        self._depth = 0
        self._grad = flambeau.is_grad_enabled()
        self._before_write: Callable[[Tensor], None] = lambda tensor: None
        self._detached: dict[Node, Node] = {}

    def __enter__(self) -> Tracing:
        # Not as other modes, for whose sake functions go on asking: after a trace they are as fast as before.
        self._active.__enter__()
        overriding.STATE.modes.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        overriding.STATE.modes.pop()
        self._active.__exit__()

    # -- what is known -----------------------------------------------------------------------------------------------------

    def give(self, name: str, tensors: tuple, *, fixed: bool = False) -> Node:
        """A placeholder that stands for a tensor: one for each variant, or one for all."""
        node = self.placeholder(name)
        self.know(tensors, node, fixed=fixed)
        return node

    def placeholder(self, name: str) -> Node:
        """An input that is called so, also where that is the name of something of Python's, such as `input`."""
        node = self.graph.placeholder(name)
        if hasattr(builtins, name) and name not in self._inputs and not keyword.iskeyword(name):
            self.graph._names.take(name)
            node.name = name
        self._inputs.add(name)
        node.target = node.name
        return node

    def know(self, tensors: tuple, node: Node, *, fixed: bool = False) -> None:
        """Note the node of a tensor."""
        self._known[id(tensors[0])] = Traced(tensors[0], node, tensors[1:], fixed)
        node.meta["val"] = self.describe(tensors)

    def describe(self, tensors: tuple) -> Described:
        """A tensor without its numbers."""
        first = tensors[0]
        sizes = zip(*[tensor.shape for tensor in tensors])
        shape = tuple([each[0] if len(set(each)) == 1 else self._size_text(each) for each in sizes])
        return Described(shape, first.dtype, first.requires_grad, self._strides(tensors))

    def _size_text(self, values: tuple[int, ...]) -> str:
        """What a number is made of that differs between the variants: a free size, a product of two, or a multiple of these; else "?"."""
        for free, name in self.symbols.items():
            if any(value % size for value, size in zip(values, free)):
                continue
            factors = tuple([value // size for value, size in zip(values, free)])
            if len(set(factors)) == 1:
                return name if factors[0] == 1 else f"{factors[0]}*{name}"
            for other, other_name in self.symbols.items():
                rest = {factor / size for factor, size in zip(factors, other)}
                if len(rest) == 1 and (multiple := rest.pop()).is_integer():
                    return f"{name}*{other_name}" if multiple == 1 else f"{int(multiple)}*{name}*{other_name}"
        return "?"

    def _strides(self, tensors: tuple) -> tuple[int | str, ...] | None:
        """The strides of a tensor in all variants, or nothing if it is contiguous: numbers, products of sizes, or "?"."""
        if not isinstance(tensors[0].layout, Layout) or all(tensor.is_contiguous() for tensor in tensors):
            return None
        strides = zip(*[tensor.stride() for tensor in tensors])
        return tuple([each[0] if len(set(each)) == 1 else self._size_text(each) for each in strides])

    def _traced(self, tensor: Tensor) -> Traced:
        """What is known of a tensor; one that is not known is a constant, if it did not come about while tracing."""
        found = self._known.get(id(tensor))
        if found is not None:
            return found
        if tensor.memory.tape is not None or not tensor.is_leaf:
            if self._depth:
                raise _Opaque
            raise UserError(
                f"a tensor of shape {tuple(tensor.shape)} was computed by something that is no public function of PyTorch's (an "
                "autograd.Function, or code of Flambeau's own), so that it cannot be part of a graph"
            )
        if self._depth:
            raise _Opaque  # a constant that a function makes anew each time belongs to the function
        name = f"c_lifted_tensor_{self.lifted + len(self.constants)}"
        first = next(iter(self.graph.nodes), None)
        with self.graph.inserting_before(first):
            node = self.graph.placeholder(name)
        self.constants[node.name] = tensor
        self.know((tensor,) * self.variants, node, fixed=True)
        return self._known[id(tensor)]

    def node_of(self, value: Any) -> Any:
        """A value as an argument of a node."""
        if isinstance(value, Tensor):
            return self._traced(value).node
        if isinstance(value, _Free):
            return value.node
        if isinstance(value, flambeau.Size):
            return list(value)
        return value

    # -- numbers ---------------------------------------------------------------------------------------------------------

    def computed(self, function: Callable, args: tuple) -> Node:
        return self.graph.call_function(function, map_aggregate(args, self.node_of))

    def asked(self, function: Callable, args: tuple, answer: bool) -> None:
        left, right = args
        key = ("asked", function, repr(left), repr(right))
        if key in self._sizes:
            return
        condition = self.computed(function, args) if answer else self.computed(operator.not_, (self.computed(function, args),))
        what = f"{left!r} {function.__name__} {right!r} has to be {answer}, as it was for the example"
        self._sizes[key] = self.graph.call_function(check, (condition, f"Guard failed: {what}"))

    def _size(self, traced: Traced, operation: str, dim: int | None, values: tuple, what: str) -> Any:
        """A number of a tensor: free, if it differs between variants."""
        if len(set(values)) == 1:
            return values[0]
        key = (operation, traced.node, dim)
        if key not in self._sizes:
            args = (traced.node,) if dim is None else (traced.node, dim)
            overload = "default" if dim is None else "int"
            target = getattr(getattr(flambeau.ops.aten, operation), overload)
            self._sizes[key] = FreeInt(values, lambda: self._placed(traced.node, target, args), self, self.symbols.get(values, what))
        return self._sizes[key]

    def _placed(self, after: Node, target: Any, args: tuple) -> Node:
        """The node of a size, which is asked before anything can change it: with the placeholders, or right behind its tensor."""
        while after.op == "placeholder" and after.next.op == "placeholder":
            after = after.next
        with self.graph.inserting_after(after):
            node = self.graph.call_function(target, args)
        node.meta["nn_module_stack"] = after.meta.get("nn_module_stack", {})
        return node

    def _asked_of(self, function: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        """A number or anything else about a tensor that is no tensor, for all variants."""
        name = getattr(function, "__name__", "")
        if name == "__get__":
            name = function.__self__.fget.__name__
        name = name.partition(".")[0]  # of an operator without its overload
        answers = tuple([self._run(function, args, kwargs, number) for number in range(self.variants)])
        first = answers[0]
        tensor = next((arg for arg in args if isinstance(arg, Tensor)), None)
        if tensor is None or all(_same(answer, first) for answer in answers):
            return first
        traced = self._traced(tensor)
        operation = _SIZES.get(name)
        if operation and isinstance(first, tuple):
            sizes = [self._size(traced, operation, dim, each, f"{traced.node}.{name}[{dim}]") for dim, each in enumerate(zip(*answers))]
            return flambeau.Size(sizes) if operation == "sym_size" else tuple(sizes)
        if operation:
            dim = args[1] if len(args) > 1 else kwargs.get("dim")
            return self._size(traced, operation, dim, answers, f"{traced.node}.{name}({'' if dim is None else dim})")
        raise UserError(
            f"{name}() of a tensor of shape {tuple(tensor.shape)} depends on a size that is to be free: it is {first!r} for the example, and "
            f"{answers[1]!r} for another size. Use x.shape, or declare the size Dim.STATIC"
        )

    # -- calls -----------------------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._call(func, tuple(args), dict(kwargs or {}))

    def _call(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        name = getattr(func, "__name__", "")
        if name in _VALUES:
            self._refuse_values(name, args)
            return func(*args, **kwargs)
        if name == "__getitem__":
            return self._index(args[0], args[1])
        if name == "__setitem__" and self._assign(*args):
            return None
        if name == "__iter__":
            return iter(self._call(Tensor.unbind, args, {}))
        if name == "__len__":
            return self._length(args[0])
        if name in _MADE and not any(isinstance(leaf, Tensor) and id(leaf) in self._known for leaf in leaves((args, kwargs))):
            return func(*map_aggregate(args, _plain_number), **kwargs)
        if flambeau.is_autocast_enabled("cpu"):
            raise NotImplementedError("a program cannot be traced while autocast is on: trace it without, and call it with autocast")
        call = aten_call(func, args, kwargs)
        if call is None and self._is_composed(func):
            return self._enter(func, args, kwargs)
        if call is not None:
            mark = self._mark()
            try:
                return self._record(call.target, call.args, call.kwargs, "call_function", None)
            except (UserError, GuardOnDataDependentSymNode, DeviceNotAvailableError):
                raise
            except (TypeError, AttributeError, NotImplementedError, RuntimeError, ValueError, IndexError):
                # The operator of that name takes other arguments, or what was called is wrong: it is called as it was.
                self._undo(mark)
        return self._as_it_is(func, args, kwargs)

    def call_operator(self, operator: Any, args: tuple) -> Any:
        """Note a call of one of `torch.ops`' operators itself."""
        overriding.STATE.modes.remove(self)
        try:
            return self._record(operator, args, {}, "call_function", None)
        finally:
            overriding.STATE.modes.append(self)

    def _as_it_is(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Note a call as the public function or method that was called."""
        name = getattr(func, "__name__", "")
        if name == "__get__":
            attribute = func.__self__.fget.__name__
            return self._record(getattr, (args[0], attribute), {}, "call_function", func)
        if name == "__setitem__":
            return self._record(operator.setitem, args, kwargs, "call_function", None)
        if name.startswith("__r") and getattr(operator, f"__{name[3:]}", None) is not None and name not in ("__rshift__",):
            return self._record(getattr(operator, f"__{name[3:]}"), (args[1], args[0]), kwargs, "call_function", None)
        if getattr(Tensor, name, None) is func and args and isinstance(args[0], Tensor):
            return self._record(name, args, kwargs, "call_method", func)
        return self._record(func, args, kwargs, "call_function", None)

    def _refuse_values(self, name: str, args: tuple) -> None:
        """Refuse to tell of the numbers of what the program computes; those of constants are known.

        Raises:
            GuardOnDataDependentSymNode: they are to be told
        """
        for leaf in leaves(args):
            if not isinstance(leaf, Tensor):
                continue
            node = self._traced(leaf).node
            if node.name in self.constants:
                continue
            if self._answers:
                warnings.warn(
                    f"{name}() asks for the numbers of {node} (shape {tuple(leaf.shape)}): what comes of them is part of the trace, and the same for "
                    "all arguments",
                    TracerWarning,
                    stacklevel=2,
                )
                continue
            raise GuardOnDataDependentSymNode(
                f"{name}() asks for the numbers of {node} (shape {tuple(leaf.shape)}), which are not known when a program is "
                "exported: it may not branch on them. Use torch.where or masks, or do that outside of the exported module"
            )

    def _length(self, tensor: Tensor) -> int:
        """What `len` says, which Python has to be a plain number."""
        sizes = self._asked_of(Tensor.size, (tensor,), {})
        length = int(sizes[0]) if sizes else len(tensor)
        if self._answers and id(tensor) in self._known:
            node = self._traced(tensor).node
            warnings.warn(
                f"len({node}) is {length} in the trace, whatever it is called with: use {node}.shape[0]", TracerWarning, stacklevel=2
            )
        return length

    @staticmethod
    def _is_composed(func: Any) -> bool:
        """Whether a function is made of others."""
        return hasattr(func, "__wrapped__") and not name_of(func) and getattr(Tensor, getattr(func, "__name__", ""), None) is not func

    def _enter(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Let the calls that a function makes become nodes; the function itself, if it does something else."""
        mark = self._mark()
        self._depth += 1
        try:
            with self:
                result = func.__wrapped__(*args, **kwargs)
            for leaf in leaves(result):
                if isinstance(leaf, Tensor):
                    self._traced(leaf)
            return result
        except (_Opaque, TypeError, AttributeError):  # or it takes free sizes for no numbers: it is called with plain ones then
            self._undo(mark)
        finally:
            self._depth -= 1
        return self._as_it_is(func, args, kwargs)

    # -- indices -----------------------------------------------------------------------------------------------------------

    def _index(self, tensor: Tensor, index: Any) -> Any:
        steps = index_steps(index, tensor.dim())
        if steps is None:
            return self._record(operator.getitem, (tensor, index), {}, "call_function", None)
        result = tensor
        for name, args in steps:
            target = aten_target(name)
            result = self._record(target, (result, *args), {}, "call_function", None)
        return result if steps else self._record(aten_target("alias"), (tensor,), {}, "call_function", None)

    def _assign(self, tensor: Tensor, index: Any, value: Any) -> bool:
        """Note `x[index] = value` as views and a write to the last of them, if its index can be; say whether that was so."""
        steps = index_steps(index, tensor.dim())
        if steps is None:
            return False
        gathers = steps[-1:] if steps and steps[-1][0] == "index" else []
        target = tensor
        for name, args in steps[: len(steps) - len(gathers)]:
            target = self._record(aten_target(name), (target, *args), {}, "call_function", None)
        if isinstance(value, Tensor) and value.dtype is not target.dtype:
            value = self._call(Tensor.to, (value, target.dtype), {})
        if gathers:
            indices = gathers[0][1][0]
            elements = value if isinstance(value, Tensor) else flambeau.tensor(_plain_number(value), dtype=target.dtype)
            self._record(flambeau.ops.aten.index_put_.default, (target, indices, elements), {}, "call_function", None)
        elif isinstance(value, Tensor):
            if value.dim() > target.dim():  # sizes of 1 in front do not count
                value = self._call(Tensor.reshape, (value, target.shape), {})
            self._record(flambeau.ops.aten.copy_.default, (target, value), {}, "call_function", None)
        else:
            self._record(flambeau.ops.aten.fill_.Scalar, (target, value), {}, "call_function", None)
        return True

    # -- nodes -----------------------------------------------------------------------------------------------------------

    def _mark(self) -> tuple[int, ...]:
        return len(self.graph.made), len(self._known), len(self._sizes), len(self._detached)

    def _undo(self, mark: tuple[int, ...]) -> None:
        """Forget the nodes since a mark, and what was noted with them."""
        made, *counts = mark
        while len(self.graph.made) > made:
            self.graph.erase_node(self.graph.made.pop())
        for noted, count in zip((self._known, self._sizes, self._detached), counts):
            while len(noted) > count:
                noted.popitem()

    def _run(self, function: Any, args: Any, kwargs: Any, variant: int) -> Any:
        def value(leaf: Any) -> Any:
            if isinstance(leaf, Tensor) and variant:
                return self._traced(leaf).others[variant - 1]
            return plain(leaf, variant)

        args, kwargs = map_aggregate((args, kwargs), value)
        return function(*args, **kwargs)

    def _record(self, target: Any, args: tuple, kwargs: dict[str, Any], kind: str, function: Any) -> Any:
        """Run a call for all variants, and note it if it gives tensors or writes to one."""
        run = function if function is not None else target
        if kind == "call_function" and run is not target:
            given: tuple = args[:1]  # a property: the name is part of the node only
        else:
            given = args
        for leaf in leaves((args, kwargs)):
            if isinstance(leaf, Tensor):
                self._traced(leaf)
        operation = _operation(target)
        writes = (operation.endswith("_") and not operation.endswith("__")) or operation == "setitem" or "out" in kwargs
        if writes:
            self._before_write(args[0])
        results = [self._run(run, given, kwargs, 0)]
        if not writes and not any(isinstance(leaf, Tensor) for leaf in leaves(results[0])):
            return self._asked_of(run, given, kwargs)
        for number in range(1, self.variants):
            try:
                results.append(self._run(run, given, kwargs, number))
            except (RuntimeError, ValueError, IndexError, TypeError) as error:
                raise self._violated(operation, args, error) from error
        node_args, node_kwargs = map_aggregate((args, kwargs), self._argument)
        node = self.graph.create_node(kind, target, node_args, node_kwargs)
        self._note(node, results)
        return results[0]

    def _argument(self, leaf: Any) -> Any:
        """A leaf as an argument of a node; where no gradients are recorded and they are elsewhere, detached."""
        node = self.node_of(leaf)
        if isinstance(leaf, Tensor) and self._grad and not flambeau.is_grad_enabled() and leaf.requires_grad:
            if node not in self._detached:
                self._detached[node] = self.graph.call_function(aten_target("detach"), (node,))
            return self._detached[node]
        return node

    def _note(self, node: Node, results: list[Any]) -> None:
        """Note what a node gives."""
        first = results[0]
        if isinstance(first, Tensor):
            if id(first) in self._known:  # written in place, or given back as it is
                node.meta["val"] = self.describe(tuple(results))
            else:
                self.know(tuple(results), node)
        elif isinstance(first, (tuple, list)):
            if any(len(result) != len(first) for result in results):
                raise UserError(f"{node.name} gives {len(first)} tensors for the example, and another number for another size")
            for number, each in enumerate(first):
                if isinstance(each, (Tensor, tuple, list)):
                    self._note(self.graph.call_function(operator.getitem, (node, number)), [result[number] for result in results])

    def _violated(self, operation: str, args: tuple, error: Exception) -> UserError:
        free = [f"{name} ({' | '.join(map(str, sizes))})" for sizes, name in self.symbols.items()]
        shapes = [str(tuple(leaf.shape)) for leaf in leaves(args) if isinstance(leaf, Tensor)]
        return UserError(
            f"Constraints violated ({', '.join(self.symbols.values())}): the program runs with the example, and fails where {', '.join(free)} "
            f"differ{'s' if len(free) == 1 else ''}: {operation}() of {' and '.join(shapes) or 'its arguments'}: {error}. It holds a size as a plain number, or needs "
            "sizes to be equal: take sizes from x.shape, use one Dim for what is equal, or declare the size Dim.STATIC"
        )


def aten_target(name: str) -> Any:
    """One of PyTorch's operators, in the overload that it mostly has."""
    return getattr(getattr(flambeau.ops.aten, name), overload_of(name, (), {}))


def _plain_number(leaf: Any) -> Any:
    """A leaf, and a free number as a plain one, if it can be."""
    return leaf.fixed() if isinstance(leaf, _Free) else leaf


def _operation(target: Any) -> str:
    return target if isinstance(target, str) else getattr(target, "__name__", "").partition(".")[0]


def _same(answer: Any, first: Any) -> bool:
    return type(answer) is type(first) and (answer is first or bool(answer == first))
