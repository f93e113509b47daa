"""Where memory is the limit: elementwise chains, reductions, normalisation, and moving data about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from benchmarks.workload import Workload, with_gradients

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
    yield from _group_norms()
    size = WORD * 32 * 64 * 56 * 56
    for last in (False, True):
        name = "batch_norm 64 channels, 56², batch 32" + (", channels last" if last else "")
        yield Workload("memory", name, partial(batch_norm_gradients, shape=(32, 64, 56, 56), last=last), bytes=5 * size)
    for dim in range(4):
        yield Workload("memory", f"sum over dimension {dim} of 4", partial(sum_over, dim=dim), bytes=size)
    yield Workload("memory", "cross entropy of 512×32,000 with gradient", cross_entropy, bytes=3 * WORD * 512 * 32_000)
    yield Workload("memory", "layer_norm 4096×1024 with gradients", layer_norm_gradients, bytes=5 * WORD * 4096 * 1024)
    yield Workload("memory", "AdamW step, 25 million parameters", adamw, bytes=7 * WORD * PARAMETERS)
    yield Workload("memory", "clip_grad_norm_ of 25 million", clip_gradients, bytes=3 * WORD * PARAMETERS)
    yield Workload("memory", "dropout(gelu(x)) without gradient", dropout_gelu, bytes=2 * N * WORD, tolerance=float("inf"))


def _group_norms() -> Iterator[Workload]:
    for name, shape in GROUP_NORM.items():
        size = WORD * shape[0] * shape[1] * shape[2] * shape[3]
        for ending, more in (("", {}), (", SiLU", {"silu": True}), (", channels last", {"last": True})):
            group = "group_norm and SiLU" if more.get("silu") else "group_norm"
            yield Workload(group, name + ending, partial(group_norm, shape=shape, **more), bytes=2 * size)
            yield Workload(group, f"{name}{ending}, with gradients", partial(group_norm_gradients, shape=shape, **more), bytes=5 * size)


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
    "permuted copy 32×128×8×64": ((32, 128, 8, 64), 1, lambda torch, x: x.permute(0, 2, 1, 3).contiguous()),
    "masked_fill 4096²": ((4096, 4096), 1, lambda torch, x: x.masked_fill(x < 0, -1.0)),
    "log_softmax 4096×1024": ((4096, 1024), 1, lambda torch, x: torch.log_softmax(x, 1)),
    "logsumexp over rows": ((4096, 4096), 0, lambda torch, x: x.logsumexp(0)),
    "cumsum over rows": ((4096, 4096), 1, lambda torch, x: x.cumsum(0)),
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


def images(torch: ModuleType, shape: tuple[int, ...], last: bool) -> Any:
    values = torch.randn(shape)
    return values.contiguous(memory_format=torch.channels_last) if last else values


def normaliser(torch: ModuleType, shape: tuple[int, ...], silu: bool) -> tuple[Any, Callable[..., Any]]:
    norm = torch.nn.GroupNorm(8 if shape[-1] == 4 else 32, shape[1])
    return norm, (lambda x: torch.nn.functional.silu(norm(x))) if silu else norm


def group_norm(torch: ModuleType, shape: tuple[int, ...], last: bool = False, silu: bool = False) -> Callable[[], Any]:
    (_, function), values = normaliser(torch, shape, silu), images(torch, shape, last)

    def run() -> Any:
        with torch.no_grad():
            return function(values)

    return run


def group_norm_gradients(torch: ModuleType, shape: tuple[int, ...], last: bool = False, silu: bool = False) -> Callable[[], Any]:
    norm, function = normaliser(torch, shape, silu)
    return with_gradients(torch, function, [images(torch, shape, last).requires_grad_()], [norm.weight, norm.bias])


def batch_norm_gradients(torch: ModuleType, shape: tuple[int, ...], last: bool) -> Callable[[], Any]:
    norm = torch.nn.BatchNorm2d(shape[1])
    return with_gradients(torch, norm, [images(torch, shape, last).requires_grad_()], [norm.weight, norm.bias])


def sum_over(torch: ModuleType, dim: int) -> Callable[[], Any]:
    values = torch.randn(32, 64, 56, 56)
    return lambda: values.sum(dim)


def cross_entropy(torch: ModuleType) -> Callable[[], Any]:
    logits, targets = torch.randn(512, 32_000, requires_grad=True), torch.randint(0, 32_000, (512,))
    return with_gradients(torch, torch.nn.functional.cross_entropy, [logits, targets], [])


def layer_norm_gradients(torch: ModuleType) -> Callable[[], Any]:
    norm = torch.nn.LayerNorm(1024)
    return with_gradients(torch, norm, [torch.randn(4096, 1024, requires_grad=True)], [norm.weight, norm.bias])


PARAMETERS = 100 * 250_000
"""Of a hundred layers."""


def parameters(torch: ModuleType) -> list[Any]:
    layers = [torch.nn.Parameter(torch.randn(500, 500)) for _ in range(100)]
    for layer in layers:
        layer.grad = torch.randn(500, 500)
    return layers


def adamw(torch: ModuleType) -> Callable[[], Any]:
    layers = parameters(torch)
    update = torch.optim.AdamW(layers, lr=1e-3)

    def run() -> Any:
        update.step()
        return layers[-1]

    return run


def clip_gradients(torch: ModuleType) -> Callable[[], Any]:
    layers = parameters(torch)
    return lambda: torch.nn.utils.clip_grad_norm_(layers, 1e3)


def dropout_gelu(torch: ModuleType) -> Callable[[], Any]:
    values = torch.randn(N)
    return lambda: torch.nn.functional.dropout(torch.nn.functional.gelu(values), 0.1)
