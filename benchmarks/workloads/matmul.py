"""Matrix products."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from benchmarks.workload import Workload, with_gradients

# left, right, what else `product` takes
PRODUCTS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "64²": ((64, 64), (64, 64), {}),
    "128²": ((128, 128), (128, 128), {}),
    "256²": ((256, 256), (256, 256), {}),
    "512²": ((512, 512), (512, 512), {}),
    "1024²": ((1024, 1024), (1024, 1024), {}),
    "2048²": ((2048, 2048), (2048, 2048), {}),
    "256² by a transposed one": ((256, 256), (256, 256), {"transposed": True}),
    "1024² float64": ((1024, 1024), (1024, 1024), {"dtype": "float64"}),
    "1024² bfloat16": ((1024, 1024), (1024, 1024), {"dtype": "bfloat16"}),
    "batch of 96, 64²": ((96, 64, 64), (96, 64, 64), {}),
    "100,000×64 by 64²": ((100_000, 64), (64, 64), {}),
    "matrix · vector 4096²": ((4096, 4096), (4096,), {}),
}


def workloads() -> Iterator[Workload]:
    for name, (left, right, more) in PRODUCTS.items():
        flops = 2.0 * math.prod(left) * (right[-1] if len(right) > 1 else 1)
        flops *= 2 if more.get("dtype") == "float64" else 1  # half as many lanes
        limit = {"flops": flops} if len(right) > 1 else {"bytes": 4.0 * math.prod(left)}
        tolerance = 1e-2 if more.get("dtype") == "bfloat16" else 1e-3  # two roundings to 8 bits
        yield Workload("matmul", name, partial(product, left=left, right=right, **more), tolerance=tolerance, **limit)
    yield Workload("matmul", "linear 1024→4096, bias and relu, batch 256", linear, flops=2.0 * 256 * 1024 * 4096)
    yield Workload("matmul", "linear 1024→4096, one row", one_row, bytes=4.0 * 1024 * 4096)
    yield Workload("matmul", "linear 1024→1024 with gradients, batch 256", linear_gradients, flops=6.0 * 256 * 1024**2)
    yield Workload("matmul", "einsum bqhd,bkhd->bhqk, 128 positions", einsum, flops=2.0 * 8 * 8 * 128**2 * 64)
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


def one_row(torch: ModuleType) -> Callable[[], Any]:
    layer, row = torch.nn.Linear(1024, 4096), torch.randn(1, 1024)

    def run() -> Any:
        with torch.no_grad():
            return layer(row)

    return run


def linear_gradients(torch: ModuleType) -> Callable[[], Any]:
    layer, rows = torch.nn.Linear(1024, 1024), torch.randn(256, 1024, requires_grad=True)
    return with_gradients(torch, layer, [rows], [layer.weight, layer.bias])


def einsum(torch: ModuleType) -> Callable[[], Any]:
    query, key = (torch.randn(8, 128, 8, 64) for _ in range(2))
    return lambda: torch.einsum("bqhd,bkhd->bhqk", query, key)


def attention(torch: ModuleType) -> Callable[[], Any]:
    query, key, value = (torch.randn(1, 8, 256, 64) for _ in range(3))
    return lambda: torch.nn.functional.scaled_dot_product_attention(query, key, value)
