"""Operators: what a call records, and how its gradient is written down.

An ``Operator`` has a shape rule (``infer``), a lowering (``lower``) and a table of gradients, one formula for each operand.
Public functions are thin wrappers that put their arguments in order and call an operator with its *operands* (tensors, and
numbers that enter arithmetic) and its *statics* (hashable attributes that shape the result).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from zlib import crc32

from flambeau._ops import registry
from flambeau._ops.node import GradNode
from flambeau._ops.origin import user_line
from flambeau._ops.registry import ANOMALY, FUNCTIONS, OPERATORS, new_tensor
from flambeau._ops.rules import checked
from flambeau._ops.writing import check_result, check_writable, rebase, show, write
from flambeau._tape.cuts import CUTS
from flambeau._tape.storage import NoElements, Storage, TensorBase
from flambeau._tape.tape import LOCAL, recording_lock
from flambeau._types.device import CPU
from flambeau._types.dtype import FLOAT
from flambeau._types.errors import ArgumentError, NumberTooLargeError
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

PLAIN_NUMBERS = frozenset((int, float, bool, complex))

_OF_NUMBERS = (AttributeError, IndexError)
"""What shape rules raise that find numbers only, or a number where they look for a layout."""

_new = object.__new__
_tensor_class: type[Tensor] = TensorBase


def set_tensor_class(cls: type) -> None:
    """Set the class of operators' results (``flambeau.Tensor``, which imports this module).

    It is a name of this module as well as of ``registry``, since a call looks it up.
    """
    global _tensor_class
    _tensor_class = cls
    registry.set_tensor_class(cls)


class Native:
    """Where native code finds what it refers to, once there is any."""

    __slots__ = ("address", "state")

    def __init__(self) -> None:
        self.state: Any = None


NATIVE = Native()
"""The one that all operators have."""


class Operator:
    """One operator.

    Args:
        name: PyTorch's name
        operands: the names of the operands; ``("tensors...",)`` for a list of any length
        statics: the names of the static attributes
        infer: ``infer(operands, statics) -> layout or tuple of layouts``; an operand is a ``Layout`` or the class of a number
        lower: ``lower(graph, operands, statics, layouts) -> node or tuple of nodes``
        keeps_origin: remember the user's line, for errors that depend on data
    """

    __slots__ = ("__dict__", "__weakref__", "keeps_origin", "native")

    def __init__(
        self,
        name: str,
        operands: Sequence[str],
        statics: Sequence[str] = (),
        *,
        infer: Callable[[tuple, tuple], Layout | tuple[Layout, ...]],
        lower: Callable[[Graph, list[Node], tuple, tuple[Layout, ...]], Node | tuple[Node, ...]],
        keeps_origin: bool = False,
        grad_name: str | None = None,
    ) -> None:
        for operand in operands:
            if operand == "grad" or operand.startswith("result"):
                raise ValueError(f"{name}: a gradient's formula could not tell an operand named {operand!r} from what it is given anyway")
        self.name = name
        self.rank = crc32(name.encode())
        self.operands = tuple(operands)
        self.statics = tuple(statics)
        self.infer = checked(self, infer)
        self.lower = lower
        self.keeps_origin = keeps_origin
        self.native = NATIVE
        self.names = tuple(operand.removesuffix("...") for operand in self.operands)
        self.variadic = self.operands[-1:] != () and self.operands[-1].endswith("...")
        self.grad_name = grad_name or "".join(part.capitalize() for part in name.strip("_").split("_")) + "Backward0"
        self._formulas: dict[str, tuple[Callable, tuple[str, ...]]] = {}
        self._plans: dict[tuple[int, int], tuple[tuple[str, int], ...]] = {}
        OPERATORS[name] = self

    def __repr__(self) -> str:
        return f"<operator {self.name}>"

    # -- gradients -------------------------------------------------------------------------------------------------

    def gradient(self, **formulas: Callable) -> Operator:
        """Give the gradient of operands, a formula each, and return the operator.

        A formula's parameters say what it needs, and only that is saved: ``grad`` (of the result; ``grad0``, ``grad1``, … where there
        are several), ``result`` (``result0``, …), any operand or static attribute by its name. It is written with public
        functions, so that it can be differentiated again. A gradient is summed over broadcast dimensions and cast to the operand's
        dtype by ``backward``. A formula that is given for several operands returns a tuple of gradients, by the operands' positions; it
        is called once.
        """
        for name, formula in formulas.items():
            known = [operand.removesuffix("...") for operand in self.operands]
            if name not in known:
                raise TypeError(f"{self.name} has no operand {name}, only {known}")
            code = formula.__code__  # a fifth of the import's time if asked of ``inspect``
            self._formulas[name] = (formula, code.co_varnames[: code.co_argcount])
        return self

    @property
    def differentiable(self) -> bool:
        return bool(self._formulas)

    def _plan(self, wanted: int, count: int) -> tuple[tuple[str, int], ...]:
        """What to save if the operands whose bits are set in ``wanted`` require grad: ``("result", number)`` or ``(operand, position)``."""
        plan = self._plans.get((wanted, count))
        if plan is not None:
            return plan
        names = self.names
        needed: dict[tuple[str, int], None] = {}
        for position in range(count):
            name = names[min(position, len(names) - 1)]
            if not wanted >> position & 1 or name not in self._formulas:
                continue
            for parameter in self._formulas[name][1]:
                if parameter.startswith("result"):
                    needed["result", int(parameter[6:] or 0)] = None
                elif parameter in names and self.variadic and parameter == names[-1]:
                    needed.update(((parameter, each), None) for each in range(len(names) - 1, count))
                elif parameter in names and names.index(parameter) < count:
                    needed[parameter, names.index(parameter)] = None
        plan = self._plans[wanted, count] = tuple(needed)
        return plan

    # -- the call --------------------------------------------------------------------------------------------------

    def __call__(self, *operands: Any, statics: tuple = ()) -> Any:
        """Record a call; the result is a tensor, or a tuple of them where the operator has several results.

        This is the hot path of everything: in the steady state it costs a dictionary look-up and a few small objects.
        """
        tape = LOCAL.tape
        if tape.batched:
            return tape.call(self, operands, statics)
        if tape.cursor.cut:
            CUTS.cut(tape)
        key: list[Any] = [self, statics]  # appended to one by one: tuples of two would cost 0.04 µs each
        requires = False
        try:
            for operand in operands:
                if operand.__class__ in PLAIN_NUMBERS:
                    key.append(operand.__class__)
                    _push(tape.numbers, operand)
                else:
                    try:
                        storage = operand.memory
                    except AttributeError:
                        raise ArgumentError(f"{self.name}(): expected a tensor or a number, not {operand.__class__.__name__}") from None
                    key.append(storage.slot if storage.tape is tape else tape.enter(storage))
                    key.append(operand.layout)
                    if operand.node is not None:
                        requires = True
            origin = None
            if self.keeps_origin:
                origin = user_line()
                key.append(origin)
            frozen = tuple(key)
            record = tape.cursor.get(frozen)
            if record is None:
                record = tape.extend(frozen, self, statics, _operand_spec(tape, operands), origin)
            values = tape.values
            slot = len(values)
            single = record.single
            if single is not None:
                storage = Storage(None, record.nbytes, tape, slot)
                values.append(storage)
            else:
                results = _several_results(tape, record)
            tape.cursor = record  # last: up to here the call can be undone
        except NoElements:
            tape.undo()
            single = results = None
        except BaseException as error:
            tape.undo()
            if error.__class__ in _OF_NUMBERS:
                self._refuse_numbers(operands)
            raise
        if single is not None:
            result = _new(_tensor_class)
            result.memory = storage
            result.layout = single
            result.output_nr = 0
            result.base = None
            result.node = self._node(operands, (result,), record) if requires and tape.grad and record.differentiable else None
            if slot >= tape.limit:
                del storage
                tape.flush()
            return result
        if results is None:
            return _meta().call(self, operands, statics)
        if requires and tape.grad and record.differentiable:
            self._give_history(results, operands, record)
        if slot >= tape.limit:
            tape.flush()
        return tuple(results)

    def _give_history(self, results: Sequence[TensorBase], operands: tuple, record: Any) -> None:
        """Let the results of a call that can have gradients know of it."""
        node = self._node(operands, results, record)
        for number, result in enumerate(results):
            if result.layout.dtype.category >= FLOAT:
                result.node = node
                result.output_nr = number

    def _refuse_numbers(self, operands: tuple) -> None:
        """Say so where a shape rule failed because it found a number in place of a layout."""
        for position, operand in enumerate(operands):
            if operand.__class__ in PLAIN_NUMBERS:
                name = self.names[min(position, len(self.names) - 1)]
                raise ArgumentError(
                    f"{self.name}(): argument '{name}' (position {position + 1}) must be Tensor, not {operand.__class__.__name__}"
                ) from None

    def _node(self, operands: tuple, results: Sequence[TensorBase], record: Any, *, target: TensorBase | None = None) -> GradNode:
        """The gradient node of a call; ``target`` is the operand that an in-place call is about to overwrite."""
        edges: list[Any] = []
        wanted, bit = 0, 1
        for operand in operands:
            if operand.__class__ in PLAIN_NUMBERS or (below := operand.node) is None:
                edges.append(None)
            else:
                edges.append((below, operand.output_nr))
                wanted |= bit
            bit += bit
        if record.wanted != wanted:
            plan = self._plan(wanted, len(operands))
            record.saves = tuple([~position if name == "result" else position for name, position in plan])
            record.wanted = wanted
        saved: list[Any] = []
        for position in record.saves:
            if position < 0:
                result = results[~position]
                storage = result.memory
                saved.append((storage, result.layout, ~position, storage.version))
                continue
            operand = operands[position]
            if operand.__class__ in PLAIN_NUMBERS:
                saved.append(operand)
                continue
            if operand is target:
                operand = OPERATORS["clone"](operand.detach())
                operand.node, operand.output_nr = target.node, target.output_nr
            storage = operand.memory
            if storage.version < 0 and not LOCAL.tape.fresh:
                raise _of_inference(self)
            saved.append((operand, storage, storage.version))
        node = _new(GradNode)
        node.op = self
        node.inputs = tuple(edges)
        node.saved = tuple(saved)
        node.record = record
        if ANOMALY.enabled:
            node.origin = user_line()
        return node

    # -- in place --------------------------------------------------------------------------------------------------

    def inplace(self, target: Tensor, *operands: Any, statics: tuple = ()) -> Tensor:
        """Record a call whose first result overwrites ``target``; returns ``target``.

        Raises:
            RuntimeError: the result has another shape or a dtype that cannot be cast to the target's, elements of the target
                overlap, or the target is a leaf that requires grad.
        """
        tape = LOCAL.tape
        if tape.batched:
            return tape.inplace(self, target, operands, statics)
        check_writable(target, self.name + "_")
        grad = tape.grad
        tape.grad = False
        try:
            result = self(*operands, statics=statics)
            first = result[0] if type(result) is tuple else result
            record = tape.latest if first.memory.device is CPU else _meta().record(self, operands, statics)
            check_result(target, first.layout, self.name + "_")
            requires, node = False, None
            if grad:
                for operand in operands:
                    if operand.__class__ not in PLAIN_NUMBERS and operand.node is not None:
                        requires = True
            if requires and record.differentiable:
                show(target)
                results = result if type(result) is tuple else (result,)
                node = self._node(operands, results, record, target=target)
                if ("result", 0) in self._plan(_mask(node.inputs), len(node.inputs)):
                    node.saved = tuple(
                        (target.memory, target.layout, 0, target.memory.version + 1)
                        if isinstance(each, tuple) and len(each) == 4 and each[2] == 0
                        else each
                        for each in node.saved
                    )
            write(target, first)
        finally:
            tape.grad = grad
        if node is not None:
            rebase(target, node)
        elif requires or (grad and target.node is not None):
            rebase(target, None)
        return target

    def _overwrite(self, targets: list[TensorBase], numbers: tuple[float, ...], tensors: list[TensorBase], statics: tuple) -> bool | None:
        """What ``overwrite`` does in native code, once there is any and this was recorded before; ``None`` if it is to be done in Python."""
        return None

    def overwrite(self, targets: Sequence[TensorBase], numbers: tuple, tensors: Sequence[TensorBase], *, statics: tuple = ()) -> bool:
        """Record a call whose results are the new elements of ``targets``, which are among its operands; no history.

        Returns:
            Whether it was recorded: it is not if two operands share a storage, whose order of reading and writing would matter, or if there
            is nothing to compute, on the meta device.
        """
        done = self._overwrite(targets, numbers, tensors, statics)
        if done is not None:
            return done
        tape = LOCAL.tape
        if tape.batched:
            return False
        if tape.cursor.cut:
            CUTS.cut(tape)
        with recording_lock():
            try:
                for number in numbers:
                    _push(tape.numbers, number)
                enter = tape.enter
                slots = [storage.slot if storage.tape is tape else enter(storage) for storage in [tensor.memory for tensor in tensors]]
                key = (self, statics, *[number.__class__ for number in numbers], *slots, *[tensor.layout for tensor in tensors])
                record = tape.cursor.get(key)
                if record is None:
                    if len({id(tensor.memory) for tensor in tensors}) < len(tensors):
                        tape.undo()
                        return False
                    record = tape.extend(key, self, statics, _operand_spec(tape, (*numbers, *tensors)), None)
                values, replaced = tape.values, tape.replaced
                slot = len(values)
                values += [None] * len(targets)
                tape.cursor = record  # last: up to here the call can be undone
            except NoElements:
                tape.undo()
                return False
            except BaseException:
                tape.undo()
                raise
            others = []
            for target, layout, nbytes in zip(targets, record.layouts, record.sizes):
                storage = target.memory
                if target.layout is layout and storage.nbytes == nbytes and storage.tape is tape:
                    # What ``write`` does where the result is all of the storage, without a tensor for it.
                    replaced[slot] = old = storage.slot
                    values[old] = None
                    values[slot] = storage
                    storage.slot = slot
                    storage.version += 1
                else:
                    values[slot] = storage = Storage(None, nbytes, tape, slot)
                    others.append((target, new_tensor(storage, layout)))
                slot += 1
            del storage  # or it would seem to be alive
            for target, value in others:
                write(target, value)
            if slot > tape.limit:
                tape.flush()
        return True

    # -- backward --------------------------------------------------------------------------------------------------

    def backward(self, node: GradNode, grads: tuple) -> tuple:
        """Apply the formulas; see ``GradNode.apply``."""
        if node.saved is None:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed). "
                "Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify retain_graph=True if "
                f"you need to backward through the graph a second time or if you need to access saved tensors after calling backward. (in {self.grad_name})"
            )
        operands = node.record.operands
        names = self.names
        last = len(names) - 1
        values = self._values(node, grads)
        found: list[Any] = []
        together: dict[Callable, tuple] = {}
        for position, edge in enumerate(node.inputs):
            name = names[position] if position < last else names[last]
            if edge is None or name not in self._formulas:
                found.append(None)
                continue
            formula, parameters = self._formulas[name]
            if self.variadic and position >= last:
                values["position"] = position - last
                values["shapes"] = [operand[1].shape for operand in operands[last:]]
            if formula in together:
                grad = together[formula][position]
            else:
                grad = formula(*[values[parameter] if parameter in values else self._extra(parameter, node) for parameter in parameters])
                if grad.__class__ is tuple:
                    together[formula] = grad
                    grad = grad[position]
            if grad is not None:
                layout = operands[position][1]
                if grad.layout.shape != layout.shape or grad.layout.dtype is not layout.dtype:
                    grad = fit(grad, layout)
            found.append(grad)
        return tuple(found)

    def _values(self, node: GradNode, grads: tuple) -> dict[str, Any]:
        """What formulas may ask for by name: static attributes, what was saved (which must not have changed), and the gradients of the results."""
        record = node.record
        layouts = record.layouts
        names = self.names
        last = len(names) - 1
        values: dict[str, Any] = dict(zip(self.statics, record.statics))
        if len(record.operands) <= last:
            values.update(dict.fromkeys(names[len(record.operands) :]))  # optional operands that were not given
        for (name, position), item in zip(self._plan(_mask(node.inputs), len(node.inputs)), node.saved):
            if name == "result":
                storage, layout, number, version = item
                if storage.version != version:
                    raise _changed(self, layout, storage, version)
                result = new_tensor(storage, layout)
                result.node, result.output_nr = node, number
                values["result" if len(layouts) == 1 else f"result{position}"] = result
                continue
            if item.__class__ is tuple:
                tensor, storage, version = item
                if storage.version != version:
                    raise _changed(self, tensor.layout, storage, version)
                if tensor.memory is not storage:
                    replacement = new_tensor(storage, tensor.layout)
                    replacement.node, replacement.output_nr = tensor.node, tensor.output_nr
                    tensor = replacement
                item = tensor
            if self.variadic and position >= last:
                values.setdefault(name, []).append(item)
            else:
                values[name] = item
        if len(layouts) == 1:
            values["grad"] = grads[0]
        else:
            for number, layout in enumerate(layouts):
                grad = grads[number]
                values[f"grad{number}"] = FUNCTIONS.zeros(layout) if grad is None and layout.dtype.category >= FLOAT else grad
        return values

    def saved(self, node: GradNode) -> Iterator[tuple[str, Any]]:
        """The name and value of each attribute of a call and of each tensor or number that was saved of it; the first operand is ``self``."""
        yield from zip(self.statics, node.statics)
        for (name, position), item in zip(self._plan(_mask(node.inputs), len(node.inputs)), node.saved or ()):
            known = "self" if name == self.names[0] else name if name != "result" or position == 0 else f"result{position}"
            if item.__class__ is tuple and len(item) == 4:
                storage, layout, number, _ = item
                item = new_tensor(storage, layout)
                item.node, item.output_nr = node, number
            yield known, item[0] if item.__class__ is tuple else item

    def _extra(self, parameter: str, node: GradNode) -> Any:
        """What a formula may ask for besides tensors: ``shape`` (``X_shape``) and ``X_dtype`` of operand X."""
        names = self.names
        for suffix in ("shape", "dtype", "layout"):
            if parameter.endswith("_" + suffix) and parameter[: -len(suffix) - 1] in names:
                layout = node.operands[names.index(parameter[: -len(suffix) - 1])]
                return layout if suffix == "layout" else getattr(layout, suffix)
        raise TypeError(f"the gradient of {self.name} asks for {parameter}, which is no operand, attribute or result")


def _meta() -> Any:
    """The module that computes shapes alone, which is built on this one and loaded when it is first needed."""
    from flambeau._ops import meta

    return meta


def finish_write(operator: Operator, target: Tensor, result: Any) -> Tensor:
    """Write over a tensor what a call in place has recorded, which autograd need not know of; returns the tensor."""
    first = result[0] if type(result) is tuple else result
    check_result(target, first.layout, operator.name + "_")
    write(target, first)
    return target


PYTHON_CALL, PYTHON_INPLACE = Operator.__call__, Operator.inplace
"""What a call is in Python, which native code may stand in for (``native.py``), and which other threads may make hold a lock (``locking.py``)."""


def _mask(edges: Sequence[Any]) -> int:
    """The bits of the edges that are not ``None``."""
    return sum(1 << position for position, edge in enumerate(edges) if edge is not None)


def fit(grad: Tensor, operand: Layout) -> Tensor:
    """A gradient with the shape and dtype of the operand that it belongs to."""
    if grad.layout.dtype is not operand.dtype:
        if grad.layout.dtype.is_complex and not operand.dtype.is_complex:
            grad = FUNCTIONS.real(grad)
        grad = FUNCTIONS.cast(grad, operand.dtype)
    return grad if grad.layout.shape == operand.shape else FUNCTIONS.sum_to(grad, operand.shape)


def _of_inference(op: Operator) -> RuntimeError:
    """The error of a tensor that inference mode made, and that a gradient needs."""
    return RuntimeError(
        f"Inference tensors cannot be saved for backward: {op.grad_name} needs one that torch.inference_mode() made, whose versions nothing counts. "
        "x.clone() is an ordinary tensor, and torch.no_grad() instead of torch.inference_mode() makes them from the start"
    )


def _changed(op: Operator, layout: Layout, storage: Storage, version: int) -> RuntimeError:
    """The error of a saved tensor that was changed since."""
    return RuntimeError(
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[{layout.dtype!r} {list(layout.shape)}], which is needed by {op.grad_name}, is at version {storage.version}; expected version {version} instead. "
        "Hint: enable anomaly detection to find the operation that failed to compute its gradient, with torch.autograd.set_detect_anomaly(True)."
    )


def _several_results(tape: Any, record: Any) -> list[TensorBase]:
    """The tensors of a call with several results, in the tape's next slots."""
    results = []
    for layout, nbytes in zip(record.layouts, record.sizes):
        storage = Storage(None, nbytes, tape, len(tape.values))
        tape.values.append(storage)
        results.append(new_tensor(storage, layout))
    return results


