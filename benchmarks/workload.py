"""What a workload is: work written once against PyTorch's API, to be timed on either side."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from benchmarks import workloads


@dataclass(frozen=True)
class Workload:
    """Work with a name. `setup(torch)` builds what it needs and returns the call to time, which returns tensors to read.

    `flops` and `bytes` are what one call has to do at least; `per` divides the time, for calls that repeat something small.
    With `record_only`, the time until the call returns is taken and the reading is left out. The first results of both sides may
    differ by `tolerance` of the largest value.
    """

    group: str
    name: str
    setup: Callable[[ModuleType], Callable[[], Any]]
    flops: float | None = None
    bytes: float | None = None
    per: int = 1
    record_only: bool = False
    tolerance: float = 1e-3

    @property
    def key(self) -> str:
        return f"{self.group}/{self.name}"


def with_gradients(torch: ModuleType, function: Callable[..., Any], inputs: list[Any], parameters: list[Any]) -> Callable[[], Any]:
    """A call that returns the function's result and the gradients of inputs and parameters.

    The result is among what is read: where nobody looks at it, and its gradients do not need it, Flambeau would not compute it.
    """
    ahead = torch.randn_like(function(*inputs).detach())

    def run() -> list[Any]:
        result = function(*inputs)
        return [result, *torch.autograd.grad(result, [*(each for each in inputs if each.requires_grad), *parameters], ahead)]

    return run


def all_workloads() -> dict[str, Workload]:
    """Every workload of every file in `benchmarks/workloads/`, by key."""
    found: dict[str, Workload] = {}
    for module in sorted(pkgutil.iter_modules(workloads.__path__), key=lambda entry: entry.name):
        for workload in _in(importlib.import_module(f"{workloads.__name__}.{module.name}")):
            assert workload.key not in found, f"two workloads are called {workload.key}"
            found[workload.key] = workload
    return found


def _in(module: ModuleType) -> Iterator[Workload]:
    """A file lists its workloads with a function of that name, which must not import torch."""
    yield from module.workloads()
