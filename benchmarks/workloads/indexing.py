"""Scatter, gather and their kin; sorting and searching."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from benchmarks.workload import Workload, with_gradients


def workloads() -> Iterator[Workload]:
    megabyte = 1 << 20
    yield Workload("scatter", "one-hot of 64 labels", one_hot)
    yield Workload("scatter", "scatter 4096×1024 by columns", scatter, bytes=20 * 4 * megabyte)
    yield Workload("scatter", "scatter_add 4096×1024 into 512 rows", scatter_add)
    yield Workload("scatter", "gather 4096×1024 by columns", gather, bytes=16 * 4 * megabyte)
    yield Workload("scatter", "index_select of 8192 rows of 512", index_select, bytes=32 * megabyte)
    yield Workload("scatter", "embedding of 8192 rows with gradients", embedding)
    yield Workload("scatter", "scatter_add 4096×1024 by rows", scatter_rows, bytes=20 * 4 * megabyte)
    yield Workload("scatter", "scatter_reduce amax 4096×1024 into 512 rows", scatter_amax)
    yield Workload("scatter", "gather 4096×1024 by rows", gather_rows, bytes=16 * 4 * megabyte)
    yield Workload("scatter", "index_add of a million edges of 64 features", edges, bytes=264 * megabyte)
    yield Workload("scatter", "scatter_add of a million numbers into 10,000", numbers, bytes=12 * megabyte)
    yield Workload("scatter", "index_add_ of 8 rows to 50,000 of 512", few_rows)
    yield Workload("scatter", "x[mask] of 4 million", masked)
    for name, function in ORDERED.items():
        yield Workload("sorting", name, partial(ordered, function=function))
    yield Workload("sorting", "sort 4096 rows of 256", sorted_rows)
    yield Workload("sorting", "topk(5) of 4096 rows of 1024", top_of_rows)


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
    return with_gradients(torch, table, [rows], [table.weight])


def scatter_rows(torch: ModuleType) -> Callable[[], Any]:
    target, source, index = torch.zeros(4096, 1024), torch.randn(4096, 1024), torch.randint(0, 4096, (4096, 1024))
    return lambda: target.scatter_add(0, index, source)


def scatter_amax(torch: ModuleType) -> Callable[[], Any]:
    target, source = torch.zeros(512, 1024), torch.randn(4096, 1024)
    index = torch.randint(0, 512, (4096, 1)).expand(4096, 1024)
    return lambda: target.scatter_reduce(0, index, source, "amax")


def gather_rows(torch: ModuleType) -> Callable[[], Any]:
    source, index = torch.randn(4096, 1024), torch.randint(0, 4096, (4096, 1024))
    return lambda: source.gather(0, index)


def edges(torch: ModuleType) -> Callable[[], Any]:
    nodes, features, ends = torch.zeros(10_000, 64), torch.randn(1_000_000, 64), torch.randint(0, 10_000, (1_000_000,))
    return lambda: nodes.index_add(0, ends, features)


def numbers(torch: ModuleType) -> Callable[[], Any]:
    sums, values, places = torch.zeros(10_000), torch.randn(1_000_000), torch.randint(0, 10_000, (1_000_000,))
    return lambda: sums.scatter_add(0, places, values)


def few_rows(torch: ModuleType) -> Callable[[], Any]:
    table, rows, added = torch.zeros(50_000, 512), torch.randint(0, 50_000, (8,)), torch.randn(8, 512)
    return lambda: table.index_add_(0, rows, added)[:8].clone()


ORDERED: dict[str, Callable[..., Any]] = {
    "sort a million": lambda torch, x, k: x.sort(stable=True),
    "argsort a million integers": lambda torch, x, k: k.argsort(stable=True),
    "topk(100) of a million": lambda torch, x, k: x.topk(100),
    "median of a million": lambda torch, x, k: x.median(),
    "unique of a million integers": lambda torch, x, k: torch.unique(k),
    "unique of a million integers with inverse and counts": lambda torch, x, k: torch.unique(k, return_inverse=True, return_counts=True),
    "searchsorted of a million in a thousand": lambda torch, x, k: torch.searchsorted(x[:1000].sort().values, x),
    "bincount of a million": lambda torch, x, k: torch.bincount(k),
    "cumsum of a million": lambda torch, x, k: x.cumsum(0),
}


def ordered(torch: ModuleType, function: Callable[..., Any]) -> Callable[[], Any]:
    values, integers = torch.randn(1 << 20), torch.randint(0, 1000, (1 << 20,))
    return lambda: function(torch, values, integers)


def sorted_rows(torch: ModuleType) -> Callable[[], Any]:
    values = torch.randn(4096, 256)
    return lambda: values.sort(dim=1, stable=True)


def top_of_rows(torch: ModuleType) -> Callable[[], Any]:
    values = torch.randn(4096, 1024)
    return lambda: values.topk(5, 1)


def masked(torch: ModuleType) -> Callable[[], Any]:
    values = torch.randn(1 << 22)
    return lambda: values[values > 0]
