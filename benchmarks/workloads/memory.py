"""Where memory is the limit: elementwise chains, reductions, normalisation, and moving data about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from benchmarks.workload import Workload

N = 1 << 24  # 64 MiB of float32: far larger than the caches
WORD = 4


def workloads() -> Iterator[Workload]:
    for name, (inputs, outputs, function) in ELEMENTWISE.items():
        yield Workload("memory", name, partial(elementwise, inputs=inputs, function=function), bytes=(inputs + outputs) * N * WORD)
    for name, (shape, outputs, function) in SHAPED.items():
        size = WORD
        for extent in shape:
            size *= extent
        yield Workload("memory", name, partial(shaped, shape=shape, function=function), bytes=(1 + outputs) * size)
    for name, shape in GROUP_NORM.items():
        size = WORD * shape[0] * shape[1] * shape[2] * shape[3]
        yield Workload("group_norm", name, partial(group_norm, shape=shape), bytes=2 * size)
        yield Workload("group_norm", f"{name} with gradients", partial(group_norm_gradients, shape=shape), bytes=5 * size)


ELEMENTWISE: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "x + y": (2, 1, lambda torch, x, y: x + y),
    "exp(x)": (1, 1, lambda torch, x: torch.exp(x)),
    "gelu(x)": (1, 1, lambda torch, x: torch.nn.functional.gelu(x)),
    "a chain of ten": (2, 1, lambda torch, x, y: ((x * y + 1).relu() * 0.5 - y).sigmoid() * (x - 2).tanh() + y.abs().sqrt()),
    "where(x > 0, x, y)": (2, 1, lambda torch, x, y: torch.where(x > 0, x, y)),
}

SHAPED: dict[str, tuple[tuple[int, ...], float, Callable[..., Any]]] = {
    "sum of all": ((4096, 4096), 0, lambda torch, x: x.sum()),
    "mean over rows": ((4096, 4096), 0, lambda torch, x: x.mean(0)),
    "mean over columns": ((4096, 4096), 0, lambda torch, x: x.mean(1)),
    "argmax over columns": ((4096, 4096), 0, lambda torch, x: x.argmax(1)),
    "softmax 4096×1024": ((4096, 1024), 1, lambda torch, x: torch.softmax(x, 1)),
    "softmax 64×10": ((64, 10), 1, lambda torch, x: torch.softmax(x, 1)),
    "layer_norm 4096×1024": ((4096, 1024), 1, lambda torch, x: torch.nn.functional.layer_norm(x, (1024,))),
    "variance over columns": ((4096, 4096), 0, lambda torch, x: x.var(1)),
    "transposed copy": ((4096, 4096), 1, lambda torch, x: x.t().contiguous()),
    "cat of two": ((4096, 2048), 3, lambda torch, x: torch.cat([x, x], 1)),
    "cumsum over columns": ((4096, 4096), 1, lambda torch, x: x.cumsum(1)),
    "max_pool2d 3×3 s2": ((16, 64, 112, 112), 0.25, lambda torch, x: torch.nn.functional.max_pool2d(x, 3, 2, 1)),
}

GROUP_NORM = {
    "8 groups of 64, 4×4, batch 64": (64, 64, 4, 4),
    "32 groups of 256, 56², batch 4": (4, 256, 56, 56),
    "32 groups of 64, 112², batch 16": (16, 64, 112, 112),
}


def elementwise(torch: ModuleType, inputs: int, function: Callable[..., Any]) -> Callable[[], Any]:
    tensors = [torch.randn(N) for _ in range(inputs)]
    return lambda: function(torch, *tensors)


def shaped(torch: ModuleType, shape: tuple[int, ...], function: Callable[..., Any]) -> Callable[[], Any]:
    values = torch.randn(shape)
    return lambda: function(torch, values)


def group_norm(torch: ModuleType, shape: tuple[int, ...]) -> Callable[[], Any]:
    norm, images = torch.nn.GroupNorm(8 if shape[-1] == 4 else 32, shape[1]), torch.randn(shape)

    def run() -> Any:
        with torch.no_grad():
            return norm(images)

    return run


def group_norm_gradients(torch: ModuleType, shape: tuple[int, ...]) -> Callable[[], Any]:
    norm, images = torch.nn.GroupNorm(8 if shape[-1] == 4 else 32, shape[1]), torch.randn(shape, requires_grad=True)
    ahead = torch.randn(shape)
    return lambda: torch.autograd.grad(norm(images), [images, norm.weight, norm.bias], ahead)
