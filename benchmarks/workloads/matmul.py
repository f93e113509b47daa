"""Matrix products."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from benchmarks.workload import Workload


def workloads() -> Iterator[Workload]:
    for size in (64, 256, 1024, 2048):
        yield Workload("matmul", f"{size}²", partial(product, left=(size, size), right=(size, size)), flops=2.0 * size**3)
    yield Workload(
        "matmul", "256² by a transposed one", partial(product, left=(256, 256), right=(256, 256), transposed=True), flops=2.0 * 256**3
    )
    yield Workload("matmul", "batch of 96, 64²", partial(product, left=(96, 64, 64), right=(96, 64, 64)), flops=2.0 * 96 * 64**3)
    yield Workload("matmul", "matrix · vector 4096²", partial(product, left=(4096, 4096), right=(4096,)), bytes=4.0 * 4096**2)
    yield Workload(
        "matmul", "1024² bfloat16", partial(product, left=(1024, 1024), right=(1024, 1024), dtype="bfloat16"), flops=2.0 * 1024**3
    )
    yield Workload("matmul", "linear 1024→4096, bias and relu, batch 256", linear, flops=2.0 * 256 * 1024 * 4096)
    yield Workload("matmul", "linear 1024→1024 with gradients, batch 256", linear_gradients, flops=6.0 * 256 * 1024**2)
    yield Workload("matmul", "attention of 8 heads, 256 positions, 64 deep", attention, flops=4.0 * 8 * 256**2 * 64)


def product(
    torch: ModuleType, left: tuple[int, ...], right: tuple[int, ...], dtype: str = "float32", transposed: bool = False
) -> Callable[[], Any]:
    a = torch.randn(left).to(getattr(torch, dtype))
    b = torch.randn(right).to(getattr(torch, dtype))
    return (lambda: a @ b.t()) if transposed else (lambda: a @ b)


def linear(torch: ModuleType) -> Callable[[], Any]:
    layer, rows = torch.nn.Linear(1024, 4096), torch.randn(256, 1024)

    def run() -> Any:
        with torch.no_grad():
            return torch.relu(layer(rows))

    return run


def linear_gradients(torch: ModuleType) -> Callable[[], Any]:
    layer, rows = torch.nn.Linear(1024, 1024), torch.randn(256, 1024, requires_grad=True)
    ahead = torch.randn(256, 1024)
    return lambda: torch.autograd.grad(layer(rows), [rows, layer.weight, layer.bias], ahead)


def attention(torch: ModuleType) -> Callable[[], Any]:
    query, key, value = (torch.randn(1, 8, 256, 64) for _ in range(3))
    return lambda: torch.nn.functional.scaled_dot_product_attention(query, key, value)
