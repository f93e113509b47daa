"""A unit of sharded training: parameters that are gathered together before they are used, and given up after.

```
forward   gather the pieces ─▶ compute ─▶ give up the memory
backward  gather them again ─▶ compute ─▶ reduce the gradients, keep this process's piece ─▶ give up the memory
```

Gathering is an operator with a gradient: what goes back through it is reduced over the processes, and arrives at the pieces, which are the
leaves that an optimizer sees. Giving up memory computes what was recorded with it, and takes the bytes of the storages away,
which the graph still refers to; they get new ones before the backward pass comes to what saved them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import flambeau
from flambeau import Tensor, autograd
from flambeau._ops.registry import new_tensor
from flambeau.autograd import Function
from flambeau.distributed.fsdp import exchange
from flambeau.distributed.reduction import ReduceOp
from flambeau.utils.checkpoint import REPEATING

__all__ = ["Unit"]

_GONE = (
    "parameters of a sharded module are used by a backward pass that did not come through the outputs of the module's forward (which are looked for "
    "in tuples, lists and dictionaries): return tensors from forward, or set reshard_after_forward=False"
)


class Gathered:
    """The whole parameters of one forward pass, in storages whose bytes can be given up and got back."""

    def __init__(self, unit: Unit, tensors: Sequence[Tensor], trains: Sequence[bool]) -> None:
        self._unit = weakref.ref(unit)
        self.storages, self._layouts = [tensor.memory for tensor in tensors], [tensor.layout for tensor in tensors]
        self._trains = list(trains)

    def again(self) -> list[Tensor]:
        """The whole parameters for a checkpoint that computes anew in the backward pass: without the history, which is that of the first time."""
        tensors = map(new_tensor, self.storages, self._layouts)
        return [tensor.requires_grad_(trains) for tensor, trains in zip(tensors, self._trains)]

    def release(self, all_of_them: bool = True) -> None:
        """Give up the bytes; those of parameters that are not trained stay for now, unless ``all_of_them``: who reads them is not known."""
        flambeau.flush()
        for storage, trains in zip(self.storages, self._trains):
            if (all_of_them or trains) and storage.buffer is not None and not storage.exported:
                storage.buffer, storage.error = None, RuntimeError(_GONE)

    def restore(self) -> None:
        """Get the bytes back."""
        unit = self._unit()
        if unit is None or all(storage.buffer is not None for storage in self.storages):
            return
        with flambeau.no_grad():
            for storage, tensor in zip(self.storages, unit.gather()):
                if storage.buffer is None:
                    storage.buffer, storage.error = tensor.memory.materialize(), None
        unit.to_release.append(self)


class Unit:
    """Parameters that are gathered and given up together.

    Args:
        pieces: gives this process's pieces, with their history
        shapes: of the whole tensors
        group: the processes among which they are shared out
        replicas: the processes that have the same piece; ``None`` if there are none

    Attributes:
        param_dtype, reduce_dtype: what parameters are gathered in, and gradients reduced in; ``None`` for their own
        syncs: whether gradients are reduced, or added up whole until they are
        reduces_replicas: the same for a unit that has replicas
        divide_by: instead of by the number of processes
        releases_after_backward: whether memory is given up then
        to_release: what is given up when a pass is over, at the latest
    """

    def __init__(self, pieces: Callable[[], list[Tensor]], shapes: Sequence[Sequence[int]], group: Any, replicas: Any = None) -> None:
        self.pieces, self.shapes, self.group, self.replicas = pieces, [tuple(shape) for shape in shapes], group, replicas
        self.param_dtype: Any = None
        self.reduce_dtype: Any = None
        self.syncs = self.reduces_replicas = self.releases_after_backward = True
        self.divide_by: float | None = None
        self.to_release: list[Gathered] = []
        self._whole_gradients: list[Tensor | None] | None = None
        self._observe_passes()

    def _observe_passes(self) -> None:
        reference = weakref.ref(self)

        def after() -> None:
            unit = reference()
            if unit is not None:
                waiting, unit.to_release = unit.to_release, []
                for gathered in waiting if unit.releases_after_backward else ():
                    gathered.release()

        observer = lambda leaves: after
        autograd.OBSERVERS.append(observer)
        weakref.finalize(self, autograd.OBSERVERS.remove, observer)

    def gather(self) -> list[Tensor]:
        """The whole tensors, without history."""
        pieces = [piece.detach() for piece in self.pieces()]
        return exchange.gather([self._cast(piece) for piece in pieces], self.shapes, self.group)

    def _cast(self, piece: Tensor) -> Tensor:
        return piece.to(self.param_dtype) if self.param_dtype is not None and piece.is_floating_point() else piece

    def unshard(self) -> tuple[list[Tensor], Gathered]:
        """The whole tensors with history, and what gives up their memory; those that the backward pass has got back, if a checkpoint computes anew."""
        if REPEATING.now and self.to_release:
            return self.to_release[-1].again(), self.to_release[-1]
        pieces = self.pieces()
        trains = [piece.requires_grad for piece in pieces]
        place: list[Gathered] = []
        whole = list(_Gather.apply(self, place, *pieces))
        for tensor, trained in zip(whole, trains):
            if not trained:
                tensor.node = None
        gathered = Gathered(self, whole, trains)
        place.append(gathered)
        return whole, gathered

    def reduce(self, gradients: Sequence[Tensor | None], dtypes: Sequence[Any]) -> list[Tensor | None]:
        """This process's pieces of the gradients, averaged; or nothing for now, if they are not reduced yet."""
        before = self._whole_gradients
        if before is not None:
            gradients = [
                old if new is None else new if old is None else old + new.to(old.dtype) for old, new in zip(before, gradients, strict=True)
            ]
        if not self.syncs or (self.replicas is not None and not self.reduces_replicas):
            flambeau.flush()
            self._whole_gradients = [None if each is None else each.detach() for each in gradients]
            return [None] * len(gradients)
        self._whole_gradients = None
        groups = [self.group] if self.replicas is None else [self.group, self.replicas]
        used = exchange.used_anywhere([each is not None for each in gradients], groups)
        present = [number for number, mark in enumerate(used) if mark]
        given = []
        for number in present:
            each, dtype = gradients[number], self.param_dtype or dtypes[number]
            given.append((flambeau.zeros(self.shapes[number], dtype=dtype) if each is None else each).to(self.reduce_dtype or dtype))
        reduced = self._averaged(given)
        found: list[Tensor | None] = [None] * len(gradients)
        for number, each in zip(present, reduced):
            found[number] = each.to(dtypes[number])
        return found

    def _averaged(self, gradients: list[Tensor]) -> list[Tensor]:
        op = ReduceOp.AVG if self.divide_by is None else ReduceOp.SUM
        reduced = exchange.reduce_scatter(gradients, self.group, op)
        if self.replicas is not None:
            exchange.all_reduce(reduced, self.replicas, op)
        return reduced if self.divide_by is None else [each / self.divide_by for each in reduced]


class _Gather(Function):
    """The whole tensors of the pieces; the gradient of a piece is its part of the mean of all processes' gradients."""

    @staticmethod
    def forward(ctx: Any, unit: Unit, place: list[Gathered], *pieces: Tensor) -> tuple[Tensor, ...]:
        ctx.unit, ctx.place, ctx.dtypes = unit, place, [piece.dtype for piece in pieces]
        ctx.set_materialize_grads(False)
        return tuple(exchange.gather([unit._cast(piece) for piece in pieces], unit.shapes, unit.group))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple:
        unit = ctx.unit
        found = unit.reduce([each if needs else None for each, needs in zip(gradients, ctx.needs_input_grad[2:])], ctx.dtypes)
        if unit.releases_after_backward:
            ctx.place[0].release(all_of_them=False)
        return None, None, *found
