"""The parameters of a ``FullyShardedDataParallel`` unit, one after another in one vector, of which each process has a piece."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau import Tensor, distributed
from flambeau.autograd import Function
from flambeau.distributed.fsdp import exchange
from flambeau.distributed.fsdp.state import Entry
from flambeau.nn.parameter import Parameter

__all__ = ["FlatParameter", "FlatParameters"]


class FlatParameter(Parameter):
    """This process's piece of the parameters of a unit, which lie one after another."""


class FlatParameters:
    """The parameters of a unit as pieces.

    Args:
        entries: the parameters
        parameters: their values, whole
        group: the processes that share them out
        originals: whether each parameter keeps its own piece, or all are one ``FlatParameter``

    Attributes:
        leaves: what an optimizer sees
        length: of the vector, padded so that the pieces are equal
        step: the length of a piece

    Raises:
        ValueError: dtypes differ, or one parameter is one, of which some require grad and others do not
    """

    def __init__(self, entries: list[Entry], parameters: Sequence[Any], group: Any, originals: bool) -> None:
        self.entries, self.originals = entries, originals
        dtypes = {each.dtype for each in parameters}
        if len(dtypes) > 1:
            raise ValueError(
                f"Must flatten tensors with uniform dtype but got {' and '.join(sorted(map(str, dtypes)))}: wrap those of one dtype by themselves"
            )
        needs = [each.requires_grad for each in parameters]
        if not originals and len(set(needs)) > 1:
            raise ValueError(
                "Must flatten tensors with uniform `requires_grad` when `use_orig_params=False`: pass use_orig_params=True, or wrap "
                "the frozen parameters by themselves"
            )
        self.count, self.rank = distributed.get_world_size(group), distributed.get_rank(group)
        self.group = group
        self.starts = [0]
        for entry in entries:
            self.starts.append(self.starts[-1] + entry.numel)
        self.step = max(-(-self.starts[-1] // self.count), 1)
        self.length = self.step * self.count
        own = self.own_piece([each.detach() for each in parameters])
        self.leaves: list[Parameter] = []
        if originals:
            for parameter, piece in zip(parameters, self.split_piece(own)):
                parameter.data = piece.clone()
                self.leaves.append(parameter)
        else:
            self.leaves.append(FlatParameter(own.clone(), needs[0]))
        flambeau.flush()

    # -- vectors and pieces ----------------------------------------------------------------------------------------------

    def bounds(self, number: int) -> tuple[int, int]:
        """Where a parameter's elements begin and end within this process's piece."""
        low = self.rank * self.step
        clip = lambda place: min(max(place - low, 0), self.step)
        return clip(self.starts[number]), clip(self.starts[number + 1])

    def split_piece(self, piece: Tensor) -> list[Tensor]:
        """What a piece has of each parameter."""
        return [piece[slice(*self.bounds(number))] for number in range(len(self.entries))]

    def own_piece(self, tensors: Sequence[Tensor]) -> Tensor:
        """This process's piece of whole tensors."""
        parts = []
        for number, tensor in enumerate(tensors):
            begin, end = self.bounds(number)
            first = self.rank * self.step + begin - self.starts[number]
            if end > begin:
                parts.append(tensor.reshape(-1)[first : first + end - begin])
        return self._filled(parts, tensors[0])

    def _filled(self, parts: list[Tensor], like: Tensor) -> Tensor:
        missing = self.step - sum(part.numel() for part in parts)
        return flambeau.cat([*parts, like.new_zeros(missing)]) if missing or len(parts) != 1 else parts[0]

    def piece_of(self, values: Sequence[Tensor]) -> Tensor:
        """One vector of what this process has for each leaf."""
        return self._filled(list(values), values[0]) if self.originals else values[0]

    def pieces(self) -> list[Tensor]:
        """What is gathered, with its history."""
        if self.originals:
            return [self.piece_of(self.leaves)]
        return [self.leaves[0]]

    def views(self, whole: Sequence[Tensor]) -> Sequence[Tensor]:
        """The parameters within the vector."""
        return _Parts.apply(self, whole[0])

    def parts(self, vector: Tensor) -> list[Tensor]:
        """The parameters within the vector, without history."""
        return [vector[start : start + entry.numel].view(entry.shape).detach() for start, entry in zip(self.starts, self.entries)]

    # -- states ------------------------------------------------------------------------------------------------------------

    def gather(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Whole tensors of what this process has for each leaf: the parameters, or an optimizer's state."""
        with flambeau.no_grad():
            return self.views(exchange.gather([self.piece_of([each.detach() for each in values])], [(self.length,)], self.group))

    def scatter(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """What this process has for each leaf of whole tensors."""
        piece = self.own_piece([each.detach() for each in tensors])
        return [each.clone() for each in self.split_piece(piece)] if self.originals else [piece.clone()]


class _Parts(Function):
    """The parameters within a vector. Their gradients are joined once; those of slices would each be as long as the vector."""

    @staticmethod
    def forward(ctx: Any, flat: FlatParameters, vector: Tensor) -> tuple[Tensor, ...]:
        ctx.flat, ctx.dtype = flat, vector.dtype
        ctx.set_materialize_grads(False)
        return tuple(flat.parts(vector))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple:
        if all(each is None for each in gradients):
            return None, None
        sizes = [entry.numel for entry in ctx.flat.entries]
        parts = [flambeau.zeros(size, dtype=ctx.dtype) if each is None else each.reshape(-1) for each, size in zip(gradients, sizes)]
        return None, flambeau.cat([*parts, flambeau.zeros(ctx.flat.length - sum(sizes), dtype=ctx.dtype)])
