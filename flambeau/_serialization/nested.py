"""Nested tensors in files, as PyTorch writes them: the tensor of all elements, and what says which of them each piece has."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from math import prod
from typing import Any

from flambeau._tensor.tensor import Tensor
from flambeau._types.strided import jagged, strided


class Ignored:
    """What PyTorch's compiler writes on the tensors in its files, which says nothing of their elements."""

    def __setstate__(self, state: Any) -> None:
        """Nothing is kept."""


def reduce_nested(tensor: Any) -> tuple[Callable, tuple]:
    """The function and the arguments that make a nested tensor like this one again."""
    if tensor.layout == jagged:
        values, offsets, lengths, dim = tensor.parts()
        described = {"values": values.detach(), "offsets": offsets, "lengths": lengths, "_ragged_idx": dim, "_metadata_cache": {}}
        return _rebuild_njt, ({**described, "requires_grad": tensor.requires_grad},)
    sizes = tensor.sizes
    contiguous = tensor.detach().contiguous().values()
    dims = tensor.dim() - 1
    starts = list(itertools.accumulate([0, *[prod(size) for size in sizes]]))[:-1]
    strides = [[prod(size[dim + 1 :]) for dim in range(dims)] for size in sizes]
    return _rebuild_nested_tensor, (contiguous, _integers(sizes, dims), _integers(strides, dims), _integers(starts))


def _integers(rows: Any, columns: int | None = None) -> Tensor:
    from flambeau._ops.creation import tensor
    from flambeau._types.dtype import int64

    made = tensor(list(rows), dtype=int64)
    return made if columns is None else made.reshape(len(rows), columns)


def _rebuild_njt(described: dict) -> Tensor:
    """A jagged tensor of its values, offsets and lengths, which are checked."""
    from flambeau.nested.creation import of_parts

    parts = (described["values"].detach(), described["offsets"], described["lengths"], described.get("_ragged_idx", 1))
    return of_parts(jagged, parts).requires_grad_(bool(described.get("requires_grad")))


def _rebuild_nested_tensor(values: Tensor, sizes: Tensor, strides: Tensor, offsets: Tensor) -> Tensor:
    """A nested tensor of its elements and the sizes of its pieces, which are checked.

    Raises:
        RuntimeError: the pieces do not lie one after the other, each with its last dimension densest or with dimensions exchanged.
    """
    from flambeau.nested.creation import of_parts

    shapes, steps = sizes.tolist(), strides.tolist()
    dims = sizes.shape[1] if sizes.dim() == 2 else 0
    order = _order(shapes, steps, dims)
    in_memory = [[size[place] for place in order] for size in shapes]
    starts = list(itertools.accumulate([0, *map(prod, shapes)]))[:-1]
    expected = [[prod(size[dim + 1 :]) for dim in range(dims)] for size in in_memory]
    if starts != offsets.tolist() or any([step[place] for place in order] != row for step, row in zip(steps, expected)):
        raise RuntimeError("a nested tensor whose pieces have gaps between their elements is not read; save its contiguous()")
    return of_parts(strided, (values, in_memory, [order.index(dim) for dim in range(dims)]))


def _order(shapes: list, steps: list, dims: int) -> list[int]:
    """The dimensions from the one with the largest strides to the one with the smallest."""
    largest = max(range(len(shapes)), key=lambda number: prod(shapes[number]), default=None)
    return sorted(range(dims), key=lambda dim: -steps[largest][dim]) if largest is not None else list(range(dims))


REBUILDERS: dict[str, Callable] = {
    "torch._utils._rebuild_nested_tensor": _rebuild_nested_tensor,
    "torch.nested._internal.nested_tensor._rebuild_njt": _rebuild_njt,
}
"""Functions that make nested tensors, by PyTorch's names."""
NAMES: dict[str, Any] = {
    **REBUILDERS,
    "torch.nested._internal.nested_tensor.NestedTensor": Ignored,
    "torch._dynamo.decorators._DimRange": Ignored,
}
"""What files with nested tensors name."""
