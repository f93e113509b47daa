"""What surrounds the tensors: starting up, loading data, saving."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from benchmarks.workload import Workload

IMPORT = "import"  # the driver shows the time and the memory of the import itself for this one


def workloads() -> Iterator[Workload]:
    yield Workload("startup", IMPORT, nothing)
    yield Workload("data", "DataLoader over 4,096 small images, batch 64", loader)
    yield Workload("data", "save and load 16 MB", save_and_load)


def nothing(torch: ModuleType) -> Callable[[], Any]:
    return lambda: 0


def loader(torch: ModuleType) -> Callable[[], Any]:
    images = torch.utils.data.TensorDataset(torch.rand(4096, 1, 8, 8), torch.randint(0, 10, (4096,)))
    batches = torch.utils.data.DataLoader(images, batch_size=64)
    return lambda: [batch[0] for batch in batches][-1]


def save_and_load(torch: ModuleType) -> Callable[[], Any]:
    state = {f"layer {number}": torch.randn(1024, 1024) for number in range(4)}

    def run() -> Any:
        file = io.BytesIO()
        torch.save(state, file)
        file.seek(0)
        return torch.load(file)["layer 3"]

    return run
