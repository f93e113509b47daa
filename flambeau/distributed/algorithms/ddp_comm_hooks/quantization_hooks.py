"""Gradients that are sent as bytes: each process says by which line its gradients became numbers from 0 to 255."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor, distributed
from flambeau.distributed.world import member
from flambeau.futures import Future

__all__ = ["quantization_perchannel_hook", "quantization_pertensor_hook"]

_SMALLEST = flambeau.finfo(flambeau.float32).eps
"""The smallest distance between two numbers."""


def quantization_pertensor_hook(process_group: Any, bucket: Any) -> Future[Tensor]:
    """The average, of gradients that are sent as bytes with one scale for a bucket."""
    flat = bucket.buffer()
    return _averaged(process_group, flat.reshape(1, -1), flat)


def quantization_perchannel_hook(process_group: Any, bucket: Any, bucket_size: int = 512) -> Future[Tensor]:
    """The average, of gradients that are sent as bytes with a scale for every ``bucket_size`` of them."""
    flat = bucket.buffer()
    padded = flambeau.nn.functional.pad(flat, (0, -flat.numel() % bucket_size))
    return _averaged(process_group, padded.reshape(-1, bucket_size), flat)


def _averaged(process_group: Any, rows: Tensor, like: Tensor) -> Future[Tensor]:
    group = member(process_group)
    lines = _lines(rows.float())
    sent = (rows / lines[0].unsqueeze(1)).round().add(lines[1].unsqueeze(1)).clamp(0, 255).to(flambeau.uint8)
    every_line = [flambeau.empty_like(lines) for _ in range(group.size())]
    every_row = [flambeau.empty_like(sent) for _ in range(group.size())]
    distributed.all_gather(every_line, lines, group=group)
    distributed.all_gather(every_row, sent, group=group)
    total = sum((row.float() - zero.unsqueeze(1)) * scale.unsqueeze(1) for row, (scale, zero) in zip(every_row, every_line, strict=True))
    future: Future[Tensor] = Future()
    future.set_result((total / group.size()).reshape(-1)[: like.numel()].to(like.dtype))
    return future


def _lines(rows: Tensor) -> Tensor:
    """For each row the distance between two numbers, and the number that stands for 0: its extremes become 0 and 255."""
    low, high = rows.amin(1).clamp(max=0.0), rows.amax(1).clamp(min=0.0)
    scale = ((high - low) / 255.0).clamp(min=_SMALLEST)
    return flambeau.stack([scale, (-(low / scale).round()).clamp(0, 255)])
