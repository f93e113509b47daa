"""Hooks that average gradients, as they are or in halves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau import Tensor, distributed
from flambeau.distributed.world import member
from flambeau.futures import Future

__all__ = ["allreduce_hook", "average", "bf16_compress_hook", "bf16_compress_wrapper", "fp16_compress_hook", "fp16_compress_wrapper"]


def allreduce_hook(process_group: Any, bucket: Any) -> Future[Tensor]:
    """The average of a bucket's gradients over the processes."""
    return average(process_group, bucket.buffer())


def average(process_group: Any, gradients: Tensor) -> Future[Tensor]:
    """The average of a tensor over the processes of a group."""
    gradients = gradients / member(process_group).size()
    work = distributed.all_reduce(gradients, group=process_group, async_op=True)
    return work.get_future().then(lambda done: done.value()[0])


def fp16_compress_hook(process_group: Any, bucket: Any) -> Future[Tensor]:
    """The average, for which gradients are sent as float16."""
    return _compressed(process_group, bucket, flambeau.float16)


def bf16_compress_hook(process_group: Any, bucket: Any) -> Future[Tensor]:
    """The average, for which gradients are sent as bfloat16."""
    return _compressed(process_group, bucket, flambeau.bfloat16)


def _compressed(process_group: Any, bucket: Any, dtype: Any) -> Future[Tensor]:
    buffer = bucket.buffer()
    future: Future[Tensor] = Future()
    future.set_result(average(process_group, buffer.to(dtype)).wait().to(buffer.dtype))
    return future


def fp16_compress_wrapper(hook: Callable) -> Callable:
    """A hook that is given float16 gradients, whose result is widened again."""
    return _wrapper(hook, flambeau.float16)


def bf16_compress_wrapper(hook: Callable) -> Callable:
    """A hook that is given bfloat16 gradients, whose result is widened again."""
    return _wrapper(hook, flambeau.bfloat16)


def _wrapper(hook: Callable, dtype: Any) -> Callable:
    def wrapped(state: Any, bucket: Any) -> Future[Tensor]:
        original = bucket.buffer().dtype
        bucket.set_buffer(bucket.buffer().to(dtype))
        future: Future[Tensor] = Future()
        future.set_result(hook(state, bucket).wait().to(original))
        return future

    return wrapped
