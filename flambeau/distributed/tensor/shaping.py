"""Functions that give a tensor another shape: a piece gets the shape that its part of the result has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from flambeau.distributed.tensor.dtensor import DTensor
from flambeau.distributed.tensor.placement_types import Shard
from flambeau.distributed.tensor.spec import local_shape_and_offset
from flambeau.distributed.tensor.ways import Call, Way, argument, choose, run

__all__ = ["SHAPING"]


def _following(call: Call, axis: int, place: Callable[[int], int | None]) -> list[Way]:
    """The ways of a function of one tensor that puts dimension ``dim`` at ``place(dim)``, if that is not ``None``; parts stay parts."""
    tensor = call.tensors[0]
    ways: list[Way] = [([Shard(dim)], Shard(found)) for dim in range(tensor.dim()) if (found := place(dim)) is not None]
    placement = tensor.placements[axis]
    if placement.is_partial():
        ways.append(([placement], placement))
    return ways


def _sizes(values: Sequence[Any]) -> list[int]:
    if len(values) == 1 and isinstance(values[0], (tuple, list)):
        values = values[0]
    return [int(each) for each in values]


# -- shapes with the same elements in the same order --------------------------------------------------------------------


def _reshaped(call: Call, shape: Sequence[int]) -> Any:
    """The tensor in a shape of as many elements. A cut dimension has to come first among those that it is mixed with."""
    tensor = call.tensors[0]
    place = _first_of_mixed(tensor.shape, shape, call.mesh.size())
    ways = choose(call, lambda call, axis: _following(call, axis, place.get))
    local = local_shape_and_offset(shape, call.mesh, [output for _, output in ways])[0]
    return run(call, ways, shape, lambda piece, *rest, **options: piece.reshape(local))


def _first_of_mixed(before: Sequence[int], after: Sequence[int], count: int) -> dict[int, int]:
    """Which dimension of the old shape is which of the new one, when both are cut into pieces for ``count`` processes.

    ``(6, 4) -> (2, 3, 4)``: what is mixed are 6 with (2, 3) and 4 with (4); pieces of 6 are pieces of 2 if both can be cut equally.
    """
    place: dict[int, int] = {}
    old = new = 0
    while old < len(before) and new < len(after):
        first, other = old, new
        left, right = before[old], after[new]
        while left != right:
            if left < right:
                old += 1
                if old == len(before):
                    return place
                left *= before[old]
            else:
                new += 1
                if new == len(after):
                    return place
                right *= after[new]
        alone = old == first and new == other
        if alone or (before[first] % count == 0 and after[other] % count == 0):
            place[first] = other
        old, new = old + 1, new + 1
        while old < len(before) and before[old] == 1 and (new == len(after) or after[new] != 1):
            old += 1
        while new < len(after) and after[new] == 1 and (old == len(before) or before[old] != 1):
            new += 1
    return place


def _filled(shape: list[int], numel: int) -> list[int]:
    """A shape whose -1 is what is left.

    Raises:
        RuntimeError: it has not as many elements
    """
    if -1 in shape:
        known = prod(each for each in shape if each != -1)
        shape = [(numel // known if known else 0) if each == -1 else each for each in shape]
    if prod(shape) != numel:
        raise RuntimeError(f"shape '{shape}' is invalid for input of size {numel}")
    return shape


def reshape(call: Call) -> Any:
    """``view`` and ``reshape``."""
    given = [*call.args[1:], *call.kwargs.values()]
    if len(given) == 1 and not isinstance(given[0], (int, tuple, list)):
        return run(call, choose(call, None))  # a view as another dtype
    return _reshaped(call, _filled(_sizes(given), call.tensors[0].numel()))


def reshape_as(call: Call) -> Any:
    """``view_as`` and ``reshape_as``."""
    tensor, other = call.args
    return tensor.reshape(list(other.shape))


def flatten(call: Call) -> Any:
    """``flatten`` and ``ravel``."""
    tensor = call.tensors[0]
    ndim = max(tensor.dim(), 1)
    start, end = argument(call, 1, "start_dim", 0) % ndim, argument(call, 2, "end_dim", -1) % ndim
    shape = list(tensor.shape) or [1]
    return _reshaped(call, [*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :]])


def unflatten(call: Call) -> Any:
    """``unflatten``."""
    tensor = call.tensors[0]
    dim = argument(call, 1, "dim") % tensor.dim()
    sizes = _filled(list(argument(call, 2, "sizes")), tensor.shape[dim])
    return _reshaped(call, [*tensor.shape[:dim], *sizes, *tensor.shape[dim + 1 :]])


def unsqueeze(call: Call) -> Any:
    """``unsqueeze``."""
    tensor = call.tensors[0]
    new = argument(call, 1, "dim") % (tensor.dim() + 1)
    return run(call, choose(call, lambda call, axis: _following(call, axis, lambda dim: dim + (dim >= new))))


def squeeze(call: Call) -> Any:
    """``squeeze``: pieces of a dimension may be of size 1 where the dimension is not."""
    tensor = call.tensors[0]
    given = argument(call, 1, "dim")
    asked = (
        range(tensor.dim()) if given is None else [each % max(tensor.dim(), 1) for each in ([given] if isinstance(given, int) else given)]
    )
    gone = tuple([dim for dim in asked if tensor.dim() and tensor.shape[dim] == 1])
    shape = [size for dim, size in enumerate(tensor.shape) if dim not in gone]
    place = lambda dim: None if dim in gone else dim - sum(other < dim for other in gone)
    ways = choose(call, lambda call, axis: _following(call, axis, place))
    return run(call, ways, shape, lambda piece, *rest, **options: piece.squeeze(gone) if gone else piece.view_as(piece))


# -- dimensions in another order ---------------------------------------------------------------------------------------


def _permuted(call: Call, order: Sequence[int]) -> Any:
    return run(call, choose(call, lambda call, axis: _following(call, axis, list(order).index)))


def transpose(call: Call) -> Any:
    """``transpose`` and its other names."""
    ndim = call.tensors[0].dim()
    first, second = (
        argument(call, number, name, call.kwargs.get(f"axis{number - 1}")) % max(ndim, 1) for number, name in ((1, "dim0"), (2, "dim1"))
    )
    order = list(range(ndim))
    if ndim:
        order[first], order[second] = second, first
    return _permuted(call, order)


def transposed(call: Call) -> Any:
    """``t``, ``adjoint``."""
    ndim = call.tensors[0].dim()
    return _permuted(call, range(ndim) if ndim < 2 else [*range(ndim - 2), ndim - 1, ndim - 2])


def permute(call: Call) -> Any:
    """``permute``."""
    tensor = call.tensors[0]
    return _permuted(call, [dim % tensor.dim() for dim in _sizes([*call.args[1:], *call.kwargs.values()])])


def movedim(call: Call) -> Any:
    """``movedim``."""
    tensor = call.tensors[0]
    tuples = lambda value: [each % tensor.dim() for each in ((value,) if isinstance(value, int) else value)]
    source, target = tuples(argument(call, 1, "source")), tuples(argument(call, 2, "destination"))
    order = [dim for dim in range(tensor.dim()) if dim not in source]
    for place, dim in sorted(zip(target, source)):
        order.insert(place, dim)
    return _permuted(call, order)


# -- parts and repetitions -----------------------------------------------------------------------------------------------


def expand(call: Call) -> Any:
    """``expand``, ``expand_as`` and ``broadcast_to``: what is repeated is not cut."""
    tensor = call.tensors[0]
    given = call.args[1].shape if call.name == "expand_as" else _sizes([*call.args[1:], *call.kwargs.values()])
    more = len(given) - tensor.dim()
    shape = [tensor.shape[dim - more] if size == -1 else size for dim, size in enumerate(given)]
    one = Call(call.function, (tensor,), {})
    ways = choose(
        one, lambda call, axis: _following(call, axis, lambda dim: dim + more if tensor.shape[dim] == shape[dim + more] else None)
    )
    local = local_shape_and_offset(shape, call.mesh, [output for _, output in ways])[0]
    return run(one, ways, shape, lambda piece: piece.expand(local))


def along(position: int, removes: bool = False) -> Callable[[Call], Any]:
    """A function that takes a tensor apart along one dimension, which must not be cut; the others stay, or move up if it ``removes`` it."""

    def handler(call: Call) -> Any:
        tensor = call.tensors[0]
        dim = argument(call, position, "dim", 0)
        if not isinstance(dim, int) or len(call.tensors) > 1:
            return run(call, choose(call, None))
        dim %= tensor.dim()
        place = lambda each: None if each == dim else each - (removes and each > dim)
        return run(call, choose(call, lambda call, axis: _following(call, axis, place)))

    return handler


def join(call: Call) -> Any:
    """``cat`` and ``stack``: all are cut along one dimension, which is not that in which they are joined."""
    first = call.tensors[0]
    stacks = call.name == "stack"
    dim = argument(call, 1, "dim", 0) % (first.dim() + stacks)
    if not stacks and any(each.dim() != first.dim() for each in call.tensors):
        return run(call, choose(call, None))

    def ways(call: Call, axis: int) -> list[Way]:
        count = len(call.tensors)
        found: list[Way] = [
            ([Shard(each)] * count, Shard(each + (stacks and each >= dim))) for each in range(first.dim()) if stacks or each != dim
        ]
        placement = first.placements[axis]
        if placement.is_partial() and all(each.placements[axis] == placement for each in call.tensors):
            found.append(([placement] * count, placement))
        return found

    return run(call, choose(call, ways))


def getitem(call: Call) -> Any:
    """Indexing by numbers, slices, ``None`` and ``...``: dimensions that are taken whole may be cut."""
    tensor, index = call.args
    index = index if isinstance(index, tuple) else (index,)
    if not isinstance(tensor, DTensor) or not all(each is None or each is Ellipsis or type(each) in (int, slice) for each in index):
        return run(call, choose(call, None))
    used = sum(each is not None and each is not Ellipsis for each in index)
    gap = index.index(Ellipsis) if Ellipsis in index else len(index)
    index = (*index[:gap], *[slice(None)] * (tensor.dim() - used), *index[gap + 1 :])
    places: dict[int, int] = {}
    old = new = 0
    for each in index:
        if each == slice(None):
            places[old] = new
        old += each is not None
        new += not isinstance(each, int)
    return run(call, choose(call, lambda call, axis: _following(call, axis, places.get)))


def triangle(call: Call) -> Any:
    """``tril`` and ``triu``: batches may be cut."""
    tensor = call.tensors[0]
    return run(call, choose(call, lambda call, axis: _following(call, axis, lambda dim: dim if dim < tensor.dim() - 2 else None)))


SHAPING: dict[str, Callable[[Call], Any]] = {
    "view": reshape, "reshape": reshape, "view_as": reshape_as, "reshape_as": reshape_as, "flatten": flatten, "ravel": flatten, "unflatten": unflatten,
    "unsqueeze": unsqueeze, "squeeze": squeeze, "transpose": transpose, "swapaxes": transpose, "swapdims": transpose, "t": transposed, "adjoint": transposed,
    "permute": permute, "movedim": movedim, "moveaxis": movedim, "expand": expand, "expand_as": expand, "broadcast_to": expand,
    "narrow": along(1), "split": along(2), "chunk": along(2), "tensor_split": along(2), "split_with_sizes": along(2), "unbind": along(1, removes=True),
    "select": along(1, removes=True), "index_select": along(1), "cat": join, "concat": join, "concatenate": join, "stack": join, "__getitem__": getitem,
    "tril": triangle, "triu": triangle,
}  # fmt: skip
