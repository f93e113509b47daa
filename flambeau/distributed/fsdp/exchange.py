"""Pieces of many tensors gathered, and their gradients reduced, with few exchanges: what is small is packed."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import flambeau
from flambeau import Tensor, distributed
from flambeau.distributed.reduction import ReduceOp
from flambeau.distributed.tensor.placement_types import Shard

_ALONE = 256 << 10
"""Elements from which a tensor is exchanged by itself, without being copied."""


def _rows(shape: Sequence[int], count: int) -> tuple[int, int]:
    """How many rows the largest piece has, and how many elements a row."""
    return -(-shape[0] // count), prod(shape[1:])


def _alone(shape: Sequence[int], count: int) -> bool:
    return shape[0] % count == 0 and prod(shape) >= _ALONE


def gather(pieces: Sequence[Tensor], shapes: Sequence[Sequence[int]], group: Any) -> list[Tensor]:
    """The tensors of which each process has some rows; each lies in memory of its own."""
    count = distributed.get_world_size(group)
    found: list[Any] = [None] * len(pieces)
    packed: dict[Any, list[int]] = {}
    for number, (piece, shape) in enumerate(zip(pieces, shapes)):
        if _alone(shape, count):
            found[number] = piece.new_empty(shape)
            distributed.all_gather_into_tensor(found[number], piece.contiguous(), group)
        else:
            packed.setdefault(piece.dtype, []).append(number)
    for numbers in packed.values():
        flat = [_padded(pieces[number].reshape(-1), prod(_rows(shapes[number], count))) for number in numbers]
        own = flambeau.cat(flat)
        every = own.new_empty((count, own.numel()))
        distributed.all_gather_into_tensor(every, own, group)
        start = 0
        for number, part in zip(numbers, flat):
            shape = shapes[number]
            whole = every[:, start : start + part.numel()].reshape(-1)[: prod(shape)]
            found[number] = whole.clone().view(shape)
            start += part.numel()
    flambeau.flush()
    return found


def _padded(flat: Tensor, length: int) -> Tensor:
    return flat if flat.numel() == length else flambeau.cat([flat, flat.new_zeros(length - flat.numel())])


def reduce_scatter(tensors: Sequence[Tensor], group: Any, op: ReduceOp) -> list[Tensor]:
    """This process's rows of the reductions of what all have."""
    count, rank = distributed.get_world_size(group), distributed.get_rank(group)
    found: list[Any] = [None] * len(tensors)
    packed: dict[Any, list[int]] = {}
    for number, tensor in enumerate(tensors):
        if _alone(tensor.shape, count):
            found[number] = tensor.new_empty((tensor.shape[0] // count, *tensor.shape[1:]))
            distributed.reduce_scatter_tensor(found[number], tensor.contiguous(), op, group)
        else:
            packed.setdefault(tensor.dtype, []).append(number)
    for numbers in packed.values():
        sizes = [prod(_rows(tensors[number].shape, count)) for number in numbers]
        every = flambeau.cat(
            [_padded(tensors[number].reshape(-1), size * count).view(count, size) for number, size in zip(numbers, sizes)], 1
        )
        own = every.new_empty(every.shape[1])
        distributed.reduce_scatter_tensor(own, every, op, group)
        for number, part in zip(numbers, own.split(sizes)):
            shape = tensors[number].shape
            start, end = Shard(0).bounds(shape[0], count)[rank]
            found[number] = part[: (end - start) * prod(shape[1:])].reshape(end - start, *shape[1:]).clone()
    return found


def all_reduce(tensors: Sequence[Tensor], group: Any, op: ReduceOp) -> None:
    """Replace tensors by the reductions of what all processes have."""
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        distributed.all_reduce_coalesced([tensor for tensor in tensors if tensor.dtype is dtype], op, group)


def used_anywhere(used: Sequence[bool], groups: Sequence[Any]) -> list[bool]:
    """Which of some things any process has used."""
    marks = flambeau.tensor(list(used), dtype=flambeau.uint8)
    for group in groups:
        distributed.all_reduce(marks, ReduceOp.MAX, group)
    return [bool(mark) for mark in marks.tolist()]
