"""Collectives as functions: they return new tensors, and gradients flow back to the processes that the numbers came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau import Tensor, distributed
from flambeau.autograd import Function
from flambeau.distributed.reduction import ReduceOp

__all__ = ["all_gather", "all_reduce", "all_to_all", "all_to_all_single", "broadcast", "gather", "reduce", "reduce_scatter", "scatter"]


def _fresh(tensor: Tensor) -> Tensor:
    """A contiguous copy, to be written."""
    return tensor.detach().clone(memory_format=flambeau.contiguous_format)


class _Broadcast(Function):
    @staticmethod
    def forward(ctx: Any, src: int, group: Any, tensor: Tensor) -> Tensor:
        ctx.src, ctx.group = src, group
        tensor = _fresh(tensor)
        distributed.broadcast(tensor, src, group)
        return tensor

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        grad = _fresh(grad)
        distributed.reduce(grad, ctx.src, group=ctx.group)
        return None, None, grad if distributed.get_rank() == ctx.src else flambeau.zeros_like(grad)


class _Reduce(Function):
    @staticmethod
    def forward(ctx: Any, dst: int, op: ReduceOp, group: Any, tensor: Tensor) -> Tensor:
        ctx.dst, ctx.group = dst, group
        tensor = _fresh(tensor)
        distributed.reduce(tensor, dst, op, group)
        return tensor

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return None, None, None, _Broadcast.apply(ctx.dst, ctx.group, grad)


class _AllReduce(Function):
    @staticmethod
    def forward(ctx: Any, op: ReduceOp, group: Any, tensor: Tensor) -> Tensor:
        ctx.op, ctx.group = op, group
        tensor = _fresh(tensor)
        distributed.all_reduce(tensor, op, group)
        return tensor

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return None, None, _AllReduce.apply(ctx.op, ctx.group, grad)


class _AllGather(Function):
    @staticmethod
    def forward(ctx: Any, group: Any, tensor: Tensor) -> tuple:
        ctx.group = group
        outputs = [flambeau.empty_like(_fresh(tensor)) for _ in range(distributed.get_world_size(group))]
        distributed.all_gather(outputs, tensor, group)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        output = flambeau.empty_like(_fresh(grads[0]))
        distributed.reduce_scatter(output, list(grads), group=ctx.group)
        return None, output


class _Gather(Function):
    @staticmethod
    def forward(ctx: Any, dst: int, group: Any, tensor: Tensor) -> tuple:
        ctx.dst, ctx.group = dst, group
        outputs = [flambeau.zeros_like(_fresh(tensor)) for _ in range(distributed.get_world_size(group))]
        distributed.gather(tensor, outputs if distributed.get_rank() == dst else None, dst, group)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        return None, None, _Scatter.apply(ctx.dst, ctx.group, *grads)


class _Scatter(Function):
    @staticmethod
    def forward(ctx: Any, src: int, group: Any, *tensors: Tensor) -> Tensor:
        ctx.src, ctx.group = src, group
        output = flambeau.zeros_like(_fresh(tensors[0]))
        distributed.scatter(output, list(tensors) if distributed.get_rank() == src else None, src, group)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return (None, None, *_Gather.apply(ctx.src, ctx.group, grad))


class _ReduceScatter(Function):
    @staticmethod
    def forward(ctx: Any, op: ReduceOp, group: Any, output: Tensor, *tensors: Tensor) -> Tensor:
        ctx.group = group
        output = _fresh(output)
        distributed.reduce_scatter(output, list(tensors), op, group)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return (None, None, None, *_AllGather.apply(ctx.group, grad))


class _AllToAll(Function):
    @staticmethod
    def forward(ctx: Any, group: Any, shapes: list, *tensors: Tensor) -> tuple:
        ctx.group, ctx.shapes = group, [tensor.size() for tensor in tensors]
        outputs = [flambeau.empty(shape, dtype=tensors[0].dtype) for shape in shapes]
        distributed.all_to_all(outputs, list(tensors), group)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        return (None, None, *_AllToAll.apply(ctx.group, ctx.shapes, *grads))


def broadcast(tensor: Tensor, src: int, group: Any = None) -> Tensor:
    """The tensor of process ``src``; its gradient is the sum of all processes'."""
    return _Broadcast.apply(src, group, tensor)


def gather(tensor: Tensor, dst: int = 0, group: Any = None) -> tuple[Tensor, ...]:
    """The tensors of all processes, in process ``dst``; zeros in the others."""
    return _Gather.apply(dst, group, tensor)


def scatter(tensors: Sequence[Tensor], src: int = 0, group: Any = None) -> Tensor:
    """One of process ``src``'s tensors for each process; the others' only say the shape."""
    return _Scatter.apply(src, group, *tensors)


def reduce(tensor: Tensor, dst: int, op: ReduceOp = ReduceOp.SUM, group: Any = None) -> Tensor:
    """The reduction of all processes' tensors, in process ``dst``; the others' own in the others."""
    return _Reduce.apply(dst, op, group, tensor)


def reduce_scatter(output: Tensor, input_list: Sequence[Tensor], op: ReduceOp = ReduceOp.SUM, group: Any = None) -> Tensor:
    """For each process the reduction of all processes' inputs for it; ``output`` only says the shape."""
    return _ReduceScatter.apply(op, group, output, *input_list)


def all_gather(tensor: Tensor, group: Any = None) -> tuple[Tensor, ...]:
    """The tensors of all processes."""
    return _AllGather.apply(group, tensor)


def all_to_all(output_tensor_list: Sequence[Tensor], input_tensor_list: Sequence[Tensor], group: Any = None) -> tuple[Tensor, ...]:
    """What each process has for this one; the outputs only say the shapes."""
    return _AllToAll.apply(group, [output.size() for output in output_tensor_list], *input_tensor_list)


def all_to_all_single(
    output: Tensor, input: Tensor, output_split_sizes: Sequence[int] | None = None, input_split_sizes: Sequence[int] | None = None, group: Any = None
) -> Tensor:  # fmt: skip
    """``all_to_all`` of the parts of one tensor along its first dimension."""
    size = distributed.get_world_size(group)
    inputs = input.split(list(input_split_sizes) if input_split_sizes else input.size(0) // size)
    rows = list(output_split_sizes) if output_split_sizes else [output.size(0) // size] * size
    return flambeau.cat(_AllToAll.apply(group, [(count, *output.size()[1:]) for count in rows], *inputs))


def all_reduce(tensor: Tensor, op: ReduceOp = ReduceOp.SUM, group: Any = None) -> Tensor:
    """The reduction of all processes' tensors."""
    return _AllReduce.apply(op, group, tensor)
