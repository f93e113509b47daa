"""In which order the stages of a pipeline go through the microbatches.

With four stages and four microbatches, forward as digits and backward as letters:

```
GPipe   stage 0   0 1 2 3 . . . . . . a b c d        1F1B   stage 0   0 1 2 3 . . . a . b . c . d
        stage 3   . . . 0 1 2 3 a b c d . . .               stage 3   . . . 0 a 1 b 2 c 3 d . . .
```

A schedule is the list of what a process does; whatever it waits for comes from an earlier place of another list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import flambeau
from flambeau import Tensor
from flambeau.distributed.pipelining.microbatch import merge_chunks, split_args_kwargs_into_chunks
from flambeau.distributed.pipelining.stage import PipelineStage

__all__ = ["Schedule1F1B", "ScheduleGPipe", "ScheduleInterleaved1F1B", "ScheduleLoopedBFS"]


class Action(NamedTuple):
    """A pass of one stage, for one microbatch."""

    backward: bool
    stage: int
    microbatch: int


class _Schedule:
    """Runs stages of this process on the microbatches of a batch.

    Args:
        stages: of this process, in their order
        n_microbatches: how many microbatches a batch has
        loss_fn: a function of result and target; without one there are no backward passes
        args_chunk_spec, kwargs_chunk_spec: how arguments are cut
        output_merge_spec: how results are put together
        scale_grads: whether gradients are divided by the number of microbatches, so that a loss that is a mean is that of the batch
    """

    def __init__(
        self, stages: Sequence[PipelineStage], n_microbatches: int, loss_fn: Callable[..., Tensor] | None, args_chunk_spec: Any,
        kwargs_chunk_spec: Any, output_merge_spec: Any, scale_grads: bool,
    ) -> None:  # fmt: skip
        if n_microbatches < 1:
            raise ValueError(f"n_microbatches must be positive, but is {n_microbatches}")
        self._stages = {each.stage_index: each for each in stages}
        for each in stages:
            each.meet(stages)
        first = stages[0]
        self._group_size, self._rank, self._num_stages = first.group_size, first.group_rank, first.num_stages
        self._n_microbatches, self._loss_fn, self.scale_grads = n_microbatches, loss_fn, scale_grads
        self._args_chunk_spec, self._kwargs_chunk_spec, self._output_merge_spec = args_chunk_spec, kwargs_chunk_spec, output_merge_spec
        self._has_backward = loss_fn is not None

    @staticmethod
    def actions(rank: int, size: int, stages: int, microbatches: int) -> list[Action]:
        """What process ``rank`` of ``size`` does, in its order."""
        raise NotImplementedError("a schedule says in which order its actions are done")

    def step(
        self, *args: Any, target: Any = None, losses: list | None = None, return_outputs: bool = True, loss_kwargs: dict | None = None,
        **kwargs: Any,
    ) -> Any:  # fmt: skip
        """Run a batch: forward, and backward if there is a ``loss_fn``; gradients are added to the parameters' ``grad``.

        Args:
            args, kwargs: what the first stage is given, for the whole batch; named arguments go to any stage
            target: what the last stage compares its results with, for the whole batch
            losses: a list that gets the loss of each microbatch, in the process with the last stage
            return_outputs: whether the results are returned
            loss_kwargs: for ``loss_fn``

        Returns:
            The results of the batch in the process with the last stage, ``None`` in others.

        Raises:
            RuntimeError: gradients are off, though there is a ``loss_fn``; a stage failed, in whatever process (the group does not work any more
                then), or a process is gone
            ValueError: the batch is smaller than the number of microbatches
        """
        if self._has_backward and not flambeau.is_grad_enabled():
            raise RuntimeError("step() computes gradients, which are off here (torch.no_grad()): eval() does without")
        return self._run(args, kwargs, target, losses, return_outputs, loss_kwargs or {}, self._has_backward)

    def eval(self, *args: Any, target: Any = None, losses: list | None = None, return_outputs: bool = True, **kwargs: Any) -> Any:
        """Run a batch forward only; as ``step``, otherwise."""
        loss_kwargs = kwargs.pop("loss_kwargs", None) or {}
        with flambeau.no_grad():
            return self._run(args, kwargs, target, losses, return_outputs, loss_kwargs, False)

    def _run(
        self, args: tuple, kwargs: dict, target: Any, losses: list | None, return_outputs: bool, loss_kwargs: dict, has_backward: bool
    ) -> Any:
        count = self._n_microbatches
        args_of, kwargs_of = self._split(args, kwargs)
        targets = None if target is None else [each[0] for each in split_args_kwargs_into_chunks((target,), None, count)[0]]
        for stage in self._stages.values():
            stage.clear_runtime_states()
            stage.has_backward = has_backward
        try:
            found = self._passes(args_of, kwargs_of, targets, return_outputs, loss_kwargs, has_backward)
        except BaseException as error:  # the others must not wait for what will not come, nor take a later batch's for it
            next(iter(self._stages.values())).give_up(error)
            raise
        return self._finish(found, losses, has_backward)

    def _passes(
        self, args_of: list[tuple], kwargs_of: list[dict], targets: list | None, return_outputs: bool, loss_kwargs: dict, has_backward: bool
    ) -> dict[int, Tensor]:
        """Do the actions of this process, and return the losses that it has computed, by microbatch."""
        found: dict[int, Tensor] = {}
        for backward, number, microbatch in self.actions(self._rank, self._group_size, self._num_stages, self._n_microbatches):
            stage = self._stages[number]
            if backward:
                if has_backward:
                    stage.backward_one_chunk(microbatch, found.get(microbatch) if stage.is_last else None)
                continue
            output = stage.forward_one_chunk(microbatch, args_of[microbatch], kwargs_of[microbatch], return_outputs)
            if stage.is_last and self._loss_fn is not None and (has_backward or targets is not None):
                arguments = (output,) if targets is None else (output, targets[microbatch])
                found[microbatch] = self._loss_fn(*arguments, **loss_kwargs)
        return found

    def _split(self, args: tuple, kwargs: dict) -> tuple[list[tuple], list[dict]]:
        count = self._n_microbatches
        if not args and not kwargs:
            return [()] * count, [{}] * count
        args_of, kwargs_of = split_args_kwargs_into_chunks(args, kwargs, count, self._args_chunk_spec, self._kwargs_chunk_spec)
        if len(args_of) != count:
            raise ValueError(f"a batch of {len(args_of)} cannot be cut into {count} microbatches")
        return args_of, kwargs_of

    def _finish(self, found: dict[int, Tensor], losses: list | None, has_backward: bool) -> Any:
        if losses is not None:
            losses[:] = [found[number] for number in sorted(found)]
        if has_backward and self.scale_grads:
            for stage in self._stages.values():
                stage.scale_grads(self._n_microbatches)
        last = self._stages.get(self._num_stages - 1)
        if last is None or not last.output_chunks:
            return None
        return merge_chunks(last.output_chunks, self._output_merge_spec)


class PipelineScheduleSingle(_Schedule):
    """A schedule in which each process has one stage.

    Args:
        stage: that of this process
        others: as for ``_Schedule``
    """

    def __init__(
        self, stage: PipelineStage, n_microbatches: int, loss_fn: Callable[..., Tensor] | None = None, args_chunk_spec: Any = None,
        kwargs_chunk_spec: Any = None, output_merge_spec: Any = None, scale_grads: bool = True,
    ) -> None:  # fmt: skip
        if stage.num_stages != stage.group_size:
            raise ValueError(
                f"{type(self).__name__} has one stage a process, but there are {stage.num_stages} for {stage.group_size} processes"
            )
        super().__init__([stage], n_microbatches, loss_fn, args_chunk_spec, kwargs_chunk_spec, output_merge_spec, scale_grads)


class _ScheduleForwardOnly(PipelineScheduleSingle):
    """Forward passes only."""

    @staticmethod
    def actions(rank: int, size: int, stages: int, microbatches: int) -> list[Action]:
        """All microbatches, one after the other."""
        return [Action(False, rank, each) for each in range(microbatches)]


class ScheduleGPipe(PipelineScheduleSingle):
    """All forward passes, then all backward passes (Huang et al. 2019, arXiv:1811.06965). Every stage keeps what all microbatches need to go back."""

    @staticmethod
    def actions(rank: int, size: int, stages: int, microbatches: int) -> list[Action]:
        """Forward, then backward, one microbatch after the other."""
        return [Action(backward, rank, each) for backward in (False, True) for each in range(microbatches)]


class Schedule1F1B(PipelineScheduleSingle):
    """A forward and a backward pass in turn (Narayanan et al. 2019, arXiv:1806.03377); a stage keeps only as many microbatches as there are stages
    from it to the last."""

    @staticmethod
    def actions(rank: int, size: int, stages: int, microbatches: int) -> list[Action]:
        """Forward until the first gradients are there, and in turn then."""
        forward = [Action(False, rank, each) for each in range(microbatches)]
        backward = [Action(True, rank, each) for each in range(microbatches)]
        return list(_in_turn(forward, backward, stages - rank))


def _in_turn(forward: list[Action], backward: list[Action], ahead: int) -> Iterator[Action]:
    """So many forward passes, then backward and forward in turn, then the backward passes that are left."""
    ahead = min(ahead, len(forward))
    yield from forward[:ahead]
    for back, front in zip(backward, forward[ahead:], strict=False):
        yield back
        yield front
    yield from backward[len(forward) - ahead :]


class PipelineScheduleMulti(_Schedule):
    """A schedule in which each process has several stages, ``rank``, ``rank + size`` and so on.

    Args:
        stages: those of this process
        others: as for ``_Schedule``
    """

    def __init__(
        self, stages: Sequence[PipelineStage], n_microbatches: int, loss_fn: Callable[..., Tensor] | None = None, args_chunk_spec: Any = None,
        kwargs_chunk_spec: Any = None, output_merge_spec: Any = None, scale_grads: bool = True, backward_requires_autograd: bool = True,
        defer_pp_recv: bool = False,
    ) -> None:  # fmt: skip
        if not stages:
            raise ValueError("stages is empty: each process has some")
        first = stages[0]
        wanted = list(range(first.group_rank, first.num_stages, first.group_size))
        if sorted(each.stage_index for each in stages) != wanted or first.num_stages % first.group_size:
            raise ValueError(
                f"process {first.group_rank} of {first.group_size} must have stages {wanted} of {first.num_stages}, as many as the others, "
                f"but has {[each.stage_index for each in stages]}"
            )
        super().__init__(stages, n_microbatches, loss_fn, args_chunk_spec, kwargs_chunk_spec, output_merge_spec, scale_grads)


class ScheduleLoopedBFS(PipelineScheduleMulti):
    """All microbatches through a stage before the next one (Lamy-Poirier 2022, arXiv:2211.05953).

    Args:
        stages: those of this process
        others: as for ``ScheduleInterleaved1F1B``
    """

    def __init__(
        self, stages: Sequence[PipelineStage], n_microbatches: int, loss_fn: Callable[..., Tensor] | None = None, output_merge_spec: Any = None,
        scale_grads: bool = True, backward_requires_autograd: bool = True, defer_pp_recv: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(stages, n_microbatches, loss_fn, output_merge_spec=output_merge_spec, scale_grads=scale_grads)

    @staticmethod
    def actions(rank: int, size: int, stages: int, microbatches: int) -> list[Action]:
        """Stage after stage forward, and the same way back."""
        forward = [Action(False, stage, each) for stage in range(rank, stages, size) for each in range(microbatches)]
        return [*forward, *[Action(True, stage, each) for _, stage, each in reversed(forward)]]


class ScheduleInterleaved1F1B(PipelineScheduleMulti):
    """A forward and a backward pass in turn, of several stages (Narayanan et al. 2021, arXiv:2104.04473).

    Microbatches go through the stages in rounds; the number of microbatches must be a multiple of that of the rounds, which is
    ``max(1, n_microbatches // size)``.
    """

    def __init__(self, stages: Sequence[PipelineStage], n_microbatches: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(stages, n_microbatches, *args, **kwargs)
        rounds = max(1, n_microbatches // self._group_size)
        if n_microbatches % rounds:
            raise ValueError(
                f"Interleaved 1F1B requires the number of microbatches to be a multiple of the number of rounds ({rounds}), but got {n_microbatches}."
            )

    @staticmethod
    def actions(rank: int, size: int, stages: int, microbatches: int) -> list[Action]:
        """Forward until the first gradients are there, and in turn then."""
        local = stages // size
        round_of = microbatches // max(1, microbatches // size)

        def nth(number: int, backward: bool) -> Action:
            turn = number // round_of
            stage = turn % local
            return Action(backward, (local - 1 - stage if backward else stage) * size + rank, turn // local * round_of + number % round_of)

        forward, backward = ([nth(number, each) for number in range(microbatches * local)] for each in (False, True))
        ahead = (local - 1) * round_of + 2 * (size - 1 - rank) + 1
        return list(_in_turn(forward, backward, ahead))