def _push(numbers: list, operand: Any) -> None:
    if operand.__class__ is bool:
        numbers.append(int(operand))
    elif operand.__class__ is complex:
        numbers.append(operand.real)
        numbers.append(operand.imag)
    else:
        if operand.__class__ is int and not -(1 << 63) <= operand < (1 << 63):
            raise NumberTooLargeError(f"Overflow when unpacking long: {operand} does not fit into 64 bits")
        numbers.append(operand)


def _operand_spec(tape: Any, operands: tuple) -> tuple:
    """The operands as a trie node keeps them: ``(slot, layout)`` or ``(index of the number, class)``."""
    spec = []
    index = len(tape.numbers)
    for operand in operands:
        if operand.__class__ in PLAIN_NUMBERS:
            index -= 2 if operand.__class__ is complex else 1
    slot = tape.cursor.slots
    for operand in operands:
        if isinstance(operand, TensorBase):
            storage = operand.memory
            if storage.tape is tape:
                spec.append((storage.slot, operand.layout))
                slot = max(slot, storage.slot + 1)
            else:  # a snapshot, which is in no storage: snapshots take their slots in order
                spec.append((slot, operand.layout))
                slot += 1
        else:
            spec.append((index, operand.__class__))
            index += 2 if operand.__class__ is complex else 1
    return tuple(spec)
