"""Batch normalisation with the statistics of the batches of several processes."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.autograd import Function

__all__ = ["synchronized_batch_norm"]


def _over_batch(x: Tensor) -> tuple[list[int], tuple[int, ...]]:
    """The dimensions that are averaged over, and the shape in which a value for each channel meets the input."""
    return [0, *range(2, x.dim())], (1, -1, *[1] * (x.dim() - 2))


class _SynchronizedBatchNorm(Function):
    """(x - mean) / √(var + eps) · weight + bias.

    Each process sends its mean, its sum of squared distances from it, and its number of values for each channel, which are put together
    without cancellation (Chan, Golub and LeVeque 1979). In the backward pass two sums over the batch are added up over the processes.
    """

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
        eps: float, momentum: float, group: Any,
    ) -> Tensor:  # fmt: skip
        x = input.float() if input.element_size() < 4 else input
        dims, channels = _over_batch(x)
        count = x.numel() // x.size(1) if x.size(1) else 0
        if count:
            var, mean = flambeau.var_mean(x, dims, correction=0)
        else:
            var = mean = x.new_zeros(x.size(1))
        own = flambeau.cat([mean.double(), var.double() * count, flambeau.full((1,), count, dtype=flambeau.float64)])
        every = flambeau.empty(group.size(), own.numel(), dtype=flambeau.float64)
        flambeau.distributed.all_gather_into_tensor(every, own, group)
        means, squares, counts = every.split([x.size(1), x.size(1), 1], 1)
        total = counts.sum()
        if total.item() <= 1:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {tuple(input.size())}")
        mean = (means * counts).sum(0) / total
        squares = squares.sum(0) + ((means - mean).square() * counts).sum(0)
        if running_mean is not None:
            running_mean.mul_(1 - momentum).add_(mean.to(running_mean.dtype), alpha=momentum)
        if running_var is not None:
            running_var.mul_(1 - momentum).add_((squares / (total - 1)).to(running_var.dtype), alpha=momentum)
        scale = (squares / total + eps).rsqrt().to(x.dtype)
        mean = mean.to(x.dtype)
        result = (x - mean.view(channels)) * scale.view(channels)
        if weight is not None:
            result = result * weight.view(channels)
        if bias is not None:
            result = result + bias.view(channels)
        ctx.save_for_backward(input, weight, mean, scale, total.to(x.dtype))
        ctx.group, ctx.has_bias = group, bias is not None
        return result.to(input.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        input, weight, mean, scale, total = ctx.saved_tensors
        x, grad = input.to(mean.dtype), grad.to(mean.dtype)
        dims, channels = _over_batch(x)
        centred = x - mean.view(channels)
        sums = flambeau.stack([grad.sum(dims), (grad * centred).sum(dims)])
        grad_weight = (sums[1] * scale).to(weight.dtype) if weight is not None else None
        grad_bias = sums[0].clone() if ctx.has_bias else None
        flambeau.flush()  # what is of this process alone is computed before the sums are the processes'
        flambeau.distributed.all_reduce(sums, group=ctx.group)
        plain, with_centred = sums[0] / total, sums[1] / total
        result = grad - plain.view(channels) - centred * (scale.square() * with_centred).view(channels)
        factor = scale if weight is None else scale * weight.to(scale.dtype)
        return (result * factor.view(channels)).to(input.dtype), grad_weight, grad_bias, None, None, None, None, None


def synchronized_batch_norm(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None, bias: Tensor | None, momentum: float,
    eps: float, group: Any,
) -> Tensor:  # fmt: skip
    """``batch_norm`` in training, over the batches of all processes of a group; a process's own batch may be empty.

    Raises:
        ValueError: there is one value per channel in all processes together
    """
    return _SynchronizedBatchNorm.apply(input, weight, bias, running_mean, running_var, eps, momentum, group)
