"""One stage of a pipeline: a part of a module, what it has computed for each microbatch, and its neighbours.

What goes from stage to stage is one message for each microbatch and direction, which says itself which tensors it holds. Nobody waits to send: a
stage waits for what it computes with, and for nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy

import flambeau
from flambeau import Tensor, autograd
from flambeau._types import layout as lay
from flambeau.distributed.arrays import Targets, readable
from flambeau.distributed.mailbox import Message
from flambeau.distributed.work import Work
from flambeau.distributed.world import member
from flambeau.nn import Module

__all__ = ["PipelineStage"]

_FORWARD, _BACKWARD = range(2)
_FIRST_TAG = -16
"""The tags of messages between stages go down from here; users' are not negative."""


class PipelineStage:
    """A part of a module that this process runs, between parts that others run.

    Stage ``i`` is run by process ``i % size`` of the group. Tensors that it computes are arguments of the next stage, and gradients come
    back from there.

    Args:
        submodule: the part
        stage_index: its number, from 0
        num_stages: how many there are
        device: the CPU
        input_args, output_args: examples of arguments and results, with which those of the first microbatch are compared
        group: the processes; all, by default

    Raises:
        ValueError: the stage is none of ``num_stages``, or another process runs it
        NotImplementedError: ``dw_builder``
    """

    def __init__(
        self,
        submodule: Module,
        stage_index: int,
        num_stages: int,
        device: Any = "cpu",
        input_args: Any = None,
        output_args: Any = None,
        output_grads: Any = None,
        input_grads: Any = None,
        group: Any = None,
        dw_builder: Callable | None = None,
        get_mesh: Any = None,
    ) -> None:
        if not 0 <= stage_index < num_stages:
            raise ValueError(f"Stage index {stage_index} is out of range of {num_stages}")
        if dw_builder is not None:
            raise NotImplementedError("dw_builder: no schedule here computes the gradients of weights apart from those of activations")
        self.submod, self.stage_index, self.num_stages, self.device = submodule, stage_index, num_stages, flambeau.device(device)
        self.group = member(group)
        self.group_rank, self.group_size = self.group.rank(), self.group.size()
        if self.group_size > num_stages:
            raise ValueError(f"Pipeline group size {self.group_size} cannot be larger than number of stages {num_stages}")
        if stage_index % self.group_size != self.group_rank:
            owner = stage_index % self.group_size
            raise ValueError(f"stage {stage_index} of {num_stages} belongs to process {owner} of the group; this one is {self.group_rank}")
        self.is_first, self.is_last = stage_index == 0, stage_index == num_stages - 1
        self._examples = {"arguments": _as_tuple(input_args), "results": _as_tuple(output_args)}
        self.has_backward = False
        self.clear_runtime_states()

    def clear_runtime_states(self) -> None:
        """Forget what was computed for microbatches."""
        self.fwd_cache: dict[int, tuple[tuple, tuple]] = {}
        self.output_chunks: list[Any] = []
        self._here: dict[tuple[int, int, int], list[Tensor | None]] = {}
        """What goes to a stage of this process: by stage, microbatch and direction."""

    # -- computing ---------------------------------------------------------------------------------------------------------

    def forward_one_chunk(
        self, fwd_chunk_id: int, args: tuple, kwargs: dict[str, Any] | None = None, save_forward_output: bool = True
    ) -> Any:
        """Compute the results for a microbatch, and send them on.

        Args:
            fwd_chunk_id: its number
            args: what the first stage computes with; others get theirs from the stage before
            kwargs: named arguments, for any stage
        """
        inputs = tuple(args) if self.is_first else tuple(self._receive(fwd_chunk_id, _FORWARD))
        if fwd_chunk_id == 0:
            self._compare("arguments", inputs)
        try:
            output = self.submod(*inputs, **(kwargs or {}))
        except Exception as error:
            shapes = [tuple(each.shape) if isinstance(each, Tensor) else each for each in inputs]
            raise RuntimeError(
                f"stage {self.stage_index} of {self.num_stages} failed in microbatch {fwd_chunk_id} with arguments {shapes}: {error}"
            ) from error
        outputs = _as_tuple(output)
        if fwd_chunk_id == 0:
            self._compare("results", outputs)
        if self.has_backward:
            self.fwd_cache[fwd_chunk_id] = outputs, inputs
        if not self.is_last:
            wrong = next((each for each in outputs if not isinstance(each, Tensor)), None)
            if wrong is not None:
                raise TypeError(f"stage {self.stage_index} returns {wrong!r}: only tensors go on to the next stage")
            self._send(fwd_chunk_id, _FORWARD, outputs)
        elif save_forward_output:
            self.output_chunks.append(output)
        return output

    def backward_one_chunk(self, bwd_chunk_id: int, loss: Tensor | None = None) -> None:
        """Compute the gradients for a microbatch, and send those of the arguments back.

        Args:
            bwd_chunk_id: its number
            loss: what the last stage begins with; others get gradients from the stage after
        """
        outputs, inputs = self.fwd_cache.pop(bwd_chunk_id)
        if self.is_last:
            if loss is None:
                raise RuntimeError(f"the last stage needs the loss of microbatch {bwd_chunk_id} to go back")
            pairs = [(loss, None)]
        else:
            pairs = list(zip(outputs, self._receive(bwd_chunk_id, _BACKWARD), strict=True))
        pairs = [(each, grad) for each, grad in pairs if each.requires_grad and (self.is_last or grad is not None)]
        if pairs:
            autograd.backward([each for each, _ in pairs], None if self.is_last else [grad for _, grad in pairs])
        if not self.is_first:
            self._send(bwd_chunk_id, _BACKWARD, [each.grad for each in inputs])

    def scale_grads(self, grad_scale_factor: int) -> None:
        """Divide the gradients of the parameters."""
        if grad_scale_factor != 1:
            for parameter in self.submod.parameters():
                if parameter.grad is not None:
                    parameter.grad.div_(grad_scale_factor)

    def give_up(self, error: BaseException) -> None:
        """Let the other stages fail at once, for an error of this process."""
        self.group.mailbox.abort(f"{type(error).__name__}: {error}")

    def _compare(self, what: str, values: Sequence[Any]) -> None:
        expected = self._examples[what]
        if expected is None:
            return
        here, there = (
            [(each.dtype, tuple(each.shape)) if isinstance(each, Tensor) else each for each in some] for some in (values, expected)
        )
        if here != there:
            raise RuntimeError(f"stage {self.stage_index} expects {what} {there}, but has {here}")

    # -- the neighbours ----------------------------------------------------------------------------------------------------

    def _tag(self, stage: int, chunk: int, direction: int) -> int:
        return _FIRST_TAG - (chunk * self.num_stages + stage) * 2 - direction

    def _send(self, chunk: int, direction: int, tensors: Sequence[Tensor | None]) -> None:
        stage = self.stage_index + (1 if direction == _FORWARD else -1)
        peer = stage % self.group_size
        if peer == self.group_rank:
            self._stage_here(stage)._here[stage, chunk, direction] = list(tensors)
            return
        kinds = [None if each is None else (each.dtype.name, list(each.shape), each.requires_grad) for each in tensors]
        arrays = [readable(each.detach()).view(numpy.uint8) for each in tensors if each is not None]
        payload = arrays[0] if len(arrays) == 1 else numpy.concatenate([*arrays, numpy.empty(0, numpy.uint8)])
        self.group.mailbox.send(peer, self._tag(stage, chunk, direction), payload, json.dumps(kinds))

    def _receive(self, chunk: int, direction: int) -> list[Tensor | None]:
        """The arguments of a microbatch, or the gradients of its results."""
        place = (self.stage_index, chunk, direction)
        peer = (self.stage_index + (-1 if direction == _FORWARD else 1)) % self.group_size
        if peer == self.group_rank:
            return [None if each is None else _leaf(each.detach(), each.requires_grad) for each in self._here.pop(place)]
        found: list[Message] = []
        mailbox = self.group.mailbox
        future = mailbox.receive(peer, self._tag(*place), found.append)
        what = f"stage {self.stage_index}, {('forward', 'backward')[direction]} pass of microbatch {chunk}"
        Work(future, [], self.group.timeout.total_seconds(), what, lambda: mailbox.cancel(future)).wait()
        return _unpack(found[0])

    def _stage_here(self, stage: int) -> PipelineStage:
        return self._siblings[stage]

    @property
    def _siblings(self) -> dict[int, PipelineStage]:
        return self.__dict__.setdefault("_known", {self.stage_index: self})

    def meet(self, stages: Sequence[PipelineStage]) -> None:
        """Know the other stages of this process."""
        self._siblings.update({each.stage_index: each for each in stages})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.stage_index} of {self.num_stages}: {type(self.submod).__name__})"


_PipelineStageBase = _PipelineStage = PipelineStage


def _as_tuple(value: Any) -> Any:
    if value is None or isinstance(value, tuple):
        return value
    return tuple(value) if isinstance(value, list) else (value,)


def _leaf(tensor: Tensor, requires_grad: bool) -> Tensor:
    return tensor.requires_grad_() if requires_grad and flambeau.is_grad_enabled() else tensor


def _unpack(message: Message) -> list[Tensor | None]:
    found: list[Tensor | None] = []
    start = 0
    for kind in json.loads(message.label):
        if kind is None:
            found.append(None)
            continue
        name, shape, requires_grad = kind
        made = flambeau.empty(shape, dtype=getattr(flambeau, name))
        target = Targets([made])
        nbytes = lay.contiguous(tuple(shape), made.dtype).numel * made.dtype.itemsize
        target.arrays[0].view(numpy.uint8)[...] = message.payload[start : start + nbytes]
        start += nbytes
        found.append(_leaf(made, requires_grad))
    return found
