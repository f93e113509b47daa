"""Scatter, gather and their kin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from benchmarks.workload import Workload


def workloads() -> Iterator[Workload]:
    megabyte = 1 << 20
    yield Workload("scatter", "one-hot of 64 labels", one_hot)
    yield Workload("scatter", "scatter 4096×1024 by columns", scatter, bytes=20 * 4 * megabyte)
    yield Workload("scatter", "scatter_add 4096×1024 into 512 rows", scatter_add)
    yield Workload("scatter", "gather 4096×1024 by columns", gather, bytes=16 * 4 * megabyte)
    yield Workload("scatter", "index_select of 8192 rows of 512", index_select, bytes=32 * megabyte)
    yield Workload("scatter", "embedding of 8192 rows with gradients", embedding)
    yield Workload("scatter", "x[mask] of 4 million", masked)


def one_hot(torch: ModuleType) -> Callable[[], Any]:
    labels = torch.randint(0, 10, (64,))
    return lambda: torch.zeros(64, 10).scatter(1, labels.unsqueeze(-1), 1.0)


def scatter(torch: ModuleType) -> Callable[[], Any]:
    target, source = torch.zeros(4096, 1024), torch.randn(4096, 1024)
    index = torch.stack([torch.randperm(1024) for _ in range(64)]).repeat(64, 1)
    return lambda: target.scatter(1, index, source)


def scatter_add(torch: ModuleType) -> Callable[[], Any]:
    target, source = torch.zeros(512, 1024), torch.randn(4096, 1024)
    index = torch.randint(0, 512, (4096, 1)).expand(4096, 1024).contiguous()
    return lambda: target.scatter_add(0, index, source)


def gather(torch: ModuleType) -> Callable[[], Any]:
    source, index = torch.randn(4096, 1024), torch.randint(0, 1024, (4096, 1024))
    return lambda: source.gather(1, index)


def index_select(torch: ModuleType) -> Callable[[], Any]:
    table, rows = torch.randn(50_000, 512), torch.randint(0, 50_000, (8192,))
    return lambda: table.index_select(0, rows)


def embedding(torch: ModuleType) -> Callable[[], Any]:
    table, rows = torch.nn.Embedding(20_000, 128), torch.randint(0, 20_000, (8192,))
    ahead = torch.randn(8192, 128)
    return lambda: torch.autograd.grad(table(rows), table.weight, ahead)


def masked(torch: ModuleType) -> Callable[[], Any]:
    values = torch.randn(1 << 22)
    return lambda: values[values > 0]
