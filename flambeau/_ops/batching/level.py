"""A level of ``vmap``: a tape on which calls with the tensors of one sample are calls with the tensors of all.

While a function is mapped, its thread's tape is a ``Level``. Tensors in there are ordinary ones, with the shapes of one sample; their storages
belong to the level, and ``Samples`` stand behind them. A call of an operator asks the operator for the layouts of its results as ever, and a
rule (``rules.py``) for a call of all samples, which goes to the tape outside. Whatever is not a call of an operator (views, histories, backward
passes, everything that is composed of operators) never notices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

from flambeau._ops.batching.call import Call
from flambeau._ops.batching.rules import batched_call
from flambeau._ops.batching.samples import Detached, Samples, repeated
from flambeau._ops.calls import CallRecord, record_of, remember
from flambeau._ops.copying import CLONE, COPY
from flambeau._ops.joining import stack
from flambeau._ops.operator import PLAIN_NUMBERS, Operator
from flambeau._ops.registry import new_tensor
from flambeau._ops.views import ALIAS, detach, make_view, permute, select
from flambeau._ops.writing import check_result, check_writable, rebase, write
from flambeau._tape.storage import Storage, TensorBase
from flambeau._tape.tape import LOCAL, Tape, switch
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


def mapped(function: Callable[..., Sequence[Tensor | None]], *rows: Tensor) -> tuple[Tensor | None, ...]:
    """What a function that returns tensors gives for each row (slice along the first dimension) of its arguments, stacked; ``None`` stays."""
    level = Level(rows[0].layout.shape[0], "error")
    ones = [level.one_of(each, 0) for each in rows]
    with level.running():
        results = function(*ones)
    return tuple([None if each is None else level.spread(each) for each in results])


class NoSingleValue(RuntimeError):
    """Somebody looks at the elements of a tensor that has others in every sample."""

    def __init__(self) -> None:
        super().__init__(
            "vmap: a tensor that is mapped over has other elements in every sample, so that they cannot be looked at one by one: this is what "
            ".item(), int(), bool(), an `if` or `while` on it, .numpy(), .tolist(), nonzero() and indexing by a mask do. Write the choice with "
            "torch.where or a masked sum, or do it outside of vmap. (A tensor that a mapped function has put aside ends with the call, too: "
            "return it instead.)"
        )


class VmapInfo(NamedTuple):
    """What a rule of a ``Function`` is told of the map that it is called in."""

    batch_size: int
    randomness: str


class Level(Tape):
    """The tape of a function that is mapped over ``size`` samples.

    Attributes:
        outer: the tape that calls of all samples go to
        depth: 1, or 2 within another level, and so on
        randomness: ``"error"``, ``"different"`` or ``"same"``
        passes: how many backward passes are under way: one that builds no graph in here is part of what is differentiated outside
        made: the storages that are the same for all samples and were made in here, which may be written to by each
    """

    __slots__ = ("_own", "depth", "made", "outer", "passes", "randomness", "size")

    batched = True

    def __init__(self, size: int, randomness: str) -> None:
        super().__init__()
        self.outer = outer = LOCAL.tape
        self.grad, self.fresh = outer.grad, outer.fresh
        self.limit = -1  # passes are not replayed here
        self.size = size
        self.randomness = randomness
        self.depth = outer.depth + 1 if isinstance(outer, Level) else 1
        self.passes = 0
        self._own: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
        self.made: WeakSet[Storage] = WeakSet()

    @property
    def root(self) -> Tape:
        """The tape that records."""
        return self.outer.root

    def new(self, layout: Layout, make: Callable[[Layout], Tensor], by_name: bool) -> Tensor:
        """A tensor with memory of its own, the same for all samples."""
        made = make(layout)
        self.note(made.memory)
        return made

    def note(self, storage: Storage) -> None:
        """Say that a storage was made in here."""
        self.made.add(storage)
        if isinstance(self.outer, Level):
            self.outer.note(storage)

    def flush(self) -> None:
        """Nothing: there is nothing on a level that could be computed."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let this thread record here."""
        self.outer = LOCAL.tape
        switch(self)
        try:
            yield
        finally:
            switch(self.outer)

    def outside(self, function: Callable, *args: Any, **kwargs: Any) -> Any:
        """Call a function on the tape outside; without history if there is none to be in here."""
        outer = self.outer
        grad = outer.grad
        outer.grad = grad and (self.grad or self.passes > 0)
        switch(outer)
        try:
            return function(*args, **kwargs)
        finally:
            outer.grad = grad
            switch(self)

    # -- between one sample and all ----------------------------------------------------------------------------------

    def holds(self, tensor: Any) -> bool:
        """Whether a tensor (or anything else) is one of this level, which differs from sample to sample."""
        return isinstance(tensor, TensorBase) and tensor.memory.tape is self

    def one_of(self, tensor: Tensor, dim: int, shared: bool = True) -> Tensor:
        """The tensor of one sample, of all that lie along a dimension of ``tensor``."""
        samples = self.outside(_moved, tensor, dim) if LOCAL.tape is self else _moved(tensor, dim)
        layout = samples.layout
        own = lay.layout(layout.shape[1:], layout.strides[1:], 0, layout.dtype)
        return self.wrap(samples, own, shared)

    def wrap(self, samples: Tensor, layout: Layout, shared: bool = False) -> Tensor:
        """The tensor of one sample with this layout."""
        tensor = self._result(samples, layout, (layout.numel if layout.dense else layout.extent) * layout.dtype.itemsize)
        tensor.memory.slot.shared = shared
        return tensor

    def samples(self, tensor: Tensor) -> Tensor:
        """All samples, ``(B, *shape)``, of a tensor that this level holds; called outside."""
        return tensor.memory.slot.read(tensor.layout)

    def spread(self, tensor: Tensor) -> Tensor:
        """All samples of any tensor; called outside."""
        return self.samples(tensor) if self.holds(tensor) else repeated(self.shown(tensor), self.size)

    # -- whose histories ---------------------------------------------------------------------------------------------

    def own(self, leaf: Any) -> None:
        """Say that the node of a leaf belongs to somebody who differentiates in here: outside it means nothing."""
        self._own[leaf] = True
        if isinstance(self.outer, Level):
            self.outer.own(leaf)

    def shown(self, tensor: Tensor) -> Tensor:
        """A tensor that is the same for all samples as it is seen outside: without a history that leads to leaves of in here alone."""
        return tensor if tensor.node is None or not self._is_own(tensor.node) else new_tensor(tensor.memory, tensor.layout)

    def _is_own(self, root: Any) -> bool:
        known = self._own
        stack = [root]
        while stack:
            node = stack[-1]
            if known.get(node) is None:
                below = [edge[0] for edge in node.inputs if edge is not None]
                unknown = [each for each in below if known.get(each) is None]
                if unknown:
                    stack += unknown
                    continue
                known[node] = bool(below) and all(known[each] for each in below)
            stack.pop()
        return known[root]

    def compute(self, tensor: Tensor, compute: Callable[[Tensor], None]) -> None:
        """Let ``compute`` have all samples of a tensor."""
        self.outside(lambda: compute(self.samples(tensor) if self.holds(tensor) else tensor))

    def everywhere(self, condition: Tensor, ask: Callable[[Tensor], bool]) -> bool:
        """Let ``ask`` have all samples of a condition."""
        return self.outside(lambda: ask(self.samples(condition) if self.holds(condition) else condition))

    def described(self, tensor: Tensor) -> str:
        """What ``print`` shows of a tensor that this level holds: all samples, if the level is the innermost or they can be looked at."""
        shown = (
            self.outside(lambda: repr(self.samples(tensor)))
            if LOCAL.tape is self
            else f"{list(tensor.layout.shape)} in each of {self.size} samples"
        )
        return f"BatchedTensor(lvl={self.depth}, bdim=0, value={shown})"

    # -- calls -------------------------------------------------------------------------------------------------------

    def call(self, op: Operator, operands: tuple, statics: tuple) -> Any:
        """What ``Operator.__call__`` does in a mapped function."""
        key: list[Any] = [op, statics, self.size]
        values: list[Any] = []
        held: list[bool] = []
        views: list[int] = []
        histories: list[int] = []
        requires = False
        for operand in operands:
            own = False
            if operand.__class__ in PLAIN_NUMBERS:
                key.append(operand.__class__)
            else:
                try:
                    layout, storage = operand.layout, operand.memory
                except AttributeError:
                    raise TypeError(f"{op.name}(): expected a tensor or a number, not {operand.__class__.__name__}") from None
                key.append(layout)
                if operand.node is not None:
                    requires = True
                    histories.append(len(values))
                if storage.tape is self:
                    own = True
                    samples = storage.slot
                    if samples.layout is layout and samples.__class__ is Samples:
                        operand = samples.tensor
                    else:
                        views.append(len(values))
            values.append(operand)
            held.append(own)
        if True not in held:
            return self._pass_on(op, operands, statics)
        for position in histories:
            if not held[position]:
                values[position] = self.shown(values[position])
        key += held
        frozen = tuple(key)
        record = record_of(frozen, op, operands, statics)
        found = self.outside(self._run, op, operands, statics, values, held, views, record)
        results = [self._result(samples, layout, nbytes) for samples, layout, nbytes in zip(found, record.layouts, record.sizes)]
        if requires and self.grad and record.differentiable:
            remember(op, operands, results, record)
        return results[0] if record.single is not None else tuple(results)

    def _run(
        self, op: Operator, operands: tuple, statics: tuple, values: list[Any], held: list[bool], views: list[int], record: CallRecord
    ) -> Any:
        for position in views:
            values[position] = self.samples(operands[position])
        if record.direct is not None and self.size:
            found = op(*values, statics=record.direct)
            return found if found.__class__ is tuple else (found,)
        found, record.direct = batched_call(Call(op, statics, operands, values, held, record.layouts, self.size))
        return found

    def _result(self, samples: Tensor, layout: Layout, nbytes: int) -> Tensor:
        storage = Storage(None, nbytes, self, Samples(samples, layout))
        storage.error = NoSingleValue
        return new_tensor(storage, layout)

    def _pass_on(self, op: Operator, operands: tuple, statics: tuple) -> Any:
        """A call with the same for all samples."""
        result = self.outside(Operator.__call__, op, *operands, statics=statics)
        for each in result if result.__class__ is tuple else (result,):
            self.made.add(each.memory)
        return result

    def detached(self, tensor: Tensor) -> Tensor:
        """What ``detach`` does in a mapped function."""
        if not self.holds(tensor):
            return self.outside(detach, tensor)
        storage = tensor.memory
        alias = Storage(None, storage.nbytes, self, Detached(storage.slot))
        alias.error, alias.version = NoSingleValue, storage.version
        return new_tensor(alias, tensor.layout)

    def is_tracked(self, tensor: Any) -> bool:
        """Whether somebody outside differentiates by what a tensor of this level depends on."""
        return self.outer.grad and self.holds(tensor) and tensor.memory.slot.tensor.node is not None

    def by_rule(self, rule: Callable, args: tuple, grad: bool) -> Any:
        """What a rule ``rule(info, in_dims, *args)`` for all samples returns with its ``out_dims``, as tensors of one sample."""
        dims = tuple([0 if self.holds(each) else None for each in args])
        self.grad, before = grad, self.grad
        try:
            values = [each if dim is None else self.outside(self.samples, each) for each, dim in zip(args, dims, strict=True)]
            results, out_dims = self.outside(rule, VmapInfo(self.size, self.randomness), dims, *values)
            if not isinstance(results, tuple):
                return self._by_rule(results, out_dims)
            places = out_dims if isinstance(out_dims, (tuple, list)) else (out_dims,) * len(results)
            return tuple([self._by_rule(each, dim) for each, dim in zip(results, places, strict=True)])
        finally:
            self.grad = before

    def _by_rule(self, result: Any, dim: int | None) -> Any:
        return result if dim is None or not isinstance(result, TensorBase) else self.one_of(result, dim, shared=False)

    # -- in place ----------------------------------------------------------------------------------------------------

    def inplace(self, op: Operator, target: Tensor, operands: tuple, statics: tuple) -> Tensor:
        """What ``Operator.inplace`` does in a mapped function: a call, whose result is then written."""
        name = op.name + "_"
        if not self.holds(target):
            if not any(self.holds(operand) for operand in operands):
                return self.outside(op.inplace, target, *operands, statics=statics)
            self._take(target, name)
        check_writable(target, name)
        result = op(*[self._copy(operand) if operand is target else operand for operand in operands], statics=statics)
        first = result[0] if result.__class__ is tuple else result
        check_result(target, first.layout, name)
        self.write(target, first)
        if first.node is not None:
            rebase(target, first.node)
        elif self.grad and target.node is not None:
            rebase(target, None)
        return target

    def _copy(self, tensor: Tensor) -> Tensor:
        """A tensor as it is now, for calls that save it."""
        samples: Samples = tensor.memory.slot
        if samples.shared:
            copy = self.wrap(self.outside(lambda: CLONE(self.samples(tensor))), tensor.layout)
        else:
            storage = Storage(None, tensor.memory.nbytes, self, Samples(samples.tensor, samples.layout))
            copy = new_tensor(storage, tensor.layout)
        copy.node, copy.output_nr = tensor.node, tensor.output_nr
        return copy

    def write(self, target: Tensor, value: Tensor) -> None:
        """What ``write`` does in a mapped function."""
        if not self.holds(target):
            if not self.holds(value):
                self.outside(write, target, value)
                return
            self._take(target, "a write")
        self.outside(self._write, target, value)
        target.memory.version += 1

    def _write(self, target: Tensor, value: Tensor) -> None:
        samples: Samples = target.memory.slot
        all_values = self.spread(value)
        if samples.shared:
            place = samples.read(target.layout)
            COPY.inplace(place, place, all_values)
        else:
            samples.replace(target.layout, all_values, target.memory.nbytes // target.layout.dtype.itemsize)

    def _take(self, target: Tensor, name: str) -> None:
        """Let a tensor that was the same for all samples be one that differs.

        Raises:
            RuntimeError: it was not made in here, so that others would see one sample's elements in it.
        """
        storage = target.memory
        if storage not in self.made or storage.exported:
            raise RuntimeError(
                f"vmap: {name} would put what differs from sample to sample into a tensor of shape {list(target.layout.shape)} that is not "
                "mapped over and has room for one sample only. Give it to the function as an argument with a dimension in in_dims, or make it in "
                "the function (new_zeros, zeros_like, empty), or use the operator that is not in place."
            )
        moved = Storage(storage.buffer, storage.nbytes, storage.tape, storage.slot)
        moved.version, moved.error = storage.version, storage.error
        if storage.tape is not None and not isinstance(storage.tape, Level):
            storage.tape.values[storage.slot] = moved
        layout = target.layout
        whole = layout.dense and layout.numel * layout.dtype.itemsize == storage.nbytes
        if not whole:
            layout = lay.contiguous((storage.nbytes // layout.dtype.itemsize,), layout.dtype)
        one = new_tensor(moved, layout)
        if whole:
            one.node, one.output_nr = target.node, target.output_nr
        storage.buffer, storage.tape, storage.error = None, self, NoSingleValue
        storage.slot = Samples(self.outside(repeated, one, self.size), layout)

    # -- random numbers ----------------------------------------------------------------------------------------------

    def draw(self, make: Callable[[tuple[int, ...]], Tensor], shape: tuple[int, ...]) -> Tensor:
        """Random numbers of a shape, which ``make(shape)`` draws: others for each sample, or the same.

        Raises:
            RuntimeError: ``vmap`` was not told which of the two it should be.
        """
        self.check_random()
        if self.randomness == "same":
            result = self.outside(make, shape)
            self.made.add(result.memory)
            return result
        drawn = self.outside(make, (self.size, *shape))
        return self.wrap(drawn, lay.contiguous(shape, drawn.layout.dtype))

    def each(self, make: Callable[..., Tensor], *operands: Tensor) -> Tensor:
        """As ``draw``, of what is not drawn element by element: ``make(*operands)`` is called for each sample.

        Raises:
            RuntimeError: the random numbers are to be the same, but what they are drawn by is not.
        """
        self.check_random()
        held = [self.holds(each) for each in operands]
        if self.randomness == "same":
            if any(held):
                raise RuntimeError(
                    "vmap: random numbers cannot be the same in all samples (randomness='same') where what they depend on differs"
                )
            return self.outside(make, *operands)
        drawn = self.outside(self._each, make, operands, held)
        return self.wrap(drawn, lay.contiguous(drawn.layout.shape[1:], drawn.layout.dtype))

    def _each(self, make: Callable[..., Tensor], operands: tuple, held: list[bool]) -> Tensor:
        values = [self.samples(each) if own else each for each, own in zip(operands, held, strict=True)]
        return stack(
            [
                make(*[select(each, 0, number) if own else each for each, own in zip(values, held, strict=True)])
                for number in range(self.size)
            ]
        )

    def fill(self, target: Tensor, name: str, make: Callable[[tuple[int, ...]], Tensor], given: tuple) -> None:
        """Overwrite a tensor by random numbers, which ``make(shape)`` draws."""
        self.check_random()
        if self.randomness == "different" and not self.holds(target):
            self._take(target, name)
        self.write(target, self.draw(make, target.layout.shape))

    def check_random(self) -> None:
        """Check that random numbers may be drawn."""
        if self.randomness == "error":
            raise RuntimeError(
                "vmap: called random operation while in randomness error mode. Say vmap(..., randomness='different') for other random numbers in "
                "each sample, or randomness='same' for the same ones."
            )


def _moved(tensor: Tensor, dim: int) -> Tensor:
    """A view of a tensor with one of its dimensions in front."""
    return (
        permute(tensor, dim, *[axis for axis in range(tensor.layout.ndim) if axis != dim])
        if dim
        else make_view(tensor, tensor.layout, ALIAS)
    )
