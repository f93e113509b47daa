"""From one way of lying in the processes to another, with the gradient going the way back.

A gradient lies as its tensor does, and whole in each process where the tensor lies as parts. So the way back of an all-gather is a
slice, that of a sum nothing at all, and that of a slice an all-gather.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import flambeau
from flambeau import Tensor, distributed
from flambeau.autograd import Function
from flambeau.distributed.device_mesh import DeviceMesh
from flambeau.distributed.reduction import ReduceOp
from flambeau.distributed.tensor.placement_types import Partial, Placement, Replicate, Shard, _StridedShard
from flambeau.distributed.tensor.spec import local_shape_and_offset

_OPS = {"sum": ReduceOp.SUM, "avg": ReduceOp.AVG, "max": ReduceOp.MAX, "min": ReduceOp.MIN, "product": ReduceOp.PRODUCT}

Placements = Sequence[Placement]


# -- one dimension of the mesh ---------------------------------------------------------------------------------------


def all_gather(piece: Tensor, group: Any, dim: int, size: int) -> Tensor:
    """The whole of what a group has in pieces along a dimension of ``size``."""
    count = distributed.get_world_size(group)
    step = -(-size // count)
    if piece.size(dim) < step:
        piece = flambeau.cat([piece, piece.new_zeros(_resized(piece, dim, step - piece.size(dim)))], dim)
    piece = piece.contiguous()
    pieces = piece.new_empty((count, *piece.shape))
    distributed.all_gather_into_tensor(pieces, piece, group)
    whole = pieces.flatten(0, 1) if dim == 0 else flambeau.cat(list(pieces.unbind(0)), dim)
    return whole if whole.size(dim) == size else whole.narrow(dim, 0, size).contiguous()


def _all_gather_strided(piece: Tensor, group: Any, placement: _StridedShard, size: int) -> Tensor:
    """The whole of what each process of a group has several pieces of."""
    count, dim = distributed.get_world_size(group), placement.dim
    pieces = placement.pieces(size, count)
    lengths = [sum(end - start for start, end in each) for each in pieces]
    longest = max(lengths)
    gathered = all_gather(
        flambeau.cat([piece, piece.new_zeros(_resized(piece, dim, longest - piece.size(dim)))], dim), group, dim, count * longest
    )
    # Where in the gathered tensor each piece begins, by where in the whole it belongs.
    found: dict[int, Tensor] = {}
    for number, each in enumerate(pieces):
        behind = number * longest
        for start, end in each:
            if end > start:
                found[start] = gathered.narrow(dim, behind, end - start)
            behind += end - start
    return flambeau.cat([found[start] for start in sorted(found)], dim) if found else gathered


def reduce_scatter(part: Tensor, group: Any, dim: int, op: str) -> Tensor:
    """This process's piece along a dimension of the reduction of what a group has."""
    count, size = distributed.get_world_size(group), part.size(dim)
    step = -(-size // count)
    if step * count > size:
        part = flambeau.cat([part, part.new_zeros(_resized(part, dim, step * count - size))], dim)
    pieces = flambeau.stack(list(part.split(step, dim))) if step else part.new_empty((count, *part.shape))
    piece = part.new_empty(pieces.shape[1:])
    distributed.reduce_scatter_tensor(piece, pieces, _OPS[op], group)
    start, end = Shard(dim).bounds(size, count)[distributed.get_rank(group)]
    return piece if end - start == step else piece.narrow(dim, 0, end - start).contiguous()


def all_reduce(part: Tensor, group: Any, op: str = "sum") -> Tensor:
    """The reduction of what a group has."""
    whole = part.detach().clone(memory_format=flambeau.contiguous_format)
    distributed.all_reduce(whole, _OPS[op], group)
    return whole


def _all_to_all(piece: Tensor, group: Any, dim: int, size: int, other: int) -> Tensor:
    """From pieces along one dimension (of ``size``) to pieces along another."""
    count, rank = distributed.get_world_size(group), distributed.get_rank(group)
    given = [piece.narrow(other, start, end - start).contiguous() for start, end in Shard(other).bounds(piece.size(other), count)]
    width = given[rank].size(other)
    rows = [end - start for start, end in Shard(dim).bounds(size, count)]
    found = [piece.new_empty(_resized(_resized(piece, dim, length), other, width)) for length in rows]
    distributed.all_to_all(found, given, group)
    return flambeau.cat(found, dim)


def _resized(like: Any, dim: int, size: int) -> list[int]:
    shape = list(like.shape) if isinstance(like, Tensor) else list(like)
    shape[dim] = size
    return shape


def _cut(whole: Tensor, placement: Shard | _StridedShard, count: int, place: int) -> Tensor:
    dim = placement.dim
    pieces = [whole.narrow(dim, start, end - start) for start, end in placement.pieces(whole.size(dim), count)[place]]
    return pieces[0] if len(pieces) == 1 else flambeau.cat(pieces, dim)


# -- all dimensions --------------------------------------------------------------------------------------------------


def move(local: Tensor, mesh: DeviceMesh, shape: Sequence[int], source: Placements, target: Placements) -> Tensor:
    """What this process has of a tensor of ``shape`` once it lies as ``target`` says. No gradient is recorded."""
    place = mesh.get_coordinate()
    now = list(source)
    if place is None or now == list(target):
        return local
    for axis in reversed(range(mesh.ndim)):
        if now[axis] != target[axis] or _stands_on_what_moves(axis, now, target):
            local, now[axis] = _leave(local, mesh, axis, shape, now, target)
    for axis in range(mesh.ndim):
        wanted = target[axis]
        if now[axis] == wanted:
            continue
        if isinstance(wanted, (Shard, _StridedShard)):
            local = _cut(local, wanted, mesh.size(axis), place[axis])
        elif isinstance(wanted, Partial) and wanted.reduce_op == "sum" and place[axis] != 0:
            local = flambeau.zeros_like(local)  # the others' share of the sum; an average or a maximum of equals is each of them
        elif isinstance(wanted, Partial) and wanted.reduce_op == "product" and place[axis] != 0:
            local = flambeau.ones_like(local)
    return local.contiguous()


def _stands_on_what_moves(axis: int, now: Placements, target: Placements) -> bool:
    """Whether a dimension is cut here within pieces that an earlier dimension of the mesh is about to change."""
    dim = getattr(now[axis], "dim", None)
    return dim is not None and any(
        now[before] != target[before] and dim in (getattr(now[before], "dim", None), getattr(target[before], "dim", None))
        for before in range(axis)
    )


def _leave(
    local: Tensor, mesh: DeviceMesh, axis: int, shape: Sequence[int], now: Placements, target: Placements
) -> tuple[Tensor, Placement]:
    """Give up a placement, for the wanted one if one step leads there, and else for the whole tensor."""
    group, placement, wanted = mesh.get_group(axis), now[axis], target[axis]
    wanted_dim = wanted.dim if isinstance(wanted, Shard) else None
    free = wanted_dim is not None and not any(
        wanted_dim in (getattr(each, "dim", None), getattr(other, "dim", None))
        for number, (each, other) in enumerate(zip(now, target))
        if number != axis
    )
    if isinstance(placement, Partial):
        if free:
            return reduce_scatter(local, group, wanted_dim, placement.reduce_op), wanted
        return all_reduce(local, group, placement.reduce_op), Replicate()
    if isinstance(placement, Shard):
        size = local_shape_and_offset(shape, mesh, now[:axis])[0][placement.dim]
        if free and wanted != placement:
            return _all_to_all(local, group, placement.dim, size, wanted_dim), wanted
        return all_gather(local, group, placement.dim, size), Replicate()
    if isinstance(placement, _StridedShard):
        size = local_shape_and_offset(shape, mesh, now[:axis])[0][placement.dim]
        return _all_gather_strided(local, group, placement, size), Replicate()
    return local, placement


def dual(placements: Placements) -> tuple[Placement, ...]:
    """How the gradient of a tensor lies."""
    return tuple(Replicate() if isinstance(each, Partial) else each for each in placements)


def averaged(mesh: DeviceMesh, placements: Placements) -> int:
    """Over how many processes a tensor's parts are averaged, which divides the gradient of each part."""
    return prod(mesh.size(axis) for axis, each in enumerate(placements) if each.is_partial("avg"))


class _Move(Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor, mesh: DeviceMesh, shape: Sequence[int], source: Placements, target: Placements) -> Tensor:
        ctx.way = mesh, shape, source, target
        moved = move(local, mesh, shape, source, target)
        return moved.view_as(moved) if moved is local else moved


class Redistribute(_Move):
    """``move``, with the gradient going the other way."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        mesh, shape, source, target = ctx.way
        grad = RedistributeGradient.apply(grad, mesh, shape, dual(target), dual(source))
        ratio = averaged(mesh, target) / averaged(mesh, source)
        return grad if ratio == 1 else grad * ratio, None, None, None, None


class RedistributeGradient(_Move):
    """``move`` of a gradient, which lies in pieces or whole; its own gradient goes the other way."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        mesh, shape, source, target = ctx.way
        return RedistributeGradient.apply(grad, mesh, shape, dual(target), dual(source)), None, None, None, None


class SumGradient(Function):
    """A tensor that is whole in each process, and of which each computes something else: its gradient is the sum of all processes'."""

    @staticmethod
    def forward(ctx: Any, local: Tensor, mesh: DeviceMesh, axes: Sequence[int]) -> Tensor:
        ctx.mesh, ctx.axes = mesh, axes
        return local.view_as(local)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return _SumAll.apply(grad, ctx.mesh, ctx.axes), None, None


class _SumAll(Function):
    """The sum of all processes' parts; it is again whole in each, and so is its gradient."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, mesh: DeviceMesh, axes: Sequence[int]) -> Tensor:
        for axis in axes:
            part = all_reduce(part, mesh.get_group(axis))
        return part

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return grad, None, None
