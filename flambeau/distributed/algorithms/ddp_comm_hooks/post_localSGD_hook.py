"""Gradients that are averaged over all processes at first, and within groups later (Lin et al. 2020, arXiv:1808.07217)."""

from __future__ import annotations

from typing import Any

from flambeau import Tensor, distributed
from flambeau.distributed.algorithms.ddp_comm_hooks.default_hooks import average
from flambeau.distributed.world import member
from flambeau.futures import Future

__all__ = ["PostLocalSGDState", "post_localSGD_hook"]


class PostLocalSGDState:
    """When to go over to groups, and to which.

    Args:
        process_group: all processes
        subgroup: this process's group; by default that of its machine
        start_localSGD_iter: the iteration from which on gradients are averaged within groups
        post_local_gradient_allreduce: whether they are averaged at all from then on
    """

    def __init__(self, process_group: Any, subgroup: Any, start_localSGD_iter: int, post_local_gradient_allreduce: bool = True) -> None:
        self.process_group, self.subgroup = process_group, subgroup
        self.start_localSGD_iter, self.post_local_gradient_allreduce = start_localSGD_iter, post_local_gradient_allreduce
        self.iter = 0

    def maybe_increase_iter(self, bucket: Any) -> None:
        """Count the iteration, of which a bucket is the last."""
        if bucket.is_last():
            self.iter += 1


def post_localSGD_hook(state: PostLocalSGDState, bucket: Any) -> Future[Tensor]:
    """The average over all processes, and from ``start_localSGD_iter`` on over the group's."""
    iteration = state.iter
    state.maybe_increase_iter(bucket)
    if iteration < state.start_localSGD_iter:
        return average(member(state.process_group), bucket.buffer())
    if not state.post_local_gradient_allreduce:
        future: Future[Tensor] = Future()
        future.set_result(bucket.buffer())
        return future
    if state.subgroup is None:
        state.subgroup, _ = distributed.new_subgroups()
    return average(state.subgroup, bucket.buffer())
