"""``loss_parallel``: the cross entropy of scores whose classes are shared out, without gathering them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import local
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.autograd import Function
from flambeau.distributed.device_mesh import DeviceMesh
from flambeau.distributed.tensor.dtensor import DTensor, local_of, moved, wrap
from flambeau.distributed.tensor.placement_types import Placement, Replicate, Shard
from flambeau.distributed.tensor.redistribute import all_reduce
from flambeau.distributed.tensor.spec import DTensorSpec, local_shape_and_offset

__all__ = ["loss_parallel"]


class _State(local):
    depth = 0


_STATE = _State()


@contextmanager
def loss_parallel() -> Iterator[None]:
    """A context in which ``cross_entropy`` of scores ``(N, C, …)`` that are cut along the classes exchanges three numbers a sample, and no scores.

    The targets are numbers of classes, without weights and label smoothing; other losses are computed as they are outside.

    Example::

        with loss_parallel():
            loss = F.cross_entropy(scores, targets)   # scores: Shard(1)
            loss.backward()
    """
    _STATE.depth += 1
    try:
        yield
    finally:
        _STATE.depth -= 1


def is_parallel(input: Any, target: Any, weight: Any, smoothing: float) -> bool:
    """Whether a loss is computed on the pieces."""
    if not _STATE.depth or weight is not None or smoothing or not isinstance(input, DTensor) or input.dim() < 2:
        return False
    if target.is_floating_point() or not isinstance(target, DTensor):
        return False
    return sum(isinstance(each, Shard) and each.dim == 1 for each in input.placements) == 1


def parallel_cross_entropy(input: DTensor, target: DTensor, ignored: int) -> DTensor:
    """The losses of the samples, (N, …)."""
    mesh = input.device_mesh
    axis = next(number for number, each in enumerate(input.placements) if isinstance(each, Shard) and each.dim == 1)
    places = [_places(each, number == axis) for number, each in enumerate(input.placements)]
    scores, targets = [own for own, _ in places], [other for _, other in places]
    start = local_shape_and_offset(input.shape, mesh, scores)[1][1]
    found = _CrossEntropy.apply(local_of(moved(input, scores)), local_of(moved(target, targets)).detach(), mesh, axis, start, ignored)
    return wrap(found, DTensorSpec(mesh, targets, target.shape))


def _places(placement: Placement, has_classes: bool) -> tuple[Placement, Placement]:
    """How scores, and targets and losses, are to lie along a dimension of the mesh."""
    if has_classes or not isinstance(placement, Shard):
        return (placement if has_classes else Replicate()), Replicate()
    return placement, Shard(placement.dim - (placement.dim > 1))


class _CrossEntropy(Function):
    """log Σ exp(x) - x of the target, where each process has some of the x."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, target: Tensor, mesh: DeviceMesh, axis: int, start: int, ignored: int) -> Tensor:
        group = mesh.get_group(axis)
        count = scores.shape[1]
        lowest = scores.new_full((scores.shape[0], *scores.shape[2:]), float("-inf"))
        largest = all_reduce(scores.amax(1) if count else lowest, group, "max")
        shifted = scores - largest.unsqueeze(1)
        powers = shifted.exp()
        total = all_reduce(powers.sum(1), group)
        here = (target >= start) & (target < start + count)
        place = flambeau.where(here, target - start, 0)
        own = shifted.gather(1, place.unsqueeze(1)).squeeze(1) if count else flambeau.zeros_like(lowest)
        picked = all_reduce(flambeau.where(here, own, 0.0), group)
        kept = target != ignored
        ctx.save_for_backward(powers / total.unsqueeze(1), place, here, kept)
        return flambeau.where(kept, total.log() - picked, 0.0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        share, place, here, kept = ctx.saved_tensors
        grad = flambeau.where(kept, grad, 0.0)
        result = share * grad.unsqueeze(1)
        if share.shape[1]:
            result = result.scatter_add(1, place.unsqueeze(1), flambeau.where(here, -grad, 0.0).unsqueeze(1))
        return result, None, None, None, None, None
