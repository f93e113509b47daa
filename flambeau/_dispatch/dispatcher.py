"""The tape that asks: calls of operators are handed to modes and to classes with a ``__torch_dispatch__``.

While there are such modes, or tensors of such classes, a thread's tape is a ``Dispatcher``, which records nothing itself. A call of an operator
comes here as it does to a level of ``vmap``; so do views and writes in place. It is put as a call of PyTorch's operators (``table.py``), each of
which the innermost mode is asked for, then the classes of its arguments; what nobody answers goes to the tape outside. Histories are made here,
of what was answered, so that whoever is asked is below autograd, and a backward pass, whose formulas call operators, is seen like anything else.

```
x @ w.t() ──▶ Operator.__call__ ──▶ Dispatcher.call ──▶ aten.mm.default(x, t) ──▶ mode.__torch_dispatch__(func, types, args, kwargs)
                                        │                                              └── func(*args) ──▶ the tape outside
                                        └── the result gets its history
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flambeau._dispatch import gradients, table
from flambeau._dispatch.wrappers import ALIVE, exchange, is_changed, made, restored
from flambeau._ops import norms
from flambeau._ops.calls import CallRecord, record_of
from flambeau._ops.copying import contiguous_format
from flambeau._ops.meta import set_watch
from flambeau._ops.operator import PLAIN_NUMBERS, Operator
from flambeau._ops.registry import FUNCTIONS, new_tensor
from flambeau._ops.views import ViewOperator, detach, make_view, relate
from flambeau._ops.writing import check_writable, is_unseen, rebase, show
from flambeau._tape.storage import TensorBase
from flambeau._tape.tape import LOCAL, Tape, switch
from flambeau._types import layout as lay
from flambeau._types.device import CPU, META, is_meta
from flambeau._types.dtype import FLOAT
from flambeau._types.layout import Layout
from flambeau._types.promotion import get_default_dtype

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor
    from flambeau.ops import OpOverload


class Dispatcher(Tape):
    """See above.

    Attributes:
        outer: the tape that calls go to which nobody answers
        modes: whom to ask, innermost last
        depth: how many modes have been entered; one that is just being asked is not among ``modes``
        classes: whether classes are asked
    """

    __slots__ = ("classes", "depth", "modes", "outer")

    batched = True
    dispatches = True

    def __init__(self) -> None:
        super().__init__()
        self.outer = LOCAL.tape
        self.grad, self.fresh = self.outer.grad, self.outer.fresh
        self.limit = -1  # passes are not replayed here
        self.modes: list[Any] = []
        self.depth = 0
        self.classes = True

    @property
    def root(self) -> Tape:
        """The tape that records."""
        return self.outer.root

    def flush(self) -> None:
        """Compute what was recorded outside."""
        self.outer.flush()

    def outside(self, function: Callable, *args: Any, **kwargs: Any) -> Any:
        """Call a function on the tape outside."""
        outer = self.outer
        before, outer.grad = outer.grad, self.grad
        switch(outer)
        try:
            return function(*args, **kwargs)
        finally:
            outer.grad = before
            switch(self)

    def enter_mode(self, mode: Any) -> None:
        """Ask another mode."""
        self.modes.append(mode)
        self.depth += 1

    def leave_mode(self) -> None:
        """Ask the innermost mode no more."""
        self.modes.pop()
        self.depth -= 1
        self.leave()

    def leave(self) -> None:
        """Let this thread record again, if there is nobody left to ask."""
        if LOCAL.tape is self and not self.depth and not ALIVE:
            self.outer.grad, self.outer.fresh = self.grad, self.fresh
            switch(self.outer)

    @contextmanager
    def below(self) -> Iterator[None]:
        """A context without histories."""
        before, self.grad = self.grad, False
        try:
            yield
        finally:
            self.grad = before

    @contextmanager
    def unasked(self) -> Iterator[None]:
        """A context in which nobody is asked."""
        before = self.modes, self.classes
        self.modes, self.classes = [], False
        try:
            yield
        finally:
            self.modes, self.classes = before

    # -- asking ------------------------------------------------------------------------------------------------------

    def overload(self, func: OpOverload, args: tuple, kwargs: dict) -> Any:
        """A call of one of ``torch.ops``' operators by somebody who may be above autograd."""
        if self.grad and any(each.node is not None for each in _tensors(args, kwargs)):
            return func._function(*args, **kwargs)
        return self.ask(func, args, kwargs)

    def ask(self, func: OpOverload, args: tuple, kwargs: dict[str, Any]) -> Any:
        """What the innermost mode, or the first class of an argument that has an answer, says that ``func(*args, **kwargs)`` is.

        Raises:
            TypeError: all that were asked returned ``NotImplemented``
        """
        asked: list[Any] = []
        wrapped = [each for each in _tensors(args, kwargs) if each.memory.wrapped]
        if wrapped:
            if any(map(is_changed, wrapped)):
                args, kwargs = _mapped(restored, args), _mapped(restored, kwargs)
                wrapped = [each for each in _tensors(args, kwargs) if each.memory.wrapped]
            if self.classes:
                asked = overloaded(wrapped)
            else:
                args, kwargs = _mapped(_contents, args), _mapped(_contents, kwargs)
        before, self.grad = self.grad, False
        modes = self.modes
        try:
            if not modes and not asked:
                return self.outside(func._function, *args, **kwargs)
            types = tuple([each.__class__ for each in asked])
            for each in [*modes[-1:], *asked]:
                self.modes = modes[:-1]
                answer = each.__torch_dispatch__(func, types, args, kwargs)
                if answer is not NotImplemented:
                    return answer
        finally:
            self.grad, self.modes = before, modes
        raise TypeError(
            f"Multiple dispatch failed for 'torch.ops.{func}'; all __torch_dispatch__ handlers returned NotImplemented: "
            f"{', '.join([*[repr(mode) for mode in modes[-1:]], *[str(each) for each in types]])}"
        )

    def seen(self, func: OpOverload, args: tuple, kwargs: dict) -> Any:
        """A call of an operator of the user's own, below its gradient."""
        with self.below():
            return self.ask(func, args, kwargs)

    def _is_plain(self, operands: Iterable[Any]) -> bool:
        """Whether nobody is to be asked about tensors."""
        return not self.modes and not any(operand.memory.wrapped for operand in operands if operand.__class__ not in PLAIN_NUMBERS)

    # -- what comes here in place of being recorded --------------------------------------------------------------------

    def call(self, op: Operator, operands: tuple, statics: tuple) -> Any:
        """What ``Operator.__call__`` does."""
        if self._is_plain(operands):
            result = self.outside(op, *operands, statics=statics)
            self.leave()
            return result
        operands = tuple([operand if operand.__class__ in PLAIN_NUMBERS else restored(operand) for operand in operands])
        with self.below():
            seen, results = table.rule(op).call(operands, statics)
        return self.remember(seen, operands, statics, results)

    def remember(self, op: Operator, operands: tuple, statics: tuple, results: Any) -> Any:
        """Give the results of a call their history, if they have one."""
        several = results.__class__ is tuple
        found = list(results) if several else [results]
        if self.grad and any(getattr(operand, "node", None) is not None for operand in operands):
            record = _record(op, operands, statics)
            if record.differentiable:
                found = [_fresh(each, operands) if isinstance(each, TensorBase) else each for each in found]
                node = op._node(operands, found, record)
                for number, result in enumerate(found[:1] if isinstance(op, gradients.Seen) else found):
                    if isinstance(result, TensorBase) and result.layout.dtype.category >= FLOAT:
                        result.node, result.output_nr = node, number
        return tuple(found) if several else found[0]

    def view(self, source: Tensor, layout: Layout, operator: ViewOperator, statics: tuple) -> Tensor:
        """What ``make_view`` does."""
        if self._is_plain((source,)):
            return self.outside(make_view, source, layout, operator, *statics)
        with self.below():
            source = restored(source)
            shown = table.view(source, layout, operator, statics)
        if self.grad or is_unseen(source):
            shown = _fresh(shown, (source,))
            relate(shown, source, table.seen_view(operator), statics)
        return shown

    def detached(self, tensor: Tensor) -> Tensor:
        """What ``detach`` does."""
        if self._is_plain((tensor,)):
            return self.outside(detach, tensor)
        with self.below():
            return table.ATEN.detach.default(restored(tensor))

    def inplace(self, op: Operator, target: Tensor, operands: tuple, statics: tuple) -> Tensor:
        """What ``Operator.inplace`` does."""
        if self._is_plain((target, *operands)):
            return self.outside(op.inplace, target, *operands, statics=statics)
        check_writable(target, op.name + "_")
        rule = table.rule(op)
        seen = rule.seen if rule.is_inplace(target, operands) else op
        node = None
        requires = self.grad and any(operand.__class__ not in PLAIN_NUMBERS and operand.node is not None for operand in operands)
        if requires and seen.differentiable:
            with self.below():
                record = _record(seen, operands, statics)
                show(target)
                node = seen._node(operands, (target,) * len(record.layouts), record, target=target)
        version = target.memory.version
        with self.below():
            rule.write(target, operands, statics)
        if target.memory.version == version:
            target.memory.version += 1
        if node is not None:
            node.saved = tuple([(*item[:3], target.memory.version) if _is_result(item) else item for item in node.saved])
            rebase(target, node)
        elif requires or (self.grad and target.node is not None):
            rebase(target, None)
        return target

    def write(self, target: Tensor, value: Tensor) -> None:
        """What ``write`` does."""
        with self.below():
            table.ATEN.copy_.default(target, value)

    def batch_norm(self, *arguments: Any) -> tuple:
        """What ``native_batch_norm`` does, which is several calls of ours."""
        *operands, training, momentum, eps = arguments
        if self._is_plain([each for each in operands if each is not None]):
            return self.outside(norms._batch_norm, *arguments)
        with self.below():
            results = tuple(table.ATEN.native_batch_norm.default(*arguments))
        given = tuple([False if each is None else each for each in operands])
        return self.remember(gradients.BATCH_NORM, given, (training, momentum, eps), results)

    # -- making tensors ------------------------------------------------------------------------------------------------

    def new(self, layout: Layout, make: Callable[[Layout], Tensor], by_name: bool) -> Tensor:
        """A tensor with memory of its own; nobody is asked about one that a function makes for itself."""
        if not by_name:
            return make(layout)
        options = {"dtype": layout.dtype, "device": CPU, "pin_memory": False}
        if layout.contiguous:
            return self.make("empty", list(layout.shape), **options)
        return self.make("empty_strided", list(layout.shape), list(layout.strides), **options)

    def make(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """What one of PyTorch's operators that make tensors gives."""
        with self.below():
            return getattr(getattr(table.ATEN, name), table.MAKERS.get(name, "default"))(*args, **kwargs)

    def fill(self, target: Tensor, name: str, make: Callable, given: tuple) -> None:
        """Overwrite a tensor by random numbers, by the operator of a name."""
        packet = getattr(table.ATEN, name)
        with self.below():
            (packet.float if name == "bernoulli_" and given[0].__class__ is float else packet.default)(target, *given)

    def draw(self, make: Callable, shape: tuple[int, ...]) -> Tensor:
        """Random numbers of a shape, which ``make(shape)`` draws."""
        return self.each(lambda: make(shape))

    def each(self, make: Callable, *operands: Tensor) -> Tensor:
        """Random numbers that ``make(*operands)`` draws."""
        with self.below():
            return self.ask(table.named("random", make), operands, {})

    # -- what levels of vmap have to say -------------------------------------------------------------------------------

    def own(self, leaf: Any) -> None:
        """Say whose the node of a leaf is, in a function that ``vmap`` maps."""
        if self.outer.batched:
            self.outer.own(leaf)

    def holds(self, tensor: Any) -> bool:
        """Whether a tensor belongs to this tape: none does."""
        return False

    def is_tracked(self, tensor: Any) -> bool:
        """Whether somebody outside differentiates by what a tensor depends on."""
        return self.outer.batched and self.outer.is_tracked(tensor)

    def compute(self, tensor: Tensor, compute: Callable[[Tensor], None]) -> None:
        """Let ``compute`` have a tensor."""
        self.outside(compute, tensor)

    def everywhere(self, condition: Tensor, ask: Callable[[Tensor], bool]) -> bool:
        """Let ``ask`` have a condition."""
        return self.outside(ask, condition)


def current() -> Dispatcher:
    """The dispatcher of this thread, which records with it from here on."""
    tape = LOCAL.tape
    if not tape.dispatches:
        tape = Dispatcher()
        switch(tape)
    return tape


def watch(op: Operator, operands: tuple, statics: tuple) -> Any:
    """A call that met a tensor without elements in a thread that did not know that there are any."""
    return current().call(op, operands, statics)


def _record(op: Operator, operands: tuple, statics: tuple) -> CallRecord:
    """What is known of a call."""
    kinds = tuple([operand.layout if isinstance(operand, TensorBase) else operand.__class__ for operand in operands])
    return record_of((op, statics, *kinds), op, operands, statics)


def _wrapper(
    cls: type, size: Any, strides: Any, storage_offset: int | None, memory_format: Any, dtype: Any, device: Any, requires_grad: bool
) -> Tensor:
    """What ``_make_wrapper_subclass`` makes."""
    if not table.is_asked(cls):
        raise RuntimeError(f"Tensor subclass {cls.__name__} must define __torch_dispatch__, or it could not say what operators do with it")
    shape, dtype = tuple(int(each) for each in size), dtype or get_default_dtype()
    if strides is None:
        layout = (memory_format or contiguous_format).layout(lay.contiguous(shape, dtype))
        layout = lay.layout(layout.shape, layout.strides, storage_offset or 0, dtype)
    else:
        layout = lay.layout(shape, tuple(int(each) for each in strides), storage_offset or 0, dtype)
    place = CPU if device is None else META if is_meta(device) else CPU
    current()
    return made(cls, layout, place, requires_grad)


def _wrapper_around(cls: type, data: Tensor, requires_grad: bool) -> Tensor | None:
    """What ``_make_subclass`` makes, if the class has a ``__torch_dispatch__``."""
    if not table.is_asked(cls):
        return None
    current()
    held = data if data.memory.wrapped else new_tensor(data.memory, data.layout)
    return made(cls, data.layout, data.memory.place, requires_grad, held)


set_watch(watch)
FUNCTIONS.wrapper, FUNCTIONS.wrapper_around = _wrapper, _wrapper_around
FUNCTIONS.restored, FUNCTIONS.exchange = restored, exchange


# -- arguments -----------------------------------------------------------------------------------------------------------


def _tensors(args: Iterable[Any], kwargs: dict[str, Any]) -> list[Any]:
    """The tensors among arguments, which may be nested."""
    found: list[Any] = []
    pending = [*args, *kwargs.values()] if kwargs else args
    for each in pending:
        if isinstance(each, TensorBase):
            found.append(each)
        elif each.__class__ is list or isinstance(each, tuple):
            found += _tensors(each, {})
    return found


def _mapped(function: Callable, value: Any) -> Any:
    """Nested arguments with a function applied to each tensor."""
    if isinstance(value, TensorBase):
        return function(value)
    if value.__class__ in (tuple, list):
        return value.__class__([_mapped(function, each) for each in value])
    if value.__class__ is dict:
        return {key: _mapped(function, each) for key, each in value.items()}
    return value


def _contents(tensor: Tensor) -> Tensor:
    """The plain tensor that one made by ``_make_subclass`` holds, while its class is not asked."""
    return tensor.memory.contents(tensor) if tensor.memory.wrapped else tensor


def overloaded(tensors: Sequence[Any]) -> list[Any]:
    """The first tensor of each class that has a ``__torch_dispatch__``, those of subclasses before those of their bases."""
    found: list[Any] = []
    for tensor in tensors:
        cls = tensor.__class__
        if not table.is_asked(cls) or any(each.__class__ is cls for each in found):
            continue
        place = next((number for number, each in enumerate(found) if issubclass(cls, each.__class__)), len(found))
        found.insert(place, tensor)
    return found


def _fresh(result: Tensor, operands: Iterable[Any]) -> Tensor:
    """A result that may be given a history: itself, or, if it has one or is an operand, another tensor that shows the same."""
    if result.node is None and not any(result is operand for operand in operands):
        return result
    alias = new_tensor(result.memory, result.layout)
    return restored(alias)


def _is_result(item: Any) -> bool:
    """Whether something that a node has saved is a result of its call."""
    return item.__class__ is tuple and len(item) == 4
