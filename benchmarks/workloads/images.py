"""Operators over images: pooling to a size, borders, resizing, sampling at points, and windows as columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from benchmarks.workload import Workload, with_gradients

Function = Callable[[Any, Any], Any]

IMAGES: dict[str, tuple[tuple[int, ...], Function]] = {
    "adaptive_avg_pool2d 60² to 7²": ((8, 64, 60, 60), lambda F, x: F.adaptive_avg_pool2d(x, 7)),
    "adaptive_max_pool2d 60² to 7²": ((8, 64, 60, 60), lambda F, x: F.adaptive_max_pool2d(x, 7)),
    "interpolate area 64² to 48²": ((8, 32, 64, 64), lambda F, x: F.interpolate(x, size=48, mode="area")),
    "interpolate bilinear 32² to 64²": ((8, 64, 32, 32), lambda F, x: F.interpolate(x, scale_factor=2, mode="bilinear")),
    "interpolate bicubic 56² to 75²": ((8, 32, 56, 56), lambda F, x: F.interpolate(x, size=75, mode="bicubic")),
    "interpolate bilinear antialias 256² to 224²": (
        (8, 3, 256, 256),
        lambda F, x: F.interpolate(x, size=224, mode="bilinear", antialias=True),
    ),
    "interpolate nearest 56² to 75²": ((8, 32, 56, 56), lambda F, x: F.interpolate(x, size=75)),
    "pad reflect 1, 64²": ((8, 64, 64, 64), lambda F, x: F.pad(x, (1, 1, 1, 1), mode="reflect")),
    "avg_pool2d 3×3 s2, 57²": ((8, 64, 57, 57), lambda F, x: F.avg_pool2d(x, 3, 2, 1)),
    "max_pool2d 2×2, 56²": ((8, 64, 56, 56), lambda F, x: F.max_pool2d(x, 2)),
    "unfold 3×3, 28²": ((8, 64, 28, 28), lambda F, x: F.unfold(x, 3, padding=1)),
    "pixel_shuffle 2, 32²": ((8, 256, 32, 32), lambda F, x: F.pixel_shuffle(x, 2)),
}


def workloads() -> Iterator[Workload]:
    for name, (shape, function) in IMAGES.items():
        for last in (False, True):
            called = name + (", channels last" if last else "")
            yield Workload("images", called, partial(forward, shape=shape, function=function, last=last))
            yield Workload("images", f"{called}, with gradients", partial(gradients, shape=shape, function=function, last=last))
    yield Workload("images", "grid_sample 64²", sampled)


def images(torch: ModuleType, shape: tuple[int, ...], last: bool) -> Any:
    values = torch.randn(shape)
    return values.contiguous(memory_format=torch.channels_last) if last else values


def forward(torch: ModuleType, shape: tuple[int, ...], function: Function, last: bool) -> Callable[[], Any]:
    values = images(torch, shape, last)
    return lambda: function(torch.nn.functional, values)


def gradients(torch: ModuleType, shape: tuple[int, ...], function: Function, last: bool) -> Callable[[], Any]:
    return with_gradients(torch, partial(function, torch.nn.functional), [images(torch, shape, last).requires_grad_()], [])


def sampled(torch: ModuleType) -> Callable[[], Any]:
    values, points = torch.randn(8, 16, 64, 64), torch.rand(8, 64, 64, 2) * 2 - 1
    return lambda: torch.nn.functional.grid_sample(values, points, align_corners=False)
